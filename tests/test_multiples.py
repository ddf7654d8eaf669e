"""The strategies side by side in a real browser: every number is the package's, by pointer, touch, keys and link."""

import re
from collections.abc import Iterator
from itertools import product

import pytest
from book.quantities import strategies
from playwright.sync_api import Browser, Locator, Page, expect

from actckpt import ACCELERATORS, estimate

pytest_plugins = ["built_site"]
pytestmark = pytest.mark.xdist_group("browser")

WHERE = "workshop/memory-over-sequence-length/"
MODELS = ("llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b")
COUNTED = {
    "flash": {},
    "eager": {"attention": "eager"},
    "paper": {"accounting": "paper"},
    "workshop": {"accounting": "workshop"},
}
POLICIES = ("none", "attention", "ffn", "both")
LONG, GIB = 16_384, 2**30
# the height of a plot, in pixels
PLOT = 260


@pytest.fixture
def panels(page: Page, address: str) -> Locator:
    return opened(page, address)


def opened(page: Page, address: str, query: str = "") -> Locator:
    page.goto(f"{address}{WHERE}{query}")
    figure = page.locator("#lengths")
    expect(figure).to_have_attribute("data-ready", "true")
    figure.scroll_into_view_if_needed()
    return figure


def totals(figure: Locator) -> list[int]:
    return figure.locator("data[data-part=total]").evaluate_all("all => all.map((data) => Number(data.value))")


def peaks(seq_len: int = LONG, model: str = MODELS[0], ranks: int = 1, **how: str) -> list[int]:
    return [
        estimate(model, seq_len=seq_len, policy=policy, data_parallel=ranks, **how).peak_bytes for policy in POLICIES
    ]


# what the page shows for a choice: what each panel says, and its columns and its bar in pixels
SHOWN = r"""([model, counted, ranks, scale, at]) => {
  const root = document.querySelector("#lengths"), form = root.querySelector("form");
  for (const [name, value] of Object.entries({ model, counted, ranks, scale })) form.elements[name].value = value;
  form.elements.seq_len.value = at;
  form.dispatchEvent(new Event("input"));
  const height = (e) => Number(e.getAttribute("height")), shown = (e) => getComputedStyle(e).display !== "none";
  return [...root.querySelectorAll(".ac-panel")].map((panel) => ({
    data: Object.fromEntries(
      [...panel.querySelectorAll("p data")].map((d) => [d.dataset.part, d.value || d.textContent])),
    // the top of every thin column, of whichever part is the highest there
    tops: [...panel.querySelectorAll(".ac-panel__columns path")].flatMap((path) =>
      [...path.getAttribute("d").matchAll(/M(\d+) [\d.]+V([\d.]+)/g)].map(([, at, y]) => [Number(at), Number(y)])),
    chosen: height(panel.querySelector(".ac-panel__chosen")),
    cut: shown(panel.querySelector(".ac-panel__cut")),
    bar: [...panel.querySelectorAll("rect.ac-part")].map(height),
    levels: [...panel.querySelectorAll(".ac-rung")].filter(shown).map((level) =>
      [Number(level.textContent.replace(/,/g, "")), Number(level.firstElementChild.getAttribute("y1"))]),
  }));
}"""


def test_every_number_of_the_panels(page: Page, panels: Locator) -> None:
    for model, counted, ranks, scale in product(MODELS, COUNTED, (1, 64), ("whole", "close")):
        how = COUNTED[counted]
        longest = peaks(LONG, model, ranks, **how)
        full = 1.04 * (max(longest) if scale == "whole" else min(longest))
        for at in (0, 9, 15):
            found = page.evaluate(SHOWN, [model, counted, str(ranks), scale, at])
            seq_len = 1024 * (at + 1)
            for policy, panel in zip(POLICIES, found, strict=True):
                step = estimate(model, seq_len=seq_len, policy=policy, data_parallel=ranks, **how)
                assert int(panel["data"]["total"]) == step.peak_bytes
                height = PLOT * min(1, step.peak_bytes / full)
                assert sum(panel["bar"]) == pytest.approx(height, abs=0.01)
                assert panel["chosen"] == pytest.approx(height, abs=0.01)
                assert min(y for place, y in panel["tops"] if place == at) == pytest.approx(PLOT - height, abs=0.01)
                longest_of_it = estimate(model, seq_len=LONG, policy=policy, data_parallel=ranks, **how).peak_bytes
                assert panel["cut"] == (longest_of_it > full)
                if policy != "none":
                    none = estimate(model, seq_len=seq_len, data_parallel=ranks, **how).peak_bytes
                    assert int(panel["data"]["saved"]) == none - step.peak_bytes
                    more = float(panel["data"]["more"].removesuffix("\u00a0%"))
                    assert more == pytest.approx(100 * step.flops.overhead, abs=0.0501)
            # from zero in even steps of 1, 2 or 5 times a power of ten GiB, on the same scale in every panel
            levels = [gib for gib, _ in found[0]["levels"]]
            assert levels == [index * levels[1] for index in range(len(levels))]
            assert 2 <= len(levels) <= 6
            assert str(levels[1]).rstrip("0") in ("1", "2", "5")
            for gib, y in found[0]["levels"]:
                assert y == pytest.approx(PLOT * (1 - gib * GIB / full), abs=0.01)
            assert all(panel["levels"] == found[0]["levels"] for panel in found)


def test_parts_are_drawn_to_scale_and_named(page: Page, panels: Locator) -> None:
    full = 1.04 * max(peaks())
    for policy in POLICIES:
        step = estimate(MODELS[0], seq_len=LONG, policy=policy)
        for part, n_bytes in step.by_component().items():
            rect, name = (panels.locator(f"[data-policy={policy}] {tag}.ac-part.ac-{part}") for tag in ("rect", "text"))
            height = PLOT * n_bytes / full
            assert float(rect.get_attribute("height")) == pytest.approx(height, abs=0.01)
            assert name.is_visible() == (height >= 15), f"{policy} {part}: {height}"
            if name.is_visible():
                words, box = name.bounding_box(), rect.bounding_box()
                assert words["x"] + words["width"] < box["x"] + box["width"], "a name is cut off"
                assert box["y"] < words["y"] + words["height"] / 2 < box["y"] + box["height"]


def test_by_pointer(page: Page, panels: Locator) -> None:
    place = panels.locator("[data-policy=ffn] .ac-panel__hit")
    box = place.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 3.5 / 16, box["y"] + 200)
    assert totals(panels) == peaks(4096)
    expect(panels.locator("form output")).to_have_text("4,096 tokens")
    page.mouse.move(box["x"] - 200, box["y"] - 300)
    assert totals(panels) == peaks(LONG), "what was chosen comes back"
    place.click(position={"x": box["width"] * 7.5 / 16, "y": 100})
    page.mouse.move(0, 0)
    assert totals(panels) == peaks(8192)
    # and the arrow keys go on from there
    page.keyboard.press("ArrowLeft")
    assert totals(panels) == peaks(7168)


def test_by_keyboard(page: Page, panels: Locator) -> None:
    page.get_by_role("slider", name="Sequence length").focus()
    page.keyboard.press("Home")
    assert totals(panels) == peaks(1024)
    assert panels.locator("input[type=range]").get_attribute("aria-valuetext") == "1,024 tokens"
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    assert totals(panels) == peaks(15_360)
    page.locator("#lengths input[name=counted]:checked").focus()
    page.keyboard.press("ArrowLeft")
    assert totals(panels) == peaks(15_360, accounting="workshop")
    spoken = panels.locator("[role=status]").inner_text()
    assert spoken.startswith("15,360 tokens: none ")
    assert "both" in spoken
    page.locator("#lengths input[name=model]:checked").focus()
    page.keyboard.press("ArrowRight")
    assert totals(panels) == peaks(15_360, MODELS[1], accounting="workshop")


@pytest.fixture
def phone(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 375, "height": 812}, has_touch=True, is_mobile=True)
    yield context.new_page()
    context.close()


def test_by_touch(phone: Page, address: str) -> None:
    figure = opened(phone, address)
    label = figure.locator("label", has_text="Workshop")
    label.tap()
    assert totals(figure) == peaks(LONG, accounting="workshop")
    place = figure.locator("[data-policy=both] .ac-panel__hit")
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    phone.touchscreen.tap(box["x"] + box["width"] * 5.5 / 16, box["y"] + 120)
    assert totals(figure) == peaks(6144, accounting="workshop")
    inside = figure.evaluate(
        "e => [...e.querySelectorAll('.ac-panel p')].every((p) => p.scrollWidth <= p.clientWidth + 1)"
    )
    assert inside, "words stand out of a panel"
    assert phone.evaluate("document.documentElement.scrollWidth") <= 375


def test_a_shared_address_restores_what_it_can(page: Page, address: str) -> None:
    figure = opened(page, address)
    page.locator("#lengths label", has_text="405B").click()
    page.locator("#lengths label", has_text="Paper").click()
    page.locator("#lengths label", has_text="512").click()
    page.get_by_role("slider", name="Sequence length").focus()
    page.keyboard.press("Home")
    right = peaks(1024, MODELS[2], 512, accounting="paper")
    assert totals(figure) == right
    query = re.search(r"\?.*", page.url)[0]
    assert totals(opened(page, address, query)) == right
    # what does not exist is left as it is, and the rest holds
    figure = opened(page, address, "?model=gpt-5&counted=workshop&ranks=-1&seq_len=17000&scale=%3Cb%3E")
    assert totals(figure) == peaks(LONG, accounting="workshop")


def test_the_lines_of_the_cards(page: Page, panels: Locator) -> None:
    full = 1.04 * max(peaks())
    plot = panels.locator(".ac-panel__plot").first
    shown = """lines => lines.filter((line) => getComputedStyle(line).display !== "none").map((line) =>
      [line.textContent, Number(line.dataset.bytes), Number(line.firstElementChild.getAttribute("y1"))])"""
    lines = plot.locator(".ac-card-line").evaluate_all(shown)
    assert [words for words, _, _ in lines] == ["192\u00a0GB", "141\u00a0GB", "80\u00a0GB"]
    sold = {card.datasheet_bytes: card.memory_bytes for card in ACCELERATORS.values()}
    for words, n_bytes, y in lines:
        assert n_bytes <= sold[int(words.split()[0]) * 10**9]
        assert y == pytest.approx(PLOT * (1 - n_bytes / full), abs=0.01)
    # where they would stand on one another, the largest is left
    page.evaluate(SHOWN, [MODELS[0], "workshop", "1", "whole", 15])
    assert [words for words, _, _ in plot.locator(".ac-card-line").evaluate_all(shown)] == ["192\u00a0GB"]


def test_the_tables_follow(page: Page, panels: Locator) -> None:
    panels.get_by_text("The numbers", exact=True).click()
    page.evaluate(SHOWN, ["llama-3.1-70b", "eager", "8", "whole", 3])
    parts, lengths = (
        table.locator("tr").evaluate_all(
            "rows => rows.map((row) => [...row.children].slice(1).map((cell) => cell.textContent))"
        )
        for table in panels.locator("table").all()
    )
    right = [n_bytes / GIB for n_bytes in peaks(4096, MODELS[1], 8, attention="eager")]
    assert [float(cell.replace(",", "")) for cell in parts[-1]] == pytest.approx(right, abs=0.0501)
    assert lengths[4] == parts[-1]
    norms = [
        estimate(MODELS[1], seq_len=4096, policy=policy, attention="eager").by_component()["norm"]
        for policy in POLICIES
    ]
    assert [float(cell) for cell in parts[6]] == pytest.approx([n_bytes / GIB for n_bytes in norms], abs=0.0501)


def test_without_a_script(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.goto(address + WHERE)
    figure = page.locator("#lengths")
    assert figure.locator("form").is_hidden(), "nothing dead is shown"
    assert [int(data.get_attribute("value")) for data in figure.locator("data[data-part=total]").all()] == peaks()
    chosen = figure.locator(".ac-panel__chosen").first
    assert float(chosen.get_attribute("height")) == pytest.approx(PLOT / 1.04, abs=0.01)
    assert figure.locator("table").first.is_visible()
    context.close()


def test_the_page_opens_as_it_was_published(browser: Browser, address: str) -> None:
    """The script changes nothing before anybody chooses: what it draws is what the page had."""
    drawn = []
    for script in (False, True):
        context = browser.new_context(java_script_enabled=script, viewport={"width": 1400, "height": 900})
        page = context.new_page()
        page.goto(address + WHERE)
        places = page.locator("#lengths :is(path, rect.ac-part, text, line, .ac-panel data)").all()
        drawn.append([(place.is_visible(), place.bounding_box(), place.text_content()) for place in places])
        context.close()
    assert len(drawn[0]) > 100
    for (shown, before, words), (still, after, same) in zip(*drawn, strict=True):
        assert (shown, words) == (still, same)
        if shown:
            assert (before["width"], before["height"]) == pytest.approx((after["width"], after["height"]), abs=0.1)


def test_a_scale_has_room_for_what_it_is_made_for() -> None:
    for model, counted, ranks in product(MODELS, COUNTED, strategies.RANKS):
        tops = [strategies.totals(model, counted, policy, ranks)[-1] for policy in POLICIES]
        assert strategies.scale(model, counted, ranks, "whole")[0] > max(tops)
        assert min(tops) < strategies.scale(model, counted, ranks, "close")[0] < 1.05 * min(tops)
