"""Every answer of the exercises runs, prints what its page shows, and is right."""

import re
from html import unescape
from pathlib import Path

import pytest
from book.chapters import exercises

pytest.importorskip("torch")
pytest_plugins = ["built_site"]

ROOT = Path(__file__).resolve().parent.parent
ANSWERS = sorted((ROOT / "docs/snippets/exercises").glob("*.py"))
PAGE = (ROOT / "docs/exercises.md").read_text(encoding="utf-8")

# a part of what each answer prints: worked out by hand, or held by another test
EXPECTED = {
    # 16,384 · 4096 · 2 bytes, and 32 of them
    "checkpoint": ("128 MiB", "all 32 blocks: 4 GiB"),
    # 32 · 4096² · 2 bytes, and 16 times as much
    "matrix": ("1 GiB", "16 GiB"),
    # 16 + 2 elements, 32 + 2 bytes
    "elements": ("16 elements of 2 bytes", " 2 elements of 1 bytes"),
    # 70.55 · 10⁹ · 16 bytes over 81,559 · 2²⁰
    "states": ("1,051 GiB", "from 14 ranks"),
    "halves": ("attention: 7.03 bytes", "ffn: 23.00 bytes"),
    "whole": ("both {'input': '128 MiB', 'residual': '128 MiB'}", "full {'input': '128 MiB'}"),
    "third": ("25.5%  as PyTorch", "33.3%  and a backward"),
    "example": ("'attention': '8.3%', 'ffn': '25.0%'", "'attention': '25.0%', 'ffn': '8.3%'"),
    "budget": ("ffn             22.1 GiB, 13.21%\nsave_attention",),
    # 34.0 · 4096 / (6 · 32)
    "square": ("from 726 tokens",),
    # 4 · 128,256 / (2 · 32 · 4096)
    "logits": ("1.96", "0.39", "0.12"),
    "causal": ("6.0 matmuls", "7.0 matmuls", "3.5 matmuls"),
    "longest": ("none           11,264", "full           37,888"),
    "overtakes": ("exactly 6,044 tokens", "3,022 tokens"),
    "op": ("from 38K tokens",),
    # 2f of 34.03 bytes
    "policy": ("without swiglu.product: 20.6% saved", "0.0% more FLOPs"),
}


@pytest.mark.parametrize("file", ANSWERS, ids=lambda file: file.stem)
def test_answer_runs_and_is_right(file: Path) -> None:
    printed = exercises.run(file)
    for part in EXPECTED[file.stem]:
        assert part in printed, printed


def test_every_answer_is_on_the_page_once() -> None:
    used = re.findall(r'answer\("(\w+)"\)', PAGE)
    assert sorted(used) == [file.stem for file in ANSWERS] == sorted(EXPECTED)
    assert len(used) >= 12


def test_the_page_shows_code_and_what_it_printed(site: Path) -> None:
    html = (site / "exercises/index.html").read_text(encoding="utf-8")
    shown = [unescape(pre) for pre in re.findall(r'<pre class="ac-printed"[^>]*>(.*?)</pre>', html, re.DOTALL)]
    order = re.findall(r'answer\("(\w+)"\)', PAGE)
    files = {file.stem: file for file in ANSWERS}
    assert shown == [exercises.run(files[name]) for name in order]
    # folded, each in a native element
    assert html.count("<details") >= len(ANSWERS)
