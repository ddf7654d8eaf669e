"""`torch.ops.actckpt.swiglu` and its backward: what PyTorch knows of them, whatever computes them."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from torch import Tensor

from actckpt.errors import InputError
from actckpt.ops.checks import check_like, check_tensors
from actckpt.ops.define import define
from actckpt.ops.implementation import check_impl, runs_triton
from actckpt.ops.swiglu import reference


def _check_forward(gate: Tensor, up: Tensor, impl: str) -> None:
    check_tensors(gate=gate, up=up)
    _check_pair(gate, up)
    check_impl(impl, gate)


def _check_backward(d_product: Tensor, gate: Tensor, up: Tensor, impl: str) -> None:
    check_tensors(d_product=d_product, gate=gate, up=up)
    _check_pair(gate, up)
    check_like("d_product", d_product, gate.shape, gate.dtype)
    check_impl(impl, gate)


def _check_pair(gate: Tensor, up: Tensor) -> None:
    if gate.shape != up.shape or gate.dtype != up.dtype:
        raise InputError(
            f"gate is {list(gate.shape)} {gate.dtype} and up is {list(up.shape)} {up.dtype}: "
            "they must have one shape and one type"
        )


def _forward(gate: Tensor, up: Tensor, impl: str) -> Tensor:
    product: Tensor = _implementation(impl, gate).forward(gate, up)
    return product


def _forward_fake(gate: Tensor, up: Tensor, impl: str) -> Tensor:
    return gate.new_empty(gate.shape)


def _backward(d_product: Tensor, gate: Tensor, up: Tensor, impl: str) -> tuple[Tensor, Tensor]:
    dgate, dup = _implementation(impl, gate).backward(d_product, gate, up)
    return dgate, dup


def _backward_fake(d_product: Tensor, gate: Tensor, up: Tensor, impl: str) -> tuple[Tensor, Tensor]:
    return gate.new_empty(gate.shape), up.new_empty(up.shape)


def _implementation(impl: str, gate: Tensor) -> ModuleType:
    """The module whose `forward` and `backward` run."""
    if runs_triton(impl, gate):
        # triton is imported where it is needed
        from actckpt.ops.swiglu import kernels

        return kernels
    return reference


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    gate, up, ctx.impl = inputs
    ctx.save_for_backward(gate, up)


def _gradients(ctx: Any, d_product: Tensor) -> tuple[Tensor | None, ...]:
    return *_swiglu_backward(d_product, *ctx.saved_tensors, ctx.impl), None


swiglu = define(
    "swiglu(Tensor gate, Tensor up, str impl='auto') -> Tensor product",
    check=_check_forward,
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
