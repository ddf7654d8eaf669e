"""The tiles of scores that flash attention visits under a causal mask, by the rules of the package's reference."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from actckpt.ops.attention import reference
from actckpt.ops.attention.options import Options

CAUSAL = Options(scale=1.0, right=0)


@dataclass(frozen=True)
class Visit:
    """One tile of scores: of which tile of queries, of which tile of keys, and whether it takes a mask."""

    queries: int
    keys: int
    masked: bool


def visits(seq_len: int, block_m: int, block_n: int) -> list[Visit]:
    """The tiles that a causal forward pass visits, in their order, by the rules of the package's reference."""
    # [B, n_kv, n / n_kv, S, D] and [B, n_kv, S, D], as the reference has them
    q, k = torch.empty(1, 1, 1, seq_len, 1, device="meta"), torch.empty(1, 1, seq_len, 1, device="meta")
    found = []
    for i, queries in enumerate(reference._tiles(seq_len, block_m)):
        for j, keys in enumerate(reference._tiles(seq_len, block_n)):
            if reference._hidden(queries, keys, q, k, CAUSAL):
                break
            # the first query of the tile does not see its last key
            found.append(Visit(i, j, masked=keys.stop - 1 > queries.start))
    return found


def counts(seq_len: int, block_m: int, block_n: int) -> tuple[int, int, int]:
    """The tiles of scores in all, those that are visited, and those of them that take a mask."""
    found = visits(seq_len, block_m, block_n)
    return -(-seq_len // block_m) * -(-seq_len // block_n), len(found), sum(visit.masked for visit in found)
