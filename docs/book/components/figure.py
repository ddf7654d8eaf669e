"""A Plotly figure as the site carries it: an inert element with its data, a caption and a table; a script draws it."""

from __future__ import annotations

import json
from html import escape
from typing import Any

import plotly.graph_objects as go


def figure(chart: go.Figure, *, name: str, made_by: str, assumes: str, test: str, numbers: str = "") -> str:
    """The figure as HTML.

    Args:
        chart: The figure; its title becomes the heading, and its numbers the table.
        name: Its id on the page.
        made_by: The call that made it.
        assumes: The accounting and what it assumes, in a sentence.
        test: The test that holds its numbers, as "file::function".
        numbers: Its table, where rows and columns other than those of `table` say more.
    """
    content = chart.to_plotly_json()
    message = content["layout"].pop("title")["text"]
    file, function = test.split("::")
    island = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    return "".join(
        (
            f'<figure class="ac-figure" id="{name}" aria-labelledby="{name}-title">',
            f'<p class="ac-figure__title" id="{name}-title">{escape(message)}</p>',
            f'<div class="ac-figure__plot" style="height:{chart.layout.height}px" role="img" ',
            f'aria-label="{escape(message)}. The numbers are in the table below."></div>',
            f"<figcaption><p>{escape(assumes)} Made by <code>{escape(made_by)}</code>, held by ",
            f'<a href="@/evidence/tests/#{file}"><code>{function}</code></a>.</p></figcaption>',
            f'<details class="ac-data"><summary>The numbers</summary>{numbers or table(chart, message)}</details>',
            f'<script type="application/json">{island}</script>',
            "</figure>",
        )
    )


def table(chart: go.Figure, name: str) -> str:
    """The numbers of a figure: a row for each place on the shared axis, a column for each trace one can point at."""
    traces = [trace for trace in chart.data if trace.hoverinfo != "skip"]
    across = any(trace.orientation == "h" for trace in chart.data if trace.type == "bar")
    places = chart.data[0].y if across else chart.data[0].x
    axis = (chart.layout.yaxis if across else chart.layout.xaxis).title.text or "policy"
    unit = (chart.layout.xaxis if across else chart.layout.yaxis).title.text
    head = "".join(f'<th scope="col">{escape(trace.name)}</th>' for trace in traces)
    rows = "".join(
        f'<tr><th scope="row">{_cell(place)}</th>'
        + "".join(f"<td>{_cell((trace.x if across else trace.y)[index])}</td>" for trace in traces)
        + "</tr>"
        for index, place in enumerate(places)
    )
    caption = unit.removesuffix(" (logarithmic)")
    corner = axis.removesuffix(" (logarithmic)")
    return (
        f'<div class="ac-table" tabindex="0" role="region" aria-label="{escape(name)}"><table class="ac-numbers">'
        f'<caption>{escape(caption)}</caption><thead><tr><th scope="col">{escape(corner)}</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        # as many decimals in every row, so that the points stand under one another
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else escape(str(value))
