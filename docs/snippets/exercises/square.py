import numpy as np

from actckpt import estimate

lengths = np.arange(1, 4096)
eager, flash = (
    estimate("llama-3.1-8b", seq_len=lengths, attention=attention).block.bytes for attention in ("eager", "flash")
)
first = lengths[2 * (eager - flash) > eager][0]
print(f"from {first} tokens on, more than half of an eager block is quadratic")
