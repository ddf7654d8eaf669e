"""RMSNorm (Zhang and Sennrich, arXiv 1910.07467) that saves the same tensors on every device.

`torch.nn.functional.rms_norm` saves float32 copies where it is not fused. This op saves its input, its weight and one
number a row.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from actckpt.errors import InputError
from actckpt.ops.checks import as_float, check_kinds, check_like, check_tensors
from actckpt.ops.define import define
from actckpt.ops.implementation import check_impl, runs_triton, wide_dtype


def rms_norm(x: Tensor, weight: Tensor, eps: float, *, impl: str = "auto") -> Tensor:
    """`x / sqrt(mean(x²) + eps) * weight` over the last dimension.

    The statistics and the division are in float32 (float64 for float64); the quotient is rounded to x's type before it
    is multiplied by the weight, as Hugging Face's Llama does it. Saved for the backward pass: x, weight, and the
    reciprocal root of each row, [...] in float32. The op can be differentiated once, in reverse mode.

    Args:
        x: [..., H] float16, bfloat16, float32 or float64, any strides; H is at least 1.
        weight: [H], of any of these types.
        eps: What is added to the mean square, at least 0.
        impl: "triton", "reference", or "auto": Triton on a GPU, the reference elsewhere. An explicit request never
            falls back.

    Returns:
        [..., H] in x's type, contiguous.

    Raises:
        InputError: The weight does not have the size of a row, the tensors are no such numbers on one device or carry a
            forward-mode derivative, eps is negative or not finite, `impl` cannot run on x, or the gradient is
            differentiated again.
    """
    check_kinds(Tensor, "a tensor", x=x, weight=weight)
    check_kinds(Real, "a number", eps=eps)
    check_kinds(str, "a name", impl=impl)
    return _rms_norm(x, weight, as_float(eps), impl)[0]


def _check(x: Tensor, weight: Tensor, eps: float, impl: str) -> None:
    check_tensors(x=x, weight=weight)
    _check_rows(x, weight)
    if not 0 <= eps < math.inf:
        raise InputError(f"eps is {eps}: it must be at least 0 and finite")
    check_impl(impl, x)


def _check_rows(x: Tensor, weight: Tensor) -> None:
    if not x.dim() or not x.shape[-1]:
        raise InputError(f"x is {list(x.shape)}: it must be [..., H], rows of at least one number")
    if weight.shape != x.shape[-1:]:
        raise InputError(
            f"weight has shape {list(weight.shape)}: it must be {list(x.shape[-1:])}, the size of a row of x"
        )


def _forward(x: Tensor, weight: Tensor, eps: float, impl: str) -> tuple[Tensor, Tensor]:
    if runs_triton(impl, x):
        from actckpt.ops import launch

        return launch.rms_norm(x, weight, eps)
    rows = x.to(wide_dtype(x))
    # [..., 1]
    rstd = torch.rsqrt(rows.square().mean(-1, keepdim=True) + eps)
    output = (rows * rstd).to(x.dtype) * weight.to(x.dtype)
    return output.contiguous(), rstd.squeeze(-1).contiguous()


def _forward_fake(x: Tensor, weight: Tensor, eps: float, impl: str) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty(x.shape[:-1], dtype=wide_dtype(x))


def _check_backward(d_output: Tensor, x: Tensor, weight: Tensor, rstd: Tensor, impl: str) -> None:
    check_tensors(d_output=d_output, x=x, weight=weight, rstd=rstd)
    _check_rows(x, weight)
    check_like("d_output", d_output, x.shape, x.dtype)
    check_like("rstd", rstd, x.shape[:-1], wide_dtype(x))
    check_impl(impl, x)


def _backward(d_output: Tensor, x: Tensor, weight: Tensor, rstd: Tensor, impl: str) -> tuple[Tensor, Tensor]:
    if runs_triton(impl, x):
        from actckpt.ops import launch

        return launch.rms_norm_backward(d_output, x, weight, rstd)
    rstd = rstd.unsqueeze(-1)
    normed = x.to(rstd.dtype) * rstd
    d_output = d_output.to(rstd.dtype)
    d_normed = d_output * weight.to(rstd.dtype)
    # what a row's own scale takes away: the part of d_normed that lies along normed
    dx = rstd * (d_normed - normed * (d_normed * normed).mean(-1, keepdim=True))
    dweight = (d_output * normed).reshape(-1, x.shape[-1]).sum(0)
    return dx.to(x.dtype).contiguous(), dweight.to(weight.dtype)


def _backward_fake(d_output: Tensor, x: Tensor, weight: Tensor, rstd: Tensor, impl: str) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape)


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


_rms_norm = define(
    "rms_norm(Tensor x, Tensor weight, float eps, str impl='auto') -> (Tensor output, Tensor rstd)",
    check=_check,
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
