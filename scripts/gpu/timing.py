"""How time is taken."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

# runs before those that count: the first compile kernels, the others bring the clock to where the load holds it
WARM_UP = 3


def seconds(function: Callable[[], Any], device: str, repeats: int) -> dict[str, float]:
    """The median time of a function, and the quarter and three quarters of its times that stand beside it."""
    for _ in range(WARM_UP):
        function()
    times = [_seconds_once(function, device) for _ in range(max(2, repeats))]
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return {"median_s": median, "low_s": low, "high_s": high}


def _seconds_once(function: Callable[[], Any], device: str) -> float:
    if device != "cuda":
        start = time.perf_counter()
        function()
        return time.perf_counter() - start
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    # busy for some milliseconds, while what is timed is queued: a short kernel takes less time than its launch, and a
    # backward pass through autograd has many
    torch.cuda._sleep(5_000_000)
    before.record()
    function()
    after.record()
    after.synchronize()
    return before.elapsed_time(after) / 1000
