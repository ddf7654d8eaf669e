"""The one error that says: the input is wrong, and here is what would be right."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

# a value longer than this is cut off in a message, unless it is a path
_LONGEST = 80


class InputError(ValueError):
    """A value from outside that cannot be used. The message is one line: the value, and what would be right."""


def shown(value: Any, longest: int = _LONGEST) -> str:
    """A value as a message names it: in one line, and cut off where it is longer than that."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        # an int of more digits than Python writes, or an object that cannot say what it is
        text = f"a {type(value).__name__} that cannot be written out"
    return text if len(text) <= longest else f"{text[:longest]}…"


def unknown(kind: str, value: Any, known: Iterable[str]) -> InputError:
    """The error for a name that is not in a registry: the nearest names first, then all of them."""
    names = {name.lower(): name for name in known}
    near = get_close_matches(value.lower()[:_LONGEST], names, n=1) if isinstance(value, str) else []
    hint = f"did you mean {names[near[0]]!r}? " if near else ""
    return InputError(f"unknown {kind} {shown(value)}: {hint}use one of {', '.join(names.values())}")
