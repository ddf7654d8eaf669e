"""What the attention ops refuse, each in one line: tensors that do not fit together, options out of range."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from actckpt.errors import InputError
from actckpt.ops.attention.config import HEAD_DIMS
from actckpt.ops.attention.options import has_values
from actckpt.ops.checks import check_like, check_tensors
from actckpt.ops.implementation import check_impl, wide_dtype

# scale and softcap, and the quotient of the two, stay normal numbers of float32
_LARGEST = 2.0**60


def check_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    causal: bool,
    scale: float,
    impl: str = "auto",
    window_left: int | None = None,
    window_right: int | None = None,
    softcap: float = 0.0,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
) -> None:
    """Refuse what the forward op cannot compute.

    Raises:
        InputError: The tensors do not fit together, an option is out of range, or `impl` cannot run on them.
    """
    _check_tensors(q, k, v)
    check_impl(impl, q)
    if impl == "triton" and q.shape[-1] not in HEAD_DIMS:
        raise InputError(
            f"the head dimension is {q.shape[-1]}: with impl='triton' it must be one of "
            f"{', '.join(map(str, HEAD_DIMS))}; impl='reference' takes any"
        )
    if not 1 / _LARGEST <= scale <= _LARGEST:
        raise InputError(f"scale is {scale}: it must be a number above 0, from 2**-60 to 2**60")
    if softcap != 0 and not 1 / _LARGEST <= softcap <= _LARGEST:
        raise InputError(f"softcap is {softcap}: it must be a number above 0, from 2**-60 to 2**60, or 0 for no cap")
    for side, width in (("left", window_left), ("right", window_right)):
        if width is not None and width < 0:
            raise InputError(
                f"the window reaches {width} keys to the {side}: it must be a whole number of at least 0, or None for "
                "no bound"
            )
    _check_offsets("cu_seqlens", cu_seqlens_q, "S_q", q)
    if cu_seqlens_k is None:
        if cu_seqlens_q is not None and q.shape[2] != k.shape[2]:
            raise InputError(
                f"cu_seqlens is for {q.shape[2]} queries, and there are {k.shape[2]} keys: give cu_seqlens_k, too"
            )
        return
    if cu_seqlens_q is None:
        raise InputError("cu_seqlens_k is given without cu_seqlens: give the offsets of the queries, too")
    _check_offsets("cu_seqlens_k", cu_seqlens_k, "S_k", k)
    if cu_seqlens_q.shape != cu_seqlens_k.shape:
        raise InputError(
            f"cu_seqlens has {len(cu_seqlens_q)} offsets and cu_seqlens_k {len(cu_seqlens_k)}: "
            "they must have one for each document and the end"
        )


def check_backward(
    do: Tensor, q: Tensor, k: Tensor, v: Tensor, o: Tensor, lse: Tensor, dlse: Tensor | None, *options: Any
) -> None:
    """Refuse what the backward op cannot compute: what the forward op refuses, and gradients that do not fit.

    Raises:
        InputError: One of the two.
    """
    check_forward(q, k, v, *options)
    sums = wide_dtype(q)
    expected = {"do": (do, q.shape, q.dtype), "o": (o, q.shape, q.dtype), "lse": (lse, q.shape[:3], sums)}
    if dlse is not None:
        expected["dlse"] = (dlse, q.shape[:3], sums)
    check_tensors(q=q, **{name: tensor for name, (tensor, _, _) in expected.items()})
    for name, (tensor, shape, dtype) in expected.items():
        check_like(name, tensor, shape, dtype)


def _check_tensors(q: Tensor, k: Tensor, v: Tensor) -> None:
    check_tensors(q=q, k=k, v=v)
    shapes = f"q is {list(q.shape)}, k is {list(k.shape)} and v is {list(v.shape)}"
    if q.dim() != 4 or k.dim() != 4 or k.shape != v.shape or q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3]:
        raise InputError(f"{shapes}: they must be [B, n, S_q, D] and twice [B, n_kv, S_k, D]")
    if not (q.numel() and k.numel()):
        raise InputError(f"{shapes}: every size must be at least 1")
    if q.shape[1] % k.shape[1]:
        raise InputError(
            f"{q.shape[1]} query heads and {k.shape[1]} key/value heads: the first must be a multiple of the second"
        )
    if not q.dtype == k.dtype == v.dtype:
        raise InputError(f"q is {q.dtype}, k is {k.dtype} and v is {v.dtype}: they must have one type")


def _check_offsets(name: str, offsets: Tensor | None, size: str, packed: Tensor) -> None:
    if offsets is None:
        return
    if offsets.layout != torch.strided:
        raise InputError(f"{name} is laid out as {offsets.layout}: it must be a dense tensor, torch.strided")
    if offsets.dtype != torch.int32 or offsets.dim() != 1 or len(offsets) < 2:
        raise InputError(
            f"{name} is {list(offsets.shape)} {offsets.dtype}: it must be [N + 1] torch.int32 for N documents"
        )
    if packed.shape[0] != 1:
        raise InputError(f"{name} is given and the batch is {packed.shape[0]}: documents are packed into a batch of 1")
    if offsets.device != packed.device and not packed.is_meta:
        raise InputError(f"{name} is on {offsets.device} and the tensors on {packed.device}: it must be there, too")
    if not has_values(offsets):
        return
    if packed.is_meta or not offsets.is_cuda:
        ends = offsets.tolist()
        if ends[0] != 0 or ends[-1] != packed.shape[2] or ends != sorted(ends):
            raise InputError(f"{name} is {_shortened(ends)}: it must rise from 0 to {size} = {packed.shape[2]}")
        return
    # to look at them here would make the CPU wait for the GPU
    right = (offsets[0] == 0) & (offsets[-1] == packed.shape[2]) & (offsets.diff() >= 0).all()
    torch._assert_async(right, f"{name} must rise from 0 to {size} = {packed.shape[2]}")


def _shortened(ends: list[int]) -> str:
    return str(ends) if len(ends) <= 8 else f"[{', '.join(map(str, ends[:4]))}, …, {', '.join(map(str, ends[-3:]))}]"
