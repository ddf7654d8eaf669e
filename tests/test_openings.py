"""The pictures at the top of evidence and labs: numbers, lengths and marks are the package's or the data's."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from book.chapters import claims, formula_against_measurement, machine_code, on_a_gpu
from book.chapters import tests as tests_page
from book.claims import CLAIMS
from book.components.pictures import labs

from actckpt import estimate
from actckpt.ops.attention.config import INTERPRETER

ROOT = Path(__file__).resolve().parent.parent
MODEL = "llama-3.1-8b"


def widths(html: str) -> list[float]:
    return [float(width) for width in re.findall(r'<rect class="ac-box[^>]*? width="([\d.]+)"', html)]


def said(html: str) -> list[str]:
    return [words.replace("\u00a0", " ") for words in re.findall(r"<text[^>]*>([^<]*)</text>", html)]


def test_a_mark_for_each_claim() -> None:
    found = re.findall(r'<g data-verdict="([\w-]+)">.*?<text[^>]*>(.)</text>', claims.opening())
    expected = Counter((claim.finding.verdict.value, claim.finding.verdict.sign) for claim in CLAIMS)
    assert Counter(found) == expected
    assert [verdict for verdict, _ in found] == [claim.finding.verdict for claim in CLAIMS]


def test_one_block_twice() -> None:
    html = formula_against_measurement.opening()
    block = estimate(MODEL, seq_len=8192).block
    # the formula's bar, and below it the measured one, in whatever order autograd saved
    assert sorted(said(html)) == [f"closed form: {block.bytes:,} bytes", f"measured: {block.bytes:,} bytes"]
    found, sizes = widths(html), [360 * term.bytes / block.bytes for term in block]
    assert found[: len(sizes)] == pytest.approx(sizes, abs=0.01)
    assert sorted(found[len(sizes) :]) == pytest.approx(sorted(sizes), abs=0.01)


def test_the_registers_of_each_kernel() -> None:
    rows = json.loads((ROOT / "docs/data/machine-code.json").read_text("utf-8"))
    newest = max(row["triton"] for row in rows)
    expected = [
        str(row["registers"])
        for kernel in ("forward", "dk_dv", "dq")
        for row in sorted(rows, key=lambda row: row["head_dim"])
        if (row["kernel"], row["path"], row["triton"]) == (kernel, "descriptor", newest) and "bfloat16" in row["dtypes"]
    ]
    html = machine_code.opening()
    columns = re.findall(r'<rect class="ac-area[^>]*? height="([\d.]+)"[^>]*></rect><text[^>]*>(\d+)<', html)
    assert [number for _, number in columns] == expected
    most = max(map(int, expected))
    for height, number in columns:
        assert float(height) == pytest.approx(40 * int(number) / most, abs=0.01)


def test_a_slot_for_each_entry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(on_a_gpu, "DATA", tmp_path)
    html = on_a_gpu.opening()
    # five implementations, two directions, two head dimensions; eight head dimensions in three types, and masks
    total = 1 + 5 * 2 * 2 + 8 * 3 + 8 + 11
    assert html.count("ac-box ac-empty") == total
    assert f"None of {total} entries recorded" in html
    recorded = {"entries": {"device": {"result": {}}, "policy/full": {"failed": "a crash"}}}
    (tmp_path / "gpu-a.json").write_text(json.dumps(recorded), "utf-8")
    html = on_a_gpu.opening()
    assert (html.count("ac-box ac-ink"), html.count("ac-box ac-empty")) == (1, total - 1)
    assert f"1 of {total} entries recorded" in html


def test_a_square_for_each_test() -> None:
    page = (ROOT / "docs/evidence/tests.md").read_text("utf-8")
    files = re.findall(r"^## (test_\w+)$", page, re.MULTILINE)
    sources = [(ROOT / f"tests/{file}.py").read_text("utf-8") for file in files]
    html = tests_page.opening()
    assert said(html) == [file.removeprefix("test_") for file in files]
    rows = re.split(r"<text", html)[1:]
    expected = [len(re.findall(r"^def test", source, re.MULTILINE)) for source in sources]
    assert [row.count("<rect") for row in rows] == expected


def test_what_a_block_keeps() -> None:
    html = labs.tiny_llama()
    blocks = [estimate(MODEL, seq_len=16_384, policy=policy).block for policy in ("none", "full")]
    expected = [360 * term.bytes / blocks[0].bytes for block in blocks for term in block]
    assert widths(html) == pytest.approx(expected, abs=0.01)
    none, full = said(html)
    assert none == f"none: {blocks[0].bytes / 2**30:.3g} GiB"
    assert full == f"full: {blocks[1].bytes / 2**20:.3g} MiB"


def test_the_tiles_of_a_head() -> None:
    block_m, block_n = INTERPRETER.forward.block_m, INTERPRETER.forward.block_n
    seq_len = 4 * block_n
    # a tile is visited if its last query sees its first key
    visited = [
        min(queries + block_m, seq_len) - 1 >= keys
        for queries in range(0, seq_len, block_m)
        for keys in range(0, seq_len, block_n)
    ]
    html = labs.flash_attention()
    assert [cls == "attention" for cls in re.findall(r'class="ac-box ac-(attention|empty)"', html)] == visited
    assert f"{sum(visited)} tiles visited" in html
    assert f"{len(visited) - sum(visited)} skipped" in html
    assert f"S, D = {seq_len // block_n} * TILE" in (ROOT / "docs/labs/flash-attention.py").read_text("utf-8")
