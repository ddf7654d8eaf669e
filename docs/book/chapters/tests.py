"""The picture of "The tests behind the figures"."""

from __future__ import annotations

import ast
import re

from markupsafe import Markup

from book.chapters.sources import ROOT
from book.components.pictures import opening as picture
from book.components.pictures.opening import Mark, marks

PAGE = ROOT / "docs/evidence/tests.md"


def opening() -> Markup:
    """A square for each test function of each file on the page."""
    files = re.findall(r"^--8<-- \"(\w+)\.py\"$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return picture.opening(
        marks((file.removeprefix("test_"), [Mark("ac-ink")] * _n_tests(file)) for file in files),
        name="all-tests",
        title="The tests of each file",
        description="A row for each file of tests on this page, with a square for each of its tests.",
        caption="A square is one test. Some run many times, for different models, policies or lengths.",
        made_by="book.chapters.tests.opening",
        assumes="The functions of each file whose names begin with test.",
        test="test_openings::test_a_square_for_each_test",
    )


def _n_tests(file: str) -> int:
    tree = ast.parse((ROOT / f"tests/{file}.py").read_text(encoding="utf-8"))
    return sum(isinstance(node, ast.FunctionDef) and node.name.startswith("test") for node in tree.body)
