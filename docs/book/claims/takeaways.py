"""The workshop's six takeaways."""

from __future__ import annotations

from functools import partial

from actckpt.hardware import GIB
from actckpt.tradeoff import LONGEST, parity_length
from book.claims import names
from book.claims.claim import Finding, Stated, claim, judge, n, near
from book.claims.compute import at_most_a_third
from book.claims.flash import built_in, composes
from book.claims.names import APPENDIX_A, AT_LONG, CHECKPOINT, EAGER, FLASH_1, PAPER_LINK, WORKSHOP
from book.quantities.halves import advantage, forward_share
from book.quantities.steps import CONFIG, LONG, MODEL, kept, overhead, overtaken, states

ATTENTION_RANGE, FFN_RANGE = (Stated(11), Stated(14, "%")), (Stated(19), Stated(22, "%"))
FFN_COMPUTE, THIRD = (Stated(57), Stated(67, "%")), Stated(33, "%")

takeaway = partial(claim, element="W27")


@takeaway(
    says="Activations dominate at scale, and the quadratic term is the reason.",
    taught="workshop/takeaways/#activations-dominate",
    source=f"{PAPER_LINK}, §4",
    tests=(names.PAPERS_LAYER, names.MEASURED, names.STATES),
)
def takeaway_1() -> Finding:
    fixed, workshop, eager, flash = states(), kept(**WORKSHOP), kept(**EAGER), kept()
    early, late = overtaken(**EAGER), overtaken()
    return judge(
        f"The states of Llama 3.1 8B take {n(fixed / GIB, 0, 'GiB')}. The activations of one sequence of {AT_LONG} "
        f"tokens take {n(workshop / GIB, 0, 'GiB')} by the workshop's count. In the real block they take "
        f"{n(eager / GIB, 0, 'GiB')} with eager and {n(flash / GIB, 1, 'GiB')} with flash attention.",
        holds=min(eager, flash) > fixed,
        when=eager > fixed,
        condition=f"attention is eager and the sequence has at least {n(early)} tokens. With flash attention "
        f"there is no quadratic term. Activations are then the larger part if the batch has at least {n(late)} "
        "tokens, or if ranks share the states.",
    )


@takeaway(
    says=f"Recompute attention first, always, for {ATTENTION_RANGE[0]}–{ATTENTION_RANGE[1]} more compute.",
    taught="workshop/takeaways/#attention-first",
    source=f"{FLASH_1}, §3.1",
    tests=("test_tradeoff::test_with_flash_attention_the_order_turns_round",),
)
def takeaway_2() -> Finding:
    eager, flash = parity_length(MODEL, **EAGER), parity_length(MODEL) or LONGEST
    return judge(
        "With eager attention, the attention half saves more per percent of FLOPs at every length. With flash "
        f"attention, the FFN half saves more from {n(flash)} tokens on (Llama 3.1 8B), and {n(1 / advantage(LONG), 1)} "
        f"times as much at {AT_LONG}.",
        holds=eager is None and flash == LONGEST,
        when=eager is None,
        condition=f"attention is eager, or the sequence is shorter than {n(flash)} tokens.",
    )


@takeaway(
    says=f"Recomputing the FFN is expensive, {FFN_RANGE[0]}–{FFN_RANGE[1]}, as it has "
    f"{FFN_COMPUTE[0]}–{FFN_COMPUTE[1]} of the forward compute. It is a last resort.",
    taught="workshop/takeaways/#ffn-is-expensive",
    source=APPENDIX_A,
    tests=(names.OVERHEADS, names.TRADEOFF, names.MEASURED),
)
def takeaway_3() -> Finding:
    short, at_h, long = (100 * forward_share("ffn", seq_len) for seq_len in (1, CONFIG.hidden_size, LONG))
    workshop, flash = (100 * overhead("ffn", **how) for how in (WORKSHOP, {}))
    gain = 1 / advantage(LONG)
    return judge(
        f"By the workshop's formulas the FFN has {n(short)} to {n(at_h, 0, '%')} of the forward FLOPs up to S = H. At "
        f"{AT_LONG} tokens it has {n(long, 0, '%')}, and recomputing it costs {n(workshop, 1, '%')}. In Llama 3.1 8B "
        f"with flash attention it costs {n(flash, 1, '%')} there, and frees {n(gain, 1, '×')} the bytes of attention "
        "per percent.",
        holds=gain < 1 and near(workshop, FFN_RANGE[0]),
        when=near(short, FFN_COMPUTE[1]) and near(at_h, FFN_COMPUTE[0]),
        condition="attention is eager and S is at most H. With flash attention it is the half to recompute first.",
    )


@takeaway(
    says=f"The overhead is at most about {THIRD}, whatever is recomputed.",
    taught="workshop/takeaways/#at-most-a-third",
    source=f"{PAPER_LINK}, Table 4",
    tests=(names.AT_MOST_A_THIRD, names.PUBLISHED),
)
def takeaway_4() -> Finding:
    return at_most_a_third()


@takeaway(
    says="Flash attention is checkpointing, inside the kernel.",
    taught="workshop/takeaways/#flash-is-checkpointing",
    source=f"{FLASH_1}, §3.1",
    tests=(names.FLASH_BACKWARD, names.MEASURED),
)
def takeaway_5() -> Finding:
    return built_in()


@takeaway(
    says="Flash attention and selective recomputation of the FFN compose.",
    taught="workshop/takeaways/#they-compose",
    source=CHECKPOINT,
    tests=(names.MEASURED,),
)
def takeaway_6() -> Finding:
    return composes()
