"""A table of numbers that scrolls in itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from markupsafe import Markup

from book.components.template import render

Row: TypeAlias = "Sequence[object] | str"
"""The cells of a row, of which the first names it; or a heading over the rows that follow."""


def table(
    caption: str, head: Sequence[str], rows: Iterable[Row], *feet: Sequence[object], kind: str = "", label: str = ""
) -> Markup:
    """A table as HTML. Whatever is not marked up is escaped.

    Args:
        caption: What it shows, and for which model and length.
        head: The names of its columns.
        rows: Its rows.
        feet: The rows of sums.
        label: What screen readers call it; its caption if "".
        kind: "words" for sentences, which break and begin on the left; "terms" for tensors; "" for numbers.
    """
    return render("table", caption=caption, head=head, rows=list(rows), feet=feet, kind=kind, label=label or caption)
