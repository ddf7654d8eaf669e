"""One quantity is printed in one way: no two sentences of the site round the same number differently.

A number in a sentence carries six digits of what it rounds. Tables are left out: a column has as many decimals as its
smallest entry needs, and says its exact bytes.
"""

import re
from collections import defaultdict
from pathlib import Path

from bs4 import BeautifulSoup, Tag

pytest_plugins = ["built_site"]

NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def printed(page: Tag) -> list[tuple[str, str]]:
    """What each number in a sentence rounds, and how it is printed."""
    found = []
    for number in page.select("span.ac-n[data-rounds]"):
        values, words = str(number["data-rounds"]).split(), NUMBER.findall(number.get_text())
        found += zip(values, words, strict=True)
    return found


def disagreements(pages: dict[str, Tag]) -> list[str]:
    """Quantities that are printed in two ways, each with its pages."""
    ways: dict[str, dict[float, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name, page in pages.items():
        for value, words in printed(page):
            ways[value][float(words.replace(",", ""))].add(f"{words} on {name}")
    return [
        f"{value}: " + "; ".join(", ".join(sorted(each)) for each in printings.values())
        for value, printings in ways.items()
        if len(printings) > 1
    ]


def test_no_quantity_is_rounded_in_two_ways(site: Path) -> None:
    pages = {
        str(file.parent.relative_to(site)): BeautifulSoup(file.read_text("utf-8"), "html.parser")
        for file in sorted(site.rglob("index.html"))
    }
    assert sum(len(printed(page)) for page in pages.values()) > 300
    wrong = disagreements(pages)
    assert not wrong, "\n".join(wrong)


def test_two_roundings_are_seen() -> None:
    def page(html: str) -> Tag:
        return BeautifulSoup(html, "html.parser")

    home = page('<span class="ac-n" data-rounds="24.4512 27.4799">24–27 %</span>')
    chapter = page(
        '<span class="ac-n" data-rounds="24.4512">24.5</span> <span class="ac-n" data-rounds="4">4.00</span>'
    )
    again = page('<span class="ac-n" data-rounds="4">4</span>')
    assert disagreements({"home": home, "chapter": chapter, "again": again}) == ["24.4512: 24 on home; 24.5 on chapter"]
