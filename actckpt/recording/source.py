"""The line of the user's code that is running."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import torch

_HERE = Path(__file__).parent
# a frame in one of these folders is not the user's
_OTHERS = tuple(map(str, (Path(torch.__file__).parent, _HERE, _HERE.parent / "ops")))


@cache
def _place(file: str) -> str:
    """The name of a file of the user's; "" for any other."""
    return "" if file.startswith((*_OTHERS, "<frozen")) else Path(file).name


def line() -> str:
    """The innermost line outside of PyTorch, as "model.py:12"; "" where there is none."""
    frame = sys._getframe(1)
    while frame is not None:
        if name := _place(frame.f_code.co_filename):
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""
