"""Claims on the FLOPs of a block and of a step."""

from __future__ import annotations

from book.claims.claim import Claim, Finding, Stated, judge, n
from book.claims.quantities import (
    EAGER,
    FLASH_2,
    LENGTHS,
    LONG,
    PAPER_LINK,
    WORKSHOP,
    compute_share,
    forward_coefficients,
    step,
)

THIRD, STEP, TWICE = Stated(33, "%"), Stated(3), Stated(2)
PROJECTIONS, SCORES, FFN_FLOPS = Stated(8, "BSH²"), Stated(4, "BS²H"), Stated(16, "BSH²")


def three_forwards() -> Finding:
    """The backward pass over the forward pass."""
    eager, flash = (float(s.flops.backward / s.flops.forward) for s in (step(**EAGER), step()))
    return judge(
        f"Backward over forward, Llama 3.1 8B at {n(f'{LONG:,}')} tokens: {n(eager, 2)} with eager, {n(flash, 2)} with "
        "flash attention, whose backward pass computes the scores again.",
        holds=eager == flash == TWICE.value,
        when=eager == TWICE.value,
        condition="every op is a plain matmul. Flash attention's backward pass has five matmuls for two.",
    )


def attention_flops() -> Finding:
    """The coefficients of attention's forward FLOPs."""
    gpt, llama = forward_coefficients("attention", "gpt"), forward_coefficients("attention", "llama")
    return judge(
        f"{n(gpt[0])} BSH² + {n(gpt[1])} BS²H in the workshop's block; {n(llama[0])} BSH² + {n(llama[1])} BS²H in "
        "Llama 3.1 8B with causal flash attention.",
        holds=llama == gpt,
        when=gpt == (PROJECTIONS.value, SCORES.value),
        condition="every query head has its own keys and values, and masked pairs are computed all the same.",
    )


def ffn_flops() -> Finding:
    """The coefficient of the FFN's forward FLOPs."""
    gpt, llama = (forward_coefficients("ffn", block)[0] for block in ("gpt", "llama"))
    return judge(
        f"{n(gpt)} BSH² for two matrices of width 4H; {n(llama)} BSH² for the three of Llama 3.1 8B.",
        holds=llama == gpt == FFN_FLOPS.value,
        when=gpt == FFN_FLOPS.value,
        condition="the FFN has two matrices of width 4H.",
    )


def twice_the_projections() -> Finding:
    """The FFN's FLOPs over those of attention's projections."""
    ratios = {
        block: forward_coefficients("ffn", block)[0] / forward_coefficients("attention", block)[0]
        for block in ("gpt", "llama")
    }
    return judge(
        f"{n(ratios['gpt'])} times in the workshop's block, {n(ratios['llama'], 1)} times in Llama 3.1 8B.",
        holds=ratios["gpt"] == ratios["llama"] == TWICE.value,
        when=ratios["gpt"] == TWICE.value,
        condition="the block is the workshop's.",
    )


def ffn_dominates() -> Finding:
    """The FFN's share of the forward FLOPs over the length."""
    by_formula = {s: compute_share("ffn", s, **WORKSHOP) for s in LENGTHS}
    real = {s: compute_share("ffn", s) for s in LENGTHS}
    turns = next((s for s, share in by_formula.items() if share <= 0.5), LENGTHS[-1])
    turns_real = next((s for s, share in real.items() if share <= 0.5), LENGTHS[-1])
    return judge(
        f"By the workshop's formulas the FFN has {n(100 * by_formula[1024], 0, '%')} of the FLOPs of the 8B shape at "
        f"{n('1K')} tokens and {n(100 * by_formula[LONG], 0, '%')} at {n('16K')}. In Llama 3.1 8B with flash "
        f"attention: {n(100 * real[1024], 0, '%')} and {n(100 * real[LONG], 0, '%')}.",
        holds=min(*by_formula.values(), *real.values()) > 0.5,
        when=by_formula[1024] > 0.5,
        condition=f"the sequence is shorter than {n(f'{turns:,}')} tokens, twice H; in the real block, than "
        f"{n(f'{turns_real:,}')}.",
    )


CLAIMS = (
    Claim(
        "three-forwards",
        "W12",
        f"A step costs {STEP} forward passes: the backward pass alone costs {TWICE}.",
        "workshop/compute-cost/#flops-of-a-step",
        three_forwards,
        f"{FLASH_2}, §3.1",
        "test_formulas::test_the_flash_backward_is_one_matmul_more_and_changes_nothing_else",
    ),
    Claim(
        "attention-flops",
        "W12",
        f"Attention's forward pass takes {PROJECTIONS} + {SCORES} FLOPs.",
        "workshop/compute-cost/#flops-of-a-block",
        attention_flops,
        f"{PAPER_LINK}, appendix A",
        "test_formulas::test_flops_of_a_llama_block_are_those_of_its_matmuls",
    ),
    Claim(
        "ffn-flops",
        "W12",
        f"The FFN's takes {FFN_FLOPS}.",
        "workshop/compute-cost/#flops-of-a-block",
        ffn_flops,
        f"{PAPER_LINK}, appendix A",
        "test_formulas::test_flops_of_a_llama_block_are_those_of_its_matmuls",
    ),
    Claim(
        "twice-the-projections",
        "W12",
        f"The FFN has {TWICE} times the FLOPs of attention's projections.",
        "workshop/compute-cost/#flops-of-a-block",
        twice_the_projections,
        f"{PAPER_LINK}, appendix A",
        "test_formulas::test_flops_of_a_llama_block_are_those_of_its_matmuls",
    ),
    Claim(
        "ffn-dominates",
        "W12",
        "In most configurations the FFN is the larger part of the compute.",
        "workshop/compute-cost/#flops-of-a-block",
        ffn_dominates,
        f"{PAPER_LINK}, appendix A",
        "test_figures_tradeoffs::test_memory_and_compute",
    ),
)
