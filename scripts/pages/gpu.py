"""The blocks of "On a GPU": what the recordings in docs/data hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import Any

from pages import text

DATA = Path(__file__).parents[2] / "docs" / "data"
# the names of `scripts/record_gpu.py`, as a table has them
IMPLEMENTATIONS = {
    "actckpt": "actckpt",
    "sdpa_flash": "flash",
    "sdpa_cudnn": "cuDNN",
    "sdpa_efficient": "efficient",
    "sdpa_math": "math",
    "flex": "Flex",
    "actckpt_no_split": "no skipping",
}
MASKS = {"causal": "causal mask", "full": "no mask"}

POLICIES = (
    "<h3>Policies</h3><p>A training step of four blocks of Llama 3.1 8B with a small vocabulary: its working memory "
    "beside what the package predicts, and its time. The rate counts what is recomputed, too.</p>"
)
SPEED = (
    "<h3>Speed</h3><p>Attention in bfloat16, forward / backward in TFLOP/s; the backward pass counts five matmuls to "
    "the forward pass's two. Beside the package stand the backends of PyTorch's "
    "<code>scaled_dot_product_attention</code>, whose key/value heads were repeated beforehand, FlexAttention, and the "
    "package's own kernels when every tile takes a mask and none is skipped.</p>"
)

Entries = dict[str, dict[str, Any]]


def recordings() -> str:
    """What each recording holds; or that there is none."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(DATA.glob("gpu-*.json"))]
    if not found:
        return (
            '<div class="admonition note"><p class="admonition-title">No recording exists yet</p>'
            "<p>Nothing on this site was measured on a GPU. What it shows is what can be known without one: the closed "
            "forms, what autograd saves on meta tensors, and the least time that a datasheet allows.</p></div>"
        )
    return "".join(_recording(recording) for recording in found)


def _recording(recording: dict[str, Any]) -> str:
    entries: Entries = recording["entries"]
    name = escape(recording["device"])
    anchor = "-".join(recording["device"].lower().split())
    versions = ", ".join(
        f"{part} {escape(str(recording[part]))}" for part in ("torch", "triton", "cuda", "driver") if part in recording
    )
    return "".join(
        (
            f'<h2 id="{escape(anchor)}">{text.mark(name)}</h2>',
            f"<p>{text.mark(escape(recording['date']))}, {text.mark(versions)}, commit ",
            f"<code>{escape(recording['commit'][:10])}</code>.{_rate(entries)}</p>",
            _correctness(entries),
            _failed(recording.get("failed", {})),
            _policies(name, entries),
            _speed(name, entries),
        )
    )


def _part(entries: Entries, part: str) -> Entries:
    return {name.removeprefix(f"{part}/"): entry for name, entry in entries.items() if name.startswith(f"{part}/")}


def _rate(entries: Entries) -> str:
    if "matmul" not in entries:
        return ""
    rate = text.mark(f"{entries['matmul']['tflops']:,.0f}\u00a0TFLOP/s")
    return f" One large matrix product runs at {rate} on it: what the kernels below can hope for."


def _correctness(entries: Entries) -> str:
    checked = _part(entries, "correctness")
    wrong = [name for name, entry in checked.items() if not entry["right"]]
    said = f" Wrong: {', '.join(f'<code>{escape(name)}</code>' for name in wrong)}." if wrong else ""
    return (
        f"<p>Correctness: of {text.mark(str(len(checked)))} combinations of head dimension, type and mask, "
        f"{text.mark(str(len(checked) - len(wrong)))} are right: at most twice as far from float64 as plain attention "
        f"of the same type.{said}</p>"
    )


def _failed(failed: dict[str, str]) -> str:
    if not failed:
        return ""
    named = ", ".join(f"<code>{escape(name)}</code> ({escape(error)})" for name, error in failed.items())
    return f"<p>Did not run: {named}.</p>"


def _policies(device: str, entries: Entries) -> str:
    lengths = _grouped(_part(entries, "policy"), lambda name: name.rpartition("/S")[2])
    head = ("policy", "predicted", "measured", "difference", "step", "TFLOP/s")
    tables = "".join(
        text.table(
            f"S = {int(length):,}, on {device}",
            head,
            "".join(_policy_row(name.partition("/")[0], entry) for name, entry in steps.items()),
        )
        for length, steps in lengths.items()
    )
    return tables and POLICIES + tables


def _policy_row(policy: str, entry: dict[str, Any]) -> str:
    measured, predicted = entry["working_bytes"], entry["predicted_working_bytes"]
    memory = (text.gib(measured, 3), _difference(measured, predicted)) if measured else ("not measured", "")
    cells = (
        text.gib(predicted, 3),
        *memory,
        f"{1000 * entry['step_s']:,.1f} ms",
        f"{entry['predicted_flops'] / entry['step_s'] / 1e12:,.0f}",
    )
    return _row(f"<code>{escape(policy)}</code>", cells)


def _difference(measured: int, predicted: int) -> str:
    return f"{100 * (measured / predicted - 1):+.2f}\u00a0%".replace("-", "−")


def _speed(device: str, entries: Entries) -> str:
    # D128/S1024/causal/heads32-8: a table for each head dimension and mask
    kinds = _grouped(_part(entries, "speed"), lambda name: "/".join(name.split("/")[0:3:2]))
    tables = "".join(_speed_table(device, kind, shapes) for kind, shapes in kinds.items())
    return tables and SPEED + tables


def _speed_table(device: str, kind: str, shapes: Entries) -> str:
    head_dim, mask = kind.split("/")
    ran = {name for entry in shapes.values() for name in entry["implementations"]}
    columns = [name for name in IMPLEMENTATIONS if name in ran] + sorted(ran - set(IMPLEMENTATIONS))
    rows = "".join(
        _row(_shape(name), [_rates(entry["implementations"].get(column)) for column in columns])
        for name, entry in shapes.items()
    )
    return text.table(
        f"Head dimension {head_dim[1:]}, {MASKS.get(mask, mask)}, on {device}",
        ("length, heads", *(IMPLEMENTATIONS.get(column, column) for column in columns)),
        rows,
    )


def _shape(name: str) -> str:
    _, length, _, heads = name.split("/")
    queries, keys = heads.removeprefix("heads").split("-")
    return f"{int(length[1:]):,}, {queries} on {keys}"


def _rates(timed: dict[str, float] | None) -> str:
    if timed is None:
        return "–"
    title = f"{1000 * timed['forward_s']:,.2f} ms / {1000 * timed['backward_s']:,.2f} ms"
    return f'<span title="{title}">{timed["forward_tflops"]:,.0f} / {timed["backward_tflops"]:,.0f}</span>'


def _grouped(entries: Entries, key: Callable[[str], str]) -> dict[str, Entries]:
    groups: dict[str, Entries] = {}
    for name, entry in entries.items():
        groups.setdefault(key(name), {})[name] = entry
    return groups


def _row(head: str, cells: Iterable[str]) -> str:
    return f'<tr><th scope="row">{head}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
