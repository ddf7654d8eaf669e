"""`torch.ops.actckpt.flash_attention` and its backward: what PyTorch knows of them, whatever computes them.

Checkpointing policies, FlopCounterMode, meta tensors and torch.compile see these two ops. A second set of kernels is
one more module with the `forward` and `backward` of `reference.py`, and one more line in `_implementation`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from actckpt.ops.attention import reference
from actckpt.ops.attention.config import HEAD_DIMS
from actckpt.ops.define import define
from actckpt.ops.implementation import runs_triton

Gradients = tuple[Tensor, Tensor, Tensor]


def visible_pairs(s_q: int, s_k: int, causal: bool) -> int:
    """The number of (query, key) pairs that a score is needed for."""
    if not causal:
        return s_q * s_k
    # the last query sees S_k keys, the one before it S_k - 1, and so on, until none is left
    seeing = min(s_q, s_k)
    return seeing * (2 * s_k - seeing + 1) // 2


def forward_flops(q: torch.Size, k: torch.Size, v: torch.Size, causal: bool, *_: Any, **__: Any) -> int:
    """Two matrix multiplications: q kᵀ and p v."""
    batch, heads, s_q, head_dim = q
    return 4 * batch * heads * visible_pairs(s_q, k[2], causal) * head_dim


def backward_flops(
    do: torch.Size,
    q: torch.Size,
    k: torch.Size,
    v: torch.Size,
    o: torch.Size,
    lse: torch.Size,
    causal: bool,
    *_: Any,
    **__: Any,
) -> int:
    """Five: q kᵀ again, do vᵀ, pᵀ do, ds k and dsᵀ q."""
    return forward_flops(q, k, v, causal) // 2 * 5


def _implementation(impl: str, q: Tensor) -> ModuleType:
    """The module whose `forward` and `backward` run. An explicit `impl` was checked by the public function."""
    if runs_triton(impl, q) and (impl == "triton" or q.shape[-1] in HEAD_DIMS):
        # triton is imported where it is needed
        from actckpt.ops.attention import launch

        return launch
    return reference


def _forward(q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float, impl: str = "auto") -> tuple[Tensor, Tensor]:
    output, lse = _implementation(impl, q).forward(q, k, v, causal, scale)
    return output, lse


def _forward_fake(
    q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float, impl: str = "auto"
) -> tuple[Tensor, Tensor]:
    return reference.allocate_forward(q)


def _backward(
    do: Tensor, q: Tensor, k: Tensor, v: Tensor, o: Tensor, lse: Tensor, causal: bool, scale: float, impl: str = "auto"
) -> Gradients:
    dq, dk, dv = _implementation(impl, q).backward(do, q, k, v, o, lse, causal, scale)
    return dq, dk, dv


def _backward_fake(
    do: Tensor, q: Tensor, k: Tensor, v: Tensor, o: Tensor, lse: Tensor, causal: bool, scale: float, impl: str = "auto"
) -> Gradients:
    return reference.allocate_backward(q, k, v)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, *ctx.options = inputs
    _, lse = output
    ctx.mark_non_differentiable(lse)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(q, k, v, *output)


def _gradients(ctx: Any, do: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    if do is None:
        return (None,) * 6
    return *_flash_attention_backward(do, *ctx.saved_tensors, *ctx.options), None, None, None


flash_attention = define(
    "flash_attention(Tensor q, Tensor k, Tensor v, bool causal, float scale, str impl='auto')"
    " -> (Tensor output, Tensor lse)",
    _forward,
    _forward_fake,
    forward_flops,
)
_flash_attention_backward = define(
    "flash_attention_backward(Tensor do, Tensor q, Tensor k, Tensor v, Tensor o, Tensor lse, bool causal, float scale,"
    " str impl='auto') -> (Tensor dq, Tensor dk, Tensor dv)",
    _backward,
    _backward_fake,
    backward_flops,
)
flash_attention.register_autograd(_gradients, setup_context=_setup_context)
