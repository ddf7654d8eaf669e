"""The blocks of "Exercises": the code of an answer, and what it printed when the page was built."""

from __future__ import annotations

import io
import runpy
from contextlib import redirect_stdout
from pathlib import Path

from book.components.template import html

ANSWERS = Path(__file__).resolve().parents[2] / "snippets" / "exercises"


def answer(name: str) -> str:
    """An answer's code, and below it what running it printed."""
    file = ANSWERS / f"{name}.py"
    code = file.read_text(encoding="utf-8").rstrip()
    # as HTML: a block of code that the theme would number and offer to copy is for code
    printed = html(
        '<pre class="ac-printed" tabindex="0" aria-label="What it prints">{{ printed }}</pre>', printed=run(file)
    )
    return f"``` {{ .python }}\n{code}\n```\n\n{printed}\n"


def run(file: Path) -> str:
    """What a file prints when it runs on its own."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        runpy.run_path(str(file), run_name="__main__")
    return printed.getvalue().rstrip()


def count() -> int:
    return len(list(ANSWERS.glob("*.py")))
