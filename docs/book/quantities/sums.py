"""A formula at a model's sizes: a sum of powers of S and B with whole coefficients, which a page can carry."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import lcm

from actckpt import ModelConfig
from actckpt.algebra import Form, Formula, Largest
from actckpt.notation import axes_of

# the powers of S and of B in a product, and what it is multiplied by
Sum = dict[tuple[int, int], int]


def sized(form: Form, config: ModelConfig) -> dict[tuple[int, int], Fraction]:
    """A formula with the model's sizes in place of all axes but S and B.

    Raises:
        ValueError: The model has a sliding window, which makes it no sum of powers.
    """
    if config.sliding_window is not None:
        raise ValueError(f"{config.name} has a sliding window: its formulas are no sums of powers of S and B")
    sizes, found = config.axes(1, 1), dict[tuple[int, int], Fraction]()
    for powers, number in form.parts:
        axes = dict(axes_of(powers))
        key = axes.pop("S", 0) + axes.pop("W", 0), axes.pop("B", 0)
        coefficient = Fraction(number)
        for axis, power in axes.items():
            coefficient *= Fraction(sizes[axis]) ** power
        found[key] = found.get(key, Fraction(0)) + coefficient
    return {key: coefficient for key, coefficient in found.items() if coefficient}


def whole(form: Form, config: ModelConfig) -> Sum:
    """The same of a number of bytes, whose coefficients are whole.

    Raises:
        ValueError: One is not.
    """
    found = sized(form, config)
    if any(coefficient.denominator > 1 for coefficient in found.values()):
        raise ValueError(f"{form} has no whole coefficients for {config.name}")
    return {key: int(coefficient) for key, coefficient in found.items()}


def in_proportion(forms: Iterable[Form], config: ModelConfig) -> list[Sum]:
    """The same of several numbers of which only the proportions count: all times what makes them whole."""
    found = [sized(form, config) for form in forms]
    times = lcm(*(coefficient.denominator for each in found for coefficient in each.values()))
    return [{key: int(coefficient * times) for key, coefficient in each.items()} for each in found]


def largest(formula: Formula, config: ModelConfig, least: int) -> list[Sum]:
    """The sums of which a formula is the largest, without those that another one exceeds from `least` tokens on."""
    kept: list[Sum] = []
    for each in [whole(form, config) for form in (formula.forms if isinstance(formula, Largest) else (formula,))]:
        if not any(_exceeds(other, each, least) for other in kept):
            kept = [other for other in kept if not _exceeds(each, other, least)] + [each]
    return kept


def _exceeds(one: Sum, other: Sum, least: int) -> bool:
    # with more of every power it is ahead for good from where it is ahead
    ahead = {key: one.get(key, 0) - other.get(key, 0) for key in {**one, **other}}
    return all(more >= 0 for key, more in ahead.items() if key != (0, 0)) and (
        sum(more * least**s for (s, _), more in ahead.items()) >= 0
    )
