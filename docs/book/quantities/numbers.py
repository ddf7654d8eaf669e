"""The numbers that stand in prose: `{{ name }}` on a page is what the function of that name returns."""

from __future__ import annotations

import numpy as np

from actckpt import PRESETS, ModelConfig, Step, estimate, sweep
from book.quantities import text

LLAMA_8B = "llama-3.1-8b"
LONG = 16_384
LENGTHS = 2 ** np.arange(10, 18)
# ranks that share the training states where prose speaks of sharing
RANKS = 8


def per_sbh(step: Step, config: ModelConfig) -> float:
    """What a block saves, in bytes for each element of a hidden state."""
    return float(step.block.bytes / (step.seq_len * step.batch_size * config.hidden_size))


def growth(accounting: str, model: str = LLAMA_8B) -> tuple[int, int]:
    """The coefficients of SBH and of nS²B in what a block saves, from its size at two sequence lengths."""
    config = PRESETS[model]
    once, twice = (estimate(config, seq_len=s, accounting=accounting).block.bytes for s in (1024, 2048))
    linear, squared = (4 * once - twice) // 2, (twice - 2 * once) // 2
    return linear // (1024 * config.hidden_size), squared // (1024**2 * config.n_heads)


def _saved(policy: str, accounting: str, seq_len: int) -> float:
    none, step = (estimate(LLAMA_8B, seq_len=seq_len, policy=name, accounting=accounting) for name in ("none", policy))
    return float(1 - step.total_bytes / none.total_bytes)


def _left(policy: str) -> str:
    step = estimate(LLAMA_8B, seq_len=LONG, policy=policy)
    return text.fixed(per_sbh(step, PRESETS[LLAMA_8B]), 2)


def paper_linear() -> str:
    """Bytes for each SBH in the paper's block."""
    return str(growth("paper")[0])


def paper_squared() -> str:
    """Bytes for each nS²B in the paper's block."""
    return str(growth("paper")[1])


def workshop_linear() -> str:
    """Bytes for each SBH, as the workshop counts them."""
    return str(growth("workshop")[0])


def workshop_squared() -> str:
    """Bytes for each nS²B, as the workshop counts them."""
    return str(growth("workshop")[1])


def llama_none() -> str:
    """Bytes for each SBH that a block of Llama 3.1 8B saves."""
    return _left("none")


def llama_full() -> str:
    """The same, when the whole block is recomputed."""
    return _left("full")


def llama_ffn() -> str:
    """The same, when the FFN half is recomputed."""
    return _left("ffn")


def llama_attention() -> str:
    """The same, when the attention half is recomputed."""
    return _left("attention")


def workshop_overhead() -> str:
    """What recomputing both halves adds, by the workshop's rules."""
    return text.percent(estimate(LLAMA_8B, seq_len=LONG, policy="both", accounting="workshop").flops.overhead)


def llama_overheads() -> str:
    """What recomputing whole blocks adds in PyTorch, from the shortest to the longest sequence."""
    shares = sweep(LLAMA_8B, seq_len=LENGTHS, policy="full").flops.overhead
    return f"{text.fixed(100 * min(shares), 0)}–{text.percent(max(shares), 0)}"


def workshop_saved_short() -> str:
    """What recomputing both halves saves at 1K tokens, by the workshop's accounting."""
    return text.percent(_saved("both", "workshop", 1024))


def llama_full_saved() -> str:
    """What recomputing whole blocks saves in a real Llama."""
    return text.percent(_saved("full", "llama", LONG))


def _blocks(accounting: str) -> str:
    return text.prose_gib(estimate(LLAMA_8B, seq_len=LONG, accounting=accounting).total_bytes)


def workshop_blocks() -> str:
    """All blocks of Llama 3.1 8B at 16K tokens, by the workshop's accounting."""
    return _blocks("workshop")


def paper_blocks() -> str:
    """The same by the paper's."""
    return _blocks("paper")


def llama_blocks() -> str:
    """The same, tensor by tensor, of the real block."""
    return _blocks("llama")


def llama_blocks_full() -> str:
    """The same, with whole blocks recomputed."""
    return text.prose_gib(estimate(LLAMA_8B, seq_len=LONG, policy="full").total_bytes)


def states_8b() -> str:
    """Parameters, gradients and Adam of Llama 3.1 8B on one rank."""
    return text.prose_gib(estimate(LLAMA_8B, seq_len=1).states.bytes)


def states_8b_shared() -> str:
    """The same, shared by some ranks."""
    return text.prose_gib(estimate(LLAMA_8B, seq_len=1, data_parallel=RANKS).states.bytes)


def sharing_ranks() -> str:
    """How many ranks those are."""
    return str(RANKS)


def states_405b() -> str:
    """Parameters, gradients and Adam of Llama 3.1 405B on one rank."""
    return text.prose_gib(estimate("llama-3.1-405b", seq_len=1).states.bytes)
