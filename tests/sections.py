"""Section: the part of a built page that a link with an anchor leads to."""

import re
from html.parser import HTMLParser


class Section(HTMLParser):
    """The text under an id: of the element, or for a heading of everything up to the next heading of its level."""

    def __init__(self, html: str, anchor: str) -> None:
        super().__init__()
        self.anchor = anchor
        self.text: list[str] | None = None
        self._until: str | int = ""
        self._depth = self._articles = 0
        self._skipping = False
        self._done = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        level = int(tag[1]) if re.fullmatch(r"h[1-6]", tag) else 0
        if dict(attrs).get("id") == self.anchor:
            self.text, self._until = [], level or tag
        elif isinstance(self._until, int) and 0 < level <= self._until:
            self._done = True
        if tag == self._until:
            self._depth += 1
        self._articles += tag == "article"
        self._skipping |= tag in ("script", "style")
        self._add(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._skipping = False
        if tag == self._until:
            self._depth -= 1
            self._done |= self._depth == 0
        self._articles -= tag == "article"
        self._done |= tag == "article" and not self._articles

    def handle_data(self, data: str) -> None:
        self._add(data)

    def _add(self, text: str) -> None:
        if self.text is not None and not (self._done or self._skipping):
            self.text.append(text)

    @property
    def words(self) -> str:
        """The text on one line, without marks between a number and its unit."""
        return " ".join("".join(self.text or []).split())
