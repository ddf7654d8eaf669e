"""RMSNorm, SwiGLU and RoPE by the Triton kernels: the forward and backward of norm.py, swiglu.py and rope.py."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from actckpt.ops import kernels

# numbers of a tile: enough to keep 4 warps loading 16 bytes a thread
_TILE = 4096
# as the kernels are tested; Triton's default is about to change
_OPTIONS = {"enable_fp_fusion": True}
# programs that sum the gradient of a norm's weight, each over its share of the rows
_PARTS = 256


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The output, contiguous, and the reciprocal root of each row, in float32."""
    size = x.shape[-1]
    output, rstd = x.new_empty(x.shape), x.new_empty(x.shape[:-1], dtype=torch.float32)
    x, weight = _rows(x), weight.contiguous()
    tile = _row_tile(size)
    with torch.cuda.device_of(x):
        kernels.rms_norm_kernel[(triton.cdiv(len(x), tile["BLOCK_ROWS"]),)](
            x, weight, output, rstd, *x.stride(), len(x), eps, SIZE=size, **tile, **_OPTIONS
        )
    return output, rstd


def rms_norm_backward(d_output: Tensor, x: Tensor, weight: Tensor, rstd: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of x, contiguous, and of the weight."""
    size = x.shape[-1]
    dx = x.new_empty(x.shape)
    d_output, x, weight, rstd = _rows(d_output), _rows(x), weight.contiguous(), rstd.contiguous()
    tile = _row_tile(size)
    parts = x.new_empty(min(_PARTS, triton.cdiv(len(x), tile["BLOCK_ROWS"])), size, dtype=torch.float32)
    strides = (*d_output.stride(), *x.stride())
    with torch.cuda.device_of(x):
        kernels.rms_norm_backward_kernel[(len(parts),)](
            d_output, x, weight, rstd, dx, parts, *strides, len(x), SIZE=size, **tile, **_OPTIONS
        )
    return dx, parts.sum(0).to(weight.dtype)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """The product, contiguous."""
    product = gate.new_empty(gate.shape)
    gate, up = _rows(gate), _rows(up)
    with torch.cuda.device_of(gate):
        kernels.swiglu_kernel[_pieces(gate)](
            gate, up, product, *gate.stride(), *up.stride(), gate.shape[1], BLOCK=_TILE, **_OPTIONS
        )
    return product


def swiglu_backward(d_product: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of gate and up, contiguous."""
    dgate, dup = gate.new_empty(gate.shape), up.new_empty(up.shape)
    d_product, gate, up = (_rows(x) for x in (d_product, gate, up))
    strides = (*d_product.stride(), *gate.stride(), *up.stride())
    with torch.cuda.device_of(gate):
        kernels.swiglu_backward_kernel[_pieces(gate)](
            d_product, gate, up, dgate, dup, *strides, gate.shape[1], BLOCK=_TILE, **_OPTIONS
        )
    return dgate, dup


def rope(q: Tensor, k: Tensor, inv_freq: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys rotated, contiguous."""
    return _rotate(q, inv_freq), _rotate(k, inv_freq)


def _rotate(x: Tensor, inv_freq: Tensor) -> Tensor:
    batch, length, n_heads, head_dim = x.shape
    output = x.new_empty(x.shape)
    half = triton.next_power_of_2(head_dim // 2)
    heads = max(1, min(triton.next_power_of_2(n_heads), _TILE // 2 // half))
    with torch.cuda.device_of(x):
        kernels.rope_kernel[(batch * length * triton.cdiv(n_heads, heads),)](
            *(x, inv_freq.contiguous(), output, x.stride(), length, n_heads),
            HALF=head_dim // 2,
            BLOCK_HEADS=heads,
            BLOCK_HALF=half,
            **_OPTIONS,
        )
    return output


def _rows(x: Tensor) -> Tensor:
    """[..., size] as a matrix; a single number as one row of one."""
    return x.reshape(x.shape[:-1].numel(), x.shape[-1:].numel())


def _row_tile(size: int) -> dict[str, int]:
    """A tile of whole rows, several of them where rows are short, and its warps."""
    width = triton.next_power_of_2(size)
    return {
        "BLOCK_ROWS": max(1, _TILE // width),
        "BLOCK_SIZE": width,
        "num_warps": min(16, max(4, width // 1024)),
    }


def _pieces(rows: Tensor) -> tuple[int]:
    return (len(rows) * triton.cdiv(rows.shape[1], _TILE),)
