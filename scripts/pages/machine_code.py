"""The blocks of "Machine code": what compilers make of the attention kernels, as docs/data/machine-code.json has it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from actckpt.ops.attention.config import HEAD_DIMS, launches
from pages import text

TABLE = Path(__file__).parents[2] / "docs/data/machine-code.json"
KERNELS = {"forward": "forward", "dk_dv": "dK and dV", "dq": "dQ", "preprocess": "preprocess"}
TYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
PATHS = {"descriptor": "descriptors", "pointer": "pointers", "packed": "pointers, packed"}
# what a thread can copy with one instruction
WIDE_BYTES = 16
HEAD = (
    "D", "types", "tiles by", "registers", "stack", "products", "waits", "exp2", "instructions", "with branches",
    "loads", "spills",
)  # fmt: skip

# a row of the file
Row = dict[str, Any]


def verdict() -> str:
    """How many kernels were compiled, and in how many the machine would wait."""
    rows = _rows()
    waiting = _count(rows, lambda row, loop: row["product"] == "HGMMA" and loop["waits"] >= loop["products"])
    spilled = _count(rows, lambda row, loop: loop["spill_loads"] + loop["spill_stores"] > 0)
    narrow = _count(rows, lambda row, loop: any(int(width) < WIDE_BYTES for width in loop["copies"]))
    compiled = sum(len(row["dtypes"]) for row in rows)
    return (
        f"Triton {' and '.join(_versions(rows))} compiled {text.mark(str(compiled))} kernels for sm_90a. The main loop "
        f"waits for every single matrix product in {text.mark(waiting)} of them, moves registers to memory and back in "
        f"{text.mark(spilled)}, and copies less than {text.mark(f'{WIDE_BYTES} bytes')} at once in {text.mark(narrow)}."
    )


def missing() -> str:
    """What the kernels lack, as a list: their known faults, and where no tile is loaded ahead."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in _rows():
        for fault, reason in row["missing"].items():
            where = f"{KERNELS[row['kernel']]} by {PATHS[row['path']]}, D = {row['head_dim']}, Triton {row['triton']}"
            found.setdefault((fault, reason), []).append(where)
    lines = [f"- **{fault}**: {reason} ({'; '.join(where)})." for (fault, reason), where in found.items()]
    return "\n".join([*lines, f"- **overlap**: {_not_overlapped()}"])


def tables() -> str:
    """A table for each kernel: a row for each head dimension, types and path; two numbers where two Tritons differ."""
    rows = _rows()
    versions = _versions(rows)
    return "".join(
        text.table(f"{label}, sm_90a, Triton {' / '.join(versions)}", HEAD, "".join(_lines(kernel, versions, rows)))
        for kernel, label in KERNELS.items()
    )


def _not_overlapped() -> str:
    found = []
    for path, descriptors in (("descriptor", True), ("pointer", False)):
        for kernel in ("forward", "dk_dv", "dq"):
            tables = {head_dim: launches((9, 0), 2, head_dim, descriptors) for head_dim in HEAD_DIMS}
            alone = [str(head_dim) for head_dim, table in tables.items() if getattr(table, kernel).num_stages == 1]
            if alone:
                found.append(f"{KERNELS[kernel]} by {PATHS[path]}, D = {', '.join(alone)}")
    if not found:
        return "every kernel of 16-bit types loads the next tiles while it computes."
    return (
        "where registers and shared memory hold no second tile, one is loaded when the last is done with, in 16-bit "
        f"types {'; '.join(found)}."
    )


def _rows() -> list[Row]:
    rows: list[Row] = json.loads(TABLE.read_text(encoding="utf-8"))
    return rows


def _versions(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row["triton"] for row in rows))


def _count(rows: Iterable[Row], holds: Callable[[Row, dict[str, Any]], bool]) -> str:
    number = sum(len(row["dtypes"]) for row in rows if any(holds(row, loop) for loop in row["loops"]))
    return str(number) if number else "none"


def _lines(kernel: str, versions: list[str], rows: Iterable[Row]) -> Iterable[str]:
    groups: dict[tuple[int, str, str], dict[str, Row]] = {}
    for row in rows:
        if row["kernel"] == kernel:
            place = (row["head_dim"], ", ".join(TYPES[dtype] for dtype in row["dtypes"]), PATHS[row["path"]])
            groups.setdefault(place, {})[row["triton"]] = row
    for place, by_version in sorted(groups.items(), key=lambda group: group[0][0]):
        columns = zip(*(_cells(by_version.get(version)) for version in versions), strict=True)
        cells = [*place[1:], *(" / ".join(dict.fromkeys(column)) for column in columns)]
        yield f'<tr><th scope="row">{place[0]}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _cells(row: Row | None) -> list[str]:
    """The numbers of a row; those of its loops one after the other, where it has more than one."""
    if row is None:
        return ["–"] * (len(HEAD) - 3)
    loops = row["loops"]

    def each(number: Callable[[dict[str, Any]], object]) -> str:
        return ", ".join(str(number(loop)) for loop in loops)

    return [
        str(row["registers"]),
        str(row["stack"]),
        each(lambda loop: f"{loop['products']} {row['product']}"),
        each(lambda loop: loop["waits"]),
        each(lambda loop: loop["exp2"]),
        each(lambda loop: loop["shortest"]),
        each(lambda loop: loop["instructions"]),
        each(_loads),
        each(lambda loop: loop["spill_loads"] + loop["spill_stores"]),
    ]


def _loads(loop: dict[str, Any]) -> str:
    by_thread = [f"{n} × {width} B" for kind in ("copies", "loads") for width, n in loop[kind].items()]
    return ", ".join(([f"{loop['tensor_loads']} TMA"] if loop["tensor_loads"] else []) + by_thread)
