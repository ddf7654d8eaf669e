from actckpt import ACCELERATORS, estimate

MODEL, CARD = "llama-3.1-8b", ACCELERATORS["h100-80gb"]


def fits(seq_len: int, policy: str) -> bool:
    step = estimate(MODEL, seq_len=seq_len, policy=policy, data_parallel=8)
    return step.peak_bytes <= CARD.memory_bytes


for policy in ("none", "pointwise", "ffn", "save_attention", "full"):
    longest = max(s for s in range(1024, 65_536, 1024) if fits(s, policy))
    print(f"{policy:14} {longest:6,} tokens")
