"""The blocks of "On a GPU": what the recordings in docs/data hold."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gpu.derived import attention_rate, predicted, rates, step_rate
from markupsafe import Markup
from record_gpu import entries

from book.components.pictures import opening as picture
from book.components.pictures.opening import Mark, marks
from book.components.table import table
from book.components.template import code, html, mark, render
from book.quantities.text import NBSP, gib, times

DATA = Path(__file__).parents[2] / "data"
# the names of `scripts/record_gpu.py`, as a table has them
IMPLEMENTATIONS = {
    "actckpt": "actckpt",
    "cudnn": "cuDNN",
    "flash": "flash",
    "plain": "plain Triton",
    "flex": "Flex",
}
# the first part of an entry's name, as the picture has it
PARTS = {
    "device": "the device",
    "forward": "forward pass",
    "backward": "backward pass",
    "correctness": "correctness",
    "policy": "policies",
}
DIRECTIONS = ("forward", "backward")

# what a file of `scripts/record_gpu.py` holds: about the device, and its entries by name
Recording = dict[str, Any]
Results = dict[str, dict[str, Any]]


def opening() -> Markup:
    """A slot for each entry of a recording, filled where any recording has its result."""
    found = set().union(*(_results(recording) for recording in _recorded()))
    slots: dict[str, list[Mark]] = {}
    for entry in entries((9, 0)):
        mark = Mark("ac-ink" if entry.name in found else "ac-empty")
        slots.setdefault(PARTS[entry.name.partition("/")[0]], []).append(mark)
    looks = [mark.cls for part in slots.values() for mark in part]
    return picture.opening(
        marks(slots.items()),
        name="slots",
        title=f"{looks.count('ac-ink') or 'None'} of {len(looks)} entries recorded",
        description="A square for each entry that a recording holds, in a row for each of its parts. Dashed ones are "
        "empty.",
        caption="What the script records, entry by entry. A dashed square is empty: no recording has it yet.",
        made_by="record_gpu.entries and docs/data",
        assumes="The entries for a Hopper GPU.",
        test="test_openings::test_a_slot_for_each_entry",
    )


def recordings() -> Markup:
    """What each recording holds, the devices side by side first; or that there is none."""
    found = _recorded()
    return render("recordings", side_by_side=_side_by_side(found), recordings=list(map(_section, found)))


def _recorded() -> list[Recording]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(DATA.glob("gpu-*.json"))]


def _side_by_side(found: list[Recording]) -> Markup:
    head = ("device", "matrix product", "copy", "forward", "backward", "right", "recorded")
    return table("The devices, attention with head dimension 128 at the longest length", head, map(_device, found))


def _device(recording: Recording) -> list[object]:
    results = _results(recording)
    link = html('<a href="#{{ anchor }}">{{ name }}</a>', anchor=_anchor(recording), name=recording["device"])
    attention = [_rate_beside_cudnn(results, direction) for direction in DIRECTIONS]
    return [link, *_bounds(results), *attention, _right(results), recording["date"]]


def _section(recording: Recording) -> dict[str, Any]:
    results, entries = _results(recording), recording["entries"]
    checked = _part(results, "correctness")
    device = recording["device"]
    return {
        "anchor": _anchor(recording),
        "device": mark(device),
        "date": mark(recording["date"]),
        "versions": mark(
            ", ".join(
                f"{part} {recording[part]}"
                for part in ("torch", "triton", "cuda", "driver")
                if recording.get(part) is not None
            )
        ),
        "commit": recording["commit"],
        "changed": recording["changed"],
        "right": mark(_right(results)),
        "wrong": [name for name, entry in checked.items() if not entry["right"]],
        "unequal": [name for name, entry in checked.items() if not entry["repeats_equal"]],
        "failed": {name: entry["failed"] for name, entry in entries.items() if "failed" in entry},
        "speed": [
            _speed(device, direction, head_dim, part)
            for direction in DIRECTIONS
            for head_dim, part in _grouped(_part(results, direction)).items()
        ],
        "policies": _policies(device, results),
    }


def _anchor(recording: Recording) -> str:
    return "-".join(recording["device"].lower().split())


def _results(recording: Recording) -> Results:
    return {name: entry["result"] for name, entry in recording["entries"].items() if "result" in entry}


def _part(results: Results, part: str) -> Results:
    return {name.removeprefix(f"{part}/"): entry for name, entry in results.items() if name.startswith(f"{part}/")}


def _grouped(results: Results) -> dict[str, Results]:
    """{head dimension: {implementation: result}}."""
    groups: dict[str, Results] = {}
    for name, result in results.items():
        head_dim, _, implementation = name.partition("/")
        groups.setdefault(head_dim, {})[implementation] = result
    return groups


def _bounds(results: Results) -> tuple[str, str]:
    if "device" not in results:
        return "–", "–"
    flops, bandwidth = rates(results["device"])
    return f"{flops / 1e12:,.0f}{NBSP}TFLOP/s", f"{bandwidth / 1e12:,.2f}{NBSP}TB/s"


def _rate_beside_cudnn(results: Results, direction: str) -> str:
    found = {
        name: _tflops(direction, results[entry]["timings"][-1])
        for name in ("actckpt", "cudnn")
        if (entry := f"{direction}/D128/{name}") in results
    }
    if "actckpt" not in found:
        return "–"
    beside = f", {times(found['actckpt'] / found['cudnn'], 2)} cuDNN" if "cudnn" in found else ""
    return f"{found['actckpt']:,.0f}{NBSP}TFLOP/s{beside}"


def _right(results: Results) -> str:
    checked = _part(results, "correctness")
    return f"{sum(entry['right'] and entry['repeats_equal'] for entry in checked.values())} of {len(checked)}"


def _speed(device: str, direction: str, head_dim: str, timed: Results) -> Markup:
    columns = [name for name in IMPLEMENTATIONS if name in timed]
    # {sizes: {implementation: timing}}
    sizes: dict[tuple[int, ...], dict[str, dict[str, Any]]] = {}
    for name in columns:
        for timing in timed[name]["timings"]:
            sizes.setdefault((timing["length"], timing["batch"], *timing["heads"]), {})[name] = timing
    rows = [
        (f"{length:,}, {batch}, {n} on {n_kv}", *(_timing(direction, timings.get(name)) for name in columns))
        for (length, batch, n, n_kv), timings in sizes.items()
    ]
    head = ("length, batch, heads", *(IMPLEMENTATIONS[name] for name in columns))
    return table(f"{direction.capitalize()}, head dimension {head_dim[1:]}, on {device}", head, rows)


def _timing(direction: str, timing: dict[str, Any] | None) -> str:
    if timing is None:
        return "–"
    low, median, high = (f"{1000 * timing[name]:,.3f}" for name in ("low_s", "median_s", "high_s"))
    return html(
        '<span title="{{ median }} ms, half of the times between {{ low }} and {{ high }}">{{ rate }}</span>',
        low=low,
        median=median,
        high=high,
        rate=f"{_tflops(direction, timing):,.0f}",
    )


def _tflops(direction: str, timing: dict[str, Any]) -> float:
    return attention_rate(direction, timing) / 1e12


def _policies(device: str, results: Results) -> list[Markup]:
    # {length: {policy: step}}
    lengths: dict[int, Results] = {}
    for policy, entry in _part(results, "policy").items():
        for step in entry["steps"]:
            lengths.setdefault(step["length"], {})[policy] = step
    head = ("policy", "predicted", "measured", "difference", "step", "TFLOP/s")
    return [
        table(f"S = {length:,}, on {device}", head, _policy_rows(steps.items()))
        for length, steps in sorted(lengths.items())
    ]


def _policy_rows(steps: Iterable[tuple[str, dict[str, Any]]]) -> Iterable[tuple[str, ...]]:
    for policy, step in steps:
        expected, measured = predicted(policy, step["length"]), step["working_bytes"]
        difference = 100 * (measured / int(expected.working_bytes) - 1)
        yield (
            code(policy),
            gib(int(expected.working_bytes), 3),
            gib(measured, 3),
            f"{difference:+.2f}{NBSP}%".replace("-", "−"),
            f"{1000 * step['median_s']:,.1f} ms",
            f"{step_rate(expected, step['median_s']) / 1e12:,.0f}",
        )
