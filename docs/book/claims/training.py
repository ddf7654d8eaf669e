"""Claims on the memory of a whole step."""

from __future__ import annotations

from book.claims.claim import Claim, Finding, Stated, judge, n, near
from book.claims.quantities import (
    CONFIG,
    EAGER,
    LENGTHS,
    LONG,
    PAPER,
    PAPER_LINK,
    coefficients,
    exponent,
    gib,
    saved,
    step,
)

SAVED, PARAMETERS = Stated(90, "%"), Stated(32, "GB")
PER_PARAMETER = {"parameters": Stated(4), "gradients": Stated(4), "optimizer": Stated(8)}


def same_for_llama() -> Finding:
    """The paper's formula against the real block of the model that the workshop charts."""
    paper, eager, flash = (gib(step(**how).total_bytes) for how in (PAPER, EAGER, {}))
    return judge(
        f"All blocks of Llama 3.1 8B at {n(f'{LONG:,}')} tokens: {n(paper, 0, 'GiB')} by the formula, "
        f"{n(eager, 0, 'GiB')} tensor by tensor with eager attention, {n(flash, 0, 'GiB')} with flash attention.",
        holds=near(paper, eager) and near(paper, flash),
        condition="Llama has fewer heads for keys and values, three matrices in its FFN, RMSNorm, no dropout, and is "
        "trained with flash attention.",
    )


def grows_with_square() -> Finding:
    """The power of S by which activations grow."""
    eager, flash = exponent(**EAGER), exponent()
    return judge(
        f"From {n(f'{LONG:,}')} tokens to twice as many, the activations of Llama 3.1 8B grow with S to the power "
        f"{n(eager, 2)} with eager and {n(flash, 2)} with flash attention.",
        holds=near(eager, 2) and near(flash, 2),
        when=near(eager, 2),
        condition="attention is eager.",
    )


def grows_linearly() -> Finding:
    """The same, for the statement that contradicts it."""
    eager, flash = exponent(**EAGER), exponent()
    return judge(
        f"Twice the length takes {n(2**eager, 2)} times the memory with eager attention and {n(2**flash, 2)} times "
        "with flash attention.",
        holds=near(eager, 1) and near(flash, 1),
        when=near(flash, 1),
        condition="attention is flash attention. With the workshop's own S² term it is not linear.",
    )


def sum_of_four() -> Finding:
    """What the peak has beside the four summands."""
    full = step(policy="full")
    left_out = full.peak_bytes - full.states.bytes - full.total_bytes
    logits = full.head.ledger.bytes
    return judge(
        f"At {n(f'{LONG:,}')} tokens, whole blocks recomputed, the peak has {n(gib(left_out), 1, 'GiB')} more than the "
        f"four. The logits and the loss alone save {n(gib(logits), 1, 'GiB')}, "
        f"{n(logits / full.total_bytes, 1, '×')} the {n(gib(full.total_bytes), 1, 'GiB')} of all "
        f"{n(len(full.layers))} checkpoints.",
        holds=left_out == 0,
        condition="The logits, and what the backward pass allocates while it runs, are missing.",
    )


def eight_billion() -> Finding:
    """The bytes of the parameters of the 8B model."""
    size = step().states.parameters_bytes
    return judge(
        f"{n(size / 1e9, 1, 'GB')}, which is {n(gib(size), 1, 'GiB')}.", holds=near(size / 1e9, PARAMETERS.value, 0.01)
    )


def sixteen_bytes() -> Finding:
    """The bytes of each training state for a parameter."""
    states, count = step().states, CONFIG.n_parameters
    found = {
        "parameters": states.parameters_bytes,
        "gradients": states.gradients_bytes,
        "optimizer": states.optimizer_bytes,
    }
    return judge(
        f"{n(states.bytes / count)} bytes a parameter, {n(gib(states.bytes), 0, 'GiB')} for Llama 3.1 8B on one rank. "
        "bfloat16 weights with float32 main weights divide the same bytes otherwise.",
        holds=all(size == PER_PARAMETER[name].value * count for name, size in found.items()),
    )


def fixed_cost() -> Finding:
    """The states at every length."""
    sizes = {step(s).states.bytes for s in LENGTHS}
    return judge(
        f"The states of Llama 3.1 8B take {n(len(sizes))} size at {n(len(LENGTHS))} lengths. Ranks that share them "
        "divide it.",
        holds=len(sizes) == 1,
    )


def ninety_percent() -> Finding:
    """What recomputation saves, by accounting."""
    workshop = [saved("both", s, accounting="workshop") for s in (1024, LONG)]
    without_square = 1 - sbh_left("both") / coefficients(**PAPER)[0]
    both, full = saved("both"), saved("full")
    return judge(
        f"{n(100 * workshop[0], 1)} to {n(100 * workshop[1], 1, '%')} by the workshop's accounting, "
        f"{n(100 * without_square, 0, '%')} of its linear terms alone. Llama 3.1 8B with flash attention: "
        f"{n(100 * both, 1, '%')} with both halves recomputed, {n(100 * full, 1, '%')} with whole blocks.",
        holds=min(*workshop, without_square, both, full) >= SAVED.value / 100,
        when=min(*workshop, full) >= SAVED.value / 100,
        condition="attention is eager, or the whole block is one checkpoint.",
    )


def sbh_left(policy: str) -> float:
    """What a policy leaves of the linear terms of the paper's block, as the workshop counts them: in elements."""
    return coefficients(policy=policy, accounting="workshop")[0] / 2


CLAIMS = (
    Claim(
        "ninety-percent",
        "W1",
        f"Recomputation saves more than {SAVED} of the activations.",
        "workshop/memory-over-sequence-length/#what-each-strategy-leaves",
        ninety_percent,
        f"{PAPER_LINK}, §5",
        "test_formulas::test_both_saves_93_to_99_percent_by_the_workshop",
    ),
    Claim(
        "same-for-llama",
        "W6",
        "The formula describes Llama 3.1.",
        "workshop/activations/#llama-block",
        same_for_llama,
        '<a href="https://arxiv.org/abs/2407.21783">Grattafiori et al., arXiv 2407.21783</a>, table 3',
        "test_measurement::test_the_measurement_equals_the_closed_form",
    ),
    Claim(
        "grows-with-square",
        "W4",
        "The quadratic term makes long contexts hungry for memory.",
        "workshop/memory-over-sequence-length/#twice-the-length",
        grows_with_square,
        f"{PAPER_LINK}, §4.1",
        "test_figures::test_accountings_over_seq_len",
    ),
    Claim(
        "grows-linearly",
        "W7",
        "Without recomputation, memory grows in proportion to layers times length.",
        "workshop/memory-over-sequence-length/#twice-the-length",
        grows_linearly,
        f"{PAPER_LINK}, §4.1",
        "test_figures::test_accountings_over_seq_len",
    ),
    Claim(
        "sum-of-four",
        "W5",
        "A step's memory is parameters, gradients, optimizer and activations.",
        "workshop/training-memory/#logits",
        sum_of_four,
        f"{PAPER_LINK}, §4.3",
        "test_measurement::test_the_peak_is_that_of_mem_tracker",
    ),
    Claim(
        "eight-billion",
        "W5",
        f"The parameters of an 8B model take {PARAMETERS} in float32.",
        "workshop/training-memory/#the-sum",
        eight_billion,
        '<a href="https://arxiv.org/abs/2407.21783">Grattafiori et al., arXiv 2407.21783</a>',
        "test_formulas::test_published_parameter_counts",
    ),
    Claim(
        "sixteen-bytes",
        "W5",
        f"Each parameter takes {PER_PARAMETER['parameters']} bytes, its gradient {PER_PARAMETER['gradients']}, Adam "
        f"{PER_PARAMETER['optimizer']}.",
        "workshop/training-memory/#the-sum",
        sixteen_bytes,
        '<a href="https://arxiv.org/abs/1910.02054">Rajbhandari et al., arXiv 1910.02054</a>, §3.1',
        "test_formulas::test_training_states_are_16_bytes_a_parameter_and_shared_by_ranks",
    ),
    Claim(
        "fixed-cost",
        "W5",
        "The model's state is a fixed cost; only activations grow with the sequence.",
        "workshop/training-memory/#the-sum",
        fixed_cost,
        '<a href="https://arxiv.org/abs/1910.02054">Rajbhandari et al., arXiv 1910.02054</a>, §3',
        "test_formulas::test_training_states_are_16_bytes_a_parameter_and_shared_by_ranks",
    ),
)
