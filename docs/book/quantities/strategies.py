"""What the workshop's strategies leave in memory, length by length: exact numbers, small enough for a page."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from math import gcd
from typing import Any

import numpy as np

from actckpt import sweep
from book.quantities.grid import LARGEST, PARTS, STATES, parts_of, states_of
from book.quantities.steps import LONG, SIZES, step

POLICIES = ("none", "attention", "ffn", "both")
LENGTHS = tuple(range(1024, LONG + 1, 1024))
RANKS = (1, 8, 64, 512)
# ways of counting, as a control calls them
COUNTED = {
    "flash": ("Llama, flash", {"accounting": "llama", "attention": "flash"}),
    "eager": ("Llama, eager", {"accounting": "llama", "attention": "eager"}),
    "paper": ("Paper", {"accounting": "paper"}),
    "workshop": ("Workshop", {"accounting": "workshop"}),
}


@cache
def parts(model: str, counted: str, policy: str, ranks: int = 1) -> dict[str, tuple[int, ...]]:
    """The peak of a step, part by part, at every length."""
    how: dict[str, Any] = {**COUNTED[counted][1], "policy": policy, "data_parallel": ranks}
    found = parts_of(sweep(model, seq_len=np.array(LENGTHS), **how))
    return {part: tuple(np.broadcast_to(found[part], len(LENGTHS)).tolist()) for part in PARTS}


def totals(model: str, counted: str, policy: str, ranks: int = 1) -> list[int]:
    """The peak of a step at every length."""
    return [sum(column) for column in zip(*parts(model, counted, policy, ranks).values(), strict=True)]


@cache
def overheads(model: str, counted: str, policy: str) -> tuple[float, ...]:
    """What a policy adds to the FLOPs of the blocks at every length, as a share."""
    how = COUNTED[counted][1]
    return tuple(round(float(step(policy, model=model, seq_len=length, **how).flops.overhead), 6) for length in LENGTHS)


def scale(model: str, counted: str, ranks: int, which: str) -> tuple[int, int]:
    """How many bytes the height of a panel stands for, and from one gridline to the next.

    Args:
        model: A name in `PRESETS`.
        counted: A key of `COUNTED`.
        ranks: Over how many the states are shared.
        which: "whole" for room for every column, "close" for room for those of the strategy that leaves the least.
    """
    tops = [totals(model, counted, policy, ranks)[-1] for policy in POLICIES]
    full = round(1.04 * (max(tops) if which == "whole" else min(tops)))
    return full, _gridline(full)


def _gridline(full: int) -> int:
    # of 1, 2, 5, 10, … GiB the first of which there are at most five
    return next(
        step * 10**power * 2**30 for power in range(10) for step in (1, 2, 5) if 5 * step * 10**power * 2**30 >= full
    )


def grid() -> dict[str, Any]:
    """Everything that the picture can show: equal rows stand once, divided by what divides them."""
    rows: dict[tuple[int, ...], int] = {}
    cells = {
        "|".join(key): [rows.setdefault(row, len(rows)) for row in _rows(*key)]
        for key in product(SIZES, COUNTED, POLICIES)
    }
    return {
        "lengths": LENGTHS,
        "parts": PARTS,
        "states": {
            f"{model}|{ranks}": [states_of(step(model=model, data_parallel=ranks))[name] for name in STATES]
            for model, ranks in product(SIZES, RANKS)
        },
        "cells": cells,
        "rows": list(rows),
        "overheads": {"|".join(key): overheads(*key) for key in product(SIZES, COUNTED, POLICIES[1:])},
        "scales": {
            f"{model}|{counted}|{ranks}|{which}": scale(model, counted, ranks, which)
            for model, counted, ranks, which in product(SIZES, COUNTED, RANKS, ("whole", "close"))
        },
    }


def _rows(model: str, counted: str, policy: str) -> Iterator[tuple[int, ...]]:
    for part, counts in parts(model, counted, policy).items():
        if part in STATES:
            continue
        if max(counts) >= LARGEST:
            raise OverflowError(f"{max(counts)} is more than JavaScript can count exactly")
        divisor = gcd(*counts) or 1
        yield (divisor, *(count // divisor for count in counts))
