import numpy as np

from actckpt import sweep

lengths = np.arange(1024, 131_073, 1024)


def recomputed(policy: str) -> np.ndarray:
    return sweep("llama-3.1-8b", seq_len=lengths, policy=policy).flops.recompute


full, kept = recomputed("full"), recomputed("save_attention")
first = lengths[full >= 2 * kept][0]
print(f"from {first // 1024}K tokens on, keeping one op halves what is recomputed")
