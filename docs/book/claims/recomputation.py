"""Claims on recomputation: checkpoints, and what each strategy leaves."""

from __future__ import annotations

from book.claims.claim import Claim, Finding, Stated, judge, n, near
from book.claims.quantities import CHECKPOINT, EAGER, PAPER, PAPER_LINK, WORKSHOP, coefficients, overhead, sbh, step

CHECKPOINT_BYTES, SHRINKS, LEFT = Stated(2, "bytes"), Stated(34, "×"), Stated(5, "SBH")


def boundaries() -> Finding:
    """What is left where only checkpoints are said to be."""
    kept = {policy: [term.name for term in step(policy=policy).block] for policy in ("full", "both")}
    return judge(
        f"With <code>full</code> a block keeps {n(len(kept['full']))} tensor, its input; with <code>both</code> it "
        f"keeps {n(len(kept['both']))}, one of them inside the block. The workshop's accounting keeps "
        f"{n(len(step(policy='both', **WORKSHOP).block.terms))}.",
        holds=len(kept["full"]) == len(kept["both"]) == 1,
        when=len(kept["full"]) == 1,
        condition="the whole block is one checkpoint.",
    )


def one_hidden_state() -> Finding:
    """The bytes of a checkpoint."""
    size = sbh(policy="full")
    return judge(f"{n(size)} bytes for each SBH: one hidden state in bfloat16.", holds=size == CHECKPOINT_BYTES.value)


def shrinks() -> Finding:
    """How much smaller a checkpoint is than what it replaces, without the quadratic term."""
    paper, real = coefficients(**PAPER)[0] / sbh(policy="full", **PAPER), sbh() / sbh(policy="full")
    return judge(
        f"{n(paper, 0, '×')}: {n(coefficients(**PAPER)[0])} bytes against {n(sbh(policy='full', **PAPER))}. Llama "
        f"3.1 8B: {n(real, 1, '×')}.",
        holds=near(paper, SHRINKS.value),
        condition="The comparison sets bytes against elements.",
    )


def a_is_linear() -> Finding:
    """What recomputing attention leaves of the quadratic term."""
    left = [coefficients(policy="attention", **how)[1] for how in (WORKSHOP, EAGER, {})]
    return judge(
        f"What is left of nS²B: {', '.join(n(value) for value in left)} bytes, by the workshop, in Llama with eager "
        "and with flash attention (where nothing was there to remove).",
        holds=not any(left),
    )


def b_keeps_square() -> Finding:
    """What recomputing the FFN leaves of the quadratic term."""
    workshop, eager, flash = (coefficients(policy="ffn", **how)[1] for how in (WORKSHOP, EAGER, {}))
    return judge(
        f"What is left of nS²B: {n(workshop)} bytes by the workshop, {n(eager)} in Llama with eager, {n(flash)} with "
        "flash attention.",
        holds=min(workshop, eager, flash) > 0,
        when=min(workshop, eager) > 0,
        condition="attention is eager.",
    )


def c_leaves() -> Finding:
    """What recomputing both leaves."""
    workshop = coefficients(policy="both", **WORKSHOP)[0]
    paper, both, full = (coefficients(policy="both", **PAPER)[0], sbh(policy="both"), sbh(policy="full"))
    return judge(
        f"{n(workshop)} bytes for each SBH by the workshop's arithmetic, {n(paper)} by the paper's terms; a real "
        f"block keeps {n(both)} with both halves recomputed and {n(full)} as one checkpoint.",
        holds=all(near(value, 2 * LEFT.value) for value in (workshop, paper, both, full)),
        condition="A norm's saved input is the checkpoint: the workshop counts it twice.",
    )


def norms_are_worth_it() -> Finding:
    """What recomputing the norms saves."""
    none, some = step().block, step(policy="pointwise").block
    outputs = [name for name in ("norm_1.output", "norm_2.output") if name not in {term.name for term in some}]
    share = sum(int(none[name].bytes) for name in outputs) / int(none.bytes)
    cost = overhead("pointwise")
    return judge(
        f"The outputs of the two norms are {n(100 * share, 0, '%')} of a block of Llama 3.1 8B. Recomputing them, as "
        f"<code>pointwise</code> does, runs {n(100 * cost, 0, '%')} more FLOPs.",
        holds=share < 0.05,
        condition="They are the cheapest thing to recompute: no matmul is run again, only memory is moved.",
    )


CLAIMS = (
    Claim(
        "boundaries",
        "W8",
        "With checkpointing, only small tensors at the layers' boundaries are stored.",
        "workshop/recomputation/#keep-a-checkpoint",
        boundaries,
        CHECKPOINT,
        "test_formulas::test_what_the_policies_leave_of_34_03",
    ),
    Claim(
        "one-hidden-state",
        "W9",
        f"A checkpoint is one hidden state: SBH times {CHECKPOINT_BYTES}.",
        "workshop/recomputation/#checkpoint-tensors",
        one_hidden_state,
        f"{PAPER_LINK}, §5",
        "test_formulas::test_what_the_policies_leave_of_34_03",
    ),
    Claim(
        "shrinks",
        "W9",
        f"It is about {SHRINKS} smaller than what it stands for, the quadratic term aside.",
        "workshop/recomputation/#checkpoint-tensors",
        shrinks,
        f"{PAPER_LINK}, §5",
        "test_formulas::test_what_each_strategy_leaves",
    ),
    Claim(
        "a-is-linear",
        "W10",
        "Recomputing attention (A) removes the quadratic term.",
        "workshop/recomputation/#three-strategies",
        a_is_linear,
        f"{PAPER_LINK}, §5",
        "test_formulas::test_what_each_strategy_leaves",
    ),
    Claim(
        "b-keeps-square",
        "W10",
        "Recomputing the FFN (B) leaves the quadratic term, so it saves less at long sequences.",
        "workshop/recomputation/#three-strategies",
        b_keeps_square,
        f"{PAPER_LINK}, §5",
        "test_formulas::test_what_each_strategy_leaves",
    ),
    Claim(
        "c-leaves",
        "W10",
        f"Recomputing both (C) leaves about {LEFT} elements a block.",
        "workshop/recomputation/#three-strategies",
        c_leaves,
        f"{PAPER_LINK}, §5",
        "test_formulas::test_what_each_strategy_leaves",
    ),
    Claim(
        "norms",
        "W3",
        "Norms are rarely worth recomputing.",
        "workshop/attention-first/#policies-worth-taking",
        norms_are_worth_it,
        CHECKPOINT,
        "test_tradeoff::test_what_runs_no_flops_again_buys_without_limit",
    ),
)
