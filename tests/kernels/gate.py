"""What machine code for sm_90a must not hold, and where it still does, with the reason."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.attention_builds import Row


@dataclass(frozen=True)
class Known:
    """Faults that a kernel has: a test fails where it has others, and where it has one of these no longer.

    Attributes:
        faults: Names as `faults` gives them.
        kernel: The kernel.
        head_dims: Where it has them.
        paths: Where it has them.
        dtypes: Where it has them.
        reason: What is missing, and why.
    """

    faults: frozenset[str]
    kernel: str
    head_dims: tuple[int, ...]
    paths: tuple[str, ...]
    dtypes: tuple[str, ...]
    reason: str


KNOWN: tuple[Known, ...] = ()


def faults(row: Row) -> set[str]:
    """What is wrong with a kernel.

    - C75xx: ptxas warns that matrix products wait for each other.
    - "waits": there are as many waits as matrix products in a main loop.
    - "no HGMMA": matrices of a 16-bit type are multiplied by another instruction.
    - "spill": a main loop stores registers to memory, or reads them back.
    - "narrow": a thread copies less than 16 bytes of a tile at once.
    - "rows": dK/dV copies its tiles of lse and delta by more than one instruction each.
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
        narrow = sum(n for width, n in loop.copies.items() if int(width) < 16)
        if not (loop.tensor_loads or "16" in loop.copies or "16" in loop.loads) or (narrow and row.kernel != "dk_dv"):
            found.add("narrow")
        elif narrow > 2:
            found.add("rows")
    return found
