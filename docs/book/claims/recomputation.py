"""Checkpoints, and what each strategy leaves."""

from __future__ import annotations

from functools import partial

from book.claims import names
from book.claims.claim import Finding, Stated, claim, judge, n, near
from book.claims.names import CHECKPOINT, EAGER, PAPER, PAPER_LINK, WORKSHOP
from book.quantities.steps import growth, overhead, sbh, step

CHECKPOINT_BYTES, SHRINKS, LEFT = Stated(2, "bytes"), Stated(34, "×"), Stated(5, "SBH")
TENSORS, STRATEGIES = "workshop/recomputation/#checkpoint-tensors", "workshop/recomputation/#three-strategies"
SOURCE = f"{PAPER_LINK}, §5"

checkpoint = partial(claim, element="W9", taught=TENSORS, source=SOURCE, tests=(names.POLICIES_LEAVE,))

strategy = partial(claim, element="W10", taught=STRATEGIES, source=SOURCE, tests=(names.STRATEGIES, names.MEASURED))


@claim(
    element="W8",
    says="With checkpointing, only small tensors at the boundaries of layers are stored.",
    taught="workshop/recomputation/#keep-a-checkpoint",
    source=CHECKPOINT,
    tests=(names.POLICIES_LEAVE, names.STRATEGIES),
)
def boundaries() -> Finding:
    full, both, workshop = (
        len(block.terms) for block in (step("full").block, step("both").block, step("both", **WORKSHOP).block)
    )
    return judge(
        f"With <code>full</code> a block keeps {n(full)} tensor, its input; with <code>both</code> it "
        f"keeps {n(both)}, one of them inside the block. The workshop's accounting keeps {n(workshop)}.",
        holds=full == both == 1,
        when=full == 1,
        condition="the whole block is one checkpoint.",
    )


@checkpoint(says=f"A checkpoint is one hidden state: SBH times {CHECKPOINT_BYTES}.")
def one_hidden_state() -> Finding:
    size = sbh("full")
    return judge(f"{n(size)} bytes for each SBH: one hidden state in bfloat16.", holds=size == CHECKPOINT_BYTES.value)


@checkpoint(
    says=f"It is about {SHRINKS} smaller than the activations that it replaces, without the quadratic term.",
    tests=(names.STRATEGIES, names.POLICIES_LEAVE),
)
def shrinks() -> Finding:
    whole, checkpoint = growth(**PAPER).linear, sbh("full", **PAPER)
    return judge(
        f"{n(whole / checkpoint, 0, '×')}: {n(whole)} bytes against {n(checkpoint)}. Llama 3.1 8B: "
        f"{n(sbh() / sbh('full'), 1, '×')}.",
        holds=near(whole / checkpoint, SHRINKS),
        condition="The comparison divides bytes by elements.",
    )


@strategy(says="Recomputing attention (A) removes the quadratic term.")
def a_is_linear() -> Finding:
    left = [growth("attention", **how).squared for how in (WORKSHOP, EAGER, {})]
    return judge(
        f"What is left of nS²B: {', '.join(map(n, left))} bytes, by the workshop, in Llama with eager "
        "and with flash attention (where nothing was there to remove).",
        holds=not any(left),
    )


@strategy(says="Recomputing the FFN (B) leaves the quadratic term, so it saves less at long sequences.")
def b_keeps_square() -> Finding:
    workshop, eager, flash = (growth("ffn", **how).squared for how in (WORKSHOP, EAGER, {}))
    return judge(
        f"What is left of nS²B: {n(workshop)} bytes by the workshop, {n(eager)} in Llama with eager, {n(flash)} with "
        "flash attention.",
        holds=min(workshop, eager, flash) > 0,
        when=min(workshop, eager) > 0,
        condition="attention is eager.",
    )


@strategy(
    says=f"Recomputing both (C) leaves about {LEFT} elements a block.", tests=(names.STRATEGIES, names.POLICIES_LEAVE)
)
def c_leaves() -> Finding:
    workshop, paper = (growth("both", **how).linear for how in (WORKSHOP, PAPER))
    both, full = sbh("both"), sbh("full")
    return judge(
        f"{n(workshop)} bytes for each SBH by the workshop's arithmetic, {n(paper)} by the paper's terms; a real "
        f"block keeps {n(both)} with both halves recomputed and {n(full)} as one checkpoint.",
        holds=all(near(value, 2 * LEFT.value) for value in (workshop, paper, both, full)),
        condition="A norm's saved input is the checkpoint: the workshop counts it twice.",
    )


@claim(
    element="W3",
    says="Norms are rarely worth recomputing.",
    taught="workshop/attention-first/#policies-worth-taking",
    source=CHECKPOINT,
    tests=(names.POINTWISE, names.MEASURED),
)
def norms() -> Finding:
    block, left = step().block, {term.name for term in step("pointwise").block}
    outputs = block.where(lambda term: term.name in {"norm_1.output", "norm_2.output"} - left)
    share = outputs.bytes / block.bytes
    return judge(
        f"The outputs of the two norms are {n(100 * share, 0, '%')} of a block of Llama 3.1 8B. Recomputing them, as "
        f"<code>pointwise</code> does, runs {n(100 * overhead('pointwise'), 0, '%')} more FLOPs.",
        holds=share < 0.05,
        condition="They are the cheapest thing to recompute: no matmul is run again, only memory is moved.",
    )
