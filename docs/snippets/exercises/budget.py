from actckpt import POLICIES, estimate

steps = [estimate("llama-3.1-8b", seq_len=16_384, policy=policy) for policy in POLICIES]
fitting = [step for step in steps if 3 * step.total_bytes <= steps[0].total_bytes]
for step in sorted(fitting, key=lambda step: step.flops.overhead):
    print(f"{step.policy.name:14} {step.total_bytes / 2**30:5.1f} GiB, {step.flops.overhead:6.2%}")
