"""The one order of advice: which policies to try, from the cheapest on, until a step fits."""

from __future__ import annotations

from bisect import bisect_left

from actckpt.tradeoff import LONGEST
from book.quantities.steps import MODEL, overhead

# with flash attention each keeps less than the one before it
ORDER = ("none", "pointwise", "every_2", "ffn", "save_attention", "full")


def ffn_is_cheaper(model: str = MODEL) -> int:
    """The length from which `ffn` costs less than `every_2`, which keeps more."""

    def cheaper(seq_len: int) -> bool:
        ffn, half = (overhead(policy, model=model, seq_len=seq_len) for policy in ("ffn", "every_2"))
        return ffn < half

    return bisect_left(range(LONGEST), True, 1, key=cheaper)
