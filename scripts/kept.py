"""Answers kept as JSON, each beside its question.

An entry that is cut off, of another kind or of another question counts as absent, and so does one that could not be
written: a cache saves time, and ends nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

Answer = TypeVar("Answer")


def read(file: Path, asked: str, decode: Callable[[Any], Answer]) -> Answer | None:
    """The answer to `asked` that the file keeps, decoded from its JSON, or None."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        return decode(stored["answer"]) if stored["asked"] == asked else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
        return None


def write(file: Path, asked: str, answer: Any) -> None:
    """Keep an answer, given as JSON has it, in the file; its name stands for a whole entry at any moment."""
    # another process may be writing the same file
    unfinished = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps({"asked": asked, "answer": answer}), encoding="utf-8")
        unfinished.replace(file)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
