"""The numbers in the chapter on recomputation, against the ledgers and against what the sources say."""

import pytest
from book.chapters import recomputation as page

from actckpt import estimate
from actckpt.errors import InputError
from actckpt.formulas.timeline import timeline
from actckpt.policy import POLICIES


@pytest.mark.parametrize("accounting", ["workshop", "paper", "llama"])
@pytest.mark.parametrize("policy", ["none", "attention", "ffn", "both"])
def test_the_table_gives_the_ledger_back(policy: str, accounting: str) -> None:
    linear, squared = page.growth(policy, accounting)
    for seq_len in (4096, 16_384):
        n_bytes = linear * seq_len * page.CONFIG.hidden_size + squared * page.CONFIG.n_heads * seq_len**2
        assert n_bytes == estimate(page.MODEL, seq_len=seq_len, policy=policy, accounting=accounting).block.bytes


def test_a_checkpoint_is_two_bytes_an_element() -> None:
    # arXiv 2205.05198, §4.1: 34 SBH + 5nS²B and a checkpoint of 2 SBH are both bytes
    assert page.growth("none", "paper") == (34, 5)
    assert page.growth("full", "paper") == page.growth("full", "llama") == (2, 0)
    assert (page.smaller_as_told(), page.smaller_linear()) == ("34\u00a0×", "17\u00a0×")


def test_what_recomputing_both_halves_leaves() -> None:
    assert page.left_as_told() == "5 SBH"
    left = (page.left_workshop(), page.left_paper(), page.left_both(), page.left_full())
    assert left == ("10", "6", "4", "2")


def test_all_layers_peak_as_the_whole_step_does_without_its_head() -> None:
    for policy, shown in (("none", page.deep_peak_stored()), ("full", page.deep_peak_rebuilt())):
        kept = estimate(page.MODEL, seq_len=page.SEQ_LEN, policy=policy).layers[0].bytes
        runs = timeline(page.CONFIG, seq_len=page.SEQ_LEN, policy=POLICIES[policy])
        peak = max(each.bytes for each in runs)
        assert shown == f"{peak / 2**30:.2f}\u00a0GiB"
        assert (page.CONFIG.n_layers - 1) * kept < peak < estimate(page.MODEL, seq_len=page.SEQ_LEN).working_bytes


def test_every_n_rebuilds_every_nth_block() -> None:
    runs = timeline(page.CONFIG, seq_len=1024, policy=POLICIES["every_4"])
    assert sum(each.action == "recompute" for each in runs) == page.CONFIG.n_layers // 4
    step = estimate(page.MODEL, seq_len=1024, policy="every_4")
    assert runs[page.CONFIG.n_layers - 1].bytes == step.total_bytes
    assert sum(each.flops for each in runs if each.action == "recompute") == step.flops.recompute


def test_the_timeline_refuses_what_it_does_not_know() -> None:
    with pytest.raises(InputError, match="no policy 'ffn'"):
        timeline(page.CONFIG, seq_len=1024, policy=POLICIES["ffn"])
