"""The charts of the labs: they draw what a lab measured.

No closed form is imported here: a lab that draws its measurement is not executed again when a formula changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go

from actckpt.figures.drawing import COLORS, component_bars, layout, legend_above, line, names_down_the_side
from actckpt.step import Step
from actckpt.terms import COMPONENTS

MIB = 2**20


def loss_curves(losses: Mapping[str, Sequence[float]]) -> go.Figure:
    """The loss of each run over its steps: runs that are equal to the last bit share one line.

    Args:
        losses: A loss for each step, by the name of the run.
    """
    curves: dict[tuple[float, ...], list[str]] = {}
    for name, values in losses.items():
        curves.setdefault(tuple(values), []).append(name)
    largest = max(map(len, curves.values()))
    message = (
        f"{len(losses)} policies draw one loss curve"
        if len(curves) == 1
        else f"{len(losses) - largest} of {len(losses)} policies part from the others"
    )
    traces = []
    for values, names in curves.items():
        label = f"all {len(names)} policies" if len(curves) == 1 else ", ".join(names)
        trace = line(label, "ink", range(1, len(values) + 1), values)
        trace.hovertemplate = "step %{x}: %{y:.4f}<extra>%{fullData.name}</extra>"
        traces.append(trace)
    figure = go.Figure(traces, layout=layout(message, "step", "loss, nats a byte"))
    return figure.update_layout(margin_r=120, height=340)


def saved_by_policy(steps: Sequence[Step[int]]) -> go.Figure:
    """What all blocks keep under each policy, component by component, with what is recomputed next to each bar."""
    policies = [step.policy.name for step in steps]
    sizes = {component: [step.by_component()[component] / MIB for step in steps] for component in COMPONENTS}
    traces: list[Any] = [
        *component_bars(policies, sizes),
        go.Scatter(
            name="sum",
            meta="ink",
            y=policies,
            x=[step.total_bytes / MIB for step in steps],
            mode="text",
            text=[f"  +{100 * step.flops.overhead:.1f}\u00a0% FLOPs" for step in steps],
            textposition="middle right",
            textfont={"color": COLORS["ink"]},
            cliponaxis=False,
            showlegend=False,
        ),
    ]
    most, least = (choose(steps, key=lambda step: int(step.total_bytes)) for choose in (max, min))
    message = (
        f"{least.policy.name} keeps {100 * least.total_bytes / most.total_bytes:.0f}\u00a0% of what {most.policy.name} "
        f"keeps, for {100 * least.flops.overhead:.0f}\u00a0% more FLOPs"
    )
    figure = go.Figure(traces, layout=layout(message, "kept by all blocks, MiB", ""))
    figure.update_traces(hovertemplate="%{x:.2f} MiB<extra>%{fullData.name}</extra>")
    legend_above(figure, "stack")
    figure.update_layout(margin={"l": 110, "r": 110, "t": 40, "b": 50}, height=440)
    names_down_the_side(figure)
    return figure


def online_softmax(parts: Sequence[Sequence[float]]) -> go.Figure:
    """The running sum of an online softmax after each tile, split by the tile that each part of it came from.

    Args:
        parts: For each tile, the sum of exponentials of every tile so far, less the maximum so far.
    """
    tiles = [f"tile {tile}" for tile in range(1, len(parts) + 1)]
    seen = [str(tile) for tile in range(1, len(parts) + 1)]
    shrunk = [sum(now[:-1]) / sum(before) for before, now in pairwise(parts)]
    message = f"A larger score shrinks what was summed before it, here to as little as {100 * min(shrunk):.0f}\u00a0%"
    # neighbours differ in colour and in pattern
    shapes = ("", "/", ".", "x", "\\", "-", "|", "+")
    figure = go.Figure(
        [
            go.Bar(
                name=name,
                meta="attention" if index % 2 else "muted",
                x=seen,
                y=[part[index] if index < len(part) else 0.0 for part in parts],
                marker={
                    "color": COLORS["attention" if index % 2 else "muted"],
                    "pattern": {"shape": shapes[index % len(shapes)]},
                },
                hovertemplate="%{y:.4f}<extra>%{fullData.name}</extra>",
            )
            for index, name in enumerate(tiles)
        ],
        layout=layout(message, "tiles seen", "sum of exponentials, l"),
    )
    legend_above(figure, "stack")
    figure.update_layout(margin={"l": 64, "r": 20, "t": 40, "b": 50}, height=350)
    figure.update_xaxes(type="category", showgrid=False)
    return figure
