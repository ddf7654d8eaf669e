"""RoPE in Triton: the function of `reference.py`, with the same arguments and results.

A program turns some heads of one token. Everything is computed in float32 and rounded once. Offsets are 64 bits wide.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from actckpt.ops import launching


def forward(q: Tensor, k: Tensor, inv_freq: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys rotated, contiguous."""
    return _rotate(q, inv_freq), _rotate(k, inv_freq)


def _rotate(x: Tensor, inv_freq: Tensor) -> Tensor:
    batch, length, n_heads, head_dim = x.shape
    output = x.new_empty(x.shape)
    half = triton.next_power_of_2(head_dim // 2)
    heads = max(1, min(triton.next_power_of_2(n_heads), launching.TILE // 2 // half))
    with torch.cuda.device_of(x):
        rope_kernel[(batch * length * triton.cdiv(n_heads, heads),)](
            *(x, inv_freq.contiguous(), output, x.stride(), length, n_heads),
            HALF=head_dim // 2,
            BLOCK_HEADS=heads,
            BLOCK_HALF=half,
            **launching.OPTIONS,
        )
    return output


@triton.jit
def rope_kernel(
    x, inv_freq, output, stride_x, length, n_heads,
    HALF: tl.constexpr, BLOCK_HEADS: tl.constexpr, BLOCK_HALF: tl.constexpr,
):  # fmt: skip
    """Some heads of one token; x is [B, S, heads, 2 * HALF]."""
    pieces = tl.cdiv(n_heads, BLOCK_HEADS)
    token = (tl.program_id(0) // pieces).to(tl.int64)
    position = token % length
    heads = tl.program_id(0) % pieces * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)[:, None]
    columns = tl.arange(0, BLOCK_HALF)[None, :]
    # [BLOCK_HEADS, BLOCK_HALF]
    mask = (heads < n_heads) & (columns < HALF)
    x += token // length * stride_x[0] + position * stride_x[1]
    first = tl.load(x + heads * stride_x[2] + columns * stride_x[3], mask=mask, other=0)
    second = tl.load(x + heads * stride_x[2] + (columns + HALF) * stride_x[3], mask=mask, other=0)
    # [1, BLOCK_HALF]
    angles = position.to(tl.float32) * tl.load(inv_freq + columns, mask=columns < HALF, other=0)
    cos, sin = tl.cos(angles), tl.sin(angles)
    a, b = first.to(tl.float32), second.to(tl.float32)
    out = output + (token * n_heads + heads) * 2 * HALF + columns
    tl.store(out, (a * cos - b * sin).to(first.dtype), mask=mask)
    tl.store(out + HALF, (b * cos + a * sin).to(first.dtype), mask=mask)
