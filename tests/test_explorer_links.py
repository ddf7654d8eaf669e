"""Links into the home page's explorer: they restore a view, and say what of them cannot be had."""

import pytest
from playwright.sync_api import Browser, Page
from test_explorer_list import HOME, check_list
from test_explorers import expected, shown

from actckpt import estimate

pytest_plugins = ["built_site"]


def test_a_shared_address_restores_the_view(page: Page, browser: Browser, address: str) -> None:
    page.goto(address)
    page.get_by_label("Model").select_option("llama-3.1-70b")
    page.locator("[name=batch_size]").select_option("4")
    page.locator("label:has(input[name=card][value=h200-141gb])").click()
    page.locator("label[data-policy=both]").click()
    before, answer = shown(page), page.locator(".ac-answer").inner_text()
    other = browser.new_page()
    other.goto(page.url)
    assert shown(other) == before
    assert other.locator(".ac-answer").inner_text() == answer
    assert other.locator(".ac-notice").inner_text() == ""
    other.close()


@pytest.mark.parametrize(
    ("query", "said", "step"),
    [
        ("seq_len=17000&model=llama-3.1-70b", 'seq_len "17000"', {"model": "llama-3.1-70b"}),
        ("seq_len=0x4000&ranks=16", 'seq_len "0x4000" is not a whole number', {"data_parallel": 16}),
        ("seq_len=1.6384e4&policy=full", 'seq_len "1.6384e4" is not a whole number', {"policy": "full"}),
        ("seq_len=16384%0A&policy=ffn", r'seq_len "16384\n" is not a whole number', {"policy": "ffn"}),
        ("seq_len=100000&policy=full", "98,304 is shown", {"seq_len": 98_304, "policy": "full"}),
        ("batch_size=3&policy=full", "4 is shown", {"batch_size": 4, "policy": "full"}),
        ("batch_size=-1&ranks=0", 'ranks "0" is not a whole number', {}),
        ("policy=full&accounting=workshop", "no policy 'full'", {"accounting": "workshop"}),
        ("model=gpt-3-175b&accounting=llama", "no block for", {"model": "gpt-3-175b", "accounting": "paper"}),
        ("attention=flash&accounting=paper", "no flash attention", {"accounting": "paper"}),
        ("model=gpt-5&policy=full", 'model "gpt-5" is not a choice', {"policy": "full"}),
        ("optimizer=sgd&policy=both", 'optimizer "sgd" is not a choice', {"policy": "both"}),
        ("policy=%3Cb%3Efull&ranks=2", 'policy "<b>full" is not a choice', {"data_parallel": 2}),
    ],
)
def test_a_link_says_what_cannot_be_had_and_keeps_the_rest(
    page: Page, address: str, query: str, said: str, step: dict[str, object]
) -> None:
    page.goto(f"{address}?{query}")
    assert said in page.locator(".ac-notice").inner_text()
    asked = {**HOME, **step}
    if "policy" in step:
        assert shown(page) == expected(estimate(**asked))
    else:
        best, miss = check_list(page, "h100-80gb", **asked)
        assert shown(page) == expected(best or miss)
    assert "\n" not in page.locator(".ac-command code").inner_text()
    assert f"--seq-len {asked['seq_len']} " in page.locator(".ac-command code").inner_text()
    # it has been read once somebody chooses
    page.locator("label:has(input[name=card][value=b200-192gb])").click()
    assert page.locator(".ac-notice").inner_text() == ""
