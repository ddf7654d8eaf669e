"""The row of chapters: every chapter once, by its own title, with a picture to the scale of its numbers."""

import re
from pathlib import Path

import pytest
from book.chapters.sources import title
from book.components import chapters_row as chapters

from actckpt import estimate

DOCS = Path(__file__).resolve().parent.parent / "docs"
MODEL, LONG = "llama-3.1-8b", 16_384


def rects(name: str, side: str) -> list[float]:
    drawn = "".join(chapters.CHAPTERS[name][1]())
    return [float(size) for size in re.findall(rf'<rect[^>]*? {side}="([\d.]+)"', drawn)]


def test_every_chapter_is_in_the_row_by_its_title() -> None:
    pages = {page.stem: title(page) for page in (DOCS / "workshop").glob("*.md")}
    assert {name: words for name, (words, _) in chapters.CHAPTERS.items()} == pages
    made = chapters.row()
    assert re.findall(r'href="@/workshop/([^/]+)/"', made) == list(chapters.CHAPTERS)
    # in the order of the navigation
    nav = (DOCS.parent / "mkdocs.yml").read_text("utf-8")
    places = [nav.index(f"workshop/{name}.md") for name in chapters.CHAPTERS]
    assert places == sorted(places)


def test_the_pictures_are_to_scale() -> None:
    none = estimate(MODEL, seq_len=LONG)
    block = [none.block.component_bytes(part) for part in ("checkpoint", "norm", "attention", "ffn")]
    assert rects("activations", "width") == pytest.approx([120 * n / none.block.bytes for n in block], abs=0.01)
    states = none.states
    first = [states.parameters_bytes, states.gradients_bytes, states.optimizer_bytes]
    assert rects("training-memory", "width")[:3] == pytest.approx([120 * n / none.peak_bytes for n in first], abs=0.01)
    heights, tops = (rects("memory-over-sequence-length", side) for side in ("height", "y"))
    for index in (0, 7, 15):
        peak = estimate(MODEL, seq_len=1024 * (index + 1)).peak_bytes
        column = sum(heights[9 * index : 9 * index + 9])
        assert column == pytest.approx(64 * peak / none.peak_bytes, abs=0.05)
        assert tops[9 * index + 8] == pytest.approx(64 - column, abs=0.05), "each part stands on those below it"
    policies = ("ffn", "save_attention", "both", "full")
    costs = [estimate(MODEL, seq_len=LONG, policy=policy).flops.overhead for policy in policies]
    # the line at the right is a third
    assert rects("compute-cost", "width") == pytest.approx([116 * 3 * cost for cost in costs], abs=0.01)
