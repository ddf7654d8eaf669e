"""The launch table of `actckpt/ops/attention/config.py`, as it is written there, from what was timed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from actckpt.ops.attention import config
from actckpt.ops.attention.config import Launch, Launches, block_d
from gpu.launches import Capability
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
    """The entries of the problems, those of `_HALF` by their names; what was not timed is as it was."""
    parts: dict[str, list[Problem]] = {}
    for problem in problems:
        parts.setdefault(_part(problem, about["capability"]), []).append(problem)
    return "\n".join(line for part, asked in parts.items() for line in _written(part, asked, about, results))


def _part(problem: Problem, capability: Capability) -> str:
    """The name of a part of `_HALF`, or "" for `_SINGLE`."""
    present = problem.launches(capability)
    return next((name for name, rows in config._HALF.items() if any(row is present for row in rows.values())), "")


def _written(part: str, asked: Iterable[Problem], about: dict[str, Any], results: Results) -> Iterator[str]:
    if part:
        yield f'    "{part}": {{'
    indent = "        " if part else "    "
    rows: dict[int, dict[str, Problem]] = {}
    for problem in asked:
        # where one row is for both ways to read, the first is the one that counts
        rows.setdefault(max(64, block_d(problem.head_dim)), {}).setdefault(problem.kernel, problem)
    for width, kernels in sorted(rows.items()):
        timed = {kernel: fastest(problem, results) for kernel, problem in kernels.items()}
        chosen = {
            kernel: found[0] if (found := timed[kernel]) else problem.present(about["capability"])
            for kernel, problem in kernels.items()
        }
        yield f"{indent}# {_reason(about, timed)}"
        launches = ", ".join(f"Launch({', '.join(map(str, launch))})" for launch in Launches(**chosen))
        yield f"{indent}{width}: Launches({launches}),"
    if part:
        yield "    },"


def _reason(about: dict[str, Any], timed: dict[str, Any]) -> str:
    where = f"measured on {about['device']}, Triton {about['triton']}, {about['date']}"
    measured = [kernel for kernel, found in timed.items() if found]
    if len(measured) == len(timed):
        return where
    return f"{' and '.join(measured)} {where}; unmeasured beside" if measured else "unmeasured"
