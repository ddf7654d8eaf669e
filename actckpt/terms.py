"""Term and Ledger: the one kind of answer that the closed form and the measurement both give.

A count is an int for one size, an array for a sweep over sizes, and a formula where no size has been given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any, Generic, TypeVar

from actckpt.algebra import Form, total
from actckpt.errors import unknown

COMPONENTS = ("attention", "ffn", "norm", "checkpoint")
ITEM_BYTES = {
    **dict.fromkeys(("bool", "uint8", "int8", "float8_e4m3fn", "float8_e5m2"), 1),
    **dict.fromkeys(("int16", "float16", "bfloat16"), 2),
    **dict.fromkeys(("int32", "float32"), 4),
    **dict.fromkeys(("int64", "float64", "complex64"), 8),
}

Count = TypeVar("Count", covariant=True)
"""A number of bytes or FLOPs: an int, an int64 array with one number for each size of a sweep, or a formula."""
Other = TypeVar("Other")


@dataclass(frozen=True)
class Term(Generic[Count]):
    """One tensor that stays in memory from the forward to the backward pass.

    Attributes:
        name: What wrote it, as `norm_1.output` or `v_proj`.
        component: One of `COMPONENTS` for a block's tensor; "logits" for the head's.
        shape: Its sizes.
        dtype: A key of `ITEM_BYTES`.
        axes: The formulas of its sizes; empty if it was measured.
        one: 1, an array of ones, or the formula of 1: what its sizes multiply.
    """

    name: str
    component: str
    shape: tuple[Count, ...]
    dtype: str
    axes: tuple[Form, ...] = field(default=(), compare=False, repr=False)
    one: Any = field(default=1, compare=False, repr=False)

    @property
    def bytes(self) -> Count:
        """Its size in bytes.

        Raises:
            InputError: The dtype is unknown.
        """
        shape: tuple[Any, ...] = self.shape
        return prod(shape, start=self._item_bytes * self.one)

    @property
    def _item_bytes(self) -> int:
        if not isinstance(self.dtype, str) or self.dtype not in ITEM_BYTES:
            raise unknown("dtype", self.dtype, ITEM_BYTES)
        return ITEM_BYTES[self.dtype]

    def formula(self) -> Form:
        """Its size in bytes as a formula, or a number if it was measured."""
        axes: tuple[Any, ...] = self.axes or self.shape
        return prod(axes, start=Form.of(self._item_bytes))

    def map(self, size: Callable[[Count], Other], one: Any) -> Term[Other]:
        """The term with `size` of each of its sizes, which multiply this `one`."""
        axes: Any = self.axes or self.shape
        return Term(self.name, self.component, tuple(map(size, self.shape)), self.dtype, axes, one)

    def to_dict(self) -> dict[str, Any]:
        """The term as JSON has it."""
        shape = list(self.shape)
        return {
            "name": self.name,
            "component": self.component,
            "bytes": self.bytes,
            "shape": shape,
            "dtype": self.dtype,
        }


@dataclass(frozen=True)
class Ledger(Generic[Count]):
    """Named terms in bytes, in the order in which the forward pass writes them.

    Attributes:
        terms: The terms.
        zero: The sum of no terms: 0, an array of zeros, or the formula of 0.
    """

    terms: tuple[Term[Count], ...] = ()
    zero: Any = field(default=0, compare=False, repr=False)

    def __iter__(self) -> Iterator[Term[Count]]:
        return iter(self.terms)

    def __getitem__(self, name: str) -> Term[Count]:
        return {term.name: term for term in self.terms}[name]

    @property
    def bytes(self) -> Count:
        """The sum of all terms, in bytes."""
        sizes: Any = [term.bytes for term in self.terms]
        return sum(sizes, start=self.zero)

    def formula(self) -> Form:
        """The sum of all terms as a formula."""
        return total(term.formula() for term in self.terms)

    def component_bytes(self, component: str) -> Count:
        """The sum of the terms of one component, in bytes."""
        return self.where(lambda term: term.component == component).bytes

    def by_component(self) -> dict[str, Count]:
        """The sum of each of `COMPONENTS`, in bytes."""
        return {component: self.component_bytes(component) for component in COMPONENTS}

    def where(self, keep: Callable[[Term[Count]], bool]) -> Ledger[Count]:
        """The ledger of the terms for which `keep` is true."""
        return Ledger(tuple(term for term in self.terms if keep(term)), self.zero)

    def map(self, size: Callable[[Count], Other]) -> Ledger[Other]:
        """The ledger with `size` of each size of its terms."""
        zero: Any = size(self.zero)
        one = zero + 1
        return Ledger(tuple([term.map(size, one) for term in self.terms]), zero)


def ledger_of_forms(terms: Iterable[Term[Form]]) -> Ledger[Form]:
    """The ledger of terms whose sizes are formulas."""
    return Ledger(tuple(terms), Form.of(0))


def term_of_forms(name: str, component: str, shape: Iterable[Form], dtype: str) -> Term[Form]:
    """A term whose sizes are formulas."""
    return Term(name, component, tuple(shape), dtype, one=Form.of(1))
