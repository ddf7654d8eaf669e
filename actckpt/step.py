"""Step: what one training step costs, as the closed form computes it and as the measurement finds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic

from actckpt.algebra import Formula
from actckpt.errors import InputError
from actckpt.policy import Policy
from actckpt.states import States
from actckpt.terms import COMPONENTS, Count, Ledger, Other


@dataclass(frozen=True)
class Flops(Generic[Count]):
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
        """What is recomputed, as a share of what a step without recomputation runs: a float, or an array of them."""
        forward: Any = self.forward
        return self.recompute / (forward + self.backward)

    def map(self, size: Callable[[Count], Other]) -> Flops[Other]:
        """The FLOPs with `size` of each count."""
        return Flops(size(self.forward), size(self.backward), size(self.recompute))


@dataclass(frozen=True)
class Head(Generic[Count]):
    """The final norm, the output projection and the loss.

    Attributes:
        ledger: What they save for the backward pass.
        flops: What they compute in one step, forward and backward.
    """

    ledger: Ledger[Count]
    flops: Count

    def map(self, size: Callable[[Count], Other]) -> Head[Other]:
        """The head with `size` of each count."""
        return Head(self.ledger.map(size), size(self.flops))


@dataclass(frozen=True)
class Step(Generic[Count]):
    """One training step of a model under a policy.

    Attributes:
        model: The model's name.
        seq_len: S, in tokens.
        batch_size: B, in sequences.
        n_layers: L, the number of blocks.
        accounting: "workshop", "paper" or "llama"; "measured" for a measurement.
        attention: "flash" or "eager".
        policy: What is recomputed.
        layers: What each of the L blocks saves.
        head: What comes after the blocks.
        states: Parameters, gradients and optimizer.
        working_bytes: What is in use at the peak, in addition to the states. The workshop's and the paper's accountings
            count only what is saved, without the gradients and the block that is rebuilt.
        flops: Of the L blocks.
        formulas: The same step before sizes were put in; None if it was measured.
    """

    model: str
    seq_len: Count
    batch_size: Count
    n_layers: Count
    accounting: str
    attention: str
    policy: Policy
    layers: tuple[Ledger[Count], ...]
    head: Head[Count]
    states: States
    working_bytes: Count
    flops: Flops[Count]
    formulas: Step[Formula] | None = field(default=None, compare=False, repr=False)

    @property
    def block(self) -> Ledger[Count]:
        """What one block saves. If the policy checkpoints only some blocks, one of those."""
        checkpointed = (ledger for layer, ledger in enumerate(self.layers) if self.policy.checkpoints(layer))
        return next(checkpointed, self.layers[0])

    @property
    def total_bytes(self) -> Count:
        """What all blocks save."""
        return self._sum(lambda ledger: ledger.bytes)

    @property
    def peak_bytes(self) -> Count:
        """The most that is in use at any moment of the step."""
        working: Any = self.working_bytes
        return self.states.bytes + working

    def by_component(self) -> dict[str, Count]:
        """What all blocks save, component by component."""
        return {component: self._sum(partial(Ledger.component_bytes, component=component)) for component in COMPONENTS}

    def formula(self) -> Step[Formula]:
        """The step with a formula in the place of every count.

        Whatever takes a `Step` takes this as well: `step.formula().block.bytes` is a formula, and `str` of it a text.

        Raises:
            InputError: The step was measured.
        """
        if self.formulas is None:
            raise InputError(f"this step is {self.accounting}: only a step of estimate or sweep has a formula")
        return self.formulas

    def map(self, size: Callable[[Count], Other], formulas: Step[Formula] | None = None) -> Step[Other]:
        """The step with `size` of each count, and the formulas that it remembers."""
        # most blocks share one ledger: each is mapped once
        ledgers = {id(ledger): ledger.map(size) for ledger in self._kinds()}
        return Step(
            model=self.model,
            seq_len=size(self.seq_len),
            batch_size=size(self.batch_size),
            n_layers=size(self.n_layers),
            accounting=self.accounting,
            attention=self.attention,
            policy=self.policy,
            layers=tuple([ledgers[id(ledger)] for ledger in self.layers]),
            head=self.head.map(size),
            states=self.states,
            working_bytes=size(self.working_bytes),
            flops=self.flops.map(size),
            formulas=formulas,
        )

    def _kinds(self) -> list[Ledger[Count]]:
        return list({id(ledger): ledger for ledger in self.layers}.values())

    def _sum(self, count: Callable[[Ledger[Count]], Any]) -> Any:
        kinds, times = self._kinds(), Counter(map(id, self.layers))
        if len(kinds) == 1:
            return self.n_layers * count(kinds[0])
        return sum([times[id(ledger)] * count(ledger) for ledger in kinds])

    def to_dict(self) -> dict[str, Any]:
        """The step as the object that `--json` prints."""
        return {
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
