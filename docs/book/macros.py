"""What a page can say in the place of a number: `{{ percent(saved("full")) }}`.

A page has the quantities of `book.quantities.steps` and what writes them, the other modules of quantities by their
names, and its own chapter's module as `chapter`. A name that is missing, or a call that fails, ends the build.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

from actckpt.hardware import GB, GIB, REGISTER_BYTES
from book.components.template import mark
from book.quantities import advice, costs, flash, halves, peaks, steps, tensors, text
from book.quantities.sources import PUBLISHED, cite, more_time

OF_A_STEP = ("step", "kept", "block", "saved", "overhead", "states", "grows", "sbh", "growth", "peak_of_blocks")
CONSTANTS = ("MODEL", "CONFIG", "SIZES", "LONG", "LENGTHS", "RANKS")
MODULES = {"advice": advice, "costs": costs, "flash": flash, "halves": halves, "peaks": peaks, "tensors": tensors}


def n(count: int | str) -> str:
    """A whole number with its commas, or a number that is written already."""
    return count if isinstance(count, str) else f"{count:,}"


WRITES: tuple[Callable[..., str], ...] = (
    n,
    text.fixed,
    text.gib,
    text.gb,
    text.size,
    text.percent,
    text.times,
    text.span,
    text.tokens,
    text.model_label,
)


def define_env(env: Any) -> None:
    """Give every page its names."""
    env.variables.update({name: getattr(steps, name) for name in (*OF_A_STEP, *CONSTANTS)})
    env.variables.update(MODULES | {"GB": GB, "GIB": GIB, "REGISTER_BYTES": REGISTER_BYTES})
    for write in WRITES:
        env.macro(_marked(write), write.__name__)
    env.variables["published"] = {name: figure.words for name, figure in PUBLISHED.items()}
    env.macro(more_time)
    env.macro(cite)


def on_pre_page_macros(env: Any) -> None:
    """Give a page its chapter, the module that is named as the page."""
    name = env.page.file.name.replace("-", "_")
    try:
        env.variables["chapter"] = import_module(f"book.chapters.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"book.chapters.{name}":
            raise
        env.variables.pop("chapter", None)


def _marked(write: Callable[..., str]) -> Callable[..., str]:
    @wraps(write)
    def marked(*arguments: Any, **options: Any) -> str:
        return str(mark(write(*arguments, **options)))

    return marked
