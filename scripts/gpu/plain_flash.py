"""FlashAttention-2 in Triton as a tutorial has it: the peer that a kernel of this package has to beat.

The algorithm and no more: [B, n, S, D] contiguous, as many key/value heads as query heads, S a multiple of 128, a
causal mask in a loop of its own after the loop over unmasked tiles, tiles found by trial. `actckpt.ops.attention` has
what this leaves out.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import math
import os
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

# BLOCK_M, BLOCK_N, warps, stages
FORWARD_TILES = ((128, 64, 8, 3), (128, 64, 4, 3), (128, 128, 8, 2), (128, 128, 8, 3), (64, 64, 4, 3))
BACKWARD_TILES = ((64, 64, 4, 2), (64, 64, 8, 3), (64, 128, 8, 2), (128, 64, 8, 2))
# rows of a program of delta_kernel
DELTA_ROWS = 32


def _configs(tiles: tuple[tuple[int, int, int, int], ...]) -> list[triton.Config]:
    configs = [
        triton.Config({"BLOCK_M": block_m, "BLOCK_N": block_n}, num_warps=num_warps, num_stages=num_stages)
        for block_m, block_n, num_warps, num_stages in tiles
    ]
    # the interpreter has nothing to time them with
    return configs[:1] if os.environ.get("TRITON_INTERPRET") == "1" else configs


@triton.autotune(_configs(FORWARD_TILES), key=["s", "HEAD_DIM", "CAUSAL"])
@triton.jit
def forward_kernel(
    q, k, v, o, lse, s, scale_log2,
    CAUSAL: tl.constexpr, HEAD_DIM: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """The output and lse, to base 2, of one tile of queries."""
    start_m = tl.program_id(0) * BLOCK_M
    head = tl.program_id(1).to(tl.int64) * s
    q_tile = tl.load(_tile(q, head + start_m, HEAD_DIM, BLOCK_M))
    acc = tl.zeros([BLOCK_M, HEAD_DIM], tl.float32)
    row_max = tl.full([BLOCK_M], float("-inf"), tl.float32)
    row_sum = tl.zeros([BLOCK_M], tl.float32)
    full = s
    if CAUSAL:
        full = start_m // BLOCK_N * BLOCK_N
    acc, row_max, row_sum = _attend(
        acc, row_max, row_sum, q_tile, k, v, head, start_m, 0, full, scale_log2, False, HEAD_DIM, BLOCK_M, BLOCK_N
    )
    if CAUSAL:
        acc, row_max, row_sum = _attend(
            acc, row_max, row_sum, q_tile, k, v, head, start_m, full, start_m + BLOCK_M, scale_log2,
            True, HEAD_DIM, BLOCK_M, BLOCK_N,
        )  # fmt: skip
    tl.store(_tile(o, head + start_m, HEAD_DIM, BLOCK_M), (acc / row_sum[:, None]).to(q_tile.dtype))
    tl.store(lse + head + start_m + tl.arange(0, BLOCK_M), row_max + tl.log2(row_sum))


@triton.jit
def _attend(
    acc, row_max, row_sum, q_tile, k, v, head, start_m, start, end, scale_log2,
    MASKED: tl.constexpr, HEAD_DIM: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    for start_n in range(start, end, BLOCK_N):
        # [BLOCK_M, BLOCK_N]
        scores = tl.dot(q_tile, tl.trans(tl.load(_tile(k, head + start_n, HEAD_DIM, BLOCK_N)))) * scale_log2
        if MASKED:
            scores = tl.where(_visible(start_m, start_n, BLOCK_M, BLOCK_N), scores, float("-inf"))
        new_max = tl.maximum(row_max, tl.max(scores, 1))
        p = tl.exp2(scores - new_max[:, None])
        rescale = tl.exp2(row_max - new_max)
        row_sum = row_sum * rescale + tl.sum(p, 1)
        v_tile = tl.load(_tile(v, head + start_n, HEAD_DIM, BLOCK_N))
        acc = tl.dot(p.to(v_tile.dtype), v_tile, acc * rescale[:, None])
        row_max = new_max
    return acc, row_max, row_sum


@triton.jit
def delta_kernel(o, do, delta, HEAD_DIM: tl.constexpr, BLOCK_M: tl.constexpr):
    """The sum of do * o over each of BLOCK_M rows."""
    start = tl.program_id(0).to(tl.int64) * BLOCK_M
    o_tile = tl.load(_tile(o, start, HEAD_DIM, BLOCK_M)).to(tl.float32)
    do_tile = tl.load(_tile(do, start, HEAD_DIM, BLOCK_M)).to(tl.float32)
    tl.store(delta + start + tl.arange(0, BLOCK_M), tl.sum(o_tile * do_tile, 1))


@triton.autotune(_configs(BACKWARD_TILES), key=["s", "HEAD_DIM", "CAUSAL"])
@triton.jit
def dk_dv_kernel(
    q, k, v, do, lse, delta, dk, dv, s, scale, scale_log2,
    CAUSAL: tl.constexpr, HEAD_DIM: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """The gradients of one tile of keys and values."""
    start_n = tl.program_id(0) * BLOCK_N
    head = tl.program_id(1).to(tl.int64) * s
    k_tile = tl.load(_tile(k, head + start_n, HEAD_DIM, BLOCK_N))
    v_tile = tl.load(_tile(v, head + start_n, HEAD_DIM, BLOCK_N))
    dk_tile = tl.zeros([BLOCK_N, HEAD_DIM], tl.float32)
    dv_tile = tl.zeros([BLOCK_N, HEAD_DIM], tl.float32)
    full = 0
    if CAUSAL:
        full = tl.cdiv(start_n + BLOCK_N, BLOCK_M) * BLOCK_M
    dk_tile, dv_tile = _add_dk_dv(
        dk_tile, dv_tile, k_tile, v_tile, q, do, lse, delta, head, start_n, full, s, scale_log2,
        False, HEAD_DIM, BLOCK_M, BLOCK_N,
    )  # fmt: skip
    # last, as the masked tiles of the other kernels: before the others they would make wgmma wait for every product
    if CAUSAL:
        dk_tile, dv_tile = _add_dk_dv(
            dk_tile, dv_tile, k_tile, v_tile, q, do, lse, delta, head, start_n, start_n // BLOCK_M * BLOCK_M, full,
            scale_log2, True, HEAD_DIM, BLOCK_M, BLOCK_N,
        )  # fmt: skip
    tl.store(_tile(dk, head + start_n, HEAD_DIM, BLOCK_N), (dk_tile * scale).to(k_tile.dtype))
    tl.store(_tile(dv, head + start_n, HEAD_DIM, BLOCK_N), dv_tile.to(k_tile.dtype))


@triton.jit
def _add_dk_dv(
    dk_tile, dv_tile, k_tile, v_tile, q, do, lse, delta, head, start_n, start, end, scale_log2,
    MASKED: tl.constexpr, HEAD_DIM: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    for start_m in range(start, end, BLOCK_M):
        q_tile = tl.load(_tile(q, head + start_m, HEAD_DIM, BLOCK_M))
        do_tile = tl.load(_tile(do, head + start_m, HEAD_DIM, BLOCK_M))
        rows = head + start_m + tl.arange(0, BLOCK_M)
        # [BLOCK_N, BLOCK_M]
        p = tl.exp2(tl.dot(k_tile, tl.trans(q_tile)) * scale_log2 - tl.load(lse + rows)[None, :])
        if MASKED:
            p = tl.where(tl.trans(_visible(start_m, start_n, BLOCK_M, BLOCK_N)), p, 0)
        dv_tile = tl.dot(p.to(do_tile.dtype), do_tile, dv_tile)
        ds = p * (tl.dot(v_tile, tl.trans(do_tile)) - tl.load(delta + rows)[None, :])
        dk_tile = tl.dot(ds.to(q_tile.dtype), q_tile, dk_tile)
    return dk_tile, dv_tile


@triton.autotune(_configs(BACKWARD_TILES), key=["s", "HEAD_DIM", "CAUSAL"])
@triton.jit
def dq_kernel(
    q, k, v, do, lse, delta, dq, s, scale, scale_log2,
    CAUSAL: tl.constexpr, HEAD_DIM: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """The gradient of one tile of queries."""
    start_m = tl.program_id(0) * BLOCK_M
    head = tl.program_id(1).to(tl.int64) * s
    q_tile = tl.load(_tile(q, head + start_m, HEAD_DIM, BLOCK_M))
    do_tile = tl.load(_tile(do, head + start_m, HEAD_DIM, BLOCK_M))
    rows = head + start_m + tl.arange(0, BLOCK_M)
    lse_tile, delta_tile = tl.load(lse + rows), tl.load(delta + rows)
    dq_tile = tl.zeros([BLOCK_M, HEAD_DIM], tl.float32)
    full = s
    if CAUSAL:
        full = start_m // BLOCK_N * BLOCK_N
    dq_tile = _add_dq(
        dq_tile, q_tile, do_tile, lse_tile, delta_tile, k, v, head, start_m, 0, full,
        scale_log2, False, HEAD_DIM, BLOCK_M, BLOCK_N,
    )  # fmt: skip
    if CAUSAL:
        dq_tile = _add_dq(
            dq_tile, q_tile, do_tile, lse_tile, delta_tile, k, v, head, start_m, full, start_m + BLOCK_M,
            scale_log2, True, HEAD_DIM, BLOCK_M, BLOCK_N,
        )  # fmt: skip
    tl.store(_tile(dq, head + start_m, HEAD_DIM, BLOCK_M), (dq_tile * scale).to(q_tile.dtype))


@triton.jit
def _add_dq(
    dq_tile, q_tile, do_tile, lse_tile, delta_tile, k, v, head, start_m, start, end, scale_log2,
    MASKED: tl.constexpr, HEAD_DIM: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    for start_n in range(start, end, BLOCK_N):
        k_tile = tl.load(_tile(k, head + start_n, HEAD_DIM, BLOCK_N))
        v_tile = tl.load(_tile(v, head + start_n, HEAD_DIM, BLOCK_N))
        # [BLOCK_M, BLOCK_N]
        p = tl.exp2(tl.dot(q_tile, tl.trans(k_tile)) * scale_log2 - lse_tile[:, None])
        if MASKED:
            p = tl.where(_visible(start_m, start_n, BLOCK_M, BLOCK_N), p, 0)
        ds = p * (tl.dot(do_tile, tl.trans(v_tile)) - delta_tile[:, None])
        dq_tile = tl.dot(ds.to(k_tile.dtype), k_tile, dq_tile)
    return dq_tile


@triton.jit
def _tile(base, row, HEAD_DIM: tl.constexpr, BLOCK: tl.constexpr):
    """Pointers to [BLOCK, HEAD_DIM], from a row of all heads on."""
    return base + (row + tl.arange(0, BLOCK)[:, None]) * HEAD_DIM + tl.arange(0, HEAD_DIM)[None, :]


@triton.jit
def _visible(start_m, start_n, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    return start_m + tl.arange(0, BLOCK_M)[:, None] >= start_n + tl.arange(0, BLOCK_N)[None, :]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        batch, heads, length, head_dim = q.shape
        o = torch.empty_like(q)
        lse = q.new_empty(q.shape[:3], dtype=torch.float32)
        scale_log2 = head_dim**-0.5 * math.log2(math.e)
        forward_kernel[lambda config: (length // config["BLOCK_M"], batch * heads)](
            q, k, v, o, lse, length, scale_log2, CAUSAL=causal, HEAD_DIM=head_dim
        )
        ctx.save_for_backward(q, k, v, o, lse)
        ctx.causal = causal
        return o

    @staticmethod
    def backward(ctx: Any, do: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, o, lse = ctx.saved_tensors
        batch, heads, length, head_dim = q.shape
        do = do.contiguous()
        delta = torch.empty_like(lse)
        delta_kernel[(delta.numel() // DELTA_ROWS,)](o, do, delta, HEAD_DIM=head_dim, BLOCK_M=DELTA_ROWS)
        dq, dk, dv = (torch.empty_like(x) for x in (q, k, v))
        scale = head_dim**-0.5
        sizes = (length, scale, scale * math.log2(math.e))
        options = {"CAUSAL": ctx.causal, "HEAD_DIM": head_dim}
        dk_dv_kernel[lambda config: (length // config["BLOCK_N"], batch * heads)](
            q, k, v, do, lse, delta, dk, dv, *sizes, **options
        )
        dq_kernel[lambda config: (length // config["BLOCK_M"], batch * heads)](
            q, k, v, do, lse, delta, dq, *sizes, **options
        )
        return dq, dk, dv, None


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """`softmax(q kᵀ / sqrt(D)) v`; the inputs are contiguous, and so is the output."""
    if not (q.shape == k.shape == v.shape and all(x.is_contiguous() for x in (q, k, v)) and q.shape[2] % 128 == 0):
        raise ValueError("q, k and v must be [B, n, S, D], contiguous and alike, with S a multiple of 128")
    return _Attention.apply(q, k, v, causal)
