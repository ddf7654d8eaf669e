"""The blocks of the chapter on compute cost."""

from __future__ import annotations

from markupsafe import Markup

from actckpt import FlopRules
from actckpt.figures.cost import overheads_over_seq_len
from actckpt.formulas.flops import linear_flops, workshop_overheads
from book.components.figure import figure
from book.components.table import table
from book.components.template import code, swatch
from book.quantities.costs import (
    CASES,
    EXAMPLE,
    STEP_FACTOR,
    case_halves,
    coefficients,
    overheads,
)
from book.quantities.sources import PUBLISHED, more_time
from book.quantities.steps import CONFIG, LABEL, LENGTHS, MODEL, block_at, overhead
from book.quantities.text import fixed, model_label, percent, tokens


def matmuls() -> Markup:
    """The matmuls of the workshop's block, one by one, as a table."""
    scores = coefficients("core_attention")[1] // 2
    square, wide = linear_flops(1, 1, 1), linear_flops(1, 1, 4)
    entries = [
        *((name, "[S·B, H] · [H, H]", f"{square} BSH²") for name in ("q", "k", "v")),
        ("scores q kᵀ", "n × [S, H/n] · [H/n, S]", f"{scores} BS²H"),
        ("probabilities · v", "n × [S, S] · [S, H/n]", f"{scores} BS²H"),
        ("o", "[S·B, H] · [H, H]", f"{square} BSH²"),
        ("FFN up", "[S·B, H] · [H, 4H]", f"{wide} BSH²"),
        ("FFN down", "[S·B, 4H] · [4H, H]", f"{wide} BSH²"),
    ]
    rows = [(swatch("ffn" if name.startswith("FFN") else "attention") + name, *cells) for name, *cells in entries]
    (linear, squared), (ffn, _) = coefficients("attention"), coefficients("ffn")
    foot = ("sum", "", f"{linear + ffn} BSH² + {squared} BS²H")
    return table("The workshop's block, forward", ("matmul", "sizes", "FLOPs"), rows, foot)


def cases() -> Markup:
    """The overheads of the workshop's two cases and of two longer ones, as a table."""
    head = ("case", f"tokens, {LABEL.split()[-1]}", "attention", "FFN", "both", "attention’s share of F")
    rows = [_case(name, ratio) for name, ratio in CASES.items()]
    return table("FLOPs that recomputing adds to a step, by the workshop's rules", head, rows)


def _case(name: str, ratio: int) -> list[str]:
    attention, ffn = case_halves(ratio)
    recomputed = {"attention": attention, "ffn": ffn, "both": attention + ffn}
    return [
        name,
        f"{ratio * CONFIG.hidden_size:,}" if ratio else "–",
        *(
            f"{flops} / ({STEP_FACTOR} · {attention + ffn}) = {percent(float(overheads(ratio)[strategy]))}"
            for strategy, flops in recomputed.items()
        ),
        percent(attention / (attention + ffn)),
    ]


def worked_example() -> Markup:
    """The workshop's worked example, as a table."""
    without = STEP_FACTOR * sum(EXAMPLE)
    words = {"none": "nothing", "attention": "attention", "ffn": "FFN", "both": "both"}
    rows = [
        (words[name], int(share * without), f"{without + int(share * without):,}", percent(float(share)))
        for name, share in workshop_overheads(*EXAMPLE).items()
    ]
    caption = f"A block with {EXAMPLE[0]} FLOPs in attention and {EXAMPLE[1]} in the FFN"
    return table(caption, ("recomputed", "computed again", "the step", "overhead"), rows)


def chart() -> Markup:
    """The chart of the overheads by both kinds of rules."""
    return figure(
        overheads_over_seq_len,
        MODEL,
        name="overheads",
        caption="Dotted: the workshop's block and rules. Solid: the Llama block with flash attention, as PyTorch runs "
        "it.",
        assumes=f"Blocks of {LABEL}, batch size 1, without embedding, logits and loss.",
        test="test_figures::test_overheads_over_seq_len",
    )


def llama_matmuls() -> Markup:
    """Forward and backward FLOPs of each op of a Llama block that has any, as a table."""
    seq_len = CONFIG.hidden_size
    unit = seq_len * CONFIG.hidden_size**2
    counted = [stage for stage in block_at(seq_len).stages if stage.forward]
    rows = [
        (
            swatch("ffn" if stage.is_inside("ffn_half") else "attention") + code(stage.writes[0]),
            fixed(stage.forward / unit, 2),
            fixed(stage.backward / unit, 2),
            f"{stage.backward / stage.forward:g}",
        )
        for stage in counted
    ]
    forward, backward = (sum(getattr(stage, way) for stage in counted) for way in ("forward", "backward"))
    foot = ("sum", fixed(forward / unit, 2), fixed(backward / unit, 2), fixed(backward / forward, 2))
    head = ("op", "forward", "backward", "backward ÷ forward")
    return table(f"One block of {LABEL}, S = {seq_len:,}, flash attention, in BSH² FLOPs", head, rows, foot)


def switches() -> Markup:
    """What recomputing whole blocks adds, with one more of PyTorch's rules in each row, as a table."""
    lengths = [LENGTHS[place] for place in (0, 2, 4, 7)]
    entries = {
        "by the workshop's rules": FlopRules(causal=False, flash_backward=False, early_stop=False),
        "and the recomputation stops early": FlopRules(causal=False, flash_backward=False),
        "and flash attention's backward pass is longer": FlopRules(causal=False),
        "and the causal mask is skipped: as PyTorch runs it": FlopRules(),
    }
    rows = [
        (words, *(percent(overhead("full", seq_len=length, rules=rules)) for length in lengths))
        for words, rules in entries.items()
    ]
    head = ("", *(f"{tokens(length)} tokens" for length in lengths))
    return table(f"Whole blocks of {LABEL} recomputed, FLOPs added", head, rows)


def measured() -> Markup:
    """FLOPs counted against time measured, for one layer of the paper's 22B model, as a table."""
    seq_len = int(PUBLISHED["korthikanti_seq_len"].value)
    rows = [
        (
            words,
            percent(overhead(policy, model="gpt-22b", seq_len=seq_len, accounting="paper")),
            percent(more_time(f"korthikanti_{time}", "korthikanti_none"), 0),
        )
        for words, policy, time in (
            ("core attention", "core_attention", "selective"),
            ("the whole layer", "full", "full"),
        )
    ]
    head = ("recomputed", "FLOPs added, counted", "time added, as published")
    return table(f"One layer of {model_label('gpt-22b')}, S = {seq_len:,}, A100", head, rows)
