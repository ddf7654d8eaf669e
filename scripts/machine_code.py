"""Print what the machine code of the attention kernels holds, compiled for a GPU that is not there.

    .venv/bin/python scripts/machine_code.py --kernel dk_dv --head-dim 128 --floor

With --floor it is the code of the oldest Triton that the package takes, which `scripts/setup --tests` installs. With
--write alone, docs/data/machine-code.json is written anew, of which the tests say when it is out of date.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kernels.attention_builds import Row

ROOT = Path(__file__).resolve().parent.parent

HEAD = (
    "triton", "sm", "kernel", "D", "type", "path", "registers", "stack", "spilled", "loop", "instructions", "products",
    "waits", "exp2", "TMA", "LDGSTS", "LDG", "LDS/STS", "BAR", "LDL/STL", "faults",
)  # fmt: skip


def lines(rows: Iterable[Row]) -> Iterator[tuple[str, ...]]:
    """A line for each main loop of each kernel."""
    from kernels import gate

    for row in rows:
        code = row.code
        start: tuple[object, ...] = (row.triton, row.architecture, row.kernel, row.head_dim, row.dtype, row.path)
        start += (code.registers, code.stack, f"{code.spill_loads}/{code.spill_stores}")
        end = " ".join(sorted(gate.faults(row))) if row.architecture == 90 else ""
        if not code.loops:
            yield (*map(str, start), *[""] * (len(HEAD) - len(start) - 1), end)
        for number, loop in enumerate(code.loops, 1):
            copies, loads = (
                " ".join(f"{n}x{width}" for width, n in kind.items()) for kind in (loop.copies, loop.loads)
            )
            counts: tuple[object, ...] = (
                number,
                f"{loop.shortest}/{loop.instructions}",
                f"{loop.products} {code.product}",
                loop.waits,
            )
            counts += (loop.exp2, loop.tensor_loads, copies, loads, f"{loop.shared_loads}/{loop.shared_stores}")
            counts += (loop.barriers, f"{loop.spill_loads}/{loop.spill_stores}")
            yield tuple(map(str, (*start, *counts, end)))
            start, end = ("",) * len(start), ""


def print_table(rows: Iterable[Row]) -> None:
    """Print the rows in columns."""
    table = [HEAD, *lines(rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def write(rows: Iterable[Row]) -> None:
    """Write the table of the site, a line for each row."""
    from kernels import gate

    gate.TABLE.parent.mkdir(exist_ok=True)
    entries = ",\n".join(json.dumps(entry) for entry in gate.table(rows))
    gate.TABLE.write_text(f"[\n{entries}\n]\n", encoding="utf-8")


def main() -> None:
    """Compile what the command line names, and print or write it."""
    from kernels import attention_builds as builds

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", type=int, default=90, help="as 90 for sm_90a, the default")
    parser.add_argument("--kernel", nargs="+", choices=builds.KERNELS, default=builds.KERNELS)
    parser.add_argument("--head-dim", nargs="+", type=int, choices=builds.HEAD_DIMS, default=builds.HEAD_DIMS)
    parser.add_argument("--dtype", nargs="+", choices=builds.DTYPES, default=["bfloat16"])
    parser.add_argument("--path", nargs="+", choices=builds.PATHS, default=builds.PATHS)
    parser.add_argument("--floor", action="store_true", help="with the oldest Triton that the package takes")
    parser.add_argument("--write", action="store_true", help="write the table of the site instead of printing one")
    asked = parser.parse_args()
    with builds.compilers() as pools:
        if asked.write:
            runs = [pools[oldest].submit(builds.rows, 90) for oldest in (False, True)]
            write(row for run in runs for row in run.result())
        else:
            options = (asked.architecture, asked.kernel, asked.head_dim, asked.dtype, asked.path)
            print_table(pools[asked.floor].submit(builds.rows, *options).result())


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    main()
