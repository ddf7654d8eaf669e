"""The page on machine code: it counts what would slow a GPU down, and puts two compilers side by side."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from book.chapters import machine_code
from kernels import gate
from kernels.attention_builds import Row
from kernels.machine_code import MachineCode

ROOT = Path(__file__).resolve().parent.parent

LOOP = {
    "shortest": 399,
    "instructions": 523,
    "products": 24,
    "waits": 2,
    "exp2": 32,
    "tensor_loads": 4,
    "copies": {},
    "loads": {},
    "shared_loads": 19,
    "shared_stores": 0,
    "barriers": 3,
    "spill_loads": 0,
    "spill_stores": 0,
}
ROW = {
    "triton": "9.1",
    "kernel": "dk_dv",
    "head_dim": 128,
    "path": "descriptor",
    "registers": 255,
    "stack": 8,
    "spill_loads": 0,
    "spill_stores": 0,
    "warnings": [],
    "product": "HGMMA",
    "loops": [LOOP],
    "missing": {},
    "dtypes": ["bfloat16", "float16"],
}


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(machine_code, "TABLE", tmp_path / "machine-code.json")
    return machine_code


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


# what the gate calls a fault, and what a kernel with it differs in
FAULTY = {
    "C7515": {"warnings": ["C7515"]},
    "no HGMMA": {"product": "HMMA"},
    "no loop": {"loops": []},
    "waits": {"loops": [LOOP | {"waits": 24}]},
    "spill": {"loops": [LOOP | {"spill_stores": 1}]},
    "narrow": {"loops": [LOOP | {"copies": {"4": 32}}]},
    "stack": {"stack": 17},
}


def gated(row: dict) -> set[str]:
    """The faults that the gate finds."""
    fields = {field.name for field in dataclasses.fields(MachineCode)}
    code = MachineCode.from_json({name: value for name, value in row.items() if name in fields})
    return gate.faults(
        Row(row["triton"], 90, row["kernel"], row["head_dim"], row["dtypes"][0], row["path"], None, code)
    )


@pytest.mark.parametrize("fault", FAULTY)
def test_the_page_counts_what_the_gate_forbids(page, fault: str) -> None:
    row = ROW | FAULTY[fault]
    assert gated(row) == {fault}
    assert sum(has(row) for has in page.FAULTS.values()) == 1
    for fine in (ROW, ROW | {"stack": 16}, ROW | {"stack": 17, "head_dim": 192}, ROW | {"kernel": "dq", "stack": 17}):
        assert not gated(fine)
        assert not any(has(fine) for has in page.FAULTS.values())


def test_of_the_kernels_kept_the_page_counts_those_with_a_known_fault(page) -> None:
    rows = json.loads(gate.TABLE.read_text(encoding="utf-8"))
    for row in rows:
        assert sum(has(row) for has in page.FAULTS.values()) == len(row["missing"]), row


def test_faults_are_counted_by_compiler(page) -> None:
    rows = [ROW, ROW | {"path": "packed", "stack": 40}, ROW | {"triton": "9.0", "dtypes": ["float16"]}]
    page.TABLE.write_text(json.dumps(rows))
    assert "Triton 9.1 and 9.0 compiled 5 kernels" in words(page.verdict())
    assert "3 of them have none of the faults" in words(page.verdict())
    said = words(page.summary())
    assert "fault Triton 9.1 Triton 9.0 ptxas warns" in said
    assert "stack above 16 bytes, in dK and dV up to D = 128 2 0 all kernels 4 1 largest stack, in bytes 40 8" in said


def test_without_its_table_the_page_cannot_be_built(page) -> None:
    for block in (page.verdict, page.summary, page.tables, page.missing):
        with pytest.raises(FileNotFoundError):
            block()


def test_two_compilers_stand_side_by_side(page) -> None:
    other = ROW | {"triton": "9.0", "registers": 254, "loops": [LOOP | {"tensor_loads": 0, "copies": {"16": 8}}]}
    alone = ROW | {"head_dim": 64, "path": "packed"}
    page.TABLE.write_text(json.dumps([ROW, alone, other]))
    said = words(page.tables())
    assert "Main loop of dK and dV, bf16 and fp16, Triton 9.1 / 9.0 D, tiles by" in said
    assert "stack instructions HGMMA waits" in said
    assert "128, descriptors 255 / 254 8 399 24 2 32 4 / 0 0 / 8 × 16 B 0 3 " in said
    assert "64, pointers, packed 255 / – 8 / – 399 / – 24 / –" in said
    assert said.index(" 64, ") < said.index(" 128, ")


def test_types_that_differ_stand_apart(page) -> None:
    half = {
        dtype: ROW | {"dtypes": [dtype], "registers": number} for dtype, number in (("bfloat16", 1), ("float16", 2))
    }
    single = ROW | {"dtypes": ["float32"], "path": "pointer", "product": "FFMA"}
    page.TABLE.write_text(json.dumps([*half.values(), single]))
    said, plain = map(words, page.tables().split("<details"))
    assert "128, descriptors, bf16 1 8 399 24 2 32 4 0 0 3 128, descriptors, fp16 2 8" in said
    assert "pointers" not in said
    assert "Main loop of dK and dV, fp32, Triton 9.1 D, tiles by registers stack instructions FFMA waits" in plain
    assert "128, pointers 255 8 399" in plain


def test_what_is_missing_follows_from_the_table_and_from_the_launches(page, monkeypatch: pytest.MonkeyPatch) -> None:
    from actckpt.ops.attention.config import Launch, Launches

    def launches(capability, itemsize, head_dim, descriptors):
        stages = 1 if head_dim == 96 and not descriptors else 2
        return Launches(Launch(1, 1, 1, 2), Launch(1, 1, 1, 2), Launch(1, 1, 1, stages))

    monkeypatch.setattr(page, "launches", launches)
    rows = [ROW | {"head_dim": head_dim, "missing": {"spill": "it is full"}} for head_dim in (64, 80)]
    page.TABLE.write_text(json.dumps([ROW, *rows]))
    spilled, overlap = page.missing().splitlines()
    each = "dK and dV by descriptors, D = {}, Triton 9.1".format
    assert spilled == f"- **spill**: it is full ({each(64)}; {each(80)})."
    assert overlap.endswith("this is so for dQ by pointers, D = 96.")
    monkeypatch.setattr(page, "HEAD_DIMS", (64,))
    page.TABLE.write_text(json.dumps([ROW]))
    assert page.missing() == "- **overlap**: every kernel of 16-bit types loads the next tiles while it computes."
