"""The attention kernels, compiled for a GPU that is not there, and what their machine code holds.

    .venv/bin/python tests/kernels/attention_builds.py --kernel dk_dv --head-dim 128 --floor

prints a table. With --floor it compiles with the oldest Triton that the package takes, which
`scripts/setup --browser` installs into .cache/floor.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import torch

from actckpt.ops.attention.config import HEAD_DIMS

ROOT = Path(__file__).parents[2]
FLOOR = ROOT / ".cache" / "floor"
DTYPES = ("bfloat16", "float16", "float32")
KERNELS = ("forward", "preprocess", "dk_dv", "dq")


@dataclass(frozen=True)
class Row:
    """A kernel that was compiled: with which Triton, for which launch, and what came out."""

    triton: str
    architecture: int
    kernel: str
    head_dim: int
    dtype: str
    path: str
    fits: bool
    code: dict


def rows(
    architecture: int, head_dims: Iterable[int], dtypes: Iterable[str], kernels: Sequence[str] = KERNELS
) -> Iterator[Row]:
    """Compile the kernels of a training step, each of them once where two types differ in no more than their name."""
    import triton
    from machine_code import read

    known = {}
    for head_dim, dtype in product(head_dims, dtypes):
        for compilation in launched(architecture, head_dim, dtype):
            kernel, key = compilation.kernel.removesuffix("_kernel"), compilation.key()
            if kernel not in kernels:
                continue
            if key not in known:
                build = compilation.build()
                known[key] = build.fits(architecture), asdict(read(build.cubin, build.report))
            path = "descriptor" if "tensordesc" in key else "pointer"
            yield Row(triton.__version__, architecture, kernel, head_dim, dtype, path, *known[key])


def launched(architecture: int, head_dim: int, dtype: str) -> list:
    """The kernels that a training step launches, not compiled yet: lengths that no tile divides, under a causal mask."""
    from compile_kernels import recorded

    from actckpt.ops.attention import launch

    def view(heads: int) -> torch.Tensor:
        return torch.empty(1, 48, heads, head_dim, dtype=getattr(torch, dtype), device="meta").transpose(1, 2)

    q, k, lse = view(4), view(2), torch.empty(1, 4, 48, device="meta")
    with recorded(architecture) as compilations:
        launch.forward(q, k, k, True, 1.0)
        launch.backward(q, q, k, k, q, lse, True, 1.0)
    return compilations


def table(found: Iterable[Row]) -> Iterator[str]:
    """The rows for a terminal: a line for each main loop."""
    head = (
        "triton", "sm", "kernel", "D", "type", "path", "regs", "stack", "spills", "warns", "loop", "instr", "product",
        "waits", "exp2", "TMA", "LDGSTS", "LDG", "LDS/STS", "BAR", "LDL/STL",
    )  # fmt: skip
    lines = [head]
    for row in found:
        code = row.code
        spills = f"{code['spill_loads']}/{code['spill_stores']}"
        start = (row.triton, row.architecture, row.kernel, row.head_dim, row.dtype, row.path)
        start += (code["registers"], code["stack"], spills, ",".join(code["warnings"]))
        if not code["loops"]:
            lines.append(start + ("",) * (len(head) - len(start)))
        for index, loop in enumerate(code["loops"]):
            lines.append(
                (
                    *(start if not index else ("",) * len(start)),
                    *(index + 1, f"{loop['shortest']}/{loop['instructions']}", f"{loop['products']} {code['product']}"),
                    *(loop["waits"], loop["exp2"], loop["tensor_loads"]),
                    *(" ".join(f"{n}x{width}B" for width, n in loop[name].items()) for name in ("copies", "loads")),
                    *(f"{loop['shared_loads']}/{loop['shared_stores']}", loop["barriers"]),
                    f"{loop['spill_loads']}/{loop['spill_stores']}",
                )
            )
    widths = [max(len(str(line[column])) for line in lines) for column in range(len(head))]
    for line in lines:
        yield "  ".join(str(cell).ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def main() -> None:
    """Compile what the command line names and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", type=int, nargs="+", default=[90], help="as 90 for sm_90a, the default")
    parser.add_argument("--kernel", nargs="+", choices=KERNELS, default=KERNELS)
    parser.add_argument("--head-dim", type=int, nargs="+", choices=HEAD_DIMS, default=HEAD_DIMS)
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["bfloat16"])
    parser.add_argument("--floor", action="store_true", help="with the oldest Triton that the package takes")
    parser.add_argument("--json", action="store_true", help="print one JSON list instead of a table")
    arguments = parser.parse_args()
    if arguments.floor and str(FLOOR) not in sys.path:
        if not FLOOR.exists():
            parser.error("scripts/setup --browser has not installed .cache/floor")
        environment = os.environ | {"PYTHONPATH": f"{FLOOR}{os.pathsep}{ROOT}"}
        sys.exit(subprocess.run([sys.executable, *sys.argv], env=environment, check=False).returncode)
    found = [
        row
        for architecture in arguments.architecture
        for row in rows(architecture, arguments.head_dim, arguments.dtype, arguments.kernel)
    ]
    print(json.dumps([asdict(row) for row in found]) if arguments.json else "\n".join(table(found)))


if __name__ == "__main__":
    main()
