"""The workshop's six takeaways, and this site's own."""

from __future__ import annotations

from dataclasses import replace

from actckpt import PRESETS, estimate
from actckpt.tradeoff import LONGEST, parity_length
from book.claims.claim import Claim, Finding, Stated, judge, n, near
from book.claims.first import attention_first
from book.claims.flash import composes, recomputes
from book.claims.overheads import at_most_a_third
from book.claims.quantities import (
    CHECKPOINT,
    CONFIG,
    EAGER,
    FLASH_1,
    LENGTHS,
    LONG,
    MODEL,
    MODELS,
    PAPER_LINK,
    WORKSHOP,
    advantage,
    compute_share,
    gib,
    overhead,
    sbh,
    step,
    trade,
)
from book.quantities.measured import measure

ATTENTION_RANGE, FFN_RANGE = (Stated(11), Stated(14, "%")), (Stated(19), Stated(22, "%"))
FFN_COMPUTE, THIRD = (Stated(57), Stated(67, "%")), Stated(33, "%")
RANKS = 8


def activations_dominate() -> Finding:
    """Activations against the training states."""
    states = step().states.bytes
    sizes = {name: step(**how).total_bytes for name, how in (("eager", EAGER), ("flash", {}))}
    workshop = step(**WORKSHOP).total_bytes
    bound = -(-states * LONG // sizes["flash"])
    return judge(
        f"Llama 3.1 8B at {n('16K')} tokens, one sequence: states {n(gib(states), 0, 'GiB')}; activations "
        f"{n(gib(workshop), 0, 'GiB')} by the workshop, {n(gib(sizes['eager']), 0, 'GiB')} in the real block with "
        f"eager, {n(gib(sizes['flash']), 0, 'GiB')} with flash attention.",
        holds=all(size > states for size in sizes.values()),
        when=sizes["eager"] > states,
        condition=f"attention is eager; or, with flash attention, the batch has {n(f'{bound:,}')} tokens or more, or "
        "ranks share the states. The quadratic term is then not the culprit.",
    )


def ffn_is_expensive() -> Finding:
    """The FFN's overhead, share, and what it gives."""
    shares = [100 * compute_share("ffn", s, **WORKSHOP) for s in (1, CONFIG.hidden_size, LONG)]
    cost = {name: 100 * overhead("ffn", **how) for name, how in (("workshop", WORKSHOP), ("flash", {}))}
    gain = 1 / advantage(LONG)
    return judge(
        f"By the workshop's formulas the FFN is {n(shares[0], 0)}–{n(shares[1], 0, '%')} of the forward FLOPs up to "
        f"S = H and {n(shares[2], 0, '%')} at {n('16K')} tokens, where recomputing it costs "
        f"{n(cost['workshop'], 1, '%')}. In Llama 3.1 8B with flash attention it costs {n(cost['flash'], 1, '%')} "
        f"there, and gives {n(gain, 1, '×')} the bytes of attention for each percent.",
        holds=gain < 1 and near(cost["workshop"], FFN_RANGE[0].value),
        when=near(shares[0], FFN_COMPUTE[1].value) and near(shares[1], FFN_COMPUTE[0].value),
        condition="attention is eager and S is at most H. With flash attention it is the half to recompute first.",
    )


def formula_is_measurement() -> Finding:
    """The closed form against a measurement made for the page."""
    # blocks are alike: a few of them are as good as all
    model, seq_len = replace(PRESETS["llama-3.2-1b"], n_layers=4), 2048
    pairs = [
        (estimate(model, seq_len=seq_len, policy=policy), measure(model, seq_len=seq_len, policy=policy))
        for policy in ("none", "ffn", "save_attention")
    ]
    differences = [measured.total_bytes - formula.total_bytes for formula, measured in pairs]
    return judge(
        f"{n(model.n_layers)} blocks of Llama 3.2 1B at {n(f'{seq_len:,}')} tokens under {n(len(pairs))} policies, "
        f"measured for this page: the largest difference is {n(max(map(abs, differences)))} bytes.",
        holds=not any(differences),
    )


def ffn_first() -> Finding:
    """Where the FFN half overtakes the attention half with flash attention."""
    parities = {model: parity_length(model) or LONGEST for model in MODELS}
    shares = [length / PRESETS[model].hidden_size for model, length in parities.items()]
    return judge(
        f"From {', '.join(n(f'{length:,}') for length in parities.values())} tokens on for 8B, 70B and 405B: "
        f"{n(min(shares), 2)} to {n(max(shares), 2)} of H.",
        holds=all(length < LONG for length in parities.values()) and max(shares) < 1,
    )


def keep_the_op() -> Finding:
    """The whole block recomputed, with and without the attention op."""
    rows = {s: (overhead("save_attention", s), overhead("full", s)) for s in LENGTHS}
    extra = sbh(policy="save_attention") - sbh(policy="full")
    return judge(
        f"It keeps {n(extra, 2)} bytes for each SBH more and costs {n(100 * rows[LONG][0], 1)} instead of "
        f"{n(100 * rows[LONG][1], 1, '%')} at {n('16K')} tokens, {n(100 * rows[LENGTHS[-1]][0], 1)} instead of "
        f"{n(100 * rows[LENGTHS[-1]][1], 1, '%')} at {n('128K')}.",
        holds=all(kept < full for kept, full in rows.values()),
    )


def pointwise_first() -> Finding:
    """What can be had without a matmul."""
    choice = trade("pointwise")
    share = choice.saved_bytes / (choice.saved_bytes + choice.kept_bytes)
    return judge(
        f"<code>pointwise</code> saves {n(100 * share, 0, '%')} of the activations of Llama 3.1 8B for "
        f"{n(100 * float(choice.overhead), 0, '%')} more FLOPs. It takes time all the same: what it repeats moves "
        "memory.",
        holds=choice.overhead == 0 and share > 0.25,
    )


def logits_matter() -> Finding:
    """The logits against the checkpoints of all blocks."""
    full = step(policy="full")
    ratio = full.head.ledger.bytes / full.total_bytes
    return judge(
        f"At {n('16K')} tokens, whole blocks recomputed, what the loss keeps is {n(ratio, 1, '×')} all checkpoints "
        f"of Llama 3.1 8B: {n(gib(full.head.ledger.bytes), 1, 'GiB')} against {n(gib(full.total_bytes), 1, 'GiB')}.",
        holds=ratio > 1,
    )


def share_first() -> Finding:
    """The states on one rank and on several."""
    alone, shared = (estimate(MODEL, seq_len=LONG, data_parallel=ranks) for ranks in (1, RANKS))
    return judge(
        f"Over {n(RANKS)} ranks the states of Llama 3.1 8B go from {n(gib(alone.states.bytes), 0)} to "
        f"{n(gib(shared.states.bytes), 0, 'GiB')} each, and the FLOPs of the blocks stay as they are.",
        holds=shared.states.bytes <= -(-alone.states.bytes // RANKS) + 4 and shared.flops == alone.flops,
    )


WORKSHOPS = (
    Claim(
        "takeaway-1",
        "W27",
        "Activations dominate at scale, and the quadratic term is the reason.",
        "workshop/takeaways/#activations-dominate",
        activations_dominate,
        f"{PAPER_LINK}, §4",
        "test_figures::test_accountings_over_seq_len",
    ),
    Claim(
        "takeaway-2",
        "W27",
        f"Recompute attention first, always, for {ATTENTION_RANGE[0]}–{ATTENTION_RANGE[1]} more compute.",
        "workshop/takeaways/#attention-first",
        attention_first,
        f"{FLASH_1}, §3.1",
        "test_tradeoff::test_with_flash_attention_the_order_turns_round",
    ),
    Claim(
        "takeaway-3",
        "W27",
        f"Recomputing the FFN is expensive, {FFN_RANGE[0]}–{FFN_RANGE[1]}, as it has "
        f"{FFN_COMPUTE[0]}–{FFN_COMPUTE[1]} of the forward compute: a last resort.",
        "workshop/takeaways/#ffn-is-expensive",
        ffn_is_expensive,
        f"{PAPER_LINK}, appendix A",
        "test_formulas::test_overhead_of_each_strategy",
    ),
    Claim(
        "takeaway-4",
        "W27",
        f"The overhead ends at about {THIRD}, whatever is recomputed.",
        "workshop/takeaways/#at-most-a-third",
        at_most_a_third,
        f"{PAPER_LINK}, Table 4",
        "test_claims::test_no_policy_adds_more_than_a_third",
    ),
    Claim(
        "takeaway-5",
        "W27",
        "Flash attention is checkpointing, inside the kernel.",
        "workshop/takeaways/#flash-is-checkpointing",
        recomputes,
        f"{FLASH_1}, §3.1",
        "test_attention::test_nothing_is_as_large_as_the_scores",
    ),
    Claim(
        "takeaway-6",
        "W27",
        "Flash attention and selective recomputation of the FFN compose.",
        "workshop/takeaways/#they-compose",
        composes,
        CHECKPOINT,
        "test_formulas::test_what_the_policies_leave_of_34_03",
    ),
)

OURS = (
    Claim(
        "formula-is-measurement",
        "",
        "What the formulas give is what autograd saves, to the byte.",
        "evidence/formula-against-measurement/",
        formula_is_measurement,
        CHECKPOINT,
        "test_measurement::test_the_measurement_equals_the_closed_form",
    ),
    Claim(
        "share-first",
        "",
        "Share the states before you recompute anything: it costs no FLOPs.",
        "workshop/training-memory/#sharing",
        share_first,
        '<a href="https://arxiv.org/abs/1910.02054">Rajbhandari et al., arXiv 1910.02054</a>, §5',
        "test_formulas::test_training_states_are_16_bytes_a_parameter_and_shared_by_ranks",
    ),
    Claim(
        "pointwise-first",
        "",
        "Recompute first what is no matmul.",
        "workshop/attention-first/#policies-worth-taking",
        pointwise_first,
        CHECKPOINT,
        "test_tradeoff::test_what_runs_no_flops_again_buys_without_limit",
    ),
    Claim(
        "ffn-first",
        "",
        "With flash attention, the FFN half comes before the attention half, from a length that is less than H.",
        "workshop/attention-first/#where-it-turns-round",
        ffn_first,
        CHECKPOINT,
        "test_tradeoff::test_the_parity_is_near_a_fixed_share_of_the_hidden_size",
    ),
    Claim(
        "keep-the-op",
        "",
        "When the whole block has to go, keep the attention op's output: it is cheaper at every length.",
        "workshop/attention-first/#policies-worth-taking",
        keep_the_op,
        CHECKPOINT,
        "test_formulas::test_what_the_policies_leave_of_34_03",
    ),
    Claim(
        "logits-matter",
        "",
        "Once blocks are recomputed, look at the logits.",
        "workshop/training-memory/#logits",
        logits_matter,
        f"{PAPER_LINK}, §4.3",
        "test_measurement::test_the_peak_is_that_of_mem_tracker",
    ),
)
