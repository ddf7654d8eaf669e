"""Flash attention by the Triton kernels: the functions of `reference.py`, with the same arguments and results."""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
from torch import Tensor

from actckpt.ops.attention import kernels
from actckpt.ops.attention.config import INTERPRETER, Launch, Launches, block_d, launches
from actckpt.ops.attention.options import Options
from actckpt.ops.attention.reference import allocate_backward, allocate_forward
from actckpt.ops.implementation import interpreted, readable

_PREPROCESS_BLOCK = 64


def forward(q: Tensor, k: Tensor, v: Tensor, options: Options) -> tuple[Tensor, Tensor]:
    """The output [B, n, S_q, D] of attention and the natural log-sum-exp [B, n, S_q] of its scores."""
    o, lse = allocate_forward(q)
    q, k, v = readable(q, k, v)
    launch = _launches(q).forward
    with torch.cuda.device_of(q):
        kernels.forward_kernel[_grid(q, launch.block_m)](
            *(q, k, v, o, lse),
            *(x.stride() for x in (q, k, v, o)),
            *(q.shape[1], k.shape[1], q.shape[2], k.shape[2], options.scale * math.log2(math.e)),
            **_options(launch, q, options.right == 0),
        )
    return o, lse


def backward(
    do: Tensor, q: Tensor, k: Tensor, v: Tensor, o: Tensor, lse: Tensor, dlse: Tensor | None, options: Options
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k and v, from the gradient of the output, with the probabilities recomputed from lse."""
    dq, dk, dv = allocate_backward(q, k, v)
    q, k, v, o, do = readable(q, k, v, o, do)
    delta = torch.empty_like(lse)
    sizes = (q.shape[1], k.shape[1], q.shape[2], k.shape[2], options.scale, options.scale * math.log2(math.e))
    config = _launches(q)
    with torch.cuda.device_of(q):
        kernels.preprocess_kernel[_grid(q, _PREPROCESS_BLOCK)](
            *(o, do, delta, o.stride(), do.stride(), q.shape[1], q.shape[2]),
            HEAD_DIM=q.shape[3],
            BLOCK_D=block_d(q.shape[3]),
            BLOCK_M=_PREPROCESS_BLOCK,
            enable_fp_fusion=True,
        )
        kernels.dk_dv_kernel[_grid(k, config.dk_dv.block_n)](
            *(q, k, v, do, lse, delta, dk, dv),
            *(x.stride() for x in (q, k, v, do, dk, dv)),
            *sizes,
            **_options(config.dk_dv, q, options.right == 0),
        )
        kernels.dq_kernel[_grid(q, config.dq.block_m)](
            *(q, k, v, do, lse, delta, dq),
            *(x.stride() for x in (q, k, v, do, dq)),
            *sizes,
            **_options(config.dq, q, options.right == 0),
        )
    return dq, dk, dv


def _launches(q: Tensor) -> Launches:
    if interpreted():
        return INTERPRETER
    return launches(torch.cuda.get_device_capability(q.device), q.dtype.itemsize, q.shape[3])


def _grid(x: Tensor, block: int) -> tuple[int]:
    """One program for each tile of each head, in one dimension: the others end at 65,535."""
    batch, heads, length, _ = x.shape
    return (triton.cdiv(length, block) * heads * batch,)


def _options(launch: Launch, q: Tensor, causal: bool) -> dict[str, Any]:
    return {
        "CAUSAL": causal,
        "HEAD_DIM": q.shape[3],
        "BLOCK_D": block_d(q.shape[3]),
        "BLOCK_M": launch.block_m,
        "BLOCK_N": launch.block_n,
        "num_warps": launch.num_warps,
        "num_stages": launch.num_stages,
        # as the kernels are tested; Triton's default is about to change
        "enable_fp_fusion": True,
    }
