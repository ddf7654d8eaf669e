"""The map of a Llama block: what each policy keeps of it, with a button for each policy and a table of all."""

from __future__ import annotations

from markupsafe import Markup

from book.components.pictures.block_drawing import drawings
from book.components.pictures.player import named
from book.components.table import table
from book.components.template import code, data, render, swatch
from book.quantities.block_map import CHOICES, OPENS, everything, kept
from book.quantities.grid import recomputes
from book.quantities.steps import LABEL, LONG, MODEL, block, overhead, sbh
from book.quantities.text import fixed, percent, size

NAME = "block-map"
TITLE = "What a block of Llama keeps, and what it computes again"
DESCRIPTION = (
    "The tensors of a block from top to bottom, each a box as wide as its bytes. Gate, up and product of the FFN "
    "are far wider than all others. Boxes that the chosen policy keeps are filled, the others are dashed outlines. "
    "The table below has every size."
)


def picture() -> Markup:
    """The map, with a button for each policy and a table of all of them."""
    policies = [
        {
            "name": policy,
            "size": data(block(policy), size(block(policy))),
            "sbh": fixed(sbh(policy), 2),
            "recomputes": recomputes(policy),
            "left": percent(block(policy) / block()),
            "cost": percent(overhead(policy)),
        }
        for policy in CHOICES
    ]
    return render(
        "block_map",
        name=NAME,
        title=TITLE,
        policies=policies,
        opens=OPENS,
        picture=named(drawings(), NAME, TITLE, DESCRIPTION),
        assumes=f"Llama accounting with flash attention, one block of {LABEL}, {LONG:,} tokens, batch "
        "size 1, bfloat16; FLOPs of matrix products alone.",
        made_by=f'actckpt.estimate("{MODEL}", seq_len={LONG}, policy=…).block',
        numbers=_table(),
    )


def _table() -> Markup:
    rows = [
        (
            swatch(term.component) + code(term.name),
            *(size(term.bytes) if term.name in kept(policy) else "–" for policy in CHOICES),
        )
        for term in everything().values()
    ]
    return table(
        "What one block keeps, tensor by tensor",
        ("tensor", *CHOICES),
        rows,
        ("a block keeps", *(size(block(policy)) for policy in CHOICES)),
        ("bytes for each S·B·H", *(fixed(sbh(policy), 2) for policy in CHOICES)),
        ("more FLOPs", *(percent(overhead(policy)) for policy in CHOICES)),
    )
