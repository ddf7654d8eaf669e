"""What search engines, shared links and lost readers see: descriptions, the preview image, the sitemap, 404.html."""

import json
import re
import struct
import xml.etree.ElementTree as ElementTree
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import mkdocs_hooks
import pytest
from playwright.sync_api import Page, expect

from actckpt import estimate

pytest_plugins = ["built_site"]

ROOT = Path(__file__).resolve().parent.parent
# what scripts/test and the site fixture build with
SITE_URL = "https://example.org/actckpt/"
PREVIEW = ROOT / "docs/assets/preview.png"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, str]:
    """The HTML of every page, by its address below the site's root."""
    files = [file for file in sorted(site.rglob("index.html")) if "assets" not in file.relative_to(site).parts]
    html = {file.relative_to(site).as_posix().removesuffix("index.html"): file.read_text("utf-8") for file in files}
    assert f'<link rel="canonical" href="{SITE_URL}">' in html[""], f"build the site with SITE_URL={SITE_URL}"
    return html


def meta(html: str, name: str) -> str:
    """The content of a meta element, or nothing."""
    found = re.search(rf'<meta (?:name|property)="{re.escape(name)}" content="([^"]*)">', html)
    return unescape(found[1]) if found else ""


def test_every_page_says_what_it_is_about(pages: dict[str, str]) -> None:
    descriptions = {path: meta(html, "description") for path, html in pages.items()}
    for path, description in descriptions.items():
        assert 30 <= len(description) <= 200, f"{path}: {description!r}"
        others = [other for other, text in descriptions.items() if text == description]
        assert others == [path], f"one description for {others}"


def test_every_page_has_a_preview(pages: dict[str, str], site: Path) -> None:
    for path, html in pages.items():
        assert '<html lang="en"' in html
        assert meta(html, "og:title"), path
        assert meta(html, "og:description") == meta(html, "description")
        assert meta(html, "og:url") == SITE_URL + path
        image = meta(html, "og:image")
        assert image.startswith(SITE_URL)
        assert (site / image.removeprefix(SITE_URL)).is_file()
        assert meta(html, "twitter:card") == "summary_large_image"


def chunks(png: bytes) -> dict[bytes, bytes]:
    """The chunks of a PNG by their type, the last of each."""
    found, at = {}, 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        found[png[at + 4 : at + 8]] = png[at + 8 : at + 8 + length]
        at += 12 + length
    return found


def test_preview_image_shows_what_the_package_computes() -> None:
    png = chunks(PREVIEW.read_bytes())
    assert struct.unpack(">II", png[b"IHDR"][:8]) == (1200, 630)
    assert PREVIEW.stat().st_size <= 150 * 1024
    shown = json.loads(png[b"tEXt"].partition(b"\0")[2])
    step = estimate("llama-3.1-8b", seq_len=16_384, policy="every_2", data_parallel=8)
    renew = "the picture is out of date: build the site and run scripts/preview_image.py"
    assert shown["total"] == step.peak_bytes, renew
    assert {name: shown[name] for name in step.by_component()} == step.by_component(), renew


def test_sitemap_lists_every_page(pages: dict[str, str], site: Path) -> None:
    tree = ElementTree.parse(site / "sitemap.xml")
    listed = [place.text for place in tree.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")]
    assert sorted(listed) == sorted(SITE_URL + path for path in pages)


def test_no_sitemap_without_an_address(tmp_path: Path) -> None:
    bundle = tmp_path / "assets/javascripts/bundle.0.min.js"
    bundle.parent.mkdir(parents=True)
    for address, stays in ((SITE_URL, True), ("", False)):
        bundle.write_text(mkdocs_hooks.INDEX[0] + mkdocs_hooks.COPY[0], encoding="utf-8")
        (tmp_path / "sitemap.xml").touch()
        mkdocs_hooks.on_post_build(SimpleNamespace(site_url=address, site_dir=str(tmp_path)))
        assert (tmp_path / "sitemap.xml").exists() == stays


def test_publishing_gives_the_address() -> None:
    workflow = (ROOT / ".github/workflows/pages.yml").read_text("utf-8")
    build = workflow[workflow.index("mkdocs build") :]
    assert re.search(r"SITE_URL: \$\{\{ steps\.pages\.outputs\.base_url \}\}/\n", build)


def test_a_missing_page_has_a_way_on(page: Page, address: str, pages: dict[str, str]) -> None:
    failed = []
    page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
    wrong = f"{address}workshop/no/such/page/"
    answer = page.goto(wrong)
    assert answer is not None
    assert answer.status == 404
    page.wait_for_load_state("networkidle")
    assert failed == [wrong], "styles and scripts have to load at any depth"
    links = page.locator("article a").evaluate_all("links => links.map((a) => a.href)")
    assert sorted(links) == sorted(address + path for path in pages)
    page.locator("article").get_by_role("link", name="Compute cost").click()
    expect(page.locator("h1")).to_contain_text("Compute cost")


def test_own_icon(pages: dict[str, str], site: Path) -> None:
    icon = site / "assets/favicon.svg"
    assert icon.read_bytes() == (ROOT / "docs/assets/favicon.svg").read_bytes()
    for path, html in pages.items():
        assert '<link rel="icon" href="' + "../" * path.count("/") + 'assets/favicon.svg">' in html, path
