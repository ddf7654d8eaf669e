"""The blocks of the chapter on recomputation."""

from __future__ import annotations

from markupsafe import Markup

from actckpt import POLICIES
from book.components.table import table
from book.components.template import code, html
from book.quantities.steps import LONG, block, growth
from book.quantities.text import fixed, size, tokens


def strategies() -> Markup:
    """What each strategy leaves, by each accounting, as a table."""
    names = [name for name, policy in POLICIES.items() if policy.strategy]
    rows = [
        (
            _label(name),
            # the workshop has no checkpoint round a whole block
            "–" if name == "full" else _terms(name, "workshop"),
            _terms(name, "paper"),
            _terms(name, "llama", 2),
            size(block(name)),
        )
        for name in ["none", *names, "full"]
    ]
    head = ("recomputed", "workshop", "paper", "Llama", f"Llama at {tokens(LONG)}")
    return table("What a block keeps, in bytes", head, rows)


def _label(policy: str) -> Markup:
    letter = POLICIES[policy].strategy
    return (html("<strong>{{ letter }}</strong> ", letter=letter) if letter else Markup()) + code(policy)


def _terms(policy: str, accounting: str, digits: int = 0) -> str:
    linear, squared = growth(policy, accounting=accounting)
    return f"{fixed(linear, digits)} SBH" + (f" + {fixed(squared)} nS²B" if squared else "")
