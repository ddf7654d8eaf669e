"""The chapters of the workshop as a row of small pictures, each drawn from the numbers of its chapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import log2
from typing import Any

from markupsafe import Markup

from actckpt.ops.attention import reference
from book.components.pictures import svg
from book.components.pictures.lessons import PICTURES
from book.components.pictures.scene import LAYOUTS, STACK, Scene, span
from book.components.pictures.tiles import grid
from book.components.template import render
from book.quantities import strategies
from book.quantities.grid import PARTS, parts_of
from book.quantities.halves import advantage
from book.quantities.steps import LENGTHS, MODEL, overhead, step

WIDTH, HEIGHT = 120, 64
N_TILES = 5


def row() -> Markup:
    """A link to each chapter, with its picture."""
    cards = [
        (f"workshop/{page}/", title, Markup(svg.element("svg", "".join(draw()), cls="ac-picture", **FRAME)))
        for page, (title, draw) in CHAPTERS.items()
    ]
    return render("chapters_row", cards=cards)


FRAME: dict[str, Any] = {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "aria_hidden": "true"}


def activations() -> Iterator[str]:
    """What one block keeps, by component."""
    block = step().block
    yield from _stacked({part: block.component_bytes(part) for part in STACK}, 18, 28)


def training_memory() -> Iterator[str]:
    """A step's peak, part by part."""
    yield from _stacked(parts_of(step()), 18, 28)


def _stacked(sizes: dict[str, int], y: float, height: float) -> Iterator[str]:
    yield svg.stacked(sizes.items(), y, height, WIDTH / sum(sizes.values()))


def recomputation() -> Iterator[str]:
    """Memory over a step: the staircase, and with checkpoints."""
    for policy, cls in (("none", "ac-without"), ("full", "ac-checkpoint")):
        scene = Scene(policy, LAYOUTS[0], span("full"))
        layout = scene.layout
        across, up = WIDTH / (layout.right - layout.left), (HEIGHT - 4) / (layout.bottom - layout.top)
        points = [((x - layout.left) * across, 2 + (y - layout.top) * up) for x, y in scene.outline()]
        yield svg.path(svg.polyline(points), cls=f"ac-line {cls}")


def memory_over_sequence_length() -> Iterator[str]:
    """The peak of a step, length by length."""
    columns = list(zip(*strategies.parts(MODEL, "flash", "none").values(), strict=True))
    scale, width = HEIGHT / sum(columns[-1]), WIDTH / len(columns)
    for index, column in enumerate(columns):
        y = float(HEIGHT)
        for part, n_bytes in zip(PARTS, column, strict=True):
            y -= scale * n_bytes
            place = {"x": index * width, "y": y, "width": 0.8 * width, "height": scale * n_bytes}
            yield svg.element("rect", cls=f"ac-area ac-{part}", **place)


def compute_cost() -> Iterator[str]:
    """What policies add, and a third."""
    for index, policy in enumerate(("ffn", "save_attention", "both", "full")):
        width = 3 * overhead(policy) * (WIDTH - 4)
        yield svg.element("rect", cls="ac-area ac-store", x=0, y=1 + 16 * index, width=width, height=12)
    yield svg.path(f"M{WIDTH - 4} 0V{HEIGHT}", cls="ac-line ac-without")


def attention_first() -> Iterator[str]:
    """What attention gives for a percent of FLOPs against the FFN, and where they are equal."""
    yield svg.path(f"M0 {HEIGHT / 2}H{WIDTH}", cls="ac-line ac-without")
    for attention in ("eager", "flash"):
        ratios = [log2(advantage(length, attention=attention)) for length in LENGTHS]
        points = [(index * WIDTH / (len(ratios) - 1), HEIGHT / 2 - 6 * ratio) for index, ratio in enumerate(ratios)]
        yield svg.path(svg.polyline(points), cls=f"ac-line ac-thick ac-attention{' ac-dots' * (attention == 'eager')}")


def flash_attention() -> Iterator[str]:
    """The tiles that are computed under a causal mask, and those that never are."""
    seq_len = N_TILES * reference.BLOCK_M
    yield from grid(seq_len, reference.BLOCK_M, reference.BLOCK_N, x=(WIDTH - HEIGHT) / 2, y=0, side=HEIGHT)


def takeaways() -> Iterator[str]:
    """A line to remember for each."""
    for index in range(len(PICTURES)):
        y = 5 + (HEIGHT - 10) * index / (len(PICTURES) - 1)
        yield svg.element("circle", cls="ac-dot", cx=8, cy=y, r=4)
        yield svg.path(f"M20 {y:g}H{WIDTH - 12 * (index % 3)}", cls="ac-line")


Drawing = Callable[[], Iterator[str]]
CHAPTERS: dict[str, tuple[str, Drawing]] = {
    "activations": ("What activations are", activations),
    "training-memory": ("Training memory", training_memory),
    "recomputation": ("Recomputation", recomputation),
    "memory-over-sequence-length": ("Memory over sequence length", memory_over_sequence_length),
    "compute-cost": ("Compute cost", compute_cost),
    "attention-first": ("Attention first?", attention_first),
    "flash-attention": ("Flash attention", flash_attention),
    "takeaways": ("Takeaways", takeaways),
}
"""By the name of its page: what a chapter is called, and what draws its picture."""
