"""What follows from the times of a recording: rates, and what the package predicts for a training step."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from actckpt import Step, estimate
from actckpt.ops.attention import flash_attention
from gpu.blocks import block_model


def rates(found: dict[str, Any]) -> tuple[float, float]:
    """FLOP/s of the matrix product, and bytes per second of the copy, which reads and writes each."""
    matmul, copy = found["matmul"], found["copy"]
    return 2 * matmul["size"] ** 3 / matmul["median_s"], 2 * copy["bytes"] / copy["median_s"]


def attention_rate(direction: str, timing: dict[str, Any]) -> float:
    """FLOP/s of attention under a causal mask; the backward pass counts five products to the forward pass's two."""
    n, n_kv = timing["heads"]
    flops = _attention_flops(timing["batch"], n, n_kv, timing["length"], timing["head_dim"])
    return flops[direction] / timing["median_s"]


def predicted(policy: str, length: int) -> Step[int]:
    """The training step of a policy, by the closed form."""
    return estimate(block_model(), seq_len=length, policy=policy)


def step_rate(step: Step[int], median_s: float) -> float:
    """FLOP/s of a training step, what is recomputed counted in."""
    flops = step.flops.forward + step.flops.backward + step.flops.recompute + step.head.flops
    return flops / median_s


@cache
def _attention_flops(batch: int, n: int, n_kv: int, length: int, head_dim: int) -> dict[str, int]:
    """As the registered op counts them."""
    q, k, v = (
        torch.empty(batch, heads, length, head_dim, device="meta", requires_grad=True) for heads in (n, n_kv, n_kv)
    )
    with FlopCounterMode(display=False) as forward:
        output = flash_attention(q, k, v, causal=True)
    with FlopCounterMode(display=False) as backward:
        output.backward(torch.empty_like(output))
    return {"forward": forward.get_total_flops(), "backward": backward.get_total_flops()}
