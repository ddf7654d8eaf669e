"""The built site in a real browser: every page, in both schemes, on a phone, a tablet and a desk, and on paper."""

import gzip
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from actckpt import estimate

pytest_plugins = ["built_site"]

DOCS = Path(__file__).resolve().parent.parent / "docs"
SOURCES = [*DOCS.rglob("*.md"), *(DOCS / "labs").glob("*.py")]
# every page, as its address ends
PAGES = sorted(str(file.relative_to(DOCS).with_suffix("")).removesuffix("index") for file in SOURCES)
WIDTHS = (375, 768, 1400)
SCHEMES = {"light": "default", "dark": "slate"}
# a sheet of A4 between its margins
PAPER = {"width": 718, "height": 1010}
KB = 1024

Visit = Callable[[str, int, str], tuple[Page, list[str]]]


@pytest.fixture(scope="module")
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    """Open a page in a context that the tests of a scheme share; the list gets whatever is wrong with it."""
    opened: dict[str, tuple[Page, list[str]]] = {}

    def open_page(scheme: str, width: int, path: str) -> tuple[Page, list[str]]:
        if scheme not in opened:
            page = browser.new_context(color_scheme=scheme).new_page()
            opened[scheme] = page, listen(page, address)
        page, complaints = opened[scheme]
        page.set_viewport_size({"width": width, "height": 900})
        complaints.clear()
        page.goto(f"{address}{path}/" if path else address)
        return page, complaints

    yield open_page
    for page, _ in opened.values():
        page.context.close()


def listen(page: Page, address: str) -> list[str]:
    """What a page complains of from now on: console messages, errors, failed requests, requests to other hosts."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("response", lambda answer: found.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    page.on("request", lambda asked: found.append(asked.url) if not asked.url.startswith((address, "data:")) else None)
    return found


def test_the_tests_know_every_page(site: Path) -> None:
    built = {file.parent.relative_to(site).as_posix().replace(".", "", 1) for file in site.rglob("index.html")}
    assert built == set(PAGES)


@pytest.mark.parametrize(("scheme", "width", "path"), list(product(SCHEMES, WIDTHS, PAGES)))
def test_page(visit: Visit, scheme: str, width: int, path: str) -> None:
    page, complaints = visit(scheme, width, path)
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", SCHEMES[scheme])
    for figure in page.locator(".ac-figure").all():
        figure.scroll_into_view_if_needed()
        expect(figure).to_have_attribute("data-drawn", SCHEMES[scheme])
        assert figure.locator("svg.main-svg").first.bounding_box()["width"] > 0.8 * figure.bounding_box()["width"]
    for explorer in page.locator(".ac-explorer").all():
        expect(explorer).to_have_attribute("data-ready", "true")
        fits = explorer.locator(".ac-bar, .ac-columns, .ac-policies").evaluate(
            "e => e.scrollWidth <= e.clientWidth + 1"
        )
        assert fits, "a bar or its labels stand out of the explorer"
    if width == max(WIDTHS):
        page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []


# what a sheet of paper cuts off, and what stands out of it
CLIPPED = """width => [...document.querySelectorAll("article *")].filter((e) => {
  const style = getComputedStyle(e), box = e.getBoundingClientRect();
  if (!e.checkVisibility() || !box.width || style.position === "absolute") return false;
  if (e.closest("svg, math, .ac-hidden, .ac-segment, .ac-figure__plot")) return false;
  const cut = style.overflowX !== "visible" && e.scrollWidth > e.clientWidth + 1;
  // spaces at the end of an inline element's line may hang over
  return cut || (style.display !== "inline" && box.right > width + 1);
}).map((e) => `${e.tagName}.${e.className}: ${e.scrollWidth} of ${e.clientWidth}: ${e.textContent.slice(0, 60)}`)"""


@pytest.mark.parametrize("path", PAGES)
def test_print(visit: Visit, path: str) -> None:
    page, complaints = visit("dark", PAPER["width"], path)
    page.emulate_media(media="print")
    for figure in page.locator(".ac-figure").all():
        expect(figure).to_have_attribute("data-drawn", "slate")
    colors = [page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color")]
    channels = [[int(number) for number in color[color.index("(") + 1 : -1].split(",")[:3]] for color in colors]
    clipped = page.evaluate(CLIPPED, PAPER["width"])
    page.emulate_media(media="screen")
    assert min(channels[0]) > 230, "the paper is white"
    assert max(channels[1]) < 80, "the words are dark"
    assert clipped == []
    assert complaints == []


def test_home_is_light(browser: Browser, address: str, site: Path) -> None:
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    shipped: dict[str, int] = {}

    def weigh(url: str) -> None:
        name = urlsplit(url).path.removeprefix("/actckpt/") or "index.html"
        shipped[name] = len(gzip.compress((site / name).read_bytes()))

    context.on("request", lambda request: weigh(request.url))
    page.goto(address)
    page.wait_for_load_state("networkidle")
    context.close()
    scripts = {name: size for name, size in shipped.items() if name.endswith(".js")}
    assert len(scripts) >= 3
    assert sum(scripts.values()) <= 60 * KB, scripts
    assert sum(shipped.values()) <= 120_000, shipped


def test_scheme_toggle_redraws_figures(page: Page, address: str) -> None:
    page.goto(address)
    figure = page.locator(".ac-figure").first
    figure.scroll_into_view_if_needed()
    expect(figure).to_have_attribute("data-drawn", "default")
    colors = [figure.locator(".scatterlayer path.js-line").first.evaluate("e => getComputedStyle(e).stroke")]
    page.evaluate("document.body.setAttribute('data-md-color-scheme', 'slate')")
    expect(figure).to_have_attribute("data-drawn", "slate")
    colors.append(figure.locator(".scatterlayer path.js-line").first.evaluate("e => getComputedStyle(e).stroke"))
    assert colors == ["rgb(0, 114, 178)", "rgb(86, 180, 233)"]


def test_plotly_is_loaded_once_and_only_when_needed(page: Page, address: str) -> None:
    bundles: list[str] = []
    page.on("request", lambda request: bundles.append(request.url) if "plotly" in request.url else None)
    page.goto(address)
    page.wait_for_load_state("networkidle")
    assert bundles == [], "nothing on the first screen is a chart"
    page.goto(address + "workshop/memory-over-sequence-length/")
    for figure in page.locator(".ac-figure").all():
        figure.scroll_into_view_if_needed()
        expect(figure).to_have_attribute("data-drawn", "default")
    assert len(bundles) == 1


def test_search_loads_its_index_when_it_is_opened(page: Page, address: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_load_state("networkidle")
    assert not any("search_index" in url for url in asked)
    page.keyboard.press("/")
    page.keyboard.type("online softmax")
    found = page.locator(".md-search-result__link")
    expect(found.first).to_be_visible()
    assert any("flash-attention" in link for link in found.evaluate_all("links => links.map((a) => a.href)"))


def test_without_script(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    step = estimate("llama-3.1-8b", seq_len=16_384, policy="every_2", data_parallel=8)
    assert page.locator(".ac-total data").get_attribute("value") == str(step.peak_bytes)
    assert page.locator(".ac-figure details table").first.is_visible()
    context.close()
