"""SwiGLU's gating in Triton: the functions of `reference.py`, with the same arguments and results.

A program takes a piece of one row. Everything is computed in float32 and rounded once. Offsets are 64 bits wide.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from actckpt.ops import launching


def forward(gate: Tensor, up: Tensor) -> Tensor:
    """The product, contiguous."""
    product = gate.new_empty(gate.shape)
    gate, up = launching.as_rows(gate), launching.as_rows(up)
    with torch.cuda.device_of(gate):
        swiglu_kernel[_grid(gate)](
            *(gate, up, product, *gate.stride(), *up.stride(), gate.shape[1]),
            BLOCK=launching.TILE,
            **launching.OPTIONS,
        )
    return product


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


def backward(d_product: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of gate and up, contiguous."""
    dgate, dup = gate.new_empty(gate.shape), up.new_empty(up.shape)
    d_product, gate, up = map(launching.as_rows, (d_product, gate, up))
    strides = (*d_product.stride(), *gate.stride(), *up.stride())
    with torch.cuda.device_of(gate):
        swiglu_backward_kernel[_grid(gate)](
            *(d_product, gate, up, dgate, dup, *strides, gate.shape[1]), BLOCK=launching.TILE, **launching.OPTIONS
        )
    return dgate, dup


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


def _grid(rows: Tensor) -> tuple[int]:
    """One program for each piece of each row."""
    return (len(rows) * triton.cdiv(rows.shape[1], launching.TILE),)


@triton.jit
def _piece_of_row(size, BLOCK: tl.constexpr):
    """The row of a program, and its columns."""
    pieces = tl.cdiv(size, BLOCK)
    row = (tl.program_id(0) // pieces).to(tl.int64)
    return row, tl.program_id(0) % pieces * BLOCK + tl.arange(0, BLOCK)
