"""The built site as files: links, hosts, data tables, colours, and that no number on it is typed by hand."""

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytest_plugins = ["built_site"]

ROOT = Path(__file__).resolve().parent.parent
OWN_ASSETS = sorted(f"assets/{file.name}" for file in (ROOT / "docs/assets").glob("*.[cj]s*"))
# pages without a number that the package computes
WITHOUT_NUMBERS = (
    # measured by the labs themselves, without a closed form
    "labs/flash-attention",
    "labs/tiny-llama",
    "evidence/tests",
    "evidence/machine-code",
    "evidence/on-a-gpu",
    "reference/api",
    "reference/glossary",
    "reference/sources",
)


class Document(HTMLParser):
    """What the tests ask of a page: its links, ids, resources, and the text of its article."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.resources: list[str] = []
        self.text: list[str] = []
        self._skipping = ""
        self._articles = 0
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            self.ids.add(values["id"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in ("script", "img", "iframe", "source") and "src" in values:
            self.resources.append(values["src"])
        if tag == "link" and values.get("rel") != "canonical":
            self.resources.append(values["href"])
        if tag == "article":
            self._articles += 1
        if tag in ("script", "style"):
            self._skipping = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._skipping:
            self._skipping = ""
        if tag == "article":
            self._articles -= 1

    def handle_data(self, data: str) -> None:
        if self._articles and not self._skipping:
            self.text.append(data)

    @property
    def numbers(self) -> list[str]:
        """Every number in the text, in order."""
        return re.findall(r"\d[\d,.]*", " ".join(self.text))


def documents(site: Path) -> dict[Path, Document]:
    return {file: Document(file) for file in sorted(site.rglob("*.html")) if file.name != "404.html"}


def test_every_internal_link_and_anchor_exists(site: Path) -> None:
    pages = documents(site)
    missing = []
    for file, page in pages.items():
        for link in page.links + page.resources:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (parts.fragment and target in pages and parts.fragment not in pages[target].ids):
                missing.append(f"{file.relative_to(site)}: {link}")
    assert missing == []


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    for file, page in documents(site).items():
        foreign = [resource for resource in page.resources if urlsplit(resource).netloc]
        assert foreign == [], file
    for asset in OWN_ASSETS:
        assert not re.search(r"(https?:)?//[\w.-]+\.\w+/", (site / asset).read_text(encoding="utf-8")), asset
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_every_figure_has_its_numbers_and_a_test(site: Path) -> None:
    tests = {name.stem: name.read_text(encoding="utf-8") for name in (ROOT / "tests").glob("test_*.py")}
    figures = []
    for file in documents(site):
        figures += re.findall(r'<figure class="ac-figure".*?</figure>', file.read_text(encoding="utf-8"), re.DOTALL)
    assert len(figures) >= 4
    for figure in figures:
        chart = json.loads(re.search(r'<script type="application/json">(.*?)</script>', figure, re.DOTALL)[1])
        n_points = len(chart["data"][0]["y"])
        assert figure.count("<tr>") == n_points + 1, "the table has a row for each point and a head"
        assert "title" not in chart["layout"]
        file, function = re.search(r'href="[^"]*tests/#(\w+)"><code>(\w+)</code>', figure).groups()
        assert f"def {function}(" in tests[file]


def test_a_page_has_the_scripts_of_what_is_on_it(site: Path) -> None:
    own = {file.name for file in (ROOT / "docs/assets").glob("*.js")}
    used = set()
    for file, page in documents(site).items():
        html = file.read_text(encoding="utf-8")
        scripts = {Path(resource).name for resource in page.resources} & own
        # explorer-drawing.js serves what has the class ac-explorer
        assert scripts == {name for name in own if f'class="ac-{re.split("[-.]", name)[0]}' in html}, file
        used |= scripts
    assert used == own


def test_captions_say_what_one_sees(site: Path) -> None:
    found = []
    for file in documents(site):
        page = file.read_text(encoding="utf-8")
        found += re.findall(r'<figure class="(ac-\w+)".*?</figure>', page, re.DOTALL)
        for figure in re.findall(r"<figure .*?</figure>", page, re.DOTALL):
            caption = re.search(r"<figcaption>(.*?)</figcaption>", figure, re.DOTALL)[1]
            folded = re.search(r'<details class="ac-data ac-from"><summary>Source</summary>(.*?)</details>', figure)[1]
            assert "Made by" not in caption
            assert "Made by" in folded
    assert set(found) >= {"ac-figure", "ac-player", "ac-map", "ac-layers"}


def test_formulas_are_typeset(site: Path) -> None:
    page = (site / "workshop/memory-over-sequence-length/index.html").read_text(encoding="utf-8")
    assert "<math" in page
    for file in documents(site):
        assert "arithmatex" not in file.read_text(encoding="utf-8"), file


MUTATIONS = (
    # the FFN's inside is 4H wide
    ("gpt.py", '("gelu_input", "ffn", wide, "bfloat16")', '("gelu_input", "ffn", (S, B, 5 * H), "bfloat16")'),
    # the gate is as wide as the FFN
    ("llama.py", '("gate_proj", "ffn", (tokens, F), "bfloat16")', '("gate_proj", "ffn", (tokens, F + 16), "bfloat16")'),
    # a matmul of width 4H
    ("gpt.py", '"ffn_input", "gelu_input", 4 * linear', '"ffn_input", "gelu_input", 5 * linear'),
    # one log-sum-exp for each query of each head
    (
        "llama.py",
        '("attention.lse", "attention", (B, n, S), "float32")',
        '("attention.lse", "attention", (B, 2 * n, S), "float32")',
    ),
)


def test_a_changed_coefficient_changes_every_page(
    site: Path, tmp_path: Path, build_site: Callable[[Path, Path], None]
) -> None:
    copy = tmp_path / "copy"
    for folder in ("actckpt", "docs", "overrides", "scripts", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "mkdocs.yml", copy)
    if (ROOT / ".cache").is_dir():
        # what no formula reaches need not be run again
        unused = shutil.ignore_patterns("floor*", "inductor", "kernels", "triton")
        shutil.copytree(ROOT / ".cache", copy / ".cache", ignore=unused)
    for name, before, after in MUTATIONS:
        file = copy / "actckpt" / "blocks" / name
        source = file.read_text(encoding="utf-8")
        assert source.count(before) == 1, f"{name} no longer has {before!r}: choose another coefficient to change"
        file.write_text(source.replace(before, after), encoding="utf-8")
    build_site(copy, tmp_path / "site")
    for page in documents(site):
        name = str(page.relative_to(site).parent)
        if name in WITHOUT_NUMBERS:
            continue
        as_is, changed = Document(page).numbers, Document(tmp_path / "site" / page.relative_to(site)).numbers
        assert as_is != changed, f"{name}: the numbers do not come from the formula"
    home = " ".join(Document(tmp_path / "site/index.html").text)
    assert "36 SBH" in home
    evidence = " ".join(Document(tmp_path / "site/evidence/formula-against-measurement/index.html").text)
    assert re.search(r"[+−]\d", evidence), "a wrong formula differs from the measurement"
    assert "every policy agrees" not in evidence


def tokens(scheme: str) -> dict[str, str]:
    sheet = (ROOT / "docs/assets/tokens.css").read_text(encoding="utf-8")
    block = re.search(rf'\[data-md-color-scheme="{scheme}"\] \{{(.*?)\}}', sheet, re.DOTALL)
    return dict(re.findall(r"--ac-([\w-]+): (#[0-9a-f]{6});", block[1]))


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, as WCAG 2.2 defines it."""

    def luminance(color: str) -> float:
        channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["default", "slate"])
def test_colours_stand_out_from_the_ground(scheme: str) -> None:
    color = tokens(scheme)
    for ground in (color["ground"], color["raised"]):
        for part in (
            "attention",
            "ffn",
            "norm",
            "checkpoint",
            "logits",
            "parameters",
            "gradients",
            "optimizer",
            "working",
        ):
            assert contrast(color[f"{part}-edge"], ground) >= 3, part
        for words in ("ink", "quiet", "link", "ffn-text", "norm-text", "checkpoint-text", "logits-text"):
            assert contrast(color[words], ground) >= 4.5, words
    for part in ("attention", "parameters", "gradients"):
        assert contrast(color["on-fill"], color[part]) >= 4.5, part
    for part in ("ffn", "norm", "checkpoint", "logits", "optimizer"):
        assert contrast(color["on-light-fill"], color[part]) >= 4.5, part


def test_figures_and_style_sheet_share_one_palette() -> None:
    pytest.importorskip("plotly")
    from actckpt.figures.drawing import COLORS

    assert {name: color.lower() for name, color in COLORS.items()} == {name: tokens("default")[name] for name in COLORS}
