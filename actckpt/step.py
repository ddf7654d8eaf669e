"""Step: what one training step costs, as the closed form computes it and as the measurement finds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from actckpt.ledger import COMPONENTS, Count, Ledger, total, unbounded
from actckpt.policy import Policy


@dataclass(frozen=True)
class Flops:
    """The floating-point operations of L blocks in one step; a multiplication and an addition count as two.

    Attributes:
        forward: Of the forward pass.
        backward: Of the backward pass, without what is recomputed in it.
        recompute: Of the forward work that the backward pass runs again.
    """

    forward: Count
    backward: Count
    recompute: Count

    @property
    def overhead(self) -> Any:
        """What is recomputed, as a share of what a step without recomputation runs."""
        return self.recompute / (self.forward + self.backward)


# Everything in float32, and Adam's two moments. A bfloat16 model with bfloat16 gradients and float32 main weights in
# the optimizer divides the same 16 bytes otherwise: 2 + 2 + 12.
PARAMETER_BYTES, GRADIENT_BYTES, ADAM_BYTES = 4, 4, 8


@dataclass(frozen=True)
class States:
    """What training keeps in memory whatever the batch, in bytes on one rank."""

    parameters_bytes: int
    gradients_bytes: int
    optimizer_bytes: int

    @classmethod
    def of(cls, n_parameters: int, data_parallel: int = 1) -> States:
        """The states of a model that `data_parallel` ranks share evenly.

        All three are shared: ZeRO stage 3 (arXiv 1910.02054, §5), as `fully_shard` does it.
        """
        share = -(-n_parameters // data_parallel)
        return cls(PARAMETER_BYTES * share, GRADIENT_BYTES * share, ADAM_BYTES * share)

    @property
    def bytes(self) -> int:
        """The sum of the three."""
        return self.parameters_bytes + self.gradients_bytes + self.optimizer_bytes


@dataclass(frozen=True)
class Head:
    """The final norm, the output projection and the loss.

    Attributes:
        ledger: What they save for the backward pass.
        flops: What they compute in one step, forward and backward.
    """

    ledger: Ledger
    flops: Count


@dataclass(frozen=True)
class Step:
    """One training step of a model under a policy.

    Attributes:
        model: The model's name.
        seq_len: S, in tokens; an int64 array where the closed form was asked for many.
        batch_size: B, in sequences.
        accounting: "workshop", "paper" or "llama"; "measured" for a measurement.
        attention: "flash" or "eager".
        policy: What is recomputed.
        layers: What each of the L blocks saves.
        head: What comes after the blocks.
        states: Parameters, gradients and optimizer.
        working_bytes: What is alive at the peak beside the states. The workshop's and the paper's accountings have what
            is saved and no more: the gradients, and the block that is rebuilt, are not counted there.
        flops: Of the L blocks.
    """

    model: str
    seq_len: Count
    batch_size: int
    accounting: str
    attention: str
    policy: Policy
    layers: tuple[Ledger, ...]
    head: Head
    states: States
    working_bytes: Count
    flops: Flops

    @property
    def block(self) -> Ledger:
        """What one block saves: one that the policy checkpoints, where it checkpoints only some."""
        checkpointed = (ledger for layer, ledger in enumerate(self.layers) if self.policy.checkpoints(layer))
        return next(checkpointed, self.layers[0])

    @property
    def total_bytes(self) -> Count:
        """What all blocks save."""
        return self._sum(lambda ledger: ledger.bytes)

    @property
    def peak_bytes(self) -> Count:
        """The most that is alive at any moment of the step."""
        return self.states.bytes + self.working_bytes

    def by_component(self) -> dict[str, Any]:
        """What all blocks save, component by component."""
        return {component: self._sum(partial(Ledger.component_bytes, component=component)) for component in COMPONENTS}

    def _sum(self, count: Callable[[Ledger], Count]) -> Count:
        # most blocks share one ledger: each is counted once
        ledgers, times = {id(ledger): ledger for ledger in self.layers}, Counter(map(id, self.layers))
        counts = [times[key] * unbounded(count(ledger)) for key, ledger in ledgers.items()]
        # a component without a term has as many zeros as there are sequence lengths
        return total([0 * unbounded(self.seq_len), *counts])

    def to_dict(self) -> dict[str, Any]:
        """The step as the object that `--json` prints."""
        return _plain(
            {
                "model": self.model,
                "seq_len": self.seq_len,
                "batch_size": self.batch_size,
                "accounting": self.accounting,
                "attention": self.attention,
                "policy": self.policy.name,
                "activations": {
                    "per_layer_bytes": self.block.bytes,
                    "total_bytes": self.total_bytes,
                    "by_component": self.by_component(),
                    "terms": [term.to_dict() for term in self.block],
                },
                "head": {"saved_bytes": self.head.ledger.bytes, "flops": self.head.flops},
                "states": {
                    "parameters_bytes": self.states.parameters_bytes,
                    "gradients_bytes": self.states.gradients_bytes,
                    "optimizer_bytes": self.states.optimizer_bytes,
                },
                "peak_bytes": self.peak_bytes,
                "flops": {
                    "forward": self.flops.forward,
                    "backward": self.flops.backward,
                    "recompute": self.flops.recompute,
                    "overhead": self.flops.overhead,
                },
            }
        )


def _plain(value: Any) -> Any:
    """`value` with its numpy arrays and scalars as JSON has them."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
