"""The pages of reference: nothing of the package is missing on them, and what they show is what it prints."""

import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from book.chapters import command_line, glossary
from book.chapters.sources import used
from book.components.pictures import imports as picture
from book.quantities import imports, sources
from bs4 import BeautifulSoup, Tag

import actckpt
from actckpt import cli

pytest_plugins = ["built_site"]

ROOT = Path(__file__).resolve().parent.parent
FROM = re.compile(r"^ *from ((?:actckpt|book)\.\S+) ", re.MULTILINE)
ARXIV = re.compile(r"(?i:arxiv)(?:\.org/abs/|[: ])(\d{4}\.\d{5})")


def read(file: Path) -> BeautifulSoup:
    return BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")


def article(site: Path, name: str) -> Tag:
    found = read(site / "reference" / name / "index.html").article
    assert found
    return found


def words(tag: Tag) -> str:
    return " ".join(tag.get_text().split())


def test_every_public_name_is_on_the_api_page(site: Path) -> None:
    page = article(site, "api")
    codes = {code.get_text() for code in page("code")}
    for name in actckpt.__all__:
        assert page.find(id=f"actckpt.{name}") or name in codes, name
    modules = {module.stem for module in (ROOT / "actckpt/figures").glob("*.py")}
    for module in modules - {"__init__", "drawing"}:
        assert any(code.startswith(f"{module}.") for code in codes), f"a chart of {module}"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_command_line_page_shows_what_a_command_prints(site: Path, name: str) -> None:
    shown = [session.get_text() for session in article(site, "command-line")("pre")]
    example = command_line.EXAMPLES[name]
    assert example.split()[0] == name
    for line in (f"{name} --help", example):
        done = subprocess.run(
            [sys.executable, "-m", "actckpt", *line.split()],
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "80"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"$ actckpt {line}\n{done.stdout.rstrip()}" in shown


def test_every_field_of_the_json_object_is_explained() -> None:
    answer = json.loads(command_line.run(command_line.EXAMPLES["estimate"] + " --json")[1])
    fields = set()
    for key, value in answer.items():
        fields |= {f"{key}.{inner}" for inner in value} if isinstance(value, dict) else {key}
    assert set(command_line.FIELDS) == fields


def test_wrong_questions_are_refused_as_the_page_says() -> None:
    for line in command_line.WRONG:
        status, out, err = command_line.run(line)
        assert (status, out, err.count("\n")) == (2, "", 1), line
    assert set(command_line.STATUSES) == {0, 1, 2}


def test_every_word_has_one_meaning_and_leads_on(site: Path) -> None:
    page = article(site, "glossary")
    terms = page("dt")
    names = [words(term) for term in terms]
    assert len(set(names)) == len({term["id"] for term in terms}) == len(terms) > 40
    assert names == sorted(names, key=str.lower)
    for term in terms:
        meaning, where = term.find_next_siblings("dd", limit=2)
        assert where.find_next_sibling() in (None, term.find_next_sibling("dt"))
        assert words(meaning).endswith(".")
        assert where.a, term
    anchors = {f"#{term['id']}" for term in terms}
    assert {link["href"] for link in page.select("dd a[href^='#']")} <= anchors
    assert [link["href"] for link in page.select(".ac-index a")] == [f"#{term['id']}" for term in terms]


def test_a_tooltip_says_what_the_glossary_says(site: Path) -> None:
    meant = {words(term): words(term.find_next("dd")) for term in article(site, "glossary")("dt")}
    tooltips = glossary.tooltips()
    assert {term: tooltips[term] for term in meant} == meant
    assert set(tooltips) == {*meant, *(f"{term}s" for term in meant)}


def test_tooltips_stand_once_and_in_prose(site: Path) -> None:
    tooltips, without = glossary.tooltips(), set()
    for file in site.rglob("*.html"):
        page = read(file)
        shown = page("abbr")
        if not shown:
            without.add(file.parent.name)
        titles = [abbr["title"] for abbr in shown]
        assert len(titles) == len(set(titles)), file
        for abbr in shown:
            assert tooltips[abbr.get_text()] == abbr["title"]
            around = {parent.name for parent in abbr.parents}
            assert "article" in around
            assert not around & {"a", "button", "code", "dt", "figure", "h1", "h2", "h3", "label", "nav", "pre", "th"}
    # 404.html and two pages that are all blocks have no word of the glossary in their prose
    assert without == {site.name, "claims", "tests"}


def test_of_a_word_s_tooltips_the_first_in_prose_stays() -> None:
    tip, other = '<abbr title="one">word</abbr>', '<abbr title="two">other</abbr>'
    assert glossary.once(f"<h2>{tip}</h2><p>{tip} {other}<a>{other}</a> {tip}</p>") == (
        f"<h2>word</h2><p>{tip} {other}<a>other</a> word</p>"
    )


def test_every_source_is_used_and_every_paper_is_a_source(site: Path) -> None:
    page = article(site, "sources")
    for key, source in sources.SOURCES.items():
        entry = page.find(id=key)
        assert entry, key
        assert entry.a["href"] == source.url
        assert all(part in words(entry) for part in (source.title, source.label, " ".join(source.takes.split())))
        assert used(source), f"{key} is used nowhere"
    files = [*(ROOT / "actckpt").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "scripts").rglob("*.py")]
    cited = {number for file in files for number in ARXIV.findall(file.read_text(encoding="utf-8"))}
    urls = " ".join(source.url for source in sources.SOURCES.values())
    assert [number for number in sorted(cited) if number not in urls] == []


def test_a_source_is_cited_by_its_key() -> None:
    assert sources.cite("chen") == '<a href="@/reference/sources/#chen">Chen et al. 2016, arXiv 1604.06174</a>'


def test_a_source_is_used_where_it_is_named() -> None:
    places = {key: "".join(used(sources.SOURCES[key])) for key in ("chen", "triton")}
    assert "Glossary" in places["chen"]
    assert "actckpt/ops/rope/kernels.py" in places["triton"]
    assert "Glossary" not in places["triton"]


def test_the_imports_are_those_of_the_source() -> None:
    folders = {"actckpt": ROOT / "actckpt", "book": ROOT / "docs/book"}
    entries = {
        f"{home}.{entry.stem}"
        for home, folder in folders.items()
        for entry in folder.iterdir()
        if entry.suffix == ".py" or entry.is_dir()
    }
    parts = {name for name in entries if "__" not in name}
    assert set(imports.parts()) == parts
    for part, files in imports.parts().items():
        source = "\n".join(file.read_text(encoding="utf-8") for file in files)
        named = {".".join(name.split(".")[:2]) for name in FROM.findall(source)}
        # what is imported from the package itself comes from one of its parts as well
        assert named - {part} <= imports.graph()[part], part
    assert {"actckpt.config", "actckpt.policy"} <= imports.graph()["book.chapters"]


def test_the_picture_of_the_imports_has_each_and_points_down(site: Path) -> None:
    drawn: dict[str, set[str]] = {part: set() for part in imports.parts()}
    for line in picture.lines():
        assert [upper[1] - lower[1] for upper, lower in pairwise(line)] == [1] * (len(line) - 1)
        drawn[line[0][0]].add(line[-1][0])

    def reached(part: str) -> set[str]:
        return drawn[part].union(*map(reached, drawn[part]))

    for part, imported in imports.graph().items():
        assert imported <= reached(part)
        assert reached(part) == imports.needs(part)
    for svg in article(site, "architecture").select(".ac-picture"):
        assert sorted(text.get_text() for text in svg("text")) == sorted(map(picture._label, imports.parts()))


def test_the_package_needs_nothing_of_the_site_and_the_closed_form_nothing_of_torch() -> None:
    torch = {f"actckpt.{name}" for name in ("checkpointing", "llama", "measurement", "ops", "recorder", "recording")}
    for part in imports.parts():
        if part.startswith("actckpt."):
            assert not any(name.startswith("book.") for name in imports.needs(part))
    for part in ("blocks", "formulas"):
        assert not torch & imports.needs(f"actckpt.{part}")
    for part in torch:
        assert "actckpt.formulas" not in imports.needs(part)
