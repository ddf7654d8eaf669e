"""SwiGLU's gating (Shazeer, arXiv 2002.05202), which saves its two inputs and nothing else."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from actckpt.errors import InputError
from actckpt.ops.define import define


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """`silu(gate) * up`, element by element, with `silu(x) = x * sigmoid(x)`.

    Computed in float32 (float64 for float64) and rounded once. Saved for the backward pass: gate and up.

    Args:
        gate: [...], any strides.
        up: The shape and the type of gate.

    Returns:
        [...] in the type of gate, contiguous.

    Raises:
        InputError: The two differ in shape or type.
    """
    if gate.shape != up.shape or gate.dtype != up.dtype:
        raise InputError(
            f"gate is {list(gate.shape)} {gate.dtype} and up is {list(up.shape)} {up.dtype}: "
            "they must have one shape and one type"
        )
    return _swiglu(gate, up)


def _forward(gate: Tensor, up: Tensor) -> Tensor:
    wide = torch.promote_types(gate.dtype, torch.float32)
    g, u = gate.to(wide), up.to(wide)
    return (g * torch.sigmoid(g) * u).to(gate.dtype).contiguous()


def _forward_fake(gate: Tensor, up: Tensor) -> Tensor:
    return gate.new_empty(gate.shape)


def _backward(d_product: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(gate.dtype, torch.float32)
    dp, g, u = d_product.to(wide), gate.to(wide), up.to(wide)
    sigmoid = torch.sigmoid(g)
    dgate = dp * u * sigmoid * (1 + g * (1 - sigmoid))
    dup = dp * g * sigmoid
    return dgate.to(gate.dtype).contiguous(), dup.to(up.dtype).contiguous()


def _backward_fake(d_product: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    return gate.new_empty(gate.shape), up.new_empty(up.shape)


def _setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, d_product: Tensor) -> tuple[Tensor, Tensor]:
    return _swiglu_backward(d_product, *ctx.saved_tensors)


_swiglu = define("swiglu(Tensor gate, Tensor up) -> Tensor product", _forward, _forward_fake)
_swiglu_backward = define(
    "swiglu_backward(Tensor d_product, Tensor gate, Tensor up) -> (Tensor dgate, Tensor dup)",
    _backward,
    _backward_fake,
)
_swiglu.register_autograd(_gradients, setup_context=_setup_context)
