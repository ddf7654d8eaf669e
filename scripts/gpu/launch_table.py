"""The launch table of `actckpt/ops/attention/config.py`, as it is written there, from what was timed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from actckpt.ops.attention.config import Launch, Launches, block_d
from gpu.tuning import Problem

Results = dict[str, dict[str, Any]]


def fastest(problem: Problem, results: Results) -> tuple[Launch, float] | None:
    """The launch with the least median time, and that time in seconds; None where nothing was timed."""
    times = {
        name.rpartition("/")[2]: result["median_s"]
        for name, result in results.items()
        if name.startswith(f"{problem.name}/")
    }
    if not times:
        return None
    best = min(times, key=times.__getitem__)
    return Launch(*map(int, best.split("-"))), times[best]


def table(about: dict[str, Any], problems: Sequence[Problem], results: Results) -> str:
    """Rows for each type and way to read; what was not timed is as it was."""
    kinds = dict.fromkeys((problem.dtype, problem.path) for problem in problems)
    return "\n".join(
        line
        for kind in kinds
        for line in (
            f"# sm_{about['capability'][0]}{about['capability'][1]}, {kind[0]}, by {kind[1]}",
            *_rows(about, [problem for problem in problems if (problem.dtype, problem.path) == kind], results),
        )
    )


def row(width: int, chosen: Launches) -> str:
    """A line of the table."""
    written = ", ".join(f"Launch({', '.join(map(str, launch))})" for launch in chosen)
    return f"{width}: Launches({written}),"


def _rows(about: dict[str, Any], problems: Iterable[Problem], results: Results) -> Iterator[str]:
    widths: dict[int, list[Problem]] = {}
    for problem in problems:
        widths.setdefault(max(64, block_d(problem.head_dim)), []).append(problem)
    for width, kernels in sorted(widths.items()):
        timed = {problem.kernel: fastest(problem, results) for problem in kernels}
        chosen = {
            problem.kernel: found[0] if (found := timed[problem.kernel]) else problem.present(about["capability"])
            for problem in kernels
        }
        yield f"# {_reason(about, timed)}"
        yield row(width, Launches(**chosen))


def _reason(about: dict[str, Any], timed: dict[str, Any]) -> str:
    where = f"measured on {about['device']}, Triton {about['triton']}, {about['date']}"
    measured = [kernel for kernel, found in timed.items() if found]
    if len(measured) == len(timed):
        return where
    return f"{' and '.join(measured)} {where}; the rest was not" if measured else "not measured"
