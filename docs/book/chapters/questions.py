"""The block of the page of questions: the longest sequences that fit."""

from __future__ import annotations

from markupsafe import Markup

from actckpt import ACCELERATORS
from book.components.table import table
from book.components.template import code
from book.quantities import advice, peaks
from book.quantities.steps import RANKS, overhead
from book.quantities.text import percent

CARDS = ("a100-80gb", "h100-80gb", "h200-141gb", "b200-192gb")


def longest() -> Markup:
    """The longest sequence under some policies on some cards, as a table."""
    cards = [ACCELERATORS[name] for name in CARDS]
    rows = [
        (code(policy), percent(overhead(policy)), *(f"{peaks.longest(policy, card=card):,}" for card in cards))
        for policy in advice.ORDER
    ]
    caption = f"The longest sequence in tokens, Llama 3.1 8B, states shared by {RANKS} ranks, one sequence a rank"
    return table(caption, ("policy", "more FLOPs at 16K", *(card.label for card in cards)), rows)
