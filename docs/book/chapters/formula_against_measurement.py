"""The blocks of "Formula against measurement": both ledgers, side by side."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from html import escape

from actckpt import POLICIES, PRESETS, Step, Term, estimate
from actckpt.figures.memory import formula_and_measurement
from book.components import figure
from book.quantities import text
from book.quantities.measured import measure

MODELS = ("llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b")
SEQ_LEN = 8192
AT = f"S\u00a0=\u00a0{SEQ_LEN:,}"
# whole periods of every_2, every_3 and every_4
N_LAYERS = 12


@cache
def steps(model: str, policy: str) -> tuple[Step, Step]:
    """The step of a shallow copy of the model: by the closed form, and measured."""
    config = replace(PRESETS[model], n_layers=N_LAYERS)
    return estimate(config, seq_len=SEQ_LEN, policy=policy), measure(config, seq_len=SEQ_LEN, policy=policy)


def verdict() -> str:
    """How many of all comparisons agree, as a sentence."""
    pairs = [steps(model, policy) for model in MODELS for policy in POLICIES]
    equal = sum(formula.total_bytes == measured.total_bytes for formula, measured in pairs)
    counted = sum(formula.flops == measured.flops for formula, measured in pairs)
    return (
        f"Of {len(pairs)} combinations of model and policy, **{equal} agree to the byte** in what the blocks save, and "
        f"**{counted} to the unit** in the FLOPs that they run forward, backward and again."
    )


def setting() -> str:
    """What was measured, as a sentence."""
    return (
        f"Every model is measured at {AT} tokens with flash attention and {N_LAYERS} of its blocks: blocks "
        "are alike, and that many hold whole periods of every policy. The tests measure other lengths, eager attention "
        "and full depth."
    )


def both_ledgers() -> str:
    """For each model, a table of what all measured blocks save under each policy."""
    return "".join(_model_table(model) for model in MODELS)


def terms() -> str:
    """The ledgers of one block of Llama 3.1 8B, term by term."""
    formula, measured = steps(MODELS[0], "none")
    found = {term.name: term for term in measured.block}
    rows = "".join(_term_row(term, found.pop(term.name, None)) for term in formula.block)
    rows += "".join(_term_row(None, term) for term in found.values())
    total = _byte_cells(formula.block.bytes, measured.block.bytes)
    return text.table(
        f"One block of {text.model_label(MODELS[0])}, {AT}, nothing recomputed",
        ("tensor", "component", "shape", "dtype", "closed form, bytes", "measured, bytes", "difference"),
        rows,
        f'<tr><th scope="row">sum</th><td></td><td></td><td></td>{total}</tr>',
    )


def chart() -> str:
    """The chart of both ledgers, policy by policy."""
    pairs = [steps(MODELS[0], policy) for policy in POLICIES]
    formula, measured = ([pair[side] for pair in pairs] for side in (0, 1))
    return figure.figure(
        formula_and_measurement(formula, measured, PRESETS[MODELS[0]].hidden_size),
        name="agreement",
        made_by="actckpt.figures.memory.formula_and_measurement(formula, measured, hidden_size)",
        assumes=f"Llama accounting with flash attention, {text.model_label(MODELS[0])}, {AT}, bfloat16.",
        test="test_figures::test_formula_and_measurement",
    )


def _model_table(model: str) -> str:
    rows = "".join(
        f'<tr><th scope="row"><code>{policy}</code></th>'
        f"{_byte_cells(formula.total_bytes, measured.total_bytes)}<td>{text.gib(formula.total_bytes)}</td></tr>"
        for policy in POLICIES
        for formula, measured in [steps(model, policy)]
    )
    head = ("policy", "closed form, bytes", "measured, bytes", "difference", "in GiB")
    return text.table(f"{text.model_label(model)}, {N_LAYERS} blocks, {AT}", head, rows)


def _byte_cells(formula: int, measured: int) -> str:
    difference = measured - formula
    signed = f"{difference:+,}".replace("-", "−") if difference else "0"
    mark = "ac-equal" if difference == 0 else "ac-differs"
    return f'<td>{formula:,}</td><td>{measured:,}</td><td class="{mark}">{signed}</td>'


def _term_row(formula: Term | None, measured: Term | None) -> str:
    term = formula or measured
    assert term is not None
    cells = _byte_cells(formula.bytes if formula else 0, measured.bytes if measured else 0)
    shape = " × ".join(f"{size:,}" for size in term.shape)
    return (
        f'<tr><th scope="row"><i class="ac-swatch ac-{term.component}"></i><code>{escape(term.name)}</code></th>'
        f"<td>{term.component}</td><td>{shape}</td><td>{term.dtype}</td>{cells}</tr>"
    )
