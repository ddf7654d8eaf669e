"""The small picture at the top of a page of evidence or a lab, and what several of them draw: rows of marks, bars."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from book.components.pictures import svg
from book.components.pictures.player import named
from book.components.template import render

WIDTH = 360
STEP, MARK = 18, 14
# of a row's marks; its name stands before them
LEFT = 126


@dataclass(frozen=True)
class Mark:
    """A square that stands for one thing.

    Attributes:
        cls: Its look.
        sign: What stands in it.
        verdict: The verdict of the claim that it stands for, which colours it.
    """

    cls: str
    sign: str = ""
    verdict: str | None = None


def opening(
    drawing: str, *, name: str, title: str, description: str, caption: str, made_by: str, assumes: str, test: str
) -> Markup:
    """A drawing by `svg.svg` as a figure; the arguments are those of `player`."""
    return render(
        "opening",
        name=name,
        title=title,
        picture=named(drawing, name, title, description),
        caption=caption,
        made_by=made_by,
        assumes=assumes,
        test=test.split("::"),
    )


def marks(rows: Iterable[tuple[str, Sequence[Mark]]]) -> str:
    """A row for each name, with its marks behind it; what does not fit goes on in the next line."""
    per_line = int((WIDTH - LEFT) // STEP)
    drawn, y = [], 0
    for name, each in rows:
        drawn.append(svg.text(0, y + 12, name))
        for index, mark in enumerate(each):
            x, below = LEFT + index % per_line * STEP, y + index // per_line * STEP
            square = svg.rect(x, below + 1, MARK, MARK, cls=f"ac-box {mark.cls}", rx=2)
            sign = svg.text(x + MARK / 2, below + 12, mark.sign, cls=f"ac-on {mark.cls}", text_anchor="middle")
            drawn.append(svg.group(square, sign if mark.sign else "", data_verdict=mark.verdict))
        y += STEP * max(1, -(-len(each) // per_line)) + 6
    return svg.svg(WIDTH, y, *drawn)


def bars(rows: Iterable[tuple[str, Sequence[tuple[str, int]]]]) -> str:
    """A bar for each name, of pieces of a component and a size; the longest takes the whole width."""
    rows = list(rows)
    scale = WIDTH / max(sum(size for _, size in pieces) for _, pieces in rows)
    drawn = [
        svg.text(0, 56 * index + 13, name) + svg.stacked(pieces, 56 * index + 20, 26, scale)
        for index, (name, pieces) in enumerate(rows)
    ]
    return svg.svg(WIDTH, 56 * len(rows) - 6, *drawn)
