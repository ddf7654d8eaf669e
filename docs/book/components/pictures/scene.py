"""A training step drawn: its passes from left to right, what each layer holds, and the sum of it underneath."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from markupsafe import Markup

from actckpt.formulas.timeline import Pass
from actckpt.hardware import GIB
from actckpt.terms import Ledger
from book.components.pictures import svg
from book.components.pictures.player import player
from book.components.pictures.svg import Timeline
from book.quantities import text
from book.quantities.passes import N_LAYERS, frame_of, passes, peak
from book.quantities.steps import LABEL, LONG

# the order in which a block's tensors are stacked, from below
STACK = ("checkpoint", "norm", "attention", "ffn")
# the head and the loss take no room in the picture, but a moment of time: a share of a block's forward pass
TURN = 0.7


@dataclass(frozen=True)
class Layout:
    """Where things stand, in units of the drawing: time from left to right, memory from the bottom to the top."""

    name: str
    width: float
    left: float
    right: float
    top: float
    bottom: float

    @property
    def wide(self) -> bool:
        """Whether there is room for words beside numbers."""
        return self.name == "wide"


LAYOUTS = (Layout("wide", 760, 50, 752, 136, 376), Layout("narrow", 360, 26, 356, 136, 346))
BOX_TOP, BOX_HEIGHT, CHECKPOINT_WIDTH = 72, 34, 6
# columns stand over one another by a hair, so that no ground shows between them
SEAM = 0.4
# an arrow that goes round
AGAIN = "M3.6-2.6A4.4 4.4 0 1 0 4.4 0.6M4.1-5.4V-2.3H1"


@dataclass(frozen=True)
class Scene:
    """One policy's passes on one layout.

    Attributes:
        policy: What is recomputed.
        layout: Where things stand.
        span: The FLOPs from the left end of the time axis to its right end.
    """

    policy: str
    layout: Layout
    span: float

    @property
    def line(self) -> Timeline:
        # one for each pass, and one before, between and after
        return Timeline(len(passes(self.policy)) + 3)

    def columns(self) -> list[tuple[Pass, float, float]]:
        """Each pass with the time in which it runs, from left to right."""
        runs = passes(self.policy)
        scale = (self.layout.right - self.layout.left) / self.span
        ends = list(accumulate((each.flops for each in runs), initial=0))
        turn = TURN * runs[0].flops
        columns = []
        for index, (each, (start, end)) in enumerate(zip(runs, pairwise(ends), strict=True)):
            shift = self.layout.left + (turn * scale if index >= N_LAYERS else 0)
            columns.append((each, shift + start * scale, shift + end * scale))
        return columns

    def y(self, n_bytes: float) -> float:
        """The height at which so many bytes stand."""
        room = self.layout.bottom - self.layout.top
        return self.layout.bottom - room * n_bytes / (1.04 * peak("none").bytes)

    def outline(self) -> list[tuple[float, float]]:
        """The curve of what is held: a step for each pass."""
        points = [(self.layout.left, self.y(0))]
        for each, start, end in self.columns():
            points += [(start, points[-1][1]), (start, self.y(each.bytes)), (end, self.y(each.bytes))]
        return [*points, (points[-1][0], self.y(0))]


def span(policy: str) -> float:
    """The FLOPs of all passes, and the moment of the loss."""
    runs = passes(policy)
    return sum(each.flops for each in runs) + TURN * runs[0].flops


def picture(policy: str, verbs: dict[str, str], over: Callable[[Scene], str] = lambda _: "", **words: Any) -> Markup:
    """The player of a policy.

    Args:
        policy: "none" or "full".
        verbs: What each kind of pass does, in a few words.
        over: What else is drawn over the chart.
        words: What else `player` takes.
    """
    return player(
        drawing="".join(_drawing(Scene(policy, layout, span(policy)), verbs, over) for layout in LAYOUTS),
        made_by=f'actckpt.formulas.timeline.timeline(…, seq_len={LONG}, policy=POLICIES["{policy}"])',
        assumes=f"Llama accounting with flash attention, {N_LAYERS} of the blocks of {LABEL}, "
        f"{LONG:,} tokens, bfloat16. Only the blocks: no logits, no training states.",
        test="test_pictures::test_the_curve_of_a_step",
        **words,
    )


def _drawing(scene: Scene, verbs: dict[str, str], over: Callable[[Scene], str]) -> str:
    layout, chart = scene.layout, [*_axes(scene), *_held(scene), *_peak(scene), over(scene)]
    drawn = [*_words(scene, verbs), *_boxes(scene), *chart, *_key(scene)]
    return svg.svg(layout.width, layout.bottom + (48 if layout.wide else 66), *drawn, layout=layout.name)


def _words(scene: Scene, verbs: dict[str, str]) -> list[str]:
    # the line above the picture: what runs, and how much is alive
    layout, line, runs = scene.layout, scene.line, passes(scene.policy)
    said = [("Before the step", "nothing has run", 0)]
    said += [(f"{each.action.capitalize()}, layer {each.layer + 1}", verbs[each.action], each.bytes) for each in runs]
    said.insert(N_LAYERS + 1, ("The loss", "from here on backward", runs[N_LAYERS - 1].bytes))
    said.append(("The whole step", "at its peak", peak(scene.policy).bytes))
    return [
        svg.group(
            svg.text(layout.left, 17, what, cls="ac-strong"),
            svg.text(layout.left, 35, how, cls="ac-quiet"),
            svg.text(layout.right, 26, text.size(n_bytes), cls="ac-large", text_anchor="end"),
            when=line.on(frame),
        )
        for frame, (what, how, n_bytes) in enumerate(said)
    ]


def _boxes(scene: Scene) -> Iterator[str]:
    columns = scene.columns()
    for words, (_, start, _) in (("forward", columns[0]), ("backward", columns[N_LAYERS])):
        yield svg.text(start, BOX_TOP - 9, words, cls="ac-quiet")
    for index, (each, start, end) in enumerate(columns):
        x, width, frame = start + 1.5, end - start - 3, frame_of(index)
        place = (x, BOX_TOP, width, BOX_HEIGHT)
        yield svg.box(*place, cls="ac-empty")
        yield from _inside(scene, each, index, x, width)
        yield svg.rect(*place, cls="ac-ran", rx=3, when=scene.line.since(frame + 1))
        yield svg.rect(*place, cls="ac-now", rx=3, when=scene.line.on(frame))
        middle, below = x + width / 2, BOX_TOP + BOX_HEIGHT + 15
        if each.action == "recompute":
            yield svg.moved(middle, below - 4.5, svg.path(AGAIN, cls="ac-line ac-again"))
        else:
            yield svg.text(middle, below, str(each.layer + 1), text_anchor="middle")


def _inside(scene: Scene, each: Pass, index: int, x: float, width: float) -> list[str]:
    # what a layer holds, from the pass that computes it to the pass that frees it; then a trace of it
    line, runs, frame = scene.line, passes(scene.policy), frame_of(index)
    ends = max(frame_of(at) for at, other in enumerate(runs) if other.layer == each.layer)
    holds, checkpoints = each.kept[each.layer], each.action == "forward" and scene.policy != "none"
    kept_width = CHECKPOINT_WIDTH if checkpoints else width
    ends += each.action != "forward"
    drawn = [
        svg.group(_bands(holds, x, kept_width), cls="ac-trace", when=line.since(ends)),
        svg.group(_bands(holds, x, kept_width), when=line.on(range(frame, ends))),
    ]
    if checkpoints:
        # everything is there for the moment in which it is computed
        twin = next(other for other in runs if (other.action, other.layer) == ("backward", each.layer))
        everything = _bands(twin.kept[each.layer], x, width)
        drawn.insert(1, svg.group(everything, when=line.on(frame)))
    return drawn


def _bands(ledger: Ledger[int], x: float, width: float) -> str:
    # a box filled with what a layer holds, its height shared as the bytes are
    top, bands = float(BOX_TOP + BOX_HEIGHT), []
    for component, n_bytes in _stack(ledger):
        height = BOX_HEIGHT * n_bytes / int(ledger.bytes)
        top -= height
        bands.append(_area(component, x, top, width, height))
    return "".join(bands)


def _area(component: str, x: float, y: float, width: float, height: float) -> str:
    return svg.rect(x, y, width, height, cls=f"ac-area ac-{component}")


def _stack(ledger: Ledger[int]) -> list[tuple[str, int]]:
    sizes = [(component, int(ledger.component_bytes(component))) for component in STACK]
    return [(component, n_bytes) for component, n_bytes in sizes if n_bytes]


def _axes(scene: Scene) -> Iterator[str]:
    layout = scene.layout
    for gib in ticks(peak("none").bytes):
        y = scene.y(gib * GIB)
        yield svg.path(f"M{layout.left} {y:.1f}H{layout.right}", cls="ac-grid")
        label = f"{gib} GiB" if layout.wide else str(gib)
        yield svg.text(layout.left - 6, y + 4, label, cls="ac-quiet", text_anchor="end")
    if not layout.wide:
        yield svg.text(0, layout.top - 2, "GiB", cls="ac-quiet")
    yield svg.text(layout.left, layout.bottom + 18, "time, by the FLOPs of a pass", cls="ac-quiet")


def ticks(n_bytes: int) -> list[int]:
    """Whole GiB at which an axis up to `n_bytes` has its marks."""
    step = max(1, round(n_bytes / GIB / 4))
    return list(range(0, int(n_bytes / GIB) + 1, step))


def _held(scene: Scene) -> Iterator[str]:
    line, outline, columns = scene.line, scene.outline(), scene.columns()
    for index, (each, start, end) in enumerate(columns):
        # what the last forward pass left stands while the loss is computed
        end = columns[N_LAYERS][1] if index == N_LAYERS - 1 else end
        rise = [*outline[1 + 3 * index : 3 + 3 * index], (end, scene.y(each.bytes))]
        curve = svg.path(svg.polyline(rise), cls="ac-line ac-ink")
        yield svg.group(*_column(scene, each, start, end + SEAM), cls="ac-sweeps", when=line.since(frame_of(index)))
        yield svg.group(curve, when=line.since(frame_of(index)))
        yield svg.element("circle", cls="ac-dot", cx=end, cy=scene.y(each.bytes), r=4, when=line.on(frame_of(index)))
    yield svg.path(svg.polyline(outline[-2:]), cls="ac-line ac-ink", when=line.since(line.n_frames - 1))


def _column(scene: Scene, each: Pass, start: float, end: float) -> list[str]:
    bands, below = [], 0
    for layer, ledger in enumerate(each.kept):
        if layer:
            bands.append(svg.path(f"M{start:.1f} {scene.y(below):.1f}H{end:.1f}", cls="ac-seam"))
        for component, n_bytes in _stack(ledger):
            top = scene.y(below + n_bytes)
            height = scene.y(below) - top
            bands.insert(0, _area(component, start, top, end - start, height))
            if component == "ffn" and layer == each.layer and (each.action != "backward" or scene.policy == "none"):
                words = f"layer {layer + 1}" if scene.layout.wide and end - start > 50 else str(layer + 1)
                middle = (start + end) / 2
                bands.append(svg.text(middle, top + height / 2 + 4.5, words, cls="ac-on", text_anchor="middle"))
            below += n_bytes
    if each.working_bytes:
        top = scene.y(each.bytes)
        height = scene.y(below) - top
        bands.append(svg.rect(start, top, end - start, height, cls="ac-working-area"))
    return bands


def _peak(scene: Scene) -> list[str]:
    highest = peak(scene.policy)
    index, (_, start, end) = next(
        (index, column) for index, column in enumerate(scene.columns()) if column[0] is highest
    )
    words, y = f"peak {text.size(highest.bytes)}", scene.y(highest.bytes)
    when = scene.line.since(frame_of(index))
    if scene.policy == "none":
        return [svg.text(end + 8, y + 9, words, cls="ac-strong", when=when)]
    level = svg.path(f"M{start:.1f} {y:.1f}H{scene.layout.right}", cls="ac-line ac-level")
    return [svg.group(level, svg.text(scene.layout.right, y - 7, words, cls="ac-strong", text_anchor="end"), when=when)]


def _key(scene: Scene) -> Iterator[str]:
    shown = {name for each in passes(scene.policy) for ledger in each.kept for name, _ in _stack(ledger)}
    layout = scene.layout
    x, y = layout.left, layout.bottom + 32
    for name in (*(name for name in STACK if name in shown), "working"):
        label = text.LABELS[name]
        room = 30 + svg.width_of(label)
        if x + room > layout.width:
            x, y = layout.left, y + 19
        cls = "ac-working-area" if name == "working" else f"ac-box ac-{name}"
        yield svg.rect(x, y, 9, 9, cls=cls, rx=1.5)
        yield svg.text(x + 14, y + 9, label)
        x += room
    if scene.policy != "none":
        yield svg.moved(x + 5, y + 4.5, svg.path(AGAIN, cls="ac-line ac-again"))
        yield svg.text(x + 15, y + 9, "recomputed")
