"""The two halves of a block against each other: what recomputing one of them saves for a percent of FLOPs."""

from __future__ import annotations

from typing import Any

from actckpt import PRESETS, FlopRules
from actckpt.tradeoff import attention_advantage, parity_length
from book.quantities.steps import MODEL, SIZES, step

# how FLOPs may be counted, by the name of a table's column
RULES = {
    "as PyTorch": FlopRules(),
    "no early stop": FlopRules(early_stop=False),
    "not causal": FlopRules(causal=False),
    "neither": FlopRules(early_stop=False, causal=False),
}


def parity(model: str = MODEL, rules: FlopRules | None = None) -> int:
    """The length from which the FFN half is the better one, with flash attention."""
    length = parity_length(model, rules=rules)
    assert length is not None
    return length


def parity_share(model: str = MODEL) -> float:
    """The parity as a share of the hidden size, by the formula of the page: 2f(3 + 2r)/(1 + 3f) − 1 − 2r."""
    config = PRESETS[model]
    r, f = config.n_kv_heads / config.n_heads, config.ffn_size / config.hidden_size
    return 2 * f * (3 + 2 * r) / (1 + 3 * f) - 1 - 2 * r


def parity_shares() -> list[float]:
    """The same for the models of the page."""
    return [parity_share(model) for model in SIZES]


def advantage(seq_len: int, **how: Any) -> float:
    """How many times the bytes the attention half gives for a percent of FLOPs, against the FFN half."""
    return float(attention_advantage(MODEL, seq_len=seq_len, **how))


def behind(seq_len: int) -> list[float]:
    """How many times more the FFN half gives, under every rule of counting."""
    return [1 / advantage(seq_len, rules=rules) for rules in RULES.values()]


def forward_share(half: str, seq_len: int) -> float:
    """A half's share of the forward FLOPs, by the workshop's formulas."""
    flops = step(half, seq_len=seq_len, accounting="workshop").flops
    return float(flops.recompute / flops.forward)


def memory_share(part: str, seq_len: int) -> float:
    """A component's share of a block's bytes, by the workshop's count."""
    block = step(seq_len=seq_len, accounting="workshop").block
    return float(block.component_bytes(part) / block.bytes)


def attention_overtakes() -> int:
    """The first power of two from which attention has as many forward FLOPs as the FFN, by the workshop's formulas."""
    return next(1 << power for power in range(30) if forward_share("attention", 2**power) >= 0.5)
