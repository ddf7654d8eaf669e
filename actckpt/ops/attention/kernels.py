"""Flash attention in Triton: forward, preprocess, dK/dV, dQ. `reference.py` explains the algorithm.

Exponentials are taken to base 2, where the hardware has an instruction: with `scale_log2 = scale * log2(e)`, the
probability `exp(scale * s - lse)` is `exp2(scale_log2 * s - lse_log2)`, one fused multiply-add and one `exp2`.

A program owns a tile of rows and walks along the other sequence in two loops over the same body: tiles in which every
query sees every key need no mask; then come the tiles on the diagonal and at the ragged end. Tiles that causality hides
are never visited. Each gradient is summed by the one program that owns it, in a fixed order: no atomics.

A tile's width BLOCK_D is HEAD_DIM rounded up to a power of two, and the columns beyond HEAD_DIM are read as 0. Offsets
are 64 bits wide. `stride_x` is the tuple of the strides of [B, heads, S, D], in elements. lse and delta are contiguous
[B, n, S_q] in float32, lse to base e.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)

# a new sequence length must not compile the kernel anew
SIZES = ["n_heads", "n_kv_heads", "s_q", "s_k"]


@triton.jit(do_not_specialize=SIZES)
def forward_kernel(
    q, k, v, o, lse,
    stride_q, stride_k, stride_v, stride_o,
    n_heads, n_kv_heads, s_q, s_k, scale_log2,
    CAUSAL: tl.constexpr, HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """The output and lse of one tile of queries."""
    batch, head, kv_head, start_m = _query_tile(n_heads, n_kv_heads, s_q, BLOCK_M)
    q, o = _head(q, stride_q, batch, head), _head(o, stride_o, batch, head)
    k, v = _head(k, stride_k, batch, kv_head), _head(v, stride_v, batch, kv_head)
    # [BLOCK_M, BLOCK_D]
    q_tile = _load(q, start_m, stride_q, s_q, True, HEAD_DIM, BLOCK_M, BLOCK_D)

    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    # [BLOCK_M]
    row_max = tl.full([BLOCK_M], float("-inf"), tl.float32)
    row_sum = tl.zeros([BLOCK_M], tl.float32)
    full_end, end = _key_range(start_m, s_q, s_k, CAUSAL, BLOCK_M, BLOCK_N)
    acc, row_max, row_sum = _attend(
        acc, row_max, row_sum, q_tile, k, v, stride_k, stride_v, 0, full_end, start_m, s_q, s_k, scale_log2,
        False, CAUSAL, HEAD_DIM, BLOCK_D, BLOCK_M, BLOCK_N,
    )  # fmt: skip
    acc, row_max, row_sum = _attend(
        acc, row_max, row_sum, q_tile, k, v, stride_k, stride_v, full_end, end, start_m, s_q, s_k, scale_log2,
        True, CAUSAL, HEAD_DIM, BLOCK_D, BLOCK_M, BLOCK_N,
    )  # fmt: skip

    # a row that saw no key has a sum of 0 and a maximum of -inf: its output is 0 and its lse -inf
    row_sum = tl.where(row_sum == 0, 1, row_sum)
    _store(o, acc / row_sum[:, None], start_m, stride_o, s_q, HEAD_DIM, BLOCK_M, BLOCK_D)
    rows = start_m + tl.arange(0, BLOCK_M)
    tl.store(lse + (batch * n_heads + head) * s_q + rows, (row_max + tl.log2(row_sum)) * LN_2, mask=rows < s_q)


@triton.jit
def _attend(
    acc, row_max, row_sum, q_tile, k, v, stride_k, stride_v, start, end, start_m, s_q, s_k, scale_log2,
    MASKED: tl.constexpr, CAUSAL: tl.constexpr,
    HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    for start_n in range(start, end, BLOCK_N):
        # [BLOCK_N, BLOCK_D]
        k_tile = _load(k, start_n, stride_k, s_k, MASKED, HEAD_DIM, BLOCK_N, BLOCK_D)
        # [BLOCK_M, BLOCK_N]
        s = tl.dot(q_tile, tl.trans(k_tile), input_precision="ieee")
        if MASKED:
            queries = start_m + tl.arange(0, BLOCK_M)[:, None]
            keys = start_n + tl.arange(0, BLOCK_N)[None, :]
            s = tl.where(_visible(queries, keys, s_q, s_k, CAUSAL), s, float("-inf"))
        # [BLOCK_M]
        new_max = tl.maximum(row_max, tl.max(s, 1) * scale_log2)
        finite_max = new_max
        if MASKED:
            # -inf - -inf is not a number
            finite_max = tl.where(new_max == float("-inf"), 0, new_max)
        p = tl.exp2(s * scale_log2 - finite_max[:, None])
        rescale = tl.exp2(row_max - finite_max)
        row_sum = row_sum * rescale + tl.sum(p, 1)
        v_tile = _load(v, start_n, stride_v, s_k, MASKED, HEAD_DIM, BLOCK_N, BLOCK_D)
        acc = tl.dot(p.to(v_tile.dtype), v_tile, acc * rescale[:, None], input_precision="ieee")
        row_max = new_max
    return acc, row_max, row_sum


@triton.jit(do_not_specialize=["n_heads", "s_q"])
def preprocess_kernel(
    o, do, delta, stride_o, stride_do, n_heads, s_q,
    HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    """The sum of do * o over each row of one tile of queries: delta."""
    batch, head, _, start_m = _query_tile(n_heads, n_heads, s_q, BLOCK_M)
    o, do = _head(o, stride_o, batch, head), _head(do, stride_do, batch, head)
    # [BLOCK_M, BLOCK_D]
    o_tile = _load(o, start_m, stride_o, s_q, True, HEAD_DIM, BLOCK_M, BLOCK_D)
    do_tile = _load(do, start_m, stride_do, s_q, True, HEAD_DIM, BLOCK_M, BLOCK_D)
    # [BLOCK_M]
    rows = start_m + tl.arange(0, BLOCK_M)
    sums = tl.sum(o_tile.to(tl.float32) * do_tile.to(tl.float32), 1)
    tl.store(delta + (batch * n_heads + head) * s_q + rows, sums, mask=rows < s_q)


@triton.jit(do_not_specialize=SIZES)
def dk_dv_kernel(
    q, k, v, do, lse, delta, dk, dv,
    stride_q, stride_k, stride_v, stride_do, stride_dk, stride_dv,
    n_heads, n_kv_heads, s_q, s_k, scale, scale_log2,
    CAUSAL: tl.constexpr, HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """The gradients of one tile of keys and values, summed over the query heads that share the key/value head."""
    tiles = tl.cdiv(s_k, BLOCK_N)
    start_n = tl.program_id(0) % tiles * BLOCK_N
    batch = (tl.program_id(0) // tiles // n_kv_heads).to(tl.int64)
    kv_head = (tl.program_id(0) // tiles % n_kv_heads).to(tl.int64)
    k, v = _head(k, stride_k, batch, kv_head), _head(v, stride_v, batch, kv_head)
    dk, dv = _head(dk, stride_dk, batch, kv_head), _head(dv, stride_dv, batch, kv_head)
    # [BLOCK_N, BLOCK_D]
    k_tile = _load(k, start_n, stride_k, s_k, True, HEAD_DIM, BLOCK_N, BLOCK_D)
    v_tile = _load(v, start_n, stride_v, s_k, True, HEAD_DIM, BLOCK_N, BLOCK_D)

    dk_tile = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    dv_tile = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    start, diagonal_end, full_end, masked_tiles = _query_range(start_n, s_q, s_k, CAUSAL, BLOCK_M, BLOCK_N)
    group = n_heads // n_kv_heads
    for head in range(kv_head * group, kv_head * group + group):
        q_head, do_head = _head(q, stride_q, batch, head), _head(do, stride_do, batch, head)
        lse_head = lse + (batch * n_heads + head) * s_q
        delta_head = delta + (batch * n_heads + head) * s_q
        for start_m in range(diagonal_end, full_end, BLOCK_M):
            dk_tile, dv_tile = _add_dk_dv(
                dk_tile, dv_tile, k_tile, v_tile, q_head, do_head, lse_head, delta_head, stride_q, stride_do,
                start_m, start_n, s_q, s_k, scale_log2, False, CAUSAL, HEAD_DIM, BLOCK_D, BLOCK_M, BLOCK_N,
            )  # fmt: skip
        for tile in range(masked_tiles):
            # the tiles on the diagonal, then the ragged one at the end
            start_m = start + tile * BLOCK_M
            start_m = tl.where(start_m < diagonal_end, start_m, full_end)
            dk_tile, dv_tile = _add_dk_dv(
                dk_tile, dv_tile, k_tile, v_tile, q_head, do_head, lse_head, delta_head, stride_q, stride_do,
                start_m, start_n, s_q, s_k, scale_log2, True, CAUSAL, HEAD_DIM, BLOCK_D, BLOCK_M, BLOCK_N,
            )  # fmt: skip

    _store(dk, dk_tile * scale, start_n, stride_dk, s_k, HEAD_DIM, BLOCK_N, BLOCK_D)
    _store(dv, dv_tile, start_n, stride_dv, s_k, HEAD_DIM, BLOCK_N, BLOCK_D)


@triton.jit
def _add_dk_dv(
    dk_tile, dv_tile, k_tile, v_tile, q, do, lse, delta, stride_q, stride_do,
    start_m, start_n, s_q, s_k, scale_log2, MASKED: tl.constexpr, CAUSAL: tl.constexpr,
    HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    # [BLOCK_M, BLOCK_D]
    q_tile = _load(q, start_m, stride_q, s_q, MASKED, HEAD_DIM, BLOCK_M, BLOCK_D)
    do_tile = _load(do, start_m, stride_do, s_q, MASKED, HEAD_DIM, BLOCK_M, BLOCK_D)
    # [BLOCK_M]
    lse_log2, delta_tile = _load_rows(lse, delta, start_m, s_q, MASKED, BLOCK_M)
    # [BLOCK_N, BLOCK_M]: keys are the rows, so that p and ds are ready for the products with do and q
    s = tl.dot(k_tile, tl.trans(q_tile), input_precision="ieee")
    p = tl.exp2(s * scale_log2 - lse_log2[None, :])
    if MASKED:
        keys = start_n + tl.arange(0, BLOCK_N)[:, None]
        queries = start_m + tl.arange(0, BLOCK_M)[None, :]
        p = tl.where(_visible(queries, keys, s_q, s_k, CAUSAL), p, 0)
    dv_tile = tl.dot(p.to(do_tile.dtype), do_tile, dv_tile, input_precision="ieee")
    dp = tl.dot(v_tile, tl.trans(do_tile), input_precision="ieee")
    ds = p * (dp - delta_tile[None, :])
    dk_tile = tl.dot(ds.to(q_tile.dtype), q_tile, dk_tile, input_precision="ieee")
    return dk_tile, dv_tile


@triton.jit(do_not_specialize=SIZES)
def dq_kernel(
    q, k, v, do, lse, delta, dq,
    stride_q, stride_k, stride_v, stride_do, stride_dq,
    n_heads, n_kv_heads, s_q, s_k, scale, scale_log2,
    CAUSAL: tl.constexpr, HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """The gradient of one tile of queries."""
    batch, head, kv_head, start_m = _query_tile(n_heads, n_kv_heads, s_q, BLOCK_M)
    q, do, dq = _head(q, stride_q, batch, head), _head(do, stride_do, batch, head), _head(dq, stride_dq, batch, head)
    k, v = _head(k, stride_k, batch, kv_head), _head(v, stride_v, batch, kv_head)
    # [BLOCK_M, BLOCK_D]
    q_tile = _load(q, start_m, stride_q, s_q, True, HEAD_DIM, BLOCK_M, BLOCK_D)
    do_tile = _load(do, start_m, stride_do, s_q, True, HEAD_DIM, BLOCK_M, BLOCK_D)
    # [BLOCK_M]
    offset = (batch * n_heads + head) * s_q
    lse_log2, delta_tile = _load_rows(lse + offset, delta + offset, start_m, s_q, True, BLOCK_M)

    dq_tile = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    full_end, end = _key_range(start_m, s_q, s_k, CAUSAL, BLOCK_M, BLOCK_N)
    for start_n in range(0, full_end, BLOCK_N):
        dq_tile = _add_dq(
            dq_tile, q_tile, do_tile, lse_log2, delta_tile, k, v, stride_k, stride_v,
            start_m, start_n, s_q, s_k, scale_log2, False, CAUSAL, HEAD_DIM, BLOCK_D, BLOCK_M, BLOCK_N,
        )  # fmt: skip
    for start_n in range(full_end, end, BLOCK_N):
        dq_tile = _add_dq(
            dq_tile, q_tile, do_tile, lse_log2, delta_tile, k, v, stride_k, stride_v,
            start_m, start_n, s_q, s_k, scale_log2, True, CAUSAL, HEAD_DIM, BLOCK_D, BLOCK_M, BLOCK_N,
        )  # fmt: skip
    _store(dq, dq_tile * scale, start_m, stride_dq, s_q, HEAD_DIM, BLOCK_M, BLOCK_D)


@triton.jit
def _add_dq(
    dq_tile, q_tile, do_tile, lse_log2, delta_tile, k, v, stride_k, stride_v,
    start_m, start_n, s_q, s_k, scale_log2, MASKED: tl.constexpr, CAUSAL: tl.constexpr,
    HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    # [BLOCK_N, BLOCK_D]
    k_tile = _load(k, start_n, stride_k, s_k, MASKED, HEAD_DIM, BLOCK_N, BLOCK_D)
    v_tile = _load(v, start_n, stride_v, s_k, MASKED, HEAD_DIM, BLOCK_N, BLOCK_D)
    # [BLOCK_M, BLOCK_N]
    s = tl.dot(q_tile, tl.trans(k_tile), input_precision="ieee")
    p = tl.exp2(s * scale_log2 - lse_log2[:, None])
    if MASKED:
        queries = start_m + tl.arange(0, BLOCK_M)[:, None]
        keys = start_n + tl.arange(0, BLOCK_N)[None, :]
        p = tl.where(_visible(queries, keys, s_q, s_k, CAUSAL), p, 0)
    dp = tl.dot(do_tile, tl.trans(v_tile), input_precision="ieee")
    ds = p * (dp - delta_tile[:, None])
    return tl.dot(ds.to(k_tile.dtype), k_tile, dq_tile, input_precision="ieee")


@triton.jit
def _query_tile(n_heads, n_kv_heads, s_q, BLOCK_M: tl.constexpr):
    """What the program owns: batch, head, the key/value head it reads, and the first query of its tile.

    The last tiles come first: under a causal mask they take longest, and what is short fills the gaps at the end.
    """
    tiles = tl.cdiv(s_q, BLOCK_M)
    start_m = (tiles - 1 - tl.program_id(0) % tiles) * BLOCK_M
    batch = (tl.program_id(0) // tiles // n_heads).to(tl.int64)
    head = (tl.program_id(0) // tiles % n_heads).to(tl.int64)
    return batch, head, head // (n_heads // n_kv_heads), start_m


@triton.jit
def _head(base, stride, batch, head):
    return base + batch * stride[0] + head * stride[1]


@triton.jit
def _key_range(start_m, s_q, s_k, CAUSAL: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """For a tile of queries: where the tiles of keys that need no mask end, and where the visible keys do."""
    full = s_k
    end = s_k
    if CAUSAL:
        # what the first query sees, and what the last one does
        full = tl.minimum(tl.maximum(start_m + 1 + s_k - s_q, 0), s_k)
        end = tl.minimum(tl.maximum(start_m + BLOCK_M + s_k - s_q, 0), s_k)
    return full // BLOCK_N * BLOCK_N, end


@triton.jit
def _query_range(start_n, s_q, s_k, CAUSAL: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """For a tile of keys: the tiles of queries on the diagonal, then those that need no mask, then a ragged one.

    Returns the start and the end of the first, the end of the second, and how many tiles need a mask.
    """
    start = 0
    diagonal_end = 0
    if CAUSAL:
        # the first query that sees the first key, and the first that sees them all
        start = tl.maximum(start_n + s_q - s_k, 0) // BLOCK_M * BLOCK_M
        last = tl.minimum(tl.maximum(start_n + BLOCK_N - 1 + s_q - s_k, 0), s_q)
        diagonal_end = tl.cdiv(last, BLOCK_M) * BLOCK_M
    full_end = tl.maximum(s_q // BLOCK_M * BLOCK_M, diagonal_end)
    masked_tiles = (diagonal_end - start) // BLOCK_M + tl.where(full_end < s_q, 1, 0)
    return start, diagonal_end, full_end, masked_tiles


@triton.jit
def _visible(queries, keys, s_q, s_k, CAUSAL: tl.constexpr):
    """Whether the query sees the key, and the key exists. The causal mask is aligned to the end."""
    visible = keys < s_k
    if CAUSAL:
        visible = visible & (keys <= queries + s_k - s_q)
    return visible


@triton.jit
def _load_rows(lse, delta, start_m, s_q, MASKED: tl.constexpr, BLOCK_M: tl.constexpr):
    """[BLOCK_M] of lse, to base 2, and of delta."""
    rows = start_m + tl.arange(0, BLOCK_M)
    if not MASKED:
        return tl.load(lse + rows) * LOG2_E, tl.load(delta + rows)
    # exp2(s - inf) is 0: what saw no key, or does not exist, passes nothing on
    lse_log2 = tl.load(lse + rows, mask=rows < s_q, other=float("-inf")) * LOG2_E
    lse_log2 = tl.where(lse_log2 == float("-inf"), float("inf"), lse_log2)
    return lse_log2, tl.load(delta + rows, mask=rows < s_q, other=0)


@triton.jit
def _load(
    base, start, stride, length,
    CHECK_ROWS: tl.constexpr, HEAD_DIM: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """[BLOCK, BLOCK_D]: the rows of one head from row `start`; 0 beyond HEAD_DIM, and beyond `length` if checked."""
    rows = start + tl.arange(0, BLOCK)[:, None]
    columns = tl.arange(0, BLOCK_D)[None, :]
    pointers = _pointers(base, start, stride, BLOCK, BLOCK_D)
    if CHECK_ROWS and HEAD_DIM < BLOCK_D:
        return tl.load(pointers, mask=(rows < length) & (columns < HEAD_DIM), other=0.0)
    elif CHECK_ROWS:
        return tl.load(pointers, mask=rows < length, other=0.0)
    elif HEAD_DIM < BLOCK_D:
        return tl.load(pointers, mask=columns < HEAD_DIM, other=0.0)
    else:
        return tl.load(pointers)


@triton.jit
def _store(base, tile, start, stride, length, HEAD_DIM: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr):
    """Write what `_load` would read, in the type of the memory."""
    rows = start + tl.arange(0, BLOCK)[:, None]
    columns = tl.arange(0, BLOCK_D)[None, :]
    mask = (rows < length) & (columns < HEAD_DIM)
    tl.store(_pointers(base, start, stride, BLOCK, BLOCK_D), tile.to(base.dtype.element_ty), mask=mask)


@triton.jit
def _pointers(base, start, stride, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr):
    # the same for every tile of a loop, so that a step adds one number to each pointer
    rows = tl.arange(0, BLOCK).to(tl.int64)[:, None] * stride[2]
    columns = tl.arange(0, BLOCK_D).to(tl.int64)[None, :] * stride[3]
    return base + tl.cast(start, tl.int64) * stride[2] + (rows + columns)
