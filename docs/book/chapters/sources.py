"""The blocks of "Sources": all of them, each with where it is used."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from markupsafe import Markup

from book.components.template import code, html
from book.quantities.sources import PUBLISHED, SOURCES, Source

ROOT = Path(__file__).resolve().parents[3]
KINDS = {
    "paper": "Papers",
    "software": "Documentation and source code",
    "hardware": "Datasheets",
    "design": "Design of the pages",
}
RENDERED = re.compile(r"\brender\(\s*\"(\w+)\"")
ENTRY = (
    '<div class="ac-source" id="{{ source.key }}">'
    '<p class="ac-source__label"><a href="{{ source.url }}">{{ source.title }}</a></p><p>{{ source.label }}</p>'
    '<p>{{ source.takes }} <span class="ac-source__used">Used in {{ used | join(", ") }}.</span></p></div>'
)


def everything() -> str:
    """All sources, by kind, each with what is taken from it and where it is used."""
    return "\n\n".join(
        f"## {heading}\n\n"
        + "\n".join(html(ENTRY, source=source, used=used(source)) for source in SOURCES.values() if source.kind == kind)
        for kind, heading in KINDS.items()
    )


def used(source: Source) -> list[Markup]:
    """Where a source is named: pages as links, modules of the package as code."""
    figures = (key for key, figure in PUBLISHED.items() if figure.source is source)
    named = (source.url, f"sources.md#{source.key}", f'cite("{source.key}")', source.label, *source.mentions, *figures)
    name = re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, named))})(?!\w)")
    return list(dict.fromkeys(_place(file) for file, text in _texts() if name.search(text)))


@cache
def _texts() -> list[tuple[Path, str]]:
    # of the pages of reference, only the glossary does not name everything
    pages = [*sorted(page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "reference")]
    code = [*sorted((ROOT / "docs/labs").glob("*.py")), *sorted((ROOT / "actckpt").rglob("*.py"))]
    glossary = ROOT / "docs/reference/glossary.md"
    return [(page, _with_blocks(page)) for page in pages] + [(f, f.read_text("utf-8")) for f in (*code, glossary)]


def _with_blocks(page: Path) -> str:
    """A page with its chapter, the module that is named as the page, and the templates which that fills."""
    chapter = ROOT / f"docs/book/chapters/{page.stem.replace('-', '_')}.py"
    if not chapter.is_file():
        return page.read_text("utf-8")
    source = chapter.read_text("utf-8")
    templates = (ROOT / f"docs/book/components/templates/{name}.html" for name in RENDERED.findall(source))
    return "\n".join([page.read_text("utf-8"), source, *(template.read_text("utf-8") for template in templates)])


def title(page: Path) -> str:
    """What a page is called."""
    found = re.search(r"^(?:# )?title: (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return found[1] if found else page.relative_to(ROOT).as_posix()


def _place(file: Path) -> Markup:
    name = file.relative_to(ROOT).as_posix()
    if not name.startswith("docs/"):
        return code(name)
    address = name.removeprefix("docs/").rpartition(".")[0].removesuffix("index")
    return html(
        '<a href="@/{{ address }}">{{ title }}</a>',
        address=f"{address}/" if address else "",
        title=title(file),
    )
