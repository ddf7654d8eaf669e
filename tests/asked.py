"""What prose says, asked of the package anew: Llama 3.1 8B at 16K tokens, with flash attention, if nothing is said."""

from __future__ import annotations

from typing import Any

from actckpt import ACCELERATORS, POLICIES, PRESETS, Ledger, Step, estimate
from actckpt.formulas.timeline import timeline
from actckpt.tradeoff import attention_advantage

M, SIZES = "llama-3.1-8b", ("llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b")
LONG, FAR, EVERY_LENGTH = 16_384, 131_072, [2**power for power in range(10, 18)]
C, H, LAYERS = PRESETS[M], PRESETS[M].hidden_size, PRESETS[M].n_layers
A100 = ACCELERATORS["a100-80gb"]


def step(policy: str = "none", seq_len: int = LONG, model: str = M, **how: Any) -> Step[int]:
    return estimate(model, seq_len=seq_len, policy=policy, **how)


def kept(policy: str = "none", seq_len: int = LONG, **how: Any) -> int:
    return step(policy, seq_len, **how).total_bytes


def saved(policy: str, seq_len: int = LONG, **how: Any) -> float:
    return 1 - kept(policy, seq_len, **how) / kept("none", seq_len, **how)


def cost(policy: str, seq_len: int = LONG, **how: Any) -> float:
    return step(policy, seq_len, **how).flops.overhead


def sbh(policy: str = "none", seq_len: int = LONG) -> float:
    return step(policy, seq_len).block.bytes / (seq_len * H)


def of(ledger: Ledger[int], *names: str) -> int:
    return sum(ledger[name].bytes for name in names)


def published(policy: str = "none", accounting: str = "paper") -> tuple[int, int]:
    """Of SBH and of nS²B, from two lengths."""
    one, two = (step(policy, s, accounting=accounting).block.bytes for s in (1024, 2048))
    # a·S + b·S² at S and at 2S
    return (4 * one - two) // (2 * 1024 * H), (two - 2 * one) // (2 * 1024**2 * C.n_heads)


def share(half: str, seq_len: int) -> float:
    """Of the workshop's forward FLOPs: a third of a step."""
    return 3 * cost(half, seq_len, accounting="workshop")


def memory(part: str, seq_len: int) -> float:
    block = step("none", seq_len, accounting="workshop").block
    return block.component_bytes(part) / block.bytes


def advantage(seq_len: int, **how: Any) -> float:
    return attention_advantage(M, seq_len=seq_len, **how)


def climbs_to(policy: str) -> int:
    return max(each.bytes for each in timeline(C, seq_len=LONG, policy=POLICIES[policy]))


def parity_share(model: str) -> float:
    c = PRESETS[model]
    r, f = c.n_kv_heads / c.n_heads, c.ffn_size / c.hidden_size
    return 2 * f * (3 + 2 * r) / (1 + 3 * f) - 1 - 2 * r
