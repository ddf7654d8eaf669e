"""The explorers: native controls and HTML bars over a grid of exact numbers that the package computes here.

The page carries the grid, and a small script looks numbers up in it. The script adds integers; it knows no formula.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from actckpt import ACCELERATORS, POLICIES, Accelerator, InputError, estimate
from actckpt.hardware import GB, GIB
from book.components.table import table
from book.components.template import exact, gib_cell, render, swatch
from book.quantities.grid import ATTENTIONS, PARTS, View, described, grid, no_flash, parts_of, recomputes, refusal
from book.quantities.text import LABELS, gib, model_label, percent, tokens

# of each kind of card the one with the most memory
_BY_MEMORY = sorted(ACCELERATORS.values(), key=lambda card: card.memory_bytes)
CARDS = tuple({card.label.split()[0]: card for card in _BY_MEMORY}.values())
# shares of a bar's width: where a line's name stands on its left, and where a segment is too narrow for its name
FAR, NARROW = 0.7, 0.1
# more choices than this are a list that opens
MOST_RADIOS = 5


@dataclass(frozen=True)
class Control:
    """A choice that an explorer offers.

    Attributes:
        name: What it sets.
        label: What it is called.
        options: Values, each with its words.
        chosen: The value in which the view opens.
        words: What the chosen value means.
        reason: Why another value cannot be chosen.
    """

    name: str
    label: str
    options: Sequence[tuple[str, str]]
    chosen: str
    words: str = ""
    reason: str = ""


def explorer(view: View) -> Markup:
    """The explorer as HTML: complete and readable as it stands, alive once its script has run."""
    step = view.step(view.opens["seq_len"])
    columns = [_parts(view, length) for length in view.lengths]
    totals = [sum(column.values()) for column in columns]
    if view.chart == "bar":
        full = scale([step.peak_bytes, *(card.memory_bytes for card in CARDS)])
    else:
        full = scale(totals[-1:])
    rows = [
        (f"{length:,}", *map(_gib, column.values()), _gib(total))
        for length, column, total in zip(view.lengths, columns, totals, strict=True)
    ]
    return render(
        "explorer",
        view=view,
        controls=_controls(view),
        most_radios=MOST_RADIOS,
        step=step,
        parts=_parts(view, view.opens["seq_len"]),
        columns=columns,
        full=full,
        far=FAR,
        narrow=NARROW,
        gridline=round_below(full),
        cards=CARDS,
        capacities=_capacities(),
        labels=LABELS,
        numbers=table(
            "The peak, part by part, in GiB",
            ("tokens", *(LABELS[part] for part in PARTS), "Total"),
            rows,
            label="The numbers at every length",
        ),
        island=Markup(json.dumps(grid(view), separators=(",", ":"))),
        exact=exact,
        gib=gib,
        percent=percent,
        swatch=swatch,
        tokens=tokens,
    )


def _parts(view: View, seq_len: int) -> dict[str, int]:
    parts = parts_of(view.step(seq_len))
    return {part: parts[part] for part in PARTS}


def _gib(n_bytes: int) -> str:
    return gib_cell(n_bytes, 1)


def _controls(view: View) -> list[Control]:
    opens, attention = view.opens, view.kinds(view.opens["accounting"])[0]
    return [
        Control("model", "Model", [(name, model_label(name)) for name in view.models], opens["model"]),
        Control(
            "accounting",
            "Accounting",
            [(name, name.capitalize()) for name in view.accountings],
            opens["accounting"],
            described(opens["accounting"]),
            _reason(view, "accounting", view.accountings),
        ),
        Control(
            "attention",
            "Attention",
            [(name, name.capitalize()) for name in view.attentions],
            attention,
            ATTENTIONS[attention],
            no_flash(opens["accounting"]),
        ),
        Control(
            "policy",
            "Policy: what is recomputed",
            [(name, _policy_label(name)) for name in view.policies],
            opens["policy"],
            recomputes(opens["policy"]),
            _reason(view, "policy", view.policies),
        ),
        Control(
            "ranks",
            "Ranks that share the states",
            [(str(n), str(n)) for n in view.ranks],
            str(opens["ranks"]),
            "Parameters, gradients and Adam in float32, divided evenly.",
        ),
    ]


def _policy_label(name: str) -> str:
    strategy = POLICIES[name].strategy
    return f"{name} ({strategy})" if strategy else name


def _reason(view: View, name: str, choices: Sequence[str]) -> str:
    # why the opening view disables a choice
    asked = {key: view.opens[key] for key in ("model", "accounting", "policy", "seq_len")}
    for choice in choices:
        try:
            estimate(**{**asked, name: choice})
        except InputError as error:
            return refusal(error)
    return ""


def _capacities() -> list[tuple[int, str]]:
    # cards that are sold as the same share a line, at what the smallest of them has
    alike: dict[int, list[Accelerator]] = {}
    for card in CARDS:
        alike.setdefault(card.datasheet_bytes, []).append(card)
    return [
        (min(card.memory_bytes for card in cards), f"{', '.join(card.label.split()[0] for card in cards)} {n // GB} GB")
        for n, cards in alike.items()
    ]


def scale(counts: Sequence[int]) -> float:
    """How many bytes the width of a bar stands for: room for the largest of `counts` and a little more."""
    return 1.04 * max(counts)


def round_below(n_bytes: float) -> int:
    """The largest of 1, 2, 5, 10, … GiB that is not above `n_bytes`."""
    power: int = 10 ** (len(str(int(n_bytes // GIB))) - 1)
    return max(step * power * GIB for step in (1, 2, 5) if step * power * GIB <= n_bytes)
