"""The charts of memory: what is kept, over the sequence length, by policy and by accounting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from actckpt.config import ModelConfig, get_config
from actckpt.figures.drawing import (
    COLORS,
    LABELS,
    LENGTHS,
    component_bars,
    layout,
    legend_above,
    line,
    logarithmic_lengths,
    names_down_the_side,
)
from actckpt.formulas import sweep
from actckpt.hardware import GIB
from actckpt.step import Step
from actckpt.terms import COMPONENTS


def accountings_over_seq_len(model: str | ModelConfig, lengths: Sequence[int] = LENGTHS) -> go.Figure:
    """What all blocks save without recomputation, by each accounting and kind of attention."""
    config = get_config(model)
    # no component's colour: a line is a sum of all of them
    lines: list[tuple[str, str, str, dict[str, Any]]] = [
        ("workshop", "muted", "top right", {"accounting": "workshop"}),
        ("paper", "muted", "bottom right", {"accounting": "paper"}),
        ("Llama, eager attention", "ink", "middle right", {"attention": "eager"}),
        ("Llama, flash attention", "ink", "middle right", {"attention": "flash"}),
    ]
    sizes = {
        name: [n / GIB for n in sweep(config, seq_len=lengths, **how).total_bytes.tolist()] for name, _, _, how in lines
    }
    ratio = sizes[lines[0][0]][-1] / sizes[lines[-1][0]][-1]
    figure = go.Figure(
        [line(name, color, lengths, sizes[name], place) for name, color, place, _ in lines],
        layout=layout(
            f"At {lengths[-1] // 1024}K tokens the workshop counts {ratio:,.0f} times what Llama keeps with flash "
            "attention",
            "sequence length, tokens (logarithmic)",
            "activations of all blocks, GiB (logarithmic)",
        ),
    )
    figure.update_traces(line_dash="dot", selector=lambda trace: trace.name != lines[-1][0])
    logarithmic_lengths(figure, lengths)
    figure.update_yaxes(type="log", tickformat=",~r")
    return figure


def component_shares(model: str | ModelConfig, lengths: Sequence[int] = LENGTHS) -> go.Figure:
    """The share of attention and of the FFN in what a block saves, with eager and with flash attention."""
    traces = []
    for attention in ("eager", "flash"):
        ledger = sweep(model, seq_len=lengths, attention=attention).block
        for component in ("attention", "ffn"):
            share = (100 * ledger.component_bytes(component) / ledger.bytes).tolist()
            trace = line(f"{LABELS[component]}, {attention}", component, lengths, share)
            trace.line.dash = "dot" if attention == "eager" else "solid"
            traces.append(trace)
    figure = go.Figure(
        traces,
        layout=layout(
            "With flash attention, the FFN is what you store",
            "sequence length, tokens (logarithmic)",
            "share of what a block saves, %",
        ),
    )
    logarithmic_lengths(figure, lengths)
    figure.update_yaxes(range=[0, 100])
    return figure


def policies_over_seq_len(
    model: str | ModelConfig,
    policies: Sequence[str] = ("none", "attention", "ffn", "both", "full"),
    lengths: Sequence[int] = LENGTHS,
) -> go.Figure:
    """What all blocks save under each policy, with flash attention."""
    colors = dict(zip(policies, ("muted", "attention", "ffn", "ink", "ink"), strict=True))
    places = {"none": "top right", "attention": "bottom right"}
    saved = {policy: sweep(model, seq_len=lengths, policy=policy).total_bytes.tolist() for policy in policies}
    left = {policy: 100 * saved[policy][-1] / saved["none"][-1] for policy in policies}
    figure = go.Figure(
        [
            line(
                policy,
                color,
                lengths,
                [n / GIB for n in saved[policy]],
                places.get(policy, "middle right"),
            )
            for policy, color in colors.items()
        ],
        layout=layout(
            f"Recomputing the FFN leaves {left['ffn']:.0f}\u00a0%, the attention half {left['attention']:.0f}\u00a0%, "
            f"the whole block {left['full']:.0f}\u00a0%",
            "sequence length, tokens (logarithmic)",
            "activations of all blocks, GiB (logarithmic)",
        ),
    )
    figure.update_traces(line_dash="dash", selector={"name": "both"})
    logarithmic_lengths(figure, lengths)
    figure.update_yaxes(type="log", tickformat=",~r")
    return figure


def formula_and_measurement(formula: Sequence[Step[int]], measured: Sequence[Step[int]], hidden_size: int) -> go.Figure:
    """What a block saves under each policy: the closed form's components as bars, the measured total as a mark.

    Args:
        formula: One step a policy, from `estimate`.
        measured: The same steps from `measure`.
        hidden_size: H of their model.
    """
    policies = [step.policy.name for step in formula]
    # per block and element of a hidden state; the mean, as every_N treats blocks differently
    unit = [len(step.layers) * step.batch_size * step.seq_len * hidden_size for step in formula]
    sizes = {
        component: [step.by_component()[component] / sbh for step, sbh in zip(formula, unit, strict=True)]
        for component in COMPONENTS
    }
    traces: list[Any] = [
        *component_bars(policies, sizes),
        go.Scatter(
            name="measured",
            meta="ink",
            y=policies,
            x=[step.total_bytes / sbh for step, sbh in zip(measured, unit, strict=True)],
            mode="markers",
            marker={"symbol": "diamond-open", "size": 12, "line": {"width": 2}, "color": COLORS["ink"]},
        ),
    ]
    differ = sum(f.total_bytes != m.total_bytes for f, m in zip(formula, measured, strict=True))
    message = f"{differ} of {len(policies)} policies differ" if differ else "every policy agrees to the byte"
    figure = go.Figure(
        traces,
        layout=layout(
            f"Closed form (bars) and measurement (diamonds): {message}", "bytes per S·B·H, mean of the blocks", ""
        ),
    )
    legend_above(figure, "stack")
    figure.update_layout(margin={"l": 110, "r": 20, "t": 40, "b": 50}, height=420)
    names_down_the_side(figure)
    return figure
