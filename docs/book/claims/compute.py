"""The FLOPs of a block and of a step, and what recomputation adds to them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from itertools import pairwise

from actckpt import FlopRules
from actckpt.formulas.flops import workshop_overheads
from actckpt.policy import POLICIES
from book.claims import names
from book.claims.claim import Finding, Stated, claim, judge, n, near
from book.claims.names import AT_LONG, CHECKPOINT, EAGER, FLASH_2, LONGEST, PAPER_LINK, SHORTEST, WORKSHOP
from book.quantities.costs import coefficients, forward_flops
from book.quantities.halves import forward_share
from book.quantities.sources import more_time
from book.quantities.steps import CONFIG, LENGTHS, LONG, SIZES, overhead, step

THIRD, STEP, TWICE = Stated(33, "%"), Stated(3), Stated(2)
PROJECTIONS, SCORES, FFN_FLOPS = Stated(8, "BSH²"), Stated(4, "BS²H"), Stated(16, "BSH²")
SHORT = {"attention": Stated(11.1, "%"), "ffn": Stated(22.2, "%"), "both": Stated(33.3, "%")}
AT_H = {"attention": Stated(14.3, "%"), "ffn": Stated(19.0, "%"), "both": Stated(33.3, "%")}
EXAMPLE = {"attention": Stated(8.3, "%"), "ffn": Stated(25, "%"), "both": Stated(33.3, "%")}
UNITS = {"attention": Stated(100), "ffn": Stated(300)}
TOP = {"attention": Stated(14, "%"), "ffn": Stated(19, "%")}
NO_THIRD = "workshop/compute-cost/#not-always-a-third"
SOURCE = names.APPENDIX_A
PLAIN = FlopRules(early_stop=False)

of_a_block = partial(
    claim,
    element="W12",
    taught="workshop/compute-cost/#flops-of-a-block",
    source=SOURCE,
    tests=(names.PAPERS_FLOPS, names.LLAMAS_FLOPS),
)

overheads = partial(
    claim, element="W13", taught="workshop/compute-cost/#overhead", source=SOURCE, tests=(names.OVERHEADS,)
)

worked = partial(claim, element="W14", taught="workshop/compute-cost/#worked-example")


def llama_coefficients(half: str) -> tuple[float, float]:
    """The coefficients of BSH² and of BS²H in the forward FLOPs of a half of Llama 3.1 8B, from two long sequences."""
    seq_len, h = CONFIG.hidden_size, CONFIG.hidden_size
    once, twice = (forward_flops(s, f"{half}_half") / (s * h) for s in (seq_len, 2 * seq_len))
    squared = (twice - once) / seq_len
    return (once - seq_len * squared) / h, squared


def falls_to_half(share: Callable[[int], float]) -> int:
    """The shortest sequence at which a share that falls with the length is a half."""
    return bisect_left(range(LENGTHS[-1]), True, 1, key=lambda seq_len: share(seq_len) <= 0.5)


def listed(stated: dict[str, Stated]) -> str:
    """Some statements, one after another."""
    return ", ".join(map(str, stated.values()))


def percents(shares: dict[str, float]) -> str:
    """Some shares as percents, one after another."""
    return ", ".join(n(100 * share, 1, "%") for share in shares.values())


def all_near(shares: dict[str, float], stated: dict[str, Stated], within: float = 0.005) -> bool:
    """Whether each of some shares is what a rounded statement of it says."""
    return all(near(100 * shares[name], percent, within) for name, percent in stated.items())


@of_a_block(
    says=f"A step costs {STEP} forward passes: the backward pass alone costs {TWICE}.",
    taught="workshop/compute-cost/#flops-of-a-step",
    source=f"{FLASH_2}, §3.1",
    tests=(names.FLASH_BACKWARD, names.LLAMAS_FLOPS),
)
def three_forwards() -> Finding:
    eager, flash = (float(s.flops.backward / s.flops.forward) for s in (step(**EAGER), step()))
    return judge(
        f"Backward over forward, Llama 3.1 8B at {n(LONG)} tokens: {n(eager, 2)} with eager, {n(flash, 2)} with "
        "flash attention, whose backward pass computes the scores again.",
        holds=eager == flash == TWICE.value,
        when=eager == TWICE.value,
        condition="every op is a plain matmul. Flash attention's backward pass has five matmuls for two.",
    )


@of_a_block(says=f"Attention's forward pass takes {PROJECTIONS} + {SCORES} FLOPs.")
def attention_flops() -> Finding:
    gpt, llama = coefficients("attention"), llama_coefficients("attention")
    return judge(
        f"{n(gpt[0])} BSH² + {n(gpt[1])} BS²H in the workshop's block; {n(llama[0])} BSH² + {n(llama[1])} BS²H in "
        "Llama 3.1 8B with causal flash attention.",
        holds=llama == gpt,
        when=gpt == (PROJECTIONS.value, SCORES.value),
        condition="every query head has its own keys and values, and masked pairs are computed all the same.",
    )


@of_a_block(says=f"The FFN's takes {FFN_FLOPS}.")
def ffn_flops() -> Finding:
    gpt, llama = coefficients("ffn")[0], llama_coefficients("ffn")[0]
    return judge(
        f"{n(gpt)} BSH² for two matrices of width 4H; {n(llama)} BSH² for the three of Llama 3.1 8B.",
        holds=llama == gpt == FFN_FLOPS.value,
        when=gpt == FFN_FLOPS.value,
        condition="the FFN has two matrices of width 4H.",
    )


@of_a_block(says=f"The FFN has {TWICE} times the FLOPs of attention's projections.")
def twice_the_projections() -> Finding:
    gpt, llama = (of("ffn")[0] / of("attention")[0] for of in (coefficients, llama_coefficients))
    return judge(
        f"{n(gpt)} times in the workshop's block, {n(llama, 1)} times in Llama 3.1 8B.",
        holds=gpt == llama == TWICE.value,
        when=gpt == TWICE.value,
        condition="the block is the workshop's.",
    )


@of_a_block(says="In most configurations the FFN is the larger part of the compute.")
def ffn_dominates() -> Finding:
    shares: tuple[Callable[[int], float], ...] = (
        partial(forward_share, "ffn"),
        lambda seq_len: forward_flops(seq_len, "ffn_half") / forward_flops(seq_len),
    )
    gpt, llama = ([100 * share(seq_len) for seq_len in (LENGTHS[0], LONG)] for share in shares)
    turns = [falls_to_half(share) for share in shares]
    return judge(
        f"By the workshop's formulas the FFN has {n(gpt[0], 0, '%')} of the FLOPs of the 8B shape at {SHORTEST} "
        f"tokens and {n(gpt[1], 0, '%')} at {AT_LONG}. In Llama 3.1 8B with flash attention: {n(llama[0], 0, '%')} and "
        f"{n(llama[1], 0, '%')}.",
        holds=max(turns) >= LENGTHS[-1],
        when=gpt[0] > 50,
        condition=f"the sequence is shorter than {n(turns[0])} tokens, which is twice H. In the real block it is "
        f"{n(turns[1])} tokens.",
    )


@claim(
    element="W1",
    says=f"Recomputation adds {THIRD} of compute at most.",
    taught=NO_THIRD,
    source=f"{PAPER_LINK}, Table 4",
    tests=(names.AT_MOST_A_THIRD, names.PUBLISHED),
)
def at_most_a_third() -> Finding:
    most = max(
        overhead(name, model=model, seq_len=seq_len, rules=rules, **how)
        for name, policy in POLICIES.items()
        if policy.every == 1
        for model in SIZES
        for seq_len in (LENGTHS[0], LONG, LENGTHS[-1])
        for how in (EAGER, {})
        for rules in (FlopRules(), PLAIN)
    )
    time = more_time("korthikanti_full", "korthikanti_none")
    bound = most <= 1 / 3 + 1e-9
    return judge(
        f"No policy adds more than {n(100 * most, 1, '%')} FLOPs, for three models from {SHORTEST} to {LONGEST} "
        f"tokens. In time, {PAPER_LINK} measured {n(100 * time, 0, '%')} for everything.",
        holds=bound and time <= 1 / 3,
        when=bound,
        condition="FLOPs are counted, not seconds.",
    )


def overheads_at(seq_len: int, stated: dict[str, Stated]) -> Finding:
    """The three overheads at a length, by the workshop's formula."""
    found = {policy: overhead(policy, seq_len=seq_len, **WORKSHOP) for policy in stated}
    return judge(f"{percents(found)}.", holds=all_near(found, stated))


@overheads(says=f"For short sequences A, B and C cost {listed(SHORT)}.")
def short_sequences() -> Finding:
    return overheads_at(1, SHORT)


@overheads(
    says=f"At S = H they cost {listed(AT_H)}.",
    tests=("test_formulas::test_at_s_equal_to_h_the_overheads_are_a_seventh_four_21sts_and_a_third",),
)
def s_equals_h() -> Finding:
    return overheads_at(CONFIG.hidden_size, AT_H)


@overheads(says=f"So attention costs no more than about {TOP['attention']}, and the FFN no less than {TOP['ffn']}.")
def ranges() -> Finding:
    h = CONFIG.hidden_size
    at_h, beyond = ({half: overhead(half, seq_len=s, **WORKSHOP) for half in TOP} for s in (h, LONG))
    return judge(
        f"Attention and FFN cost {percents(at_h)} at S = H, and {percents(beyond)} at {AT_LONG} tokens.",
        holds=100 * beyond["attention"] < 1.05 * TOP["attention"].value
        and 100 * beyond["ffn"] > 0.95 * TOP["ffn"].value,
        when=all_near(at_h, TOP, 0.05),
        condition=f"S is at most H, {n(h)} tokens for the 8B model. Real sequences are longer.",
    )


@overheads(
    says="Recomputing both always costs exactly one third.",
    taught=NO_THIRD,
    source=CHECKPOINT,
    tests=("test_formulas::test_full_costs_24_to_28_percent_for_8b_from_1k_to_128k", names.LLAMAS_FLOPS),
)
def always_a_third() -> Finding:
    shares = [overhead("full", seq_len=seq_len) for seq_len in LENGTHS]
    plain = overhead("both", rules=PLAIN, **EAGER)
    return judge(
        f"Recomputing whole blocks of Llama 3.1 8B costs {n(100 * min(shares), 1)} to {n(100 * max(shares), 1, '%')} "
        f"from {SHORTEST} to {LONGEST} tokens, because PyTorch stops before the last matmul. Without early stop and "
        f"with eager attention it is {n(100 * plain, 1, '%')}.",
        holds=all(near(share, 1 / 3, 0.01) for share in shares),
        when=near(plain, 1 / 3, 0.001),
        condition="the whole forward pass runs again, and the backward pass is exactly twice the forward pass.",
    )


@claim(
    element="W15",
    says="Attention's overhead rises with the length.",
    taught="workshop/compute-cost/#overhead-over-sequence-length",
    source=SOURCE,
    tests=(names.OVERHEADS, names.MEASURED),
)
def attention_rises() -> Finding:
    rows = [[overhead("attention", seq_len=s, **how) for s in LENGTHS] for how in (WORKSHOP, EAGER, {})]
    workshop, eager, flash = (f"from {n(100 * row[0], 1)} to {n(100 * row[-1], 1, '%')}" for row in rows)
    return judge(
        f"Between {SHORTEST} and {LONGEST} tokens it rises {workshop} by the workshop's formula. In Llama 3.1 8B it "
        f"rises {eager} with eager and {flash} with flash attention.",
        holds=all(a < b for row in rows for a, b in pairwise(row)),
    )


@worked(
    says=f"With {UNITS['attention']} and {UNITS['ffn']} FLOPs, A, B and C cost {listed(EXAMPLE)}.",
    source="arithmetic",
    tests=("test_formulas::test_the_worked_example_100_and_300",),
)
def example() -> Finding:
    found = workshop_overheads(*(int(units.value) for units in UNITS.values()))
    shares = {policy: float(found[policy]) for policy in EXAMPLE}
    return judge(f"{percents(shares)}.", holds=all_near(shares, EXAMPLE) and found["both"] == Fraction(1, 3))


@worked(
    says=f"{UNITS['attention']} and {UNITS['ffn']} are FLOPs of such a block.",
    source=SOURCE,
    tests=("test_claims::test_the_formulas_give_the_ffn_twice_attention_at_most", names.PAPERS_FLOPS),
)
def example_from_formulas() -> Finding:
    most = coefficients("ffn")[0] / coefficients("attention")[0]
    ratio = UNITS["ffn"].value / UNITS["attention"].value
    return judge(
        f"The example has {n(ratio)} times as many FLOPs in the FFN as in attention. By the formulas it is at most "
        f"{n(most)} times, for very short sequences.",
        holds=most >= ratio,
        condition="The arithmetic is right, but no block of this kind has these numbers.",
    )
