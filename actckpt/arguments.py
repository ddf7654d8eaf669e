"""What the public functions take, checked in one way."""

from __future__ import annotations

from typing import Any

import numpy as np

from actckpt.algebra import IntArray
from actckpt.errors import InputError, shown, unknown

ATTENTIONS = ("flash", "eager")

# beyond any use, and small enough for a float to hold the square of it times the sizes of a model
MAX_COUNT = 2**62


def checked_attention(attention: str) -> str:
    """A kind of attention.

    Raises:
        InputError: It is unknown.
    """
    if not isinstance(attention, str) or attention not in ATTENTIONS:
        raise unknown("attention", attention, ATTENTIONS)
    return attention


def checked_count(name: str, value: Any) -> int:
    """A length, a batch size or a number of ranks as an int.

    Raises:
        InputError: It is not a whole number from 1 to `MAX_COUNT`.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name} is {shown(value)}: it must be a whole number of at least 1")
    if value > MAX_COUNT:
        raise InputError(f"{name} is {shown(value)}: it must be at most {MAX_COUNT}")
    return int(value)


def checked_sizes(**sizes: Any) -> dict[str, IntArray]:
    """Lengths and batch sizes as int64 arrays that broadcast to one shape.

    Raises:
        InputError: One is neither a whole number from 1 to `MAX_COUNT` nor an array of them, or the shapes differ.
    """
    try:
        # as objects, so that a bool among ints stays one
        arrays = {name: np.asarray(size, dtype=object) for name, size in sizes.items()}
        np.broadcast_shapes(*(array.shape for array in arrays.values()))
    except (TypeError, ValueError) as error:
        given = ", ".join(f"{name} is {shown(size)}" for name, size in sizes.items())
        raise InputError(f"{given}: they must be arrays of whole numbers that broadcast to one shape") from error
    for name, array in arrays.items():
        counts = array.ravel().tolist()
        whole = all(isinstance(count, int | np.integer) and not isinstance(count, bool) for count in counts)
        if not counts or not whole:
            raise InputError(f"{name} is {shown(sizes[name])}: it must be a whole number, or an array of them")
        for count in (min(counts), max(counts)):
            checked_count(name, count)
    return {name: array.astype(np.int64) for name, array in arrays.items()}
