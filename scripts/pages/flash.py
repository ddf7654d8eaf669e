"""The blocks of "Flash attention" and "On a GPU"."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import torch

from actckpt import PRESETS, estimate, flash_attention
from actckpt.llama import eager_attention
from actckpt.ops.attention import reference
from pages import text

DATA = Path(__file__).parents[2] / "docs" / "data"
MODEL = "llama-3.1-8b"
SEQ_LEN = 4096


def algorithm() -> str:
    """The forward pass of the reference, as it stands in the package."""
    return _code(inspect.getsource(reference.forward))


def gradients() -> str:
    """The backward pass of the reference, as it stands in the package."""
    return _code(inspect.getsource(reference.backward))


def inner_loop() -> str:
    """The inner loop of the forward kernel, as it stands in the package."""
    source = Path(reference.__file__).with_name("kernels.py").read_text(encoding="utf-8")
    start = source.index("@triton.jit\ndef _attend(")
    return _code(source[start : source.index("\n\n\n", start)])


def saved() -> str:
    """What the attention of one block saves, eager and flash, tensor by tensor, as a table."""
    eager, flash = (
        {term.name: term.bytes for term in block if term.component == "attention"}
        for block in (estimate(MODEL, seq_len=SEQ_LEN, attention=attention).block for attention in ("eager", "flash"))
    )
    rows = "".join(
        f'<tr><th scope="row"><code>{name}</code></th><td>{_mib(eager.get(name, 0))}</td>'
        f"<td>{_mib(flash.get(name, 0))}</td></tr>"
        for name in dict.fromkeys([*eager, *flash])
    )
    return text.table(
        f"Attention in one block of {text.model_label(MODEL)}, S = {SEQ_LEN:,}, in MiB",
        ("tensor", "eager", "flash"),
        rows,
        f'<tr><th scope="row">sum</th><td>{_mib(sum(eager.values()))}</td><td>{_mib(sum(flash.values()))}</td></tr>',
    )


def accuracy() -> str:
    """How far the op and plain attention are from float64, on the same bfloat16 numbers, as a sentence."""
    generator = torch.Generator().manual_seed(0)
    config = PRESETS[MODEL]
    q, k, v = (torch.randn(1, heads, 300, config.head_dim, generator=generator).bfloat16() for heads in (8, 2, 2))
    exact = flash_attention(q.double(), k.double(), v.double(), causal=True)
    flash, eager = (
        float((output.double() - exact).abs().max())
        for output in (flash_attention(q, k, v, causal=True), eager_attention(q, k, v))
    )
    return (
        f"On {q.shape[2]} random tokens in bfloat16 the op is at most {flash:.4f} from what float64 gives; attention "
        f"that writes its scores out, in the same precision, {eager:.4f}."
    )


def recordings() -> str:
    """What each recording in docs/data holds; or that there is none."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(DATA.glob("gpu-*.json"))]
    if not found:
        return (
            '!!! note "No recording exists yet"\n\n'
            "    Nothing on this site was measured on a GPU. What it shows is what can be known without one: the "
            "closed forms, and what autograd saves on meta tensors.\n"
        )
    return "\n\n".join(_recording(recording) for recording in found)


def _recording(recording: dict[str, Any]) -> str:
    checked = [entry for name, entry in recording["entries"].items() if name.startswith("correctness/")]
    versions = f"torch {recording['torch']}, triton {recording['triton']}, driver {recording['driver']}"
    rows = [
        f"| `{name.removeprefix('policy/')}` | {text.gib(entry['predicted_working_bytes'], 3)} "
        f"| {text.gib(entry['working_bytes'], 3)} | {1000 * entry['step_s']:.1f} ms |"
        for name, entry in recording["entries"].items()
        if name.startswith("policy/") and entry["working_bytes"]
    ]
    head = "| policy and length | predicted | measured | step |\n|---|--:|--:|--:|"
    right = sum(entry["right"] for entry in checked)
    return "\n".join(
        (
            f"## {recording['device']}\n",
            f"{recording['date']}, {versions}, commit {recording['commit'][:10]}. Of {len(checked)} combinations of "
            f"head dimension, type and mask, {right} are right.\n",
            head,
            *rows,
        )
    )


def _mib(n_bytes: int) -> str:
    return f'<data value="{n_bytes}" title="{n_bytes:,} bytes">{text.fixed(n_bytes / 2**20, 1)}</data>'


def _code(source: str) -> str:
    return f"``` {{ .python }}\n{source.rstrip()}\n```"
