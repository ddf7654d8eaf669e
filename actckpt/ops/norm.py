"""RMSNorm (Zhang and Sennrich, arXiv 1910.07467) that saves the same tensors on every device.

`torch.nn.functional.rms_norm` saves float32 copies where it is not fused. This op saves its input, its weight and one
number a row.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from actckpt.errors import InputError
from actckpt.ops.define import define
from actckpt.ops.implementation import check_impl, check_tensors, runs_triton


def rms_norm(x: Tensor, weight: Tensor, eps: float, *, impl: str = "auto") -> Tensor:
    """`x / sqrt(mean(x²) + eps) * weight` over the last dimension.

    The statistics and the division are in float32 (float64 for float64); the quotient is rounded to x's type before it
    is multiplied by the weight, as Hugging Face's Llama does it. Saved for the backward pass: x, weight, and the
    reciprocal root of each row, [...] in float32.

    Args:
        x: [..., H], any strides.
        weight: [H].
        eps: What is added to the mean square.
        impl: "triton", "reference", or "auto": Triton on a GPU, the reference elsewhere. An explicit request never
            falls back.

    Returns:
        [..., H] in x's type, contiguous.

    Raises:
        InputError: The weight does not have the size of a row, the tensors are no floating-point numbers on one device,
            or `impl` cannot run on x.
    """
    if weight.shape != x.shape[-1:]:
        raise InputError(
            f"weight has shape {list(weight.shape)}: it must be {list(x.shape[-1:])}, the size of a row of x"
        )
    check_tensors(x, weight)
    check_impl(impl, x)
    return _rms_norm(x, weight, eps, impl)[0]


def _forward(x: Tensor, weight: Tensor, eps: float, impl: str = "auto") -> tuple[Tensor, Tensor]:
    if runs_triton(impl, x):
        from actckpt.ops import launch

        return launch.rms_norm(x, weight, eps)
    rows = x.to(_statistics_dtype(x))
    # [..., 1]
    rstd = torch.rsqrt(rows.square().mean(-1, keepdim=True) + eps)
    output = (rows * rstd).to(x.dtype) * weight.to(x.dtype)
    return output.contiguous(), rstd.squeeze(-1).contiguous()


def _forward_fake(x: Tensor, weight: Tensor, eps: float, impl: str = "auto") -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty(x.shape[:-1], dtype=_statistics_dtype(x))


def _backward(d_output: Tensor, x: Tensor, weight: Tensor, rstd: Tensor, impl: str = "auto") -> tuple[Tensor, Tensor]:
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


def _backward_fake(
    d_output: Tensor, x: Tensor, weight: Tensor, rstd: Tensor, impl: str = "auto"
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape)


def _statistics_dtype(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
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
    _forward,
    _forward_fake,
)
_rms_norm_backward = define(
    "rms_norm_backward(Tensor d_output, Tensor x, Tensor weight, Tensor rstd, str impl='auto')"
    " -> (Tensor dx, Tensor dweight)",
    _backward,
    _backward_fake,
)
_rms_norm.register_autograd(_gradients, setup_context=_setup_context)
