"""The blocks of the home page."""

from __future__ import annotations

from actckpt import PRESETS
from actckpt.figures.memory import component_shares
from actckpt.policy import POLICIES
from book.components import explorer as explorers
from book.components import figure
from book.quantities import numbers, text
from book.quantities.grid import View

LENGTHS = (1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768, 49152, 65536, 98304, 131072)

VIEW = View(
    name="explorer",
    heading="Will it fit?",
    models=tuple(PRESETS),
    accountings=("llama", "paper", "workshop"),
    policies=tuple(POLICIES),
    lengths=LENGTHS,
    opens={"model": "llama-3.1-8b", "accounting": "llama", "policy": "none", "seq_len": 16384, "ranks": 8},
)


def explorer() -> str:
    """The explorer."""
    return explorers.explorer(VIEW)


def headlines() -> str:
    """The workshop's four headline figures, each with what it assumes and what a real Llama block does."""
    cards = (
        (
            f"{numbers.paper_linear()} SBH",
            "bytes a block keeps, for each token and channel",
            "The paper's GPT block with dropout, without the S² term. Llama 3.1 8B keeps "
            f"{text.mark(numbers.llama_none())} in another way: no masks, fewer heads for keys and "
            "values, three matrices in the FFN.",
        ),
        (
            f"{numbers.paper_squared()} nS²",
            "bytes of attention matrices, for each head and pair of tokens",
            "Eager attention with dropout. Flash attention keeps one number for each head and token instead.",
        ),
        (
            numbers.workshop_overhead(),
            "more FLOPs to recompute everything",
            "A backward pass of exactly twice the forward. PyTorch stops a recomputation early, and flash attention's "
            f"backward is longer: whole blocks of Llama 3.1 8B cost {text.mark(numbers.llama_overheads())} between "
            f"{text.tokens(int(numbers.LENGTHS[0]))} and {text.tokens(int(numbers.LENGTHS[-1]))} tokens.",
        ),
        (
            numbers.workshop_saved_short(),
            "of the activations saved, and more with length",
            f"The workshop's accounting of Llama 3.1 8B, both halves recomputed, {text.tokens(1024)} tokens. The "
            f"real block with flash attention, recomputed whole, saves {text.mark(numbers.llama_full_saved())} "
            "at any length.",
        ),
    )
    items = "".join(
        f'<li><p class="ac-headline__figure">{text.mark(figure_)}</p><p class="ac-headline__what">{what}</p>'
        f'<p class="ac-headline__assumes">{assumes}</p></li>'
        for figure_, what, assumes in cards
    )
    return f'<ul class="ac-headlines">{items}</ul>'


def shares() -> str:
    """The chart of what is stored with eager and with flash attention."""
    return figure.figure(
        component_shares("llama-3.1-8b"),
        name="shares",
        made_by='actckpt.figures.memory.component_shares("llama-3.1-8b")',
        assumes="Llama accounting, one block of Llama 3.1 8B, bfloat16, nothing recomputed; dotted is eager attention.",
        test="test_figures::test_component_shares",
    )
