"""The workshop's strategies side by side on one scale: a panel each, with a column for every sequence length.

The page carries exact numbers of the package; a small script adds and shows them. It knows no formula.
"""

from __future__ import annotations

import json

from markupsafe import Markup

from actckpt import POLICIES
from actckpt.hardware import GB, GIB
from book.components.table import table
from book.components.template import data, exact, gib_cell, render, swatch
from book.quantities import strategies, text
from book.quantities.choices import CARDS
from book.quantities.steps import MODEL, SIZES
from book.quantities.strategies import COUNTED, LENGTHS, RANKS

NAME = "lengths"
TITLE = "One step, four strategies, one scale: what stays in memory"
# the height of a panel in pixels, and of a part that has room for its name
PLOT, NAMED = 260, 15
SCALES = {"whole": "Whole", "close": "Close up"}
COUNTED_FIRST, SCALE_FIRST = next(iter(COUNTED)), next(iter(SCALES))
# names of parts that have to fit into a bar
SHORT = text.LABELS | {"parameters": "Params", "working": "Working"}
Opening = tuple[str, str, int]


def picture() -> Markup:
    """The panels with their controls: complete as they stand, alive once the script has run."""
    opens: Opening = (MODEL, COUNTED_FIRST, RANKS[0])
    full, gridline = strategies.scale(*opens, SCALE_FIRST)
    return render(
        "multiples",
        name=NAME,
        title=TITLE,
        controls=_controls(),
        opens=[*map(str, opens), SCALE_FIRST],
        panels=[_panel(policy, opens, full) for policy in strategies.POLICIES],
        levels=[(n_bytes, text.fixed(n_bytes / GIB), n_bytes / full) for n_bytes in range(0, 6 * gridline, gridline)],
        cards=_cards(full),
        lengths=LENGTHS,
        tokens=text.tokens,
        labels=SHORT,
        plot=PLOT,
        numbers=_at(opens, len(LENGTHS) - 1) + _everywhere(opens),
        island=Markup(json.dumps(strategies.grid(), separators=(",", ":"))),
    )


def _controls() -> list[tuple[str, str, list[tuple[str, str]]]]:
    models = [(model, text.model_label(model).removeprefix("Llama 3.1 ")) for model in SIZES]
    return [
        ("model", "Llama 3.1", models),
        ("counted", "Counted as", [(key, label) for key, (label, _) in COUNTED.items()]),
        ("ranks", "Ranks that share the states", [(str(ranks), str(ranks)) for ranks in RANKS]),
        ("scale", "Scale", list(SCALES.items())),
    ]


def _panel(policy: str, opens: Opening, full: int) -> dict[str, object]:
    model, counted, ranks = opens
    parts = strategies.parts(model, counted, policy, ranks)
    columns = [dict(zip(parts, column, strict=True)) for column in zip(*parts.values(), strict=True)]
    total, none = (strategies.totals(model, counted, each, ranks)[-1] for each in (policy, "none"))
    return {
        "policy": policy,
        "strategy": POLICIES[policy].strategy,
        "total": exact(total, part="total"),
        "saved": data(none - total, text.gib(none - total, 1), part="saved"),
        "more": text.percent(strategies.overheads(model, counted, policy)[-1]),
        "columns": [(sum(column.values()) / full, gradient(column)) for column in columns],
        "bar": [(part, n_bytes / full, PLOT * n_bytes / full < NAMED) for part, n_bytes in columns[-1].items()],
    }


def gradient(column: dict[str, int]) -> str:
    """A column's parts from below, as a CSS gradient with sharp edges."""
    total, below, stops = sum(column.values()), 0, []
    for part, n_bytes in column.items():
        if n_bytes:
            stops.append(f"var(--{part}) {100 * below / total:.2f}% {100 * (below + n_bytes) / total:.2f}%")
            below += n_bytes
    return f"linear-gradient(to top,{','.join(stops)})"


def _cards(full: int) -> list[tuple[int, str, float, bool]]:
    # a line for each size in which cards are sold, at the least that one of them holds, where their names do not touch
    sizes: dict[int, int] = {}
    for card in CARDS:
        sizes[card.datasheet_bytes] = min(card.memory_bytes, sizes.get(card.datasheet_bytes, card.memory_bytes))
    above, lines = 2.0, []
    for sold, n_bytes in sorted(sizes.items(), reverse=True):
        share = n_bytes / full
        shown = share <= 1 and (above - share) * PLOT >= NAMED
        above = share if shown else above
        lines.append((n_bytes, f"{sold // GB}{text.NBSP}GB", share, shown))
    return lines


def _at(opens: Opening, index: int) -> Markup:
    model, counted, ranks = opens
    columns = [strategies.parts(model, counted, policy, ranks) for policy in strategies.POLICIES]
    rows = [
        (swatch(part) + text.LABELS[part], *(gib_cell(column[part][index], 1) for column in columns))
        for part in columns[0]
    ]
    sums = [strategies.totals(model, counted, policy, ranks)[index] for policy in strategies.POLICIES]
    return table(
        "Part by part, in GiB",
        ("part", *strategies.POLICIES),
        rows,
        ("sum", *(gib_cell(n_bytes, 1) for n_bytes in sums)),
    )


def _everywhere(opens: Opening) -> Markup:
    model, counted, ranks = opens
    columns = [strategies.totals(model, counted, policy, ranks) for policy in strategies.POLICIES]
    rows = [
        (f"{length:,}", *(gib_cell(column[index], 1) for column in columns)) for index, length in enumerate(LENGTHS)
    ]
    return table("The peak at every length, in GiB", ("tokens", *strategies.POLICIES), rows)
