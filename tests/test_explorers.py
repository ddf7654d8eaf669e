"""The explorers in a real browser: by keyboard, by touch, from a shared address; always equal to the package."""

import json
import shlex
import subprocess
import sys

import pytest
from playwright.sync_api import Browser, Page, expect

from actckpt import ACCELERATORS, InputError, estimate
from actckpt.step import Step

pytest_plugins = ["built_site"]

STATES = ("parameters", "gradients", "optimizer")


def expected(step: Step) -> dict[str, int]:
    """The numbers that an explorer shows, from a step: all of them, and their sum is the peak."""
    saved = {**step.by_component(), "logits": step.head.ledger.bytes}
    states = {name: getattr(step.states, f"{name}_bytes") for name in STATES}
    working = step.peak_bytes - sum(saved.values()) - sum(states.values())
    return {**states, **saved, "working": working, "total": step.peak_bytes}


def shown(page: Page) -> dict[str, int]:
    return page.locator(".ac-explorer").evaluate(
        """root => Object.fromEntries(
          [...root.querySelectorAll("data[data-part]")].map((d) => [d.dataset.part, Number(d.value)]))"""
    )


def gib(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:,.1f}\u00a0GiB"


def test_home_explorer_by_keyboard(page: Page, address: str) -> None:
    page.goto(address)
    asked = {"model": "llama-3.1-8b", "seq_len": 16_384, "policy": "none", "data_parallel": 8}
    assert shown(page) == expected(estimate(**asked))

    page.get_by_role("slider", name="Sequence length").focus()
    page.keyboard.press("ArrowRight")
    asked["seq_len"] = 24_576
    assert shown(page) == expected(estimate(**asked))

    page.get_by_label("Model").focus()
    page.keyboard.press("ArrowDown")
    asked["model"] = "llama-3.1-70b"
    assert shown(page) == expected(estimate(**asked))

    page.get_by_label("Policy: what is recomputed").focus()
    page.keyboard.press("ArrowDown")
    asked["policy"] = "attention"
    assert shown(page) == expected(estimate(**asked))

    page.locator("input[name=ranks]:checked").focus()
    page.keyboard.press("ArrowRight")
    asked["data_parallel"] = 64
    assert shown(page) == expected(estimate(**asked))

    page.locator("input[name=accounting]:checked").focus()
    page.keyboard.press("ArrowRight")
    asked["accounting"] = "paper"
    step = estimate(**asked)
    assert shown(page) == expected(step)

    total = page.locator(".ac-total")
    assert total.get_attribute("aria-live") == "polite"
    assert gib(step.peak_bytes) in total.inner_text()
    assert page.locator(".ac-overhead").inner_text() == f"{100 * step.flops.overhead:.1f}\u00a0%"
    h200 = ACCELERATORS["h200-141gb"].memory_bytes
    assert f"too large by {gib(step.peak_bytes - h200)}" in page.locator(".ac-fit").inner_text()
    command = page.locator(".ac-command code").inner_text()
    assert command.startswith("actckpt estimate --model llama-3.1-70b --seq-len 24576 --policy attention")
    assert command.endswith("--accounting paper")


# each page with an explorer, and how many of its views are compared at least
EXPLORERS = {"": 500, "workshop/training-memory/": 9}


@pytest.mark.parametrize("path", EXPLORERS)
def test_every_number_of_an_explorer(page: Page, address: str, path: str) -> None:
    page.goto(address + path)
    views = page.locator(".ac-explorer").evaluate(
        """root => {
          const form = root.querySelector("form"), grid = JSON.parse(root.querySelector("script").textContent);
          const out = [], last = grid.lengths.length - 1;
          const ask = (state) => {
            for (const [name, value] of Object.entries(state)) form.elements[name].value = value;
            form.dispatchEvent(new Event("input"));
          };
          const note = (state) => {
            const data = [...root.querySelectorAll("data[data-part]")].map((d) => [d.dataset.part, Number(d.value)]);
            const overhead = root.querySelector(".ac-overhead")?.textContent;
            out.push([{ ...state, seq_len: grid.lengths[state.seq_len] }, Object.fromEntries(data), overhead]);
          };
          const press = (attention) => [...form.elements.attention].find((i) => i.value === attention).click();
          for (const cell of Object.keys(grid.cells)) for (const at of [0, last >> 1, last]) {
            const [model, accounting, policy] = cell.split("|");
            const state = { model, accounting, policy, seq_len: at, ranks: "8" };
            ask(state);
            note(state);
            if (!(cell in grid.others)) continue;
            press("eager");
            note({ ...state, attention: "eager" });
            press("flash");
          }
          return out;
        }"""
    )
    assert len(views) >= EXPLORERS[path]
    for state, numbers, overhead in views:
        asked = {name: value for name, value in state.items() if name != "ranks"}
        step = estimate(**asked, data_parallel=8)
        assert numbers == expected(step), state
        if overhead:
            assert abs(float(overhead.removesuffix("\u00a0%")) - 100 * step.flops.overhead) < 0.0501, state
    offered = {state.get("attention") for state, _, _ in views}
    assert offered == ({None} if path == "workshop/training-memory/" else {None, "eager"})


@pytest.mark.parametrize("path", EXPLORERS)
def test_the_table_has_every_length(page: Page, address: str, path: str) -> None:
    page.goto(address + path)
    page.locator("input[name=accounting][value=llama]").focus()
    page.keyboard.press("Space")
    # opened after the choice, and open during the next one
    page.locator(".ac-explorer .ac-data summary").click()
    for ranks in (8, 64):
        page.locator(f"input[name=ranks][value='{ranks}']").focus()
        page.keyboard.press("Space")
        rows = page.locator(".ac-explorer .ac-data tbody tr").evaluate_all(
            "rows => rows.map((row) => [...row.children].map((cell) => cell.textContent))"
        )
        assert len(rows) >= 15
        for length, *cells in rows:
            step = estimate("llama-3.1-8b", seq_len=int(length.replace(",", "")), data_parallel=ranks)
            # in the order of the parts, and halves round up where Python's round to even
            for cell, n_bytes in zip(cells, expected(step).values(), strict=True):
                assert abs(float(cell.replace(",", "")) - n_bytes / 2**30) < 0.0501


def test_attention_is_remembered_while_an_accounting_has_only_one_kind(page: Page, address: str) -> None:
    page.goto(address + "?accounting=llama&attention=eager&policy=full")
    assert shown(page) == expected(
        estimate("llama-3.1-8b", seq_len=16_384, policy="full", attention="eager", data_parallel=8)
    )
    assert page.locator(".ac-command code").inner_text().endswith("--accounting llama --attention eager")
    for accounting, attention in (("paper", "eager"), ("llama", "eager")):
        page.locator(f"label:has(input[name=accounting][value={accounting}])").click()
        assert page.locator("input[name=attention]:checked").input_value() == attention
    page.locator("label:has(input[name=attention][value=flash])").click()
    page.locator("label:has(input[name=accounting][value=paper])").click()
    assert page.locator("input[name=attention]:checked").input_value() == "eager"
    assert page.locator("input[name=attention][value=flash]").is_disabled()
    assert "paper accounting has no flash attention" in page.locator("#explorer-attention-note").inner_text()
    page.locator("label:has(input[name=accounting][value=llama])").click()
    assert page.locator("input[name=attention]:checked").input_value() == "flash"
    assert "--attention" not in page.locator(".ac-command code").inner_text()


def test_what_an_accounting_lacks_is_disabled_and_says_why(page: Page, address: str) -> None:
    page.goto(address + "?model=llama-3.1-8b&accounting=llama&policy=pointwise")
    page.get_by_label("Model").select_option("gpt-3-175b")
    with pytest.raises(InputError, match="llama accounting") as no_block:
        estimate("gpt-3-175b", seq_len=1024)
    assert page.locator("input[name=accounting][value=llama]").is_disabled()
    assert str(no_block.value)[1:] in page.locator("#explorer-accounting-note").inner_text()
    # neither that accounting nor that policy: the nearest view there is
    state = page.locator(".ac-explorer form").evaluate("form => Object.fromEntries(new FormData(form))")
    assert (state["accounting"], state["policy"]) == ("paper", "none")
    assert page.locator("select[name=policy] option[value=pointwise]").is_disabled()
    assert "paper accounting has no policy" in page.locator("#explorer-policy-note").inner_text()


def test_a_shared_address_restores_the_view(page: Page, browser: Browser, address: str) -> None:
    page.goto(address)
    page.get_by_label("Model").select_option("llama-3.1-405b")
    page.get_by_label("Policy: what is recomputed").select_option("full")
    page.get_by_role("slider", name="Sequence length").focus()
    page.keyboard.press("Home")
    before = shown(page)
    assert before == expected(estimate("llama-3.1-405b", seq_len=1024, policy="full", data_parallel=8))
    other = browser.new_page()
    other.goto(page.url)
    assert shown(other) == before
    other.close()


def test_by_touch(browser: Browser, address: str) -> None:
    context = browser.new_context(viewport={"width": 375, "height": 812}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(address)
    page.locator("label:has(input[name=accounting][value=paper])").tap()
    page.locator("label:has(input[name=ranks][value='64'])").tap()
    slider = page.get_by_role("slider", name="Sequence length")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] - 8, box["y"] + box["height"] / 2)
    asked = {"seq_len": 131_072, "accounting": "paper", "data_parallel": 64}
    assert shown(page) == expected(estimate("llama-3.1-8b", **asked))
    context.close()


def test_an_address_that_makes_no_sense_opens_the_first_view(page: Page, address: str) -> None:
    page.goto(address + "?model=gpt-5&seq_len=-1&accounting=%3Cscript%3E")
    assert shown(page) == expected(estimate("llama-3.1-8b", seq_len=16_384, data_parallel=8))


@pytest.mark.parametrize("attention", ["flash", "eager"])
def test_the_command_says_what_the_view_shows(page: Page, address: str, attention: str) -> None:
    page.goto(address + f"?model=llama-3.1-70b&seq_len=4096&policy=ffn&accounting=llama&ranks=1&attention={attention}")
    command = shlex.split(page.locator(".ac-command code").inner_text())
    assert command[0] == "actckpt"
    answer = subprocess.run([sys.executable, "-m", *command, "--json"], capture_output=True, text=True, check=True)
    step, view = json.loads(answer.stdout), shown(page)
    assert view["total"] == step["peak_bytes"]
    assert {name: view[name] for name in step["activations"]["by_component"]} == step["activations"]["by_component"]
    assert page.locator(".ac-one-rank").is_hidden()
    page.locator("input[name=ranks][value='8']").focus()
    page.keyboard.press("Space")
    assert page.locator(".ac-one-rank").is_visible()


def test_copy_as_command(browser: Browser, address: str) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(address)
    page.get_by_role("button", name="Copy as command").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator(".ac-command code").inner_text()
    context.close()
