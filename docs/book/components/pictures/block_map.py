"""The map of a Llama block: what each policy keeps of it, with a button for each policy and a table of all."""

from __future__ import annotations

from html import escape

from markupsafe import Markup

from actckpt import POLICIES
from book.components.pictures.block import CHOICES, MODEL, OPENS, SEQ_LEN, everything, kept, per_sbh, step
from book.components.pictures.block_drawing import drawings
from book.components.pictures.player import named
from book.components.table import table
from book.components.template import code, swatch
from book.quantities import text

NAME = "block-map"


def picture() -> str:
    """The map, with a button for each policy and a table of all of them."""
    title = "What a block of Llama keeps, and what it computes again"
    return "".join(
        (
            f'<figure class="ac-map" id="{NAME}" aria-labelledby="{NAME}-heading">',
            f'<p class="ac-figure__title" id="{NAME}-heading">{title}</p>',
            _form(),
            f'<div class="ac-map__said" role="status" aria-live="polite" aria-atomic="true">{_said()}</div>',
            f'<div class="ac-player__picture">{named(drawings(), NAME, title, _description())}</div>',
            "<figcaption><p>A box is as wide as its bytes. Filled: kept until the backward pass. Dashed: computed "
            "again for it. Pale: there in passing, and not needed again. The line on the left spans what runs a second "
            f"time; the bar on top is all that the block could store.</p><p>{escape(_assumes())} Made by "
            f'<code>actckpt.estimate("{MODEL}", seq_len={SEQ_LEN}, policy=…).block</code>, held by '
            '<a href="@/evidence/tests/#test_pictures"><code>test_the_map_is_the_ledger</code></a>.</p></figcaption>',
            f'<details class="ac-data"><summary>Every tensor under every policy</summary>{_table()}</details>',
            "</figure>",
        )
    )


def _assumes() -> str:
    return (
        f"Llama accounting with flash attention, one block of {text.model_label(MODEL)}, {SEQ_LEN:,} tokens, "
        "batch size 1, bfloat16; FLOPs of matrix products alone."
    )


def _description() -> str:
    return (
        "The tensors of a block from top to bottom, each a box as wide as its bytes. Gate, up and product of the FFN "
        "are far wider than all others. Boxes that the chosen policy keeps are filled, the others are dashed outlines. "
        "The table below has every size."
    )


def _form() -> str:
    radios = "".join(
        f'<label><input type="radio" name="policy" value="{policy}"{" checked" if policy == OPENS else ""}>'
        f"<span>{policy}</span></label>"
        for policy in CHOICES
    )
    return (
        f'<form class="ac-control ac-map__form" hidden><fieldset class="ac-control"><legend>Policy</legend>'
        f'<div class="ac-segments">{radios}</div></fieldset></form>'
    )


def _said() -> str:
    whole = step("none").block.bytes
    parts = []
    for policy in CHOICES:
        found = step(policy)
        n_bytes = found.block.bytes
        cost = text.percent(found.flops.overhead)
        words = (
            f"a block, {per_sbh(policy)} bytes for each S·B·H. "
            f"{_sentence(f'recomputes {POLICIES[policy].recomputes}')} "
            f"That leaves {text.percent(n_bytes / whole)} of what the block stores, for {cost} more FLOPs."
        )
        off = "" if policy == OPENS else " is-off"
        parts.append(
            f'<p class="ac-total{off}" data-in="{policy}"><data value="{n_bytes}" title="{n_bytes:,} bytes">'
            f"{text.size(n_bytes)}</data> <span>{words}</span></p>"
        )
    return "".join(parts)


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _table() -> Markup:
    rows = [
        (
            swatch(term.component) + code(term.name),
            *(text.size(term.bytes) if term.name in kept(policy) else "–" for policy in CHOICES),
        )
        for term in everything().values()
    ]
    return table(
        "What one block keeps, tensor by tensor",
        ("tensor", *CHOICES),
        rows,
        ("a block keeps", *(text.size(step(policy).block.bytes) for policy in CHOICES)),
        ("bytes for each S·B·H", *map(per_sbh, CHOICES)),
        ("more FLOPs", *(text.percent(step(policy).flops.overhead) for policy in CHOICES)),
    )
