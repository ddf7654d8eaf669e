"""The built site where a browser takes something away: its colours, its width, its chart library, inline code."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

pytest_plugins = ["built_site"]
pytestmark = pytest.mark.xdist_group("browser")

DOCS = Path(__file__).resolve().parent.parent / "docs"
SOURCES = [*DOCS.rglob("*.md"), *(DOCS / "labs").glob("*.py")]
PAGES = sorted(str(file.relative_to(DOCS).with_suffix("")).removesuffix("index") for file in SOURCES)
# 1280 px, zoomed to 400 %
NARROW = 320

# marks: what shows something by its ground alone
MARKS = """() => [...document.querySelectorAll("article :not(svg *, input, canvas)")].filter((e) => {
  const box = e.getBoundingClientRect(), alpha = getComputedStyle(e).backgroundColor.match(/, 0\\)$/);
  return e.checkVisibility() && box.width > 1 && box.height > 1 && !alpha && !e.textContent.trim()
    && !e.matches("td, th");
})"""
# those that have neither a ground of their own nor an edge
LOST = """() => {
  const ground = getComputedStyle(document.body).backgroundColor;
  return window.marks.filter((e) => {
    const style = getComputedStyle(e);
    return style.backgroundColor === ground && !parseFloat(style.borderTopWidth) && style.boxShadow === "none";
  }).map((e) => e.outerHTML.slice(0, 120));
}"""


def where(address: str, path: str) -> str:
    return f"{address}{path}/" if path else address


def draw_all(page: Page) -> None:
    """Scroll to every chart, and wait until it is drawn."""
    for figure in page.locator(".ac-figure").all():
        figure.scroll_into_view_if_needed()
        expect(figure).to_have_attribute("data-drawn", re.compile("."))


@pytest.fixture(scope="module")
def shared(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(reduced_motion="reduce")
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("path", PAGES)
def test_marks_are_drawn_in_forced_colours(shared: Page, address: str, path: str) -> None:
    shared.emulate_media(forced_colors="none")
    shared.goto(where(address, path))
    n_marks = shared.evaluate(f"(window.marks = ({MARKS})()).length")
    assert n_marks > 0 or not shared.locator(".ac-swatch:visible, .ac-segment:visible").count()
    shared.emulate_media(forced_colors="active")
    lost = shared.evaluate(LOST)
    shared.emulate_media(forced_colors="none")
    assert lost == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_take_the_readers_colours(browser: Browser, address: str, scheme: str) -> None:
    context = browser.new_context(forced_colors="active", color_scheme=scheme)
    page = context.new_page()
    page.goto(where(address, "workshop/memory-over-sequence-length"))
    draw_all(page)
    words = page.evaluate("getComputedStyle(document.body).color")
    ticks = page.locator(".ac-figure .xtick text").evaluate_all("e => e.map((t) => getComputedStyle(t).fill)")
    assert set(ticks) == {words}
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    lines = page.locator(".ac-figure path.js-line").evaluate_all("e => e.map((l) => getComputedStyle(l).stroke)")
    assert ground not in lines
    context.close()


@pytest.mark.parametrize("path", PAGES)
def test_no_page_scrolls_sideways_when_narrow(shared: Page, address: str, path: str) -> None:
    shared.set_viewport_size({"width": NARROW, "height": 640})
    shared.goto(where(address, path))
    draw_all(shared)
    assert shared.evaluate("document.documentElement.scrollWidth") <= NARROW


def test_a_wide_formula_scrolls_by_itself(page: Page, address: str) -> None:
    page.set_viewport_size({"width": NARROW, "height": 640})
    page.goto(where(address, "workshop/activations"))
    wide = page.locator(".ac-display").evaluate_all("e => e.filter((f) => f.scrollWidth > f.clientWidth).length")
    assert wide > 0
    formula = page.get_by_role("group", name="Formula").last
    formula.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 0")


def test_without_its_library_a_chart_says_so_and_opens_its_numbers(page: Page, address: str) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.route("**/plotly.min.js", lambda route: route.abort())
    page.goto(where(address, "workshop/compute-cost"))
    figure = page.locator(".ac-figure")
    expect(figure.locator("table")).not_to_be_visible()
    figure.scroll_into_view_if_needed()
    expect(figure.get_by_text("cannot be drawn")).to_be_visible()
    expect(figure.locator("table")).to_be_visible()
    assert figure.locator(".ac-figure__plot").bounding_box()["height"] < 100, "no room is kept for nothing"
    # another scheme has nothing to draw either
    page.evaluate("document.body.setAttribute('data-md-color-scheme', 'slate')")
    expect(figure.get_by_text("cannot be drawn")).to_have_count(1)
    assert errors == []


@pytest.mark.parametrize("path", [*PAGES, "no/such/page"])
def test_a_page_works_without_inline_code(browser: Browser, address: str, site: Path, path: str) -> None:
    policy = (site / "content-security-policy.txt").read_text("utf-8").strip()
    assert "unsafe" not in policy
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    blocked: list[str] = []
    page.on("console", lambda message: blocked.append(message.text) if "Content Security" in message.text else None)

    def guarded(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, headers={**answer.headers, "content-security-policy": policy})

    page.route(re.compile(r"/$"), guarded)
    page.goto(where(address, path))
    draw_all(page)
    for part in page.locator(".ac-explorer, .ac-player, .ac-map").all():
        expect(part).to_have_attribute("data-ready", "true")
    context.close()
    assert blocked == []
