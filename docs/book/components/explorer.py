"""The explorers: native controls and HTML bars over sums that the package states.

The page carries the sums of every choice, and a small script puts lengths and batch sizes into them. What is chosen
comes from `book.quantities`; here it is drawn.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from actckpt import ACCELERATORS, OPTIMIZERS, Accelerator, InputError, Step, estimate
from actckpt.hardware import GB
from book.components.table import table
from book.components.template import exact, gib_cell, render, swatch
from book.quantities import choices
from book.quantities.choices import CARDS
from book.quantities.grid import ATTENTIONS, PARTS, View, described, grid, no_flash, parts_of, recomputes, refusal
from book.quantities.grid import sentence as as_sentence
from book.quantities.text import LABELS, gib, model_label, percent, tokens

# shares of a bar's width: where a line's name stands on its left, and where a segment is too narrow for its name
FAR, NARROW = 0.7, 0.1
# how many times the memory of a card a bar has room for; what is longer is cut off
ROOM = 2
# more choices than this are a list that opens
MOST_RADIOS = 4


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


@dataclass(frozen=True)
class Line:
    """Where a card's memory ends on the scale of a bar.

    Attributes:
        name: Its kind, or those of cards that are sold as the same.
        n_bytes: The memory of the smallest of them.
        at: Its place, as a share of the bar.
        is_chosen: Whether the question is about this card.
    """

    name: str
    n_bytes: int
    at: float
    is_chosen: bool = False


def explorer(view: View) -> Markup:
    """The explorer as HTML: complete and readable as it stands, alive once its script has run."""
    step = choices.chosen(view)
    lengths = [_parts(view.step(length, step.policy.name)) for length in view.lengths]
    card = ACCELERATORS.get(view.opens.get("card", ""), CARDS[-1])
    full = scale(step.peak_bytes, card, view.chart)
    rows = [
        (f"{length:,}", *map(_gib, [*parts.values(), sum(parts.values())]))
        for length, parts in zip(view.lengths, lengths, strict=True)
    ]
    return render(
        "explorer",
        view=view,
        controls=_controls(view, step),
        most_radios=MOST_RADIOS,
        step=step,
        card=card,
        parts=_parts(step),
        full=full,
        far=FAR,
        narrow=NARROW,
        cards=CARDS,
        choices=choices,
        steps=choices.choices(view),
        lines=_lines(full, card),
        parts_of=_parts,
        labels=LABELS,
        numbers=table(
            "The peak, part by part, in GiB",
            ("tokens", *(LABELS[part] for part in PARTS), "Total"),
            rows,
            label="The numbers at every length",
        ),
        island=Markup(json.dumps(_island(view), separators=(",", ":"))),
        exact=exact,
        gib=gib,
        percent=percent,
        recomputes=recomputes,
        swatch=swatch,
        tokens=tokens,
    )


def _parts(step: Step[int]) -> dict[str, int]:
    parts = parts_of(step)
    return {part: parts[part] for part in PARTS}


def _gib(n_bytes: int) -> str:
    return gib_cell(n_bytes, 1)


def _island(view: View) -> dict[str, object]:
    cards = [
        {
            "name": card.name,
            "label": card.label,
            "short": choices.short(card),
            "bytes": card.memory_bytes,
            "gb": _gb(card),
        }
        for card in CARDS
    ]
    page = grid(view)
    words = page["words"] | {"card": {card.name: choices.described_card(card) for card in CARDS}}
    return {**page, "words": words, "cards": cards}


def _gb(card: Accelerator) -> int:
    return card.datasheet_bytes // GB


def _controls(view: View, step: Step[int]) -> list[Control]:
    opens, attention = view.opens, view.kinds(view.opens["accounting"])[0]
    card = ACCELERATORS.get(opens.get("card", ""))
    return [
        Control("model", "Model", [(name, model_label(name)) for name in view.models], opens["model"]),
        *([_card(card)] if card else []),
        Control("batch_size", "Batch size on each GPU", _numbers(view.batches), str(step.batch_size)),
        Control("ranks", "GPUs that share states", _numbers(view.ranks), str(opens["ranks"])),
        Control(
            "optimizer",
            "Parameters, gradients, optimizer",
            [(name, OPTIMIZERS[name].label) for name in view.optimizers],
            step.states.optimizer,
            as_sentence(OPTIMIZERS[step.states.optimizer].description),
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
            "accounting",
            "Accounting",
            [(name, name.capitalize()) for name in view.accountings],
            opens["accounting"],
            described(opens["accounting"]),
            _reason(view, "accounting", view.accountings),
        ),
        *(
            []
            if view.chart == "policies"
            else [Control("policy", "Policy", [(step.policy.name,) * 2], step.policy.name)]
        ),
    ]


def _card(card: Accelerator) -> Control:
    options = [(each.name, choices.short(each)) for each in CARDS]
    return Control("card", "GPU", options, card.name, choices.described_card(card))


def _numbers(counts: Sequence[int]) -> list[tuple[str, str]]:
    return [(str(count), f"{count:,}") for count in counts]


def _reason(view: View, name: str, values: Sequence[str]) -> str:
    # why the opening view disables a choice
    asked = {key: view.opens[key] for key in ("model", "accounting", "policy", "seq_len")}
    for value in values:
        try:
            estimate(**{**asked, "policy": asked["policy"] or "none", name: value})
        except InputError as error:
            return refusal(error)
    return ""


def _lines(full: float, chosen: Accelerator) -> list[Line]:
    # cards that are sold as the same share a line
    alike: dict[int, list[Accelerator]] = {}
    for card in CARDS:
        alike.setdefault(card.datasheet_bytes, []).append(card)
    return [
        Line(", ".join(map(choices.short, cards)), n_bytes, n_bytes / full, chosen in cards)
        for cards in alike.values()
        for n_bytes in [chosen.memory_bytes if chosen in cards else min(card.memory_bytes for card in cards)]
    ]


def scale(n_bytes: int, card: Accelerator, chart: str) -> float:
    """How many bytes the width of a bar stands for: a bar that is alone grows with its step, up to `ROOM` cards."""
    most = float(ROOM * card.memory_bytes)
    return most if chart == "policies" else min(most, 1.04 * max(n_bytes, card.memory_bytes))
