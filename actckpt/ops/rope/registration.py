"""`torch.ops.actckpt.rope`: what PyTorch knows of it, whatever computes it. It is its own backward."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from actckpt.errors import InputError
from actckpt.ops.checks import check_like, check_tensors
from actckpt.ops.define import define
from actckpt.ops.implementation import check_impl, runs_triton
from actckpt.ops.rope import reference


def _check(q: Tensor, k: Tensor, inv_freq: Tensor, impl: str) -> None:
    check_tensors(q=q, k=k, inv_freq=inv_freq)
    if q.dim() != 4 or q.dtype != k.dtype or q.shape[:2] != k.shape[:2] or q.shape[3:] != k.shape[3:]:
        raise InputError(
            f"q is {list(q.shape)} {q.dtype} and k is {list(k.shape)} {k.dtype}: "
            "they must be [B, S, n, D] and [B, S, n_kv, D] of one type"
        )
    if q.shape[3] < 2 or q.shape[3] % 2:
        raise InputError(f"the head dimension is {q.shape[3]}: it must be even, and at least 2")
    check_like("inv_freq", inv_freq, (q.shape[3] // 2,), torch.float32)
    check_impl(impl, q)


def _forward(q: Tensor, k: Tensor, inv_freq: Tensor, impl: str) -> tuple[Tensor, Tensor]:
    turned_q, turned_k = _implementation(impl, q).forward(q, k, inv_freq)
    return turned_q, turned_k


def _forward_fake(q: Tensor, k: Tensor, inv_freq: Tensor, impl: str) -> tuple[Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape)


def _implementation(impl: str, q: Tensor) -> ModuleType:
    """The module whose `forward` runs."""
    if runs_triton(impl, q):
        # triton is imported where it is needed
        from actckpt.ops.rope import kernels

        return kernels
    return reference


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, _, inv_freq, ctx.impl = inputs
    ctx.save_for_backward(inv_freq)


def _gradients(ctx: Any, dq: Tensor, dk: Tensor) -> tuple[Tensor | None, ...]:
    (inv_freq,) = ctx.saved_tensors
    return *rope(dq, dk, -inv_freq, ctx.impl), None, None


rope = define(
    "rope(Tensor q, Tensor k, Tensor inv_freq, str impl='auto') -> (Tensor q, Tensor k)",
    check=_check,
    compute=_forward,
    fake=_forward_fake,
    save=_save,
    gradients=_gradients,
)
