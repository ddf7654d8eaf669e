"""No number with a unit is typed: on every built page such a number stands in an element that marks it as computed."""

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest_plugins = ["built_site"]

ROOT = Path(__file__).resolve().parent.parent

UNIT = r"(?:[KMGT]i?B(?:/s)?|kB|bytes?|%|×|SBH|[KMGTPE]?FLOPs?(?:/s)?|ms|µs)"
NUMBER = re.compile(rf"(?<![\w.])\d[\d,.]*[ \u00a0\u2009\u202f]*{UNIT}(?![\w²])")

# what the package, or a run of its code, has written
COMPUTED_TAGS = {"data", "output", "pre", "code"}
# "doc-contents": the package's docstrings, which stand beside what they speak of
COMPUTED_CLASSES = {
    "ac-n",
    "ac-numbers",
    "ac-figure",
    "ac-explorer",
    "ac-player",
    "ac-map",
    "ac-lesson__picture",
    "ac-multiples",
    "ac-opening",
    "doc-contents",
}
# typeset formulas are checked where they are written
SKIPPED_TAGS = {"script", "style", "math", "button"}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
BLOCKS = {"p", "li", "td", "th", "tr", "div", "h1", "h2", "h3", "h4", "section", "details", "summary", "dt", "dd"}

# numbers with a unit that no formula gives, and why
DEFINITIONS = {
    "100 %": "a whole",
}


class Article(HTMLParser):
    """The text of a page's article, and of each character whether it stands in an element marked as computed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.computed: list[bool] = []
        self._open: list[tuple[str, bool, bool]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in BLOCKS:
            self._add("\n")
        if tag in VOID:
            return
        _, computed, read = self._open[-1] if self._open else ("", False, False)
        classes = set((dict(attrs).get("class") or "").split())
        computed |= tag in COMPUTED_TAGS or bool(classes & COMPUTED_CLASSES)
        read = (read or tag == "article") and tag not in SKIPPED_TAGS
        self._open.append((tag, computed, read))

    def handle_endtag(self, tag: str) -> None:
        if tag in BLOCKS:
            self._add("\n")
        while self._open and any(entry[0] == tag for entry in self._open):
            if self._open.pop()[0] == tag:
                break

    def handle_data(self, data: str) -> None:
        # a line's end in the source is a space on the page
        self._add(re.sub(r"[ \n\t]+", " ", data))

    def _add(self, text: str) -> None:
        _, computed, read = self._open[-1] if self._open else ("", False, False)
        if read:
            self.text.extend(text)
            self.computed.extend([computed] * len(text))

    def typed(self) -> Iterator[tuple[str, str]]:
        """Every number with a unit whose digits are not all marked, with what stands before it."""
        text = "".join(self.text)
        for match in NUMBER.finditer(text):
            digits = [at for at in range(*match.span()) if text[at].isdigit()]
            plain = re.sub(r"[\u00a0\u2009\u202f]", " ", match[0])
            if not all(self.computed[at] for at in digits) and plain not in DEFINITIONS:
                yield match[0], " ".join(text[max(0, match.start() - 40) : match.end()].split())


def test_every_number_with_a_unit_is_computed(site: Path) -> None:
    typed = []
    for file in sorted(site.rglob("index.html")):
        page = file.relative_to(site).parent
        typed += [f"{page}: … {context}" for _, context in Article(file.read_text("utf-8")).typed()]
    assert typed == [], "numbers typed by hand:\n" + "\n".join(typed)


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ("<p>It takes 12.3 GiB.</p>", ["12.3 GiB"]),
        ("<p>It takes <b>12</b>&nbsp;%.</p>", ["12\u00a0%"]),
        ("<p>8,192\nbytes, 2 TB/s, 3 ×</p>", ["8,192 bytes", "2 TB/s", "3 ×"]),
        ('<p><span class="ac-n">12</span> GiB, <data value="1">1 byte</data></p>', []),
        ('<table class="ac-numbers"><tr><td>1 GiB<br></td></tr></table><p>2 KB</p>', ["2 KB"]),
        ("<p>In 4 blocks, S × S, a 3D view, <code>80 GB</code>, 100 % of it</p>", []),
        ("<p>12</p><p>GiB</p>", []),
    ],
)
def test_the_check_finds_what_is_typed(html: str, found: list[str]) -> None:
    article = Article(f"<main>9 GiB</main><article>{html}</article>")
    assert [number for number, _ in article.typed()] == found


def strings(source: str) -> Iterator[tuple[int, str]]:
    """The string literals of a module and the fixed parts of its f-strings, without the docstrings."""
    tree = ast.parse(source)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


def typed_in(source: str) -> list[tuple[int, str]]:
    """Every number with a unit in a module's strings, with its line."""
    # a share of a box in CSS is no number on a page
    plain = ((line, re.sub(r"[:\"]-?[\d.]+%", "", text)) for line, text in strings(source))
    found = ((line, match[0].replace("\u00a0", " ")) for line, text in plain for match in NUMBER.finditer(text))
    return [(line, number) for line, number in found if number not in DEFINITIONS]


def test_no_module_of_a_page_types_one() -> None:
    files = [*(ROOT / "docs/book").rglob("*.py"), *(ROOT / "actckpt/figures").glob("*.py")]
    assert len(files) > 8
    typed = [
        f"{file.relative_to(ROOT)}:{line}: {number}"
        for file in files
        for line, number in typed_in(file.read_text("utf-8"))
    ]
    assert typed == [], "numbers typed by hand:\n" + "\n".join(typed)


def test_the_check_finds_what_a_module_types() -> None:
    assert typed_in('"""5 GiB"""\ndef f():\n    """6 GiB"""\n    return f"{g()} GiB of 7 GiB, {h()}8 %"') == [
        (4, "7 GiB"),
        (4, "8 %"),
    ]
    assert typed_in('css = "<i style=\\"left:7%;width:100%\\">"') == []


# what a formula may have between a coefficient and its letters
SPACING = re.compile(r"\\[,;: ]|\\cdot|\\(?:text|mathrm|mathit)|[{}~ ]")


def test_no_page_types_one() -> None:
    typed = []
    for file in (ROOT / "docs").rglob("*.md"):
        source = re.sub(r"^```.*?^```", "", file.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
        source = re.sub(r"`[^`]*`", "", source)
        formulas = (SPACING.sub("", formula) for formula in re.findall(r"\$([^$]+)\$", source))
        for text in (source, *formulas):
            numbers = (match[0].replace("\u00a0", " ") for match in NUMBER.finditer(text))
            typed += [f"{file.relative_to(ROOT)}: {number}" for number in numbers if number not in DEFINITIONS]
    assert typed == [], "numbers typed by hand:\n" + "\n".join(typed)
