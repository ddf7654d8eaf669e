"""The one order of advice: which policies to try, from the cheapest, until a step fits."""

from __future__ import annotations

from functools import cache

import numpy as np

from actckpt import Step, sweep
from book.quantities.steps import CARD, LONG, MODEL, RANKS, step

# with flash attention each keeps less than the one before, and costs more
ORDER = ("none", "pointwise", "ffn", "save_attention", "full")
GRAIN = 1024


def shared(policy: str) -> Step[int]:
    """The step of the examples with its states shared over `RANKS` ranks."""
    return step(policy, seq_len=LONG, data_parallel=RANKS)


def fits(policy: str) -> bool:
    """Whether that step fits `CARD`."""
    return shared(policy).peak_bytes <= CARD.memory_bytes


def first_that_fits() -> str:
    """The cheapest policy that fits."""
    return next(policy for policy in ORDER if fits(policy))


@cache
def longest(policy: str) -> int:
    """The longest sequence that fits `CARD`, in tokens, a multiple of `GRAIN`."""
    lengths = np.arange(GRAIN, 4 * LONG + 1, GRAIN)
    peaks = sweep(MODEL, seq_len=lengths, policy=policy, data_parallel=RANKS).peak_bytes
    return int(lengths[peaks <= CARD.memory_bytes].max())
