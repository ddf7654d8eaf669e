"""The explorers in a real browser: every number equal to the package's, by whichever way it is asked for."""

import json
import random
import subprocess
import sys

import pytest
from playwright.sync_api import Browser, Page

from actckpt import ACCOUNTINGS, InputError, cli, estimate
from actckpt.step import Step

pytest_plugins = ["built_site"]

STATES = ("parameters", "gradients", "optimizer")
ASKED = {"ranks": "data_parallel"}


def expected(step: Step) -> dict[str, int]:
    """The numbers that an explorer shows, from a step: all of them, and their sum is the peak."""
    saved = {**step.by_component(), "logits": step.head.ledger.bytes}
    states = {name: getattr(step.states, f"{name}_bytes") for name in STATES}
    working = step.peak_bytes - sum(saved.values()) - sum(states.values())
    return {**states, **saved, "working": working, "total": step.peak_bytes}


def shown(page: Page) -> dict[str, int]:
    texts = page.locator(".ac-explorer").evaluate(
        """root => Object.fromEntries(
          [...root.querySelectorAll("data[data-part]")].map((d) => [d.dataset.part, d.value]))"""
    )
    return {part: int(text) for part, text in texts.items()}


def asked(state: dict[str, str]) -> dict[str, object]:
    """What `estimate` takes, from the names and values of an explorer's controls."""
    numbers = ("seq_len", "batch_size", "ranks")
    return {ASKED.get(name, name): int(value) if name in numbers else value for name, value in state.items()}


# each page with an explorer, and how many of its views are compared at least
EXPLORERS = {"": 600, "workshop/training-memory/": 9}


@pytest.mark.parametrize("path", EXPLORERS)
def test_every_number_of_an_explorer(page: Page, address: str, path: str) -> None:
    page.goto(address + path)
    views = page.locator(".ac-explorer").evaluate(
        """root => {
          const form = root.querySelector("form"), grid = JSON.parse(root.querySelector("script").textContent);
          const out = [], last = grid.lengths.length - 1;
          const set = (state) => {
            for (const [name, value] of Object.entries(state)) form.elements[name].value = value;
            form.dispatchEvent(new Event("input", { bubbles: true }));
          };
          for (const cell of Object.keys(grid.cells)) for (const at of [0, last >> 1, last]) {
            const [model, accounting, attention, policy] = cell.split("|");
            const state = { model, accounting, policy, seq_len: at, ranks: "8" };
            set(root.querySelector("[name=attention]").type === "hidden" ? state : { ...state, attention });
            const data = [...root.querySelectorAll("data[data-part]")].map((d) => [d.dataset.part, d.value]);
            const overhead = root.querySelector(".ac-overhead")?.textContent;
            out.push([{ ...state, attention, seq_len: grid.lengths[at] }, Object.fromEntries(data), overhead]);
          }
          return out;
        }"""
    )
    assert len(views) >= EXPLORERS[path]
    for state, numbers, overhead in views:
        step = estimate(**asked(state))
        assert {part: int(text) for part, text in numbers.items()} == expected(step), state
        if overhead:
            assert abs(float(overhead.removesuffix("\u00a0%")) - 100 * step.flops.overhead) < 0.0501, state
    assert {state["accounting"] for state, *_ in views} == set(ACCOUNTINGS)


# with batch sizes and ranks that no control offers, and counts far beyond what a double holds exactly
@pytest.mark.parametrize("path", EXPLORERS)
def test_the_scripts_sums_are_the_packages(page: Page, address: str, path: str) -> None:
    page.goto(address + path)
    grid = json.loads(page.locator(".ac-explorer script").inner_text())
    chosen = random.Random(path)
    states = []
    for cell in chosen.choices(list(grid["cells"]), k=1000):
        state = dict(zip(("model", "accounting", "attention", "policy"), cell.split("|"), strict=True))
        sizes = {"seq_len": chosen.randint(1024, 2**20), "batch_size": chosen.randint(1, 999)}
        ranks = {"ranks": chosen.randint(1, 5000), "optimizer": chosen.choice(list(grid["states"]))}
        states.append(state | {name: str(value) for name, value in (sizes | ranks).items()})
    answers = page.evaluate(
        """states => {
          const numbers = actckptNumbers(JSON.parse(document.querySelector(".ac-explorer script").textContent));
          return states.map((state) => numbers.step(state)).map((step) => [step.parts.map(String), step.overhead]);
        }""",
        states,
    )
    most = 0
    for state, (parts, overhead) in zip(states, answers, strict=True):
        step = estimate(**asked(state))
        assert list(map(int, parts)) == list(expected(step).values())[:-1], state
        assert overhead == pytest.approx(step.flops.overhead, rel=1e-12), state
        most = max(most, step.peak_bytes)
    assert most > 2**53


@pytest.mark.parametrize("path", EXPLORERS)
def test_the_table_has_every_length(page: Page, address: str, path: str) -> None:
    page.goto(address + path + "?policy=none")
    page.locator("input[name=accounting][value=llama]").focus()
    page.keyboard.press("Space")
    # opened after the choice, and open during the next one
    page.locator(".ac-explorer .ac-data summary").click()
    for ranks in (8, 64):
        control = page.locator(".ac-controls [name=ranks]")
        if control.count() > 1:
            page.locator(f"input[name=ranks][value='{ranks}']").focus()
            page.keyboard.press("Space")
        else:
            control.select_option(str(ranks))
        rows = page.locator(".ac-explorer .ac-data tbody tr").evaluate_all(
            "rows => rows.map((row) => [...row.children].map((cell) => cell.textContent))"
        )
        assert len(rows) >= 15
        for length, *cells in rows:
            step = estimate("llama-3.1-8b", seq_len=int(length.replace(",", "")), data_parallel=ranks)
            # in the order of the parts, and halves round up where Python's round to even
            for cell, n_bytes in zip(cells, expected(step).values(), strict=True):
                assert abs(float(cell.replace(",", "")) - n_bytes / 2**30) < 0.0501


# Commands

SAMPLE = [
    {"model": model, "seq_len": seq_len, "batch_size": batch_size, "ranks": ranks, "optimizer": optimizer, **way}
    for model, way in (
        ("llama-3.1-8b", {"accounting": "llama", "attention": "flash", "policy": "every_2"}),
        ("llama-3.1-405b", {"accounting": "llama", "attention": "eager", "policy": "pointwise"}),
        ("gpt-3-175b", {"accounting": "paper", "attention": "eager", "policy": "full"}),
        ("llama-3.2-1b", {"accounting": "workshop", "attention": "eager", "policy": "ffn"}),
    )
    for seq_len in ("1024", "98304")
    for batch_size in ("1", "64")
    for ranks in ("1", "1024")
    for optimizer in ("adam-fp32", "adam-bf16", "adam-8bit")
]


def test_a_copied_command_prints_the_number_on_the_screen(
    browser: Browser, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    for state in SAMPLE:
        page.goto(address + "?" + "&".join(f"{name}={value}" for name, value in state.items()))
        page.get_by_role("button", name="Copy as command").click()
        page.get_by_role("button", name="Copied").wait_for()
        program, *command = page.evaluate("navigator.clipboard.readText()").split(" ")
        assert program == "actckpt"
        assert cli.main([*command, "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        view = shown(page)
        assert view == expected(estimate(**asked(state))), state
        assert view["total"] == answer["peak_bytes"]
        assert {name: view[name] for name in STATES} == {name: answer["states"][f"{name}_bytes"] for name in STATES}
        # what a person reads in the terminal, and on the page
        assert cli.main(command) == 0
        peak = [
            line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines() if line.startswith("  peak ")
        ]
        assert page.locator(".ac-total data").inner_text().replace("\u00a0", " ") in [text.strip() for text in peak]
    context.close()


def test_a_copied_command_runs_in_a_shell(page: Page, address: str) -> None:
    page.goto(address + "?model=llama-3.1-70b&seq_len=4096&policy=ffn&batch_size=4&ranks=64&optimizer=adam-8bit")
    command = page.locator(".ac-command code").inner_text().removeprefix("actckpt ")
    run = f"{sys.executable} -m actckpt {command} --json"
    answer = subprocess.run(run, shell=True, capture_output=True, text=True, check=True)
    assert shown(page)["total"] == json.loads(answer.stdout)["peak_bytes"]


def test_without_a_clipboard_the_command_is_selected(page: Page, address: str) -> None:
    page.add_init_script("Object.defineProperty(Navigator.prototype, 'clipboard', { get: () => undefined })")
    failed = []
    page.on("pageerror", lambda error: failed.append(error))
    page.goto(address)
    page.get_by_role("button", name="Copy as command").click()
    assert "no clipboard" in page.locator(".ac-copied").inner_text()
    assert page.evaluate("getSelection().toString()") == page.locator(".ac-command code").inner_text()
    assert not failed
    assert "pip install ." in page.locator(".ac-install").inner_text()


# What is there, and what is not


def test_attention_is_remembered_while_an_accounting_has_only_one_kind(page: Page, address: str) -> None:
    page.goto(address + "?accounting=llama&attention=eager&policy=full")
    step = estimate("llama-3.1-8b", seq_len=16_384, policy="full", attention="eager", data_parallel=8)
    assert shown(page) == expected(step)
    assert "--accounting llama --attention eager" in page.locator(".ac-command code").inner_text()
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
    assert str(no_block.value)[1:].partition(":")[0] in page.locator("#explorer-accounting-note").inner_text()
    assert page.locator("input[name=accounting]:checked").input_value() == "paper"
    assert page.locator("label[data-policy=pointwise]").is_hidden()
    assert "paper accounting has no policy 'pointwise'" in page.locator("#explorer-policy-note").inner_text()


def test_a_detour_over_a_model_that_lacks_a_choice_loses_nothing(page: Page, address: str) -> None:
    page.goto(address)
    page.locator("label[data-policy=save_attention]").click()
    before = shown(page)
    assert before == expected(estimate("llama-3.1-8b", seq_len=16_384, policy="save_attention", data_parallel=8))
    page.get_by_label("Model").select_option("gpt-3-175b")
    assert page.locator("input[name=accounting]:checked").input_value() == "paper"
    page.locator("[name=batch_size]").select_option("2")
    page.get_by_label("Model").select_option("llama-3.1-8b")
    page.locator("[name=batch_size]").select_option("1")
    assert shown(page) == before
    assert page.locator("input[name=policy]:checked").input_value() == "save_attention"
