from actckpt import ACCELERATORS, estimate

card = ACCELERATORS["h100-80gb"].memory_bytes


def fits(seq_len: int, policy: str) -> bool:
    return estimate("llama-3.1-8b", seq_len=seq_len, policy=policy, data_parallel=8).peak_bytes <= card


for policy in ("none", "pointwise", "ffn", "save_attention", "full"):
    print(f"{policy:14} {max(s for s in range(1024, 65_536, 1024) if fits(s, policy)):6,} tokens")
