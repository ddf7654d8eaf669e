"""The tiles of flash attention: one tile of scores at a time, and what causality hides is never visited."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from actckpt.ops.attention import reference
from book.components.pictures import svg
from book.components.pictures.player import player
from book.components.pictures.svg import Timeline
from book.quantities.tiles import Visit, visits

N_TILES = 4
SEQ_LEN = N_TILES * reference.BLOCK_M
VISITS = visits(SEQ_LEN, reference.BLOCK_M, reference.BLOCK_N)
LINE = Timeline(len(VISITS) + 2)


@dataclass(frozen=True)
class Layout:
    """Where things stand, in units of the drawing."""

    name: str
    width: float
    height: float
    left: float
    top: float
    cell: float
    chip: tuple[float, float, float, float]


GAP = 4
LAYOUTS = (
    Layout("wide", 760, 372, 92, 84, 62, (486, 84, 274, 260)),
    Layout("narrow", 360, 536, 62, 76, 54, (10, 356, 340, 170)),
)


def picture() -> str:
    return player(
        name="tile-by-tile",
        title="One tile of scores at a time, and none of them goes to memory",
        description="A grid of four tiles of queries by four tiles of keys. The tiles on and below the diagonal are "
        "computed one after another on the chip; those above are never visited. When a row of tiles is done, its "
        "output and log-sum-exp are written to memory.",
        frames=sentences(),
        drawing="".join(_drawing(layout) for layout in LAYOUTS),
        caption="Solid tiles are being computed. Faded tiles are gone; only their place in the grid remains. Half "
        "tiles are on the diagonal and need a mask. Crossed-out tiles are in the future of all their queries.",
        made_by=f"book.quantities.tiles.visits({SEQ_LEN}, {reference.BLOCK_M}, {reference.BLOCK_N})",
        assumes=f"One head, {SEQ_LEN} tokens, a causal mask, tiles of {reference.BLOCK_M} × {reference.BLOCK_N} as the "
        "reference takes them. A GPU works on many rows of tiles at once, each on its own SM.",
        test="test_flash_page::test_the_tiles_that_are_visited",
    )


def grid(seq_len: int, block_m: int, block_n: int, *, x: float, y: float, side: float) -> Iterator[str]:
    """All tiles of a causal head in a square: those that are visited, and dashed those that never are."""
    visited = {(visit.queries, visit.keys) for visit in visits(seq_len, block_m, block_n)}
    n_rows, n_columns = -(-seq_len // block_m), -(-seq_len // block_n)
    height, width = side / n_rows, side / n_columns
    for queries, keys in product(range(n_rows), range(n_columns)):
        cls = "ac-attention" if (queries, keys) in visited else "ac-empty"
        yield svg.box(x + keys * width, y + queries * height, width - 2, height - 2, cls=cls, rx=1)


def sentences() -> list[str]:
    masked = sum(visit.masked for visit in VISITS)
    return [
        "q, k and v are in memory, in tiles. All scores together would be this square of queries by keys. It is never "
        "in memory.",
        *map(_sentence, VISITS),
        f"Of {N_TILES**2} tiles, {len(VISITS)} were computed, {masked} of them with a mask. The other "
        f"{N_TILES**2 - len(VISITS)} were not. Memory has the output and one number for each query, and no score.",
    ]


def _sentence(visit: Visit) -> str:
    start = f"Queries {visit.queries + 1}, keys {visit.keys + 1}"
    if not visit.masked:
        more = (
            "A new row begins with empty sums." if visit.keys == 0 else "The sums so far are rescaled, then added to."
        )
        return f"{start}: every query sees every key, so no mask is needed. {more}"
    end = "The row is done, and its output and lse go to memory"
    return (
        f"{start}: on the diagonal, a mask hides the keys that come later. {end}. The tiles to the right are skipped."
    )


def _of(queries: int | None = None, keys: int | None = None) -> list[int]:
    return [
        1 + index
        for index, visit in enumerate(VISITS)
        if queries in (None, visit.queries) and keys in (None, visit.keys)
    ]


def _drawing(layout: Layout) -> str:
    drawn = [*_memory(layout), *_grid(layout), *_outputs(layout), *_chip(layout)]
    return svg.svg(layout.width, layout.height, *drawn, layout=layout.name)


def _at(layout: Layout, queries: int, keys: int) -> tuple[float, float]:
    step = layout.cell + GAP
    return layout.left + keys * step, layout.top + queries * step


def _memory(layout: Layout) -> Iterator[str]:
    yield svg.text(0, 14, "in memory (HBM)", cls="ac-strong")
    for tile in range(N_TILES):
        x, y = _at(layout, tile, tile)
        yield _named(layout.left - 40, y, 28, layout.cell, f"Q{tile + 1}", _of(queries=tile))
        yield _named(x, layout.top - 56, layout.cell, 20, f"K{tile + 1}", _of(keys=tile))
        yield _named(x, layout.top - 32, layout.cell, 20, f"V{tile + 1}", _of(keys=tile))


def _named(x: float, y: float, width: float, height: float, name: str, used: list[int]) -> str:
    place = (x, y, width, height)
    now = svg.group(svg.box(*place, cls="ac-attention", name=name), when=LINE.on(*used))
    return svg.group(svg.box(*place, name=name), now)


def _grid(layout: Layout) -> Iterator[str]:
    size = layout.cell
    for queries, keys in product(range(N_TILES), repeat=2):
        x, y = _at(layout, queries, keys)
        visited = _of(queries, keys)
        if not visited:
            cross = f"M{x + 9} {y + 9}L{x + size - 9} {y + size - 9}M{x + size - 9} {y + 9}L{x + 9} {y + size - 9}"
            yield svg.box(x, y, size, size, cls="ac-empty ac-faint")
            yield svg.path(cross, cls="ac-grid")
            continue
        [frame] = visited
        tile = _tile(x, y, size, VISITS[frame - 1].masked)
        yield svg.box(x, y, size, size, cls="ac-empty")
        yield svg.group(tile, cls="ac-trace", when=LINE.since(frame + 1))
        yield svg.group(tile, when=LINE.on(frame))
        yield svg.rect(x, y, size, size, cls="ac-now", rx=3, when=LINE.on(frame))
    x, y = _at(layout, N_TILES, 0)
    yield svg.text(x, y + 12, "the scores: never written", cls="ac-quiet")


def _tile(x: float, y: float, size: float, masked: bool) -> str:
    if not masked:
        return svg.box(x, y, size, size, cls="ac-attention")
    return svg.path(f"M{x} {y}V{y + size}H{x + size}Z", cls="ac-box ac-attention")


def _outputs(layout: Layout) -> Iterator[str]:
    size = layout.cell
    for queries in range(N_TILES):
        x, y = _at(layout, queries, N_TILES)
        output, lse = (x + 8, y, 28, size), (x + 40, y, 7, size)
        yield svg.box(*output, cls="ac-empty")
        yield svg.box(*lse, cls="ac-empty", rx=1.5)
        yield svg.group(
            svg.box(*output, cls="ac-attention", name=f"O{queries + 1}"),
            svg.box(*lse, cls="ac-attention", rx=1.5),
            when=LINE.since(max(_of(queries=queries))),
        )
    x, y = _at(layout, N_TILES, N_TILES)
    yield svg.text(x + 47, y + 12, "output, lse", cls="ac-quiet", text_anchor="end")


def _chip(layout: Layout) -> Iterator[str]:
    x, y, width, height = layout.chip
    size, top = 62, y + 22
    yield svg.text(x, y - 8, "on the chip, in one SM", cls="ac-strong")
    yield svg.box(x, y, width, height, cls="ac-chip", rx=8)
    wide = layout.name == "wide"
    left = x + (28 if wide else 18)
    square = left + 46
    for frame, visit in enumerate(VISITS, 1):
        part = [
            svg.box(left, top + 56, 28, size, cls="ac-attention", name=f"Q{visit.queries + 1}"),
            svg.box(square, top, size, 20, cls="ac-attention", name=f"K{visit.keys + 1}"),
            svg.box(square, top + 24, size, 20, cls="ac-attention", name=f"V{visit.keys + 1}"),
            _tile(square, top + 56, size, visit.masked),
        ]
        yield svg.group(*part, when=LINE.on(frame))
    yield svg.box(square, top + 56, size, size, cls="ac-empty")
    yield svg.text(square + size + 12, top + 92, "scores" if wide else "", cls="ac-quiet")
    yield from _sums((left, top + 168) if wide else (x + 196, top + 10), wide)


def _sums(place: tuple[float, float], wide: bool) -> Iterator[str]:
    # how much of its row each sum has seen
    x, y = place
    width = 190 if wide else 136
    yield svg.text(x, y - 4, "running sums m, l and a", cls="ac-quiet")
    yield svg.box(x, y + 8, width, 22, cls="ac-empty")
    for frame, visit in enumerate(VISITS, 1):
        seen, needed, when = visit.keys + 1, visit.queries + 1, LINE.on(frame)
        yield svg.box(x, y + 8, seen / needed * width, 22, cls="ac-attention", when=when)
        yield svg.text(x, y + 48, f"{seen} of {needed} tiles of keys seen", cls="ac-quiet", when=when)
