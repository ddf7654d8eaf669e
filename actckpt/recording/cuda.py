"""What CUDA's kernels save, on meta tensors: attention, dropout and RMSNorm, where a meta tensor takes another path.

Layer norm, group norm, softmax, and cross-entropy save the same on meta tensors as on CUDA. The rules are those of
PyTorch's own dispatch (`aten/src/ATen/native/transformers/attention.cpp`, `sdp_utils.cpp`) for a GPU of at least
compute capability 8.0. cuDNN's attention, which PyTorch prefers on some GPUs, saves what flash attention saves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, local
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_aten = torch.ops.aten
_HALF = (torch.float16, torch.bfloat16)


class _Here(local):
    """Of each thread: the kernels that have been used, None where it does not ask for CUDA's."""

    kernels: list[str] | None = None


_here = _Here()
_lock = Lock()
_users = 0
_library: Any = None


@contextmanager
def as_on_cuda() -> Iterator[list[str]]:
    """Let meta tensors of this thread save what tensors on CUDA do; yields the names of the kernels assumed."""
    global _users, _library
    with _lock:
        if not _users:
            _library = torch.library.Library("aten", "IMPL")
            for name, function in (("scaled_dot_product_attention", _sdpa), ("dropout", _dropout), ("rms_norm", _rms)):
                _library.impl(name, function, "AutogradMeta")
        _users += 1
    before, _here.kernels = _here.kernels, []
    try:
        yield _here.kernels
    finally:
        _here.kernels = before
        with _lock:
            _users -= 1
            if not _users:
                _library._destroy()


def _assumes(kernel: str) -> bool:
    """Whether this thread asks for CUDA's kernels; then this one is noted."""
    if _here.kernels is None:
        return False
    if kernel not in _here.kernels:
        _here.kernels.append(kernel)
    return True


def _sdpa(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if _takes_flash(query, key, value, attn_mask, is_causal, enable_gqa) and _assumes("flash attention"):
        width = query.shape[-1]
        scale = width**-0.5 if scale is None else scale
        # the kernel takes heads in eights
        query, key, value = (F.pad(x, (0, -width % 8)) if width % 8 else x for x in (query, key, value))
        out = _aten._scaled_dot_product_flash_attention(query, key, value, dropout_p, is_causal, scale=scale)[0]
        return out[..., :width] if width % 8 else out
    if _takes_efficient(query, key, value, enable_gqa) and _assumes("memory-efficient attention"):
        bias = _bias(attn_mask, query, key)
        return _aten._scaled_dot_product_efficient_attention(
            query, key, value, bias, True, dropout_p, is_causal, scale=scale
        )[0]
    _assumes("math attention")
    return _aten.scaled_dot_product_attention.default.decompose(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )


def _takes_flash(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, grouped: bool) -> bool:
    return (
        mask is None
        and query.dim() == 4
        and query.dtype in _HALF
        and query.shape[-1] == key.shape[-1] == value.shape[-1] <= 256
        and (grouped or query.shape[1] == key.shape[1] == value.shape[1])
        and query.shape[0] == key.shape[0] == value.shape[0]
        and not (causal and query.shape[2] != key.shape[2])
        and 0 not in (*query.shape, *key.shape)
        and all(x.stride(-1) == 1 for x in (query, key, value))
    )


def _takes_efficient(query: Tensor, key: Tensor, value: Tensor, grouped: bool) -> bool:
    alignment = 8 if query.dtype in _HALF else 4
    return (
        query.dim() == 4
        and query.dtype in (*_HALF, torch.float32)
        and query.shape[:2] == key.shape[:2] == value.shape[:2]
        and query.shape[-1] % alignment == value.shape[-1] % alignment == 0
        and 0 not in (*query.shape, *key.shape)
        and all(x.stride(-1) == 1 for x in (query, key, value))
    )


def _bias(mask: Tensor | None, query: Tensor, key: Tensor) -> Tensor | None:
    if mask is None:
        return None
    if mask.dtype == torch.bool:
        # 0 where a query may look, and minus infinity elsewhere
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, float("-inf"))
    length = mask.shape[-1]
    if length % 16:
        # rows begin at multiples of 16 elements
        mask = F.pad(mask, (0, -length % 16))[..., :length]
    return mask.expand(*query.shape[:3], key.shape[2])


def _dropout(input: Tensor, p: float, train: bool) -> Tensor:
    if train and 0 < p < 1 and input.numel() and _assumes("fused dropout"):
        return _aten.native_dropout(input, p, train)[0]
    return _aten.dropout.default.decompose(input, p, train)


def _rms(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    if (weight is None or weight.dtype == input.dtype) and _assumes("fused RMSNorm"):
        return _Rms.apply(input, normalized_shape, weight)
    return _aten.rms_norm.default.decompose(input, normalized_shape, weight, eps)


class _Rms(torch.autograd.Function):
    """Saves what `aten._fused_rms_norm` does, which has no kernel for meta tensors."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, normalized_shape: Any, weight: Tensor | None) -> Tensor:
        rows = (*x.shape[: x.dim() - len(normalized_shape)], *([1] * len(normalized_shape)))
        ctx.save_for_backward(x, x.new_empty(rows, dtype=torch.float32), weight)
        return torch.empty_like(x, memory_format=torch.contiguous_format)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, _, weight = ctx.saved_tensors
        return torch.empty_like(x), None, None if weight is None else torch.empty_like(weight)
