"""`torch.ops.actckpt.flash_attention` and its backward: what PyTorch knows of them, whatever computes them.

Checkpointing policies, FlopCounterMode, meta tensors and torch.compile see these two ops. A second set of kernels is
one more module with the `forward` and `backward` of `reference.py`, and one more line in `_implementation`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from actckpt.errors import InputError
from actckpt.ops.attention import reference
from actckpt.ops.attention.checks import check_backward, check_forward
from actckpt.ops.attention.config import HEAD_DIMS
from actckpt.ops.attention.options import Options
from actckpt.ops.define import define
from actckpt.ops.implementation import runs_triton

# the arguments that both ops have after their tensors, in the order of Options.of but for impl
_OPTIONS = (
    "bool causal, float scale, str impl='auto', int? window_left=None, int? window_right=None, float softcap=0.0,"
    " Tensor? cu_seqlens_q=None, Tensor? cu_seqlens_k=None"
)


def _forward(
    q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float, impl: str, *masks: Any
) -> tuple[Tensor, Tensor]:
    output, lse = _implementation(impl, q).forward(q, k, v, Options.of(causal, scale, *masks))
    return output, lse


def _forward_fake(q: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return reference.allocate_forward(q)


def _forward_flops(q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float, impl: str, *masks: Any) -> int:
    """Two matrix multiplications over the visible pairs: q kᵀ and p v."""
    options = Options.of(causal, scale, *masks)
    if not options.lengths_are_known:
        raise InputError(
            "cu_seqlens has no values, and FLOPs depend on its lengths: give real offsets, even with meta tensors"
        )
    batch, heads, s_q, head_dim = q.shape
    return 4 * batch * heads * options.visible_pairs(s_q, k.shape[2]) * head_dim


def _backward(
    do: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    o: Tensor,
    lse: Tensor,
    dlse: Tensor | None,
    causal: bool,
    scale: float,
    impl: str,
    *masks: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    dq, dk, dv = _implementation(impl, q).backward(do, q, k, v, o, lse, dlse, Options.of(causal, scale, *masks))
    return dq, dk, dv


def _backward_fake(do: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return reference.allocate_backward(q, k, v)


def _backward_flops(
    do: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    o: Tensor,
    lse: Tensor,
    dlse: Tensor | None,
    *options: Any,
) -> int:
    """Five: q kᵀ again, do vᵀ, pᵀ do, ds k and dsᵀ q."""
    return _forward_flops(q, k, v, *options) // 2 * 5


def _implementation(impl: str, q: Tensor) -> ModuleType:
    """The module whose `forward` and `backward` run. An explicit `impl` was checked before."""
    if runs_triton(impl, q) and (impl == "triton" or q.shape[-1] in HEAD_DIMS):
        # triton is imported where it is needed
        from actckpt.ops.attention import launch

        return launch
    return reference


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, *ctx.options, cu_seqlens_q, cu_seqlens_k = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(q, k, v, *output, cu_seqlens_q, cu_seqlens_k)


def _gradients(ctx: Any, do: Tensor | None, dlse: Tensor | None) -> tuple[Tensor | None, ...]:
    no_gradients = (None,) * (len(ctx.options) + 2)
    if do is None and dlse is None:
        return None, None, None, *no_gradients
    q, k, v, output, lse, *offsets = ctx.saved_tensors
    do = torch.zeros_like(output) if do is None else do
    gradients = _flash_attention_backward(do, q, k, v, output, lse, dlse, *ctx.options, *offsets)
    return *gradients, *no_gradients


flash_attention = define(
    f"flash_attention(Tensor q, Tensor k, Tensor v, {_OPTIONS}) -> (Tensor output, Tensor lse)",
    check=check_forward,
    compute=_forward,
    fake=_forward_fake,
    save=_save,
    gradients=_gradients,
    flops=_forward_flops,
)
_flash_attention_backward = define(
    f"flash_attention_backward(Tensor do, Tensor q, Tensor k, Tensor v, Tensor o, Tensor lse, Tensor? dlse, {_OPTIONS})"
    " -> (Tensor dq, Tensor dk, Tensor dv)",
    check=check_backward,
    compute=_backward,
    fake=_backward_fake,
    flops=_backward_flops,
)
