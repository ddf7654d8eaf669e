"""A claim, what the package finds about it, and the verdict that follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from book.components.template import mark
from book.quantities.text import fixed


class Verdict(StrEnum):
    """What a check comes to."""

    HOLDS = "holds"
    ONLY_WHEN = "only-when"
    FAILS = "fails"
    CITED = "cited"

    @property
    def label(self) -> str:
        """The verdict in words."""
        return {
            Verdict.HOLDS: "holds",
            Verdict.ONLY_WHEN: "holds only when…",
            Verdict.FAILS: "does not hold",
            Verdict.CITED: "cited, not computed",
        }[self]


@dataclass(frozen=True)
class Stated:
    """A number that the workshop states: the one that is checked."""

    value: float
    unit: str = ""

    def __str__(self) -> str:
        number = f"{self.value:,}{chr(0xA0) if self.unit else ''}{self.unit}"
        return f'<data class="ac-stated" value="{self.value}">{number}</data>'


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        verdict: What it comes to.
        computed: What the package computes, as HTML.
        condition: When the claim holds, or what holds in its place, as HTML.
    """

    verdict: Verdict
    computed: str
    condition: str = ""


@dataclass(frozen=True)
class Claim:
    """One statement, and how it is checked.

    Attributes:
        id: Its anchor on the page of claims.
        element: The workshop's element that states it; "" for our own.
        says: The statement, in our words.
        taught: The chapter and section where it is taught, as a link from the site's root.
        check: Computes the finding from the package.
        source: Where the matter stands in the literature, as HTML.
        test: The test that holds the numbers, as "file::function".
    """

    id: str
    element: str
    says: str
    taught: str
    check: Callable[[], Finding]
    source: str
    test: str


def judge(computed: str, *, holds: bool, when: bool = False, condition: str = "") -> Finding:
    """The finding of a comparison.

    Args:
        computed: What the package computes, as HTML.
        holds: Whether the statement holds as it stands.
        when: Whether it holds under the condition.
        condition: The condition, or what holds in its place.
    """
    verdict = Verdict.HOLDS if holds else Verdict.ONLY_WHEN if when else Verdict.FAILS
    return Finding(verdict, computed, condition)


def cite(says: str) -> Callable[[], Finding]:
    """A check that nothing computes: what the sources say."""
    return lambda: Finding(Verdict.CITED, says)


def near(value: float, stated: float, within: float = 0.05) -> bool:
    """Whether a number is what a rounded statement of it says."""
    return abs(value - stated) <= within * abs(stated)


def n(value: float | str, digits: int = 0, unit: str = "") -> str:
    """A computed number, marked, with its unit."""
    number = value if isinstance(value, str) else fixed(float(value), digits)
    return mark(f"{number}{chr(0xA0) if unit else ''}{unit}")
