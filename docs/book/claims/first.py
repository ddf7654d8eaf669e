"""Claims on which half of a block to recompute first."""

from __future__ import annotations

import itertools

from actckpt.tradeoff import LONGEST, parity_length
from book.claims.claim import Claim, Finding, Stated, cite, judge, n, near
from book.claims.quantities import (
    CONFIG,
    EAGER,
    FLASH_2,
    LENGTHS,
    LONG,
    MODEL,
    PAPER_LINK,
    WORKSHOP,
    advantage,
    compute_share,
    trade,
)
from book.quantities import halves

ATTENTION_COMPUTE, FFN_COMPUTE, TEN = Stated(43, "%"), Stated(67, "%"), Stated(10, "×")
RESOURCES = {
    "Megatron Core": "https://github.com/NVIDIA/Megatron-LM/blob/main/megatron/core/transformer/transformer_config.py",
    "torchtitan": "https://github.com/pytorch/torchtitan/blob/main/torchtitan/distributed/activation_checkpoint.py",
    "Transformers": "https://huggingface.co/docs/transformers/main/en/grad_checkpointing",
    "MaxText": "https://github.com/AI-Hypercomputer/maxtext/blob/main/src/maxtext/configs/base.yml",
}


def light_attention() -> Finding:
    """Attention's share of the forward FLOPs by the workshop's formulas."""
    shares = {s: compute_share("attention", s, **WORKSHOP) for s in (1, CONFIG.hidden_size, LONG)}
    short, at_h, long = (100 * share for share in shares.values())
    return judge(
        f"{n(short, 0, '%')} of a very short sequence, {n(at_h, 0, '%')} where S = H, {n(long, 0, '%')} at "
        f"{n('16K')} tokens.",
        holds=long <= 1.05 * ATTENTION_COMPUTE.value,
        when=near(at_h, ATTENTION_COMPUTE.value),
        condition="S is at most H.",
    )


def heavy_ffn() -> Finding:
    """The FFN's share of the forward FLOPs by the workshop's formulas."""
    shares = {s: compute_share("ffn", s, **WORKSHOP) for s in (1, CONFIG.hidden_size, LONG)}
    short, at_h, long = (100 * share for share in shares.values())
    return judge(
        f"{n(short, 0, '%')} of a very short sequence, {n(at_h, 0, '%')} where S = H, {n(long, 0, '%')} at "
        f"{n('16K')} tokens.",
        holds=near(long, FFN_COMPUTE.value),
        when=near(short, FFN_COMPUTE.value),
        condition="the sequence is much shorter than H.",
    )


def ten_times() -> Finding:
    """The workshop's ratio at the length of its table."""
    return judge(
        f"At the table's {n('16K')} tokens its own count gives {n(halves.discarded(LONG), 1, '×')}, at {n('3K')} "
        f"tokens {n(halves.discarded(3072), 1, '×')}.",
        holds=near(halves.discarded(LONG), TEN.value, 0.2),
        when=near(halves.discarded(3072), TEN.value, 0.2),
        condition="the sequence has some 3K tokens. At the table's length it is more than double.",
    )


def advantage_grows() -> Finding:
    """How the advantage of attention goes with the length, in three counts."""
    rows = [[advantage(s, **how) for s in LENGTHS] for how in (WORKSHOP, EAGER, {})]
    grows = [all(a < b for a, b in itertools.pairwise(row)) for row in rows]
    ends = "; ".join(f"{n(row[0], 1)} to {n(row[-1], 2 if row[-1] < 1 else 0)}" for row in rows)
    return judge(
        f"Bytes per percent, attention over FFN, from {n('1K')} to {n('128K')} tokens: {ends}, by the workshop's "
        "count, in Llama 3.1 8B with eager and with flash attention.",
        holds=all(grows),
        when=grows[0] and grows[1],
        condition="attention is eager. With flash attention it shrinks with every token.",
    )


def attention_first() -> Finding:
    """Which half to recompute first."""
    eager, flash = parity_length(MODEL, **EAGER), parity_length(MODEL) or LONGEST
    return judge(
        "With eager attention the attention half saves more for a percent of FLOPs at every length; with flash "
        f"attention the FFN half does from {n(f'{flash:,}')} tokens on (Llama 3.1 8B), and "
        f"{n(1 / advantage(LONG), 1)} times as much at {n('16K')}.",
        holds=eager is None and flash == LONGEST,
        when=eager is None,
        condition=f"attention is eager, or the sequence is shorter than {n(f'{flash:,}')} tokens.",
    )


def ffn_is_poor_value() -> Finding:
    """What a percent of FLOPs buys in the FFN half."""
    rates = {name: trade("ffn", **how).bytes_per_percent / 2**30 for name, how in (("eager", EAGER), ("flash", {}))}
    others = {
        name: trade("attention", **how).bytes_per_percent / 2**30 for name, how in (("eager", EAGER), ("flash", {}))
    }
    return judge(
        f"A percent of FLOPs in the FFN half frees {n(rates['flash'], 1, 'GiB')} at {n('16K')} tokens; in the "
        f"attention half {n(others['eager'], 0, 'GiB')} with eager, {n(others['flash'], 1, 'GiB')} with flash "
        "attention.",
        holds=all(rates[name] < others[name] for name in rates),
        when=rates["eager"] < others["eager"],
        condition="attention is eager.",
    )


CLAIMS = (
    Claim(
        "light-attention",
        "W16",
        f"Attention is at most some {ATTENTION_COMPUTE} of the forward pass.",
        "workshop/attention-first/#where-the-rule-comes-from",
        light_attention,
        f"{PAPER_LINK}, appendix A",
        "test_formulas::test_overhead_of_each_strategy",
    ),
    Claim(
        "heavy-ffn",
        "W16",
        f"The FFN is about {FFN_COMPUTE} of it.",
        "workshop/attention-first/#where-the-rule-comes-from",
        heavy_ffn,
        f"{PAPER_LINK}, appendix A",
        "test_formulas::test_overhead_of_each_strategy",
    ),
    Claim(
        "poor-value",
        "W16",
        "Recomputing the FFN is expensive for what it saves.",
        "workshop/attention-first/#what-a-percent-buys",
        ffn_is_poor_value,
        f"{PAPER_LINK}, §5",
        "test_figures_tradeoffs::test_policy_frontier",
    ),
    Claim(
        "ten-times",
        "W17",
        f"At 16K tokens attention saves some {TEN} more memory for the same extra compute.",
        "workshop/attention-first/#what-a-percent-buys",
        ten_times,
        f"{PAPER_LINK}, §5",
        "test_tradeoff::test_what_the_workshop_discards_per_flop",
    ),
    Claim(
        "advantage-grows",
        "W18",
        "Attention's advantage grows with the sequence.",
        "workshop/attention-first/#the-advantage-grows",
        advantage_grows,
        f"{FLASH_2}, §3.1",
        "test_figures_tradeoffs::test_advantage_over_seq_len",
    ),
    Claim(
        "frameworks",
        "W17",
        "Most training frameworks recompute attention by default.",
        "workshop/attention-first/#what-frameworks-do",
        cite(
            "Their sources say otherwise: Megatron Core recomputes nothing by default, torchtitan's selective mode "
            "saves what attention computed, Transformers and MaxText recompute whole layers. This package cannot "
            "compute what other people's code does."
        ),
        ", ".join(f'<a href="{url}">{name}</a>' for name, url in RESOURCES.items()),
        "test_claims::test_what_is_cited_says_so",
    ),
)
