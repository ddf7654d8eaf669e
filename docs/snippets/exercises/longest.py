import numpy as np

from actckpt import ACCELERATORS, sweep

MODEL, CARD = "llama-3.1-8b", ACCELERATORS["h100-80gb"]
lengths = np.arange(1024, 65_537, 1024)
for policy in ("none", "pointwise", "ffn", "save_attention", "full"):
    step = sweep(MODEL, seq_len=lengths, policy=policy, data_parallel=8)
    longest = lengths[step.peak_bytes <= CARD.memory_bytes].max()
    print(f"{policy:14} {longest:6,} tokens")
