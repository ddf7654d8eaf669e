"""What the charts share: colours, labels, a line with its name at its end, the layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

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


def line(name: str, color: str, x: Sequence[int], y: Sequence[float], label: str = "middle right") -> go.Scatter:
    """A line over lengths or steps; its label stands at its end, so that no legend has to be matched to it."""
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


def component_bars(names: Sequence[str], sizes: Mapping[str, Sequence[float]]) -> list[go.Bar]:
    """Bars down the side, a part for each component: its sizes, one for each name."""
    return [
        go.Bar(
            name=LABELS[component],
            meta=component,
            y=list(names),
            x=list(x),
            orientation="h",
            marker={"color": COLORS[component], "pattern": {"shape": PATTERNS[component]}},
        )
        for component, x in sizes.items()
    ]


def legend_above(figure: go.Figure, barmode: str) -> None:
    """Bars that are told apart by a legend above them."""
    legend = {"orientation": "h", "traceorder": "normal", "y": 1.02, "yanchor": "bottom"}
    figure.update_layout(barmode=barmode, showlegend=True, legend=legend)


def layout(message: str, x: str, y: str) -> go.Layout:
    """The layout of every figure: its message as the title, no box of Plotly's own."""
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


def logarithmic_lengths(figure: go.Figure, lengths: Sequence[int]) -> None:
    """A logarithmic axis of lengths that ends where the lines do, with room beyond it for their names."""
    figure.update_layout(margin_r=30 + 7 * max(len(trace.name) for trace in figure.data))
    names = [f"{length // 1024}K" for length in lengths]
    first, last = (float(np.log10(length)) for length in (lengths[0], lengths[-1]))
    # grid lines that went on would strike the names through
    span = [first - 0.03 * (last - first), last]
    figure.update_xaxes(type="log", range=span, tickmode="array", tickvals=list(lengths), ticktext=names)


def names_down_the_side(figure: go.Figure) -> None:
    """A vertical axis of names, the first on top, without grid lines: they would strike through what stands on them."""
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
