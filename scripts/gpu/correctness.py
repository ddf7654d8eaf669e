"""Whether the attention kernels are right, and give the same bits again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

import torch

from gpu import ours
from gpu.exact import error, random_inputs, results


def correctness(device: str, head_dim: int, dtype: str, cases: Sequence[Sequence[int]]) -> dict[str, Any]:
    """The largest error over cases and masks, as a share of what is allowed; and whether a repeat is equal.

    Args:
        device: "cuda"; "cpu" for a rehearsal.
        head_dim: D.
        dtype: The name of a type of torch.
        cases: (batch, query heads, key/value heads, S_q, S_k) of each.
    """
    worst, repeats_equal = {"causal": 0.0, "full": 0.0}, True
    for (batch, n, n_kv, *lengths), mask in product(cases, worst):
        *inputs, do = random_inputs(device, batch, (n, n_kv), lengths, head_dim, getattr(torch, dtype))
        with poisoned():
            first, again = (results(ours.attention, inputs, do, mask == "causal") for _ in range(2))
        repeats_equal &= all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
        worst[mask] = max(worst[mask], error(first, inputs, do, mask == "causal"))
    return {"cases": len(cases), "error": worst, "repeats_equal": repeats_equal, "right": max(worst.values()) <= 1}


@contextmanager
def poisoned() -> Iterator[None]:
    """New memory is full of NaN: what a kernel does not write shows."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
