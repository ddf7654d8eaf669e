"""The online softmax, tile by tile: scores above, their weights below, and the three numbers that go along."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from book.components.pictures import svg
from book.components.pictures.player import player
from book.components.pictures.svg import Timeline
from book.quantities import online_softmax as row
from book.quantities import text
from book.quantities.online_softmax import N_KEYS, TILE, Step

N_TILES = N_KEYS // TILE
# nothing seen, two frames for each tile, the division, the comparison
LINE = Timeline(2 * N_TILES + 3)
DIVIDED, COMPARED = LINE.n_frames - 2, LINE.n_frames - 1


@dataclass(frozen=True)
class Layout:
    """Where things stand, in units of the drawing."""

    name: str
    width: float
    height: float
    left: float
    key_width: float
    numbers: tuple[tuple[float, float], ...]


# of the scores and of the weights: where 0 is, and the height of 1
SCORE_ZERO, SCORE_UNIT, WEIGHT_ZERO, WEIGHT_UNIT = 100.0, 36.0, 318.0, 104.0
LAYOUTS = (
    Layout("wide", 760, 356, 58, 28.5, tuple((556, 26 + 56 * index) for index in range(6))),
    Layout(
        "narrow",
        360,
        492,
        30,
        19.3,
        tuple((4 + 184 * column, 366 + 48 * line) for line in range(3) for column in (0, 1)),
    ),
)


def picture() -> str:
    return player(
        name="online-softmax-steps",
        title="A softmax that gets its row four keys at a time",
        description="Sixteen scores of one query as bars, in four tiles of four. Below, the weight of each score under "
        "the largest score so far; the weights shrink when a larger score comes. Beside them the running maximum, the "
        "factor, the running sum and the running values, and at the end the output.",
        frames=sentences(),
        drawing="".join(_drawing(layout) for layout in LAYOUTS),
        caption="Faded bars are scores that have been dropped: no step has more than one tile of scores. When the "
        "maximum rises, all weights so far shrink by the same factor.",
        made_by="book.quantities.online_softmax.steps()",
        assumes=f"One query and {N_KEYS} keys of head dimension {row.HEAD_DIM}, random, in float64, without a mask.",
        test="test_flash_page::test_the_online_softmax",
    )


def sentences() -> list[str]:
    steps = row.steps()
    output, lse = row.package()
    apart = max(abs(x - y) for x, y in zip(_output(steps[-1]), row.whole_row(), strict=True))
    said = [
        f"One query has {N_KEYS} scores, and the kernel gets them in {N_TILES} tiles of {TILE}. No score has been "
        "computed yet: the maximum is −∞, and the sums are empty."
    ]
    for index, step in enumerate(steps):
        before = steps[index - 1].row_max if index else -math.inf
        said += [_arrives(index, step, before), _added(index, step)]
    said.append(
        f"The row is done. The values divided by the sum of all weights are the output: {_pair(_output(steps[-1]))}."
    )
    said.append(
        f"A softmax over the whole row at once gives {_pair(row.whole_row())}: {_difference(apart)}. The backward "
        f"pass needs m + log l = {_number(_lse(steps[-1]))}, so that is saved. <code>flash_attention</code> returns "
        f"{_number(lse)} for it, and {_pair(output)} for the output."
    )
    return said


def _arrives(index: int, step: Step, before: float) -> str:
    start = f"Tile {index + 1} arrives"
    if index == 0:
        return (
            f"{start}. Its largest score, {_number(step.row_max)}, is the first maximum. There is nothing to rescale."
        )
    if step.row_max == before:
        return (
            f"{start}, and none of its scores is above {_number(before)}. The maximum stays, and the factor is "
            f"{_number(step.rescale)}, so the sums stay as they are."
        )
    return (
        f"{start} with a score of {_number(step.row_max)}, above {_number(before)}. The sums under the old maximum "
        f"are multiplied by e to the power of {_number(before)} − {_number(step.row_max)}, which is "
        f"{_number(step.rescale)}."
    )


def _added(index: int, step: Step) -> str:
    return (
        f"The weights of tile {index + 1} are added. The sum is {_number(step.row_sum)}, and the weighted values are "
        f"{_pair(step.acc)}. The scores are dropped."
    )


def _difference(apart: float) -> str:
    if apart == 0:
        return "the same to the last bit"
    digits, power = f"{apart:.0e}".split("e")
    return f"they differ by {digits} · 10<sup>{int(power)}</sup>, the last bit of a float64".replace("-", "−")


def _output(step: Step) -> tuple[float, ...]:
    return tuple(x / step.row_sum for x in step.acc)


def _lse(step: Step) -> float:
    return step.row_max + math.log(step.row_sum)


def _drawing(layout: Layout) -> str:
    drawn = [*_ground(layout), *_scores(layout), *_maximum(layout), *_weights(layout), *_numbers(layout)]
    return svg.svg(layout.width, layout.height, *drawn, layout=layout.name)


def _x(layout: Layout, key: int) -> float:
    return layout.left + key * layout.key_width + 6 * (key // TILE)


def _ground(layout: Layout) -> list[str]:
    right = _x(layout, N_KEYS - 1) + layout.key_width
    drawn = [
        svg.text(0, 14, "scores s", cls="ac-strong"),
        svg.text(0, 200, "weights, e to the power of s − m", cls="ac-strong"),
        svg.path(f"M{layout.left} {SCORE_ZERO}H{right}", cls="ac-grid"),
        svg.path(f"M{layout.left} {WEIGHT_ZERO - WEIGHT_UNIT}H{right}", cls="ac-grid"),
        svg.path(f"M{layout.left} {WEIGHT_ZERO}H{right}", cls="ac-line"),
        svg.text(layout.left - 8, SCORE_ZERO + 4, "0", cls="ac-quiet", text_anchor="end"),
        svg.text(layout.left - 8, WEIGHT_ZERO + 4, "0", cls="ac-quiet", text_anchor="end"),
        svg.text(layout.left - 8, WEIGHT_ZERO - WEIGHT_UNIT + 4, "1", cls="ac-quiet", text_anchor="end"),
    ]
    for tile in range(N_TILES):
        x, width = _x(layout, tile * TILE) - 2, TILE * layout.key_width + 4
        now = LINE.on(2 * tile + 1, 2 * tile + 2)
        drawn.insert(0, svg.box(x, 22, width, WEIGHT_ZERO - 22, cls="ac-tile", when=now))
        drawn.append(
            svg.text(x + width / 2, WEIGHT_ZERO + 18, f"tile {tile + 1}", cls="ac-quiet", text_anchor="middle")
        )
    return drawn


def _bar(layout: Layout, key: int, zero: float, value: float, unit: float, **how: Any) -> str:
    top, height = zero - max(value, 0) * unit, abs(value) * unit
    return svg.box(_x(layout, key) + 2, top, layout.key_width - 4, max(height, 1), rx=1.5, **how)


def _scores(layout: Layout) -> Iterator[str]:
    for key, score in enumerate(row.scores()):
        first = 2 * (key // TILE) + 1
        bar = _bar(layout, key, SCORE_ZERO, score, SCORE_UNIT, cls="ac-attention")
        yield _bar(layout, key, SCORE_ZERO, score, SCORE_UNIT, cls="ac-empty", when=LINE.before(first))
        yield svg.group(bar, cls="ac-trace", when=LINE.on(range(first + 2, COMPARED)))
        yield svg.group(bar, when=LINE.on(first, first + 1, COMPARED))


def _maximum(layout: Layout) -> Iterator[str]:
    for row_max, group in groupby(enumerate(row.steps()), key=lambda entry: entry[1].row_max):
        tiles = [tile for tile, _ in group]
        last = tiles[-1] == N_TILES - 1
        frames = range(2 * tiles[0] + 1, LINE.n_frames if last else 2 * tiles[-1] + 3)
        y, right = SCORE_ZERO - row_max * SCORE_UNIT, _x(layout, N_KEYS - 1) + layout.key_width
        yield svg.group(
            svg.path(f"M{layout.left} {y:.1f}H{right}", cls="ac-line ac-ink ac-dashed"),
            svg.text(layout.left - 8, y + 4, "m", cls="ac-strong", text_anchor="end"),
            when=LINE.on(frames),
        )


def _weights(layout: Layout) -> Iterator[str]:
    # under each maximum a tile's weights have another height
    steps = row.steps()
    for tile in range(N_TILES):
        for row_max, group in groupby(range(tile, N_TILES), key=lambda later: steps[later].row_max):
            under = list(group)
            first = 2 * tile + 2 if under[0] == tile else 2 * under[0] + 1
            end = LINE.n_frames if under[-1] == N_TILES - 1 else 2 * under[-1] + 3
            bars = [
                _bar(layout, tile * TILE + j, WEIGHT_ZERO, math.exp(score - row_max), WEIGHT_UNIT, cls="ac-attention")
                for j, score in enumerate(steps[tile].scores)
            ]
            yield svg.group(*bars, cls="ac-grows" if under[0] == tile else "", when=LINE.on(range(first, end)))


def _numbers(layout: Layout) -> Iterator[str]:
    for (x, y), (label, value) in zip(layout.numbers, _PANEL, strict=True):
        yield svg.text(x, y, label, cls="ac-quiet")
        for words, group in groupby(range(LINE.n_frames), key=value):
            if words:
                yield svg.text(x, y + 20, words, cls="ac-value", when=LINE.on(*group))


def _sums(frame: int) -> tuple[float, list[float]]:
    # l and a: of the tiles whose weights have been added, rescaled if another arrives
    steps, added = row.steps(), min(frame // 2, N_TILES)
    if not added:
        return 0.0, [0.0] * row.HEAD_DIM
    rescale = steps[added].rescale if _arriving(frame) else 1.0
    return steps[added - 1].row_sum * rescale, [x * rescale for x in steps[added - 1].acc]


def _arriving(frame: int) -> bool:
    return frame % 2 == 1 and frame < DIVIDED


def _m(frame: int) -> str:
    return _number(row.steps()[min((frame - 1) // 2, N_TILES - 1)].row_max) if frame else "−∞"


def _factor(frame: int) -> str:
    return _number(row.steps()[frame // 2].rescale) if _arriving(frame) and frame > 1 else ""


_PANEL: tuple[tuple[str, Callable[[int], str]], ...] = (
    ("m, the largest score so far", _m),
    ("rescaled by", _factor),
    ("l, the sum of weights", lambda frame: _number(_sums(frame)[0])),
    ("a, the weighted values", lambda frame: _pair(_sums(frame)[1])),
    ("output, a / l", lambda frame: _pair(_output(row.steps()[-1])) if frame >= DIVIDED else ""),
    ("saved, m + log l", lambda frame: _number(_lse(row.steps()[-1])) if frame >= COMPARED else ""),
)


def _number(value: float) -> str:
    return text.fixed(value, 3).replace("-", "−")


def _pair(values: list[float] | tuple[float, ...]) -> str:
    return f"({', '.join(map(_number, values))})"
