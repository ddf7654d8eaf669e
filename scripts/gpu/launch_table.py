"""The launch table of `actckpt/ops/attention/config.py`, as it is written there, from what was timed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actckpt.ops.attention import config
from actckpt.ops.attention.config import Launch, Launches
from gpu.tuning import Problem

Results = dict[str, dict[str, Any]]
Rows = dict[int, Launches]


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
    """The parts of the table that the problems belong to, whole; what was not timed is as it was."""
    parts = []
    for name, rows in config._HALF.items():
        if _asked(rows, about, problems):
            lines = _lines(rows, about, problems, results)
            parts += [f'    "{name}": {{', *(f"    {line}" for line in lines), "    },"]
    if _asked(config._SINGLE, about, problems):
        parts += _lines(config._SINGLE, about, problems, results)
    return "\n".join(parts)


def _asked(rows: Rows, about: dict[str, Any], problems: Sequence[Problem]) -> bool:
    """Whether a problem is about one of the rows."""
    return any(problem.launches(about["capability"]) is row for problem in problems for row in rows.values())


def _lines(rows: Rows, about: dict[str, Any], problems: Sequence[Problem], results: Results) -> list[str]:
    lines = []
    for width, row in rows.items():
        asked = {problem.kernel: problem for problem in problems if problem.launches(about["capability"]) is row}
        timed = {kernel: found for kernel, problem in asked.items() if (found := fastest(problem, results))}
        chosen = row._replace(**{kernel: launch for kernel, (launch, _) in timed.items()})
        launches = ", ".join(f"Launch({', '.join(map(str, launch))})" for launch in chosen)
        lines += [f"    # {_reason(about, list(timed))}", f"    {width}: Launches({launches}),"]
    return lines


def _reason(about: dict[str, Any], measured: list[str]) -> str:
    where = f"measured on {about['device']}, Triton {about['triton']}, {about['date']}"
    missing = [kernel for kernel in Launches._fields if kernel not in measured]
    if not measured:
        return f"not measured on {about['device']}"
    return f"{' and '.join(measured)} {where}, {' and '.join(missing)} not" if missing else where
