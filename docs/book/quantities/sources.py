"""The sources of the site and the figures that they publish, both from `docs/data/sources.yml`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml
from markupsafe import Markup

from book.quantities.text import NBSP

DATA = Path(__file__).parents[2] / "data/sources.yml"


@dataclass(frozen=True)
class Source:
    """Something that was published elsewhere.

    Attributes:
        key: What it is cited by, and its anchor on the page of sources.
        kind: "paper", "software", "hardware" or "design".
        label: How prose names it.
        title: Its title.
        url: Where it is.
        takes: What is taken from it, as a sentence.
        mentions: What names it elsewhere, beside its key and its address.
    """

    key: str
    kind: str
    label: str
    title: str
    url: str
    takes: str
    mentions: tuple[str, ...] = ()

    @property
    def link(self) -> Markup:
        """The source as a link to where it was published."""
        return Markup('<a href="{}">{}</a>').format(self.url, self.label)


@dataclass(frozen=True)
class Published:
    """A figure that others measured and published. Every other number of the site is computed.

    Attributes:
        value: The number as it stands in the source.
        unit: Its unit.
        what: What was measured, on what.
        source: Who published it.
        place: Where in the source it stands.
    """

    value: float
    unit: str
    what: str
    source: Source
    place: str

    @property
    def words(self) -> str:
        """The figure with its unit, kept on one line."""
        return f"{self.value:,g}{NBSP}{self.unit}"


def _read() -> tuple[dict[str, Source], dict[str, Published]]:
    sources, published = {}, {}
    for key, entry in yaml.safe_load(DATA.read_text(encoding="utf-8")).items():
        figures = entry.pop("figures", {})
        sources[key] = Source(key, **entry)
        published.update({name: Published(source=sources[key], **figure) for name, figure in figures.items()})
    return sources, published


SOURCES, PUBLISHED = _read()


def cite(key: str) -> Markup:
    """A source as a link to its entry on the page of sources."""
    return Markup('<a href="@/reference/sources/#{}">{}</a>').format(key, SOURCES[key].label)


def more_time(slow: str, fast: str) -> float:
    """How much longer one of `PUBLISHED` takes than another, as a share: from times, or from rates."""
    one, other = PUBLISHED[slow], PUBLISHED[fast]
    if one.unit != other.unit:
        raise ValueError(f"{slow} is in {one.unit}, {fast} in {other.unit}")
    return (other.value / one.value if one.unit.endswith("/s") else one.value / other.value) - 1
