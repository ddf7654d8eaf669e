"""What machine code for sm_90a must not hold, and where it still does, with the reason."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from kernels.attention_builds import DTYPES, HEAD_DIMS, KERNELS, PATHS, Row
from kernels.floor import ROOT

TABLE = ROOT / "docs/data/machine-code.json"


@dataclass(frozen=True)
class Known:
    """A fault that kernels have: a test fails where one of them has it no longer.

    Attributes:
        fault: As `faults` names it.
        reason: What is missing, and why.
        kernels: Which have it.
        head_dims: For which of theirs.
        dtypes: For which types.
        paths: For which paths.
        triton: How the versions begin that make it, as "3.6".
    """

    fault: str
    reason: str
    kernels: tuple[str, ...] = KERNELS
    head_dims: tuple[int, ...] = HEAD_DIMS
    dtypes: tuple[str, ...] = DTYPES
    paths: tuple[str, ...] = PATHS
    triton: str = ""

    def covers(self, row: Row) -> bool:
        """Whether a kernel is among those that have it."""
        return (
            row.kernel in self.kernels
            and row.head_dim in self.head_dims
            and row.dtype in self.dtypes
            and row.path in self.paths
            and row.triton.startswith(self.triton)
        )


HALF = ("bfloat16", "float16")
KNOWN = (
    Known(
        "spill",
        "one register is stored and read back in about 500 instructions; without it no tiles would be in flight",
        kernels=("dk_dv",),
        head_dims=(192, 256),
        dtypes=HALF,
        paths=("packed",),
        triton="3.7",
    ),
)


def faults(row: Row) -> set[str]:
    """What is wrong with a kernel.

    - C75xx: ptxas warns that matrix products wait for each other.
    - "waits": there are as many waits as matrix products in a main loop.
    - "no HGMMA": matrices of a 16-bit type are multiplied by another instruction.
    - "spill": a main loop stores registers to memory, or reads them back.
    - "narrow": a thread copies less than 16 bytes to shared memory at once, or nothing loads the tiles by 16 bytes.
    - "stack": dK/dV keeps more than 16 bytes on the stack at D <= 128.
    - "no loop": the kernel should have a main loop, and none was found.
    """
    code = row.code
    found = set(code.warnings)
    if row.kernel != "preprocess":
        if not code.loops:
            found.add("no loop")
        elif row.dtype != "float32" and code.product != "HGMMA":
            found.add("no HGMMA")
    if row.kernel == "dk_dv" and row.head_dim <= 128 and code.stack > 16:
        found.add("stack")
    for loop in code.loops:
        if code.product == "HGMMA" and loop.waits >= loop.products:
            found.add("waits")
        if loop.spill_loads or loop.spill_stores:
            found.add("spill")
        wide = loop.tensor_loads or "16" in loop.copies or "16" in loop.loads
        if not wide or any(int(width) < 16 for width in loop.copies):
            found.add("narrow")
    return found


def known(row: Row) -> dict[str, str]:
    """The faults that a kernel may have, each with the reason."""
    return {each.fault: each.reason for each in KNOWN if each.covers(row)}


def table(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The rows as docs/data has them: one for all types that come to the same code."""
    kept: list[dict[str, Any]] = []
    for row in rows:
        place = {"triton": row.triton, "kernel": row.kernel, "head_dim": row.head_dim, "path": row.path}
        entry = place | asdict(row.code) | {"missing": known(row), "dtypes": []}
        # tuples are lists in JSON
        entry = json.loads(json.dumps(entry))
        same = next((other for other in kept if other | {"dtypes": []} == entry), None)
        if same is None:
            kept.append(same := entry)
        same["dtypes"].append(row.dtype)
    return kept
