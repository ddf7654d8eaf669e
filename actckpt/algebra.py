"""Formulas over named axes: sums of products, exact, that give a number at given sizes and a text in four notations.

A ledger's bytes, a step's FLOPs and its peak are such formulas. `Point` has one size for each axis, `Grid` has arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, reduce
from math import lcm, prod
from operator import add
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from actckpt.errors import InputError, unknown
from actckpt.notation import AXES, TEXT, Number, Powers, Style, axes_of, written_product, written_sum

IntArray: TypeAlias = NDArray[np.int64]
_ONE: Powers = (0,) * len(AXES)
_LIMIT = 2**63


class Point(dict[Powers, int]):
    """A size for each axis, and the products of them that have been asked for."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.sizes = sizes
        self._counts: dict[Formula, int] = {}

    def count(self, formula: Formula) -> int:
        """The number that a formula gives there, kept for the next time; raises what `Form.at` does."""
        count = self._counts.get(formula)
        if count is None:
            count = self._counts[formula] = formula.at(self)
        return count

    def __missing__(self, powers: Powers) -> int:
        value = self[powers] = prod(_factors(powers, self.sizes))
        return value


class Grid(dict[Powers, IntArray]):
    """An array of sizes for each axis, which broadcast to one shape, and the products that have been asked for."""

    def __init__(self, sizes: Mapping[str, Any]) -> None:
        super().__init__()
        self.sizes: dict[str, IntArray] = {axis: np.asarray(size, dtype=np.int64) for axis, size in sizes.items()}
        self.shape = np.broadcast_shapes(*(size.shape for size in self.sizes.values()))
        self.largest = Point({axis: int(size.max()) for axis, size in self.sizes.items()})
        self._counts: dict[Formula, IntArray] = {}

    def counts(self, formula: Formula) -> IntArray:
        """The numbers that a formula gives there, kept for the next time; raises what `Form.over` does."""
        if formula not in self._counts:
            self._counts[formula] = formula.over(self)
        return self._counts[formula]

    def __missing__(self, powers: Powers) -> IntArray:
        value = self[powers] = np.asarray(prod(_factors(powers, self.sizes)), dtype=np.int64)
        return value


def _factors(powers: Powers, sizes: Mapping[str, Any]) -> list[Any]:
    try:
        return [sizes[axis] ** power for axis, power in axes_of(powers)]
    except KeyError as error:
        raise InputError(f"no size is given for {error}: give one for each axis of the formula") from error


@dataclass(frozen=True)
class Form:
    """A sum of products of axes, as `12·S·B·H + 6·S·B·F`; powers may be negative, as in `6·F/H`.

    Attributes:
        parts: The powers of `AXES` in each product, and its coefficient; sorted, and none of them zero.
    """

    parts: tuple[tuple[Powers, Number], ...]

    @classmethod
    def of(cls, value: Form | Number) -> Form:
        """A number as a form; a form as it is."""
        return value if isinstance(value, Form) else _collected([(_ONE, value)])

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self.parts)

    def __add__(self, other: Form | Number) -> Form:
        return total((self, other))

    def __neg__(self) -> Form:
        return self * -1

    def __sub__(self, other: Form | Number) -> Form:
        return total((self, -Form.of(other)))

    def __rsub__(self, other: Form | Number) -> Form:
        return total((other, -self))

    def __mul__(self, other: Form | Number) -> Form:
        return _collected(
            (tuple(map(add, left, right)), number * factor)
            for left, number in self.parts
            for right, factor in Form.of(other).parts
        )

    def __truediv__(self, other: Form | Number) -> Form:
        """Division by a number or by one product."""
        divisor = Form.of(other)
        if len(divisor.parts) != 1:
            raise InputError(f"{self} cannot be divided by {divisor}: the divisor must be a single product, not zero")
        ((powers, number),) = divisor.parts
        return self * _collected([(tuple(-power for power in powers), Fraction(1, number))])

    def __pow__(self, power: int) -> Form:
        return reduce(Form.__mul__, [self] * power, Form.of(1))

    __radd__, __rmul__ = __add__, __mul__

    def dominates(self, other: Form) -> bool:
        """Whether it is at least `other` whatever the sizes are: no coefficient is smaller."""
        mine, others = dict(self.parts), dict(other.parts)
        return all(mine.get(powers, 0) >= others.get(powers, 0) for powers in {**mine, **others})

    def where(self, **axes: Form | Number) -> Form:
        """The form with other axes or numbers in place of some, as `D=H / n`.

        Raises:
            InputError: One is no axis.
        """
        for name in axes:
            if name not in AXES:
                raise unknown("axis", name, AXES)
        replaced = []
        for powers, number in self.parts:
            rest = tuple(0 if axis in axes else power for axis, power in zip(AXES, powers, strict=True))
            product = _collected([(rest, number)])
            for axis, power in axes_of(powers):
                if axis in axes:
                    factor = Form.of(axes[axis])
                    product = product * factor**power if power > 0 else product / factor**-power
            replaced.append(product)
        return total(replaced)

    def coefficient(self, axis: str, power: int) -> Form:
        """What an axis to that power is multiplied by, as what `S` to 2 is in `34·S·B·H + 5·n·S²·B`: `5·n·B`.

        Raises:
            InputError: It is no axis.
        """
        if axis not in AXES:
            raise unknown("axis", axis, AXES)
        place = AXES.index(axis)
        without = (
            ((*powers[:place], 0, *powers[place + 1 :]), number)
            for powers, number in self.parts
            if powers[place] == power
        )
        return _collected(without)

    @cached_property
    def _fraction(self) -> tuple[tuple[tuple[Powers, int], ...], tuple[Powers, int] | None]:
        # whole coefficients and powers, over a product and its coefficient, or over nothing
        below = tuple(-min([0, *column]) for column in zip(*(powers for powers, _ in self.parts), strict=True)) or _ONE
        divisor = lcm(*(number.denominator for _, number in self.parts))
        above = (self * Form(((below, divisor),))).parts
        whole = divisor == 1 and below == _ONE
        return tuple((powers, int(number)) for powers, number in above), None if whole else (below, divisor)

    def at(self, point: Point) -> int:
        """The number at one size of each axis.

        Raises:
            InputError: It is not whole there, or a size is missing.
        """
        above, below = self._fraction
        count = sum([number * point[powers] for powers, number in above])
        if below is None:
            return count
        powers, divisor = below
        count, rest = divmod(count, divisor * point[powers])
        if rest:
            raise InputError(f"{self} is not whole at these sizes: an axis does not divide as the formula has it")
        return count

    def over(self, grid: Grid) -> IntArray:
        """The numbers at arrays of sizes, in an array that cannot be written to.

        Raises:
            InputError: One is not whole, or a size is missing.
            OverflowError: One may not fit into 64 bits.
        """
        above, below = self._fraction
        bound = sum([abs(number) * grid.largest[powers] for powers, number in above])
        if bound >= _LIMIT:
            raise OverflowError(
                f"a count of up to {bound:.1e} does not fit into 64 bits: ask for so large a size by itself, as an int"
            )
        counts = np.asarray(sum([number * grid[powers] for powers, number in above]), dtype=np.int64)
        if below:
            powers, divisor = below
            counts, rests = np.divmod(counts, divisor * grid[powers])
            if rests.any():
                raise InputError(f"{self} is not whole at these sizes: an axis does not divide as the formula has it")
        counts.flags.writeable = False
        return np.broadcast_to(counts, grid.shape)

    def __str__(self) -> str:
        return self.written(TEXT)

    def written(self, style: Style) -> str:
        """The form in a notation."""
        if style.is_code:
            above, below = self._fraction
            sums = written_sum(above, style)
            return style.over.format(sums, written_product(below[1], below[0], style)) if below else sums
        return written_sum(self.parts, style)


@dataclass(frozen=True)
class Largest:
    """The largest of several forms; which one it is depends on the sizes."""

    forms: tuple[Form, ...]

    @classmethod
    def of(cls, forms: Iterable[Form]) -> Largest:
        """Without the forms that another one dominates."""
        kept: list[Form] = []
        for form in dict.fromkeys(forms):
            if not any(other.dominates(form) for other in kept):
                kept = [other for other in kept if not form.dominates(other)] + [form]
        return cls(tuple(kept))

    def __add__(self, other: Form | Number) -> Largest:
        return Largest(tuple(form + other for form in self.forms))

    __radd__ = __add__

    def where(self, **axes: Form | Number) -> Largest:
        """Each form with other axes or numbers in place of some."""
        return Largest(tuple(form.where(**axes) for form in self.forms))

    def at(self, point: Point) -> int:
        """The number at one size of each axis; raises what `Form.at` does."""
        return max([form.at(point) for form in self.forms])

    def over(self, grid: Grid) -> IntArray:
        """The numbers at arrays of sizes; raises what `Form.over` does."""
        # one size gives a number of NumPy's, which has no flags
        largest: IntArray = np.asarray(reduce(np.maximum, [form.over(grid) for form in self.forms]))
        largest.flags.writeable = False
        return largest

    def __str__(self) -> str:
        return self.written(TEXT)

    def written(self, style: Style) -> str:
        """The forms in a notation, one after the other."""
        return style.largest.format(", ".join(form.written(style) for form in self.forms))


Formula: TypeAlias = Form | Largest


def total(forms: Iterable[Form | Number]) -> Form:
    """The sum of many forms."""
    return _collected(part for form in forms for part in Form.of(form).parts)


L, n, n_kv, S, W, B, H, D, F, V = (Form(((tuple(int(axis == each) for each in AXES), 1),)) for axis in AXES)


def _collected(parts: Iterable[tuple[Powers, Number]]) -> Form:
    sums: dict[Powers, Number] = {}
    for powers, number in parts:
        sums[powers] = sums.get(powers, 0) + number
    whole = ((powers, int(number) if number.denominator == 1 else number) for powers, number in sums.items() if number)
    return Form(tuple(sorted(whole)))
