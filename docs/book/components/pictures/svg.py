"""SVG as text: a handful of elements, and when in a player each of them is shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class When:
    """The frames of a player in which an element is shown.

    Attributes:
        frames: The frames, counted from 0.
        still: Whether the frame that stands without a script is one of them.
    """

    frames: frozenset[int]
    still: bool

    @property
    def attribute(self) -> str:
        """The frames as ranges: "2-5 7"."""
        frames = sorted(self.frames)
        starts = [frame for frame in frames if frame - 1 not in self.frames]
        ends = [frame for frame in frames if frame + 1 not in self.frames]
        return " ".join(
            str(first) if first == last else f"{first}-{last}" for first, last in zip(starts, ends, strict=True)
        )


@dataclass(frozen=True)
class Timeline:
    """The frames of a player, for saying when something is shown.

    Attributes:
        n_frames: How many there are.
        still: The frame that stands without a script, in print and before anything is pressed; the last if None.
    """

    n_frames: int
    still: int | None = None

    def on(self, *frames: int | range) -> When:
        """Shown in these frames: `on(2, range(4, 8))`. A range past the end ends with the last frame."""
        asked = {frame for entry in frames for frame in ([entry] if isinstance(entry, int) else entry)}
        shown = frozenset(asked & set(range(self.n_frames)))
        return When(shown, (self.n_frames - 1 if self.still is None else self.still) in shown)

    def since(self, frame: int) -> When:
        """Shown from this frame to the last."""
        return self.on(range(frame, self.n_frames))

    def before(self, frame: int) -> When:
        """Shown until the frame before this one."""
        return self.on(range(frame))


def element(tag: str, content: str = "", *, cls: str = "", when: When | None = None, **attributes: object) -> str:
    """An element; `stroke_width=2` is stroke-width="2", and an attribute that is None is left out."""
    classes = " ".join(name for name in (cls, "is-off" if when and not when.still else "") if name)
    values = {"class": classes or None, "data-on": when.attribute if when else None, **attributes}
    written = "".join(
        f' {name.replace("_", "-")}="{_value(value)}"' for name, value in values.items() if value is not None
    )
    return f"<{tag}{written}>{content}</{tag}>"


def svg(width: float, height: float, *content: str, layout: str = "") -> str:
    """A drawing; where a player has two, one has the layout "wide" and the other "narrow", 360 units on a phone.

    `player` adds the title and the description.
    """
    cls = f"ac-picture ac-picture--{layout}" if layout else "ac-picture"
    return element("svg", "".join(content), cls=cls, viewBox=f"0 0 {width:g} {height:g}")


def group(*content: str, cls: str = "", when: When | None = None, **attributes: object) -> str:
    """Elements that are shown together."""
    return element("g", "".join(content), cls=cls, when=when, **attributes)


def moved(x: float, y: float, *content: str, cls: str = "", when: When | None = None) -> str:
    """Elements that stand `x` to the right and `y` further down."""
    # the outer group is moved by attribute, so that the inner one is free for a transform of the style sheet
    return group(group(*content, cls=cls, when=when), transform=f"translate({_value(x)} {_value(y)})")


def rect(x: float, y: float, width: float, height: float, **how: Any) -> str:
    """A rectangle, with what else `element` takes."""
    return element("rect", **{"x": x, "y": y, "width": width, "height": height, **how})


def box(x: float, y: float, width: float, height: float, *, cls: str = "", name: str = "", **how: Any) -> str:
    """A rectangle that stands for something, with its name in the middle.

    A component's class, such as `ac-ffn`, gives it that component's colours.
    """
    drawn = rect(x, y, width, height, cls=f"ac-box {cls}".strip(), **{"rx": 3, **how})
    if not name:
        return drawn
    words = f"ac-on {cls}" if cls else "ac-quiet"
    return drawn + text(x + width / 2, y + height / 2 + 4.5, name, cls=words, text_anchor="middle")


def stacked(parts: Iterable[tuple[str, float]], y: float, height: float, scale: float) -> str:
    """A bar of pieces side by side: of a component and a size each, with so many units of the drawing for a size."""
    drawn, x = [], 0.0
    for part, size in parts:
        drawn.append(rect(x, y, scale * size, height, cls=f"ac-box ac-{part}"))
        x += scale * size
    return "".join(drawn)


def path(d: str, *, cls: str = "ac-line", when: When | None = None, **more: Any) -> str:
    """A line or an area, from path data."""
    return element("path", cls=cls, when=when, d=d, **more)


def polyline(points: Sequence[tuple[float, float]]) -> str:
    """Path data of straight lines from point to point."""
    return "M" + "L".join(f"{_value(x)} {_value(y)}" for x, y in points)


def arrow(points: Sequence[tuple[float, float]], *, cls: str = "ac-line", when: When | None = None) -> str:
    """A line with straight pieces, and a head at its last point."""
    (x0, y0), (x1, y1) = list(pairwise(points))[-1]
    length = max(((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5, 1e-9)
    dx, dy = (x1 - x0) / length, (y1 - y0) / length
    back = (x1 - 6 * dx, y1 - 6 * dy)
    head = [(back[0] - 3.5 * dy, back[1] + 3.5 * dx), (x1, y1), (back[0] + 3.5 * dy, back[1] - 3.5 * dx)]
    return path(polyline(points) + polyline(head), cls=cls, when=when)


def text(x: float, y: float, words: str, *, cls: str = "", when: When | None = None, **more: Any) -> str:
    """One line of text with its baseline at `y`; `text_anchor="middle"` or "end" to place it otherwise."""
    return element("text", escape(words), cls=cls, when=when, **{"x": x, "y": y, **more})


def width_of(words: str) -> float:
    """About how wide words are in the size of a picture's text."""
    return sum(
        3.6 if letter in "fijltI.,:;' ()" else 8.6 if letter.isupper() or letter in "mw" else 6.7 for letter in words
    )


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return escape(str(value))
