from typing import Any

from actckpt import PRESETS, FlopRules, estimate

MODEL, SEQ_LEN = PRESETS["llama-3.1-8b"], 65_536
ways: dict[str, dict[str, Any]] = {
    "eager": {"attention": "eager"},
    "flash, all pairs": {"rules": FlopRules(causal=False)},
    "flash, causal": {},
}


def step_flops(seq_len: int, how: dict[str, Any]) -> int:
    flops = estimate(MODEL, seq_len=seq_len, **how).flops
    return flops.forward + flops.backward


one = 2 * MODEL.n_layers * MODEL.q_size * SEQ_LEN**2
for name, how in ways.items():
    # what grows with S cancels, and half of what grows with its square stays
    square = 2 * (step_flops(SEQ_LEN, how) - 2 * step_flops(SEQ_LEN // 2, how))
    print(f"{name:17} {square / one:.1f} matmuls of S × S × H")
