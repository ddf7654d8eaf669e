"""A Plotly figure as the site carries it: an inert element with its data, a caption and a table; a script draws it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup

from book.components.table import table
from book.components.template import render


def figure(draw: Callable[..., go.Figure], *arguments: Any, **captions: Any) -> Markup:
    """A figure of the package, as HTML.

    Args:
        draw: A function of `actckpt.figures`.
        arguments: What it is called with.
        captions: What else `drawn` takes.
    """
    return drawn(draw(*arguments), made_by=call(draw, *arguments), **captions)


def drawn(
    chart: go.Figure, *, name: str, caption: str, made_by: str, assumes: str, test: str, numbers: Markup | None = None
) -> Markup:
    """A figure as HTML.

    Args:
        chart: Its title becomes the heading, and its numbers the table.
        name: Its id on the page.
        caption: What one sees: what is drawn, and how to read it.
        made_by: The call that made it.
        assumes: The accounting and what it assumes, in a sentence.
        test: The test that holds its numbers, as "file::function".
        numbers: Its table, where rows and columns other than those of `numbers_of` say more.
    """
    content = chart.to_plotly_json()
    message = content["layout"].pop("title")["text"]
    return render(
        "figure",
        name=name,
        message=message,
        height=chart.layout.height,
        caption=caption,
        assumes=assumes,
        made_by=made_by,
        test=test.split("::"),
        numbers=numbers or numbers_of(chart, message),
        island=Markup(json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")),
    )


def call(function: Callable[..., Any], *arguments: Any) -> str:
    """A call as one would write it; an argument that is long to write has the name of its parameter."""
    written = (
        repr(value) if isinstance(value, int) else f'"{value}"' if isinstance(value, str) else name
        for name, value in zip(inspect.signature(function).parameters, arguments, strict=False)
    )
    return f"{function.__module__}.{function.__name__}({', '.join(written)})"


def numbers_of(chart: go.Figure, label: str) -> Markup:
    """The numbers of a figure: a row for each place on the shared axis, a column for each trace one can point at."""
    traces = [trace for trace in chart.data if trace.hoverinfo != "skip"]
    across = any(trace.orientation == "h" for trace in chart.data if trace.type == "bar")
    places = chart.data[0].y if across else chart.data[0].x
    axis = (chart.layout.yaxis if across else chart.layout.xaxis).title.text or "policy"
    unit = (chart.layout.xaxis if across else chart.layout.yaxis).title.text
    rows = [
        [_cell(place), *(_cell((trace.x if across else trace.y)[index]) for trace in traces)]
        for index, place in enumerate(places)
    ]
    caption, corner = (words.removesuffix(" (logarithmic)") for words in (unit, axis))
    return table(caption, [corner, *(trace.name for trace in traces)], rows, label=label)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        # as many decimals in every row, so that the points stand under one another
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
