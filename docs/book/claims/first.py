"""Which half of a block to recompute first."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from actckpt.hardware import GIB
from actckpt.tradeoff import tradeoff
from book.claims import names
from book.claims.claim import Finding, Stated, cited, claim, judge, n, near
from book.claims.names import AT_LONG, EAGER, FLASH_2, LONGEST, PAPER_LINK, SHORTEST, WORKSHOP, link
from book.quantities.halves import advantage, forward_share
from book.quantities.sources import SOURCES
from book.quantities.steps import CONFIG, LENGTHS, LONG, MODEL
from book.quantities.text import tokens

ATTENTION_COMPUTE, FFN_COMPUTE, TEN = Stated(43, "%"), Stated(67, "%"), Stated(10, "×")
# where the workshop's ratio is its ten
TABLE = 3072
FRAMEWORKS = {
    "Megatron Core": SOURCES["megatron"].url,
    "torchtitan": "https://github.com/pytorch/torchtitan/blob/main/torchtitan/distributed/activation_checkpoint.py",
    "Transformers": SOURCES["hugging-face"].url,
    "MaxText": SOURCES["maxtext"].url,
}

rule = partial(
    claim,
    element="W16",
    taught="workshop/attention-first/#where-the-rule-comes-from",
    source=names.APPENDIX_A,
    tests=(names.OVERHEADS,),
)

per_percent = partial(claim, taught="workshop/attention-first/#what-a-percent-buys", source=f"{PAPER_LINK}, §5")


def forward_percents(half: str) -> tuple[list[float], str]:
    """A half's share of the forward FLOPs by the workshop's formulas at three lengths, and the sentence of them."""
    short, at_h, long = (100 * forward_share(half, seq_len) for seq_len in (1, CONFIG.hidden_size, LONG))
    words = (
        f"Its share is {n(short, 0, '%')} for a very short sequence, {n(at_h, 0, '%')} at S = H, and "
        f"{n(long, 0, '%')} at {AT_LONG} tokens."
    )
    return [short, at_h, long], words


@rule(says=f"Attention is at most about {ATTENTION_COMPUTE} of the forward pass.")
def light_attention() -> Finding:
    (_, at_h, long), words = forward_percents("attention")
    return judge(
        words,
        holds=long <= 1.05 * ATTENTION_COMPUTE.value,
        when=near(at_h, ATTENTION_COMPUTE),
        condition="S is at most H.",
    )


@rule(says=f"The FFN is about {FFN_COMPUTE} of it.")
def heavy_ffn() -> Finding:
    (short, _, long), words = forward_percents("ffn")
    return judge(
        words,
        holds=near(long, FFN_COMPUTE),
        when=near(short, FFN_COMPUTE),
        condition="the sequence is much shorter than H.",
    )


@per_percent(
    element="W16",
    says="Recomputing the FFN is expensive for what it saves.",
    tests=(names.TRADEOFF, names.MEASURED),
)
def poor_value() -> Finding:
    (ffn, attention), (flash_ffn, flash_attention) = (
        [tradeoff(MODEL, half, seq_len=LONG, **how).bytes_per_percent / GIB for half in ("ffn", "attention")]
        for how in (EAGER, {})
    )
    return judge(
        f"A percent of FLOPs in the FFN half frees {n(ffn, 1, 'GiB')} with eager and {n(flash_ffn, 1, 'GiB')} with "
        f"flash attention at {AT_LONG} tokens; in the attention half {n(attention, 0, 'GiB')} with eager, "
        f"{n(flash_attention, 1, 'GiB')} with flash attention.",
        holds=ffn < attention and flash_ffn < flash_attention,
        when=ffn < attention,
        condition="attention is eager.",
    )


@per_percent(
    element="W17",
    says=f"At 16K tokens attention saves about {TEN} more memory for the same extra compute.",
    tests=("test_tradeoff::test_the_advantage_by_the_workshops_count",),
)
def ten_times() -> Finding:
    long, short = (advantage(seq_len, **WORKSHOP) for seq_len in (LONG, TABLE))
    return judge(
        f"By its own count it saves {n(long, 1, '×')} as much at the {AT_LONG} tokens of the table, and "
        f"{n(short, 1, '×')} at {n(tokens(TABLE))} tokens.",
        holds=near(long, TEN, 0.2),
        when=near(short, TEN, 0.2),
        condition="the sequence has about 3K tokens. At the length of the table it is more than double.",
    )


@claim(
    element="W18",
    says="Attention's advantage grows with the sequence.",
    taught="workshop/attention-first/#the-advantage-grows",
    source=f"{FLASH_2}, §3.1",
    tests=(names.STRATEGIES, names.OVERHEADS, names.TRADEOFF, names.MEASURED),
)
def advantage_grows() -> Finding:
    rows = [[advantage(seq_len, **how) for seq_len in LENGTHS] for how in (WORKSHOP, EAGER, {})]
    grows = [all(a < b for a, b in pairwise(row)) for row in rows]
    workshop, eager, flash = (f"from {n(row[0], 1)} to {n(row[-1], 2 if row[-1] < 1 else 0)}" for row in rows)
    return judge(
        f"Between {SHORTEST} and {LONGEST} tokens, the ratio of bytes per percent of attention and FFN goes {workshop} "
        f"by the workshop's count. In Llama 3.1 8B it goes {eager} with eager and {flash} with flash attention.",
        holds=all(grows),
        when=grows[0] and grows[1],
        condition="attention is eager. With flash attention it shrinks with every token.",
    )


@claim(
    element="W17",
    says="Most training frameworks recompute attention by default.",
    taught="workshop/attention-first/#what-frameworks-do",
    source=", ".join(link(url, name) for name, url in FRAMEWORKS.items()),
)
def frameworks() -> Finding:
    return cited(
        "Their sources say something else. Megatron Core recomputes nothing by default. torchtitan's selective mode "
        "saves what attention computed. Transformers and MaxText recompute whole layers. This package cannot "
        "compute what other people's code does."
    )
