"""Flash attention in PyTorch: the algorithm of the kernels, tile by tile, in O(S) memory.

How it works (FlashAttention-2, Dao, arXiv 2307.08691). A query's row of scores is met one tile of keys at a time. Three
things go along with it: the largest score so far m (`row_max`), the sum of exponentials so far l (`row_sum`), and the
weighted values so far `acc`. A tile that brings a larger score scales down what was summed before it:

    m'   = max(m, max_j s_j)
    l'   = l   * exp(m - m') + sum_j exp(s_j - m')
    acc' = acc * exp(m - m') + sum_j exp(s_j - m') v_j

In the end `output = acc / l`, and `lse = m + log(l)` is all that the backward pass needs to know of the softmax:
`p_ij = exp(s_ij - lse_i)` gives any tile of probabilities back from q and k. With `delta_i = do_i · output_i`,

    dv_j = sum_i p_ij do_i
    ds_ij = p_ij * (do_i · v_j - delta_i)
    dq_i = scale * sum_j ds_ij k_j
    dk_j = scale * sum_i ds_ij q_i

Grouped queries: the n / n_kv query heads that share a key/value head are one more dimension of q; k and v are never
copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

import torch
from torch import Tensor

BLOCK_M = 128
"""Queries in a tile."""
BLOCK_N = 128
"""Keys in a tile."""


def forward(q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float) -> tuple[Tensor, Tensor]:
    """The output [B, n, S_q, D] of attention and the natural log-sum-exp [B, n, S_q] of its scores."""
    output, lse = allocate_forward(q)
    q, grouped_output, grouped_lse = (group_heads(x, k) for x in (q, output, lse))
    for queries in _tiles(q.shape[3], BLOCK_M):
        # [B, n_kv, n / n_kv, BLOCK_M, D]
        q_tile = q[..., queries, :].to(lse.dtype)
        acc = torch.zeros_like(q_tile)
        # [B, n_kv, n / n_kv, BLOCK_M]
        row_max, row_sum = acc.new_full(acc.shape[:-1], -inf), acc.new_zeros(acc.shape[:-1])

        for keys in _tiles(k.shape[2], BLOCK_N):
            if causal and _hidden(queries, keys, q, k):
                break
            # [B, n_kv, BLOCK_N, D]
            k_tile, v_tile = k[..., keys, :].to(lse.dtype), v[..., keys, :].to(lse.dtype)
            s = _scores(q_tile, k_tile, queries, keys, q, k, causal, scale)
            new_max = torch.maximum(row_max, s.amax(-1))
            # a row that has seen no key has a maximum of -inf, and -inf - -inf is not a number
            finite_max = new_max.masked_fill(new_max == -inf, 0)
            p = torch.exp(s - finite_max.unsqueeze(-1))
            rescale = torch.exp(row_max - finite_max)
            row_sum = row_sum * rescale + p.sum(-1)
            acc = acc * rescale.unsqueeze(-1) + torch.einsum("bhgmn,bhnd->bhgmd", p, v_tile)
            row_max = new_max

        grouped_output[..., queries, :] = acc / row_sum.masked_fill(row_sum == 0, 1).unsqueeze(-1)
        grouped_lse[..., queries] = row_max + torch.log(row_sum)
    return output, lse


def backward(
    do: Tensor, q: Tensor, k: Tensor, v: Tensor, o: Tensor, lse: Tensor, causal: bool, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k and v, from the gradient of the output, with the probabilities recomputed from lse."""
    dq, dk, dv = allocate_backward(q, k, v)
    q, o, do, lse = (group_heads(x, k) for x in (q, o, do, lse))
    # exp(s - inf) is 0: a row that saw no key passes nothing on
    lse = lse.masked_fill(lse == -inf, inf)
    # [B, n_kv, n / n_kv, S_q]: summed over keys tile by tile, so it is kept in the type that sums are taken in
    dq_sum = torch.zeros_like(q, dtype=lse.dtype)
    for keys in _tiles(k.shape[2], BLOCK_N):
        # [B, n_kv, BLOCK_N, D]
        k_tile, v_tile = k[..., keys, :].to(lse.dtype), v[..., keys, :].to(lse.dtype)
        dk_tile, dv_tile = torch.zeros_like(k_tile), torch.zeros_like(v_tile)

        for queries in _tiles(q.shape[3], BLOCK_M):
            if causal and _hidden(queries, keys, q, k):
                continue
            # [B, n_kv, n / n_kv, BLOCK_M, D]
            q_tile, o_tile, do_tile = (x[..., queries, :].to(lse.dtype) for x in (q, o, do))
            delta = (do_tile * o_tile).sum(-1, keepdim=True)
            s = _scores(q_tile, k_tile, queries, keys, q, k, causal, scale)
            p = torch.exp(s - lse[..., queries].unsqueeze(-1))
            dv_tile += torch.einsum("bhgmn,bhgmd->bhnd", p, do_tile)
            dp = torch.einsum("bhgmd,bhnd->bhgmn", do_tile, v_tile)
            ds = p * (dp - delta) * scale
            dk_tile += torch.einsum("bhgmn,bhgmd->bhnd", ds, q_tile)
            dq_sum[..., queries, :] += torch.einsum("bhgmn,bhnd->bhgmd", ds, k_tile)

        dk[..., keys, :], dv[..., keys, :] = dk_tile, dv_tile
    dq.copy_(dq_sum.flatten(1, 2))
    return dq, dk, dv


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


def _hidden(queries: slice, keys: slice, q: Tensor, k: Tensor) -> bool:
    """Whether causality hides every key of the tile from every query: the last query sees no key of it."""
    return keys.start > queries.stop - 1 + k.shape[2] - q.shape[3]


def _scores(
    q_tile: Tensor, k_tile: Tensor, queries: slice, keys: slice, q: Tensor, k: Tensor, causal: bool, scale: float
) -> Tensor:
    """The scores [B, n_kv, n / n_kv, BLOCK_M, BLOCK_N] of a tile; -inf where a key is after the query.

    The causal mask is aligned to the end: the last query sees every key.
    """
    s = torch.einsum("bhgmd,bhnd->bhgmn", q_tile * scale, k_tile)
    last_seen = queries.start + k.shape[2] - q.shape[3]
    if causal and keys.stop - 1 > last_seen:
        rows = torch.arange(s.shape[-2], device=s.device).unsqueeze(1) + last_seen
        columns = torch.arange(keys.start, keys.stop, device=s.device)
        s = s.masked_fill(columns > rows, -inf)
    return s
