"""The pages of reference: nothing of the package is missing on them, and what they show is what it prints."""

import argparse
import html
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from book.chapters import bibliography, glossary, reference
from book.quantities import sources

import actckpt
from actckpt import cli

pytest_plugins = ["built_site"]

ROOT = Path(__file__).resolve().parent.parent
ARXIV = re.compile(r"(?i:arxiv)(?:\.org/abs/|[: ])(\d{4}\.\d{5})")


def read(site: Path, name: str) -> str:
    return (site / "reference" / name / "index.html").read_text(encoding="utf-8")


def test_every_public_name_is_on_the_api_page(site: Path) -> None:
    page = read(site, "api")
    for name in actckpt.__all__:
        assert f'id="actckpt.{name}"' in page or f"<code>{name}</code>" in page, name
    modules = {module.stem for module in (ROOT / "actckpt/figures").glob("*.py")}
    for module in modules - {"__init__", "drawing"}:
        assert f"<code>{module}." in page, f"a chart of {module}"


def test_every_option_is_on_the_command_line_page(site: Path) -> None:
    page = read(site, "command-line")
    (commands,) = (a for a in cli.make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    assert set(commands.choices) == set(cli.COMMANDS)
    for name, parser in commands.choices.items():
        section = page.partition(f'<h2 id="{name}">')[2].partition("<h2")[0]
        for action in parser._actions:
            assert action.option_strings[0] in section, f"{name} {action.option_strings}"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_command_line_page_shows_what_a_command_prints(site: Path, name: str) -> None:
    line = reference.EXAMPLES[name]
    assert line.split()[0] == name
    done = subprocess.run(
        [sys.executable, "-m", "actckpt", *line.split()], cwd=ROOT, capture_output=True, text=True, check=True
    )
    page = html.unescape(read(site, "command-line"))
    assert f"$ actckpt {line}" in page
    assert done.stdout.rstrip() in page


def test_every_field_of_the_json_object_is_explained() -> None:
    answer = json.loads(reference.run(reference.EXAMPLES["estimate"] + " --json")[1])
    fields = set()
    for key, value in answer.items():
        fields |= {f"{key}.{inner}" for inner in value} if isinstance(value, dict) else {key}
    assert set(reference.FIELDS) == fields


def test_wrong_questions_are_refused_as_the_page_says() -> None:
    for line in reference.WRONG:
        status, out, err = reference.run(line)
        assert (status, out, err.count("\n")) == (2, "", 1), line
    assert set(reference.STATUSES) == {0, 1, 2}


def test_every_word_has_one_meaning_and_leads_on(site: Path) -> None:
    words = glossary.WORDS
    anchors = [word.anchor for word in words]
    assert len(set(anchors)) == len(words) > 40
    shown = re.findall(r'<dt id="([^"]+)">([^<]+)</dt>', read(site, "glossary"))
    assert [name for _, name in shown] == sorted((word.name for word in words), key=str.lower)
    for word in words:
        assert word.page, word.name
        assert {glossary._anchor(link) for link, _ in glossary.LINK.findall(word.meaning)} <= set(anchors)


def test_every_source_is_used_and_every_paper_is_a_source(site: Path) -> None:
    listed = sources.SOURCES
    page = read(site, "sources")
    for key, source in listed.items():
        assert f'id="{key}"' in page
        assert html.escape(source.url) in page
        assert bibliography.used(source), f"{key} is used nowhere"
    files = [*(ROOT / "actckpt").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "scripts").rglob("*.py")]
    cited = {number for file in files for number in ARXIV.findall(file.read_text(encoding="utf-8"))}
    urls = " ".join(source.url for source in listed.values())
    assert [number for number in sorted(cited) if number not in urls] == []


def test_a_source_is_cited_by_its_key() -> None:
    assert sources.cite("chen") == '<a href="@/reference/sources/#chen">Chen et al. 2016, arXiv 1604.06174</a>'
