"""The charts of the chapter on compute cost."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from actckpt.config import ModelConfig
from actckpt.figures.drawing import LENGTHS, layout, line, logarithmic_lengths
from actckpt.formulas import sweep

COLORS = {"attention": "attention", "ffn": "ffn", "both": "ink"}
NAMES = {"attention": "attention", "ffn": "FFN", "both": "both"}
WORLDS = {"workshop": "workshop", "llama": "PyTorch"}
# where the ends of two lines are close to one another
PLACES = {("ffn", "workshop"): "bottom right", ("ffn", "llama"): "top right"}


def overheads_over_seq_len(model: str | ModelConfig, lengths: Sequence[int] = LENGTHS) -> go.Figure:
    """What each strategy adds to a step's FLOPs: by the workshop's rules, and as PyTorch runs a Llama block."""
    shares = {
        (policy, accounting): (
            100 * sweep(model, seq_len=lengths, policy=policy, accounting=accounting).flops.overhead
        ).tolist()
        for policy in COLORS
        for accounting in WORLDS
    }
    traces = [line("none", "muted", lengths, [0.0] * len(lengths))]
    for (policy, accounting), share in shares.items():
        name = f"{NAMES[policy]}, {WORLDS[accounting]}"
        trace = line(name, COLORS[policy], lengths, share, PLACES.get((policy, accounting), "middle right"))
        trace.line.dash = "dot" if accounting == "workshop" else "solid"
        traces.append(trace)
    workshop, pytorch = shares["both", "workshop"], shares["both", "llama"]
    figure = go.Figure(
        traces,
        layout=layout(
            f"Recomputing both halves adds {max(workshop):.1f}\u00a0% by the workshop's rules, and "
            f"{min(pytorch):.1f} to {max(pytorch):.1f}\u00a0% in PyTorch",
            "sequence length, tokens (logarithmic)",
            "FLOPs added to a step, %",
        ),
    )
    logarithmic_lengths(figure, lengths)
    figure.update_yaxes(range=[-1, 36])
    return figure
