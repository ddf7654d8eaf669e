"""The charts of what a policy buys: bytes against FLOPs, half by half and policy by policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from actckpt.blocks.block import FlopRules
from actckpt.config import ModelConfig, get_config
from actckpt.figures.drawing import (
    COLORS,
    LABELS,
    LENGTHS,
    layout,
    line,
    logarithmic_lengths,
    names_down_the_side,
)
from actckpt.formulas import estimate
from actckpt.hardware import GIB
from actckpt.tradeoff import attention_advantage, frontier, parity_length, tradeoffs

WORKSHOP = {"workshop": {"accounting": "workshop"}}
WORLDS = {"eager": {"attention": "eager"}, "flash": {"attention": "flash"}}


def advantage_over_seq_len(
    models: Sequence[str], ways: Mapping[str, Mapping[str, Any]], lengths: Sequence[int] = LENGTHS
) -> go.Figure:
    """How many times more bytes a percent of FLOPs saves in the attention half than in the FFN half.

    Args:
        models: Names in `PRESETS`; the first is the one of the message.
        ways: What `attention_advantage` takes, by the name of a line: `WORKSHOP`, or `WORLDS`.
        lengths: Sequence lengths, in tokens.
    """
    traces = []
    for way, how in ways.items():
        for model in models:
            advantage = [attention_advantage(model, seq_len=seq_len, **how) for seq_len in lengths]
            trace = line(f"{size(model)}, {way}", "ink" if way == "flash" else "muted", lengths, advantage)
            trace.line.dash = "solid" if way == "flash" else "dot"
            traces.append(trace)
    figure = go.Figure(
        traces,
        layout=layout(
            _advantage_message(models[0], ways, lengths),
            "sequence length, tokens (logarithmic)",
            "bytes per percent, attention half ÷ FFN half (logarithmic)",
        ),
    )
    logarithmic_lengths(figure, lengths)
    every = [value for trace in traces for value in trace.y]
    low, high = min(0.5, min(every) / 1.4), max(every) * 1.6
    figure.update_yaxes(type="log", range=[float(np.log10(low)), float(np.log10(high))], **_ratio_marks(low, high))
    _sides(figure, low, high)
    if "flash" in ways:
        _parities(figure, models, ways["flash"])
    figure.update_layout(height=520)
    return figure


def memory_and_compute(model: str | ModelConfig, seq_len: int) -> go.Figure:
    """The shares of attention and of the FFN in a block's saved bytes and in its forward FLOPs, eager and flash."""
    rows: dict[str, dict[str, float]] = {}
    for attention in ("eager", "flash"):
        block = estimate(model, seq_len=seq_len, attention=attention).block
        rows[f"{attention}: bytes"] = {
            part: 100 * block.component_bytes(part) / block.bytes for part in ("attention", "ffn", "norm")
        }
        rows[f"{attention}: FLOPs"] = compute_shares(model, seq_len, attention=attention) | {"norm": 0.0}
    traces = [
        go.Bar(
            name=LABELS[part],
            meta=part,
            y=list(rows),
            x=[row[part] for row in rows.values()],
            orientation="h",
            # a label wherever it has room
            text=[f"{LABELS[part]} {row[part]:.0f}\u00a0%" if row[part] > 12 else "" for row in rows.values()],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            # no pattern: it would run through the labels, which tell the parts apart
            marker={"color": COLORS[part]},
            hovertemplate="%{x:.1f} %<extra>%{fullData.name}, %{y}</extra>",
        )
        for part in ("attention", "ffn", "norm")
    ]
    eager, flash = (rows[f"{attention}: bytes"]["attention"] for attention in ("eager", "flash"))
    compute = rows["flash: FLOPs"]["attention"]
    figure = go.Figure(
        traces,
        layout=layout(
            f"Flash attention cuts attention's bytes from {eager:.0f} to {flash:.0f}\u00a0% of a block, "
            f"and leaves it {compute:.0f}\u00a0% of the FLOPs",
            "share of a block, %",
            "",
        ),
    )
    # a label too small to read is left out
    figure.update_layout(uniformtext={"minsize": 10, "mode": "hide"})
    figure.update_layout(barmode="stack", margin={"l": 110, "r": 20}, height=300)
    figure.update_xaxes(range=[0, 100])
    names_down_the_side(figure)
    return figure


def compute_shares(model: str | ModelConfig, seq_len: int, **how: Any) -> dict[str, float]:
    """The share of each half in a block's forward FLOPs, in percent."""
    shares = {}
    for half in ("attention", "ffn"):
        flops = estimate(model, seq_len=seq_len, policy=half, rules=FlopRules(early_stop=False), **how).flops
        shares[half] = 100 * flops.recompute / flops.forward
    return shares


def policy_frontier(model: str | ModelConfig, seq_len: int, attention: str = "flash") -> go.Figure:
    """What each policy keeps and what it costs, and which of them no other policy beats."""
    choices = tradeoffs(model, seq_len=seq_len, attention=attention)
    best = frontier(choices)
    by_name = {choice.policy.name: choice for choice in choices}
    figure = go.Figure(
        [
            go.Scatter(
                name="policies",
                meta="ink",
                x=[100 * choice.overhead for choice in choices],
                y=[choice.kept_bytes / GIB for choice in choices],
                mode="markers+text",
                text=[choice.policy.name for choice in choices],
                textposition=[_PLACES.get(choice.policy.name, "top right") for choice in choices],
                textfont={"color": COLORS["ink"]},
                marker={
                    "size": 11,
                    "symbol": ["circle" if choice in best else "circle-open" for choice in choices],
                    "color": COLORS["ink"],
                    "line": {"width": 2},
                },
                cliponaxis=False,
                zorder=1,
                hovertemplate="%{text}: %{y:,.1f} GiB, %{x:.1f} % more FLOPs<extra></extra>",
            ),
            go.Scatter(
                name="frontier",
                meta="muted",
                x=[100 * choice.overhead for choice in best],
                y=[choice.kept_bytes / GIB for choice in best],
                mode="lines",
                line={"color": COLORS["muted"], "width": 1.5, "dash": "dot"},
                marker={"color": COLORS["muted"]},
                hoverinfo="skip",
            ),
        ],
        layout=layout(
            _frontier_message(by_name["attention"].bytes_per_percent, by_name["ffn"].bytes_per_percent),
            "extra FLOPs of a step, %",
            "activations of all blocks, GiB",
        ),
    )
    # room for the marks at the edges and for the name at the right
    most_overhead, most_kept = max(figure.data[0].x), max(figure.data[0].y)
    figure.update_xaxes(range=[-0.04 * most_overhead, 1.2 * most_overhead], zeroline=False)
    figure.update_yaxes(range=[-0.04 * most_kept, 1.06 * most_kept], zeroline=False)
    figure.update_layout(margin_r=20, height=460)
    return figure


# where a name does not run into a neighbour's point
_PLACES = {
    "none": "middle right",
    "core_attention": "middle right",
    "save_attention": "bottom left",
    "both": "top center",
    "full": "middle right",
}


def size(model: str) -> str:
    """The size in a preset's name: "8B"."""
    return get_config(model).name.rsplit("-", 1)[-1].upper()


def _advantage_message(model: str, ways: Mapping[str, Mapping[str, Any]], lengths: Sequence[int]) -> str:
    if "workshop" in ways:
        first, last = (attention_advantage(model, seq_len=s, **ways["workshop"]) for s in (lengths[0], lengths[-1]))
        return (
            f"By the workshop's count a percent of FLOPs frees {first:.0f} times the bytes in attention "
            f"at {lengths[0] // 1024}K tokens, {last:.0f} times at {lengths[-1] // 1024}K ({size(model)})"
        )
    said = []
    for way, how in ways.items():
        parity = parity_length(model, **how)
        when = (
            "the attention half first, at every length"
            if parity is None
            else f"the FFN half first, from {parity:,} tokens on"
        )
        said.append(f"{way.capitalize()} attention: {when}")
    return f"{'. '.join(said)} ({size(model)})"


def _frontier_message(attention: float, ffn: float) -> str:
    better, worse = max(attention, ffn), min(attention, ffn)
    half, other = ("FFN", "attention") if ffn > attention else ("attention", "FFN")
    return (
        f"For each percent of FLOPs the {half} half gives back {better / GIB:,.1f}\u00a0GiB, "
        f"the {other} half {worse / GIB:,.1f}\u00a0GiB"
    )


def _ratio_marks(low: float, high: float) -> dict[str, Any]:
    marks = [1 / 20, 1 / 10, 1 / 5, 1 / 2, 1, 2, 5, 10, 20, 50, 100]
    shown = [mark for mark in marks if low <= mark <= high]
    names = [f"{mark:.0f}" if mark >= 1 else f"1/{1 / mark:.0f}" for mark in shown]
    return {"tickmode": "array", "tickvals": shown, "ticktext": names}


def _sides(figure: go.Figure, low: float, high: float) -> None:
    # a wash of each half's colour on the side where that half is the better one, light enough for both schemes
    for name, bottom, top in (("attention", 1, high), ("ffn", low, 1)):
        red, green, blue = (int(COLORS[name][index : index + 2], 16) for index in (1, 3, 5))
        figure.add_shape(
            type="rect",
            xref="paper",
            x0=0,
            x1=1,
            y0=bottom,
            y1=top,
            line={"width": 0},
            fillcolor=f"rgba({red}, {green}, {blue}, 0.09)",
            layer="below",
        )
    figure.add_shape(
        name="ink", type="line", xref="paper", x0=0, x1=1, y0=1, y1=1, line={"color": COLORS["ink"], "width": 1.5}
    )
    sides = (("attention", "attention first", 0.97, "top"), ("ffn", "FFN first", 0.03, "bottom"))
    for name, words, place, anchor in sides:
        figure.add_annotation(
            name=name,
            text=words,
            xref="paper",
            yref="paper",
            x=0.015,
            y=place,
            xanchor="left",
            yanchor=anchor,
            showarrow=False,
            font={"color": COLORS[name]},
        )


def _parities(figure: go.Figure, models: Sequence[str], how: Mapping[str, Any]) -> None:
    found = [(size(model), parity_length(model, **how)) for model in models]
    crossings = [(name, length) for name, length in found if length is not None]
    figure.add_trace(
        go.Scatter(
            name="parity",
            meta="ink",
            x=[length for _, length in crossings],
            y=[1.0 for _ in crossings],
            mode="markers",
            marker={"symbol": "circle", "size": 9, "color": COLORS["ink"]},
            hoverinfo="skip",
        )
    )
    for step, (name, length) in enumerate(crossings):
        figure.add_annotation(
            name="ink",
            text=f"{name}: {length:,} tokens",
            # on a logarithmic axis a note stands at the logarithm; each higher than the one before, for narrow screens
            x=float(np.log10(length)),
            y=0.0,
            ax=0,
            ay=-38 - 20 * step,
            yanchor="bottom",
            arrowhead=0,
            arrowwidth=1,
            standoff=5,
            arrowcolor=COLORS["ink"],
            font={"color": COLORS["ink"]},
        )
