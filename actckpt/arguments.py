"""What `estimate` and `measure` both take, checked in one way."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from actckpt.errors import InputError, unknown
from actckpt.ledger import Count

ATTENTIONS = ("flash", "eager")

# beyond any use, and small enough for a float to hold the square of it times the sizes of a model
MAX_COUNT = 2**62


def checked_attention(attention: str) -> str:
    """A kind of attention.

    Raises:
        InputError: It is unknown.
    """
    if attention not in ATTENTIONS:
        raise unknown("attention", str(attention), ATTENTIONS)
    return attention


def checked_batch_size(batch_size: Any) -> int:
    """B as an int.

    Raises:
        InputError: It is not a whole number of at least 1.
    """
    return _positive("batch_size", batch_size)


def checked_ranks(data_parallel: Any) -> int:
    """A number of ranks as an int.

    Raises:
        InputError: It is not a whole number of at least 1.
    """
    return _positive("data_parallel", data_parallel)


def checked_seq_len(seq_len: Any) -> Count:
    """S as a Python int, or as an array of Python ints: arithmetic with them is exact however large it gets.

    Raises:
        InputError: It is not whole, below 1, or beyond `MAX_COUNT`.
    """
    try:
        if isinstance(seq_len, bool):
            raise TypeError("a bool is no length")
        lengths = np.vectorize(operator.index, otypes=[object])(np.asarray(seq_len, dtype=object))
    except (TypeError, ValueError) as error:
        raise InputError(f"seq_len is {seq_len!r}: it must be a whole number, or an array of them") from error
    if not lengths.size or lengths.min() < 1:
        raise InputError(f"seq_len is {seq_len!r}: it must be at least 1")
    if lengths.max() > MAX_COUNT:
        raise InputError(f"seq_len is {seq_len!r}: it must be at most {MAX_COUNT}")
    return lengths if lengths.ndim else int(lengths)


def _positive(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name} is {value!r}: it must be a whole number of at least 1")
    if value > MAX_COUNT:
        raise InputError(f"{name} is {value!r}: it must be at most {MAX_COUNT}")
    return int(value)
