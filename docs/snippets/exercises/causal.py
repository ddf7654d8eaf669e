from actckpt import PRESETS, FlopRules, estimate

config = PRESETS["llama-3.1-8b"]
pairs = 65_536**2
for name, how in {
    "eager": {"attention": "eager"},
    "flash, all pairs": {"rules": FlopRules(causal=False)},
    "flash, causal": {},
}.items():
    flops = estimate(config, seq_len=65_536, **how).flops
    square = estimate(config, seq_len=32_768, **how).flops
    # what is proportional to S cancels in f(2S) − 2·f(S); what is proportional to S² leaves a half of itself
    matmuls = 2 * (flops.forward + flops.backward - 2 * (square.forward + square.backward))
    print(f"{name:17} {matmuls / (2 * config.n_layers * config.q_size * pairs):.1f} matmuls of S × S × H")
