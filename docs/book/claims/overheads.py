"""Claims on what recomputation adds to the FLOPs of a step."""

from __future__ import annotations

import itertools
from fractions import Fraction

from actckpt import FlopRules, estimate
from actckpt.formulas.flops import workshop_overheads
from actckpt.policy import POLICIES
from book.claims.claim import Claim, Finding, Stated, judge, n, near
from book.claims.quantities import (
    CHECKPOINT,
    CONFIG,
    EAGER,
    LENGTHS,
    LONG,
    MODEL,
    MODELS,
    PAPER_LINK,
    WORKSHOP,
    forward_coefficients,
    overhead,
)
from book.quantities.sources import SOURCES, more_time

THIRD, STEP, TWICE = Stated(33, "%"), Stated(3), Stated(2)
SHORT = {"attention": Stated(11.1, "%"), "ffn": Stated(22.2, "%"), "both": Stated(33.3, "%")}
AT_H = {"attention": Stated(14.3, "%"), "ffn": Stated(19.0, "%"), "both": Stated(33.3, "%")}
EXAMPLE = {"attention": Stated(8.3, "%"), "ffn": Stated(25, "%"), "both": Stated(33.3, "%")}
UNITS = {"attention": Stated(100), "ffn": Stated(300)}
TOP = {"attention": Stated(14, "%"), "ffn": Stated(19, "%")}


def _percents(shares: dict[str, float]) -> str:
    return ", ".join(n(100 * share, 1, "%") for share in shares.values())


def at_most_a_third() -> Finding:
    """The largest overhead of any policy, model and length; and the time that was measured."""
    policies = [name for name, policy in POLICIES.items() if policy.every == 1]
    most = max(
        float(estimate(model, seq_len=s, policy=policy, rules=rules, **how).flops.overhead)
        for model in MODELS
        for s in (1024, LONG, LENGTHS[-1])
        for policy in policies
        for how in (EAGER, {})
        for rules in (FlopRules(), FlopRules(early_stop=False))
    )
    time = more_time("korthikanti_full", "korthikanti_none")
    bound = most <= 1 / 3 + 1e-9
    return judge(
        f"In FLOPs the most that any policy adds, for three models from {n('1K')} to {n('128K')} tokens, is "
        f"{n(100 * most, 1, '%')}. In time, {SOURCES['korthikanti'].link} measured {n(100 * time, 0, '%')} for "
        "everything.",
        holds=bound and time <= 1 / 3,
        when=bound,
        condition="FLOPs are counted, not seconds.",
    )


def always_a_third() -> Finding:
    """What recomputing everything costs in PyTorch."""
    shares = [overhead("full", s) for s in LENGTHS]
    plain = float(
        estimate(MODEL, seq_len=LONG, policy="both", rules=FlopRules(early_stop=False), **EAGER).flops.overhead
    )
    return judge(
        f"Whole blocks of Llama 3.1 8B cost {n(100 * min(shares), 0)}–{n(100 * max(shares), 0, '%')} from {n('1K')} to "
        f"{n('128K')} tokens: PyTorch stops before the last matmul. With that switched off and eager attention: "
        f"{n(100 * plain, 1, '%')}.",
        holds=all(near(share, 1 / 3, 0.01) for share in shares),
        when=near(plain, 1 / 3, 0.001),
        condition="the whole forward pass runs again, and the backward pass is exactly twice the forward pass.",
    )


def overheads_at(seq_len: int, stated: dict[str, Stated]) -> Finding:
    """The three overheads at a length, by the workshop's formula."""
    found = {policy: overhead(policy, seq_len, **WORKSHOP) for policy in stated}
    return judge(
        f"{_percents(found)}.",
        holds=all(near(100 * found[policy], percent.value, 0.005) for policy, percent in stated.items()),
    )


def ranges() -> Finding:
    """The overheads beyond the end of the workshop's ranges."""
    at_h = {policy: overhead(policy, CONFIG.hidden_size, **WORKSHOP) for policy in TOP}
    beyond = {policy: overhead(policy, LONG, **WORKSHOP) for policy in TOP}
    return judge(
        f"Attention and FFN cost {_percents(at_h)} where S = H, and {_percents(beyond)} at {n('16K')} tokens.",
        holds=100 * beyond["attention"] < 1.05 * TOP["attention"].value
        and 100 * beyond["ffn"] > 0.95 * TOP["ffn"].value,
        when=all(near(100 * at_h[policy], stated.value) for policy, stated in TOP.items()),
        condition=f"S is at most H, {n(f'{CONFIG.hidden_size:,}')} tokens for the 8B model. The ranges stop there, the "
        "sequences do not.",
    )


def attention_rises() -> Finding:
    """Attention's overhead over the length."""
    rows = [[overhead("attention", s, **how) for s in LENGTHS] for how in (WORKSHOP, EAGER, {})]
    ends = "; ".join(f"{n(100 * row[0], 1)} to {n(100 * row[-1], 1, '%')}" for row in rows)
    return judge(
        f"From {n('1K')} to {n('128K')} tokens: {ends}, by the workshop's formula, in Llama 3.1 8B with eager and with "
        "flash attention.",
        holds=all(a < b for row in rows for a, b in itertools.pairwise(row)),
    )


def example() -> Finding:
    """The arithmetic of the worked example."""
    shares = workshop_overheads(int(UNITS["attention"].value), int(UNITS["ffn"].value))
    return judge(
        f"{', '.join(n(float(100 * shares[policy]), 1, '%') for policy in EXAMPLE)}.",
        holds=all(near(float(100 * shares[policy]), stated.value, 0.005) for policy, stated in EXAMPLE.items())
        and shares["both"] == Fraction(1, 3),
    )


def example_from_formulas() -> Finding:
    """Whether the workshop's formulas can give the example's ratio."""
    most = forward_coefficients("ffn", "gpt")[0] / forward_coefficients("attention", "gpt")[0]
    ratio = UNITS["ffn"].value / UNITS["attention"].value
    return judge(
        f"The example has {n(ratio)} times as many FLOPs in the FFN as in attention. By the formulas it is {n(most)} "
        "times at most, where S goes to 0.",
        holds=most >= ratio,
        condition="The arithmetic is right, the numbers in it belong to another block.",
    )


CLAIMS = (
    Claim(
        "at-most-a-third",
        "W1",
        f"Recomputation adds {THIRD} of compute at most.",
        "workshop/compute-cost/#not-always-a-third",
        at_most_a_third,
        f"{PAPER_LINK}, Table 4",
        "test_claims::test_no_policy_adds_more_than_a_third",
    ),
    Claim(
        "short-sequences",
        "W13",
        f"For short sequences A, B and C cost {', '.join(map(str, SHORT.values()))}.",
        "workshop/compute-cost/#overhead",
        lambda: overheads_at(1, SHORT),
        f"{PAPER_LINK}, appendix A",
        "test_formulas::test_overhead_of_each_strategy",
    ),
    Claim(
        "s-equals-h",
        "W13",
        f"Where S = H they cost {', '.join(map(str, AT_H.values()))}.",
        "workshop/compute-cost/#overhead",
        lambda: overheads_at(CONFIG.hidden_size, AT_H),
        f"{PAPER_LINK}, appendix A",
        "test_formulas::test_at_s_equal_to_h_the_overheads_are_a_seventh_four_21sts_and_a_third",
    ),
    Claim(
        "ranges",
        "W13",
        f"So attention costs no more than about {TOP['attention']}, and the FFN no less than {TOP['ffn']}.",
        "workshop/compute-cost/#overhead",
        ranges,
        f"{PAPER_LINK}, appendix A",
        "test_formulas::test_overhead_of_each_strategy",
    ),
    Claim(
        "always-a-third",
        "W13",
        "Recomputing both always costs exactly one third.",
        "workshop/compute-cost/#not-always-a-third",
        always_a_third,
        CHECKPOINT,
        "test_formulas::test_full_costs_24_to_28_percent_for_8b_from_1k_to_128k",
    ),
    Claim(
        "attention-rises",
        "W15",
        "Attention's overhead rises with the length.",
        "workshop/compute-cost/#overhead-over-sequence-length",
        attention_rises,
        f"{PAPER_LINK}, appendix A",
        "test_formulas::test_overhead_of_each_strategy",
    ),
    Claim(
        "example",
        "W14",
        f"With {UNITS['attention']} and {UNITS['ffn']} FLOPs, A, B and C cost {', '.join(map(str, EXAMPLE.values()))}.",
        "workshop/compute-cost/#worked-example",
        example,
        "arithmetic",
        "test_formulas::test_the_worked_example_100_and_300",
    ),
    Claim(
        "example-from-formulas",
        "W14",
        f"{UNITS['attention']} and {UNITS['ffn']} are FLOPs of such a block.",
        "workshop/compute-cost/#worked-example",
        example_from_formulas,
        f"{PAPER_LINK}, appendix A",
        "test_claims::test_the_formulas_give_the_ffn_twice_attention_at_most",
    ),
)
