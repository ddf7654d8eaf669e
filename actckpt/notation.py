"""How formulas are written: the names of their axes, and four notations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TypeAlias

AXES = ("L", "n", "n_kv", "S", "W", "B", "H", "D", "F", "V")
"""Blocks, query heads, key/value heads, tokens, the most keys that a query sees, sequences, the width of the residual
stream, of a head and of the FFN's inside, and the vocabulary; in the order in which a product is written."""

Number: TypeAlias = int | Fraction
# the power of each of AXES
Powers: TypeAlias = tuple[int, ...]


@cache
def axes_of(powers: Powers) -> tuple[tuple[str, int], ...]:
    """The axes that a product has, each with its power."""
    return tuple((axis, power) for axis, power in zip(AXES, powers, strict=True) if power)


@dataclass(frozen=True)
class Style:
    """How a formula is written: `TEXT`, `LATEX`, `PYTHON` or `JAVASCRIPT`.

    Attributes:
        times: What is written between two factors.
        power: A factor with an exponent.
        over: A fraction.
        largest: The largest of several sums.
        is_code: Whether the whole sum is divided once, at the end, so that it stays a whole number until then.
    """

    times: str
    power: str
    over: str
    largest: str
    is_code: bool = False


TEXT = Style("·", "{}{}", "{}/{}", "max({})")
LATEX = Style(r"\,", "{}^{{{}}}", r"\frac{{{}}}{{{}}}", r"\max\left({}\right)")
PYTHON = Style(" * ", "{}**{}", "({}) / ({})", "max({})", is_code=True)
JAVASCRIPT = Style(" * ", "{} ** {}", "({}) / ({})", "Math.max({})", is_code=True)
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def written_sum(parts: Iterable[tuple[Powers, Number]], style: Style) -> str:
    """Products with their coefficients, shorter ones first, and those with a higher power of S last."""
    ordered = sorted(parts, key=_place)
    return " + ".join(written_product(number, powers, style) for powers, number in ordered).replace("+ -", "- ") or "0"


def _place(part: tuple[Powers, Number]) -> tuple[int, int, list[int]]:
    powers, _ = part
    axes = [index for index, power in enumerate(powers) if power]
    return powers[AXES.index("S")], sum(map(abs, powers)), axes


def written_product(number: Number, powers: Powers, style: Style) -> str:
    """One product with its coefficient."""
    above, below = (_powers(powers, sign, style) for sign in (1, -1))
    if abs(number.numerator) != 1 or not above:
        above.insert(0, str(abs(number.numerator)))
    if number.denominator != 1:
        below.insert(0, str(number.denominator))
    product, divisor = style.times.join(above), style.times.join(below)
    if below:
        product = style.over.format(product, f"({divisor})" if style is TEXT and len(below) > 1 else divisor)
    return f"-{product}" if number < 0 else product


def _powers(powers: Powers, sign: int, style: Style) -> list[str]:
    # the factors above the line, or with a sign of -1 those below it
    factors = []
    for axis, power in axes_of(powers):
        name = r"n_{\text{kv}}" if style is LATEX and axis == "n_kv" else axis
        exponent = str(sign * power).translate(_SUPERSCRIPTS) if style is TEXT else str(sign * power)
        if sign * power > 0:
            factors.append(name if sign * power == 1 else style.power.format(name, exponent))
    return factors
