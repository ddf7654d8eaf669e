"""The drawing of a Llama block: a row for each op, with a box as wide as its bytes for each tensor that it writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from actckpt import POLICIES
from book.components.pictures import svg
from book.components.pictures.scene import AGAIN, STACK
from book.quantities import text
from book.quantities.block_map import CHOICES, OPENS, ROWS, Row, everything, kept, policies_where
from book.quantities.steps import LONG, block_at, per_sbh, step

SHORT = {"gate_proj": "gate", "up_proj": "up"}


@dataclass(frozen=True)
class Layout:
    """Where things stand, in units of the drawing; `per_byte` is the width of one byte for each S·B·H."""

    name: str
    width: float
    left: float
    per_byte: float


LAYOUTS = (Layout("wide", 760, 64, 40), Layout("narrow", 360, 44, 15))
# above the rows, all that the block stores as one bar
TOP, BAR, BOX, STEP, GAP = 46, 16, 24, 44, 3
STREAM, BRACKET = 10, 28
# the narrowest box that is still seen
SLIVER = 1.5


def drawings() -> str:
    """The block, for a desk and for a phone."""
    return "".join(
        svg.svg(
            layout.width,
            TOP + STEP * (len(ROWS) - 1) + BOX + 6,
            *_bar(layout),
            *_stream(layout),
            *(part for index, row in enumerate(ROWS) for part in _row(layout, row, TOP + STEP * index)),
            *_brackets(layout),
            layout=layout.name,
        )
        for layout in LAYOUTS
    )


def _bar(layout: Layout) -> Iterator[str]:
    # what the chosen policy keeps, as a share of what the block stores with nothing recomputed
    whole = step("none").block.bytes
    yield svg.box(1, 4, layout.width - 2, BAR, cls="ac-empty", rx=2)
    for policy in CHOICES:
        x, parts = 1.0, []
        for component in STACK:
            width = (layout.width - 2) * step(policy).block.component_bytes(component) / whole
            if width:
                parts.append(svg.rect(x, 4, width, BAR, cls=f"ac-box ac-{component}"))
            x += width
        yield _shown("".join(parts), [policy])


def _stream(layout: Layout) -> Iterator[str]:
    # the residual stream on the left, and where the halves of the block add to it
    rows = [TOP + STEP * index + BOX / 2 for index, row in enumerate(ROWS) if row.on_stream]
    yield svg.path(f"M{STREAM} {rows[0]}V{rows[-1]}", cls="ac-line")
    for index, y in enumerate(rows):
        yield svg.path(f"M{STREAM} {y}H{layout.left - 4}", cls="ac-line")
        if index:
            yield svg.element("circle", cls="ac-adds", cx=STREAM, cy=y, r=6.5)
            yield svg.path(f"M{STREAM - 3.5} {y}h7M{STREAM} {y - 3.5}v7", cls="ac-line ac-ink")


def _row(layout: Layout, row: Row, y: float) -> Iterator[str]:
    if row.op:
        yield svg.arrow([(layout.left + 5, y - 17), (layout.left + 5, y - 4)])
        yield svg.text(layout.left + 16, y - 6, row.op, cls="ac-quiet")
    x, middle = layout.left, y + BOX / 2 + 4.5
    for name in row.tensors:
        width = max(SLIVER, layout.per_byte * per_sbh([everything()[name]]))
        yield from _box(name, x, y, width)
        if not row.label:
            kept_under = [policy for policy in CHOICES if name in kept(policy)]
            words = f"{SHORT[name]} {text.size(everything()[name].bytes)}"
            for cls, policies in (("ac-on", kept_under), ("", policies_where(name, None))):
                yield _shown(svg.text(x + width / 2, middle, words, cls=cls, text_anchor="middle"), policies)
        x += width + GAP
    if row.label:
        yield svg.element(
            "text", f'{row.label} <tspan class="ac-quiet">{_sizes(row.tensors)}</tspan>', x=x + 5, y=middle
        )
    for words, policies in _states(row.tensors).items():
        cls = "ac-strong ac-checkpoint ac-said" if words == "checkpoint" else "ac-quiet"
        yield _shown(svg.text(layout.width - 2, middle, words, cls=cls, text_anchor="end"), policies)


def _box(name: str, x: float, y: float, width: float) -> Iterator[str]:
    term = everything()[name]
    hint = svg.element(
        "title", f"{name}: {' × '.join(f'{size:,}' for size in term.shape)} in {term.dtype}, {term.bytes:,} bytes"
    )
    place: dict[str, Any] = {"x": x, "y": y, "width": width, "height": BOX, "rx": min(2.0, width / 2)}
    passes_by = name not in kept("none")
    outline = svg.element(
        "rect", hint, cls=f"ac-box ac-{'passing' if passes_by else f'empty ac-{term.component}'}", **place
    )
    yield _shown(outline, policies_where(name, None))
    for component in dict.fromkeys(kept(policy)[name].component for policy in CHOICES if name in kept(policy)):
        yield _shown(svg.element("rect", hint, cls=f"ac-box ac-{component}", **place), policies_where(name, component))


def _shown(part: str, policies: Sequence[str]) -> str:
    off = "" if OPENS in policies else ' class="is-off"'
    return f'<g data-in="{" ".join(policies)}"{off}>{part}</g>'


def _sizes(tensors: Sequence[str]) -> str:
    sizes: list[str] = [text.size(everything()[name].bytes) for name in tensors]
    units = {size.split()[-1] for size in sizes}
    if len(units) == 1:
        sizes = [*(size.split()[0] for size in sizes[:-1]), sizes[-1]]
    return " + ".join(sizes)


def _states(tensors: Sequence[str]) -> dict[str, list[str]]:
    # what a row's right end says, and the policies under which it says so
    states: dict[str, list[str]] = {}
    for policy in CHOICES:
        if words := _state([name for name in tensors if name in kept("none") or name in kept(policy)], policy):
            states.setdefault(words, []).append(policy)
    return states


def _state(tensors: Sequence[str], policy: str) -> str:
    held = [name for name in tensors if name in kept(policy)]
    if not tensors:
        return ""
    if any(kept(policy)[name].component == "checkpoint" for name in held):
        return "checkpoint"
    # the one that is much larger speaks for the row
    largest = max(tensors, key=lambda name: everything()[name].bytes)
    return "kept" if largest in held else "recomputed"


def _brackets(layout: Layout) -> Iterator[str]:
    whole = block_at(LONG)
    spans: dict[tuple[int, int], list[str]] = {}
    for policy in CHOICES:
        for region in POLICIES[policy].regions:
            written = {name for stage in whole.region(region.name) for name in stage.writes}
            again = written - set(kept(policy))
            rows = [index for index, row in enumerate(ROWS) if again & set(row.tensors) & set(kept("none"))]
            spans.setdefault((min(rows), max(rows)), []).append(policy)
    for (first, last), policies in spans.items():
        start, end = TOP + STEP * first - 12, TOP + STEP * last + BOX
        middle = (start + end) / 2
        yield _shown(
            svg.path(f"M{BRACKET + 5} {start}H{BRACKET}V{end}H{BRACKET + 5}", cls="ac-line ac-ink")
            + svg.element("circle", cls="ac-around", cx=BRACKET, cy=middle, r=9)
            + svg.moved(BRACKET, middle, svg.path(AGAIN, cls="ac-line ac-ink")),
            policies,
        )
