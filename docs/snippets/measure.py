"""Hold the closed form against what autograd saves, on meta tensors."""

# --8<-- [start:measure]
import actckpt

formula = actckpt.estimate("llama-3.2-1b", seq_len=4096, policy="ffn")
measured = actckpt.measure("llama-3.2-1b", seq_len=4096, policy="ffn")

for term in measured.block:
    print(f"{term.name:20} {term.bytes:12,} {term.bytes - formula.block[term.name].bytes:+,}")
# --8<-- [end:measure]
