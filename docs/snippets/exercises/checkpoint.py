from actckpt import estimate

step = estimate("llama-3.1-8b", seq_len=16_384, policy="full")
for term in step.block:
    print(f"{term.name} {term.shape} in {term.dtype}: {term.bytes / 2**20:.0f} MiB")
print(f"all {len(step.layers)} blocks: {step.total_bytes / 2**30:.0f} GiB")
