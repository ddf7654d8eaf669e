"""What a policy buys and what it costs: bytes that need not be kept, against FLOPs that run twice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actckpt.config import ModelConfig
from actckpt.formulas import estimate
from actckpt.policy import POLICIES, Policy

# sequences beyond this are not searched for a parity
LONGEST = 2**24


@dataclass(frozen=True)
class Tradeoff:
    """One policy against none, for all blocks of a step.

    Attributes:
        policy: What is recomputed.
        kept_bytes: What the blocks keep.
        saved_bytes: What they would keep beside that without recomputation.
        overhead: What is recomputed, as a share of a step's FLOPs.
    """

    policy: Policy
    kept_bytes: int
    saved_bytes: int
    overhead: float

    @property
    def bytes_per_percent(self) -> float:
        """Bytes saved for each percent of extra FLOPs.

        Infinite where nothing that counts as FLOPs runs again, and not a number where nothing is saved either.
        """
        if not self.overhead:
            return math.inf if self.saved_bytes else math.nan
        return self.saved_bytes / (100 * self.overhead)


def tradeoff(model: str | ModelConfig, policy: str, *, seq_len: int, **how: Any) -> Tradeoff:
    """What a policy saves and costs.

    Args:
        model: A name in `PRESETS`, or a configuration.
        policy: What is recomputed.
        seq_len: S, in tokens.
        how: What else `estimate` takes: the accounting, the attention, the rules.
    """
    none, step = (estimate(model, seq_len=seq_len, policy=name, **how) for name in ("none", policy))
    return Tradeoff(step.policy, step.total_bytes, none.total_bytes - step.total_bytes, step.flops.overhead)


def attention_advantage(model: str | ModelConfig, *, seq_len: int, **how: Any) -> float:
    """How many times the bytes the attention half saves for a percent of FLOPs, against the FFN half.

    Above 1 the attention half is the better one to recompute first, below 1 the FFN half.
    """
    attention, ffn = (tradeoff(model, policy, seq_len=seq_len, **how) for policy in ("attention", "ffn"))
    return attention.bytes_per_percent / ffn.bytes_per_percent


def parity_length(model: str | ModelConfig, **how: Any) -> int | None:
    """The shortest sequence at which a percent of FLOPs saves more in the FFN half than in the attention half.

    None where the attention half stays ahead up to `LONGEST` tokens. The advantage has to fall with the length, as it
    does with flash attention, or to rise with it.
    """
    behind, ahead = LONGEST, 1
    if attention_advantage(model, seq_len=ahead, **how) < 1:
        return ahead
    if attention_advantage(model, seq_len=behind, **how) >= 1:
        return None
    while behind - ahead > 1:
        middle = (behind + ahead) // 2
        if attention_advantage(model, seq_len=middle, **how) < 1:
            behind = middle
        else:
            ahead = middle
    return behind


def frontier(choices: Sequence[Tradeoff]) -> list[Tradeoff]:
    """The choices worth taking, cheapest first: no other one keeps as little for as few FLOPs."""
    best: list[Tradeoff] = []
    for choice in sorted(choices, key=lambda choice: (choice.overhead, choice.kept_bytes)):
        if not best or choice.kept_bytes < best[-1].kept_bytes:
            best.append(choice)
    return best


def tradeoffs(model: str | ModelConfig, *, seq_len: int, **how: Any) -> list[Tradeoff]:
    """Every named policy that treats all blocks alike."""
    names = [name for name, policy in POLICIES.items() if policy.every == 1]
    return [tradeoff(model, name, seq_len=seq_len, **how) for name in names]
