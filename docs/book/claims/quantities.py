"""The quantities that several claims are checked against."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import log2
from typing import Any

from actckpt import PRESETS, FlopRules, Step, estimate
from actckpt.hardware import GIB
from actckpt.tradeoff import Tradeoff, tradeoff
from book.quantities.sources import SOURCES
from book.quantities.steps import per_sbh

MODEL = "llama-3.1-8b"
MODELS = ("llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b")
LONG = 16_384
LENGTHS = tuple(2**power for power in range(10, 18))
CONFIG = PRESETS[MODEL]
EAGER = {"attention": "eager"}
WORKSHOP = {"accounting": "workshop"}
PAPER = {"accounting": "paper"}

FLASH_1 = '<a href="https://arxiv.org/abs/2205.14135">Dao et al., arXiv 2205.14135</a>'
FLASH_2 = '<a href="https://arxiv.org/abs/2307.08691">Dao, arXiv 2307.08691</a>'
PAPER_LINK = SOURCES["korthikanti"].link
CHECKPOINT = '<a href="https://pytorch.org/docs/stable/checkpoint.html">torch.utils.checkpoint</a>'


@cache
def step(seq_len: int = LONG, policy: str = "none", model: str = MODEL, **how: Any) -> Step[int]:
    """One step, computed once."""
    return estimate(model, seq_len=seq_len, policy=policy, **how)


def sbh(seq_len: int = LONG, policy: str = "none", model: str = MODEL, **how: Any) -> float:
    """Bytes that a block keeps for each S·B·H."""
    return per_sbh(step(seq_len, policy, model, **how).block, model=model, seq_len=seq_len)


def coefficients(component: str = "", model: str = MODEL, policy: str = "none", **how: Any) -> tuple[float, float]:
    """The bytes for each SBH and for each nS²B of a block, or of one component, from two lengths."""
    config, sizes = PRESETS[model], []
    for seq_len in (1024, 2048):
        block = step(seq_len, policy, model, **how).block
        sizes.append(int(block.component_bytes(component) if component else block.bytes))
    once, twice = sizes
    linear, squared = (4 * once - twice) / 2, (twice - 2 * once) / 2
    return linear / (1024 * config.hidden_size), squared / (1024**2 * config.n_heads)


def exponent(seq_len: int = LONG, policy: str = "none", **how: Any) -> float:
    """The power of S by which activations grow when a sequence is doubled."""
    once, twice = (step(s, policy, **how).total_bytes for s in (seq_len, 2 * seq_len))
    return log2(twice / once)


def saved(policy: str, seq_len: int = LONG, model: str = MODEL, **how: Any) -> float:
    """The share of the activations that a policy saves."""
    return float(1 - step(seq_len, policy, model, **how).total_bytes / step(seq_len, "none", model, **how).total_bytes)


def overhead(policy: str, seq_len: int = LONG, model: str = MODEL, **how: Any) -> float:
    """What a policy adds to the FLOPs of a step."""
    return float(step(seq_len, policy, model, **how).flops.overhead)


def compute_share(half: str, seq_len: int, **how: Any) -> float:
    """A half's share of a block's forward FLOPs."""
    flops = estimate(MODEL, seq_len=seq_len, policy=half, rules=FlopRules(early_stop=False), **how).flops
    return float(flops.recompute / flops.forward)


def forward_coefficients(half: str, block: str) -> tuple[float, float]:
    """The forward FLOPs of half a block in units of BSH² and of BS²H.

    Args:
        half: "attention" or "ffn".
        block: "gpt" for the workshop's, "llama" for Llama 3.1 8B with flash attention.
    """
    config = replace(CONFIG, n_layers=1)
    how: dict[str, Any] = WORKSHOP if block == "gpt" else {"rules": FlopRules(early_stop=False)}
    lengths = [4096, 8192]
    flops = [estimate(config, seq_len=s, policy=half, **how).flops.recompute for s in lengths]
    h = config.hidden_size
    once, twice = (f / (s * h) for f, s in zip(flops, lengths, strict=True))
    squared = (twice - once) / 4096
    return (once - 4096 * squared) / h, squared


def advantage(seq_len: int, **how: Any) -> float:
    """Bytes for a percent of FLOPs in the attention half, over the FFN half."""
    one, other = (trade(half, seq_len, **how) for half in ("attention", "ffn"))
    return float(one.bytes_per_percent / other.bytes_per_percent)


@cache
def trade(policy: str, seq_len: int = LONG, model: str = MODEL, **how: Any) -> Tradeoff:
    """What a policy saves and costs, computed once."""
    return tradeoff(model, policy, seq_len=seq_len, **how)


def gib(n_bytes: float) -> float:
    """Bytes in GiB."""
    return n_bytes / GIB
