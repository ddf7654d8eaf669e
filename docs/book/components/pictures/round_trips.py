"""What attention moves between the chip and HBM: three trips there and back, or one pass, drawn to scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from actckpt.formulas.traffic import Kernel, moved_bytes
from book.components.pictures import svg
from book.components.pictures.player import player
from book.components.pictures.svg import Timeline
from book.quantities import text
from book.quantities.flash import DEVICE, FLASH, LOADS, SEQ_LEN, SHAPE, STANDARD
from book.quantities.steps import MODEL

# a frame before anything runs, one a direction of a standard kernel, three for flash attention, and the sum
LINE = Timeline(11)
ON_CHIP, WRITTEN, LAST = 8, 9, 10
READS, WRITES = "read", "write"
# units of the drawing: the breadth of an arrow that carries the whole matrix, and of the thinnest line
RIBBON, THIN = 42.0, 1.5
PANEL_HEIGHT, WIDTH = 336, 356
CHIP, BUS, HBM, METER = (30, 76), (106, 198), (198, 82), 296
# where a tensor is in HBM, from the left of its panel
LEFT, SCORES, PROBABILITIES, OUTPUT = 6.0, 82.0, 178.0, 275.0
SLOT = 2 * RIBBON + 4


@dataclass(frozen=True)
class Move:
    """Tensors on their way between HBM and the chip.

    Attributes:
        way: Into the chip ("read") or out of it ("write").
        tensors: Their bytes, by name.
        frame: The frame in which they move.
    """

    way: str
    tensors: dict[str, int]
    frame: int

    @property
    def bytes(self) -> int:
        """All of them."""
        return sum(self.tensors.values())


@dataclass(frozen=True)
class Panel:
    """One of the two kinds of attention.

    Attributes:
        title: Its name.
        kernels: What stands in the boxes on the chip, and the frames in which each runs.
        moves: What it moves, in the order in which it does.
        stored: Whether the scores and the probabilities are in HBM, or only their places.
    """

    title: str
    kernels: Sequence[tuple[str, tuple[int, ...]]]
    moves: Sequence[Move]
    stored: bool


def moves(kernels: Sequence[Kernel], first: int, step: int = 1) -> list[Move]:
    """What kernels read and write, one after another.

    Args:
        kernels: They run one after another.
        first: The frame in which the first one reads.
        step: The frames from one move to the next.
    """
    ways = [(way, tensors) for kernel in kernels for way, tensors in ((READS, kernel.reads), (WRITES, kernel.writes))]
    return [Move(way, tensors, first + step * index) for index, (way, tensors) in enumerate(ways)]


PANELS = (
    Panel(
        "Standard attention",
        [("q · kᵀ", (1, 2)), ("softmax", (3, 4)), ("· v", (5, 6))],
        moves(STANDARD.forward, 1),
        stored=True,
    ),
    Panel(
        "Flash attention",
        [("q · kᵀ → softmax → · v, tile by tile", (7, ON_CHIP, WRITTEN))],
        moves(FLASH.forward, 7, step=2),
        stored=False,
    ),
)


def picture(numbers: Markup) -> Markup:
    """The player; its numbers as tables are folded below."""
    standard, flash = (moved_bytes(each.forward) for each in (STANDARD, FLASH))
    return player(
        name="round-trips",
        title=f"Three trips to HBM and back, or one: {text.gb(standard, 3)} against {text.gb(flash, 3)}",
        description="Two panels, each with the chip above and HBM below. Standard attention runs three kernels: each "
        "reads from HBM and writes to it, and the matrices of scores and of probabilities cross twice each, as broad "
        "arrows. Flash attention is one kernel: it reads q, k and v and writes the output, all thin arrows, and the "
        "places of the two matrices in HBM stay empty.",
        frames=sentences(),
        drawing=svg.svg(
            760,
            PANEL_HEIGHT,
            *(svg.moved(at, 0, *_panel(panel)) for at, panel in zip((0, 404), PANELS, strict=True)),
            layout="wide",
        )
        + svg.svg(
            360,
            2 * PANEL_HEIGHT + 26,
            *(svg.moved(2, at, *_panel(panel)) for at, panel in zip((0, PANEL_HEIGHT + 26), PANELS, strict=True)),
            layout="narrow",
        ),
        caption="To scale: the breadth of the arrows, of the tensors in HBM, and the bars below, though nothing is "
        "thinner than can be seen. Every tensor counts once: that is the least flash attention can move, if the L2 "
        f"cache serves each tile that is needed again. With no such cache it would move "
        f"{text.gb(moved_bytes(LOADS.forward), 3)}.",
        made_by="actckpt.formulas.traffic.standard_forward, flash_forward",
        assumes=f"The attention of one block of {text.model_label(MODEL)}, forward pass, {SEQ_LEN:,} tokens, batch "
        "size 1, bfloat16; nothing is masked; GB of 10⁹ bytes.",
        test="test_round_trips::test_the_arrows_are_what_the_kernels_move",
        numbers=numbers,
    )


def sentences() -> list[str]:
    """What each frame shows."""
    first, second, third = STANDARD.forward
    standard, flash = (moved_bytes(each.forward) for each in (STANDARD, FLASH))
    (fused,) = FLASH.forward
    inputs = SHAPE.q_bytes + 2 * SHAPE.kv_bytes
    return [
        f"Both kinds of attention begin with q, k and v in HBM, {text.gb(inputs, 3)}, and both end with an output "
        f"of {text.gb(SHAPE.q_bytes, 3)}. What differs is what moves in between.",
        f"Standard attention, first trip: a kernel reads q and k, {_gb(first.reads)}.",
        f"It multiplies them and writes the scores to HBM: {_gb(first.writes)}, since every query has a score for "
        "every key.",
        f"Second trip: the softmax is a kernel of its own. It reads all the scores back, {_gb(second.reads)}.",
        f"It writes the probabilities, {_gb(second.writes)} more.",
        f"Third trip: the last kernel reads the probabilities and v, {_gb(third.reads)}.",
        f"It writes the output, {_gb(third.writes)}. Three trips have moved {text.gb(standard, 3)}, and "
        f"{text.percent(4 * SHAPE.matrix_bytes / standard, 0)} of that were the two matrices.",
        f"Flash attention is one kernel. It reads q, k and v in tiles, {_gb(fused.reads)}.",
        "Scores, softmax and the product with v all happen on the chip, for one tile after another. Each tile of "
        "scores is used up before the next one replaces it, so nothing of the two matrices goes to HBM.",
        f"It writes the output, and one number for each query for the backward pass: {_gb(fused.writes)}.",
        f"Standard attention moved {text.gb(standard, 3)}, flash attention {text.gb(flash, 3)}, "
        f"{text.times(standard / flash, 0)} less. At the full bandwidth of an {DEVICE.label} that takes "
        f"{_ms(standard)} and {_ms(flash)}.",
    ]


def _gb(tensors: dict[str, int]) -> str:
    return text.gb(sum(tensors.values()), 3)


def _ms(n_bytes: int) -> str:
    return f"{1000 * n_bytes / DEVICE.bandwidth:.2g}{text.NBSP}ms"


def _panel(panel: Panel) -> Iterator[str]:
    yield svg.text(0, 14, panel.title, cls="ac-strong")
    for move in panel.moves:
        which = 1 + panel.moves.index(move) // 2
        words = f"trip {which}: {move.way}s" if panel.stored else f"{move.way}s"
        yield svg.text(WIDTH, 14, words, cls="ac-quiet", text_anchor="end", when=LINE.on(move.frame))
    yield from _chip(panel)
    yield from _memory(panel)
    for move in panel.moves:
        arrows = "".join(_arrows(move))
        yield svg.group(arrows, cls="ac-trace", when=LINE.on(range(move.frame + 1, LAST)))
        yield svg.group(arrows, when=LINE.on(move.frame, LAST))
    yield from _meter(panel)


def _chip(panel: Panel) -> Iterator[str]:
    top, height = CHIP
    yield svg.box(0, top, WIDTH, height, cls="ac-chip", rx=8)
    yield svg.text(10, top + 18, "on the chip", cls="ac-quiet")
    width = (WIDTH - 20 - 8 * (len(panel.kernels) - 1)) / len(panel.kernels)
    for index, (words, frames) in enumerate(panel.kernels):
        place = (10 + index * (width + 8), top + 28, width, 36)
        yield svg.box(*place, cls="ac-empty")
        yield _centred(place[0] + width / 2, top + 50.5, words, "ac-quiet")
        lit = _centred(place[0] + width / 2, top + 50.5, words, "ac-on ac-attention")
        yield svg.group(svg.box(*place, cls="ac-attention"), lit, when=LINE.on(*frames, LAST))


def _centred(x: float, y: float, words: str, cls: str) -> str:
    return svg.text(x, y, words, cls=cls, text_anchor="middle")


def _memory(panel: Panel) -> Iterator[str]:
    top, height = HBM
    yield svg.box(0, top, WIDTH, height, cls="ac-chip", rx=0)
    yield svg.text(WIDTH - 10, top + height - 8, "HBM", cls="ac-quiet", text_anchor="end")
    yield from (_tensor(name, top) for name in ("q", "k", "v"))
    yield svg.text(LEFT, top + 58, "q, k, v")
    for name, x in (("scores", SCORES), ("probabilities", PROBABILITIES)):
        yield svg.box(x, top + 8, SLOT, 36, cls="ac-empty")
        if panel.stored:
            yield svg.group(_tensor(name, top), when=LINE.since(_written(panel, name)))
            yield svg.text(x, top + 58, name)
        else:
            yield _centred(x + SLOT / 2, top + 30.5, "never written", "ac-quiet")
            yield svg.text(x, top + 58, name, cls="ac-quiet")
    outputs = list(panel.moves[-1].tensors)
    yield svg.group(*(_tensor(name, top) for name in outputs), when=LINE.since(_written(panel, "output")))
    yield svg.text(OUTPUT - 2, top + 58, ", ".join(outputs))


def _written(panel: Panel, tensor: str) -> int:
    return next(move.frame for move in panel.moves if move.way == WRITES and tensor in move.tensors)


# where the middle of each thin arrow is, and what it takes in HBM
THIN_ARROWS = {"q": LEFT, "k": LEFT + 8, "v": LEFT + 16, "output": OUTPUT, "lse": OUTPUT + 7}
SIZES = {
    "q": SHAPE.q_bytes,
    "k": SHAPE.kv_bytes,
    "v": SHAPE.kv_bytes,
    "scores": SHAPE.matrix_bytes,
    "probabilities": SHAPE.matrix_bytes,
    "output": SHAPE.q_bytes,
    "lse": SHAPE.row_bytes,
}


def breadth(n_bytes: int, whole: float = RIBBON) -> float:
    """How broad so many bytes are drawn, where the matrix of scores is `whole`."""
    return max(THIN, whole * n_bytes / SHAPE.matrix_bytes)


def _tensor(name: str, top: float) -> str:
    width = breadth(SIZES[name], SLOT)
    x = {"scores": SCORES, "probabilities": PROBABILITIES}.get(name)
    left = x if x is not None else THIN_ARROWS[name] - width / 2
    return svg.element("rect", cls="ac-area ac-attention", x=left, y=top + 8, width=width, height=36)


def _arrows(move: Move) -> Iterator[str]:
    (top, bottom), up = BUS, move.way == READS
    thin = {name: n_bytes for name, n_bytes in move.tensors.items() if name in THIN_ARROWS}
    for name, n_bytes in move.tensors.items():
        if name in thin:
            ends = [(THIN_ARROWS[name], y) for y in ((bottom - 2, top + 3) if up else (top + 2, bottom - 3))]
            yield svg.arrow(ends, cls="ac-line ac-attention")
            continue
        # written on the left of its slot, read on the right
        x = {"scores": SCORES, "probabilities": PROBABILITIES}[name] + (RIBBON + 4 if up else 0)
        width, head = breadth(n_bytes), 12
        tip, start = (top + 2, bottom) if up else (bottom - 2, top)
        back = tip + head if up else tip - head
        yield svg.path(
            f"M{x} {start}V{back}L{x + width / 2} {tip}L{x + width} {back}V{start}Z", cls="ac-area ac-attention"
        )
        for line, words in enumerate(text.gb(n_bytes, 3).split(text.NBSP)):
            yield _centred(x + width / 2, (top + bottom) / 2 - 2 + 15 * line, words, "ac-on ac-attention")
    if thin:
        yield _label(thin)


def _label(tensors: dict[str, int]) -> str:
    # v comes by itself in the third trip, below what came before
    x = max(THIN_ARROWS[name] for name in tensors)
    right = THIN_ARROWS["v"] if x < SCORES else THIN_ARROWS["lse"]
    y = BUS[0] + (66 if list(tensors) == ["v"] else 26)
    names, size = ", ".join(tensors), text.gb(sum(tensors.values()), 3)
    return svg.text(right + 6, y, names, cls="ac-attention ac-said") + svg.text(right + 6, y + 15, size)


def _meter(panel: Panel) -> Iterator[str]:
    # what has been moved so far, on one scale for both panels
    whole = moved_bytes(STANDARD.forward)
    yield svg.element("rect", cls="ac-box ac-empty", x=0, y=METER, width=WIDTH, height=14, rx=2)
    x, moved = 0.0, 0
    steps: list[tuple[int, int]] = [(0, 0)]
    for move in panel.moves:
        width = WIDTH * move.bytes / whole
        segment = svg.element("rect", cls="ac-area ac-attention", x=x, y=METER, width=width, height=14)
        yield svg.group(segment, when=LINE.since(move.frame))
        x, moved = x + width, moved + move.bytes
        steps.append((move.frame, moved))
    for (frame, so_far), (until, _) in zip(steps, [*steps[1:], (LAST + 1, 0)], strict=True):
        words = f"moved: {text.gb(so_far, 3)}" if so_far else "nothing moved yet"
        yield svg.text(0, METER + 32, words, cls="ac-strong", when=LINE.on(range(frame, until)))
