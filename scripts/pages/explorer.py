"""The explorers: native controls and HTML bars over a grid of exact numbers that the package computes here.

The page carries the grid, and a small script looks numbers up in it. The script adds integers; it knows no formula.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import product
from math import gcd
from typing import Any

import numpy as np

from actckpt import ACCELERATORS, ACCOUNTINGS, POLICIES, InputError, Step, estimate
from actckpt.hardware import GB, GIB
from pages import text

STATES = ("parameters", "gradients", "optimizer")
COUNTED = ("attention", "ffn", "norm", "checkpoint", "logits", "working")
PARTS = (*STATES, *COUNTED)
CAPACITIES = ("a100-80gb", "h100-80gb", "h200-141gb", "b200-192gb")
# shares of a bar's width: where a line's name stands on its left, and where a segment is too narrow for its name
FAR, NARROW = 0.7, 0.1
# JavaScript counts exactly up to here
LARGEST = 2**53


@dataclass(frozen=True)
class View:
    """What an explorer offers, and where it opens.

    Attributes:
        name: Its id on the page.
        heading: The question it answers.
        models: Names in `PRESETS`.
        accountings: Keys of `ACCOUNTINGS`.
        policies: Names in `POLICIES`.
        lengths: Sequence lengths.
        opens: The state it opens in.
        chart: "bar" for one bar, "columns" for one column a sequence length.
        ranks: Over how many data-parallel ranks the states may be shared.
    """

    name: str
    heading: str
    models: Sequence[str]
    accountings: Sequence[str]
    policies: Sequence[str]
    lengths: Sequence[int]
    opens: dict[str, Any]
    chart: str = "bar"
    ranks: Sequence[int] = (1, 8, 64, 512)


def parts_of(step: Step) -> dict[str, Any]:
    """The peak of a step, part by part: what is saved, and the working set on top of it."""
    saved = {**step.by_component(), "logits": step.head.ledger.bytes}
    return {**states_of(step), **saved, "working": step.working_bytes - sum(saved.values())}


def states_of(step: Step) -> dict[str, int]:
    """The training states of one rank."""
    return {name: getattr(step.states, f"{name}_bytes") for name in STATES}


def grid(view: View) -> dict[str, Any]:
    """Everything that a view can show, in a small form: equal rows stand once, divided by what divides them."""
    rows: dict[tuple[Any, ...], int] = {}

    def index(row: tuple[Any, ...]) -> int:
        return rows.setdefault(row, len(rows))

    cells: dict[str, list[int]] = {}
    reasons: dict[str, str] = {}
    for model, accounting, policy in product(view.models, view.accountings, view.policies):
        try:
            step = estimate(model, seq_len=np.array(view.lengths), policy=policy, accounting=accounting)
        except InputError as error:
            reasons[f"{accounting}|{policy}"] = reasons[f"{model}|{accounting}"] = refusal(error)
            continue
        parts = parts_of(step)
        overhead = tuple(round(share, 6) for share in np.broadcast_to(step.flops.overhead, len(view.lengths)).tolist())
        counts = [index(_divided(np.broadcast_to(parts[part], len(view.lengths)).tolist())) for part in COUNTED]
        cells[f"{model}|{accounting}|{policy}"] = [*counts, index((1, *overhead))]
    ranks = {
        f"{model}|{n}": list(states_of(estimate(model, seq_len=1, accounting="paper", data_parallel=n)).values())
        for model, n in product(view.models, view.ranks)
    }
    return {
        "lengths": list(view.lengths),
        "cells": cells,
        "rows": list(rows),
        "ranks": ranks,
        "reasons": {key: reason for key, reason in reasons.items() if not _possible(key, cells)},
        "words": {
            "policy": {name: recomputes(name) for name in view.policies},
            "accounting": {name: described(name) for name in view.accountings},
        },
    }


def explorer(view: View) -> str:
    """The explorer as HTML: complete and readable as it stands, alive once its script has run."""
    opens = view.opens
    step = estimate(
        opens["model"],
        seq_len=opens["seq_len"],
        policy=opens["policy"],
        accounting=opens["accounting"],
        data_parallel=opens["ranks"],
    )
    return "".join(
        (
            f'<section class="ac-explorer ac-explorer--{view.chart}" id="{view.name}" data-chart="{view.chart}" ',
            f'aria-labelledby="{view.name}-heading">',
            f'<h2 class="ac-explorer__heading" id="{view.name}-heading">{escape(view.heading)}</h2>',
            f'<form class="ac-controls" autocomplete="off">{"".join(_controls(view))}</form>',
            f'<div class="ac-result">{"".join(_result(view, step))}</div>',
            _table(view),
            f'<script type="application/json">{json.dumps(grid(view), separators=(",", ":"))}</script>',
            "</section>",
        )
    )


def _divided(row: list[int]) -> tuple[int, ...]:
    if max(row) >= LARGEST:
        raise OverflowError(f"{max(row)} is more than JavaScript can count exactly")
    divisor = gcd(*row) or 1
    return (divisor, *(count // divisor for count in row))


def _possible(pair: str, cells: dict[str, list[int]]) -> bool:
    first, second = pair.split("|")
    return any(
        first in (model, accounting) and second in (accounting, policy)
        for model, accounting, policy in (cell.split("|") for cell in cells)
    )


def _controls(view: View) -> Iterator[str]:
    models = [(name, text.model_label(name)) for name in view.models]
    few = len(models) <= 3
    yield (_radios if few else _select)(view, "model", "Model", models)
    yield _radios(view, "accounting", "Accounting", [(name, name.capitalize()) for name in view.accountings])
    policies = [(name, _policy_label(name)) for name in view.policies]
    yield (_radios if few else _select)(view, "policy", "Policy: what is recomputed", policies)
    yield _radios(view, "ranks", "Ranks that share the states", [(str(n), str(n)) for n in view.ranks])
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
    chosen = view.opens[name]
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
    chosen = str(view.opens[name])
    entries = "".join(
        f'<label><input type="radio" name="{name}" value="{value}"{" checked" if value == chosen else ""}>'
        f"<span>{escape(words)}</span></label>"
        for value, words in options
    )
    return (
        f'<fieldset class="ac-control" aria-describedby="{view.name}-{name}-note"><legend>{label}</legend>'
        f'<div class="ac-segments">{entries}</div>{_note(view, name)}</fieldset>'
    )


def _note(view: View, name: str) -> str:
    words = {
        "policy": recomputes(view.opens["policy"]),
        "accounting": described(view.opens["accounting"]),
        "ranks": "Parameters, gradients and Adam in float32, divided evenly.",
    }
    return (
        f'<p class="ac-note" id="{view.name}-{name}-note"><span class="ac-words">{escape(words.get(name, ""))}</span> '
        f'<span class="ac-reason">{escape(_reason(view, name))}</span></p>'
    )


def _reason(view: View, name: str) -> str:
    # why the opening view disables a choice
    asked = {key: view.opens[key] for key in ("model", "accounting", "policy", "seq_len")}
    for choice in {"policy": view.policies, "accounting": view.accountings}.get(name, ()):
        try:
            estimate(**{**asked, name: choice})
        except InputError as error:
            return refusal(error)
    return ""


def recomputes(policy: str) -> str:
    """What a policy recomputes, as a sentence."""
    return sentence(f"recomputes {POLICIES[policy].recomputes}")


def described(accounting: str) -> str:
    """What an accounting counts, as a sentence."""
    return sentence(ACCOUNTINGS[accounting])


def refusal(error: InputError) -> str:
    """Why a choice is struck out, as a sentence; what may be chosen instead is there to be seen."""
    return sentence(str(error).partition(": it")[0])


def sentence(words: str) -> str:
    """The words with a capital and a full stop."""
    return f"{words[0].upper()}{words[1:]}."


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
    yield (
        f'<p class="ac-cost">Recomputing adds <strong class="ac-overhead">{text.percent(step.flops.overhead)}</strong> '
        "to the FLOPs of the blocks.</p>"
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
    opens = {name: value for name, value in view.opens.items() if name not in ("seq_len", "ranks")}
    step = estimate(**opens, seq_len=np.array(view.lengths), data_parallel=view.opens["ranks"])
    return {name: np.broadcast_to(counts, len(view.lengths)).tolist() for name, counts in parts_of(step).items()}


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
