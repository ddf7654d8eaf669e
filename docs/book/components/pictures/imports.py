"""The picture of what imports what: a part stands above all that it imports, and below what imports it."""

from __future__ import annotations

from itertools import pairwise
from statistics import fmean

from markupsafe import Markup

from book.components.pictures import svg
from book.components.pictures.player import named
from book.components.table import table
from book.components.template import code, html
from book.quantities.imports import directly, graph, height, parts

TITLE = "Everything points down"
BOX, ROW, SLOT = 22, 54, 7
# a part, or a lower one on the way to which a line passes a row
Place = tuple[str, int]


def picture() -> Markup:
    """Two drawings, and all imports as a table."""
    drawing = named(
        "".join(_drawing(width, layout) for width, layout in ((760, "wide"), (360, "narrow"))),
        "imports",
        TITLE,
        "A box for each module or package. Lines lead down from each to what it imports; the table below has all.",
    )
    rows = [(code(part), ", ".join(sorted(graph()[part])) or "nothing of these") for part in sorted(parts())]
    return html(
        '<div class="ac-player__picture">{{ drawing }}</div>'
        '<details class="ac-data"><summary>Every import</summary>{{ all }}</details>',
        drawing=drawing,
        all=table("What each part imports", ["part", "imports"], rows, kind="words"),
    )


def lines() -> list[list[Place]]:
    """Each line that is drawn, from a part down through the rows to one that it imports."""
    return [
        [(part, height(part)), *((lower, row) for row in range(height(part) - 1, height(lower) - 1, -1))]
        for part in parts()
        for lower in directly(part)
    ]


def _rows() -> list[list[Place]]:
    """The places of each row, from the bottom up, ordered so that few lines cross."""
    neighbours: dict[Place, list[Place]] = {(part, height(part)): [] for part in parts()}
    for line in lines():
        for upper, lower in pairwise(line):
            neighbours.setdefault(upper, []).append(lower)
            neighbours.setdefault(lower, []).append(upper)
    rows = [[place for place in neighbours if place[1] == row] for row in range(1 + max(map(height, parts())))]
    at = {place: float(index) / len(row) for row in rows for index, place in enumerate(row)}
    for _ in range(24):
        for row in rows:
            row.sort(key=lambda place: fmean(map(at.__getitem__, neighbours[place] or [place])))
            at.update({place: (index + 0.5) / len(row) for index, place in enumerate(row)})
    return rows


def _drawing(width: float, layout: str) -> str:
    rows = _rows()
    centres = {}
    for row in rows:
        widths = [_width(place) for place in row]
        gap = (width - sum(widths)) / (len(row) + 1)
        for index, place in enumerate(row):
            centres[place] = gap * (index + 1) + sum(widths[:index]) + widths[index] / 2
    top = ROW * (len(rows) - 1)
    edges = {(upper, lower) for line in lines() for upper, lower in pairwise(line)}
    drawn = [_edge(centres[upper], top - ROW * upper[1], centres[lower]) for upper, lower in sorted(edges)]
    boxes = [_part(place[0], centres[place], top - ROW * place[1]) for row in rows for place in row if _is_part(place)]
    passes = [
        svg.path(f"M{centres[place]:.1f} {top - ROW * place[1]}v{BOX}")
        for row in rows
        for place in row
        if not _is_part(place)
    ]
    return svg.svg(width, top + BOX, *drawn, *passes, *boxes, layout=layout)


def _is_part(place: Place) -> bool:
    return height(place[0]) == place[1]


def _label(part: str) -> str:
    return part.removeprefix("actckpt.")


def _width(place: Place) -> float:
    return svg.width_of(_label(place[0])) + 12 if _is_part(place) else SLOT


def _edge(x: float, y: float, to: float) -> str:
    start, end = y + BOX, y + ROW
    middle = (start + end) / 2
    return svg.path(f"M{x:.1f} {start}C{x:.1f} {middle} {to:.1f} {middle} {to:.1f} {end}")


def _part(part: str, x: float, y: float) -> str:
    label = _label(part)
    width = svg.width_of(label) + 12
    site = label.startswith("book.")
    return svg.box(x - width / 2, y, width, BOX, cls="ac-ink" if site else "") + svg.text(
        x, y + 15, label, cls="ac-on ac-ink" if site else "", text_anchor="middle"
    )
