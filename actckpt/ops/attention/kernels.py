"""Flash attention in Triton: forward, preprocess, dK/dV, dQ. `reference.py` explains the algorithm.

A program owns a tile of rows and walks along the other sequence in one loop. Tiles of which nothing is visible are not
visited. Where the whole tile is visible, the mask stays behind a branch: a second loop for the tiles that need it would
make the compiler wait for every matrix product. Each gradient is summed by the one program that owns it, in a fixed
order: no atomics.

Exponentials are taken to base 2, where the hardware has an instruction: with `scale_log2 = scale * log2(e)`, the
probability `exp(scale * s - lse)` is `exp2(scale_log2 * s - lse_log2)`, one fused multiply-add and one `exp2`. With a
softcap c, s becomes `tanh(s * cap_scale)` with `cap_scale = scale / c`, and `scale_log2` is `c * log2(e)`.

A tensor [B, heads, S, D] may arrive as a tensor descriptor, which the copy engine reads: what lies beyond the tensor is
0 when it is read and dropped when it is written. Else it arrives as a pointer, and `stride_x` is the tuple of its
strides, in elements; offsets are 64 bits wide. A tile's width BLOCK_D is HEAD_DIM rounded up to a power of two, and the
columns beyond HEAD_DIM are read as 0.

Under PACKED the batch is one, and `cu_q` and `cu_k` say where each of `n_documents` begins; `_document` tells how a
program finds its own. Row numbers count from the first row of the document, or of the batch entry.

lse is contiguous [B, n, S_q] in float32, to base e. `rows_lse` and `rows_delta` are what the preprocess kernel makes
for the backward kernels, [B, n, padded_rows] in float32: each document begins at a multiple of PADDING, and the rows
between two documents pass nothing on, so that the loops read them without a mask.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)
PADDING = tl.constexpr(128)

# a new sequence length or window must not compile the kernel anew
SIZES = ["n_heads", "n_kv_heads", "s_q", "s_k", "n_documents", "padded_rows", "left", "right"]


@triton.jit(do_not_specialize=SIZES)
def forward_kernel(
    q, k, v, o, lse, cu_q, cu_k,
    stride_q, stride_k, stride_v, stride_o,
    n_heads, n_kv_heads, s_q, s_k, n_documents, scale_log2, cap_scale, left, right,
    LEFT: tl.constexpr, RIGHT: tl.constexpr, SOFTCAP: tl.constexpr, PRECISE: tl.constexpr, PACKED: tl.constexpr,
    HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """The output and lse of one tile of queries."""
    batch, head, document, tile, tiles = _program(cu_q, s_q, n_heads, n_documents, BLOCK_M, PACKED)
    first_q, s_q_own = _extent(cu_q, document, s_q, PACKED)
    first_k, s_k_own = _extent(cu_k, document, s_k, PACKED)
    # the last tiles come first: under a causal mask they take longest, and what is short fills the gaps at the end
    start_m = tl.where(tile < tiles, tiles - 1 - tile, tile) * BLOCK_M
    kv_head = head // (n_heads // n_kv_heads)
    # [BLOCK_M, BLOCK_D]
    q_tile = _load(q, stride_q, batch, head, first_q, start_m, s_q_own, HEAD_DIM, BLOCK_M, BLOCK_D)

    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    # [BLOCK_M]
    row_max = tl.full([BLOCK_M], float("-inf"), tl.float32)
    row_sum = tl.zeros([BLOCK_M], tl.float32)
    start, full_start, full_end, end = _key_range(start_m, s_q_own, s_k_own, left, right, LEFT, RIGHT, BLOCK_M, BLOCK_N)
    for start_n in range(start, end, BLOCK_N):
        # [BLOCK_N, BLOCK_D]
        k_tile = _load(k, stride_k, batch, kv_head, first_k, start_n, s_k_own, HEAD_DIM, BLOCK_N, BLOCK_D)
        # [BLOCK_M, BLOCK_N]
        s = tl.dot(q_tile, tl.trans(k_tile), input_precision="ieee")
        if SOFTCAP:
            s = _tanh(s * cap_scale, PRECISE)
        if (start_n < full_start) | (start_n >= full_end):
            queries = start_m + tl.arange(0, BLOCK_M)[:, None]
            keys = start_n + tl.arange(0, BLOCK_N)[None, :]
            visible = _visible(queries, keys, s_q_own, s_k_own, left, right, LEFT, RIGHT) & (keys < s_k_own)
            s = tl.where(visible, s, float("-inf"))
        # [BLOCK_M]
        new_max = tl.maximum(row_max, tl.max(s, 1) * scale_log2)
        # -inf - -inf is not a number
        finite_max = tl.where(new_max == float("-inf"), 0, new_max)
        p = tl.exp2(s * scale_log2 - finite_max[:, None])
        rescale = tl.exp2(row_max - finite_max)
        row_sum = row_sum * rescale + tl.sum(p, 1)
        v_tile = _load(v, stride_v, batch, kv_head, first_k, start_n, s_k_own, HEAD_DIM, BLOCK_N, BLOCK_D)
        acc = tl.dot(p.to(v_tile.dtype), v_tile, acc * rescale[:, None], input_precision="ieee")
        row_max = new_max

    # a row that saw no key has a sum of 0 and a maximum of -inf: its output is 0 and its lse -inf
    row_sum = tl.where(row_sum == 0, 1, row_sum)
    acc = acc / row_sum[:, None]
    _store(o, acc, stride_o, batch, head, first_q, start_m, s_q_own, HEAD_DIM, BLOCK_M, BLOCK_D)
    rows = start_m + tl.arange(0, BLOCK_M)
    lse += (batch * n_heads + head) * s_q + first_q
    tl.store(lse + rows, (row_max + tl.log2(row_sum)) * LN_2, mask=rows < s_q_own)


@triton.jit(do_not_specialize=SIZES)
def preprocess_kernel(
    o, do, lse, dlse, rows_lse, rows_delta, cu_q, stride_o, stride_do, n_heads, s_q, n_documents, padded_rows,
    PACKED: tl.constexpr, HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    """For PADDING rows of one head: lse to base 2, and delta, the sum of do * o over the row without dlse."""
    batch, head, document, tile, _ = _program(cu_q, s_q, n_heads, n_documents, PADDING, PACKED)
    first_q, s_q_own = _extent(cu_q, document, s_q, PACKED)
    offset = (batch * n_heads + head) * s_q + first_q
    padded = (batch * n_heads + head) * padded_rows + _padded(first_q, document, PACKED)
    for start_m in range(tile * PADDING, tile * PADDING + PADDING, BLOCK_M):
        # [BLOCK_M, BLOCK_D]
        o_tile = _load(o, stride_o, batch, head, first_q, start_m, s_q_own, HEAD_DIM, BLOCK_M, BLOCK_D)
        do_tile = _load(do, stride_do, batch, head, first_q, start_m, s_q_own, HEAD_DIM, BLOCK_M, BLOCK_D)
        # [BLOCK_M]
        delta = tl.sum(o_tile.to(tl.float32) * do_tile.to(tl.float32), 1)
        rows = start_m + tl.arange(0, BLOCK_M)
        if dlse is not None:
            delta -= tl.load(dlse + offset + rows, mask=rows < s_q_own, other=0)
        lse_log2 = tl.load(lse + offset + rows, mask=rows < s_q_own, other=float("-inf")) * LOG2_E
        # exp2(s - inf) is 0: what saw no key, or does not exist, passes nothing on
        lse_log2 = tl.where(lse_log2 == float("-inf"), float("inf"), lse_log2)
        tl.store(rows_lse + padded + rows, lse_log2)
        tl.store(rows_delta + padded + rows, delta)


@triton.jit(do_not_specialize=SIZES)
def dk_dv_kernel(
    q, k, v, do, rows_lse, rows_delta, dk, dv, cu_q, cu_k,
    stride_q, stride_k, stride_v, stride_do, stride_dk, stride_dv,
    n_heads, n_kv_heads, s_q, s_k, n_documents, padded_rows, scale, scale_log2, cap_scale, left, right,
    LEFT: tl.constexpr, RIGHT: tl.constexpr, SOFTCAP: tl.constexpr, PRECISE: tl.constexpr, PACKED: tl.constexpr,
    HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """The gradients of one tile of keys and values, summed over the query heads that share the key/value head."""
    batch, kv_head, document, tile, _ = _program(cu_k, s_k, n_kv_heads, n_documents, BLOCK_N, PACKED)
    first_q, s_q_own = _extent(cu_q, document, s_q, PACKED)
    first_k, s_k_own = _extent(cu_k, document, s_k, PACKED)
    start_n = tile * BLOCK_N
    # [BLOCK_N, BLOCK_D]
    k_tile = _load(k, stride_k, batch, kv_head, first_k, start_n, s_k_own, HEAD_DIM, BLOCK_N, BLOCK_D)
    v_tile = _load(v, stride_v, batch, kv_head, first_k, start_n, s_k_own, HEAD_DIM, BLOCK_N, BLOCK_D)

    dk_tile = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    dv_tile = tl.zeros([BLOCK_N, BLOCK_D], tl.float32)
    start, full_start, full_end, end = _query_range(
        start_n, s_q_own, s_k_own, left, right, LEFT, RIGHT, BLOCK_M, BLOCK_N
    )
    group = n_heads // n_kv_heads
    # flattened into one loop, in which the loads for the next head begin while one is computed
    for head in tl.range(kv_head * group, kv_head * group + group, flatten=True):
        for start_m in range(start, end, BLOCK_M):
            # [BLOCK_M, BLOCK_D]
            q_tile = _load(q, stride_q, batch, head, first_q, start_m, s_q_own, HEAD_DIM, BLOCK_M, BLOCK_D)
            do_tile = _load(do, stride_do, batch, head, first_q, start_m, s_q_own, HEAD_DIM, BLOCK_M, BLOCK_D)
            # [BLOCK_M]
            rows = (batch * n_heads + head) * padded_rows + _padded(first_q, document, PACKED) + start_m
            lse_log2 = _load_rows(rows_lse, rows, BLOCK_M)
            delta = _load_rows(rows_delta, rows, BLOCK_M)
            # [BLOCK_N, BLOCK_M]: keys are the rows, so that p and ds are ready for the products with do and q
            s = tl.dot(k_tile, tl.trans(q_tile), input_precision="ieee")
            if SOFTCAP:
                s = _tanh(s * cap_scale, PRECISE)
            log2_p = s * scale_log2 - lse_log2[None, :]
            if (start_m < full_start) | (start_m >= full_end):
                keys = start_n + tl.arange(0, BLOCK_N)[:, None]
                queries = start_m + tl.arange(0, BLOCK_M)[None, :]
                visible = _visible(queries, keys, s_q_own, s_k_own, left, right, LEFT, RIGHT) & (queries < s_q_own)
                log2_p = tl.where(visible, log2_p, float("-inf"))
                if SOFTCAP:
                    s = tl.where(visible, s, 0)
            p = tl.exp2(log2_p)
            dv_tile = tl.dot(p.to(do_tile.dtype), do_tile, dv_tile, input_precision="ieee")
            if SOFTCAP:
                # the derivative of tanh, while s is at hand
                p *= 1 - s * s
            dp = tl.dot(v_tile, tl.trans(do_tile), input_precision="ieee")
            ds = p * (dp - delta[None, :])
            dk_tile = tl.dot(ds.to(q_tile.dtype), q_tile, dk_tile, input_precision="ieee")

    dk_tile *= scale
    _store(dk, dk_tile, stride_dk, batch, kv_head, first_k, start_n, s_k_own, HEAD_DIM, BLOCK_N, BLOCK_D)
    _store(dv, dv_tile, stride_dv, batch, kv_head, first_k, start_n, s_k_own, HEAD_DIM, BLOCK_N, BLOCK_D)


@triton.jit(do_not_specialize=SIZES)
def dq_kernel(
    q, k, v, do, rows_lse, rows_delta, dq, cu_q, cu_k,
    stride_q, stride_k, stride_v, stride_do, stride_dq,
    n_heads, n_kv_heads, s_q, s_k, n_documents, padded_rows, scale, scale_log2, cap_scale, left, right,
    LEFT: tl.constexpr, RIGHT: tl.constexpr, SOFTCAP: tl.constexpr, PRECISE: tl.constexpr, PACKED: tl.constexpr,
    HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """The gradient of one tile of queries."""
    batch, head, document, tile, tiles = _program(cu_q, s_q, n_heads, n_documents, BLOCK_M, PACKED)
    first_q, s_q_own = _extent(cu_q, document, s_q, PACKED)
    first_k, s_k_own = _extent(cu_k, document, s_k, PACKED)
    start_m = tl.where(tile < tiles, tiles - 1 - tile, tile) * BLOCK_M
    kv_head = head // (n_heads // n_kv_heads)
    # [BLOCK_M, BLOCK_D]
    q_tile = _load(q, stride_q, batch, head, first_q, start_m, s_q_own, HEAD_DIM, BLOCK_M, BLOCK_D)
    do_tile = _load(do, stride_do, batch, head, first_q, start_m, s_q_own, HEAD_DIM, BLOCK_M, BLOCK_D)
    # [BLOCK_M]
    rows = (batch * n_heads + head) * padded_rows + _padded(first_q, document, PACKED) + start_m
    lse_log2 = _load_rows(rows_lse, rows, BLOCK_M)
    delta = _load_rows(rows_delta, rows, BLOCK_M)

    dq_tile = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    start, full_start, full_end, end = _key_range(start_m, s_q_own, s_k_own, left, right, LEFT, RIGHT, BLOCK_M, BLOCK_N)
    for start_n in range(start, end, BLOCK_N):
        # [BLOCK_N, BLOCK_D]
        k_tile = _load(k, stride_k, batch, kv_head, first_k, start_n, s_k_own, HEAD_DIM, BLOCK_N, BLOCK_D)
        v_tile = _load(v, stride_v, batch, kv_head, first_k, start_n, s_k_own, HEAD_DIM, BLOCK_N, BLOCK_D)
        # [BLOCK_M, BLOCK_N]
        s = tl.dot(q_tile, tl.trans(k_tile), input_precision="ieee")
        if SOFTCAP:
            s = _tanh(s * cap_scale, PRECISE)
        log2_p = s * scale_log2 - lse_log2[:, None]
        if (start_n < full_start) | (start_n >= full_end):
            queries = start_m + tl.arange(0, BLOCK_M)[:, None]
            keys = start_n + tl.arange(0, BLOCK_N)[None, :]
            visible = _visible(queries, keys, s_q_own, s_k_own, left, right, LEFT, RIGHT) & (keys < s_k_own)
            log2_p = tl.where(visible, log2_p, float("-inf"))
            if SOFTCAP:
                s = tl.where(visible, s, 0)
        p = tl.exp2(log2_p)
        if SOFTCAP:
            # the derivative of tanh, while s is at hand
            p *= 1 - s * s
        dp = tl.dot(do_tile, tl.trans(v_tile), input_precision="ieee")
        ds = p * (dp - delta[:, None])
        dq_tile = tl.dot(ds.to(k_tile.dtype), k_tile, dq_tile, input_precision="ieee")

    dq_tile *= scale
    _store(dq, dq_tile, stride_dq, batch, head, first_q, start_m, s_q_own, HEAD_DIM, BLOCK_M, BLOCK_D)


@triton.jit
def _program(cu, length, n_heads, n_documents, BLOCK: tl.constexpr, PACKED: tl.constexpr):
    """What the program owns: batch, head, document, the tile of the document, and how many the document has.

    A packed document may own a tile more than it has: nothing of that one is stored.
    """
    tiles = tl.cdiv(length, BLOCK)
    if PACKED:
        tiles = length // BLOCK + n_documents
    tile = tl.program_id(0) % tiles
    head = (tl.program_id(0) // tiles % n_heads).to(tl.int64)
    batch = (tl.program_id(0) // tiles // n_heads).to(tl.int64)
    document = 0
    if PACKED:
        document = _document(cu, tile, n_documents, BLOCK)
        begin, end = tl.load(cu + document), tl.load(cu + document + 1)
        tile -= begin // BLOCK + document
        tiles = tl.cdiv(end - begin, BLOCK)
    return batch, head, document, tile, tiles


@triton.jit
def _document(cu, tile, n_documents, BLOCK: tl.constexpr):
    """Which document owns a tile: of two neighbours the second one's tiles begin after the first one's end.

    Document d owns the tiles from `cu[d] // BLOCK + d` on. Up to where the next one begins, those are at least as many
    as it has, and no sum over the documents before it is needed.
    """
    low = 0
    high = n_documents
    while high - low > 1:
        middle = (low + high) // 2
        if tl.load(cu + middle) // BLOCK + middle <= tile:
            low = middle
        else:
            high = middle
    return low


@triton.jit
def _extent(cu, document, length, PACKED: tl.constexpr):
    """The first row of a document in its sequence, and the number of its rows."""
    if PACKED:
        first = tl.load(cu + document)
        return first, tl.load(cu + document + 1) - first
    else:
        return 0, length


@triton.jit
def _padded(first, document, PACKED: tl.constexpr):
    """Where a document begins among padded rows."""
    if PACKED:
        return (first // PADDING + document) * PADDING
    else:
        return 0


@triton.jit
def _key_range(
    start_m, s_q, s_k, left, right, LEFT: tl.constexpr, RIGHT: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """The keys that a tile of queries visits, `start` to `end`; the tiles `full_start` to `full_end` need no mask."""
    # the places of the tile's first query and of its last one among the keys
    first = start_m + s_k - s_q
    last = tl.minimum(start_m + BLOCK_M, s_q) - 1 + s_k - s_q
    start = 0
    full_start = 0
    full_end = s_k
    end = s_k
    if LEFT:
        start = tl.maximum(first - left, 0) // BLOCK_N * BLOCK_N
        full_start = tl.cdiv(tl.maximum(last - left, 0), BLOCK_N) * BLOCK_N
    if RIGHT:
        full_end = tl.minimum(tl.maximum(first + right + 1, 0), s_k)
        end = tl.minimum(last + right + 1, s_k)
    return start, full_start, full_end // BLOCK_N * BLOCK_N, end


@triton.jit
def _query_range(
    start_n, s_q, s_k, left, right, LEFT: tl.constexpr, RIGHT: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """The queries that a tile of keys visits, `start` to `end`; the tiles `full_start` to `full_end` need no mask.

    Keys beyond the last need none: their rows of the gradients are not stored. Queries beyond the last need one: they
    are read as 0, and 0 times a key of -inf is not a number.
    """
    # the queries whose places are the tile's first key and its last one
    first = start_n + s_q - s_k
    last = tl.minimum(start_n + BLOCK_N, s_k) - 1 + s_q - s_k
    start = 0
    full_start = 0
    full_end = s_q
    end = s_q
    if RIGHT:
        start = tl.maximum(first - right, 0) // BLOCK_M * BLOCK_M
        full_start = tl.cdiv(tl.maximum(last - right, 0), BLOCK_M) * BLOCK_M
    if LEFT:
        full_end = tl.minimum(tl.maximum(first + left + 1, 0), s_q)
        end = tl.minimum(last + left + 1, s_q)
    return start, full_start, full_end // BLOCK_M * BLOCK_M, end


@triton.jit
def _visible(queries, keys, s_q, s_k, left, right, LEFT: tl.constexpr, RIGHT: tl.constexpr):
    """Whether the query sees the key, if the key exists."""
    visible = keys >= 0
    if LEFT:
        visible = visible & (keys >= queries + (s_k - s_q - left))
    if RIGHT:
        visible = visible & (keys <= queries + (s_k - s_q + right))
    return visible


@triton.jit
def _tanh(x, PRECISE: tl.constexpr):
    """The hyperbolic tangent, to 2**-23 in all; if PRECISE, to a few units in the last place."""
    far = 1 - 2 / (1 + tl.exp2(x * (2 * LOG2_E)))
    if not PRECISE:
        return far
    square = x * x
    near = x + x * square * (-1 / 3 + square * (2 / 15 + square * (-17 / 315)))
    return tl.where(square < 0.04, near, far)


@triton.jit
def _load(
    x, stride, batch, head, first, start, length,
    HEAD_DIM: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """[BLOCK, BLOCK_D]: rows of one head from row `start` of the document on; 0 beyond HEAD_DIM and beyond `length`."""
    if isinstance(x, tl.tensor_descriptor):
        return x.load([tl.cast(batch, tl.int32), tl.cast(head, tl.int32), start, 0]).reshape(BLOCK, BLOCK_D)
    else:
        mask = _inside(start, length, HEAD_DIM, BLOCK, BLOCK_D)
        return tl.load(_pointers(x, stride, batch, head, first, start, BLOCK, BLOCK_D), mask=mask, other=0.0)


@triton.jit
def _load_rows(x, start, BLOCK: tl.constexpr):
    """[BLOCK]: padded rows from `start` on."""
    if isinstance(x, tl.tensor_descriptor):
        return x.load([start.to(tl.int32)])
    else:
        return tl.load(x + start + tl.arange(0, BLOCK))


@triton.jit
def _store(
    x, tile, stride, batch, head, first, start, length,
    HEAD_DIM: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Write what `_load` would read, in the type of the memory."""
    if isinstance(x, tl.tensor_descriptor):
        x.store(
            [tl.cast(batch, tl.int32), tl.cast(head, tl.int32), start, 0],
            tile.to(x.dtype).reshape(1, 1, BLOCK, BLOCK_D),
        )
    else:
        mask = _inside(start, length, HEAD_DIM, BLOCK, BLOCK_D)
        pointers = _pointers(x, stride, batch, head, first, start, BLOCK, BLOCK_D)
        tl.store(pointers, tile.to(x.dtype.element_ty), mask=mask)


@triton.jit
def _inside(start, length, HEAD_DIM: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr):
    mask = (start + tl.arange(0, BLOCK)[:, None]) < length
    if HEAD_DIM < BLOCK_D:
        mask = mask & (tl.arange(0, BLOCK_D)[None, :] < HEAD_DIM)
    return mask


@triton.jit
def _pointers(x, stride, batch, head, first, start, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr):
    # the same for every tile of a loop, so that a step adds one number to each pointer
    rows = tl.arange(0, BLOCK).to(tl.int64)[:, None] * stride[2]
    columns = tl.arange(0, BLOCK_D).to(tl.int64)[None, :] * stride[3]
    row = tl.cast(first, tl.int64) + start
    return x + batch * stride[0] + head * stride[1] + row * stride[2] + (rows + columns)
