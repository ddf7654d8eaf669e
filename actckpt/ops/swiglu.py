"""SwiGLU's gating (Shazeer, arXiv 2002.05202), which saves its two inputs and nothing else."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from actckpt.errors import InputError
from actckpt.ops.checks import check_kinds, check_like, check_tensors
from actckpt.ops.define import define
from actckpt.ops.implementation import check_impl, runs_triton, wide_dtype


def swiglu(gate: Tensor, up: Tensor, *, impl: str = "auto") -> Tensor:
    """`silu(gate) * up`, element by element, with `silu(x) = x * sigmoid(x)`.

    Computed in float32 (float64 for float64) and rounded once. Saved for the backward pass: gate and up. The op can be
    differentiated once, in reverse mode.

    Args:
        gate: [...] float16, bfloat16, float32 or float64, any strides.
        up: The shape and the type of gate.
        impl: "triton", "reference", or "auto": Triton on a GPU, the reference elsewhere. An explicit request never
            falls back.

    Returns:
        [...] in the type of gate, contiguous.

    Raises:
        InputError: The two differ in shape, type or device, are no such numbers or carry a forward-mode derivative,
            `impl` cannot run on them, or the gradient is differentiated again.
    """
    check_kinds(Tensor, "a tensor", gate=gate, up=up)
    check_kinds(str, "a name", impl=impl)
    return _swiglu(gate, up, impl)


def _check(gate: Tensor, up: Tensor, impl: str) -> None:
    check_tensors(gate=gate, up=up)
    _check_pair(gate, up)
    check_impl(impl, gate)


def _check_pair(gate: Tensor, up: Tensor) -> None:
    if gate.shape != up.shape or gate.dtype != up.dtype:
        raise InputError(
            f"gate is {list(gate.shape)} {gate.dtype} and up is {list(up.shape)} {up.dtype}: "
            "they must have one shape and one type"
        )


def _forward(gate: Tensor, up: Tensor, impl: str) -> Tensor:
    if runs_triton(impl, gate):
        from actckpt.ops import launch

        return launch.swiglu(gate, up)
    wide = wide_dtype(gate)
    g, u = gate.to(wide), up.to(wide)
    return (g * torch.sigmoid(g) * u).to(gate.dtype).contiguous()


def _forward_fake(gate: Tensor, up: Tensor, impl: str) -> Tensor:
    return gate.new_empty(gate.shape)


def _check_backward(d_product: Tensor, gate: Tensor, up: Tensor, impl: str) -> None:
    check_tensors(d_product=d_product, gate=gate, up=up)
    _check_pair(gate, up)
    check_like("d_product", d_product, gate.shape, gate.dtype)
    check_impl(impl, gate)


def _backward(d_product: Tensor, gate: Tensor, up: Tensor, impl: str) -> tuple[Tensor, Tensor]:
    if runs_triton(impl, gate):
        from actckpt.ops import launch

        return launch.swiglu_backward(d_product, gate, up)
    wide = wide_dtype(gate)
    dp, g, u = d_product.to(wide), gate.to(wide), up.to(wide)
    sigmoid = torch.sigmoid(g)
    dgate = dp * u * sigmoid * (1 + g * (1 - sigmoid))
    dup = dp * g * sigmoid
    return dgate.to(gate.dtype).contiguous(), dup.to(up.dtype).contiguous()


def _backward_fake(d_product: Tensor, gate: Tensor, up: Tensor, impl: str) -> tuple[Tensor, Tensor]:
    return gate.new_empty(gate.shape), up.new_empty(up.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    gate, up, ctx.impl = inputs
    ctx.save_for_backward(gate, up)


def _gradients(ctx: Any, d_product: Tensor) -> tuple[Tensor | None, ...]:
    return *_swiglu_backward(d_product, *ctx.saved_tensors, ctx.impl), None


_swiglu = define(
    "swiglu(Tensor gate, Tensor up, str impl='auto') -> Tensor product",
    check=_check,
    compute=_forward,
    fake=_forward_fake,
    save=_save,
    gradients=_gradients,
)
_swiglu_backward = define(
    "swiglu_backward(Tensor d_product, Tensor gate, Tensor up, str impl='auto') -> (Tensor dgate, Tensor dup)",
    check=_check_backward,
    compute=_backward,
    fake=_backward_fake,
)
