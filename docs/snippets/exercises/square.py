import numpy as np

from actckpt import sweep

lengths = np.arange(1, 4096)


def block_bytes(attention: str) -> np.ndarray:
    step = sweep("llama-3.1-8b", seq_len=lengths, attention=attention)
    return step.block.bytes


eager, flash = block_bytes("eager"), block_bytes("flash")
first = lengths[2 * (eager - flash) > eager][0]
print(f"from {first} tokens on, more than half of an eager block is quadratic")
