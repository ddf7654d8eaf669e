"""The blocks of "The kernels' machine code": what docs/data/machine-code.json holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from operator import itemgetter
from pathlib import Path
from typing import Any

from markupsafe import Markup

from actckpt.ops.attention.config import HEAD_DIMS, launches
from book.components.pictures import opening as picture
from book.components.pictures import svg
from book.components.table import table
from book.components.template import mark

TABLE = Path(__file__).parents[2] / "data/machine-code.json"
KERNELS = {"forward": "the forward pass", "dk_dv": "dK and dV", "dq": "dQ", "preprocess": "preprocess"}
# those that multiply matrices
MULTIPLYING = ("forward", "dk_dv", "dq")
HALF = {"bfloat16": "bf16", "float16": "fp16"}
SINGLE = {"float32": "fp32"}
PATHS = {"descriptor": "descriptors", "pointer": "pointers", "packed": "pointers, packed"}

# a row of the file, and a main loop of one
Row = dict[str, Any]
Loop = dict[str, Any]

# what `tests/kernels/gate.py` forbids: the bytes that a thread must copy at once, and those that dK/dV may keep on the
# stack up to a head dimension
WIDE_BYTES = 16
STACK_BYTES = 16
STACK_HEAD_DIM = 128
FAULTS: dict[str, Callable[[Row], bool]] = {
    "ptxas warns that products wait for each other": lambda row: bool(row["warnings"]),
    "no main loop with HGMMA, in a 16-bit type": lambda row: (
        row["kernel"] in MULTIPLYING
        and "float32" not in row["dtypes"]
        and not (row["loops"] and row["product"] == "HGMMA")
    ),
    "as many waits as products in a main loop": lambda row: (
        row["product"] == "HGMMA" and any(loop["waits"] >= loop["products"] for loop in row["loops"])
    ),
    "registers stored to memory in a main loop, or read back": lambda row: any(
        loop["spill_loads"] or loop["spill_stores"] for loop in row["loops"]
    ),
    f"tiles copied by less than {WIDE_BYTES} bytes at once": lambda row: any(map(_narrow, row["loops"])),
    f"stack above {STACK_BYTES} bytes, in dK and dV up to D = {STACK_HEAD_DIM}": lambda row: (
        row["kernel"] == "dk_dv" and row["head_dim"] <= STACK_HEAD_DIM and row["stack"] > STACK_BYTES
    ),
}

COLUMNS: dict[str, Callable[[Loop], object]] = {
    "instructions": lambda loop: loop["shortest"],
    "products": lambda loop: loop["products"],
    "waits": lambda loop: loop["waits"],
    "exp2": lambda loop: loop["exp2"],
    "TMA": lambda loop: loop["tensor_loads"],
    "LDGSTS": lambda loop: _by_width(loop["copies"]),
    "LDG": lambda loop: _by_width(loop["loads"]),
    "barriers": lambda loop: loop["barriers"],
}


def verdict() -> str:
    """How many kernels were compiled, by which versions, and how many have a fault."""
    rows = _rows()
    compiled, faulty = _count(rows), _count(row for row in rows if any(has(row) for has in FAULTS.values()))
    number, fine = (mark(str(each)) for each in (compiled, compiled - faulty))
    return (
        f"Triton {' and '.join(_versions(rows))} compiled {number} kernels for the H100 and the H200. {fine} of them "
        "have none of the faults below. Each of these faults would make a kernel slow."
    )


def opening() -> Markup:
    """The registers of each kernel that multiplies matrices, by head dimension, as the newest Triton compiles it."""
    rows = [row for row in _rows() if row["path"] == "descriptor" and "bfloat16" in row["dtypes"]]
    version = _versions(rows)[0]
    found = {(row["kernel"], row["head_dim"]): row["registers"] for row in rows if row["triton"] == version}
    most, width = max(found.values()), 32
    drawn = [
        svg.text(104 + width * index + 14, 12, str(head_dim), cls="ac-quiet", text_anchor="middle")
        for index, head_dim in enumerate(HEAD_DIMS)
    ]
    drawn.append(svg.text(0, 12, "D", cls="ac-quiet"))
    for line, kernel in enumerate(MULTIPLYING):
        ground = 78 + 74 * line
        drawn.append(svg.text(0, ground - 4, KERNELS[kernel].removeprefix("the ")))
        for index, head_dim in enumerate(HEAD_DIMS):
            registers, x = found[kernel, head_dim], 104 + width * index
            height = 40 * registers / most
            drawn.append(svg.rect(x, ground - height, 28, height, cls="ac-area ac-attention"))
            drawn.append(svg.text(x + 14, ground - height - 4, str(registers), text_anchor="middle"))
    return picture.opening(
        svg.svg(360, 230, *drawn),
        name="registers",
        title="What a thread needs: registers by head dimension",
        description="Three rows of columns, for the forward pass, dK and dV, and dQ: a thread’s registers for each "
        "head dimension D.",
        caption="Registers of one thread, for each kernel and head dimension D.",
        made_by="docs/data/machine-code.json",
        assumes=f"bfloat16, tiles by descriptors, compiled for sm_90a by Triton {version}.",
        test="test_openings::test_the_registers_of_each_kernel",
    )


def summary() -> Markup:
    """How many kernels have each fault, how many there are, and the largest stack: a column for each Triton."""
    rows = _rows()
    versions = _versions(rows)
    made = [[row for row in rows if row["triton"] == version] for version in versions]
    lines = [(fault, *(_count(filter(has, part)) for part in made)) for fault, has in FAULTS.items()]
    foot = [
        ("all kernels", *map(_count, made)),
        ("largest stack, in bytes", *(max(row["stack"] for row in part) for part in made)),
    ]
    head = ("fault", *(f"Triton {version}" for version in versions))
    return table("How many kernels have a fault", head, lines, *foot)


def missing() -> str:
    """What the kernels lack, as a list: their known faults, and where no tile is loaded ahead."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in _rows():
        for fault, reason in row["missing"].items():
            where = f"{KERNELS[row['kernel']]} by {PATHS[row['path']]}, D = {row['head_dim']}, Triton {row['triton']}"
            found.setdefault((fault, reason), []).append(where)
    lines = [f"- **{fault}**: {reason} ({'; '.join(where)})." for (fault, reason), where in found.items()]
    return "\n".join([*lines, f"- **overlap**: {_not_overlapped()}"])


def tables() -> Markup:
    """A table for each kernel: a row for each head dimension and path; two numbers where two Tritons differ."""
    rows = _rows()
    half, single = (Markup("").join(_table(kernel, types, rows) for kernel in MULTIPLYING) for types in (HALF, SINGLE))
    return Markup('{}<details class="ac-data"><summary>The same kernels in float32</summary>{}</details>').format(
        half, single
    )


def _not_overlapped() -> str:
    found = []
    for path, descriptors in (("descriptor", True), ("pointer", False)):
        for kernel in MULTIPLYING:
            tables = {head_dim: launches((9, 0), 2, head_dim, descriptors) for head_dim in HEAD_DIMS}
            alone = [str(head_dim) for head_dim, table in tables.items() if getattr(table, kernel).num_stages == 1]
            if alone:
                found.append(f"{KERNELS[kernel]} by {PATHS[path]}, D = {', '.join(alone)}")
    if not found:
        return "every kernel of 16-bit types loads the next tiles while it computes."
    return (
        "if there is no space for a second tile in registers and shared memory, the next tile is loaded only when the "
        f"last one is done. In 16-bit types this is so for {'; '.join(found)}."
    )


def _rows() -> list[Row]:
    rows: list[Row] = json.loads(TABLE.read_text(encoding="utf-8"))
    return rows


def _versions(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row["triton"] for row in rows))


def _count(rows: Iterable[Row]) -> int:
    """A row stands for each of its types."""
    return sum(len(row["dtypes"]) for row in rows)


def _narrow(loop: Loop) -> bool:
    wide = loop["tensor_loads"] or any(str(WIDE_BYTES) in loop[kind] for kind in ("copies", "loads"))
    return not wide or any(int(width) < WIDE_BYTES for width in loop["copies"])


def _by_width(counts: dict[str, int]) -> str:
    return " + ".join(f"{number} × {width}\u00a0B" for width, number in counts.items()) or "0"


def _table(kernel: str, types: dict[str, str], rows: Iterable[Row]) -> Markup:
    """The rows of a kernel in these types, as {name: what the table calls it}."""
    versions = _versions(rows)
    found = {
        (row["head_dim"], row["path"], dtype, row["triton"]): row
        for row in rows
        if row["kernel"] == kernel
        for dtype in types.keys() & row["dtypes"]
    }
    lines = []
    for head_dim, path in sorted(dict.fromkeys(place[:2] for place in found), key=itemgetter(0)):
        # types that come to the same numbers share a line
        same: dict[tuple[str, ...], list[str]] = {}
        for dtype, label in types.items():
            each = [_cells(found.get((head_dim, path, dtype, version))) for version in versions]
            cells = tuple(" / ".join(dict.fromkeys(column)) for column in zip(*each, strict=True))
            same.setdefault(cells, []).append(label)
        for cells, labels in same.items():
            lines.append((", ".join([str(head_dim), PATHS[path], *(labels if len(same) > 1 else [])]), *cells))
    product = " or ".join(sorted({row["product"] for row in found.values()}))
    head = ("D, tiles by", "registers", "stack", *(product if name == "products" else name for name in COLUMNS))
    caption = f"Main loop of {KERNELS[kernel]}, {' and '.join(types.values())}, Triton {' / '.join(versions)}"
    return table(caption, head, lines)


def _cells(row: Row | None) -> list[str]:
    """The numbers of a row; those of its loops one after the other, where it has more than one."""
    if row is None:
        return ["–"] * (2 + len(COLUMNS))
    each = (", ".join(str(number(loop)) for loop in row["loops"]) for number in COLUMNS.values())
    return [str(row["registers"]), str(row["stack"]), *each]
