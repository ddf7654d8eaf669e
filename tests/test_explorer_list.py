"""The home page's list of policies: its order, what fits, by keyboard, touch and phone, without a script, by links."""

import random
import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from playwright.sync_api import Browser, Page
from test_explorers import expected, shown

from actckpt import ACCELERATORS, POLICIES, InputError, estimate
from actckpt.step import Step

pytest_plugins = ["built_site"]

NBSP = "\u00a0"
CARDS = {"a100-80gb": "A100", "h100-80gb": "H100", "h200-141gb": "H200", "b200-192gb": "B200"}
HOME = {"model": "llama-3.1-8b", "seq_len": 16_384, "data_parallel": 8}


def gib(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:,.1f}{NBSP}GiB"


def by_cost(**asked: object) -> list[Step]:
    """The steps of every policy that there is, fewest FLOPs first."""
    steps = []
    for policy in POLICIES:
        try:
            steps.append(estimate(policy=policy, **asked))
        except InputError:
            continue
    return sorted(steps, key=lambda step: step.flops.overhead)


def rows(page: Page) -> list[list[str]]:
    """Of each policy in the list: its name, the remark, the peak, what it adds, and the cards that it fits."""
    return page.locator("label.ac-policy:visible").evaluate_all(
        """rows => rows.map((row) => [
          row.querySelector("input").value, row.querySelector("small").textContent,
          row.querySelector(".ac-peak").textContent, row.querySelector(".ac-more").firstChild.data,
          row.querySelector(".ac-holds").textContent])"""
    )


def check_list(page: Page, card: str, **asked: object) -> tuple[Step | None, Step | None]:
    """The list is as the package has it; the cheapest that fits, and the nearest miss before it."""
    steps, memory = by_cost(**asked), ACCELERATORS[card].memory_bytes
    fits = [step for step in steps if step.peak_bytes <= memory]
    best = fits[0] if fits else None
    before = steps[: steps.index(best)] if best else steps
    miss = min(before, key=lambda step: step.peak_bytes, default=None)
    for (name, remark, peak, more, holds), step in zip(rows(page), steps, strict=True):
        assert (name, peak) == (step.policy.name, gib(step.peak_bytes))
        assert abs(float(more.removesuffix(f"{NBSP}%")) - 100 * step.flops.overhead) < 0.0501
        held = [label for each, label in CARDS.items() if step.peak_bytes <= ACCELERATORS[each].memory_bytes]
        assert holds == (", ".join(held) or "none")
        over = step.peak_bytes - memory
        sold = ACCELERATORS[card].datasheet_bytes // 10**9
        far = f"as large as {-(-step.peak_bytes // memory):,} cards of {sold}{NBSP}GB"
        missed = far if over > memory else f"too large by {gib(over)}"
        assert remark == ("cheapest that fits" if step is best else missed if step is miss else "")
    marked = page.locator("label.ac-policy.ac-best:visible").evaluate_all("rows => rows.map((r) => r.dataset.policy)")
    assert marked == ([best.policy.name] if best else [])
    return best, miss


def test_the_list_answers_which_policy(page: Page, address: str) -> None:
    page.goto(address)
    best, miss = check_list(page, "h100-80gb", **HOME)
    assert best is not None
    assert miss is not None
    # the answer is what is shown until somebody chooses
    assert shown(page) == expected(best)
    answer = page.locator(".ac-answer").inner_text()
    assert "The cheapest that fits." in answer
    assert gib(ACCELERATORS["h100-80gb"].memory_bytes - best.peak_bytes) in answer
    assert f"of {gib(ACCELERATORS['h100-80gb'].memory_bytes)}" in answer


@pytest.mark.parametrize("seed", range(4))
def test_the_list_is_the_packages_whatever_is_chosen(page: Page, address: str, seed: int) -> None:
    chosen = random.Random(seed)
    page.goto(address)
    for _ in range(12):
        state = page.evaluate(
            """seed => {
              let next = seed;
              const all = "model accounting attention card batch_size ranks optimizer seq_len";
              for (const name of all.split(" ")) {
                const inputs = [...document.querySelectorAll(`.ac-explorer [name=${name}]`)];
                next = (next * 48271) % 2147483647;
                const input = inputs[next % inputs.length];
                if (input.disabled) continue;
                if (input.type === "radio") input.click();
                else {
                  if (input.options) input.selectedIndex = next % input.options.length;
                  else input.value = next % (Number(input.max) + 1);
                  input.dispatchEvent(new Event("input", { bubbles: true }));
                  input.dispatchEvent(new Event("change", { bubbles: true }));
                }
              }
              return Object.fromEntries(new URLSearchParams(location.search));
            }""",
            chosen.randint(1, 2**31 - 2),
        )
        asked = {name: state[name] for name in ("model", "accounting", "attention", "optimizer")}
        sizes = {"seq_len": state["seq_len"], "batch_size": state["batch_size"], "data_parallel": state["ranks"]}
        asked |= {name: int(size) for name, size in sizes.items()}
        best, miss = check_list(page, state["card"], **asked)
        assert shown(page) == expected(best or miss), state


def test_bars_are_drawn_on_one_scale_with_the_cards(page: Page, address: str) -> None:
    page.goto(address)
    card = ACCELERATORS["h100-80gb"].memory_bytes
    ends = page.locator("label.ac-policy .ac-track").evaluate_all(
        """tracks => tracks.map((track) => {
          const box = track.getBoundingClientRect();
          const line = track.querySelector(".ac-line.ac-is-chosen").getBoundingClientRect();
          const parts = [...track.querySelectorAll("rect")].map((rect) => rect.width.baseVal.value);
          return [parts.reduce((a, b) => a + b), line.x + line.width / 2 - box.x];
        })"""
    )
    steps = by_cost(**HOME)
    for (bar, line), step in zip(ends, steps, strict=True):
        assert bar / line == pytest.approx(step.peak_bytes / card, rel=0.01)
    # beyond the picture a bar is torn
    page.locator("[name=ranks]").select_option("1")
    page.locator("[name=model]").select_option("llama-3.1-70b")
    assert page.locator("label.ac-policy.ac-cut .ac-tear path").first.is_visible()


def test_flags_never_stand_on_one_another(browser: Browser, address: str) -> None:
    for width in (320, 375, 800, 1400):
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.goto(address + "?model=gpt-1t&seq_len=131072&ranks=1")
        for card in CARDS:
            page.locator(f"input[name=card][value={card}]").focus()
            page.keyboard.press("Space")
            flags = page.locator(".ac-flag:visible").evaluate_all(
                "flags => flags.map((flag) => flag.getBoundingClientRect()).map((b) => [b.left, b.right])"
            )
            assert len(flags) >= 2
            flags.sort()
            assert all(left[1] <= right[0] for left, right in pairwise(flags)), (width, card)
        page.close()


def test_what_is_far_too_large_is_counted_in_cards(page: Page, address: str) -> None:
    page.goto(address + "?model=llama-3.1-405b&ranks=1&batch_size=4&seq_len=32768&policy=none")
    step = estimate("llama-3.1-405b", seq_len=32_768, batch_size=4)
    cards = -(-step.peak_bytes // ACCELERATORS["h100-80gb"].memory_bytes)
    assert cards > 150
    assert f"as large as {cards} cards of 80{NBSP}GB" in page.locator(".ac-answer").inner_text()
    page.goto(address + "workshop/training-memory/?seq_len=16384&accounting=workshop")
    peak = estimate("llama-3.1-8b", seq_len=16_384, accounting="workshop").peak_bytes
    fits = page.locator(".ac-fit li").all_inner_texts()
    assert [int(re.search(r"as large as ([\d,]+) cards", text)[1]) for text in fits] == [
        -(-peak // ACCELERATORS[card].memory_bytes) for card in CARDS
    ]
    flags = page.locator(".ac-flag").evaluate_all(
        "f => f.map((flag) => flag.getBoundingClientRect()).map((b) => b.left)"
    )
    assert min(b - a for a, b in pairwise(flags)) > 20


def test_home_explorer_by_keyboard(page: Page, address: str) -> None:
    page.goto(address)
    asked: dict[str, object] = {**HOME}
    page.get_by_label("Model").focus()
    page.keyboard.press("ArrowDown")
    asked["model"] = "llama-3.1-70b"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    asked["seq_len"] = 24_576
    check_list(page, "h100-80gb", **asked)
    # the controls follow one another, and then the list
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    asked["batch_size"] = 2
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    asked["data_parallel"] = 16
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    asked["optimizer"] = "adam-bf16"
    best, miss = check_list(page, "h200-141gb", **asked)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    asked["accounting"] = "paper"
    best, miss = check_list(page, "h200-141gb", **asked)
    assert shown(page) == expected(best or miss)
    page.keyboard.press("Tab")
    steps = by_cost(**asked)
    at = steps.index(next(step for step in steps if step.policy == (best or miss).policy))
    page.keyboard.press("ArrowUp")
    assert shown(page) == expected(steps[at - 1])
    assert page.evaluate("document.activeElement.value") == steps[at - 1].policy.name
    # a choice is kept, and given back by the button
    page.locator(".ac-take").press("Enter")
    assert shown(page) == expected(best or miss)
    assert "policy=" not in page.url
    assert page.locator(".ac-total").get_attribute("aria-live") == "polite"


def test_by_touch(browser: Browser, address: str) -> None:
    context = browser.new_context(viewport={"width": 375, "height": 812}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(address)
    page.locator("label:has(input[name=accounting][value=paper])").tap()
    page.locator("label:has(input[name=optimizer][value=adam-8bit])").tap()
    page.locator("label:has(input[name=card][value=b200-192gb])").tap()
    slider = page.get_by_role("slider", name="Sequence length")
    slider.evaluate("slider => slider.scrollIntoView({ block: 'center' })")
    box = slider.bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] - 8, box["y"] + box["height"] / 2)
    asked = {**HOME, "seq_len": 131_072, "accounting": "paper", "optimizer": "adam-8bit"}
    best, miss = check_list(page, "b200-192gb", **asked)
    assert shown(page) == expected(best or miss)
    page.locator("label[data-policy=core_attention]").tap()
    assert shown(page) == expected(estimate(policy="core_attention", **asked))
    context.close()


@pytest.fixture
def phone(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 375, "height": 667}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(address)
    yield page
    context.close()


def test_on_a_phone_the_answer_stays_in_sight_while_one_chooses(phone: Page) -> None:
    controls = phone.locator(".ac-control:visible")
    assert controls.count() >= 7
    header = phone.locator(".md-header").bounding_box()
    for control in controls.all():
        control.evaluate("control => control.scrollIntoView({ block: 'end' })")
        answer = phone.locator(".ac-answer").bounding_box()
        assert answer["y"] >= header["y"] + header["height"] - 1
        assert answer["y"] + answer["height"] <= control.bounding_box()["y"] + 1
        # and it leaves room for what one chooses
        assert answer["height"] < 667 / 4
    # the list passes it
    phone.locator(".ac-parts").scroll_into_view_if_needed()
    assert phone.locator(".ac-answer").bounding_box()["y"] < 0
    assert phone.evaluate("document.documentElement.scrollWidth") == 375


@pytest.mark.parametrize("width", [375, 412, 500])
def test_a_slider_moves_nothing_else(phone: Page, width: int) -> None:
    phone.set_viewport_size({"width": width, "height": 823})
    phone.evaluate(
        """() => { window.shift = 0; new PerformanceObserver((list) => {
          for (const entry of list.getEntries()) window.shift += entry.value; }).observe({ type: "layout-shift" }); }"""
    )
    slider = phone.get_by_role("slider", name="Sequence length")
    for value in (*range(15), 3, 14, 0):
        slider.evaluate(
            """(slider, value) => { slider.value = value;
            slider.dispatchEvent(new Event("input", { bubbles: true })); }""",
            value,
        )
        phone.wait_for_timeout(40)
    # what is out of sight follows
    phone.wait_for_timeout(400)
    asked = {**HOME, "seq_len": 1024}
    best, _ = check_list(phone, "h100-80gb", **asked)
    assert shown(phone) == expected(best)
    assert phone.evaluate("window.shift") < 0.01


def test_without_a_script_the_answer_stands_at_full_width(browser: Browser, address: str) -> None:
    for width in (375, 1400):
        context = browser.new_context(java_script_enabled=False, viewport={"width": width, "height": 900})
        page = context.new_page()
        page.goto(address)
        assert page.locator(".ac-controls").is_hidden()
        assert page.locator(".ac-copy:visible").count() == 0
        assert page.locator(".ac-policies input:visible").count() == 0
        frame, result = (page.locator(name).bounding_box() for name in (".ac-explorer", ".ac-result"))
        assert result["width"] > 0.9 * frame["width"] - 20
        best = next(s for s in by_cost(**HOME) if s.peak_bytes <= ACCELERATORS["h100-80gb"].memory_bytes)
        assert page.locator(".ac-total data").get_attribute("value") == str(best.peak_bytes)
        assert page.locator("label.ac-policy:visible").count() == len(POLICIES)
        assert (
            f"--policy {best.policy.name} --accounting llama --data-parallel 8"
            in page.locator(".ac-command code").inner_text()
        )
        context.close()
