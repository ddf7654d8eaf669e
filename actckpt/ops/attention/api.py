"""flash_attention(): what users call. It checks its input and hands it to the registered op."""

from __future__ import annotations

from numbers import Real
from types import NoneType
from typing import Literal, overload

import torch
from torch import Tensor

from actckpt.errors import InputError
from actckpt.ops.attention import registration
from actckpt.ops.checks import as_float, check_kinds, shown

Window = tuple[int | None, int | None]


@overload
def flash_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = False,
    window: Window | None = None,
    softcap: float | None = None,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    scale: float | None = None,
    impl: str = "auto",
    return_lse: Literal[False] = False,
) -> Tensor: ...


@overload
def flash_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = False,
    window: Window | None = None,
    softcap: float | None = None,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    scale: float | None = None,
    impl: str = "auto",
    return_lse: Literal[True],
) -> tuple[Tensor, Tensor]: ...


def flash_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = False,
    window: Window | None = None,
    softcap: float | None = None,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    scale: float | None = None,
    impl: str = "auto",
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """`softmax(scale * q kᵀ) v` in O(S) memory (FlashAttention-2, arXiv 2307.08691).

    Saved for the backward pass: q, k, v, the output, lse, and the offsets of documents where they are given; the scores
    are computed again. Under autocast q, k and v are cast as `scaled_dot_product_attention` casts them. The op can be
    differentiated once, in reverse mode.

    In float32, lse is rounded to 24 bits, so the recomputed probabilities of a row are all off by one factor, at most
    `1 ± 2**-24 * |lse|`, and the row's gradients with them: by up to 6e-4 where scores reach 10,000. The output is not
    touched. PyTorch's own flash attention keeps the same lse and is off by the same. The kernels change lse to base 2
    and back: up to 7 such roundings.

    Args:
        q: [B, n, S_q, D] float16, bfloat16, float32 or float64, any strides.
        k: [B, n_kv, S_k, D] of q's type, any strides; n is a multiple of n_kv, and query head h reads key/value head
            `h // (n / n_kv)`.
        v: As k.
        causal: Whether query i sees only keys j <= i + S_k - S_q: the mask is aligned to the end, so that the last
            query sees every key. A query that sees none gives 0.
        window: (left, right): query i sees keys from `i + S_k - S_q - left` to `i + S_k - S_q + right` alone, None for
            no bound on that side; together with `causal`, right is 0. Mistral's sliding window of W keys is
            `causal=True, window=(W - 1, None)`.
        softcap: c, from 2**-60 to 2**60: the scores become `c * tanh(scale * q kᵀ / c)`, as Gemma 2 has them.
        cu_seqlens: [N + 1] int32, from 0 to S_q, not falling: N documents are packed along the sequence, of which the
            d-th is queries and keys `cu_seqlens[d]` to `cu_seqlens[d + 1] - 1`, and sees nothing of another. B is 1.
            Beside meta tensors they may be real, and have to be where FLOPs are counted.
        cu_seqlens_k: The same for the keys, from 0 to S_k, where their lengths differ from the queries'.
        scale: What q kᵀ is multiplied by, from 2**-60 to 2**60; 1 / sqrt(D) by default.
        impl: "triton", "reference", or "auto": Triton for float16, bfloat16 and float32 on a GPU with D one of 16, 32,
            64, 80, 96, 128, 192, 256; the reference for all else. An explicit request never falls back.
        return_lse: Whether to return lse too.

    Returns:
        The output, [B, n, S_q, D] in q's type, a transposed view of contiguous [B, S_q, n, D]. With `return_lse` also
        the natural log-sum-exp of each row of scores, [B, n, S_q] in float32 (float64 for float64), -inf for a row that
        sees no key; gradients flow through both.

    Raises:
        InputError: The tensors do not fit together or carry a forward-mode derivative, an option is out of range,
            `impl` cannot run on them, or the gradient is differentiated again.
    """
    check_kinds(Tensor, "a tensor", q=q, k=k, v=v)
    check_kinds(bool, "True or False", causal=causal, return_lse=return_lse)
    check_kinds((Real, NoneType), "a number, or None", scale=scale, softcap=softcap)
    check_kinds((Tensor, NoneType), "a tensor of offsets, or None", cu_seqlens=cu_seqlens, cu_seqlens_k=cu_seqlens_k)
    check_kinds(str, "a name", impl=impl)
    left, right = _checked_window(window)
    if not q.is_meta and torch.is_autocast_enabled(q.device.type):
        dtype = torch.get_autocast_dtype(q.device.type)
        q, k, v = (x if x.dtype == torch.float64 else x.to(dtype) for x in (q, k, v))
    if scale is None:
        scale = max(1, q.shape[-1]) ** -0.5 if q.dim() else 1.0
    options = (causal, as_float(scale), impl, left, right, as_float(softcap or 0), cu_seqlens, cu_seqlens_k)
    output, lse = registration.flash_attention(q, k, v, *options)
    return (output, lse) if return_lse else output


def _checked_window(window: Window | None) -> Window:
    if window is None:
        return None, None
    if not isinstance(window, tuple | list) or len(window) != 2:
        raise InputError(f"window is {shown(window)}: it must be (left, right), or None")
    for width in window:
        check_kinds((int, NoneType), "whole numbers, or None for no bound", window=width)
        if width is not None and width.bit_length() > 63:
            raise InputError(f"window is {shown(width)}: it must be below 2**63")
    return window[0], window[1]
