"""Sizes and rows as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actckpt.hardware import GIB


def size(count: Any) -> str:
    """A number of bytes in the unit that suits it, with three digits or all those before the point."""
    for unit, unit_bytes in (("GiB", GIB), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= unit_bytes:
            digits = 2 if count < 10 * unit_bytes else 1 if count < 100 * unit_bytes else 0
            return f"{count / unit_bytes:,.{digits}f} {unit}"
    return f"{count:,} bytes"


def table(rows: Sequence[tuple[str, ...]], right: tuple[int, ...] = ()) -> str:
    """Rows of cells in columns, the columns in `right` flush right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(f"  {line.rstrip()}" for line in lines)
