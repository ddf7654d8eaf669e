"""`torch.ops.actckpt.rms_norm` and its backward: what PyTorch knows of them, whatever computes them.

`torch.nn.functional.rms_norm` saves float32 copies where it is not fused. This op saves its input, its weight and one
number a row.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

from torch import Tensor

from actckpt.errors import InputError
from actckpt.ops.checks import check_like, check_tensors
from actckpt.ops.define import define
from actckpt.ops.implementation import check_impl, runs_triton, wide_dtype
from actckpt.ops.norm import reference


def _check_forward(x: Tensor, weight: Tensor, eps: float, impl: str) -> None:
    check_tensors(x=x, weight=weight)
    _check_rows(x, weight)
    if not 0 <= eps < math.inf:
        raise InputError(f"eps is {eps}: it must be at least 0 and finite")
    check_impl(impl, x)


def _check_backward(d_output: Tensor, x: Tensor, weight: Tensor, rstd: Tensor, impl: str) -> None:
    check_tensors(d_output=d_output, x=x, weight=weight, rstd=rstd)
    _check_rows(x, weight)
    check_like("d_output", d_output, x.shape, x.dtype)
    check_like("rstd", rstd, x.shape[:-1], wide_dtype(x))
    check_impl(impl, x)


def _check_rows(x: Tensor, weight: Tensor) -> None:
    if not x.dim() or not x.shape[-1]:
        raise InputError(f"x is {list(x.shape)}: it must be [..., H], rows of at least one number")
    if weight.shape != x.shape[-1:]:
        raise InputError(
            f"weight has shape {list(weight.shape)}: it must be {list(x.shape[-1:])}, the size of a row of x"
        )


def _forward(x: Tensor, weight: Tensor, eps: float, impl: str) -> tuple[Tensor, Tensor]:
    output, rstd = _implementation(impl, x).forward(x, weight, eps)
    return output, rstd


def _forward_fake(x: Tensor, weight: Tensor, eps: float, impl: str) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty(x.shape[:-1], dtype=wide_dtype(x))


def _backward(d_output: Tensor, x: Tensor, weight: Tensor, rstd: Tensor, impl: str) -> tuple[Tensor, Tensor]:
    dx, dweight = _implementation(impl, x).backward(d_output, x, weight, rstd)
    return dx, dweight


def _backward_fake(d_output: Tensor, x: Tensor, weight: Tensor, rstd: Tensor, impl: str) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape)


def _implementation(impl: str, x: Tensor) -> ModuleType:
    """The module whose `forward` and `backward` run."""
    if runs_triton(impl, x):
        # triton is imported where it is needed
        from actckpt.ops.norm import kernels

        return kernels
    return reference


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, weight, _, ctx.impl = inputs
    _, rstd = output
    ctx.mark_non_differentiable(rstd)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, weight, rstd)


def _gradients(ctx: Any, d_output: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    if d_output is None:
        return None, None, None, None
    dx, dweight = _rms_norm_backward(d_output, *ctx.saved_tensors, ctx.impl)
    return dx, dweight, None, None


rms_norm = define(
    "rms_norm(Tensor x, Tensor weight, float eps, str impl='auto') -> (Tensor output, Tensor rstd)",
    check=_check_forward,
    compute=_forward,
    fake=_forward_fake,
    save=_save,
    gradients=_gradients,
)
_rms_norm_backward = define(
    "rms_norm_backward(Tensor d_output, Tensor x, Tensor weight, Tensor rstd, str impl='auto')"
    " -> (Tensor dx, Tensor dweight)",
    check=_check_backward,
    compute=_backward,
    fake=_backward_fake,
)
