from actckpt import ACCELERATORS, estimate

card = ACCELERATORS["h100-80gb"].memory_bytes
states = estimate("llama-3.1-70b", seq_len=1).states.bytes
ranks = next(n for n in range(1, 1000) if estimate("llama-3.1-70b", seq_len=1, data_parallel=n).states.bytes <= card)
print(f"{states / 2**30:,.0f} GiB; they fit from {ranks} ranks on")
