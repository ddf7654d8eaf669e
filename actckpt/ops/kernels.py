"""RMSNorm, SwiGLU and RoPE in Triton. norm.py, swiglu.py and rope.py say what each computes.

Everything is computed in float32 and rounded as the reference rounds it. Offsets are 64 bits wide.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton
import triton.language as tl


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


@triton.jit
def swiglu_kernel(
    gate, up, product, stride_gate_row, stride_gate_column, stride_up_row, stride_up_column, size,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """One piece of one row."""
    row, columns = _piece_of_row(size, BLOCK)
    mask = columns < size
    gate_tile = tl.load(gate + row * stride_gate_row + columns * stride_gate_column, mask=mask, other=0)
    g = gate_tile.to(tl.float32)
    u = tl.load(up + row * stride_up_row + columns * stride_up_column, mask=mask, other=0).to(tl.float32)
    tl.store(product + row * size + columns, (g * tl.sigmoid(g) * u).to(gate_tile.dtype), mask=mask)


@triton.jit
def swiglu_backward_kernel(
    d_product, gate, up, dgate, dup, stride_d_row, stride_d_column,
    stride_gate_row, stride_gate_column, stride_up_row, stride_up_column, size, BLOCK: tl.constexpr,
):  # fmt: skip
    """One piece of one row."""
    row, columns = _piece_of_row(size, BLOCK)
    mask = columns < size
    d = tl.load(d_product + row * stride_d_row + columns * stride_d_column, mask=mask, other=0).to(tl.float32)
    gate_tile = tl.load(gate + row * stride_gate_row + columns * stride_gate_column, mask=mask, other=0)
    g = gate_tile.to(tl.float32)
    u = tl.load(up + row * stride_up_row + columns * stride_up_column, mask=mask, other=0).to(tl.float32)
    sigmoid = tl.sigmoid(g)
    dg = d * u * sigmoid * (1 + g * (1 - sigmoid))
    tl.store(dgate + row * size + columns, dg.to(gate_tile.dtype), mask=mask)
    tl.store(dup + row * size + columns, (d * g * sigmoid).to(gate_tile.dtype), mask=mask)


@triton.jit
def _piece_of_row(size, BLOCK: tl.constexpr):
    pieces = tl.cdiv(size, BLOCK)
    row = (tl.program_id(0) // pieces).to(tl.int64)
    return row, tl.program_id(0) % pieces * BLOCK + tl.arange(0, BLOCK)


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
