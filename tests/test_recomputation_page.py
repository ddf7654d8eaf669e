"""The numbers in the chapter on recomputation, against the ledgers and against what the sources say."""

import pytest
from book.quantities import steps

from actckpt import estimate
from actckpt.errors import InputError
from actckpt.formulas.timeline import timeline
from actckpt.policy import POLICIES


@pytest.mark.parametrize("accounting", ["workshop", "paper", "llama"])
@pytest.mark.parametrize("policy", ["none", "attention", "ffn", "both"])
def test_the_table_gives_the_ledger_back(policy: str, accounting: str) -> None:
    linear, squared = steps.growth(policy, accounting=accounting)
    for seq_len in (4096, 16_384):
        n_bytes = linear * seq_len * steps.CONFIG.hidden_size + squared * steps.CONFIG.n_heads * seq_len**2
        assert n_bytes == estimate(steps.MODEL, seq_len=seq_len, policy=policy, accounting=accounting).block.bytes


def test_a_checkpoint_is_two_bytes_an_element() -> None:
    # arXiv 2205.05198, §4.1: 34 SBH + 5nS²B and a checkpoint of 2 SBH are both bytes
    assert steps.growth(accounting="paper") == (34, 5)
    assert steps.growth("full", accounting="paper") == steps.growth("full") == (2, 0)


def test_what_recomputing_both_halves_leaves() -> None:
    left = [steps.growth("both", accounting=accounting).linear for accounting in ("workshop", "paper", "llama")]
    assert [*left, steps.growth("full").linear] == [10, 6, 4, 2]


def test_all_layers_peak_as_the_whole_step_does_without_its_head() -> None:
    for policy in ("none", "full"):
        kept = estimate(steps.MODEL, seq_len=steps.LONG, policy=policy).layers[0].bytes
        runs = timeline(steps.CONFIG, seq_len=steps.LONG, policy=POLICIES[policy])
        peak = max(each.bytes for each in runs)
        assert peak == steps.peak_of_blocks(policy)
        assert (steps.CONFIG.n_layers - 1) * kept < peak < estimate(steps.MODEL, seq_len=steps.LONG).working_bytes


def test_every_n_rebuilds_every_nth_block() -> None:
    runs = timeline(steps.CONFIG, seq_len=1024, policy=POLICIES["every_4"])
    assert sum(each.action == "recompute" for each in runs) == steps.CONFIG.n_layers // 4
    step = estimate(steps.MODEL, seq_len=1024, policy="every_4")
    assert runs[steps.CONFIG.n_layers - 1].bytes == step.total_bytes
    assert sum(each.flops for each in runs if each.action == "recompute") == step.flops.recompute


def test_the_timeline_refuses_what_it_does_not_know() -> None:
    with pytest.raises(InputError, match="no policy 'ffn'"):
        timeline(steps.CONFIG, seq_len=1024, policy=POLICIES["ffn"])
