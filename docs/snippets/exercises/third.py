from actckpt import FlopRules, estimate

rules = {
    "as PyTorch runs it": FlopRules(),
    "nothing stops early": FlopRules(early_stop=False),
    "and a backward pass of twice the forward": FlopRules(early_stop=False, flash_backward=False),
}
for name, rule in rules.items():
    flops = estimate("llama-3.1-8b", seq_len=16_384, policy="full", rules=rule).flops
    print(f"{flops.overhead:6.1%}  {name}")
