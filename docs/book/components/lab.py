"""An executed notebook as the Markdown of a page: its words, its code, and what the code gave."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

import markdown
import plotly.graph_objects as go

from book.components import figure

PLOTLY = "application/vnd.plotly.v1+json"


def page(notebook: Any) -> str:
    """The whole notebook."""
    return "\n\n".join(part for cell in notebook.cells for part in _cell(cell))


def _cell(cell: Any) -> Iterator[str]:
    if cell.cell_type != "code":
        yield cell.source
        return
    yield f"``` {{ .python }}\n{cell.source}\n```"
    for output in cell.outputs:
        if output.output_type == "stream":
            # warnings go to standard error: they are for the builder
            yield _printed(output.text) if output.name == "stdout" else ""
        else:
            yield _shown(output.data, cell.metadata)


def _shown(data: Any, about: Any) -> str:
    if PLOTLY in data:
        captions = {name: about[name] for name in ("name", "made_by", "assumes", "test")}
        return figure.drawn(go.Figure(data[PLOTLY]), **captions)
    if "text/markdown" in data:
        shown = markdown.markdown(data["text/markdown"], extensions=["tables"])
        return _table(shown) if "<table>" in shown else f'<output class="ac-shown">{shown}</output>'
    return str(data["text/html"]) if "text/html" in data else _printed(data["text/plain"])


def _printed(words: str) -> str:
    return f'<pre class="ac-printed"><output>{escape(words.rstrip())}</output></pre>'


def _table(content: str) -> str:
    region = '<div class="ac-table" tabindex="0" role="region" aria-label="What the cell above gave">'
    return content.replace("<table>", f'{region}<table class="ac-numbers">').replace("</table>", "</table></div>")
