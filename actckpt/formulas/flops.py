"""FLOPs of a matmul, and the workshop's arithmetic.

A multiplication and an addition count as two. Everything here is exact: whole numbers in, whole numbers out.
"""

from __future__ import annotations

from fractions import Fraction

from actckpt.algebra import Point, total
from actckpt.blocks.block import FlopRules
from actckpt.blocks.gpt import gpt_block
from actckpt.blocks.weights import Traits
from actckpt.step import Flops


def linear_flops(tokens: int, n_in: int, n_out: int) -> int:
    """Forward FLOPs of a projection of `tokens` rows from width `n_in` to `n_out`."""
    return 2 * tokens * n_in * n_out


def gpt_forward_flops(seq_len: int, batch_size: int, hidden_size: int) -> dict[str, int]:
    """Forward FLOPs of the workshop's block, half by half; `core_attention` is a part of attention."""
    block, point = gpt_block(Traits(), "eager", FlopRules()), Point({"S": seq_len, "B": batch_size, "H": hidden_size})
    regions = {"attention": "attention_half", "ffn": "ffn_half", "core_attention": "core_attention"}
    return {name: total(stage.forward for stage in block.region(region)).at(point) for name, region in regions.items()}


def step_flops(forward: int, recomputed: int) -> Flops[int]:
    """A step by the workshop's rules: the backward pass costs twice the forward pass, and nothing stops early."""
    return Flops(forward=forward, backward=2 * forward, recompute=recomputed)


def workshop_overheads(attention: int, ffn: int) -> dict[str, Fraction]:
    """Recomputed FLOPs as a share of a step, for each strategy, from a block's forward FLOPs.

    This is the workshop's formula F_recomputed / (3 · F_total); with 100 and 300 it is its worked example.
    """
    recomputed = {"none": 0, "attention": attention, "ffn": ffn, "both": attention + ffn}
    return {name: Fraction(flops, 3 * (attention + ffn)) for name, flops in recomputed.items()}
