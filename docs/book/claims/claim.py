"""A claim, what the package finds about it, and the verdict that follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TypeAlias

from markupsafe import Markup

from book.components.template import mark
from book.quantities.text import NBSP, fixed, with_unit


class Verdict(StrEnum):
    """What a check comes to: its name, the sign before it, and how it is said."""

    sign: str
    label: str

    HOLDS = "holds", "✓", "holds"
    ONLY_WHEN = "only-when", "◐", "holds only when…"
    FAILS = "fails", "✗", "does not hold"
    CITED = "cited", "§", "cited, not computed"

    def __new__(cls, value: str, sign: str, label: str) -> Verdict:
        verdict = str.__new__(cls, value)
        verdict._value_, verdict.sign, verdict.label = value, sign, label
        return verdict


@dataclass(frozen=True)
class Stated:
    """A number that the workshop states: the one that is checked."""

    value: float
    unit: str = ""

    def __str__(self) -> str:
        number = f"{self.value:,}{NBSP if self.unit else ''}{self.unit}"
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
    computed: Markup
    condition: Markup


Check: TypeAlias = Callable[[], Finding]


@dataclass(frozen=True)
class Claim:
    """One statement, and how it is checked.

    Attributes:
        element: The workshop's element that states it; "" for our own.
        says: The statement, in our words, as HTML.
        taught: The chapter and section where it is taught, from the site's root.
        source: Where the matter stands in the literature, as HTML.
        tests: The tests that fail where a number of it is wrong, as "file::function"; none where nothing is computed.
        check: Computes the finding from the package.
    """

    element: str
    says: Markup
    taught: str
    source: Markup
    tests: tuple[str, ...]
    check: Check

    @property
    def id(self) -> str:
        """Its anchor on the page of claims: the name of its check."""
        return self.check.__name__.replace("_", "-")

    @cached_property
    def finding(self) -> Finding:
        """What its check finds, computed once a build."""
        return self.check()


REGISTRY: list[Claim] = []
"""Every claim, in the order of definition."""


def claim(
    *, says: str, taught: str, source: str, element: str = "", tests: tuple[str, ...] = ()
) -> Callable[[Check], Check]:
    """A decorator that enters the claim that a function checks; see `Claim` for the arguments."""

    def enter(check: Check) -> Check:
        REGISTRY.append(Claim(element, Markup(says), taught, Markup(source), tests, check))
        return check

    return enter


def judge(computed: str, *, holds: bool, when: bool = False, condition: str = "") -> Finding:
    """The finding of a comparison.

    Args:
        computed: What the package computes, as HTML.
        holds: Whether the statement holds as it stands.
        when: Whether it holds under the condition.
        condition: The condition, or what holds in its place.
    """
    verdict = Verdict.HOLDS if holds else Verdict.ONLY_WHEN if when else Verdict.FAILS
    return Finding(verdict, Markup(computed), Markup(condition))


def cited(says: str) -> Finding:
    """The finding where nothing is computed: what the sources say."""
    return Finding(Verdict.CITED, Markup(says), Markup())


def near(value: float, stated: Stated | float, within: float = 0.05) -> bool:
    """Whether a number is what a rounded statement of it says."""
    number = stated.value if isinstance(stated, Stated) else stated
    return abs(value - number) <= within * abs(number)


def n(value: float | str, digits: int = 0, unit: str = "") -> Markup:
    """A computed number, marked, with its unit."""
    if isinstance(value, str):
        return mark(value)
    number = fixed(value, digits)
    return mark(with_unit(number, unit) if unit else number)
