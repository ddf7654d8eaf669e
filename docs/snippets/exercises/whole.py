from actckpt import estimate

for policy in ("both", "full"):
    block = estimate("llama-3.1-8b", seq_len=16_384, policy=policy).block
    print(policy, {term.name: f"{term.bytes / 2**20:.0f} MiB" for term in block})
