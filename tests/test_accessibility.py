"""axe-core finds nothing on any page, best practices included, in either scheme, on a desk and on a phone."""

import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

pytest_plugins = ["built_site"]

ROOT = Path(__file__).resolve().parent.parent
AXE = ROOT / "node_modules/axe-core/axe.min.js"
SOURCES = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "docs/labs").glob("*.py")]
PAGES = sorted(str(file.relative_to(ROOT / "docs").with_suffix("")).removesuffix("index") for file in SOURCES)
SCHEMES = {"light": "default", "dark": "slate"}
# on a phone the layout is another one, though not on every page
ON_A_PHONE = ("", "workshop/memory-over-sequence-length", "workshop/flash-attention", "evidence/claims")
VISITS = [*product(SCHEMES, (1400,), PAGES), *product(("light",), (375,), ON_A_PHONE)]


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core, which scripts/setup takes from npm."""
    if not AXE.is_file():
        assert shutil.which("npm") is None, f"{AXE} is missing: run scripts/setup"
        pytest.skip("axe-core comes from npm, which is not here")
    return AXE.read_text("utf-8")


@pytest.fixture(scope="module")
def pages(browser: Browser) -> Iterator[dict[str, Page]]:
    """A page for each scheme, which the tests share."""
    opened = {scheme: browser.new_context(color_scheme=scheme).new_page() for scheme in SCHEMES}
    yield opened
    for page in opened.values():
        page.context.close()


def violations(page: Page, axe: str) -> list[str]:
    """What axe-core finds, each with its impact and its first element."""
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] }).then((result) => result.violations)")
    return [
        f"{entry['id']}, {entry['impact']}, {len(entry['nodes'])} times, first {entry['nodes'][0]['html'][:200]}"
        for entry in found
    ]


@pytest.mark.parametrize(("scheme", "width", "path"), VISITS)
def test_page(pages: dict[str, Page], axe: str, address: str, scheme: str, width: int, path: str) -> None:
    page = pages[scheme]
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{address}{path}/" if path else address)
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", SCHEMES[scheme])
    for figure in page.locator(".ac-figure").all():
        figure.scroll_into_view_if_needed()
        expect(figure).to_have_attribute("data-drawn", SCHEMES[scheme])
    assert violations(page, axe) == []


def test_axe_finds_what_is_wrong(pages: dict[str, Page], axe: str) -> None:
    table = "<table><tr><th></th></tr><tr><td>1</td></tr></table>"
    twice = "<nav>A</nav><nav>B</nav>"
    pages["light"].set_content(f"<main><img src='data:,'><p style='color: #ccc'>Pale</p>{table}</main>{twice}")
    found = [entry.split(",")[0] for entry in violations(pages["light"], axe)]
    assert {"image-alt", "color-contrast", "empty-table-header", "landmark-unique", "page-has-heading-one"} <= set(
        found
    )


def test_the_first_stop_skips_to_the_content(pages: dict[str, Page], address: str) -> None:
    page = pages["light"]
    page.goto(address + "workshop/flash-attention/")
    page.keyboard.press("Tab")
    link = page.locator(":focus")
    assert link.inner_text().strip() == "Skip to content"
    assert link.bounding_box()["y"] >= 0, "it shows once it has the focus"
    assert page.locator(link.get_attribute("href")).evaluate("e => e.closest('article') !== null")
