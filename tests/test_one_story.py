"""The workshop's chapters tell one story: in their order, with their words explained, and with one order of advice."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from book.quantities import advice
from built_pages import article, words
from by_hand import SIZES

from actckpt import POLICIES, PRESETS, estimate

pytest_plugins = ["built_site"]

CHAPTERS = (
    "activations",
    "training-memory",
    "recomputation",
    "memory-over-sequence-length",
    "compute-cost",
    "attention-first",
    "flash-attention",
    "takeaways",
)
# where a word has no tooltip
NO_TOOLTIP = "h1, h2, h3, h4, a, button, dt, figure, label, summary, th, code, pre, script, .ac-claims, math"


@pytest.mark.parametrize(("chapter", "following"), list(pairwise(CHAPTERS)))
def test_a_chapter_ends_by_carrying_the_reader_to_the_next(site: Path, chapter: str, following: str) -> None:
    last = article(site, f"workshop/{chapter}")("p")[-1]
    assert last("a")[-1]["href"] == f"../{following}/", words(last)
    # more than a link
    assert len(words(last).split()) > 8


def test_the_first_picture_is_the_real_block(site: Path) -> None:
    first = article(site, "workshop/activations").figure
    assert first
    assert "Llama 3.1 8B" in words(first.p)
    assert "flash attention" in words(first.figcaption)
    assert not first.find_parent("details")


@pytest.mark.parametrize("word", ["rank", "state", "eager", "lse", "rstd", "fused", "meta tensor"])
def test_a_word_has_its_tooltip_where_it_is_first_used(site: Path, word: str) -> None:
    pages = [*(f"workshop/{chapter}" for chapter in CHAPTERS), "evidence/formula-against-measurement"]
    for page in pages:
        prose = article(site, page)
        for other in prose.select(NO_TOOLTIP):
            other.decompose()
        if re.search(rf"(?<!hidden )\b{word}s?\b", words(prose)):
            assert {word, f"{word}s"} & {words(tip) for tip in prose("abbr")}, page
            return
    pytest.fail(f"no chapter uses {word!r}")


@pytest.mark.parametrize(
    "word",
    ["gradient checkpointing", "activation memory", "out of memory", "OOM", "offload", "MoE", "torch.compile", "remat"],
)
def test_what_a_practitioner_would_search_for_is_found(site: Path, word: str) -> None:
    index = json.loads((site / "search/search_index.json").read_text("utf-8"))
    texts = (
        re.split(index["config"]["separator"], f"{entry['title']} {entry['text']}".lower()) for entry in index["docs"]
    )
    # the search takes a word with the bracket or the full stop that touches it, and finds what begins as one types
    sought = word.lower().split()
    assert any(
        all(token.startswith(part) for token, part in zip(tokens[at:], sought, strict=False))
        for tokens in texts
        for at in range(len(tokens) - len(sought) + 1)
    )


@pytest.mark.parametrize("model", SIZES)
def test_the_order_of_advice_is_one_at_every_length(model: str) -> None:
    """Each policy keeps less than the one before it, peaks no higher, and costs no less, with the exceptions named."""
    hidden_size = PRESETS[model].hidden_size
    for seq_len in (2**power for power in range(10, 18)):
        steps = {policy: estimate(model, seq_len=seq_len, policy=policy, data_parallel=8) for policy in POLICIES}
        kept, peaks, costs = (
            [value(steps[policy]) for policy in advice.ORDER]
            for value in (lambda s: s.total_bytes, lambda s: s.peak_bytes, lambda s: s.flops.overhead)
        )
        assert kept == sorted(set(kept), reverse=True)
        assert peaks == sorted(peaks, reverse=True)
        without = [cost for cost, policy in zip(costs, advice.ORDER, strict=True) if policy != "every_2"]
        assert without == sorted(without)
        assert (steps["ffn"].flops.overhead < steps["every_2"].flops.overhead) == (
            seq_len >= advice.ffn_is_cheaper(model)
        )
        # running attention again costs less than running the o projection again while S < H
        assert (steps["both"].flops.overhead < steps["save_attention"].flops.overhead) == (seq_len < hidden_size)


def test_no_other_policy_is_worth_taking() -> None:
    """Each policy outside of the order is beaten by one in it, or is the exception for short sequences."""
    for model in SIZES:
        for seq_len in (2**power for power in range(10, 18)):
            steps = {policy: estimate(model, seq_len=seq_len, policy=policy) for policy in POLICIES}
            points = {policy: (step.total_bytes, step.flops.overhead) for policy, step in steps.items()}
            for policy in POLICIES.keys() - {*advice.ORDER, "both"}:
                kept, cost = points[policy]
                assert any(points[p][0] <= kept and points[p][1] <= cost for p in advice.ORDER), (policy, seq_len)
