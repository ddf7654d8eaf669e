"""The memory of a whole step."""

from __future__ import annotations

from functools import partial
from math import log2
from typing import Any

from actckpt.hardware import GIB
from book.claims import names
from book.claims.claim import Finding, Stated, claim, judge, n, near
from book.claims.names import AT_LONG, EAGER, LLAMA_3, PAPER, PAPER_LINK, SHORTEST, WORKSHOP, ZERO
from book.quantities.steps import CONFIG, LENGTHS, LONG, grows, growth, kept, saved, step

SAVED, PARAMETERS = Stated(90, "%"), Stated(32, "GB")
PER_PARAMETER = {"parameters": Stated(4), "gradients": Stated(4), "optimizer": Stated(8)}
DOUBLED = "workshop/memory-over-sequence-length/#twice-the-length"
THE_SUM = "workshop/training-memory/#the-sum"

doubled = partial(claim, taught=DOUBLED, source=f"{PAPER_LINK}, §4.1", tests=(names.MEASURED,))

in_the_sum = partial(claim, element="W5", taught=THE_SUM, tests=(names.STATES,))


def exponent(**how: Any) -> float:
    """The power of S by which activations grow when a long sequence is doubled."""
    return log2(grows(seq_len=2 * LONG, **how))


@claim(
    element="W1",
    says=f"Recomputation saves more than {SAVED} of the activations.",
    taught="workshop/memory-over-sequence-length/#what-each-strategy-leaves",
    source=f"{PAPER_LINK}, §5",
    tests=("test_formulas::test_both_saves_93_to_99_percent_by_the_workshop", names.POLICIES_LEAVE),
)
def ninety_percent() -> Finding:
    workshop = [saved("both", seq_len=seq_len, **WORKSHOP) for seq_len in (LENGTHS[0], LONG)]
    # of the paper's block, as the workshop counts it: in elements
    without_square = 1 - growth("both", **WORKSHOP).linear / 2 / growth(**PAPER).linear
    both, full = saved("both"), saved("full")
    return judge(
        f"By the workshop's accounting it saves {n(100 * workshop[0], 1)} to {n(100 * workshop[1], 1, '%')} from "
        f"{SHORTEST} to {AT_LONG} tokens, and {n(100 * without_square, 0, '%')} of the linear terms alone. Llama 3.1 "
        f"8B with flash attention: {n(100 * both, 1, '%')} with both halves recomputed, {n(100 * full, 1, '%')} with "
        "whole blocks.",
        holds=min(*workshop, without_square, both, full) >= SAVED.value / 100,
        when=min(*workshop, full) >= SAVED.value / 100,
        condition="attention is eager, or the whole block is one checkpoint.",
    )


@claim(
    element="W6",
    says="The formula describes Llama 3.1.",
    taught="workshop/activations/#llama-block",
    source=f"{LLAMA_3}, table 3",
    tests=(names.PAPERS_LAYER, names.MEASURED),
)
def same_for_llama() -> Finding:
    paper, eager, flash = (kept(**how) / GIB for how in (PAPER, EAGER, {}))
    return judge(
        f"All blocks of Llama 3.1 8B at {n(LONG)} tokens: {n(paper, 0, 'GiB')} by the formula, "
        f"{n(eager, 0, 'GiB')} tensor by tensor with eager attention, {n(flash, 1, 'GiB')} with flash attention.",
        holds=near(paper, eager) and near(paper, flash),
        condition="Llama has fewer heads for keys and values, three matrices in its FFN, RMSNorm, no dropout, and is "
        "trained with flash attention.",
    )


@doubled(element="W4", says="The quadratic term is why long contexts need so much memory.")
def grows_with_square() -> Finding:
    eager, flash = exponent(**EAGER), exponent()
    return judge(
        f"From {n(LONG)} tokens to twice as many, the activations of Llama 3.1 8B grow with S to the power "
        f"{n(eager, 2)} with eager and {n(flash, 2)} with flash attention.",
        holds=near(eager, 2) and near(flash, 2),
        when=near(eager, 2),
        condition="attention is eager.",
    )


@doubled(element="W7", says="Without recomputation, memory grows in proportion to layers times length.")
def grows_linearly() -> Finding:
    eager, flash = exponent(**EAGER), exponent()
    return judge(
        f"Twice the length takes {n(2**eager, 2)} times the memory with eager attention and {n(2**flash, 2)} times "
        "with flash attention.",
        holds=near(eager, 1) and near(flash, 1),
        when=near(flash, 1),
        condition="attention is flash attention. With the workshop's own S² term it is not linear.",
    )


@claim(
    element="W5",
    says="A step's memory is parameters, gradients, optimizer and activations.",
    taught="workshop/training-memory/#logits",
    source=f"{PAPER_LINK}, §4.3",
    tests=(names.PEAK, names.MEASURED),
)
def sum_of_four() -> Finding:
    full = step("full")
    left_out = full.peak_bytes - full.states.bytes - full.total_bytes
    logits = full.head.ledger.component_bytes("logits")
    return judge(
        f"At {n(LONG)} tokens, whole blocks recomputed, the peak has {n(left_out / GIB, 1, 'GiB')} more than the "
        f"four. The logits and the loss alone save {n(logits / GIB, 1, 'GiB')}, {n(logits / full.total_bytes, 1, '×')} "
        f"the {n(full.total_bytes / GIB, 1, 'GiB')} of all {n(len(full.layers))} checkpoints.",
        holds=left_out == 0,
        condition="The logits, and what the backward pass allocates while it runs, are missing.",
    )


@in_the_sum(
    says=f"The parameters of an 8B model take {PARAMETERS} in float32.",
    source=LLAMA_3,
    tests=("test_formulas::test_published_parameter_counts", names.STATES),
)
def eight_billion() -> Finding:
    size = step().states.parameters_bytes
    return judge(
        f"{n(size / 1e9, 1, 'GB')}, which is {n(size / GIB, 1, 'GiB')}.", holds=near(size / 1e9, PARAMETERS, 0.01)
    )


@in_the_sum(
    says=f"Each parameter takes {PER_PARAMETER['parameters']} bytes, its gradient {PER_PARAMETER['gradients']}, Adam "
    f"{PER_PARAMETER['optimizer']}.",
    source=f"{ZERO}, §3.1",
)
def sixteen_bytes() -> Finding:
    states, count = step().states, CONFIG.n_parameters
    return judge(
        f"{n(states.bytes / count)} bytes a parameter, {n(states.bytes / GIB, 0, 'GiB')} for Llama 3.1 8B on one rank. "
        "With bfloat16 weights and a float32 copy of them, the same bytes are split differently.",
        holds=all(getattr(states, f"{name}_bytes") == stated.value * count for name, stated in PER_PARAMETER.items()),
    )


@in_the_sum(says="The model's state is a fixed cost; only activations grow with the sequence.", source=f"{ZERO}, §3")
def fixed_cost() -> Finding:
    sizes = {step(seq_len=seq_len).states.bytes for seq_len in LENGTHS}
    return judge(
        f"The states of Llama 3.1 8B take {n(max(sizes) / GIB, 0, 'GiB')} at each of {n(len(LENGTHS))} lengths. Ranks "
        "that share them divide this.",
        holds=len(sizes) == 1,
    )
