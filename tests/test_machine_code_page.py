"""The page on machine code: it counts what would make a GPU wait, and puts two compilers side by side."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

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
    "product": "HGMMA",
    "loops": [LOOP],
    "missing": {},
    "dtypes": ["bfloat16", "float16"],
}


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    module = importlib.import_module("pages.machine_code")
    monkeypatch.setattr(module, "TABLE", tmp_path / "machine-code.json")
    yield module
    for name in [name for name in sys.modules if name.split(".")[0] == "pages"]:
        del sys.modules[name]


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_what_would_wait_is_counted(page) -> None:
    faulty = [
        {"waits": 24},
        {"spill_loads": 1},
        {"spill_stores": 2},
        {"copies": {"4": 32}},
    ]
    rows = [ROW, *(ROW | {"path": path, "loops": [LOOP | fault]} for path, fault in zip("abcd", faulty, strict=True))]
    page.TABLE.write_text(json.dumps(rows))
    said = words(page.verdict())
    assert "Triton 9.1 compiled 10 kernels" in said
    assert "matrix product in 2 of them" in said
    assert "memory and back in 4 ," in said
    assert "at once in 2 ." in said
    page.TABLE.write_text(json.dumps([ROW]))
    assert "matrix product in none of them" in words(page.verdict())


def test_two_compilers_stand_side_by_side(page) -> None:
    other = ROW | {"triton": "9.0", "registers": 254, "loops": [LOOP | {"tensor_loads": 0, "copies": {"16": 8}}]}
    alone = ROW | {"head_dim": 64, "path": "packed"}
    page.TABLE.write_text(json.dumps([ROW, alone, other]))
    said = words(page.tables())
    assert "dK and dV, sm_90a, Triton 9.1 / 9.0" in said
    assert "128 bf16, fp16 descriptors 255 / 254 8 24 HGMMA 2 32 399 523 4 TMA / 8 × 16 B 0" in said
    assert "64 bf16, fp16 pointers, packed 255 / – 8 / – 24 HGMMA / –" in said
    assert said.index(" 64 ") < said.index(" 128 ")


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
    assert overlap.endswith("types dQ by pointers, D = 96.")
    monkeypatch.setattr(page, "HEAD_DIMS", (64,))
    page.TABLE.write_text(json.dumps([ROW]))
    assert page.missing() == "- **overlap**: every kernel of 16-bit types loads the next tiles while it computes."
