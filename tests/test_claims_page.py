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
