"""Flash attention in PyTorch: the algorithm of the kernels, tile by tile, in O(S) memory.

How it works (FlashAttention-2, Dao, arXiv 2307.08691). A query's row of scores is met one tile of keys at a time. Three
things go along with it: the largest score so far m (`row_max`), the sum of exponentials so far l (`row_sum`), and the
weighted values so far `acc`. A tile that brings a larger score scales down what was summed before it:

    m'   = max(m, max_j s_j)
    l'   = l   * exp(m - m') + sum_j exp(s_j - m')
    acc' = acc * exp(m - m') + sum_j exp(s_j - m') v_j

In the end `output = acc / l`, and `lse = m + log(l)` is all that the backward pass needs to know of the softmax:
`p_ij = exp(s_ij - lse_i)` gives any tile of probabilities back from q and k. With `delta_i = do_i · output_i - dlse_i`,
where dlse is the gradient of lse,

    dv_j = sum_i p_ij do_i
    ds_ij = p_ij * (do_i · v_j - delta_i)
    dq_i = scale * sum_j ds_ij k_j
    dk_j = scale * sum_i ds_ij q_i

With a softcap c a score is `c * tanh(scale * q_i · k_j / c)`, and ds_ij is multiplied by `1 - (s_ij / c)²`.

Grouped queries: the n / n_kv query heads that share a key/value head are one more dimension of q; k and v are never
copied. Packed documents are computed one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

import torch
from torch import Tensor

from actckpt.ops.attention.options import Options

BLOCK_M = 128
"""Queries in a tile."""
BLOCK_N = 128
"""Keys in a tile."""


def forward(q: Tensor, k: Tensor, v: Tensor, options: Options) -> tuple[Tensor, Tensor]:
    """The output [B, n, S_q, D] of attention and the natural log-sum-exp [B, n, S_q] of its scores."""
    output, lse = allocate_forward(q)
    grouped = [group_heads(x, k) for x in (q, output, lse)]
    for queries, keys in options.documents(q.shape[2], k.shape[2]):
        q_doc, output_doc, lse_doc = (x[:, :, :, queries] for x in grouped)
        attend(q_doc, k[:, :, keys], v[:, :, keys], output_doc, lse_doc, options)
    return output, lse


def attend(q: Tensor, k: Tensor, v: Tensor, output: Tensor, lse: Tensor, options: Options) -> None:
    """Write the output and lse of one document; q, output and lse with grouped heads."""
    for queries in _tiles(q.shape[3], BLOCK_M):
        # [B, n_kv, n / n_kv, BLOCK_M, D]
        q_tile = q[..., queries, :].to(lse.dtype)
        acc = torch.zeros_like(q_tile)
        # [B, n_kv, n / n_kv, BLOCK_M]
        row_max, row_sum = acc.new_full(acc.shape[:-1], -inf), acc.new_zeros(acc.shape[:-1])

        for keys in _tiles(k.shape[2], BLOCK_N):
            if _hidden(queries, keys, q, k, options):
                continue
            # [B, n_kv, BLOCK_N, D]
            k_tile, v_tile = k[..., keys, :].to(lse.dtype), v[..., keys, :].to(lse.dtype)
            s = _scores(q_tile, k_tile, options).masked_fill(~_seen(queries, keys, q, k, options), -inf)
            new_max = torch.maximum(row_max, s.amax(-1))
            # a row that has seen no key has a maximum of -inf, and -inf - -inf is not a number
            finite_max = new_max.masked_fill(new_max == -inf, 0)
            p = torch.exp(s - finite_max.unsqueeze(-1))
            rescale = torch.exp(row_max - finite_max)
            row_sum = row_sum * rescale + p.sum(-1)
            acc = acc * rescale.unsqueeze(-1) + torch.einsum("bhgmn,bhnd->bhgmd", p, v_tile)
            row_max = new_max

        output[..., queries, :] = acc / row_sum.masked_fill(row_sum == 0, 1).unsqueeze(-1)
        lse[..., queries] = row_max + torch.log(row_sum)


def backward(
    do: Tensor, q: Tensor, k: Tensor, v: Tensor, o: Tensor, lse: Tensor, dlse: Tensor | None, options: Options
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k and v, from those of the output and of lse, with the probabilities recomputed from lse."""
    dq, dk, dv = allocate_backward(q, k, v)
    delta = (do.to(lse.dtype) * o).sum(-1)
    if dlse is not None:
        delta -= dlse
    # exp(s - inf) is 0: a row that saw no key passes nothing on
    lse = lse.masked_fill(lse == -inf, inf)
    grouped = [group_heads(x, k) for x in (do, q, lse, delta, dq)]
    for queries, keys in options.documents(q.shape[2], k.shape[2]):
        do_doc, q_doc, lse_doc, delta_doc, dq_doc = (x[:, :, :, queries] for x in grouped)
        k_doc, v_doc, dk_doc, dv_doc = (x[:, :, keys] for x in (k, v, dk, dv))
        differentiate(do_doc, q_doc, lse_doc, delta_doc, dq_doc, k_doc, v_doc, dk_doc, dv_doc, options)
    return dq, dk, dv


def differentiate(
    do: Tensor,
    q: Tensor,
    lse: Tensor,
    delta: Tensor,
    dq: Tensor,
    k: Tensor,
    v: Tensor,
    dk: Tensor,
    dv: Tensor,
    options: Options,
) -> None:
    """Write the gradients dq, dk and dv of one document; do, q, lse, delta and dq with grouped heads."""
    # [B, n_kv, n / n_kv, S_q, D]: summed over keys tile by tile, so it is kept in the type that sums are taken in
    dq_sum = torch.zeros_like(q, dtype=lse.dtype)
    for keys in _tiles(k.shape[2], BLOCK_N):
        # [B, n_kv, BLOCK_N, D]
        k_tile, v_tile = k[..., keys, :].to(lse.dtype), v[..., keys, :].to(lse.dtype)
        dk_tile, dv_tile = torch.zeros_like(k_tile), torch.zeros_like(v_tile)

        for queries in _tiles(q.shape[3], BLOCK_M):
            if _hidden(queries, keys, q, k, options):
                continue
            # [B, n_kv, n / n_kv, BLOCK_M, D]
            q_tile, do_tile = (x[..., queries, :].to(lse.dtype) for x in (q, do))
            hidden = ~_seen(queries, keys, q, k, options)
            s = _scores(q_tile, k_tile, options).masked_fill(hidden, 0)
            p = torch.exp(s - lse[..., queries].unsqueeze(-1)).masked_fill(hidden, 0)
            dv_tile += torch.einsum("bhgmn,bhgmd->bhnd", p, do_tile)
            dp = torch.einsum("bhgmd,bhnd->bhgmn", do_tile, v_tile)
            ds = p * (dp - delta[..., queries].unsqueeze(-1)) * options.scale
            if options.softcap:
                ds *= 1 - (s / options.softcap) ** 2
            dk_tile += torch.einsum("bhgmn,bhgmd->bhnd", ds, q_tile)
            dq_sum[..., queries, :] += torch.einsum("bhgmn,bhnd->bhgmd", ds, k_tile)

        dk[..., keys, :], dv[..., keys, :] = dk_tile, dv_tile
    dq.copy_(dq_sum)


def allocate_forward(q: Tensor) -> tuple[Tensor, Tensor]:
    """Room for the output and lse. The output lies in memory as [B, S_q, n, D]: joining its heads copies nothing."""
    return _allocate(q), q.new_empty(q.shape[:3], dtype=torch.promote_types(q.dtype, torch.float32))


def allocate_backward(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Room for dq, dk and dv, laid out as the output is."""
    return _allocate(q), _allocate(k), _allocate(v)


def group_heads(x: Tensor, k: Tensor) -> Tensor:
    """[B, n, S_q, ...] as [B, n_kv, n / n_kv, S_q, ...]: the query heads of one key/value head side by side."""
    return x.unflatten(1, (k.shape[1], -1))


def _allocate(like: Tensor) -> Tensor:
    batch, heads, length, head_dim = like.shape
    return like.new_empty(batch, length, heads, head_dim).transpose(1, 2)


def _tiles(length: int, block: int) -> Iterator[slice]:
    return (slice(start, min(start + block, length)) for start in range(0, length, block))


def _hidden(queries: slice, keys: slice, q: Tensor, k: Tensor, options: Options) -> bool:
    """Whether no query of a tile sees any of its keys."""
    first, last = _place(queries.start, q, k), _place(queries.stop - 1, q, k)
    after = options.right is not None and keys.start > last + options.right
    return after or (options.left is not None and keys.stop - 1 < first - options.left)


def _seen(queries: slice, keys: slice, q: Tensor, k: Tensor, options: Options) -> Tensor:
    """Which queries of a tile see which of its keys: [BLOCK_M, BLOCK_N], or one True for all."""
    places = torch.arange(_place(queries.start, q, k), _place(queries.stop, q, k), device=q.device).unsqueeze(1)
    columns = torch.arange(keys.start, keys.stop, device=q.device)
    seen = torch.ones((), dtype=torch.bool, device=q.device)
    if options.right is not None:
        seen = seen & (columns <= places + options.right)
    if options.left is not None:
        seen = seen & (columns >= places - options.left)
    return seen


def _place(query: int, q: Tensor, k: Tensor) -> int:
    """Where a query stands among the keys: the last query at the last key."""
    return query + k.shape[2] - q.shape[3]


def _scores(q_tile: Tensor, k_tile: Tensor, options: Options) -> Tensor:
    """The scores [B, n_kv, n / n_kv, BLOCK_M, BLOCK_N] of a tile, without the mask."""
    s = torch.einsum("bhgmd,bhnd->bhgmn", q_tile * options.scale, k_tile)
    return torch.tanh(s / options.softcap) * options.softcap if options.softcap else s
