"""The players and the map in a real browser: play, pause, step, choose, keys, reduced motion, no script, print."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from book.quantities import block_map as block
from book.quantities.steps import LONG, MODEL
from playwright.sync_api import Browser, Locator, Page, expect

from actckpt import estimate

pytest_plugins = ["built_site"]
pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture
def players(site: Path) -> list[tuple[str, str]]:
    """Every player of the site: the page that it is on, and its id."""
    return [
        (f"{file.parent.relative_to(site)}/", name)
        for file in sorted(site.rglob("index.html"))
        for name in re.findall(r'<figure class="ac-player" id="([^"]+)"', file.read_text(encoding="utf-8"))
    ]


def opened(page: Page, address: str, where: str, name: str) -> Locator:
    page.goto(address + where)
    player = page.locator(f"#{name}")
    expect(player).to_have_attribute("data-ready", "true")
    player.scroll_into_view_if_needed()
    return player


def frame(player: Locator) -> int:
    return int(player.get_attribute("data-frame"))


def off(player: Locator) -> list[bool]:
    """Which of the parts that come and go are not shown."""
    return player.locator("[data-on]").evaluate_all("parts => parts.map((part) => part.classList.contains('is-off'))")


def said(player: Locator) -> str:
    return player.locator(".ac-player__now").inner_text()


def test_there_are_players(players: list[tuple[str, str]]) -> None:
    assert {"baseline", "checkpointing"} <= {name for _, name in players}


def test_every_frame_shows_and_says_something_of_its_own(
    page: Page, address: str, players: list[tuple[str, str]]
) -> None:
    for where, name in players:
        player = opened(page, address, where, name)
        last, still = int(player.get_attribute("data-frames")) - 1, int(player.get_attribute("data-still"))
        slider = player.get_by_role("slider", name="Step")
        sentences = player.locator(".ac-player__frames > li").all_text_contents()
        assert len(sentences) == last + 1
        as_published, seen = off(player), []
        slider.focus()
        page.keyboard.press("Home")
        for index in range(last + 1):
            assert frame(player) == index
            assert player.locator(".ac-player__now").text_content() == sentences[index]
            expect(player.locator("output")).to_have_text(f"{index + 1} of {last + 1}")
            seen.append((tuple(off(player)), said(player)))
            if index == still:
                assert off(player) == as_published, f"{name}: the still frame is another with the script"
            page.keyboard.press("ArrowRight")
        for one, next_one in pairwise(seen):
            assert one[0] != next_one[0], f"{name}: two frames in a row show the same"
            assert one[1] != next_one[1], f"{name}: two frames in a row say the same"


def test_buttons_and_keys(page: Page, address: str, players: list[tuple[str, str]]) -> None:
    for where, name in players:
        player = opened(page, address, where, name)
        last = int(player.get_attribute("data-frames")) - 1
        player.focus()
        page.keyboard.press("Home")
        assert frame(player) == 0
        page.keyboard.press("ArrowLeft")
        assert frame(player) == 0
        page.keyboard.press("ArrowRight")
        player.get_by_role("button", name="Forward").click()
        assert frame(player) == 2
        player.get_by_role("button", name="Back").click()
        page.keyboard.press("ArrowLeft")
        assert frame(player) == 0
        player.focus()
        page.keyboard.press("End")
        assert frame(player) == last
        player.get_by_role("button", name="Forward").click()
        assert frame(player) == 0, "past the end lies the beginning"


def test_it_plays_pauses_and_starts_over(browser: Browser, address: str, players: list[tuple[str, str]]) -> None:
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.clock.install()
    for where, name in players:
        player = opened(page, address, where, name)
        last = int(player.get_attribute("data-frames")) - 1
        pace = 1000 * float(player.get_attribute("data-seconds"))
        still = frame(player)
        page.clock.run_for(5 * pace)
        assert frame(player) == still, f"{name} started by itself"
        player.focus()
        page.keyboard.press("End")
        player.get_by_role("button", name="Play").click()
        assert frame(player) == 0, "at the end, playing starts over"
        page.clock.run_for(2 * pace + 1)
        assert frame(player) == 2
        assert player.locator(".ac-player__now").get_attribute("aria-live") == "off"
        player.get_by_role("button", name="Pause").click()
        page.clock.run_for(3 * pace)
        assert frame(player) == 2, "paused"
        assert player.locator(".ac-player__now").get_attribute("aria-live") == "polite"
        player.focus()
        page.keyboard.press("Space")
        page.clock.run_for(pace * (last + 3))
        assert frame(player) == last, "it stops at the end"
        expect(player.get_by_role("button", name="Play")).to_be_visible()
    context.close()


def test_nothing_moves_where_less_motion_is_asked_for(page: Page, address: str, players: list[tuple[str, str]]) -> None:
    for where, name in players:
        player = opened(page, address, where, name)
        durations = player.locator("[data-on]").evaluate_all(
            "parts => [...new Set(parts.map((part) => getComputedStyle(part).transitionDuration))]"
        )
        assert set(durations) <= {"0s"}
        player.get_by_role("button", name="Play").click()
        assert frame(player) == 0
        player.get_by_role("button", name="Pause").click()


def test_only_what_the_compositor_can_move_is_moved(
    browser: Browser, address: str, players: list[tuple[str, str]]
) -> None:
    context = browser.new_context()
    page = context.new_page()
    for where, name in players:
        player = opened(page, address, where, name)
        moved = player.locator("[data-on]").evaluate_all(
            "parts => [...new Set(parts.flatMap((part) => getComputedStyle(part).transitionProperty.split(', ')))]"
        )
        assert set(moved) <= {"opacity", "transform"}
    context.close()


def test_without_a_script(browser: Browser, address: str, players: list[tuple[str, str]]) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 375, "height": 800})
    page = context.new_page()
    for where, name in players:
        page.goto(address + where)
        player = page.locator(f"#{name}")
        assert player.locator(".ac-player__controls").is_hidden(), "nothing dead is shown"
        assert player.locator(".ac-player__frames > li").first.is_visible()
        assert said(player)
        assert player.locator("svg.ac-picture").locator("visible=true").count() == 1
    context.close()


def test_on_a_phone(browser: Browser, address: str, players: list[tuple[str, str]]) -> None:
    context = browser.new_context(viewport={"width": 375, "height": 800}, has_touch=True)
    page = context.new_page()
    for where, name in players:
        player = opened(page, address, where, name)
        for button in player.get_by_role("button").all():
            assert button.bounding_box()["height"] >= 44
        player.get_by_role("button", name="Forward").tap()
        assert frame(player) == 0
        sizes = player.locator("svg.ac-picture").evaluate_all(
            """drawings => drawings.filter((drawing) => drawing.clientWidth).flatMap((drawing) => {
              const scale = drawing.clientWidth / drawing.viewBox.baseVal.width;
              const texts = [...drawing.querySelectorAll("text")];
              return texts.map((text) => scale * parseFloat(getComputedStyle(text).fontSize));
            })"""
        )
        assert min(sizes) >= 11, f"{name}: {min(sizes):.1f} px"
    context.close()


def test_on_paper(page: Page, address: str, players: list[tuple[str, str]]) -> None:
    for where, name in players:
        player = opened(page, address, where, name)
        as_published = off(player)
        player.get_by_role("button", name="Forward").click()
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert off(player) == as_published
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert off(player) != as_published
        page.emulate_media(media="print")
        assert player.locator(".ac-player__controls").is_hidden()
        assert player.locator(".ac-player__frames > li").first.is_visible()
        page.emulate_media(media="screen")


MAP = "workshop/recomputation/"


def test_the_map_by_keyboard(page: Page, address: str) -> None:
    page.goto(address + MAP)
    drawn = page.locator(".ac-map")
    expect(drawn).to_have_attribute("data-policy", "full")
    page.get_by_role("radio", name="none").focus()
    for policy in block.CHOICES:
        page.keyboard.press("Space") if policy == "none" else page.keyboard.press("ArrowRight")
        expect(drawn).to_have_attribute("data-policy", policy)
        ledger = estimate(MODEL, seq_len=LONG, policy=policy).block
        assert drawn.locator(".ac-total:not(.is-off) data").get_attribute("value") == str(ledger.bytes)
        wide = drawn.locator(".ac-picture--wide [data-in]:not(.is-off) title").all_text_contents()
        assert len(wide) == sum(len(row.tensors) for row in block.ROWS)
        assert page.url.endswith(f"?policy={policy}")


def test_the_map_restores_a_shared_address(page: Page, address: str) -> None:
    page.goto(f"{address}{MAP}?policy=save_attention")
    assert page.get_by_role("radio", name="save_attention").is_checked()
    expect(page.locator(".ac-map")).to_have_attribute("data-policy", "save_attention")
    page.goto(f"{address}{MAP}?policy=%3Cb%3E")
    expect(page.locator(".ac-map")).to_have_attribute("data-policy", block.OPENS)


def test_the_map_without_a_script(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 375, "height": 800})
    page = context.new_page()
    page.goto(address + MAP)
    drawn = page.locator(".ac-map")
    assert drawn.locator("form").is_hidden()
    assert drawn.locator("table").is_visible()
    ledger = estimate(MODEL, seq_len=LONG, policy=block.OPENS).block
    assert drawn.locator(".ac-total:not(.is-off) data").get_attribute("value") == str(ledger.bytes)
    context.close()


def test_the_map_by_touch(browser: Browser, address: str) -> None:
    context = browser.new_context(viewport={"width": 375, "height": 800}, has_touch=True)
    page = context.new_page()
    page.goto(address + MAP)
    choice = page.locator(".ac-map label", has_text="pointwise")
    choice.tap()
    assert choice.bounding_box()["height"] >= 44
    expect(page.locator(".ac-map")).to_have_attribute("data-policy", "pointwise")
    context.close()
