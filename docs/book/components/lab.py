"""A lab's page: mkdocs-jupyter executes the notebook, and keeps what it gave until something that it runs changed."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path
from typing import Any

import closure
import plotly.graph_objects as go
from mkdocs.exceptions import PluginError
from nbclient.exceptions import CellExecutionError, DeadKernelError

from book.components import figure
from book.components.pictures.labs import OPENINGS

CACHE = closure.ROOT / ".cache/labs"
# where Jupyter finds the kernel, the settings and the template, on all of which an executed lab depends
JUPYTER = closure.ROOT / "docs/book/jupyter"
FIGURE = re.compile(r'^<script type="application/vnd\.plotly\.v1\+json">(.*)</script>$', re.MULTILINE)
CAPTIONS = ("name", "caption", "made_by", "assumes", "test")


def prepare(lab: Path, options: Any) -> None:
    """Set mkdocs-jupyter's options such that it executes the lab, or has its page from the cache.

    Its cache knows the notebook and its options alone. The theme, which our template has no other use for, carries what
    else the page depends on; the template writes it down, so that an entry says what it answers.
    """
    runners = (file for file in JUPYTER.rglob("*") if file.is_file() and file.suffix != ".pyc")
    key = f"{lab.stem} {closure.key(lab, runners=runners)}"
    folder = CACHE / lab.stem
    options.update(theme=key, cache_dir=str(folder))
    if not all(_answers(entry, key) for entry in folder.glob("*")):
        shutil.rmtree(folder, ignore_errors=True)


def source(page: Any) -> str:
    """The Markdown of a lab's page, which mkdocs-jupyter has leave as the page's content.

    Raises:
        PluginError: A cell failed, its kernel died, or what it gave could not be kept.
    """
    try:
        page.render(None, None)
    except (CellExecutionError, DeadKernelError, OSError) as error:
        raise PluginError(f"docs/{page.file.src_uri} failed:\n{error}") from error
    # MkDocs renders the page itself, from the Markdown
    del page.render
    _, _, markdown = html.unescape(page.content).partition("\n")
    return _opened(Path(page.file.src_uri).stem, FIGURE.sub(_figure, markdown))


def _answers(entry: Path, key: str) -> bool:
    try:
        stored = json.loads(entry.read_text(encoding="utf-8"))
        return stored["content"].partition("\n")[0] == key and isinstance(stored["toc_tokens"], list)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        # cut off, or something else altogether
        return False


def _opened(lab: str, markdown: str) -> str:
    """The lab with its picture, if it has one, below its heading and its first paragraph."""
    if lab not in OPENINGS:
        return markdown
    heading, lead, rest = markdown.lstrip("\n").split("\n\n", 2)
    return "\n\n".join((heading, lead, str(OPENINGS[lab]()), rest))


def _figure(match: re.Match[str]) -> str:
    plot, about = json.loads(match[1])
    return figure.drawn(go.Figure(plot), **{caption: about[caption] for caption in CAPTIONS})
