"""Every snippet that a page shows runs, and says what the page says it says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SNIPPETS = sorted((ROOT / "docs/snippets").glob("*.py"))


def run(snippet: Path, cwd: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(snippet)], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.stem)
def test_snippet_runs(snippet: Path, tmp_path: Path) -> None:
    assert run(snippet, tmp_path).strip()


def test_measured_terms_equal_the_formula(tmp_path: Path) -> None:
    lines = run(ROOT / "docs/snippets/measure.py", tmp_path).splitlines()
    assert len(lines) > 3
    assert all(line.endswith("+0") for line in lines)


def test_every_snippet_is_on_a_page() -> None:
    pages = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "docs").rglob("*.md"))
    for snippet in SNIPPETS:
        assert f'--8<-- "{snippet.name}:' in pages
