"""SwiGLU's gating (Shazeer, arXiv 2002.05202), which saves its two inputs and nothing else."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from actckpt.errors import InputError
from actckpt.ops.define import define
from actckpt.ops.implementation import check_impl, check_tensors, runs_triton


def swiglu(gate: Tensor, up: Tensor, *, impl: str = "auto") -> Tensor:
    """`silu(gate) * up`, element by element, with `silu(x) = x * sigmoid(x)`.

    Computed in float32 (float64 for float64) and rounded once. Saved for the backward pass: gate and up.

    Args:
        gate: [...], any strides.
        up: The shape and the type of gate.
        impl: "triton", "reference", or "auto": Triton on a GPU, the reference elsewhere. An explicit request never
            falls back.

    Returns:
        [...] in the type of gate, contiguous.

    Raises:
        InputError: The two differ in shape, type or device, are whole numbers, or `impl` cannot run on them.
    """
    if gate.shape != up.shape or gate.dtype != up.dtype:
        raise InputError(
            f"gate is {list(gate.shape)} {gate.dtype} and up is {list(up.shape)} {up.dtype}: "
            "they must have one shape and one type"
        )
    check_tensors(gate, up)
    check_impl(impl, gate)
    return _swiglu(gate, up, impl)


def _forward(gate: Tensor, up: Tensor, impl: str = "auto") -> Tensor:
    if runs_triton(impl, gate):
        from actckpt.ops import launch

        return launch.swiglu(gate, up)
    wide = torch.promote_types(gate.dtype, torch.float32)
    g, u = gate.to(wide), up.to(wide)
    return (g * torch.sigmoid(g) * u).to(gate.dtype).contiguous()


def _forward_fake(gate: Tensor, up: Tensor, impl: str = "auto") -> Tensor:
    return gate.new_empty(gate.shape)


def _backward(d_product: Tensor, gate: Tensor, up: Tensor, impl: str = "auto") -> tuple[Tensor, Tensor]:
    if runs_triton(impl, gate):
        from actckpt.ops import launch

        return launch.swiglu_backward(d_product, gate, up)
    wide = torch.promote_types(gate.dtype, torch.float32)
    dp, g, u = d_product.to(wide), gate.to(wide), up.to(wide)
    sigmoid = torch.sigmoid(g)
    dgate = dp * u * sigmoid * (1 + g * (1 - sigmoid))
    dup = dp * g * sigmoid
    return dgate.to(gate.dtype).contiguous(), dup.to(up.dtype).contiguous()


def _backward_fake(d_product: Tensor, gate: Tensor, up: Tensor, impl: str = "auto") -> tuple[Tensor, Tensor]:
    return gate.new_empty(gate.shape), up.new_empty(up.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    gate, up, ctx.impl = inputs
    ctx.save_for_backward(gate, up)


def _gradients(ctx: Any, d_product: Tensor) -> tuple[Tensor | None, ...]:
    return *_swiglu_backward(d_product, *ctx.saved_tensors, ctx.impl), None


_swiglu = define("swiglu(Tensor gate, Tensor up, str impl='auto') -> Tensor product", _forward, _forward_fake)
_swiglu_backward = define(
    "swiglu_backward(Tensor d_product, Tensor gate, Tensor up, str impl='auto') -> (Tensor dgate, Tensor dup)",
    _backward,
    _backward_fake,
)
_swiglu.register_autograd(_gradients, setup_context=_setup_context)
