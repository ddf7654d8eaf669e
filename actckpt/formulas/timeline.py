"""The timeline: what is alive while a stack of Llama blocks runs forward and backward, pass by pass of each block.

The blocks alone: neither what comes before and after them nor the training states. `peak` has the whole step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from actckpt.algebra import Point
from actckpt.arguments import checked_count
from actckpt.blocks.block import FlopRules
from actckpt.blocks.llama import llama_block
from actckpt.config import ModelConfig
from actckpt.errors import InputError
from actckpt.formulas.peak import block_backward_bytes
from actckpt.formulas.saved import checkpointed_ledger, policy_flops
from actckpt.policy import POLICIES, Policy, Region
from actckpt.terms import Ledger


@dataclass(frozen=True)
class Pass:
    """One pass through one block.

    Attributes:
        action: Which pass it is.
        layer: The block, from 0.
        flops: What it computes.
        kept: What each block holds for the backward pass when this pass has run, or in a backward pass when it begins.
        working_bytes: The most that is alive at any moment of a backward pass beside what is kept, such as gradients.
    """

    action: Literal["forward", "recompute", "backward"]
    layer: int
    flops: int
    kept: tuple[Ledger[int], ...]
    working_bytes: int = 0

    @property
    def bytes(self) -> int:
        """The most that is alive once the pass holds all that it keeps."""
        return sum(ledger.bytes for ledger in self.kept) + self.working_bytes


def timeline(config: ModelConfig, *, seq_len: int, policy: Policy, batch_size: int = 1) -> list[Pass]:
    """Every pass of a step in order: forward from the first block to the last, and backward from the last to the first.

    Flash attention, under the llama accounting.

    Args:
        config: The model.
        seq_len: S, in tokens.
        policy: "none", "full" or `every_N`: what recomputes whole blocks.
        batch_size: B, in sequences.

    Raises:
        InputError: The policy recomputes a part of a block.
    """
    if policy.regions not in ((), (Region("forward"),)):
        raise InputError(f"the timeline has no policy {policy.name!r}: it has none, full and every_N")
    rules = FlopRules()
    block = llama_block(config.traits, "flash", rules)
    point = Point(config.axes(checked_count("seq_len", seq_len), checked_count("batch_size", batch_size)))
    policies = [policy if policy.checkpoints(layer) else POLICIES["none"] for layer in range(config.n_layers)]
    kinds = {POLICIES["none"], *policies}
    saved = {own: checkpointed_ledger(block, own).map(point.count) for own in kinds}
    flops = {own: policy_flops(block, own, rules.early_stop).map(point.count) for own in kinds}
    alive = {own: point.count(block_backward_bytes(block, own)) for own in kinds}
    passes = []
    for layer, own in enumerate(policies):
        kept = tuple(saved[each] for each in policies[: layer + 1])
        passes.append(Pass("forward", layer, flops[own].forward, kept))
    for layer, own in reversed(list(enumerate(policies))):
        rebuilt = _rebuilt(saved[POLICIES["none"]], saved[own])
        kept = (*(saved[each] for each in policies[:layer]), rebuilt)
        if own.regions:
            passes.append(Pass("recompute", layer, flops[own].recompute, kept))
        passes.append(Pass("backward", layer, flops[own].backward, kept, alive[own] - rebuilt.bytes))
    return passes


def _rebuilt(everything: Ledger[int], kept: Ledger[int]) -> Ledger[int]:
    # all that the block's own backward pass reads; what was kept of it stays under its component
    own = {term.name: term for term in kept}
    return Ledger(tuple(own.get(term.name, term) for term in everything))
