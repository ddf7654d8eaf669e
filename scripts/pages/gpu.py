"""The blocks of "On a GPU": what the recordings in docs/data hold."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from pages import text

DATA = Path(__file__).parents[2] / "docs" / "data"
# the names of `scripts/record_gpu.py`, as a table has them
IMPLEMENTATIONS = {
    "actckpt": "actckpt",
    "actckpt_no_split": "actckpt, every tile masked",
    "flex": "FlexAttention",
    "sdpa_flash": "SDPA, flash",
    "sdpa_cudnn": "SDPA, cuDNN",
    "sdpa_efficient": "SDPA, efficient",
    "sdpa_math": "SDPA, math",
}

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
            f'<h2 id="{escape(anchor)}">{name}</h2>',
            f"<p>{text.mark(escape(recording['date']))}, {text.mark(versions)}, commit ",
            f"<code>{escape(recording['commit'][:10])}</code>.{_rate(entries)}</p>",
            _correctness(entries),
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


def _policies(device: str, entries: Entries) -> str:
    rows = "".join(
        f'<tr><th scope="row"><code>{escape(name)}</code></th><td>{text.gib(entry["predicted_working_bytes"], 3)}</td>'
        f"<td>{text.gib(entry['working_bytes'], 3)}</td>"
        f"<td>{_difference(entry['working_bytes'], entry['predicted_working_bytes'])}</td>"
        f"<td>{1000 * entry['step_s']:,.1f} ms</td>"
        f"<td>{entry['predicted_flops'] / entry['step_s'] / 1e12:,.0f}</td></tr>"
        for name, entry in _part(entries, "policy").items()
        if entry["working_bytes"]
    )
    head = ("policy and length", "predicted", "measured", "difference", "step", "TFLOP/s")
    return rows and text.table(f"Working memory and time of a step, four blocks of Llama 3.1 8B, {device}", head, rows)


def _difference(measured: int, predicted: int) -> str:
    return f"{100 * (measured / predicted - 1):+.2f}\u00a0%".replace("-", "−")


def _speed(device: str, entries: Entries) -> str:
    rows = "".join(
        f'<tr><th scope="row"><code>{escape(name)}</code></th><td>{IMPLEMENTATIONS.get(implementation, implementation)}'
        f"</td><td>{1000 * timed['forward_s']:,.2f}</td><td>{1000 * timed['backward_s']:,.2f}</td>"
        f"<td>{timed['forward_tflops']:,.0f}</td><td>{timed['backward_tflops']:,.0f}</td></tr>"
        for name, entry in _part(entries, "speed").items()
        for implementation, timed in entry["implementations"].items()
    )
    head = (
        "shape",
        "implementation",
        "forward, ms",
        "backward, ms",
        "forward, TFLOP/s",
        "backward, TFLOP/s",
    )
    return rows and text.table(f"Speed of attention in bfloat16, {device}", head, rows)
