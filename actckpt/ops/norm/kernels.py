"""RMSNorm in Triton: the functions of `reference.py`, with the same arguments and results.

A program takes whole rows, several where rows are short. Everything is computed in float32 and rounded as the reference
rounds it. Offsets are 64 bits wide.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from actckpt.ops import launching

# programs that sum the gradient of the weight, each over its share of the rows
_PARTS = 256


def forward(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The output, contiguous, and rstd, [...] in float32."""
    size = x.shape[-1]
    output, rstd = x.new_empty(x.shape), x.new_empty(x.shape[:-1], dtype=torch.float32)
    x, weight = launching.as_rows(x), weight.contiguous()
    tile = _tile(size)
    with torch.cuda.device_of(x):
        rms_norm_kernel[(triton.cdiv(len(x), tile["BLOCK_ROWS"]),)](
            x, weight, output, rstd, *x.stride(), len(x), eps, SIZE=size, **tile, **launching.OPTIONS
        )
    return output, rstd


@triton.jit
def rms_norm_kernel(
    x, weight, output, rstd, stride_row, stride_column, n_rows, eps,
    SIZE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_SIZE: tl.constexpr,
):  # fmt: skip
    """One tile of rows of SIZE numbers."""
    rows = (tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)).to(tl.int64)
    columns = tl.arange(0, BLOCK_SIZE)
    # [BLOCK_ROWS, BLOCK_SIZE]
    mask = (rows < n_rows)[:, None] & (columns < SIZE)[None, :]
    x_tile = tl.load(x + rows[:, None] * stride_row + columns[None, :] * stride_column, mask=mask, other=0)
    wide = x_tile.to(tl.float32)
    # [BLOCK_ROWS]
    r = 1 / tl.sqrt_rn(tl.sum(wide * wide, 1) / SIZE + eps)
    tl.store(rstd + rows, r, mask=rows < n_rows)
    normed = (wide * r[:, None]).to(x_tile.dtype).to(tl.float32)
    w = tl.load(weight + columns, mask=columns < SIZE, other=0).to(x_tile.dtype).to(tl.float32)
    tl.store(output + rows[:, None] * SIZE + columns[None, :], (normed * w[None, :]).to(x_tile.dtype), mask=mask)


def backward(d_output: Tensor, x: Tensor, weight: Tensor, rstd: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of x, contiguous, and of the weight."""
    size = x.shape[-1]
    dx = x.new_empty(x.shape)
    d_output, x = launching.as_rows(d_output), launching.as_rows(x)
    weight, rstd = weight.contiguous(), rstd.contiguous()
    tile = _tile(size)
    parts = x.new_empty(min(_PARTS, triton.cdiv(len(x), tile["BLOCK_ROWS"])), size, dtype=torch.float32)
    strides = (*d_output.stride(), *x.stride())
    with torch.cuda.device_of(x):
        rms_norm_backward_kernel[(len(parts),)](
            d_output, x, weight, rstd, dx, parts, *strides, len(x), SIZE=size, **tile, **launching.OPTIONS
        )
    return dx, parts.sum(0).to(weight.dtype)


@triton.jit
def rms_norm_backward_kernel(
    d_output, x, weight, rstd, dx, dweight_parts,
    stride_d_row, stride_d_column, stride_x_row, stride_x_column, n_rows,
    SIZE: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_SIZE: tl.constexpr,
):  # fmt: skip
    """Every n-th tile of rows, and their sum for the weight: the n sums are added outside, in a fixed order."""
    columns = tl.arange(0, BLOCK_SIZE)
    w = tl.load(weight + columns, mask=columns < SIZE, other=0).to(tl.float32)
    dweight = tl.zeros([BLOCK_SIZE], tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(n_rows, BLOCK_ROWS), tl.num_programs(0)):
        rows = (tile * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)).to(tl.int64)
        # [BLOCK_ROWS, BLOCK_SIZE]
        mask = (rows < n_rows)[:, None] & (columns < SIZE)[None, :]
        d = tl.load(d_output + rows[:, None] * stride_d_row + columns[None, :] * stride_d_column, mask=mask, other=0)
        x_tile = tl.load(x + rows[:, None] * stride_x_row + columns[None, :] * stride_x_column, mask=mask, other=0)
        # [BLOCK_ROWS, 1]
        r = tl.load(rstd + rows, mask=rows < n_rows, other=0)[:, None]
        normed = x_tile.to(tl.float32) * r
        dweight += tl.sum(d.to(tl.float32) * normed, 0)
        d_normed = d.to(tl.float32) * w[None, :]
        along = tl.sum(d_normed * normed, 1)[:, None] / SIZE
        tl.store(
            dx + rows[:, None] * SIZE + columns[None, :], (r * (d_normed - normed * along)).to(x_tile.dtype), mask=mask
        )
    tl.store(dweight_parts + tl.program_id(0) * SIZE + columns, dweight, mask=columns < SIZE)


def _tile(size: int) -> dict[str, int]:
    """A tile of whole rows, and its warps."""
    width = triton.next_power_of_2(size)
    return {
        "BLOCK_ROWS": max(1, launching.TILE // width),
        "BLOCK_SIZE": width,
        "num_warps": min(16, max(4, width // 1024)),
    }
