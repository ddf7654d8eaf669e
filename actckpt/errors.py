"""The one error that says: the input is wrong, and here is what would be right."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """A value from outside that cannot be used. The message is one line: the value, and what would be right."""


def unknown(kind: str, value: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not in a registry: the nearest names first, then all of them."""
    names = {name.lower(): name for name in known}
    near = get_close_matches(value.lower(), names, n=1)
    hint = f"did you mean {names[near[0]]!r}? " if near else ""
    return InputError(f"unknown {kind} {value!r}: {hint}known are {', '.join(names.values())}")
