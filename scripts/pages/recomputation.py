"""The blocks of the chapter on recomputation."""

from __future__ import annotations

from pages.pictures import baseline as baseline_picture
from pages.pictures import checkpointed


def baseline() -> str:
    """The step that stores everything."""
    return baseline_picture.picture()


def checkpointing() -> str:
    """The step that keeps checkpoints."""
    return checkpointed.picture()
