"""A checkpoint as the save point of a game: a level above, a block below, and what the one has to do with the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from markupsafe import Markup

from book.components.pictures import svg
from book.components.pictures.player import player
from book.components.pictures.scene import AGAIN
from book.components.pictures.svg import Timeline, When
from book.quantities import text
from book.quantities.block_map import everything
from book.quantities.steps import LONG, MODEL, block, overhead

POLICY = "full"
SAVED, HALFWAY, DONE, FORGOTTEN, LOADED, REPLAYED, SUMMARY = range(7)
LINE = Timeline(7)
SAVE_POINT = ("input",)
# the rest of the block, in the order of its forward pass: what a piece is called, its tensors, how high its platform is
PIECES = (
    ("norm", ("norm_1.output", "norm_1.rstd"), 8),
    ("q, k, v", ("v_proj", "rope.q", "rope.k"), 26),
    ("output", ("attention.output", "attention.lse"), 42),
    ("residual", ("residual",), 20),
    ("norm", ("norm_2.output", "norm_2.rstd"), 6),
    ("gate, up", ("gate_proj", "up_proj"), 24),
    ("product", ("swiglu.product",), 12),
)
HALF = 4
GROUND, TENSORS, HEIGHT = 136, 230, 46
# the figure that plays, standing at 0, 0
HERO = "M-5.5 0V-11a5.5 5.5 0 0 1 11 0V0h-4v-5h-3v5zM-4.2-21.5a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0-8.4 0z"


@dataclass(frozen=True)
class Layout:
    """How wide everything is, in units of the drawing."""

    name: str
    width: float
    gap: float


LAYOUTS = (Layout("wide", 760, 6), Layout("narrow", 360, 3))


def picture() -> Markup:
    """The player."""
    return player(
        name="save-point",
        title=f"A checkpoint is a save point: {text.size(block(POLICY))} kept, the rest played again",
        description="Two lanes over one another. Above, a level of a game: a flag where it was saved, platforms with "
        "something to pick up on each, and the flag of the next level. Below, a transformer block: its input under the "
        "flag, and under each platform a tensor that the block computes, as wide as its bytes. What is picked up above "
        "is computed below; what is forgotten above is discarded below; loading and playing again is recomputation.",
        frames=sentences(),
        drawing="".join(_drawing(layout) for layout in LAYOUTS),
        caption="Each platform is as wide as the tensor below it, by its bytes: the norm's output; q, k, v; the "
        "output of attention; the residual stream; the second norm's output; gate and up; their product.",
        made_by=f'actckpt.estimate("{MODEL}", seq_len={LONG}, policy="{POLICY}")',
        assumes=f"Llama accounting with flash attention, one block of {text.model_label(MODEL)}, {LONG:,} tokens, "
        "batch size 1, bfloat16.",
        test="test_pictures::test_the_level_is_the_block",
    )


def sentences() -> list[str]:
    """What each frame shows."""
    whole, saved = block(), block(POLICY)
    return [
        "A level begins, and the game saves: where you are and what you carry. For a block that is its input, one "
        f"hidden state of {text.size(saved)}.",
        "You play, and pick something up on every platform. The block computes: a norm, q, k and v, attention. Each of "
        "these tensors will be needed in the backward pass.",
        f"The level is done. To keep everything from it would take {text.size(whole)}, the save point included.",
        "The next level has a save point of its own, so the game forgets this one. The block passes its output on and "
        f"discards {text.size(whole - saved)}.",
        "Later the backward pass comes to this block and asks for what was picked up. Nobody has it. Load the save "
        "point.",
        "Play the level again. The start is the same, the moves are the same, and so are the dice, because PyTorch "
        "restores the random state: every tensor comes back to the bit. The replay ends with the last one that is "
        "missing, before the exit.",
        f"So a block keeps {text.size(saved)} instead of {text.size(whole)}, and the price is the time of the replay: "
        f"{text.percent(overhead(POLICY))} more FLOPs in a training step.",
    ]


def bytes_of(tensors: Sequence[str]) -> int:
    """What some tensors of the block take together."""
    return sum(int(everything()[name].bytes) for name in tensors)


def places(layout: Layout) -> list[tuple[float, float]]:
    """Left end and width of the save point, of every piece, and of the next save point."""
    sizes = [bytes_of(tensors) for tensors in (SAVE_POINT, *(tensors for _, tensors, _ in PIECES), SAVE_POINT)]
    room = layout.width - 2 - layout.gap * (len(sizes) - 1)
    widths = [room * n_bytes / sum(sizes) for n_bytes in sizes]
    lefts = accumulate(widths[:-1], lambda left, width: left + width + layout.gap, initial=1.0)
    return list(zip(lefts, widths, strict=True))


def picked_up(index: int) -> When:
    """When a piece of the level is in the player's hands, and its tensor in memory."""
    return LINE.on(*([HALFWAY] if index < HALF else []), DONE, REPLAYED)


def _drawing(layout: Layout) -> str:
    return svg.svg(
        layout.width,
        TENSORS + HEIGHT + 42,
        *_level(layout),
        *_links(layout),
        *_block(layout),
        layout=layout.name,
    )


def _level(layout: Layout) -> Iterator[str]:
    first, *pieces, last = places(layout)
    yield svg.text(0, 14, "In a game", cls="ac-strong")
    said = ("saved", "playing", "level done", "on to the next level", "load", "play again", "save point and replay")
    yield from _said(layout, 14, said)
    yield svg.path(f"M0 {GROUND}H{layout.width}", cls="ac-line")
    for index, ((x, width), (_, tensors, height)) in enumerate(zip(pieces, PIECES, strict=True)):
        top = GROUND - height
        yield svg.box(x, top, width, height, rx=0)
        coin: dict[str, Any] = {"cx": x + width / 2, "cy": top - 11, "r": 4.5}
        component = everything()[tensors[0]].component
        yield svg.element("circle", cls="ac-box ac-empty", **coin)
        shown = set(range(LINE.n_frames)) - picked_up(index).frames
        yield svg.element("circle", cls=f"ac-box ac-{component}", **coin, when=LINE.on(*shown))
    yield _flag(first, LINE.on(range(LINE.n_frames)))
    yield _flag(last, LINE.since(FORGOTTEN))
    # where the player stands, frame by frame
    stands = {SAVED: first, HALFWAY: pieces[HALF - 1], DONE: pieces[-1], FORGOTTEN: last, LOADED: first}
    stands |= {REPLAYED: pieces[-1], SUMMARY: first}
    for frame, (x, width) in stands.items():
        height = next((piece[2] for piece, place in zip(PIECES, pieces, strict=True) if place == (x, width)), 0)
        at = x + width / 2 + (5 if height == 0 else 0)
        yield svg.moved(at, GROUND - height, svg.path(HERO, cls="ac-area ac-ink"), when=LINE.on(frame))
    start, end = first[0] + first[1] / 2, last[0] + last[1] / 2
    back = f"M{end} 62C{end - 30} 26 {start + 30} 26 {start + 3} 58"
    head = f"M{start} 50L{start + 2} 60L{start + 11} 56"
    yield svg.group(svg.path(back + head, cls="ac-line ac-checkpoint"), when=LINE.on(LOADED))
    # the replay ends on the last platform, before the exit
    middle, stop = (start + end) / 2, pieces[-1][0] + pieces[-1][1] / 2
    line = svg.path(f"M{start + 14} 58C{start + 60} 34 {stop - 60} 34 {stop - 3} 74", cls="ac-line ac-ink ac-dashed")
    head = svg.path(f"M{stop - 13} 71L{stop - 2} 75L{stop - 1} 63", cls="ac-line ac-ink")
    words = svg.text(middle, 35, "replay", text_anchor="middle")
    icon = svg.moved(middle - 30, 31, svg.path(AGAIN, cls="ac-line ac-ink"))
    yield svg.group(line, head, words, icon, when=LINE.on(REPLAYED, SUMMARY))
    yield svg.text(0, GROUND - 56, "save point", cls="ac-checkpoint ac-said")


def _flag(place: tuple[float, float], when: When) -> str:
    x = place[0] + place[1] / 2 - 5
    pole = svg.path(f"M{x} {GROUND}V{GROUND - 48}", cls="ac-line ac-checkpoint")
    cloth = svg.path(f"M{x} {GROUND - 48}l15 6.5l-15 6.5z", cls="ac-box ac-checkpoint")
    return svg.group(pole, cloth, when=when)


def _links(layout: Layout) -> Iterator[str]:
    # what stands for what: the save point for the checkpoint, the level for what is computed again
    (x, width), *pieces, last = places(layout)
    start, end, y = pieces[0][0], pieces[-1][0] + pieces[-1][1], (GROUND + TENSORS) / 2 - 8
    wide = layout.name == "wide"
    yield svg.path(f"M{x + width / 2} {GROUND + 6}V{TENSORS - 6}", cls="ac-line ac-checkpoint ac-dashed")
    yield svg.path(f"M{last[0] + last[1] / 2} {GROUND + 6}V{TENSORS - 6}", cls="ac-line ac-checkpoint ac-dashed")
    yield svg.path(f"M{start} {GROUND + 6}v8H{end}v-8", cls="ac-line")
    yield svg.path(f"M{start} {TENSORS - 6}v-8H{end}v8", cls="ac-line")
    above = "the level: forgotten, then played again" if wide else "the level, played again"
    below = "the activations: discarded, then recomputed" if wide else "the activations, recomputed"
    for line, words in enumerate((above, below)):
        yield svg.text((start + end) / 2, y + 4 + 18 * line, words, text_anchor="middle")


def _block(layout: Layout) -> Iterator[str]:
    first, *pieces, last = places(layout)
    bottom = TENSORS + HEIGHT
    said = (
        "input kept",
        "forward",
        "forward done",
        "discarded",
        "backward begins",
        "forward again",
        "kept and recomputed",
    )
    yield svg.text(0, bottom + 36, "In a block", cls="ac-strong")
    yield from _said(layout, bottom + 36, said)
    yield _tensor(first, "checkpoint")
    yield svg.text(0, bottom + 16, f"checkpoint {text.size(block(POLICY))}", cls="ac-checkpoint ac-said")
    yield svg.box(last[0], TENSORS, last[1], HEIGHT, cls="ac-empty ac-checkpoint")
    yield svg.group(_tensor(last, "checkpoint"), when=LINE.since(FORGOTTEN))
    for index, (place, (name, tensors, _)) in enumerate(zip(pieces, PIECES, strict=True)):
        component = everything()[tensors[0]].component
        x, width = place
        yield svg.box(x, TENSORS, width, HEIGHT, cls=f"ac-empty ac-{component}")
        yield svg.group(_tensor(place, component), cls="ac-trace", when=LINE.on(SUMMARY))
        yield svg.group(_tensor(place, component), when=picked_up(index))
        if svg.width_of(name) + 8 < width:
            middle = x + width / 2
            label: dict[str, Any] = {"x": middle, "y": TENSORS + HEIGHT / 2 + 4.5, "text_anchor": "middle"}
            empty = set(range(LINE.n_frames)) - picked_up(index).frames
            yield svg.text(words=name, cls="ac-quiet", **label, when=LINE.on(*empty))
            yield svg.text(words=name, cls=f"ac-on ac-{component}", **label, when=picked_up(index))
    rest = f"everything else {text.size(block() - block(POLICY))}"
    yield svg.text(pieces[-1][0] + pieces[-1][1], bottom + 16, rest, text_anchor="end")


def _tensor(place: tuple[float, float], component: str) -> str:
    return svg.box(place[0], TENSORS, place[1], HEIGHT, cls=f"ac-{component}")


def _said(layout: Layout, y: float, words: Sequence[str]) -> Iterator[str]:
    # what the lane does, at its right end
    for frame, said in enumerate(words):
        yield svg.text(layout.width, y, said, cls="ac-quiet", text_anchor="end", when=LINE.on(frame))
