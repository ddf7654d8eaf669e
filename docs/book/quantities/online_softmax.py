"""The numbers of the online softmax: one query, sixteen keys, four at a time, computed as the kernels do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from actckpt import flash_attention

N_KEYS, TILE, HEAD_DIM = 16, 4, 2
SEED = 158


@dataclass(frozen=True)
class Step:
    """What goes along with the row, when a tile of keys has been seen.

    Attributes:
        scores: Of the tile.
        rescale: What everything before it was multiplied by.
        row_max: m, the largest score so far.
        row_sum: l, the sum of the exponentials so far.
        acc: a, the weighted values so far.
    """

    scores: tuple[float, ...]
    rescale: float
    row_max: float
    row_sum: float
    acc: tuple[float, ...]


@cache
def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """q [1, 1, 1, D], k and v [1, 1, N_KEYS, D], in float64."""
    generator = torch.Generator().manual_seed(SEED)
    q, k, v = (
        torch.randn(1, 1, length, HEAD_DIM, generator=generator, dtype=torch.float64) for length in (1, N_KEYS, N_KEYS)
    )
    return q, k, v


def scores() -> list[float]:
    q, k, _ = inputs()
    return [float(score) for score in (q @ k.mT * HEAD_DIM**-0.5).flatten()]


@cache
def steps() -> tuple[Step, ...]:
    """The row, tile by tile: the three lines of the formula, in plain numbers."""
    row, values = scores(), inputs()[2][0, 0].tolist()
    done: list[Step] = []
    row_max, row_sum, acc = -math.inf, 0.0, [0.0] * HEAD_DIM
    for start in range(0, N_KEYS, TILE):
        tile = row[start : start + TILE]
        new_max = max(row_max, *tile)
        rescale, p = math.exp(row_max - new_max), [math.exp(s - new_max) for s in tile]
        row_sum = row_sum * rescale + sum(p)
        acc = [
            acc[d] * rescale + sum(weight * values[start + j][d] for j, weight in enumerate(p)) for d in range(HEAD_DIM)
        ]
        row_max = new_max
        done.append(Step(tuple(tile), rescale, row_max, row_sum, tuple(acc)))
    return tuple(done)


def package(n_keys: int = N_KEYS) -> tuple[list[float], float]:
    """The output and lse of `flash_attention` over the first keys of the row."""
    q, k, v = inputs()
    output, lse = flash_attention(q, k[:, :, :n_keys], v[:, :, :n_keys], return_lse=True)
    return output.flatten().tolist(), lse.item()


def whole_row() -> list[float]:
    """The output of a softmax over the whole row at once."""
    return [float(x) for x in torch.softmax(torch.tensor(scores(), dtype=torch.float64), 0) @ inputs()[2][0, 0]]
