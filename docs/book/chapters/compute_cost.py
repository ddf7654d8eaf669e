"""The blocks of the chapter on compute cost."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from actckpt import PRESETS, FlopRules, Step, estimate, sweep
from actckpt.blocks.block import Block
from actckpt.figures.cost import overheads_over_seq_len
from actckpt.formulas.flops import gpt_forward_flops, linear_flops, step_flops, workshop_overheads
from book.components import figure
from book.quantities import text
from book.quantities.blocks import block_at
from book.quantities.numbers import LENGTHS
from book.quantities.published import PUBLISHED, korthikanti_full_overhead, korthikanti_selective_overhead

MODEL = "llama-3.1-8b"
LABEL = text.model_label(MODEL)
# forward FLOPs of attention and of the FFN in the worked example
EXAMPLE = (100, 300)
STRATEGIES = {"none": "nothing", "attention": "attention", "ffn": "FFN", "both": "both"}
# S / H in the workshop's two cases, where S ≪ H counts as nothing, and in two more
CASES = {"S ≪ H": 0, "S = H": 1, "S = 2H": 2, "S = 4H": 4}


def coefficients(half: str) -> tuple[int, int]:
    """The coefficients of BSH² and of BS²H in the forward FLOPs of a half of the workshop's block."""
    once, twice = (gpt_forward_flops(s, 1, 1)[half] for s in (1, 2))
    squared = (twice - 2 * once) // 2
    return int(once - squared), int(squared)


def step_factor() -> str:
    """How many forward passes a step costs."""
    step = step_flops(1, 0)
    return str(step.forward + step.backward)


def step() -> str:
    """What a step costs, as LaTeX."""
    flops = step_flops(1, 0)
    return rf"$$F_\text{{step}} = F + {flops.backward}F = {step_factor()}F$$"


def halves() -> str:
    """Forward FLOPs of both halves of the workshop's block, as LaTeX."""
    (linear, squared), (ffn, _) = coefficients("attention"), coefficients("ffn")
    return (
        rf"$$F_\text{{attention}} = {linear}\,B S H^2 + {squared}\,B S^2 H$$"
        "\n\n"
        rf"$$F_\text{{FFN}} = {ffn}\,B S H^2$$"
    )


def overhead() -> str:
    """What recomputing adds to a step, as LaTeX."""
    return rf"$$\text{{overhead}} = \frac{{F_\text{{recomputed}}}}{{{step_factor()}\,F}}$$"


def matmuls() -> str:
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
    rows = "".join(
        f'<tr><th scope="row">{_swatch("ffn" if name.startswith("FFN") else "attention")}{name}</th>'
        f"<td>{sizes}</td><td>{flops}</td></tr>"
        for name, sizes, flops in entries
    )
    (linear, squared), (ffn, _) = coefficients("attention"), coefficients("ffn")
    total = f'<tr><th scope="row">sum</th><td></td><td>{linear + ffn} BSH² + {squared} BS²H</td></tr>'
    return text.table("The workshop's block, forward", ("matmul", "sizes", "FLOPs"), rows, total)


def cases() -> str:
    """The overheads of the workshop's two cases and of two longer ones, as a table."""
    rows = "".join(_case_row(name, ratio) for name, ratio in CASES.items())
    head = ("case", f"tokens, {LABEL.split()[-1]}", "attention", "FFN", "both", "attention’s share of F")
    return text.table("FLOPs that recomputing adds to a step, by the workshop's rules", head, rows)


def worked_example() -> str:
    """The workshop's worked example, as a table."""
    forward = sum(EXAMPLE)
    flops = step_flops(forward, 0)
    without = flops.forward + flops.backward
    rows = "".join(
        f'<tr><th scope="row">{STRATEGIES[name]}</th><td>{int(share * without)}</td>'
        f"<td>{without + int(share * without):,}</td><td>{text.percent(float(share))}</td></tr>"
        for name, share in workshop_overheads(*EXAMPLE).items()
    )
    caption = f"A block with {EXAMPLE[0]} FLOPs in attention and {EXAMPLE[1]} in the FFN"
    return text.table(caption, ("recomputed", "computed again", "the step", "overhead"), rows)


def chart() -> str:
    """The chart of the overheads by both kinds of rules."""
    return figure.figure(
        overheads_over_seq_len(MODEL),
        name="overheads",
        made_by=f'actckpt.figures.cost.overheads_over_seq_len("{MODEL}")',
        assumes=f"Blocks of {LABEL}, batch size 1, without embedding, logits and loss. Dotted: the workshop's block "
        "and rules. Solid: the Llama block with flash attention, as PyTorch runs it.",
        test="test_figures::test_overheads_over_seq_len",
    )


def llama_matmuls() -> str:
    """Forward and backward FLOPs of each op of a Llama block that has any, as a table."""
    seq_len = PRESETS[MODEL].hidden_size
    unit = seq_len * PRESETS[MODEL].hidden_size ** 2
    layer = block(seq_len)
    stages = [stage for stage in layer.stages if stage.forward]
    rows = "".join(
        f'<tr><th scope="row">{_swatch("ffn" if stage.is_inside("ffn_half") else "attention")}'
        f"<code>{stage.writes[0]}</code></th>"
        f"<td>{text.fixed(stage.forward / unit, 2)}</td><td>{text.fixed(stage.backward / unit, 2)}</td>"
        f"<td>{stage.backward / stage.forward:g}</td></tr>"
        for stage in stages
    )
    forward, backward = (sum(getattr(stage, way) for stage in stages) for way in ("forward", "backward"))
    foot = (
        f'<tr><th scope="row">sum</th><td>{text.fixed(forward / unit, 2)}</td><td>{text.fixed(backward / unit, 2)}</td>'
        f"<td>{text.fixed(backward / forward, 2)}</td></tr>"
    )
    head = ("op", "forward", "backward", "backward ÷ forward")
    return text.table(f"One block of {LABEL}, S = {seq_len:,}, flash attention, in BSH² FLOPs", head, rows, foot)


def switches() -> str:
    """What recomputing whole blocks adds, with one more of PyTorch's rules in each row, as a table."""
    lengths = LENGTHS[[0, 2, 4, 7]]
    off = {"causal": False, "flash_backward": False, "early_stop": False}
    entries = {
        "by the workshop's rules": off,
        "and the recomputation stops early": {**off, "early_stop": True},
        "and flash attention's backward pass is longer": {"causal": False},
        "and the causal mask is skipped: as PyTorch runs it": {},
    }
    rows = "".join(
        f'<tr><th scope="row">{words}</th>'
        + "".join(f"<td>{text.percent(share)}</td>" for share in full(lengths, FlopRules(**rules)).flops.overhead)
        + "</tr>"
        for words, rules in entries.items()
    )
    head = ("", *(f"{text.tokens(int(length))} tokens" for length in lengths))
    return text.table(f"Whole blocks of {LABEL} recomputed, FLOPs added", head, rows)


def measured() -> str:
    """FLOPs counted against time measured, for one layer of the paper's 22B model, as a table."""
    rows = "".join(
        f'<tr><th scope="row">{words}</th><td>{text.percent(_paper_22b(policy).flops.overhead)}</td>'
        f"<td>{time}</td></tr>"
        for words, policy, time in (
            ("core attention", "core_attention", korthikanti_selective_overhead()),
            ("the whole layer", "full", korthikanti_full_overhead()),
        )
    )
    head = ("recomputed", "FLOPs added, counted", "time added, as published")
    return text.table(
        f"One layer of {text.model_label('gpt-22b')}, S = {_paper_22b('none').seq_len:,}, A100", head, rows
    )


def block(seq_len: int) -> Block[int]:
    """A Llama block, as the package lists its ops."""
    return block_at(seq_len)


def full(lengths: Any, rules: FlopRules) -> Step:
    """The model with whole blocks recomputed, FLOPs counted by `rules`."""
    return sweep(MODEL, seq_len=lengths, policy="full", rules=rules)


def _paper_22b(policy: str) -> Step:
    seq_len = int(PUBLISHED["korthikanti_seq_len"].value)
    return estimate("gpt-22b", seq_len=seq_len, accounting="paper", policy=policy)


def case_halves(ratio: int) -> tuple[int, int]:
    """Forward FLOPs of both halves in BSH², where S is `ratio` times H."""
    linear, squared = coefficients("attention")
    return linear + squared * ratio, coefficients("ffn")[0]


def overheads(ratio: int) -> dict[str, Fraction]:
    """What each strategy adds to a step there."""
    return workshop_overheads(*case_halves(ratio))


def _case_row(name: str, ratio: int) -> str:
    attention, ffn = case_halves(ratio)
    shares = overheads(ratio)
    recomputed = {"attention": attention, "ffn": ffn, "both": attention + ffn}
    cells = "".join(
        f"<td>{flops} / ({step_factor()} · {attention + ffn}) = {text.percent(float(shares[strategy]))}</td>"
        for strategy, flops in recomputed.items()
    )
    tokens = f"{ratio * PRESETS[MODEL].hidden_size:,}" if ratio else "–"
    share = text.percent(attention / (attention + ffn))
    return f'<tr><th scope="row">{name}</th><td>{tokens}</td>{cells}<td>{share}</td></tr>'


def _swatch(component: str) -> str:
    return f'<i class="ac-swatch ac-{component}"></i>'
