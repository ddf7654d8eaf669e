"""What a compiled kernel is made of: registers, spills, and the instructions of its main loops."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import networkx as nx

# the instructions that multiply matrices, and those that kernels of float32 are left with
PRODUCTS = ("HGMMA", "UTCHMMA", "HMMA", "FFMA")
_WIDTHS = {"U8": 1, "S8": 1, "U16": 2, "S16": 2, "64": 8, "128": 16}


@dataclass(frozen=True)
class Instruction:
    """One line of a disassembly, as `@!P0 LDGSTS.E.128 [R1], desc[UR4][R2.64]`.

    Attributes:
        guard: The predicate that it waits for, or "".
        name: Its name, as LDGSTS.
        modifiers: What follows the name, as E and 128.
        operands: The rest.
    """

    guard: str
    name: str
    modifiers: tuple[str, ...]
    operands: str

    @property
    def width(self) -> int:
        """The bytes that one thread moves."""
        return next((_WIDTHS[modifier] for modifier in self.modifiers if modifier in _WIDTHS), 4)


@dataclass(frozen=True)
class Loop:
    """A main loop: an innermost one of those that multiply.

    Attributes:
        shortest: Instructions of the shortest way through it: an iteration that needs no mask.
        instructions: Instructions on all its ways. What follows is counted on all of them, too.
        products: Instructions that multiply: HGMMA on sm_90, or the first of `PRODUCTS` that the kernel has.
        waits: Instructions that wait for a HGMMA.
        exp2: Exponentials.
        tensor_loads: Copies of a whole tile to shared memory by its descriptor (TMA).
        copies: Copies to shared memory, by the bytes that a thread moves with one.
        loads: Loads to registers, by the same.
        shared_loads: Loads from shared memory.
        shared_stores: Stores to it.
        barriers: Barriers of a block.
        spill_loads: Registers that are read back from memory.
        spill_stores: Registers that are stored to it.
    """

    shortest: int
    instructions: int
    products: int
    waits: int
    exp2: int
    tensor_loads: int
    copies: dict[str, int]
    loads: dict[str, int]
    shared_loads: int
    shared_stores: int
    barriers: int
    spill_loads: int
    spill_stores: int


@dataclass(frozen=True)
class MachineCode:
    """A kernel, as the machine runs it.

    Attributes:
        registers: Registers of a thread.
        stack: Bytes of a thread's stack.
        spill_loads: Bytes of all instructions that read registers back from memory.
        spill_stores: Bytes of those that store them.
        warnings: What ptxas says of a slow product, as C7515.
        product: The instruction that its loops multiply with, or "".
        loops: Its main loops.
    """

    registers: int
    stack: int
    spill_loads: int
    spill_stores: int
    warnings: tuple[str, ...]
    product: str
    loops: tuple[Loop, ...]

    @classmethod
    def from_json(cls, code: dict[str, Any]) -> MachineCode:
        """What `dataclasses.asdict` has made of it, and JSON of that."""
        loops = tuple(Loop(**loop) for loop in code["loops"])
        return cls(**code | {"warnings": tuple(code["warnings"]), "loops": loops})


def read(cubin: bytes, report: str) -> MachineCode:
    """What a kernel's machine code and the report of ptxas on it say."""

    def reported(pattern: str) -> int:
        return int(re.search(pattern, report)[1])

    program = Program(disassemble(cubin))
    names = {instruction.name for instruction in program.instructions}
    product = next((name for name in PRODUCTS if name in names), "")
    return MachineCode(
        registers=reported(r"Used (\d+) registers"),
        stack=reported(r"(\d+) bytes stack frame"),
        spill_loads=reported(r"(\d+) bytes spill loads"),
        spill_stores=reported(r"(\d+) bytes spill stores"),
        warnings=tuple(sorted(set(re.findall(r"\((C75\d\d)\)", report)))),
        product=product,
        loops=tuple(program.main_loops(product)),
    )


def disassemble(cubin: bytes) -> str:
    """The assembly of a kernel, by the nvdisasm that comes with Triton."""
    from triton import knobs

    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [knobs.nvidia.nvdisasm.path, "-c", "-ndf", file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class Program:
    """The instructions of a kernel, and a graph of their numbers: which can follow on which."""

    def __init__(self, assembly: str):
        self.instructions: list[Instruction] = []
        labels: dict[str, int] = {}
        for line in assembly.splitlines():
            if label := re.match(r"(\.L\w+):", line):
                labels[label[1]] = len(self.instructions)
            elif code := re.match(r"\s+/\*[0-9a-f]+\*/\s+(?:@(!?U?P\w+)\s+)?([\w.]+)\s*(.*?)\s*;", line):
                name, *modifiers = code[2].split(".")
                self.instructions.append(Instruction(code[1] or "", name, tuple(modifiers), code[3]))
        graph = nx.DiGraph(
            (index, other) for index in range(len(self.instructions)) for other in self._next(index, labels)
        )
        self.graph = graph.subgraph({0} | nx.descendants(graph, 0))

    def _next(self, index: int, labels: dict[str, int]) -> Iterator[int]:
        instruction = self.instructions[index]
        # a jump that depends on something has a guard, or names what before the label
        jump = re.fullmatch(r"(.*)`\((\.L\w+)\)", instruction.operands) if instruction.name == "BRA" else None
        if jump:
            yield labels[jump[2]]
        ends = instruction.name in ("EXIT", "RET") or (jump and not jump[1])
        if not ends or instruction.guard:
            yield index + 1

    def main_loops(self, product: str) -> Iterator[Loop]:
        """The innermost of the loops that multiply, but for what has less than half the products of another."""
        loops = self._loops()
        count = {head: self._count(body, product) for head, body in loops.items()}
        innermost = [
            head
            for head, body in loops.items()
            if count[head] and not any(count[other] for other in loops if other != head and other in body)
        ]
        for head in sorted(innermost):
            if 2 * count[head] >= max(count[other] for other in innermost):
                yield self._describe(head, loops[head], product)

    def _loops(self, inside: Iterable[int] | None = None) -> dict[int, set[int]]:
        """The loops by where they are entered: what is connected both ways, and then without its entrance."""
        loops: dict[int, set[int]] = {}
        for body in nx.strongly_connected_components(self.graph.subgraph(self.graph if inside is None else inside)):
            if len(body) > 1 or self.graph.has_edge(*body, *body):
                head = min(index for index in body if set(self.graph.predecessors(index)) - body)
                loops |= {head: body} | self._loops(body - {head})
        return loops

    def _count(self, body: set[int], *names: str) -> int:
        return sum(self.instructions[index].name in names for index in body)

    def _describe(self, head: int, body: set[int], product: str) -> Loop:
        code = [self.instructions[index] for index in sorted(body)]
        jumps = [index for index in self.graph.predecessors(head) if index in body]
        ways = nx.single_source_shortest_path_length(self.graph.subgraph(body), head)

        def widths(name: str) -> dict[str, int]:
            counts = Counter(each.width for each in code if each.name == name)
            return {str(width): counts[width] for width in sorted(counts)}

        return Loop(
            shortest=1 + min(ways[index] for index in jumps),
            instructions=len(code),
            products=self._count(body, product),
            waits=sum(each.name == "WARPGROUP" and "DEPBAR" in each.modifiers for each in code),
            exp2=sum(each.name == "MUFU" and "EX2" in each.modifiers for each in code),
            tensor_loads=self._count(body, "UTMALDG"),
            copies=widths("LDGSTS"),
            loads=widths("LDG"),
            shared_loads=self._count(body, "LDS", "LDSM"),
            shared_stores=self._count(body, "STS", "STSM"),
            barriers=self._count(body, "BAR"),
            spill_loads=self._count(body, "LDL"),
            spill_stores=self._count(body, "STL"),
        )
