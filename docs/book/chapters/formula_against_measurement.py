"""The blocks of "Formula against measurement": both ledgers, side by side."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from markupsafe import Markup

from actckpt import POLICIES, PRESETS, Step, estimate
from actckpt.figures.memory import formula_and_measurement
from book.components.figure import figure
from book.components.pictures import opening as picture
from book.components.pictures.opening import bars
from book.components.table import table
from book.components.template import code, mark, swatch
from book.quantities.measured import measure
from book.quantities.steps import CONFIG, LABEL, MODEL, SIZES
from book.quantities.text import NBSP, gib, model_label, percent

SEQ_LEN = 8192
AT = f"S{NBSP}={NBSP}{SEQ_LEN:,}"
# whole periods of every_2, every_3 and every_4
N_LAYERS = 12


@cache
def steps(model: str, policy: str) -> tuple[Step[int], Step[int]]:
    """The step of a shallow copy of the model: by the closed form, and measured."""
    config = replace(PRESETS[model], n_layers=N_LAYERS)
    return estimate(config, seq_len=SEQ_LEN, policy=policy), measure(config, seq_len=SEQ_LEN, policy=policy)


def opening() -> Markup:
    """One block by formula, and below it as measured."""
    formula, measured = (step.block for step in steps(MODEL, "none"))
    return picture.opening(
        bars(
            (f"{name}: {ledger.bytes:,} bytes", [(term.component, term.bytes) for term in ledger])
            for name, ledger in (("closed form", formula), ("measured", measured))
        ),
        name="one-block-twice",
        title="One block, by formula and as measured",
        description="Two bars, tensor by tensor: what the closed form says that one block keeps, and below it what "
        "autograd saved.",
        caption=f"What one block of {LABEL} keeps, tensor by tensor, if nothing is recomputed, on one scale.",
        made_by="actckpt.estimate and actckpt.measure",
        assumes=f"Llama accounting with flash attention, {LABEL}, {AT}, bfloat16.",
        test="test_openings::test_one_block_twice",
    )


def verdict() -> str:
    """How many of all comparisons agree, as a sentence."""
    pairs = [steps(model, policy) for model in SIZES for policy in POLICIES]
    equal = sum(formula.total_bytes == measured.total_bytes for formula, measured in pairs)
    counted = sum(formula.flops == measured.flops for formula, measured in pairs)
    return (
        f"Of {len(pairs)} combinations of model and policy, **{equal} agree to the byte** in what the blocks save, and "
        f"**{counted} to the unit** in the FLOPs that they run forward, backward and again."
    )


def peaks() -> str:
    """How far the peaks are from what was measured, as two sentences."""
    pairs = [steps(model, policy) for model in SIZES for policy in POLICIES]
    equal = sum(formula.peak_bytes == measured.peak_bytes for formula, measured in pairs)
    config = replace(CONFIG, n_layers=N_LAYERS)
    how: dict[str, Any] = {"seq_len": SEQ_LEN, "policy": "core_attention", "attention": "eager"}
    low = 1 - estimate(config, **how).working_bytes / measure(config, **how).working_bytes
    return (
        f"The peak agrees to the byte in **{equal}** of them. Among others there is one known exception, with eager "
        "attention: for `core_attention` the formula leaves out a copy of one tensor, and its peak is "
        f"{mark(percent(low, 2))} too low for {LABEL}."
    )


def both_ledgers() -> Markup:
    """For each model, a table of what all measured blocks save under each policy."""
    return Markup("").join(map(_ledgers, SIZES))


def _ledgers(model: str) -> Markup:
    rows = [
        (code(policy), *_difference(formula.total_bytes, measured.total_bytes), gib(formula.total_bytes, 1))
        for policy in POLICIES
        for formula, measured in [steps(model, policy)]
    ]
    head = ("policy", "closed form, bytes", "measured, bytes", "difference", "in GiB")
    return table(f"{model_label(model)}, {N_LAYERS} blocks, {AT}", head, rows)


def terms() -> Markup:
    """The ledgers of one block of Llama 3.1 8B, term by term."""
    formula, measured = ({term.name: term for term in step.block} for step in steps(MODEL, "none"))
    rows = [
        (
            swatch(term.component) + code(name),
            term.component,
            " × ".join(f"{size:,}" for size in term.shape),
            term.dtype,
            *_difference(*(ledger[name].bytes if name in ledger else 0 for ledger in (formula, measured))),
        )
        for name, term in (formula | measured).items()
    ]
    return table(
        f"One block of {LABEL}, {AT}, nothing recomputed",
        ("tensor", "component", "shape", "dtype", "closed form, bytes", "measured, bytes", "difference"),
        rows,
        ("sum", "", "", "", *_difference(*(step.block.bytes for step in steps(MODEL, "none")))),
    )


def _difference(formula: int, measured: int) -> tuple[str, str, Markup]:
    difference = measured - formula
    signed = f"{difference:+,}".replace("-", "−") if difference else "0"
    mark = "equal" if difference == 0 else "differs"
    return f"{formula:,}", f"{measured:,}", Markup('<span class="ac-{}">{}</span>').format(mark, signed)


def chart() -> Markup:
    """The chart of both ledgers, policy by policy."""
    formula, measured = ([steps(MODEL, policy)[side] for policy in POLICIES] for side in (0, 1))
    return figure(
        formula_and_measurement,
        formula,
        measured,
        CONFIG.hidden_size,
        name="agreement",
        caption="What a block keeps under each policy. The bar is the formula, the diamond what autograd saved.",
        assumes=f"Llama accounting with flash attention, {LABEL}, {AT}, bfloat16.",
        test="test_figures::test_formula_and_measurement",
    )
