"""What describes a block: stages, each with the tensors it saves and the FLOPs it runs, and the regions they form.

Everything that a policy changes follows from that list. A checkpointed region saves what it reads from outside and what
it is told to keep; in the backward pass its stages run again, up to the last one that saves something.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic

from actckpt.algebra import Form
from actckpt.errors import InputError, shown
from actckpt.policy import REGIONS
from actckpt.terms import Count, Other, Term, term_of_forms


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

    Raises:
        InputError: A switch is neither True nor False.
    """

    causal: bool = True
    flash_backward: bool = True
    early_stop: bool = True

    def __post_init__(self) -> None:
        for rule, on in vars(self).items():
            if not isinstance(on, bool):
                raise InputError(f"the rule {rule} is {shown(on)}: it must be True or False")


@dataclass(frozen=True)
class Stage(Generic[Count]):
    """One op of the block's forward pass.

    Attributes:
        region: The innermost region that it runs in.
        reads: The tensors it takes, by name.
        writes: The tensors it makes.
        forward: Its forward FLOPs.
        backward: Its backward FLOPs.
        weights: The number of elements of its weight.
        saves: Those of the tensors that its backward pass needs.
        kind: What a region can keep it by; "add" for the sum of two branches, "" for any other op.
    """

    region: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    forward: Count
    backward: Count
    weights: Count
    saves: tuple[str, ...] = ()
    kind: str = ""

    @property
    def must_finish(self) -> bool:
        """Whether it saves something that it writes, so that a recomputation has to run it to its end."""
        return any(tensor in self.saves for tensor in self.writes)

    def is_inside(self, region: str) -> bool:
        """Whether it runs in a region, or in one inside that."""
        return region in (self.region, *REGIONS[self.region])

    def map(self, size: Callable[[Count], Other]) -> Stage[Other]:
        """The stage with `size` of each of its counts."""
        return Stage(
            self.region,
            self.reads,
            self.writes,
            size(self.forward),
            size(self.backward),
            size(self.weights),
            self.saves,
            self.kind,
        )


@dataclass(frozen=True)
class Block(Generic[Count]):
    """A block, as formulas or at given sizes; `actckpt.blocks.weights` has its weights.

    Attributes:
        tensors: What its stages read and write, in the order in which it is written, under the component that it has
            where nothing is recomputed.
        stages: Its forward pass.
    """

    tensors: Mapping[str, Term[Count]]
    stages: tuple[Stage[Count], ...]

    def region(self, name: str) -> list[Stage[Count]]:
        """The stages of a region; "forward" is the whole block."""
        return [stage for stage in self.stages if stage.is_inside(name)]

    def map(self, size: Callable[[Count], Other]) -> Block[Other]:
        """The block with `size` of each of its counts."""
        return Block(
            MappingProxyType({name: term.map(size, size(term.one)) for name, term in self.tensors.items()}),
            tuple(stage.map(size) for stage in self.stages),
        )


def region_reads(stages: list[Stage[Count]]) -> set[str]:
    """What a region reads from outside."""
    written = {tensor for stage in stages for tensor in stage.writes}
    return {tensor for stage in stages for tensor in stage.reads} - written


def kept_outputs(stages: list[Stage[Count]], keeps: tuple[str, ...]) -> set[str]:
    """The outputs of the stages whose kind is kept."""
    return {tensor for stage in stages if stage.kind in keeps for tensor in stage.writes}


def stages_run_again(stages: list[Stage[Count]], early_stop: bool) -> list[Stage[Count]]:
    """The stages that the recomputation of a checkpointed region goes through, those included that it keeps."""
    last = max(index for index, stage in enumerate(stages) if stage.saves)
    if early_stop and not stages[last].must_finish:
        # what a stage reads is saved before it runs, and then nothing is missing any more
        return stages[:last]
    return stages


def tensors(*terms: tuple[str, str, tuple[Form, ...], str]) -> Mapping[str, Term[Form]]:
    """Tensors by name, from name, component, shape and dtype."""
    return MappingProxyType({term[0]: term_of_forms(*term) for term in terms})
