"""The blocks of the home page."""

from __future__ import annotations

from markupsafe import Markup

from actckpt import ACCOUNTINGS, OPTIMIZERS, PRESETS
from actckpt.figures.memory import component_shares
from actckpt.policy import POLICIES
from book.components.figure import figure
from book.components.template import mark, render
from book.quantities.grid import View
from book.quantities.steps import CARD, LENGTHS, LONG, MODEL, RANKS, growth, overhead, saved, sbh
from book.quantities.text import fixed, percent, span, tokens, with_unit

VIEW = View(
    name="explorer",
    heading="Will it fit?",
    models=tuple(PRESETS),
    # the real block first, and the one that has every model next
    accountings=tuple(dict.fromkeys(("llama", "paper", *ACCOUNTINGS))),
    policies=tuple(POLICIES),
    # each power of two, and halfway to the next
    lengths=tuple(sorted({*LENGTHS, *(3 * length // 2 for length in LENGTHS[:-1])})),
    opens={
        "model": MODEL,
        "accounting": "llama",
        "policy": None,
        "seq_len": LONG,
        "ranks": RANKS,
        "card": CARD.name,
    },
    chart="policies",
    ranks=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
    batches=(1, 2, 4, 8, 16, 32, 64),
    optimizers=tuple(OPTIMIZERS),
)


def headlines() -> Markup:
    """The workshop's four headline figures, each with what it assumes and what a real Llama block does."""
    linear, squared = map(fixed, growth(accounting="paper"))
    overheads = [100 * overhead("full", seq_len=length) for length in LENGTHS]
    cards = (
        (
            f"{linear} SBH",
            "bytes that a block keeps, for each token and channel",
            "This is the paper's GPT block with dropout, without the S² term. Llama 3.1 8B keeps "
            f"{mark(fixed(sbh(), 2))}, but other tensors: no masks, fewer heads for keys and values, three matrices in "
            "the FFN.",
        ),
        (
            f"{squared} nS²",
            "bytes of attention matrices, for each head and pair of tokens",
            "This is eager attention with dropout. Flash attention keeps one number for each head and token instead.",
        ),
        (
            percent(overhead("both", accounting="workshop")),
            "more FLOPs to recompute everything",
            "This assumes a backward pass that costs exactly two forward passes. PyTorch stops a recomputation early, "
            "and the backward pass of flash attention is longer. So whole blocks of Llama 3.1 8B cost "
            f"{mark(with_unit(span(overheads), '%'))} between {tokens(LENGTHS[0])} and {tokens(LENGTHS[-1])} tokens.",
        ),
        (
            percent(saved("both", seq_len=LENGTHS[0], accounting="workshop")),
            "of the activations saved, and more with length",
            f"This is the workshop's count for Llama 3.1 8B at {tokens(LENGTHS[0])} tokens, with both halves "
            f"recomputed. The real block with flash attention saves {mark(percent(saved('full')))} at any length, if "
            "it is recomputed whole.",
        ),
    )
    return render("headlines", cards=[(mark(number), what, Markup(assumes)) for number, what, assumes in cards])


def shares() -> Markup:
    """The chart of what is stored with eager and with flash attention."""
    return figure(
        component_shares,
        MODEL,
        name="shares",
        caption="What one block of Llama 3.1 8B keeps, by component: dotted with eager attention, solid with flash "
        "attention. Without the S × S matrices neither share changes with the length.",
        assumes="Llama accounting, bfloat16, nothing recomputed.",
        test="test_figures::test_component_shares",
    )
