"""The timeline: what is alive while a stack of Llama blocks runs forward and backward, pass by pass of each block.

The blocks alone: neither what comes before and after them nor the training states. `peak` has the whole step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from actckpt.config import ModelConfig
from actckpt.errors import InputError
from actckpt.formulas.llama import Block, llama_flops, llama_ledger
from actckpt.formulas.peak import block_backward_bytes
from actckpt.ledger import Ledger, total
from actckpt.policy import POLICIES, Policy, Region


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
    kept: tuple[Ledger, ...]
    working_bytes: int = 0

    @property
    def bytes(self) -> int:
        """The most that is alive once the pass holds all that it keeps."""
        return int(total(ledger.bytes for ledger in self.kept)) + self.working_bytes


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
    block = Block(config, seq_len, batch_size, "flash")
    policies = [policy if policy.checkpoints(layer) else POLICIES["none"] for layer in range(config.n_layers)]
    saved = [llama_ledger(block, own) for own in policies]
    passes = []
    for layer, own in enumerate(policies):
        passes.append(Pass("forward", layer, int(llama_flops(block, own).forward), tuple(saved[: layer + 1])))
    for layer, own in reversed(list(enumerate(policies))):
        flops, rebuilt = llama_flops(block, own), _rebuilt(block, own)
        kept = (*saved[:layer], rebuilt)
        if own.regions:
            passes.append(Pass("recompute", layer, int(flops.recompute), kept))
        working = int(block_backward_bytes(block, own)) - int(rebuilt.bytes)
        passes.append(Pass("backward", layer, int(flops.backward), kept, working))
    return passes


def _rebuilt(block: Block, policy: Policy) -> Ledger:
    # all that the block's own backward pass reads; what was kept of it stays under its component
    everything = llama_ledger(block, POLICIES["none"])
    return Ledger(tuple(replace(term, component=policy.component(term.name)) for term in everything))
