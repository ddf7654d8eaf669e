"""The charts of flash attention: what it moves, and what bounds it."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from actckpt.config import ModelConfig, get_config
from actckpt.figures.drawing import (
    COLORS,
    LENGTHS,
    layout,
    legend_above,
    line,
    logarithmic_lengths,
    names_down_the_side,
)
from actckpt.formulas import traffic
from actckpt.formulas.traffic import Shape, Tiles
from actckpt.hardware import ACCELERATORS, GB


def attention_traffic(head_dim: int, accelerator: str, lengths: Sequence[int] = LENGTHS) -> go.Figure:
    """What the forward pass of one head moves, standard and flash, with tiles that fill the SRAM of an accelerator."""
    tile = traffic.largest_tile(ACCELERATORS[accelerator].shared_bytes, head_dim)
    tiles = Tiles(tile, tile, tile)
    shapes = [Shape(length, head_dim) for length in lengths]
    lines = (
        ("standard", "muted", [traffic.standard_forward(shape) for shape in shapes]),
        ("flash, every load", "attention", [traffic.flash_forward(shape, tiles) for shape in shapes]),
        ("flash, each tensor once", "attention", [traffic.flash_forward(shape) for shape in shapes]),
    )
    moved = {name: [traffic.moved_bytes(kernels) / GB for kernels in steps] for name, _, steps in lines}
    ratio = moved["standard"][-1] / moved["flash, every load"][-1]
    figure = go.Figure(
        [line(name, color, lengths, moved[name]) for name, color, _ in lines],
        layout=layout(
            f"Both grow with S²: flash attention loads {ratio:.1f} times less, and a cache can serve most of it",
            "sequence length, tokens (logarithmic)",
            "moved by one head, GB (logarithmic)",
        ),
    )
    figure.update_traces(line_dash="dot", selector={"name": "flash, each tensor once"})
    logarithmic_lengths(figure, lengths)
    figure.update_yaxes(type="log", tickformat=",~r")
    return figure


def attention_bounds(model: str | ModelConfig, seq_len: int, accelerator: str, tiles: Tiles) -> go.Figure:
    """The time that one block's attention needs to move its bytes and to run its matmuls, standard and flash."""
    device, shape = ACCELERATORS[accelerator], Shape.of(get_config(model), seq_len)
    passes = {
        "standard, forward": (traffic.standard_forward(shape), traffic.standard_forward(shape)),
        "flash, forward": (traffic.flash_forward(shape), traffic.flash_forward(shape, tiles)),
        "standard, backward": (traffic.standard_backward(shape), traffic.standard_backward(shape)),
        "flash, backward": (traffic.flash_backward(shape), traffic.flash_backward(shape, tiles)),
    }
    names = list(passes)
    once, loads = ([1000 * traffic.moved_bytes(passes[name][i]) / device.bandwidth for name in names] for i in (0, 1))
    multiply = [1000 * traffic.run_flops(passes[name][0]) / device.bf16_flops for name in names]
    bounds = [1000 * traffic.bound_s(passes[name][0], device) for name in names]
    standard, flash = bounds[0] + bounds[2], bounds[1] + bounds[3]
    figure = go.Figure(
        [
            _bar("matmuls at full rate", "attention", names, multiply),
            _bar("moving each tensor once", "muted", names, once),
            go.Scatter(
                name="moving every load",
                meta="ink",
                y=names,
                x=loads,
                mode="markers",
                marker={"symbol": "diamond-open", "size": 11, "line": {"width": 2}, "color": COLORS["ink"]},
            ),
        ],
        layout=layout(
            f"Standard attention waits for memory, flash attention for the tensor cores: at best "
            f"{standard:.1f}\u00a0ms against {flash:.1f}\u00a0ms",
            f"time on an {device.label} at full speed, ms",
            "",
        ),
    )
    legend_above(figure, "group")
    figure.update_layout(margin={"l": 140, "r": 20, "t": 40, "b": 50}, height=380)
    names_down_the_side(figure)
    return figure


def _bar(name: str, color: str, y: Sequence[str], x: Sequence[float]) -> go.Bar:
    pattern = {"shape": "/" if color == "muted" else ""}
    return go.Bar(
        name=name,
        meta=color,
        y=list(y),
        x=list(x),
        orientation="h",
        marker={"color": COLORS[color], "pattern": pattern},
    )
