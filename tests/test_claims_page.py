"""The page of claims in a real browser: the filter by verdict, with and without script, and by keyboard."""

import pytest
from playwright.sync_api import Browser, Page, expect

pytest_plugins = ["built_site"]
pytestmark = pytest.mark.xdist_group("browser")

VERDICTS = ("holds", "only-when", "fails", "cited")


def visible(page: Page) -> int:
    return page.locator(".ac-claim:visible").count()


def test_the_filter_shows_what_its_label_counts(page: Page, address: str) -> None:
    page.goto(f"{address}evidence/claims/")
    total = page.locator(".ac-claim").count()
    assert visible(page) == total == int(page.locator("label:has(#verdict-all) data").inner_text())
    shown = 0
    for verdict in VERDICTS:
        page.locator(f"label:has(#verdict-{verdict})").click()
        count = visible(page)
        assert count == page.locator(f".ac-claim[data-verdict='{verdict}']:visible").count() > 0
        assert count == int(page.locator(f"label:has(#verdict-{verdict}) data").inner_text())
        shown += count
    assert shown == total
    # sections without any say so
    assert page.locator(".ac-claims__none:visible").count() > 0


def test_the_index_has_every_claim_on_a_line_and_is_filtered_too(page: Page, address: str) -> None:
    page.goto(f"{address}evidence/claims/")
    lines = page.locator(".ac-claims-index tr[data-verdict]")
    claims = page.locator(".ac-claim")
    verdict = "e => e.map((claim) => claim.dataset.verdict).sort()"
    assert lines.evaluate_all(verdict) == claims.evaluate_all(verdict)
    said = lines.locator("a").evaluate_all("e => e.map((a) => [a.hash.slice(1), a.textContent])")
    assert sorted(said) == sorted(
        claims.evaluate_all("e => e.map((c) => [c.id, c.querySelector('.ac-claim__says').textContent])")
    )
    page.locator("label:has(#verdict-fails)").click()
    assert page.locator(".ac-claims-index tr[data-verdict]:visible").count() == visible(page)
    # a section without any has no heading
    headings, groups = page.locator(".ac-claims-index .ac-group:visible"), page.locator(".ac-claims-index .ac-group")
    assert 0 < headings.count() < groups.count()
    lines.locator("a:visible").first.click()
    assert page.locator(".ac-claim:target").count() == 1


@pytest.mark.parametrize("width", [375, 1400])
def test_names_of_tests_break_nowhere(page: Page, address: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{address}evidence/claims/")
    page.locator(".ac-claim details").evaluate_all("e => e.forEach((d) => { d.open = true; })")
    lines = page.locator(".ac-tests code").evaluate_all(
        "e => e.map((c) => Math.round(c.offsetHeight / parseFloat(getComputedStyle(c).lineHeight)))"
    )
    assert set(lines) == {1}
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_filter_works_by_keyboard(page: Page, address: str) -> None:
    page.goto(f"{address}evidence/claims/")
    page.locator("#verdict-all").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#verdict-holds")).to_be_checked()
    assert visible(page) == page.locator(".ac-claim[data-verdict='holds']").count()


def test_without_script_the_list_is_whole_and_the_filter_works(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}evidence/claims/")
    # nothing is evaluated in a page without script: the accessibility tree says what is shown
    assert page.locator(".ac-claim").first.is_visible()
    page.locator("label:has(#verdict-cited)").click()
    assert not page.locator(".ac-claim[data-verdict='fails']").first.is_visible()
    assert page.locator(".ac-claim[data-verdict='cited']").first.is_visible()
    context.close()
