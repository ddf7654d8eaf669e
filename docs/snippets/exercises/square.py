import numpy as np

from actckpt import sweep

lengths = np.arange(1, 4096)
eager = sweep("llama-3.1-8b", seq_len=lengths, attention="eager").block
quadratic = eager["attention.softmax"].bytes + eager["attention.probabilities"].bytes
first = lengths[2 * quadratic > eager.bytes][0]
print(f"from {first} tokens on, more than half of an eager block is quadratic")
