"""The workshop's strategies side by side on one scale: a panel each, with a column for every sequence length.

The page carries exact numbers of the package; a small script adds and shows them. It knows no formula.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise
from typing import Any

from markupsafe import Markup

from actckpt import POLICIES
from actckpt.hardware import GB, GIB
from book.components.pictures import svg
from book.components.table import table
from book.components.template import data, exact, gib_cell, render, swatch
from book.quantities import strategies, text
from book.quantities.choices import CARDS
from book.quantities.steps import MODEL, SIZES
from book.quantities.strategies import COUNTED, LENGTHS, RANKS

NAME = "lengths"
TITLE = "One step, four strategies, one scale: what stays in memory"
# the height of a plot in pixels, and of a part that has room for its name
PLOT, NAMED = 260, 15
# shares of the width of a plot, and of the room of a thin column
THIN_COLUMNS, BAR, THIN = 0.43, 0.51, 0.82
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
        panels=[_panel(policy, opens, full, gridline) for policy in strategies.POLICIES],
        key=text.LABELS.items(),
        swatch=swatch,
        lengths=LENGTHS,
        tokens=text.tokens,
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


def _panel(policy: str, opens: Opening, full: int, gridline: int) -> dict[str, object]:
    model, counted, ranks = opens
    total, none = (strategies.totals(model, counted, each, ranks)[-1] for each in (policy, "none"))
    return {
        "policy": policy,
        "strategy": POLICIES[policy].strategy,
        "total": exact(total, part="total"),
        "saved": data(none - total, text.gib(none - total, 1), part="saved"),
        "more": text.percent(strategies.overheads(model, counted, policy)[-1]),
        "plot": Markup(_plot(strategies.parts(model, counted, policy, ranks), full, gridline)),
    }


def _plot(parts: dict[str, tuple[int, ...]], full: int, gridline: int) -> str:
    # up and down in pixels, and from left to right in shares of whatever width there is
    def y(n_bytes: int) -> float:
        return PLOT * (1 - n_bytes / full)

    ends = list(accumulate((counts[-1] for counts in parts.values()), initial=0))
    places = {part: (y(below), y(end)) for part, (below, end) in zip(parts, pairwise(ends), strict=True)}
    return svg.element(
        "svg",
        "".join(
            [
                svg.text(-7, -4, "GiB", cls="ac-quiet ac-unit", text_anchor="end"),
                *(_level(n_bytes, y(n_bytes)) for n_bytes in range(0, 6 * gridline, gridline)),
                _columns(parts, y, y(ends[-1])),
                *(_segment(part, *at) for part, at in places.items()),
                *_cards(full, y),
                *(_label(part, *at) for part, at in places.items()),
                svg.element("path", cls="ac-panel__cut", d="M0 2H9999", display="none"),
            ]
        ),
        cls="ac-picture ac-panel__plot",
        width=_of(1),
        height=PLOT,
        aria_hidden="true",
    )


def _of(width: float) -> str:
    return f"{100 * width:g}%"


def _level(n_bytes: int, y: float) -> str:
    line = svg.element("line", cls="ac-grid", x2=_of(1), y1=y, y2=y)
    words = svg.text(-7, y + 4, text.fixed(n_bytes / GIB), cls="ac-quiet", text_anchor="end")
    return svg.group(line, words, cls="ac-rung", display="none" if y < 0 else None)


def _columns(parts: dict[str, tuple[int, ...]], y: Callable[[int], float], top: float) -> str:
    below, drawn = [0] * len(LENGTHS), []
    for part, counts in parts.items():
        ends = [start + n_bytes for start, n_bytes in zip(below, counts, strict=True)]
        pieces = (
            f"M{at} {y(start):.2f}V{y(end):.2f}h{THIN}V{y(start):.2f}z" if end > start else ""
            for at, (start, end) in enumerate(zip(below, ends, strict=True))
        )
        drawn.append(svg.path("".join(pieces), cls=f"ac-area ac-{part}"))
        below = ends
    chosen: dict[str, Any] = {"x": len(LENGTHS) - 1, "y": top, "width": THIN, "height": PLOT - top}
    drawn.append(svg.element("rect", cls="ac-panel__chosen", **chosen))
    drawn.append(svg.element("rect", cls="ac-panel__hit", width=len(LENGTHS), height=PLOT))
    return svg.element(
        "svg",
        "".join(drawn),
        cls="ac-panel__columns",
        width=_of(THIN_COLUMNS),
        height=PLOT,
        viewBox=f"0 0 {len(LENGTHS)} {PLOT}",
        preserveAspectRatio="none",
    )


def _segment(part: str, bottom: float, top: float) -> str:
    place: dict[str, Any] = {"x": _of(1 - BAR), "y": top, "width": _of(BAR), "height": bottom - top}
    return svg.element("rect", cls=f"ac-box ac-part ac-{part}", **place)


def _label(part: str, bottom: float, top: float) -> str:
    place: dict[str, Any] = {"x": _of(1 - BAR), "dx": 4, "y": (top + bottom) / 2 + 4}
    display = "none" if bottom - top < NAMED else None
    return svg.element("text", SHORT[part], cls=f"ac-on ac-part ac-{part}", **place, display=display)


def _cards(full: int, y: Callable[[int], float]) -> Iterator[str]:
    # a line for each size in which cards are sold, at the least that one of them holds, where their names do not touch
    sizes: dict[int, int] = {}
    for card in CARDS:
        sizes[card.datasheet_bytes] = min(card.memory_bytes, sizes.get(card.datasheet_bytes, card.memory_bytes))
    above = -float(PLOT)
    for sold, n_bytes in sorted(sizes.items(), reverse=True):
        place = y(n_bytes)
        shown = n_bytes <= full and place - above >= NAMED
        above = place if shown else above
        line = svg.element("line", cls="ac-line ac-ink", x2=_of(1), y1=place, y2=place)
        words = svg.element("text", f"{sold // GB}{text.NBSP}GB", cls="ac-strong", x=_of(1), dx=7, y=place + 4)
        yield svg.group(line, words, cls="ac-card-line", data_bytes=n_bytes, display=None if shown else "none")


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
