"""What a policy buys: the published ratios, the parity with flash attention, and the frontier."""

import numpy as np
import pytest
from changed_block import change_block, drop_saved

from actckpt import PRESETS, FlopRules, estimate
from actckpt.tradeoff import attention_advantage, frontier, parity_length, tradeoff, tradeoffs

MODEL = "llama-3.1-8b"


def test_a_tradeoff_is_the_difference_of_two_steps() -> None:
    none, ffn = (estimate(MODEL, seq_len=16_384, policy=policy) for policy in ("none", "ffn"))
    choice = tradeoff(MODEL, "ffn", seq_len=16_384)
    assert choice.kept_bytes == ffn.total_bytes
    assert choice.saved_bytes == none.total_bytes - ffn.total_bytes
    assert choice.overhead == ffn.flops.overhead
    assert choice.bytes_per_percent == pytest.approx(choice.saved_bytes / (100 * choice.overhead), rel=1e-15)


def test_what_runs_no_flops_again_buys_without_limit() -> None:
    assert tradeoff(MODEL, "pointwise", seq_len=4096).bytes_per_percent == np.inf


@pytest.mark.parametrize(("seq_len", "ratio"), [(1024, 4.9), (3072, 10.5), (4096, 12.6), (16_384, 24.1)])
def test_the_advantage_by_the_workshops_count(seq_len: int, ratio: float) -> None:
    """Bytes that a half discards, less the checkpoint that it adds, for each FLOP that runs again."""
    config = PRESETS[MODEL]
    scores, token = 10 * config.n_heads * seq_len, config.hidden_size
    attention, ffn = 22 * token + scores - 2 * token, 38 * token - 2 * token
    assert attention / (8 * token + 4 * seq_len) / (ffn / (16 * token)) == pytest.approx(ratio, abs=0.05)
    assert round(attention_advantage(MODEL, seq_len=seq_len, accounting="workshop"), 1) == ratio


@pytest.mark.parametrize(
    ("causal", "early_stop", "parity", "ffn_at_16k"),
    [(True, True, 2622, 2.57), (True, False, 2909, 2.02), (False, True, 1312, 4.44), (False, False, 1455, 3.27)],
)
def test_with_flash_attention_the_order_turns_round(
    causal: bool, early_stop: bool, parity: int, ffn_at_16k: float
) -> None:
    rules = FlopRules(causal=causal, early_stop=early_stop)
    assert parity_length(MODEL, rules=rules) == parity
    assert attention_advantage(MODEL, seq_len=parity - 1, rules=rules) >= 1
    assert attention_advantage(MODEL, seq_len=parity, rules=rules) < 1
    assert round(1 / attention_advantage(MODEL, seq_len=16_384, rules=rules), 2) == ffn_at_16k
    # how a flash backward is counted is the same for both halves
    doubled = FlopRules(causal=causal, early_stop=early_stop, flash_backward=False)
    assert parity_length(MODEL, rules=doubled) == parity


def test_with_eager_attention_it_never_does() -> None:
    assert parity_length(MODEL, attention="eager") is None
    assert parity_length(MODEL, accounting="workshop") is None


@pytest.mark.parametrize("model", ["llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b"])
def test_the_parity_is_near_a_fixed_share_of_the_hidden_size(model: str) -> None:
    config = PRESETS[model]
    r, f = config.n_kv_heads / config.n_heads, config.ffn_size / config.hidden_size
    share = 2 * f * (3 + 2 * r) / (1 + 3 * f) - 1 - 2 * r
    # the formula leaves out the statistics in float32
    assert parity_length(model) == pytest.approx(share * config.hidden_size, rel=0.02)


def test_a_dropped_tensor_moves_the_parity(monkeypatch: pytest.MonkeyPatch) -> None:
    change_block(monkeypatch, drop_saved("swiglu.product"))
    assert parity_length(MODEL) != 2622


def test_the_frontier_holds_what_nothing_beats() -> None:
    found = {choice.policy.name for choice in frontier(tradeoffs(MODEL, seq_len=16_384))}
    assert found == {"pointwise", "ffn", "save_attention", "both", "full"}
