"""flash_attention(): what users call. It checks its input and hands it to the registered op."""

from __future__ import annotations

import math
from typing import Literal, overload

import torch
from torch import Tensor

from actckpt.errors import InputError
from actckpt.ops.attention import registration
from actckpt.ops.attention.config import HEAD_DIMS
from actckpt.ops.implementation import check_impl, check_reverse_mode

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@overload
def flash_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = False,
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
    scale: float | None = None,
    impl: str = "auto",
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """`softmax(scale * q kᵀ) v` in O(S) memory (FlashAttention-2, arXiv 2307.08691).

    Saved for the backward pass: q, k, v, the output and lse; the scores are computed again. Under autocast q, k and v
    are cast as `scaled_dot_product_attention` casts them. The op can be differentiated once, in reverse mode.

    In float32, lse is rounded to 24 bits, so the recomputed probabilities of a row are all off by one factor, at most
    `1 ± 2**-24 * |lse|`, and the row's gradients with them: by up to 6e-4 where scores reach 10,000. The output is not
    touched. PyTorch's own flash attention keeps the same lse and is off by the same. The kernels change lse to base 2
    and back: up to 7 such roundings.

    Args:
        q: [B, n, S_q, D] float16, bfloat16, float32 or float64, any strides.
        k: [B, n_kv, S_k, D] of q's type, any strides; n is a multiple of n_kv, and query head h reads key/value head
            `h // (n / n_kv)`.
        v: As k.
        causal: Whether query i sees keys j <= i + S_k - S_q alone: the mask is aligned to the end, so that the last
            query sees every key. A query that sees none gives 0.
        scale: What the scores are multiplied by, more than 0; 1 / sqrt(D) by default.
        impl: "triton", "reference", or "auto": Triton for float16, bfloat16 and float32 on a GPU with D one of 16, 32,
            64, 80, 96, 128, 192, 256; the reference for all else. An explicit request never falls back.
        return_lse: Whether to return lse too.

    Returns:
        The output, [B, n, S_q, D] in q's type, a transposed view of contiguous [B, S_q, n, D]. With `return_lse` also
        the natural log-sum-exp of each row of scores, [B, n, S_q] in float32 (float64 for float64), -inf for a row that
        sees no key; no gradient flows through it.

    Raises:
        InputError: The tensors do not fit together or carry a forward-mode derivative, or `impl` cannot run on them.
        RuntimeError: From PyTorch, when the gradient is differentiated again.
    """
    if not all(isinstance(x, Tensor) for x in (q, k, v)):
        kinds = ", ".join(type(x).__name__ for x in (q, k, v))
        raise InputError(f"q, k and v are {kinds}: they must be tensors")
    if not q.is_meta and torch.is_autocast_enabled(q.device.type):
        dtype = torch.get_autocast_dtype(q.device.type)
        q, k, v = (x if x.dtype == torch.float64 else x.to(dtype) for x in (q, k, v))
    _check_tensors(q, k, v)
    check_reverse_mode(q, k, v)
    check_impl(impl, q)
    if impl == "triton" and q.shape[-1] not in HEAD_DIMS:
        raise InputError(
            f"the head dimension is {q.shape[-1]}: with impl='triton' it must be one of "
            f"{', '.join(map(str, HEAD_DIMS))}; impl='reference' takes any"
        )
    scale = q.shape[-1] ** -0.5 if scale is None else float(scale)
    if not 0 < scale < math.inf:
        raise InputError(f"scale is {scale}: it must be a number above 0")
    output, lse = registration.flash_attention(q, k, v, causal, scale, impl)
    return (output, lse) if return_lse else output


def _check_tensors(q: Tensor, k: Tensor, v: Tensor) -> None:
    shapes = f"q is {list(q.shape)}, k is {list(k.shape)} and v is {list(v.shape)}"
    if q.dim() != 4 or k.dim() != 4 or k.shape != v.shape or q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3]:
        raise InputError(f"{shapes}: they must be [B, n, S_q, D] and twice [B, n_kv, S_k, D]")
    if not (q.numel() and k.numel()):
        raise InputError(f"{shapes}: every size must be at least 1")
    if q.shape[1] % k.shape[1]:
        raise InputError(
            f"{q.shape[1]} query heads and {k.shape[1]} key/value heads: the first must be a multiple of the second"
        )
    if not q.dtype == k.dtype == v.dtype or q.dtype not in _DTYPES:
        raise InputError(
            f"q is {q.dtype}, k is {k.dtype} and v is {v.dtype}: they must have one type, "
            f"{', '.join(str(dtype).removeprefix('torch.') for dtype in _DTYPES[:-1])} or float64"
        )
    if not q.device == k.device == v.device:
        raise InputError(f"q is on {q.device}, k on {k.device} and v on {v.device}: they must be on one device")
