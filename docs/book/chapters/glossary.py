"""The glossary as data: what each of its words means, for the tooltips that every page shows."""

from __future__ import annotations

import re
from pathlib import Path

from markupsafe import Markup

from actckpt.hardware import GB, GIB
from book.components.template import html

PAGE = Path(__file__).parents[2] / "reference/glossary.md"
# a term with its anchor, and the first of its definitions: the second says where the word is used
WORD = re.compile(r"^(?P<term>\S.*) \{ #(?P<anchor>[\w-]+) \}\n:   (?P<meaning>(?:.+\n)+)", re.MULTILINE)
LINK = re.compile(r"\[([^]]+)\]\([^)]+\)")
# what has tooltips nowhere inside, and a tooltip
ELEMENT = re.compile(
    r'<(/?)(?:h[1-6]|a|button|dt|figure|label|summary|th)\b[^>]*>|<abbr title="([^"]*)">([^<]*)</abbr>'
)


def index() -> Markup:
    """A line that leads to every word."""
    found = WORD.finditer(PAGE.read_text(encoding="utf-8"))
    links = (Markup('<a href="#{anchor}">{term}</a>').format(**match.groupdict()) for match in found)
    return Markup('<p class="ac-index">{}</p>').format(Markup(" · ").join(links))


def tooltips() -> dict[str, str]:
    """Every word, and its plural, with what it means as plain text."""
    meant = {match["term"]: _plain(match["meaning"]) for match in WORD.finditer(PAGE.read_text(encoding="utf-8"))}
    return meant | {f"{term}s": meaning for term, meaning in meant.items()}


def _plain(meaning: str) -> str:
    filled = html(meaning, n="{:,}".format, GB=GB, GIB=GIB)
    return " ".join(LINK.sub(r"\1", filled).replace("`", "").split())


def once(content: str) -> str:
    """A page whose words have a tooltip where they are first met in prose, and not where one clicks or looks up."""
    depth, met = 0, set[str]()

    def keep(match: re.Match[str]) -> str:
        nonlocal depth
        closes, meaning, term = match.groups()
        if meaning is None:
            depth += -1 if closes else 1
            return match[0]
        if depth or meaning in met:
            return term
        met.add(meaning)
        return match[0]

    return ELEMENT.sub(keep, content)
