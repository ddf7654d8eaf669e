"""Rotary position embedding (Su et al., arXiv 2104.09864) of queries and keys, which saves no activation.

A rotation is undone by the opposite rotation, so the backward pass is the same op with the frequencies negated.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from actckpt.errors import InputError
from actckpt.ops.checks import check_kinds, check_like, check_tensors
from actckpt.ops.define import define
from actckpt.ops.implementation import check_impl, runs_triton, wide_dtype


def rope(q: Tensor, k: Tensor, inv_freq: Tensor, *, impl: str = "auto") -> tuple[Tensor, Tensor]:
    """Rotate the pair (x[i], x[i + D/2]) of every head at position s by the angle `s * inv_freq[i]`.

    Positions are 0 to S - 1; the pairing is Hugging Face's ("rotate half"). Sine, cosine and rotation are in float32
    (float64 for float64), rounded once. Saved for the backward pass: inv_freq. The op can be differentiated any number
    of times, in reverse mode.

    An angle of float32 is rounded to 24 bits: off by up to `2**-24` of itself, as in Hugging Face's models. At the end
    of 131,072 positions that is up to `2**-8` = 0.004 radians, where bfloat16 rounds what is rotated to 8 bits.

    Args:
        q: [B, S, n, D] float16, bfloat16, float32 or float64, any strides; D is at least 2.
        k: [B, S, n_kv, D], of q's type.
        inv_freq: [D / 2] float32, in radians a position. It gets no gradient.
        impl: "triton", "reference", or "auto": Triton on a GPU, the reference elsewhere. An explicit request never
            falls back.

    Returns:
        q and k rotated: their shapes and types, contiguous.

    Raises:
        InputError: The tensors do not fit together, are not on one device or carry a forward-mode derivative, or `impl`
            cannot run on q.
    """
    check_kinds(Tensor, "a tensor", q=q, k=k, inv_freq=inv_freq)
    check_kinds(str, "a name", impl=impl)
    return _rope(q, k, inv_freq, impl)


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
    if runs_triton(impl, q):
        from actckpt.ops import launch

        return launch.rope(q, k, inv_freq)
    wide = wide_dtype(q)
    positions = torch.arange(q.shape[1], device=q.device, dtype=wide)
    # [S, 1, D / 2]
    angles = torch.outer(positions, inv_freq.to(wide)).unsqueeze(1)
    cos, sin = angles.cos(), angles.sin()
    return _rotate(q, cos, sin), _rotate(k, cos, sin)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.to(cos.dtype).chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype).contiguous()


def _fake(q: Tensor, k: Tensor, inv_freq: Tensor, impl: str) -> tuple[Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, _, inv_freq, ctx.impl = inputs
    ctx.save_for_backward(inv_freq)


def _gradients(ctx: Any, dq: Tensor, dk: Tensor) -> tuple[Tensor | None, ...]:
    (inv_freq,) = ctx.saved_tensors
    return *_rope(dq, dk, -inv_freq, ctx.impl), None, None


_rope = define(
    "rope(Tensor q, Tensor k, Tensor inv_freq, str impl='auto') -> (Tensor q, Tensor k)",
    check=_check,
    compute=_forward,
    fake=_fake,
    save=_save,
    gradients=_gradients,
)
