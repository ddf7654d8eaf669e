"""Flash attention by the Triton kernels: the functions of `reference.py`, with the same arguments and results."""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from actckpt.ops.attention import kernels
from actckpt.ops.attention.config import INTERPRETER, Launch, Launches, block_d, launches
from actckpt.ops.attention.options import Options
from actckpt.ops.attention.reference import allocate_backward, allocate_forward
from actckpt.ops.implementation import interpreted, readable
from actckpt.ops.launching import OPTIONS, TILE

_PADDING = kernels.PADDING.value
# the softcap up to which a score by the quick tanh, off by softcap * 2**-23, is within a bfloat16's rounding
_QUICK_TANH = 1000.0


def forward(q: Tensor, k: Tensor, v: Tensor, options: Options) -> tuple[Tensor, Tensor]:
    """The output [B, n, S_q, D] of attention and the natural log-sum-exp [B, n, S_q] of its scores."""
    o, lse = allocate_forward(q)
    q, k, v = readable(q, k, v)
    descriptors = _describable(options, q, k, v, o)
    launch = _launches(q, descriptors).forward
    queries = _operands(launch.block_m, descriptors, q=q, o=o)
    keys = _operands(launch.block_n, descriptors, k=k, v=v)
    with torch.cuda.device_of(q):
        kernels.forward_kernel[_grid(q, launch.block_m, options.cu_seqlens_q)](
            **queries, **keys, lse=lse, **_sizes(q, k, options), **_constants(launch, q)
        )
    return o, lse


def backward(
    do: Tensor, q: Tensor, k: Tensor, v: Tensor, o: Tensor, lse: Tensor, dlse: Tensor | None, options: Options
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k and v, from those of the output and of lse, with the probabilities recomputed from lse."""
    dq, dk, dv = allocate_backward(q, k, v)
    q, k, v, o, do = readable(q, k, v, o, do)
    with torch.cuda.device_of(q):
        rows = _preprocess(o, do, lse, dlse, options)
        scales = {**_sizes(q, k, options), "padded_rows": rows[0].shape[-1], "scale": options.scale}
        descriptors = _describable(options, q, k, v, do, dq, dk, dv)
        config = _launches(q, descriptors)

        launch = config.dk_dv
        queries = _operands(launch.block_m, descriptors, q=q, do=do)
        keys = _operands(launch.block_n, descriptors, k=k, v=v, dk=dk, dv=dv)
        kernels.dk_dv_kernel[_grid(k, launch.block_n, options.cu_seqlens_k)](
            **queries, **keys, **_rows(rows, launch, q), **scales, **_constants(launch, q)
        )
        launch = config.dq
        queries = _operands(launch.block_m, descriptors, q=q, do=do, dq=dq)
        keys = _operands(launch.block_n, descriptors, k=k, v=v)
        kernels.dq_kernel[_grid(q, launch.block_m, options.cu_seqlens_q)](
            **queries, **keys, **_rows(rows, launch, q), **scales, **_constants(launch, q)
        )
    return dq, dk, dv


def _preprocess(o: Tensor, do: Tensor, lse: Tensor, dlse: Tensor | None, options: Options) -> Tensor:
    """Lse to base 2 and delta, [2, B, n, padded_rows] in float32."""
    batch, heads, s_q, head_dim = o.shape
    rows = lse.new_empty(2, batch, heads, _tiles(s_q, _PADDING, options.cu_seqlens_q) * _PADDING)
    kernels.preprocess_kernel[_grid(o, _PADDING, options.cu_seqlens_q)](
        **_operands(0, False, o=o, do=do),
        lse=lse.contiguous(),
        dlse=None if dlse is None else dlse.contiguous(),
        rows_lse=rows[0],
        rows_delta=rows[1],
        cu_q=_offsets(options.cu_seqlens_q),
        n_heads=heads,
        s_q=s_q,
        n_documents=_documents(options.cu_seqlens_q),
        padded_rows=rows.shape[-1],
        PACKED=options.cu_seqlens_q is not None,
        HEAD_DIM=head_dim,
        BLOCK_D=block_d(head_dim),
        BLOCK_M=min(_PADDING, TILE // block_d(head_dim)),
        **OPTIONS,
    )
    return rows


def _describable(options: Options, *tensors: Tensor) -> bool:
    """Whether the kernels can read and write the tensors through descriptors.

    The copy engine wants rows without gaps, at multiples of 16 bytes. Packed documents have no descriptors of their
    own: what lies beyond a document is the next one, and not 0.
    """
    return options.cu_seqlens_q is None and all(
        _copy_engine(x)
        and x.stride(3) == 1
        and x.data_ptr() % 16 == 0
        and all(stride > 0 and stride % 8 == 0 for stride in _tensor_strides(x)[:3])
        for x in tensors
    )


def _operands(block: int, descriptors: bool, **tensors: Tensor) -> dict[str, Any]:
    """Tensors as the kernels take them: descriptors of tiles of `block` rows, or pointers; and their strides."""
    strides = {f"stride_{name}": x.stride() for name, x in tensors.items()}
    if descriptors:
        return strides | {name: _descriptor(x, block) for name, x in tensors.items()}
    return strides | tensors


def _descriptor(x: Tensor, block: int) -> TensorDescriptor:
    return TensorDescriptor(x, list(x.shape), _tensor_strides(x), [1, 1, block, block_d(x.shape[3])])


def _rows(rows: Tensor, launch: Launch, q: Tensor) -> dict[str, Any]:
    """What the preprocess kernel made, by descriptors where there are any: a thread's own copies would be narrow."""
    pair: list[Any] = list(rows.unbind())
    if _copy_engine(q):
        pair = [TensorDescriptor(x, [x.numel()], [1], [launch.block_m]) for x in pair]
    return {"rows_lse": pair[0], "rows_delta": pair[1]}


def _copy_engine(x: Tensor) -> bool:
    """Whether there are tensor descriptors, which the copy engine of sm_90 takes; for float32 they are of no use."""
    return x.dtype.itemsize == 2 and (interpreted() or _capability(x) >= (9, 0))


def _tensor_strides(x: Tensor) -> list[int]:
    """The strides, without those that are never used: a dimension of one may have any."""
    used = [size > 1 for size in x.shape[:3]] + [True]
    return [stride if is_used else 8 for stride, is_used in zip(x.stride(), used, strict=True)]


def _sizes(q: Tensor, k: Tensor, options: Options) -> dict[str, Any]:
    """Lengths, masks and scales, as the kernels that multiply matrices take them."""
    s_q, s_k = q.shape[2], k.shape[2]
    # a window that reaches every key needs no mask
    left = None if options.left is None or options.left >= s_k - 1 else options.left
    right = None if options.right is None or options.right >= s_q - 1 else options.right
    return {
        "n_heads": q.shape[1],
        "n_kv_heads": k.shape[1],
        "s_q": s_q,
        "s_k": s_k,
        "cu_q": _offsets(options.cu_seqlens_q),
        "cu_k": _offsets(options.cu_seqlens_k),
        "n_documents": _documents(options.cu_seqlens_q),
        "scale_log2": (options.softcap or options.scale) * math.log2(math.e),
        "cap_scale": options.scale / options.softcap if options.softcap else 0.0,
        "left": left or 0,
        "right": right or 0,
        "LEFT": left is not None,
        "RIGHT": right is not None,
        "SOFTCAP": options.softcap > 0,
        "PRECISE": q.dtype == torch.float32 or options.softcap > _QUICK_TANH,
        "PACKED": options.cu_seqlens_q is not None,
    }


def _constants(launch: Launch, q: Tensor) -> dict[str, Any]:
    return {
        "HEAD_DIM": q.shape[3],
        "BLOCK_D": block_d(q.shape[3]),
        "BLOCK_M": launch.block_m,
        "BLOCK_N": launch.block_n,
        "num_warps": launch.num_warps,
        "num_stages": launch.num_stages,
        **OPTIONS,
    }


def _launches(q: Tensor, descriptors: bool) -> Launches:
    if interpreted():
        return INTERPRETER
    return launches(_capability(q), q.dtype.itemsize, q.shape[3], descriptors)


def _capability(x: Tensor) -> tuple[int, int]:
    return torch.cuda.get_device_capability(x.device)


def _grid(x: Tensor, block: int, cu_seqlens: Tensor | None) -> tuple[int]:
    """One program for each tile of each head, in one dimension: the others end at 65,535."""
    batch, heads, length, _ = x.shape
    return (_tiles(length, block, cu_seqlens) * heads * batch,)


def _tiles(length: int, block: int, cu_seqlens: Tensor | None) -> int:
    """The tiles of a sequence; of packed documents, what `kernels._document` counts on."""
    return triton.cdiv(length, block) if cu_seqlens is None else length // block + _documents(cu_seqlens)


def _offsets(cu_seqlens: Tensor | None) -> Tensor | None:
    """The offsets as the kernels read them: one after the other."""
    return None if cu_seqlens is None else cu_seqlens.contiguous()


def _documents(cu_seqlens: Tensor | None) -> int:
    return 1 if cu_seqlens is None else len(cu_seqlens) - 1
