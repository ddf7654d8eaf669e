"""A player: a drawing whose parts come and go frame by frame, with buttons, and every frame in words.

The page holds everything. The script shows one frame at a time; without it the still frame and all the words stand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

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
) -> str:
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
    """
    shown = len(frames) - 1 if still is None else still
    file, function = test.split("::")
    items = "".join(f"<li>{frame}</li>" for frame in frames)
    return "".join(
        (
            f'<figure class="ac-player" id="{name}" aria-labelledby="{name}-heading" data-frames="{len(frames)}" ',
            f'data-still="{shown}" data-frame="{shown}" data-seconds="{seconds:g}" style="--frame:{shown}">',
            f'<p class="ac-figure__title" id="{name}-heading">{escape(title)}</p>',
            f'<div class="ac-player__picture">{named(drawing, name, title, description)}</div>',
            _controls(name, len(frames), shown),
            # the longest sentence, unseen, keeps the room that any of them needs
            '<div class="ac-player__says"><p class="ac-player__room" aria-hidden="true">',
            f'{max(frames, key=len)}</p><p class="ac-player__now" aria-live="polite">{frames[shown]}</p></div>',
            f"<figcaption><p>{caption}</p><p>{escape(assumes)} Made by <code>{escape(made_by)}</code>, held by ",
            f'<a href="@/evidence/tests/#{file}"><code>{function}</code></a>.</p></figcaption>',
            '<details class="ac-data"><summary>Every step in words</summary>',
            f'<ol class="ac-player__frames">{items}</ol></details></figure>',
        )
    )


def named(drawing: str, name: str, title: str, description: str) -> str:
    """The drawings with a title and a description for those who do not see them."""
    layouts = iter(("a", "b"))

    def start(match: re.Match[str]) -> str:
        ids = f"{name}-title-{next(layouts)}"
        return (
            f'<svg role="img" aria-labelledby="{ids}" aria-describedby="{ids}-more"{match[1]}>'
            f'<title id="{ids}">{escape(title)}</title><desc id="{ids}-more">{escape(description)}</desc>'
        )

    return re.sub(r"<svg([^>]*)>", start, drawing)


def _controls(name: str, n_frames: int, shown: int) -> str:
    buttons = _button("back", "Back") + _button("play", "Play", "pause") + _button("forward", "Forward")
    return (
        f'<div class="ac-player__controls" hidden><div class="ac-player__buttons">{buttons}</div>'
        f'<div class="ac-player__place"><label for="{name}-step">Step</label>'
        f'<input id="{name}-step" type="range" min="1" max="{n_frames}" value="{shown + 1}">'
        f'<output for="{name}-step">{shown + 1} of {n_frames}</output></div></div>'
    )


def _button(action: str, words: str, *more: str) -> str:
    icons = "".join(
        f'<svg class="ac-icon-{icon}" viewBox="0 0 16 16" aria-hidden="true"><path d="{ICONS[icon]}"/></svg>'
        for icon in (action, *more)
    )
    return f'<button type="button" data-do="{action}">{icons}<span>{words}</span></button>'
