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
SHOWN = """([model, counted, ranks, scale, at]) => {
  const root = document.querySelector("#lengths"), form = root.querySelector("form");
  for (const [name, value] of Object.entries({ model, counted, ranks, scale })) form.elements[name].value = value;
  form.elements.seq_len.value = at;
  form.dispatchEvent(new Event("input"));
  const height = (e) => e.getBoundingClientRect().height;
  return [...root.querySelectorAll(".ac-panel")].map((panel) => ({
    data: Object.fromEntries(
      [...panel.querySelectorAll("p data")].map((d) => [d.dataset.part, d.value || d.textContent])),
    columns: [...panel.querySelectorAll("i")].map((column) => [height(column), column.matches(".ac-cut")]),
    bar: [...panel.querySelectorAll(".ac-segment")].map(height),
    levels: [...panel.querySelectorAll(".ac-level:not([hidden]) data")].map((d) => Number(d.value)),
  }));
}"""


def test_every_number_of_the_panels(page: Page, panels: Locator) -> None:
    plot = panels.locator(".ac-panel__plot").first.evaluate("e => e.clientHeight")
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
                assert sum(panel["bar"]) == pytest.approx(plot * min(1, step.peak_bytes / full), abs=1)
                height, cut = panel["columns"][at]
                assert height == pytest.approx(plot * min(1, step.peak_bytes / full), abs=1)
                assert cut == (step.peak_bytes > full)
                if policy != "none":
                    none = estimate(model, seq_len=seq_len, data_parallel=ranks, **how).peak_bytes
                    assert int(panel["data"]["saved"]) == none - step.peak_bytes
                    more = float(panel["data"]["more"].removesuffix("\u00a0%"))
                    assert more == pytest.approx(100 * step.flops.overhead, abs=0.0501)
            levels = found[0]["levels"]
            # from zero in even steps of 1, 2 or 5 times a power of ten, on the same scale in every panel
            assert levels == [index * levels[1] for index in range(len(levels))]
            assert 2 <= len(levels) <= 6
            assert str(levels[1] // GIB).strip("0") in ("1", "2", "5")
            assert all(panel["levels"] == levels for panel in found)


def test_parts_are_drawn_to_scale_and_named(page: Page, panels: Locator) -> None:
    full = 1.04 * max(peaks())
    plot = panels.locator(".ac-panel__plot").first.evaluate("e => e.clientHeight")
    for policy in POLICIES:
        step = estimate(MODELS[0], seq_len=LONG, policy=policy)
        sizes = {f"ac-{name}": n_bytes for name, n_bytes in step.by_component().items()}
        for segment in panels.locator(f"[data-policy={policy}] .ac-segment").all():
            kind = segment.get_attribute("class").split()[1]
            height = segment.evaluate("e => e.getBoundingClientRect().height")
            if kind in sizes:
                assert height == pytest.approx(plot * sizes[kind] / full, abs=0.5)
            named = segment.locator("b").is_visible()
            assert named == (height >= 15), f"{policy} {kind}: {height}"


def test_by_pointer(page: Page, panels: Locator) -> None:
    place = panels.locator("[data-policy=ffn] .ac-panel__columns")
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
    place = figure.locator("[data-policy=both] .ac-panel__columns")
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
    page.evaluate(SHOWN, [MODELS[0], "flash", "1", "whole", 15])
    plot = panels.locator(".ac-panel__plot").first
    height, full = plot.evaluate("e => e.clientHeight"), 1.04 * max(peaks())
    lines = plot.locator(".ac-card-line:not([hidden])").evaluate_all(
        """(lines) => lines.map((line) => [line.textContent.trim(), Number(line.dataset.bytes),
          line.parentElement.getBoundingClientRect().bottom - line.getBoundingClientRect().bottom])"""
    )
    assert [words for words, _, _ in lines] == ["192\u00a0GB", "141\u00a0GB", "80\u00a0GB"]
    sold = {card.datasheet_bytes: card.memory_bytes for card in ACCELERATORS.values()}
    for words, n_bytes, bottom in lines:
        assert n_bytes <= sold[int(words.split()[0]) * 10**9]
        assert bottom == pytest.approx(height * n_bytes / full, abs=2.5)
    # where they would stand on one another, the largest is left
    page.evaluate(SHOWN, [MODELS[0], "workshop", "1", "whole", 15])
    assert plot.locator(".ac-card-line:not([hidden])").all_text_contents() == ["192\u00a0GB"]


def test_the_tables_follow(page: Page, panels: Locator) -> None:
    panels.locator("summary").click()
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
    column, plot = (figure.locator(f"{where}").first.bounding_box() for where in ("i.ac-chosen", ".ac-panel__plot"))
    assert column["height"] == pytest.approx((plot["height"] - 1) / 1.04, abs=1)
    assert figure.locator("table").first.is_visible()
    context.close()


def test_the_page_opens_as_it_was_published(browser: Browser, address: str) -> None:
    """The script changes nothing before anybody chooses: what it draws is what the page had."""
    drawn = []
    for script in (False, True):
        context = browser.new_context(java_script_enabled=script, viewport={"width": 1400, "height": 900})
        page = context.new_page()
        page.goto(address + WHERE)
        places = page.locator("#lengths :is(i, .ac-segment, .ac-level, .ac-card-line, .ac-panel data)")
        found = [place.bounding_box() for place in places.all()]
        drawn.append([(box["width"], box["height"]) if box else None for box in found])
        context.close()
    for before, after in zip(*drawn, strict=True):
        assert before == pytest.approx(after, abs=0.6) if before and after else before == after


def test_a_scale_has_room_for_what_it_is_made_for() -> None:
    for model, counted, ranks in product(MODELS, COUNTED, strategies.RANKS):
        tops = [strategies.totals(model, counted, policy, ranks)[-1] for policy in POLICIES]
        assert strategies.scale(model, counted, ranks, "whole")[0] > max(tops)
        assert min(tops) < strategies.scale(model, counted, ranks, "close")[0] < 1.05 * min(tops)
