"""A player: a drawing whose parts come and go frame by frame, with buttons, and every frame in words.

The page holds everything. The script shows one frame at a time; without it the still frame and all the words stand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from markupsafe import Markup

from book.components.template import render

ICONS = {
    "back": "M10 3 4 8l6 5zM2.5 3v10",
    "play": "M4 2.5 13 8l-9 5.5z",
    "pause": "M5 3v10M11 3v10",
    "forward": "M6 3l6 5-6 5zM13.5 3v10",
}


def player(
    *,
    name: str,
    title: str,
    description: str,
    frames: Sequence[str],
    drawing: str,
    caption: str,
    made_by: str,
    assumes: str,
    test: str,
    still: int | None = None,
    seconds: float = 1.8,
    numbers: Markup | None = None,
) -> Markup:
    """The player as HTML.

    Args:
        name: Its id on the page.
        title: Its heading: the message of the picture.
        description: What the whole picture shows, for those who do not see it.
        frames: What each frame shows, in a sentence of HTML.
        drawing: One or two drawings by `svg.svg`, whose parts say with `when` in which frames they are shown.
        caption: What to look at, in HTML.
        made_by: The call that its numbers come from.
        assumes: The accounting and what it assumes, in a sentence.
        test: The test that holds its numbers, as "file::function".
        still: The frame that stands before anything is pressed; the last if None. The same as in `svg.Timeline`.
        seconds: How long a frame stands while it plays.
        numbers: Its numbers as tables, which are folded below.
    """
    return render(
        "player",
        name=name,
        title=title,
        picture=named(drawing, name, title, description),
        frames=list(map(Markup, frames)),
        longest=Markup(max(frames, key=len)),
        shown=len(frames) - 1 if still is None else still,
        seconds=seconds,
        paths=ICONS,
        caption=Markup(caption),
        assumes=assumes,
        made_by=made_by,
        test=test.split("::"),
        numbers=numbers,
    )


def named(drawing: str, name: str, title: str, description: str) -> Markup:
    """The drawings with a title and a description for those who do not see them."""
    layouts = iter(("a", "b"))

    def start(match: re.Match[str]) -> str:
        ids = f"{name}-title-{next(layouts)}"
        return (
            f'<svg role="img" aria-labelledby="{ids}" aria-describedby="{ids}-more"{match[1]}>'
            f'<title id="{ids}">{escape(title)}</title><desc id="{ids}-more">{escape(description)}</desc>'
        )

    return Markup(re.sub(r"<svg([^>]*)>", start, drawing))
