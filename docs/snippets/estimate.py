"""Ask what a training step keeps in memory, and what it costs to keep less."""

# --8<-- [start:estimate]
import actckpt

for policy in ("none", "ffn", "full"):
    step = actckpt.estimate("llama-3.1-8b", seq_len=16_384, policy=policy)
    print(f"{policy:5} {step.total_bytes / 2**30:6.1f} GiB, {step.flops.overhead:5.1%} more FLOPs")
# --8<-- [end:estimate]
