"""Term and Ledger: the one kind of answer that the closed form and the measurement both give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

COMPONENTS = ("attention", "ffn", "norm", "checkpoint")
ITEM_BYTES = {"bool": 1, "float16": 2, "bfloat16": 2, "float32": 4, "int64": 8, "float64": 8}

Count: TypeAlias = int | NDArray[Any]
"""A number of bytes or FLOPs: an int, or an int64 array with one number for each sequence length."""


def exact(count: Count) -> Count:
    """An int, or int64 array, of a count that was computed with Python's unbounded ints.

    Raises:
        OverflowError: An entry of an array does not fit into 64 bits.
    """
    if not isinstance(count, np.ndarray):
        return int(count)
    try:
        return count.astype(np.int64)
    except OverflowError as error:
        raise OverflowError(
            f"a count of {count.max():.1e} does not fit into 64 bits: ask for so long a sequence by itself, as an int"
        ) from error


def unbounded(count: Count) -> Any:
    """A count in Python's ints, which do not overflow; the inverse of `exact`."""
    return count.astype(object) if isinstance(count, np.ndarray) else int(count)


def total(counts: Iterable[Count]) -> Count:
    """The sum of many counts, exact.

    Raises:
        OverflowError: An entry of an array of sums does not fit into 64 bits.
    """
    return exact(sum(map(unbounded, counts), start=0))


@dataclass(frozen=True)
class Term:
    """One tensor that stays in memory from the forward to the backward pass.

    Attributes:
        name: What wrote it, as `norm_1.output` or `v_proj`.
        component: One of `COMPONENTS` for a block's tensor; "logits" for the head's.
        shape: Its sizes; the ones that depend on the sequence length are arrays where that is one.
        dtype: A key of `ITEM_BYTES`.
    """

    name: str
    component: str
    shape: tuple[Count, ...]
    dtype: str

    @property
    def bytes(self) -> Count:
        """Its size in bytes."""
        return exact(prod(self.shape, start=ITEM_BYTES[self.dtype]))

    def to_dict(self) -> dict[str, Any]:
        """The term as JSON has it."""
        shape = [size.tolist() if isinstance(size, np.ndarray) else int(size) for size in self.shape]
        size = self.bytes.tolist() if isinstance(self.bytes, np.ndarray) else self.bytes
        return {"name": self.name, "component": self.component, "bytes": size, "shape": shape, "dtype": self.dtype}


@dataclass(frozen=True)
class Ledger:
    """Named terms in bytes, in the order in which the forward pass writes them."""

    terms: tuple[Term, ...] = ()

    def __iter__(self) -> Iterator[Term]:
        return iter(self.terms)

    def __getitem__(self, name: str) -> Term:
        return {term.name: term for term in self.terms}[name]

    @cached_property
    def bytes(self) -> Count:
        """The sum of all terms, in bytes."""
        return total(term.bytes for term in self.terms)

    def component_bytes(self, component: str) -> Count:
        """The sum of the terms of one component, in bytes."""
        return self.where(lambda term: term.component == component).bytes

    def by_component(self) -> dict[str, Count]:
        """The sum of each of `COMPONENTS`, in bytes."""
        return {component: self.component_bytes(component) for component in COMPONENTS}

    def where(self, keep: Callable[[Term], bool]) -> Ledger:
        """The ledger of the terms for which `keep` is true."""
        return Ledger(tuple(term for term in self.terms if keep(term)))
