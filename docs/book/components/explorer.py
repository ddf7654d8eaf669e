"""The explorers: native controls and HTML bars over a grid of exact numbers that the package computes here.

The page carries the grid, and a small script looks numbers up in it. The script adds integers; it knows no formula.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from actckpt import ACCELERATORS, POLICIES, InputError, Step, estimate
from actckpt.hardware import GB, GIB
from book.quantities import text
from book.quantities.grid import ATTENTIONS, PARTS, View, described, grid, no_flash, parts_of, recomputes, refusal

CAPACITIES = ("a100-80gb", "h100-80gb", "h200-141gb", "b200-192gb")
# shares of a bar's width: where a line's name stands on its left, and where a segment is too narrow for its name
FAR, NARROW = 0.7, 0.1
# more choices than this are a list that opens
MOST_RADIOS = 5
HELD_BY = "test_explorers", "test_every_number_of_an_explorer"


def explorer(view: View) -> str:
    """The explorer as HTML: complete and readable as it stands, alive once its script has run."""
    step = view.opening_step()
    return "".join(
        (
            f'<section class="ac-explorer ac-explorer--{view.chart}" id="{view.name}" data-chart="{view.chart}" ',
            f'aria-labelledby="{view.name}-heading">',
            f'<h2 class="ac-explorer__heading" id="{view.name}-heading">{escape(view.heading)}</h2>',
            f'<form class="ac-controls" autocomplete="off">{"".join(_controls(view))}</form>',
            f'<div class="ac-result">{"".join(_result(view, step))}</div>',
            _table(view),
            _caption(),
            f'<script type="application/json">{json.dumps(grid(view), separators=(",", ":"))}</script>',
            "</section>",
        )
    )


def _controls(view: View) -> Iterator[str]:
    labels = {
        "model": ("Model", [(name, text.model_label(name)) for name in view.models]),
        "accounting": ("Accounting", [(name, name.capitalize()) for name in view.accountings]),
        "attention": ("Attention", [(name, name.capitalize()) for name in view.attentions]),
        "policy": ("Policy: what is recomputed", [(name, _policy_label(name)) for name in view.policies]),
        "ranks": ("Ranks that share the states", [(str(n), str(n)) for n in view.ranks]),
    }
    for name, (label, options) in labels.items():
        if len(options) == 1:
            yield f'<input type="hidden" name="{name}" value="{options[0][0]}">'
        else:
            yield (_radios if len(options) <= MOST_RADIOS else _select)(view, name, label, options)
    at = view.lengths.index(view.opens["seq_len"])
    yield (
        f'<div class="ac-control"><label for="{view.name}-seq_len">Sequence length</label>'
        f'<output for="{view.name}-seq_len" class="ac-seq_len">{view.opens["seq_len"]:,} tokens</output>'
        f'<input type="range" id="{view.name}-seq_len" name="seq_len" min="0" max="{len(view.lengths) - 1}" '
        f'value="{at}" aria-valuetext="{view.opens["seq_len"]:,} tokens">'
        f'<span class="ac-range-ends" aria-hidden="true"><span>{text.tokens(view.lengths[0])}</span>'
        f"<span>{text.tokens(view.lengths[-1])}</span></span></div>"
    )


def _policy_label(name: str) -> str:
    strategy = POLICIES[name].strategy
    return f"{name} ({strategy})" if strategy else name


def _select(view: View, name: str, label: str, options: Sequence[tuple[str, str]]) -> str:
    chosen = _chosen(view, name)
    entries = "".join(
        f'<option value="{value}"{" selected" if value == chosen else ""}>{escape(words)}</option>'
        for value, words in options
    )
    return (
        f'<div class="ac-control"><label for="{view.name}-{name}">{label}</label>'
        f'<select id="{view.name}-{name}" name="{name}" aria-describedby="{view.name}-{name}-note">{entries}</select>'
        f"{_note(view, name)}</div>"
    )


def _radios(view: View, name: str, label: str, options: Sequence[tuple[str, str]]) -> str:
    chosen = _chosen(view, name)
    entries = "".join(
        f'<label><input type="radio" name="{name}" value="{value}"{" checked" if value == chosen else ""}>'
        f"<span>{escape(words)}</span></label>"
        for value, words in options
    )
    return (
        f'<fieldset class="ac-control" aria-describedby="{view.name}-{name}-note"><legend>{label}</legend>'
        f'<div class="ac-segments">{entries}</div>{_note(view, name)}</fieldset>'
    )


def _chosen(view: View, name: str) -> str:
    return view.kinds(view.opens["accounting"])[0] if name == "attention" else str(view.opens[name])


def _note(view: View, name: str) -> str:
    words = {
        "policy": recomputes(view.opens["policy"]),
        "accounting": described(view.opens["accounting"]),
        "attention": ATTENTIONS[_chosen(view, "attention")],
        "ranks": "Parameters, gradients and Adam in float32, divided evenly.",
    }
    return (
        f'<p class="ac-note" id="{view.name}-{name}-note"><span class="ac-words">{escape(words.get(name, ""))}</span> '
        f'<span class="ac-reason">{escape(_reason(view, name))}</span></p>'
    )


def _reason(view: View, name: str) -> str:
    # why the opening view disables a choice
    if name == "attention":
        return no_flash(view.opens["accounting"])
    asked = {key: view.opens[key] for key in ("model", "accounting", "policy", "seq_len")}
    for choice in {"policy": view.policies, "accounting": view.accountings}.get(name, ()):
        try:
            estimate(**{**asked, name: choice})
        except InputError as error:
            return refusal(error)
    return ""


def _result(view: View, step: Step) -> Iterator[str]:
    parts = parts_of(step)
    yield (
        '<p class="ac-total" role="status" aria-live="polite" aria-atomic="true">'
        f'{text.data(step.peak_bytes, "total")} <span class="ac-total__words">at the peak of a training step, '
        f"on each GPU, batch size {step.batch_size}</span></p>"
    )
    if view.chart == "bar":
        yield _bar(parts, step.peak_bytes)
    else:
        yield _columns(view)
    yield f'<ul class="ac-fit" aria-label="Does it fit?">{"".join(_fits(step.peak_bytes))}</ul>'
    yield '<table class="ac-parts"><caption class="ac-hidden">The peak, part by part</caption><tbody>'
    for part in PARTS:
        yield (
            f'<tr data-part="{part}"><th scope="row"><i class="ac-swatch ac-{part}"></i>{text.LABELS[part]}</th>'
            f"<td>{text.data(parts[part], part)}</td></tr>"
        )
    yield "</tbody></table>"
    if len(view.policies) > 1:
        yield (
            f'<p class="ac-cost">Recomputing adds <strong class="ac-overhead">{text.percent(step.flops.overhead)}'
            "</strong> to the FLOPs of the blocks.</p>"
        )
    command = (
        f"actckpt estimate --model {step.model} --seq-len {step.seq_len} --policy {step.policy.name} "
        f"--accounting {step.accounting}"
    )
    yield (
        f'<p class="ac-command"><code tabindex="0">{command}</code>'
        '<button type="button" class="ac-copy">Copy as command</button></p>'
    )
    hidden = " hidden" if view.opens["ranks"] == 1 else ""
    yield f'<p class="ac-note ac-one-rank"{hidden}><span>The command keeps all states on one rank.</span></p>'


def _bar(parts: dict[str, int], total: int) -> str:
    full = scale([total, *(ACCELERATORS[name].memory_bytes for name in CAPACITIES)])
    lines = "".join(
        f'<span class="ac-capacity{" ac-far" if n_bytes > FAR * full else ""}" data-bytes="{n_bytes}" '
        f'style="left:{100 * n_bytes / full:.4f}%"><b>{label}</b></span>'
        for n_bytes, label in _capacities()
    )
    segments = "".join(
        f'<span class="ac-segment ac-{part}{" ac-narrow" if parts[part] < NARROW * full else ""}" '
        f'data-part="{part}" style="width:{100 * parts[part] / full:.4f}%">'
        f"<b>{text.LABELS[part]}</b></span>"
        for part in PARTS
    )
    return f'<div class="ac-bar" aria-hidden="true"><div class="ac-stack">{segments}</div>{lines}</div>'


def _columns(view: View) -> str:
    parts = _opening_parts(view)
    full = scale([sum(counts[-1] for counts in parts.values())])
    columns = []
    for index, length in enumerate(view.lengths):
        segments = "".join(
            f'<span class="ac-segment ac-{part}" data-part="{part}" '
            f'style="height:{100 * parts[part][index] / full:.4f}%"></span>'
            for part in reversed(PARTS)
        )
        columns.append(f'<span class="ac-column" data-index="{index}">{segments}<b>{text.tokens(length)}</b></span>')
    n_bytes, label = _capacities()[-1]
    return (
        '<div class="ac-columns" aria-hidden="true"><div class="ac-plot"><span class="ac-gridline" '
        f'style="bottom:{100 * round_below(full) / full:.4f}%"><b>{text.gib(round_below(full), digits=0)}</b></span>'
        f'{"".join(columns)}<span class="ac-capacity" '
        f'style="bottom:{100 * n_bytes / full:.4f}%"><b>{label}</b></span></div>'
        '<p class="ac-columns__axis">sequence length, tokens</p></div>'
    )


def _opening_parts(view: View) -> dict[str, list[int]]:
    parts = parts_of(view.opening_sweep())
    return {name: np.broadcast_to(counts, len(view.lengths)).tolist() for name, counts in parts.items()}


def _table(view: View) -> str:
    parts = _opening_parts(view)
    head = "".join(f'<th scope="col">{text.LABELS[part]}</th>' for part in PARTS)
    rows = "".join(
        f'<tr><th scope="row">{length:,}</th>'
        + "".join(f"<td>{text.fixed(parts[part][index] / GIB, 1)}</td>" for part in PARTS)
        + f"<td>{text.fixed(sum(counts[index] for counts in parts.values()) / GIB, 1)}</td></tr>"
        for index, length in enumerate(view.lengths)
    )
    return (
        '<details class="ac-data"><summary>The numbers at every length</summary>'
        '<div class="ac-table" tabindex="0" role="region" aria-label="The numbers at every length">'
        '<table class="ac-numbers"><caption>The peak, part by part, in GiB</caption>'
        f'<thead><tr><th scope="col">tokens</th>{head}<th scope="col">Total</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def _caption() -> str:
    file, function = HELD_BY
    return (
        '<p class="ac-made">All numbers are calls of <code>actckpt.estimate</code> with what the controls say, made '
        "when this page was built; the script that you move them with only looks numbers up and adds them. Held by "
        f'<a href="@/evidence/tests/#{file}"><code>{function}</code></a>.</p>'
    )


def _capacities() -> list[tuple[int, str]]:
    names: dict[int, list[str]] = {}
    for name in CAPACITIES:
        names.setdefault(ACCELERATORS[name].memory_bytes, []).append(ACCELERATORS[name].label.split()[0])
    return [(n_bytes, f"{', '.join(cards)} {n_bytes // GB} GB") for n_bytes, cards in names.items()]


def scale(counts: Sequence[int]) -> float:
    """How many bytes the width of a bar stands for: room for the largest of `counts` and a little more."""
    return 1.04 * max(counts)


def round_below(n_bytes: float) -> int:
    """The largest of 1, 2, 5, 10, … GiB that is not above `n_bytes`."""
    power = 10 ** (len(str(int(n_bytes // GIB))) - 1)
    return max(step * power * GIB for step in (1, 2, 5) if step * power * GIB <= n_bytes)


def _fits(total: int) -> Iterator[str]:
    for name in CAPACITIES:
        accelerator = ACCELERATORS[name]
        spare = accelerator.memory_bytes - total
        words = f"fits, {text.gib(spare)} to spare" if spare >= 0 else f"too large by {text.gib(-spare)}"
        yield (
            f'<li data-bytes="{accelerator.memory_bytes}" class="{"ac-fits" if spare >= 0 else "ac-exceeds"}">'
            f"<b>{accelerator.label}</b> <span>{words}</span></li>"
        )
