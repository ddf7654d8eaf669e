"""A small picture for each of the workshop's six takeaways: what is to be remembered of it, at a glance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import log2

from markupsafe import Markup

from actckpt.hardware import GIB
from book.components.pictures import svg
from book.components.pictures.player import named
from book.components.pictures.scene import AGAIN, STACK
from book.quantities import text
from book.quantities.costs import backward_share
from book.quantities.halves import advantage, parity
from book.quantities.steps import LENGTHS, LONG, kept, overhead, overtaken, states, step

WIDTH, HEIGHT = 300, 182
EAGER = {"attention": "eager"}
Point = tuple[float, float]


@dataclass(frozen=True)
class Axes:
    """What the ends of a plot stand for.

    Attributes:
        x: Left and right.
        y: Bottom and top.
    """

    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> Point:
        """Where a point is drawn."""
        left, right, bottom, top = 4, WIDTH - 4, HEIGHT - 22, 20
        return (
            left + (right - left) * (x - self.x[0]) / (self.x[1] - self.x[0]),
            bottom + (top - bottom) * (y - self.y[0]) / (self.y[1] - self.y[0]),
        )

    def line(self, points: Sequence[Point], cls: str) -> str:
        """A line through some points."""
        return svg.path(svg.polyline([self.at(*point) for point in points]), cls=f"ac-line ac-thick {cls}")

    def ground(self, what: str, first: str, last: str) -> str:
        """The axis below, with what its ends are called, and above what the plot shows."""
        (left, y), (right, _) = self.at(self.x[0], self.y[0]), self.at(self.x[1], self.y[0])
        return "".join(
            (
                svg.text(left, 12, what, cls="ac-quiet"),
                svg.path(f"M{left} {y}H{right}", cls="ac-line"),
                svg.text(left, y + 16, first, cls="ac-quiet"),
                svg.text(right, y + 16, last, cls="ac-quiet", text_anchor="end"),
            )
        )


# tokens and GiB; octaves of tokens and powers of two of a ratio; octaves of tokens and percent
OVERTAKING = Axes((0, 2 * LONG), (0, 200))
ADVANTAGE = Axes((log2(LENGTHS[0]), log2(LENGTHS[-1])), (-5, 5.5))
COST = Axes((log2(LENGTHS[0]), log2(LENGTHS[-1])), (0, 26))


def activations_dominate() -> Iterator[str]:
    """The states stay, and activations pass them: early with eager attention, late with flash attention."""
    level = states() / GIB
    yield OVERTAKING.ground("activations and states", "tokens in a batch", text.tokens(2 * LONG))
    yield OVERTAKING.line([(0, level), (2 * LONG, level)], "ac-parameters")
    yield _said(OVERTAKING.at(LONG, level), f"states {text.gib(states())}", "", -9)
    for how, cls, name, down, anchor in ((EAGER, "ac-dots", "eager", 20, "start"), ({}, "", "flash", 46, "end")):
        lengths = [length for length in range(0, 2 * LONG + 1, 256) if _kept(length, how) < OVERTAKING.y[1] * GIB]
        yield OVERTAKING.line([(length, _kept(length, how) / GIB) for length in lengths], f"ac-ink {cls}")
        x, y = OVERTAKING.at(overtaken(**how), level)
        yield svg.element("circle", cls="ac-dot", cx=x, cy=y, r=4)
        yield _said((x, y), f"{name}: from {overtaken(**how):,}", "", down, anchor)


def _kept(length: int, how: dict[str, str]) -> int:
    return kept(seq_len=length, **how) if length else 0


def attention_first() -> Iterator[str]:
    """What attention gives for a percent against the FFN: ever more if eager, ever less with flash attention."""
    lengths = [log2(length) for length in LENGTHS]
    yield ADVANTAGE.ground(
        "bytes for a percent: attention ÷ FFN", text.tokens(LENGTHS[0]), f"{text.tokens(LENGTHS[-1])} tokens"
    )
    (left, y), (right, _) = ADVANTAGE.at(lengths[0], 0), ADVANTAGE.at(lengths[-1], 0)
    yield svg.path(f"M{left} {y}H{right}", cls="ac-line ac-without")
    for how, cls in ((EAGER, "ac-dots"), ({}, "")):
        ratios = [log2(advantage(length, **how)) for length in LENGTHS]
        yield ADVANTAGE.line(list(zip(lengths, ratios, strict=True)), f"ac-attention {cls}")
    x, _ = ADVANTAGE.at(log2(parity()), 0)
    yield svg.element("circle", cls="ac-dot", cx=x, cy=y, r=4)
    yield _said((right, y), "eager: attention first", "ac-attention", -36, "end")
    yield _said((right, y), f"flash: FFN first, from {parity():,} tokens", "ac-ffn", -9, "end")


def ffn_is_expensive() -> Iterator[str]:
    """The FLOPs that recomputing either half adds, with flash attention."""
    lengths = [log2(length) for length in LENGTHS]
    yield COST.ground("more FLOPs to recompute a half", text.tokens(LENGTHS[0]), f"{text.tokens(LENGTHS[-1])} tokens")
    for half, cls, name, first, last in (
        ("ffn", "ac-ffn", "FFN", -9, 17),
        ("attention", "ac-attention", "attention", 17, -9),
    ):
        costs = [overhead(half, seq_len=length) for length in LENGTHS]
        yield COST.line([(x, 100 * cost) for x, cost in zip(lengths, costs, strict=True)], cls)
        yield _said(COST.at(lengths[0], 100 * costs[0]), f"{name} {text.percent(costs[0])}", cls, first)
        yield _said(COST.at(lengths[-1], 100 * costs[-1]), text.percent(costs[-1]), cls, last, "end")


def at_most_a_third() -> Iterator[str]:
    """The FLOPs that policies add, and a third."""
    policies = ("pointwise", "ffn", "save_attention", "both", "full")
    left, room = 104.0, WIDTH - 162.0
    end = left + room
    yield svg.text(left, 12, "more FLOPs in a step", cls="ac-quiet")
    for index, policy in enumerate(policies):
        y, cost = 24 + 26 * index, overhead(policy)
        yield svg.text(left - 8, y + 14, policy, text_anchor="end")
        yield svg.element("rect", cls="ac-area ac-store", x=left, y=y, width=3 * cost * room, height=20)
        yield svg.text(WIDTH, y + 14, text.percent(cost), text_anchor="end")
    yield svg.path(f"M{end} 18V{HEIGHT - 22}", cls="ac-line ac-without")
    yield svg.text(end, HEIGHT - 6, "a third", cls="ac-quiet", text_anchor="middle")
    yield svg.path(f"M{left} 18V{HEIGHT - 22}", cls="ac-line")


def flash_is_checkpointing() -> Iterator[str]:
    """The matmuls of an attention op forward and backward; the one that runs again is drawn as such."""
    forward, plain, flash = (round(2 * share) for share in (1, backward_share("eager"), backward_share()))
    for y, name, n_matmuls in ((26, "forward", forward), (86, "backward", plain)):
        yield svg.text(0, y - 8, name, cls="ac-quiet")
        for index in range(n_matmuls):
            yield svg.box(index * 40, y, 34, 34, cls="ac-attention")
    for index in range(plain, flash):
        yield svg.box(index * 40 + 8, 86, 34, 34, cls="ac-empty ac-attention")
        yield svg.moved(index * 40 + 25, 103, svg.path(AGAIN, cls="ac-line ac-ink"))
    yield svg.text(forward * 40 + 4, 47, f"{forward} matmuls, no scores kept")
    yield svg.text(0, 140, f"{plain} for the gradients, and {flash - plain} to compute the scores again")


def they_compose() -> Iterator[str]:
    """What all blocks keep: eager attention, flash attention, and the FFN half recomputed on top."""
    rows = (
        ("eager attention", step(**EAGER)),
        ("flash attention", step()),
        ("flash attention, FFN half recomputed", step("ffn")),
    )
    per_byte = WIDTH / rows[0][1].total_bytes
    for index, (name, each) in enumerate(rows):
        y, x = 16 + 52 * index, 0.0
        yield svg.text(0, y, name, cls="ac-quiet")
        for part in STACK:
            width = per_byte * each.by_component()[part]
            yield svg.element("rect", cls=f"ac-area ac-{part}", x=x, y=y + 7, width=width, height=22)
            x += width
        words = text.gib(each.total_bytes)
        inside = x > WIDTH / 2
        yield svg.text(8 if inside else x + 8, y + 23, words, cls="ac-on ac-attention" if inside else "ac-strong")


def _said(place: Point, words: str, cls: str, down: float, anchor: str = "start") -> str:
    return svg.text(place[0], place[1] + down, words, cls=f"ac-said {cls}".strip(), text_anchor=anchor)


PICTURES: dict[str, tuple[Callable[[], Iterator[str]], str, str]] = {
    "activations-dominate": (
        activations_dominate,
        "Where activations overtake the states",
        "Memory over the tokens of a batch. The training states are a level line. Activations rise from zero and pass "
        "it: steeply with eager attention, late with flash attention.",
    ),
    "attention-first": (
        attention_first,
        "Where the order of the halves turns round",
        "What a percent of FLOPs saves in the attention half, over what it saves in the FFN half, from short to long "
        "sequences. With eager attention the line rises, above parity; with flash attention it falls below parity.",
    ),
    "ffn-is-expensive": (
        ffn_is_expensive,
        "What recomputing a half costs",
        "The FLOPs that recomputing a half adds, from short to long sequences. The line of the FFN falls, that of "
        "attention rises, and they cross.",
    ),
    "at-most-a-third": (
        at_most_a_third,
        "What five policies cost",
        "A bar for each of five policies: the FLOPs that it adds. All end before a line at one third.",
    ),
    "flash-is-checkpointing": (
        flash_is_checkpointing,
        "The matmuls of flash attention",
        "Two boxes, the matmuls of the forward pass; below them four boxes for the gradients and a dashed one with an "
        "arrow that goes round: the scores, computed again.",
    ),
    "they-compose": (
        they_compose,
        "What all blocks keep",
        "Three bars, part by part: what the blocks keep with eager attention, with flash attention, and with the FFN "
        "half recomputed as well. Each is far shorter than the one before.",
    ),
}
"""By the anchor of its takeaway: what draws a picture, its title, and what it shows in words."""


def picture(anchor: str) -> Markup:
    """The small picture of a takeaway."""
    draw, title, description = PICTURES[anchor]
    return named(svg.svg(WIDTH, HEIGHT, *draw()), anchor, title, description)
