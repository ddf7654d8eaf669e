"""FLOPs: of a matmul, of attention, the rules by which PyTorch runs them, and the workshop's arithmetic.

A multiplication and an addition count as two. Everything here is exact: whole numbers in, whole numbers out.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from actckpt.ledger import Count
from actckpt.step import Flops


@dataclass(frozen=True)
class FlopRules:
    """What PyTorch really runs, each rule with a switch.

    Attributes:
        causal: The flash kernel skips what the causal mask and the model's sliding window hide, and counts the pairs
            that it computes. Off: all pairs. Eager attention computes all pairs and masks them afterwards, whatever
            this says.
        flash_backward: The backward pass of flash attention recomputes the scores: five matmuls against the forward
            pass's two (FlashAttention-2, arXiv 2307.08691, §3.1). Off: two for each, as for any other matmul.
        early_stop: The recomputation of a region ends when its last saved tensor is there, so that the matmul that
            nothing later in the region reads is not run again (`torch.utils.checkpoint.set_checkpoint_early_stop`).
    """

    causal: bool = True
    flash_backward: bool = True
    early_stop: bool = True


def linear_flops(tokens: Count, n_in: int, n_out: int) -> Count:
    """Forward FLOPs of a projection of `tokens` rows from width `n_in` to `n_out`."""
    return 2 * tokens * n_in * n_out


def visible_pairs(seq_len: Count, window: int | None = None) -> Count:
    """The (query, key) pairs that a causal mask leaves: S(S + 1)/2, and w(2S - w + 1)/2 with a sliding window.

    A query sees itself and the keys before it, `window` keys at most: one more than the query before it until it sees
    w = min(S, window), and from there on w.
    """
    # an array of Python's ints stays one
    widest: Any = seq_len if window is None else np.minimum(seq_len, window, dtype=object)
    return widest * (2 * seq_len - widest + 1) // 2


def gpt_forward_flops(seq_len: Count, batch_size: int, hidden_size: int) -> dict[str, Count]:
    """Forward FLOPs of the workshop's block, half by half: attention 8BSH² + 4BS²H, FFN 16BSH².

    Multi-head attention without a causal saving, and an FFN of width 4H (arXiv 2205.05198, appendix A). The scores
    and values are `core_attention`, a part of `attention`.
    """
    s, b, h = seq_len, batch_size, hidden_size
    return {
        "attention": 8 * b * s * h * h + 4 * b * s * s * h,
        "ffn": 16 * b * s * h * h,
        "core_attention": 4 * b * s * s * h,
    }


def step_flops(forward: Count, recomputed: Count) -> Flops:
    """A step by the workshop's rules: the backward pass costs twice the forward pass, and nothing stops early."""
    return Flops(forward=forward, backward=2 * forward, recompute=recomputed)


def workshop_overheads(attention: int, ffn: int) -> dict[str, Fraction]:
    """Recomputed FLOPs as a share of a step, for each strategy, from a block's forward FLOPs.

    This is the workshop's formula F_recomputed / (3 · F_total); with 100 and 300 it is its worked example.
    """
    recomputed = {"none": 0, "attention": attention, "ffn": ffn, "both": attention + ffn}
    return {name: Fraction(flops, 3 * (attention + ffn)) for name, flops in recomputed.items()}
