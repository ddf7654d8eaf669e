"""Kernels compiled before they are needed, into the cache from which Triton then takes them, without a GPU."""

from __future__ import annotations

import torch

from actckpt.ops.attention import launch
from actckpt.ops.attention.options import Options
from gpu import plain_flash
from gpu.exact import random_inputs
from gpu.launches import Capability, noted, without_gpu

# any whose strides are multiples of 16 are specialised alike
BATCH, HEADS, LENGTH = 2, (4, 2), 256


def compile_attention(head_dim: int, dtype: str, masks: tuple[bool, ...], capability: Capability) -> None:
    """The package's kernels, for causal masks and others as `masks` says."""
    q, k, v, do = random_inputs(
        "meta", batch=BATCH, heads=HEADS, lengths=(LENGTH, LENGTH), head_dim=head_dim, dtype=getattr(torch, dtype)
    )
    lse = torch.empty(q.shape[:3], device="meta")
    for causal in masks:
        options = Options.of(causal, head_dim**-0.5)
        with without_gpu(capability):
            with noted() as calls:
                launch.forward(q, k, v, options)
                launch.backward(do, q, k, v, do, lse, None, options)
            for call in calls.values():
                call.compiled()


def compile_plain(direction: str, head_dim: int, capability: Capability) -> None:
    """The plain kernels under a causal mask, with all the tiles that are tried."""
    x = torch.empty(BATCH, HEADS[0], LENGTH, head_dim, device="meta", dtype=torch.bfloat16)
    row = torch.empty(BATCH, HEADS[0], LENGTH, device="meta")
    arguments = {
        plain_flash.forward_kernel: (x, x, x, x, row, LENGTH, 1.0),
        plain_flash.dk_dv_kernel: (x, x, x, x, row, row, x, x, LENGTH, 1.0, 1.0),
        plain_flash.dq_kernel: (x, x, x, x, row, row, x, LENGTH, 1.0, 1.0),
    }
    kernels = list(arguments) if direction == "backward" else [plain_flash.forward_kernel]
    with without_gpu(capability):
        if direction == "backward":
            rows = plain_flash.DELTA_ROWS
            plain_flash.delta_kernel.warmup(x, x, row, grid=(1,), HEAD_DIM=head_dim, BLOCK_M=rows)
        for kernel in kernels:
            for config in kernel.configs:
                kernel.fn.warmup(*arguments[kernel], grid=(1,), CAUSAL=True, HEAD_DIM=head_dim, **config.all_kwargs())
