"""The charts: each function returns a Plotly figure whose numbers are calls into the package.

A trace's `meta` names its component or its place among lines; the site's style sheet gives that name a colour in each
scheme. Away from the site a figure has the light scheme's colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from actckpt.config import ModelConfig, get_config
from actckpt.formulas import estimate
from actckpt.hardware import GIB
from actckpt.ledger import COMPONENTS
from actckpt.step import Step

# Okabe and Ito's palette, https://jfly.uni-koeln.de/color/
COLORS = {
    "attention": "#0072B2",
    "ffn": "#009E73",
    "norm": "#E69F00",
    "checkpoint": "#CC79A7",
    "logits": "#D55E00",
    "muted": "#6B7280",
    "ink": "#1F2328",
}
LABELS = {"attention": "attention", "ffn": "FFN", "norm": "norm", "checkpoint": "checkpoint"}
# what tells components apart where colour does not
PATTERNS = {"attention": "", "ffn": "/", "norm": ".", "checkpoint": "x"}

LENGTHS = tuple(2**power for power in range(10, 18))


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
        name: [n / GIB for n in _broadcast(estimate(config, seq_len=np.array(lengths), **how).total_bytes, lengths)]
        for name, _, _, how in lines
    }
    ratio = sizes[lines[0][0]][-1] / sizes[lines[-1][0]][-1]
    figure = go.Figure(
        [_line(name, color, lengths, sizes[name], place) for name, color, place, _ in lines],
        layout=_layout(
            f"At {lengths[-1]:,} tokens the workshop counts {ratio:,.0f} times what Llama keeps with flash attention",
            "sequence length, tokens (logarithmic)",
            "activations of all blocks, GiB (logarithmic)",
        ),
    )
    figure.update_traces(line_dash="dot", selector=lambda trace: trace.name != lines[-1][0])
    _logarithmic_lengths(figure, lengths)
    figure.update_yaxes(type="log", tickformat=",~r")
    return figure


def component_shares(model: str | ModelConfig, lengths: Sequence[int] = LENGTHS) -> go.Figure:
    """The share of attention and of the FFN in what a block saves, with eager and with flash attention."""
    traces = []
    for attention in ("eager", "flash"):
        ledger = estimate(model, seq_len=np.array(lengths), attention=attention).block
        for component in ("attention", "ffn"):
            share = _broadcast(100 * ledger.component_bytes(component) / ledger.bytes, lengths)
            trace = _line(f"{LABELS[component]}, {attention}", component, lengths, share)
            trace.line.dash = "dot" if attention == "eager" else "solid"
            traces.append(trace)
    figure = go.Figure(
        traces,
        layout=_layout(
            "With flash attention, the FFN is what you store",
            "sequence length, tokens (logarithmic)",
            "share of what a block saves, %",
        ),
    )
    _logarithmic_lengths(figure, lengths)
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
    saved = {
        policy: _broadcast(estimate(model, seq_len=np.array(lengths), policy=policy).total_bytes, lengths)
        for policy in policies
    }
    left = {policy: 100 * saved[policy][-1] / saved["none"][-1] for policy in policies}
    figure = go.Figure(
        [
            _line(
                policy,
                color,
                lengths,
                [n / GIB for n in saved[policy]],
                places.get(policy, "middle right"),
            )
            for policy, color in colors.items()
        ],
        layout=_layout(
            f"Recomputing the FFN leaves {left['ffn']:.0f}\u00a0%, the attention half {left['attention']:.0f}\u00a0%, "
            f"the whole block {left['full']:.0f}\u00a0%",
            "sequence length, tokens (logarithmic)",
            "activations of all blocks, GiB (logarithmic)",
        ),
    )
    figure.update_traces(line_dash="dash", selector={"name": "both"})
    _logarithmic_lengths(figure, lengths)
    figure.update_yaxes(type="log", tickformat=",~r")
    return figure


def formula_and_measurement(formula: Sequence[Step], measured: Sequence[Step], hidden_size: int) -> go.Figure:
    """What a block saves under each policy: the closed form's components as bars, the measured total as a mark.

    Args:
        formula: One step a policy, from `estimate`.
        measured: The same steps from `measure`.
        hidden_size: H of their model.
    """
    policies = [step.policy.name for step in formula]
    # per block and element of a hidden state; the mean, as every_N treats blocks differently
    unit = [len(step.layers) * step.batch_size * step.seq_len * hidden_size for step in formula]
    traces: list[Any] = [
        go.Bar(
            name=LABELS[component],
            meta=component,
            y=policies,
            x=[step.by_component()[component] / sbh for step, sbh in zip(formula, unit, strict=True)],
            orientation="h",
            marker={"color": COLORS[component], "pattern": {"shape": PATTERNS[component]}},
        )
        for component in COMPONENTS
    ]
    traces.append(
        go.Scatter(
            name="measured",
            meta="ink",
            y=policies,
            x=[step.total_bytes / sbh for step, sbh in zip(measured, unit, strict=True)],
            mode="markers",
            marker={"symbol": "diamond-open", "size": 12, "line": {"width": 2}, "color": COLORS["ink"]},
        )
    )
    differ = sum(f.total_bytes != m.total_bytes for f, m in zip(formula, measured, strict=True))
    message = f"{differ} of {len(policies)} policies differ" if differ else "every policy agrees to the byte"
    figure = go.Figure(
        traces,
        layout=_layout(
            f"Closed form (bars) and measurement (diamonds): {message}", "bytes per S·B·H, mean of the blocks", ""
        ),
    )
    figure.update_layout(
        barmode="stack",
        showlegend=True,
        legend={"orientation": "h", "traceorder": "normal", "y": 1.02, "yanchor": "bottom"},
    )
    figure.update_layout(margin={"l": 110, "r": 20, "t": 40, "b": 50}, height=420)
    figure.update_yaxes(type="category", autorange="reversed")
    return figure


def _broadcast(counts: Any, lengths: Sequence[int]) -> list[Any]:
    return np.broadcast_to(counts, len(lengths)).tolist()


def _line(name: str, color: str, x: Sequence[int], y: Sequence[float], label: str = "middle right") -> go.Scatter:
    # the label stands at the line's end, so that no legend has to be matched to it
    return go.Scatter(
        name=name,
        meta=color,
        x=list(x),
        y=list(y),
        mode="lines+markers+text",
        text=["" for _ in x[:-1]] + [f" {name}"],
        textposition=label,
        textfont={"color": COLORS[color]},
        line={"color": COLORS[color], "width": 2.5},
        marker={"color": COLORS[color], "size": 5},
        cliponaxis=False,
        hovertemplate="%{x:,} tokens: %{y:,.4~g}<extra>%{fullData.name}</extra>",
    )


def _layout(message: str, x: str, y: str) -> go.Layout:
    return go.Layout(
        template=go.layout.Template(),
        title={"text": message},
        xaxis={"title": {"text": x}},
        yaxis={"title": {"text": y}},
        showlegend=False,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 64, "r": 170, "t": 16, "b": 50},
        height=400,
    )


def _logarithmic_lengths(figure: go.Figure, lengths: Sequence[int]) -> None:
    # the lines' names stand to the right of the plot
    figure.update_layout(margin_r=30 + 7 * max(len(trace.name) for trace in figure.data))
    names = [f"{length // 1024}K" for length in lengths]
    figure.update_xaxes(type="log", tickmode="array", tickvals=list(lengths), ticktext=names)
