from actckpt import ACCELERATORS, estimate


def states(ranks: int) -> int:
    return estimate("llama-3.1-70b", seq_len=1, data_parallel=ranks).states.bytes


card = ACCELERATORS["h100-80gb"].memory_bytes
enough = next(ranks for ranks in range(1, 1000) if states(ranks) <= card)
print(f"{states(1) / 2**30:,.0f} GiB; they fit from {enough} ranks on")
