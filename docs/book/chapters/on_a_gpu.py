"""The blocks of "On a GPU": what the recordings in docs/data hold."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from book.quantities import text

DATA = Path(__file__).parents[2] / "data"
# the names of `scripts/record_gpu.py`, as a table has them
IMPLEMENTATIONS = {
    "actckpt": "actckpt",
    "cudnn": "cuDNN",
    "flash": "flash",
    "plain": "plain Triton",
    "flex": "Flex",
}
DIRECTIONS = ("forward", "backward")

SPEED = (
    "<h3>Speed</h3><p>Attention in bfloat16 under a causal mask, in TFLOP/s; the backward pass counts five products to "
    "the forward pass's two. Beside the package stand two backends of PyTorch's "
    "<code>scaled_dot_product_attention</code> and FlashAttention-2 as a tutorial writes it in Triton, whose key/value "
    "heads were repeated beforehand, and FlexAttention.</p>"
)
POLICIES = (
    "<h3>Policies</h3><p>A training step of four blocks of Llama 3.1 8B with a small vocabulary: its working memory "
    "beside what the package predicts, and its time. The rate counts what is recomputed, too.</p>"
)

# what a file of `scripts/record_gpu.py` holds: about the device, and its entries by name
Recording = dict[str, Any]
Results = dict[str, dict[str, Any]]


def recordings() -> str:
    """What each recording holds, the devices side by side first; or that there is none."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(DATA.glob("gpu-*.json"))]
    if not found:
        return (
            '<div class="admonition note"><p class="admonition-title">No recording exists yet</p>'
            "<p>Nothing on this site was measured on a GPU. What it shows is what can be known without one: the closed "
            "forms, what autograd saves on meta tensors, and the least time that a datasheet allows.</p></div>"
        )
    return _side_by_side(found) + "".join(_section(recording) for recording in found)


def _side_by_side(found: list[Recording]) -> str:
    head = ("device", "matrix product", "copy", "forward", "backward", "right", "recorded")
    rows = "".join(map(_device_row, found))
    return text.table("The devices, attention with head dimension 128 at the longest length", head, rows)


def _device_row(recording: Recording) -> str:
    results = _results(recording)
    name = f'<a href="#{_anchor(recording)}">{escape(recording["device"])}</a>'
    attention = (_rate_beside_cudnn(results, direction) for direction in DIRECTIONS)
    return _row(name, (*_bounds(results), *attention, _right(results), escape(recording["date"])))


def _section(recording: Recording) -> str:
    results = _results(recording)
    versions = ", ".join(
        f"{part} {escape(str(recording[part]))}"
        for part in ("torch", "triton", "cuda", "driver")
        if recording.get(part) is not None
    )
    commit = f"commit <code>{escape(recording['commit'][:10])}</code>" if recording["commit"] else "an unknown commit"
    changed = " with changes" if recording["changed"] else ""
    name = escape(recording["device"])
    return "".join(
        (
            f'<h2 id="{_anchor(recording)}">{text.mark(name)}</h2>',
            f"<p>{text.mark(escape(recording['date']))}, {text.mark(versions)}, {commit}{changed}.</p>",
            _correctness(results),
            _failed(recording),
            _speed(name, results),
            _policies(name, results),
        )
    )


def _anchor(recording: Recording) -> str:
    return escape("-".join(recording["device"].lower().split()))


def _results(recording: Recording) -> Results:
    return {name: entry["result"] for name, entry in recording["entries"].items() if "result" in entry}


def _part(results: Results, part: str) -> Results:
    return {name.removeprefix(f"{part}/"): entry for name, entry in results.items() if name.startswith(f"{part}/")}


def _bounds(results: Results) -> tuple[str, str]:
    if "device" not in results:
        return "–", "–"
    from gpu.derived import rates

    flops, bandwidth = rates(results["device"])
    return f"{flops / 1e12:,.0f}\u00a0TFLOP/s", f"{bandwidth / 1e12:,.2f}\u00a0TB/s"


def _rate_beside_cudnn(results: Results, direction: str) -> str:
    rates = {
        name: _tflops(direction, results[entry]["timings"][-1])
        for name in ("actckpt", "cudnn")
        if (entry := f"{direction}/D128/{name}") in results
    }
    if "actckpt" not in rates:
        return "–"
    beside = f", {rates['actckpt'] / rates['cudnn']:.2f}\u00a0× cuDNN" if "cudnn" in rates else ""
    return f"{rates['actckpt']:,.0f}\u00a0TFLOP/s{beside}"


def _right(results: Results) -> str:
    checked = _part(results, "correctness")
    return f"{sum(entry['right'] and entry['repeats_equal'] for entry in checked.values())} of {len(checked)}"


def _correctness(results: Results) -> str:
    checked = _part(results, "correctness")
    said = _named("Wrong", [name for name, entry in checked.items() if not entry["right"]])
    said += _named("A repeat gave other bits", [name for name, entry in checked.items() if not entry["repeats_equal"]])
    return (
        f"<p>Correctness: {text.mark(_right(results))} combinations of head dimension and type are right, and give the "
        "same bits again: at most twice as far from float64 as the definition computed in the same type, at lengths "
        "that no tile divides, in memory that was full of NaN. Windows, a softcap, packed documents and the gradient "
        f"of the log-sum-exp are held to the reference in float64.{said}</p>"
    )


def _named(what: str, names: list[str]) -> str:
    return f" {what}: {', '.join(f'<code>{escape(name)}</code>' for name in names)}." if names else ""


def _failed(recording: Recording) -> str:
    failed = {name: entry["failed"] for name, entry in recording["entries"].items() if "failed" in entry}
    if not failed:
        return ""
    named = ", ".join(f"<code>{escape(name)}</code> ({escape(why)})" for name, why in failed.items())
    return f"<p>Did not run: {named}.</p>"


def _speed(device: str, results: Results) -> str:
    tables = "".join(
        _speed_table(device, direction, head_dim, part)
        for direction in DIRECTIONS
        for head_dim, part in _grouped(_part(results, direction)).items()
    )
    return tables and SPEED + tables


def _speed_table(device: str, direction: str, head_dim: str, timed: Results) -> str:
    columns = [name for name in IMPLEMENTATIONS if name in timed]
    # {sizes: {implementation: timing}}
    sizes: dict[tuple[int, ...], dict[str, dict[str, Any]]] = {}
    for name in columns:
        for timing in timed[name]["timings"]:
            sizes.setdefault((timing["length"], timing["batch"], *timing["heads"]), {})[name] = timing
    rows = "".join(
        _row(
            f"{length:,}, {batch}, {n} on {n_kv}",
            [_speed_cell(direction, timings.get(name)) for name in columns],
        )
        for (length, batch, n, n_kv), timings in sizes.items()
    )
    head = ("length, batch, heads", *(IMPLEMENTATIONS[name] for name in columns))
    return text.table(f"{direction.capitalize()}, head dimension {head_dim[1:]}, on {device}", head, rows)


def _speed_cell(direction: str, timing: dict[str, Any] | None) -> str:
    if timing is None:
        return "–"
    low, median, high = (f"{1000 * timing[name]:,.3f}" for name in ("low_s", "median_s", "high_s"))
    title = f"{median} ms, half of the times between {low} and {high}"
    return f'<span title="{title}">{_tflops(direction, timing):,.0f}</span>'


def _tflops(direction: str, timing: dict[str, Any]) -> float:
    from gpu.derived import attention_rate

    return attention_rate(direction, timing) / 1e12


def _policies(device: str, results: Results) -> str:
    # {length: {policy: step}}
    lengths: dict[int, Results] = {}
    for policy, entry in _part(results, "policy").items():
        for step in entry["steps"]:
            lengths.setdefault(step["length"], {})[policy] = step
    head = ("policy", "predicted", "measured", "difference", "step", "TFLOP/s")
    tables = "".join(
        text.table(
            f"S = {length:,}, on {device}",
            head,
            "".join(_policy_row(policy, step) for policy, step in steps.items()),
        )
        for length, steps in sorted(lengths.items())
    )
    return tables and POLICIES + tables


def _policy_row(policy: str, step: dict[str, Any]) -> str:
    from gpu.derived import predicted, step_rate

    expected, measured = predicted(policy, step["length"]), step["working_bytes"]
    difference = 100 * (measured / int(expected.working_bytes) - 1)
    cells = (
        text.gib(int(expected.working_bytes), 3),
        text.gib(measured, 3),
        f"{difference:+.2f}\u00a0%".replace("-", "−"),
        f"{1000 * step['median_s']:,.1f} ms",
        f"{step_rate(expected, step['median_s']) / 1e12:,.0f}",
    )
    return _row(f"<code>{escape(policy)}</code>", cells)


def _grouped(results: Results) -> dict[str, Results]:
    """{head dimension: {implementation: result}}."""
    groups: dict[str, Results] = {}
    for name, result in results.items():
        head_dim, _, implementation = name.partition("/")
        groups.setdefault(head_dim, {})[implementation] = result
    return groups


def _row(head: str, cells: Iterable[str]) -> str:
    return f'<tr><th scope="row">{head}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
