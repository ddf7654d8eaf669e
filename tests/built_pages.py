"""What stands on a built page, for tests that compare it with numbers of their own: tables by name, numbers in prose.

And how the site writes a number, said once more, so that a test does not ask the site's own code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from bs4 import BeautifulSoup, Tag

Cells = dict[str, dict[str, str]]

# what has tests of its own, and what no reader sees or reads as a formula
NOT_PROSE = (
    "table, .ac-figure, .ac-explorer, .ac-player, .ac-map, .ac-opening, .ac-cards, .ac-claims, pre, svg, math, "
    ".headerlink"
)


@cache
def _html(site: Path, page: str) -> str:
    return (site / page / "index.html").read_text(encoding="utf-8")


def article(site: Path, page: str) -> Tag:
    """A page's article; "workshop/compute-cost", or "." for the home page."""
    found = BeautifulSoup(_html(site, page), "html.parser").article
    assert found
    return found


def words(tag: Tag) -> str:
    """The text of an element on one line."""
    return " ".join(tag.get_text().split())


def prose_numbers(tag: Tag) -> list[tuple[str, str]]:
    """Every computed number in the prose of an article: the words before it, where "…" stands for a number, and it."""
    for other in tag.select(NOT_PROSE):
        other.decompose()
    numbers = tag.select("span.ac-n")
    found = [words(number) for number in numbers]
    for number in numbers:
        number.replace_with("\0")
    parts = words(tag).split("\0")[:-1]
    return [("…".join(parts[: place + 1]).rstrip(), number) for place, number in enumerate(found)]


def tables(tag: Tag) -> dict[str, Cells]:
    """The tables of an article by caption, each as {row: {column: cell}}.

    What stands twice is numbered: "GiB per percent", "GiB per percent (2)". A row under a heading has that before its
    name: "flash: none".
    """
    found = [table for table in tag("table") if table.caption]
    return dict(zip(numbered(words(table.caption) for table in found), map(_cells, found), strict=True))


def _cells(table: Tag) -> Cells:
    head, *rows = table("tr")
    columns = numbered(words(cell) for cell in head(["th", "td"]))[1:]
    group, names, cells = "", [], []
    for row in rows:
        first, *others = map(words, row(["th", "td"]))
        if not others:
            group = f"{first}: "
            continue
        names.append(group + first)
        cells.append(others)
    return by(columns, dict(zip(numbered(names), cells, strict=True)))


def by(columns: Iterable[str], rows: dict[str, Sequence[str]]) -> Cells:
    """{row: {column: cell}} from the columns, and the cells of each row in their order."""
    columns = list(columns)
    return {name: dict(zip(columns, cells, strict=True)) for name, cells in rows.items()}


def numbered(names: Iterable[str]) -> list[str]:
    """The names, those that stood there before with a number."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(f"{name} ({seen[name]})" if seen[name] > 1 else name)
    return found


def fixed(value: float, digits: int = 0) -> str:
    """With commas and so many decimals; a half goes up."""
    return f"{value + 1e-9:,.{digits}f}"


def gib(n_bytes: float, digits: int | None = None) -> str:
    """With one decimal, and from 100 GiB without."""
    if digits is None:
        digits = 0 if n_bytes >= 100 * 2**30 else 1
    return f"{fixed(n_bytes / 2**30, digits)} GiB"


def percent(share: float, digits: int = 1) -> str:
    return f"{fixed(100 * share, digits)} %"


def times(factor: float, digits: int = 1) -> str:
    return f"{fixed(factor, digits)} ×"


def size(n_bytes: int) -> str:
    """In the largest unit of which there is one, with three digits, and no zeros behind a point."""
    power = max(power for power in (0, 10, 20, 30, 40) if n_bytes >= 2**power)
    unit = {0: "bytes", 10: "KiB", 20: "MiB", 30: "GiB", 40: "TiB"}[power]
    count = n_bytes / 2**power
    digits = 0 if count >= 100 else 1 if count >= 10 else 2
    number = f"{count:,.{digits}f}"
    return f"{number.rstrip('0').rstrip('.') if digits else number} {unit}"
