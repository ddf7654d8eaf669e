"""How the built site's pages are laid out: the way about, how wide things are, and that nothing moves or is lost."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

pytest_plugins = ["built_site"]
pytestmark = pytest.mark.xdist_group("browser")

DOCS = Path(__file__).resolve().parent.parent / "docs"
SOURCES = [*DOCS.rglob("*.md"), *(DOCS / "labs").glob("*.py")]
PAGES = sorted(str(file.relative_to(DOCS).with_suffix("")).removesuffix("index") for file in SOURCES)
NAV = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2].partition("\n\n")[0]
SECTIONS = re.findall(r"^  - ([^:]+):", NAV, re.MULTILINE)

# adds up how far things shift
SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput)
    window.shifts.push(entry.value + ": " + entry.sources.map((s) => s.node?.outerHTML?.slice(0, 80)).join(" and "));
}).observe({ type: "layout-shift", buffered: true });
"""
# what goes on beyond an edge
CUT_OFF = """() => [...document.querySelectorAll("article *")].filter((e) => {
  const scrolls = ["auto", "scroll"].includes(getComputedStyle(e).overflowX);
  return e.checkVisibility() && scrolls && e.scrollWidth > e.clientWidth + 1;
})"""


def where(address: str, path: str) -> str:
    return f"{address}{path}/" if path else address


@pytest.mark.parametrize("path", ["", "workshop/compute-cost", "exercises"])
def test_a_desk_shows_the_way_about(page: Page, address: str, path: str) -> None:
    page.goto(where(address, path))
    links = page.get_by_role("navigation", name="Tabs").get_by_role("link")
    expect(links.first).to_be_in_viewport()
    assert links.all_inner_texts() == SECTIONS
    links.filter(has_text="Labs").click()
    expect(page).to_have_url(f"{address}labs/tiny-llama/")


def test_the_sections_of_a_page_stand_beside_it(page: Page, address: str) -> None:
    page.goto(where(address, "workshop/compute-cost"))
    beside = page.get_by_role("navigation", name="Table of contents")
    headings = page.locator("article h2").evaluate_all("e => e.map((h) => h.firstChild.textContent)")
    assert beside.get_by_role("link").all_inner_texts() == headings


def test_charts_span_text_and_margin(page: Page, address: str) -> None:
    page.goto(where(address, "workshop/training-memory"))
    width = "e => e.getBoundingClientRect().width"
    words = page.locator("article > p").first.evaluate(width)
    table = page.locator("article > .ac-table").first.evaluate(width)
    explorer = page.locator(".ac-explorer").evaluate(width)
    assert words < table < explorer
    assert explorer > 1000
    page.goto(where(address, "workshop/compute-cost"))
    assert page.locator(".ac-figure").evaluate(width) > 1000


@pytest.mark.parametrize("width", [375, 1400])
@pytest.mark.parametrize("path", PAGES)
def test_nothing_moves_while_a_page_loads(browser: Browser, address: str, path: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.add_init_script(SHIFTS)
    page.goto(where(address, path))
    for figure in page.locator(".ac-figure").all():
        figure.scroll_into_view_if_needed()
        expect(figure).to_have_attribute("data-drawn", "default")
    page.wait_for_timeout(200)
    shifts = page.evaluate("window.shifts")
    context.close()
    assert shifts == []


@pytest.mark.parametrize("path", PAGES)
def test_what_goes_on_beyond_a_phones_edge_shows_it(page: Page, address: str, path: str) -> None:
    page.set_viewport_size({"width": 375, "height": 900})
    page.goto(where(address, path))
    # a shadow that stays at the edge, and a ground before it that scrolls along
    unmarked = page.evaluate(
        f"({CUT_OFF})().filter((e) => !getComputedStyle(e).backgroundAttachment.startsWith('local, scroll'))"
        ".map((e) => e.outerHTML.slice(0, 100))"
    )
    assert unmarked == []


@pytest.mark.parametrize("chapter", ["activations", "training-memory", "recomputation", "compute-cost"])
def test_tables_are_whole_on_a_phone(page: Page, address: str, chapter: str) -> None:
    page.set_viewport_size({"width": 375, "height": 900})
    page.goto(where(address, f"workshop/{chapter}"))
    assert page.locator(".ac-table").count() > 0
    assert page.evaluate(f"({CUT_OFF})().filter((e) => e.matches('.ac-table')).length") == 0
