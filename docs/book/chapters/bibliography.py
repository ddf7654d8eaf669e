"""The blocks of "Sources": all of them, each with where it is used."""

from __future__ import annotations

import re
from functools import cache
from html import escape
from pathlib import Path

from book.chapters import glossary
from book.quantities import published
from book.quantities.sources import KINDS, SOURCES, Source

ROOT = Path(__file__).resolve().parents[3]


def everything() -> str:
    """All sources, by kind, each with what is taken from it and where it is used."""
    return "\n\n".join(
        f"## {heading}\n\n" + "\n".join(_entry(source) for source in SOURCES.values() if source.kind == kind)
        for kind, heading in KINDS.items()
    )


def _entry(source: Source) -> str:
    return (
        f'<div class="ac-source" id="{source.key}"><p class="ac-source__label"><a href="{source.url}">'
        f"{escape(source.title)}</a></p><p>{escape(source.label)}</p><p>{escape(source.takes)} "
        f'<span class="ac-source__used">Used in {", ".join(used(source))}.</span></p></div>'
    )


def used(source: Source) -> list[str]:
    """Where a source is named: pages as links, modules of the package as code."""
    figures = (key for key, figure in published.PUBLISHED.items() if figure.source is source)
    names = (source.url, f"sources.md#{source.key}", f'cite("{source.key}")', source.label, *source.mentions, *figures)
    found = []
    for file, text in _texts():
        if any(name in text and re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text) for name in names):
            found.append(_place(file))
    if source.key in {word.source for word in glossary.WORDS}:
        found.append(_place(ROOT / "docs/reference/glossary.md"))
    return list(dict.fromkeys(found))


@cache
def _texts() -> list[tuple[Path, str]]:
    # the pages of reference name everything
    docs = sorted(file for file in (ROOT / "docs").rglob("*.md") if file.parent.name != "reference")
    code = [*sorted((ROOT / "docs/labs").glob("*.py")), *sorted((ROOT / "actckpt").rglob("*.py"))]
    return [(file, _with_blocks(file)) for file in docs] + [(file, file.read_text(encoding="utf-8")) for file in code]


def _with_blocks(page: Path) -> str:
    """A page with the source of the modules that its blocks call."""
    text = page.read_text(encoding="utf-8")
    called = sorted(set(re.findall(r"from book\.(chapters\.\w+)", text)))
    modules = (ROOT / "docs/book" / f"{name.replace('.', '/')}.py" for name in called)
    return "\n".join([text, *(module.read_text(encoding="utf-8") for module in modules if module.is_file())])


def _place(file: Path) -> str:
    name = file.relative_to(ROOT).as_posix()
    if not name.startswith("docs/"):
        return f"<code>{name}</code>"
    text = file.read_text(encoding="utf-8")
    title = re.search(r"^(?:# )?title: (.+)$", text, re.MULTILINE)
    address = name.removeprefix("docs/").rpartition(".")[0].removesuffix("index")
    return f'<a href="@/{address}{"/" if address else ""}">{escape(title[1] if title else name)}</a>'
