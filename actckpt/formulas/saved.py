"""What a block keeps under a policy, and what it computes again: both follow from its stages."""

from __future__ import annotations

from dataclasses import replace

from actckpt.algebra import B, Form, H, S, total
from actckpt.blocks.block import Block, Stage, kept_outputs, region_reads, stages_run_again
from actckpt.policy import Policy
from actckpt.step import Flops
from actckpt.terms import Ledger, Term, ledger_of_forms, term_of_forms


def region_saves(stages: list[Stage[Form]], keeps: tuple[str, ...]) -> set[str]:
    """What a checkpointed region keeps: what it reads from outside, and the outputs of the kinds that it keeps."""
    return region_reads(stages) | kept_outputs(stages, keeps)


def checkpointed_ledger(block: Block[Form], policy: Policy) -> Ledger[Form]:
    """What one block keeps for its backward pass under a policy, as PyTorch keeps it.

    A hidden state that a checkpointed region starts from is a checkpoint; any other hidden state is kept because it is
    a norm's input.
    """
    starts = _starts(block, policy)
    return ledger_of_forms(
        replace(term, component="checkpoint") if term.name in starts else term for term in _kept(block, policy)
    )


def published_ledger(block: Block[Form], policy: Policy) -> Ledger[Form]:
    """What one block keeps under a policy, as the workshop and the paper count it.

    A checkpoint is one hidden state of 1·SBH elements. Where a strategy keeps the norms' inputs beside it, it is
    counted twice, as the workshop does.
    """
    kept, starts = _kept(block, policy), _starts(block, policy)
    if not starts:
        return ledger_of_forms(kept)
    checkpoint = term_of_forms("checkpoint", "checkpoint", (S, B, H), "bfloat16")
    whole = any(region.name == "forward" for region in policy.regions)
    return ledger_of_forms((checkpoint, *(term for term in kept if not (whole and term.name in starts))))


def policy_flops(block: Block[Form], policy: Policy, early_stop: bool) -> Flops[Form]:
    """The FLOPs of one block in one step under a policy."""
    again = [region_recompute(block.region(region.name), region.keeps, early_stop) for region in policy.regions]
    return Flops(
        forward=total(stage.forward for stage in block.stages),
        backward=total(stage.backward for stage in block.stages),
        recompute=total(again),
    )


def region_recompute(stages: list[Stage[Form]], keeps: tuple[str, ...], early_stop: bool) -> Form:
    """The FLOPs that the backward pass runs again for a checkpointed region."""
    return total(stage.forward for stage in stages_run_again(stages, early_stop) if stage.kind not in keeps)


def _kept(block: Block[Form], policy: Policy) -> tuple[Term[Form], ...]:
    names = {region.name for region in policy.regions}
    saved = {tensor for stage in block.stages if not any(map(stage.is_inside, names)) for tensor in stage.saves}
    saved = saved.union(*(region_saves(block.region(region.name), region.keeps) for region in policy.regions))
    return tuple(term for name, term in block.tensors.items() if name in saved)


def _starts(block: Block[Form], policy: Policy) -> set[str]:
    # a region that starts from other tensors starts from what is saved anyway
    reads = set().union(*(region_reads(block.region(region.name)) for region in policy.regions))
    return {name for name in reads if block.tensors[name].component == "norm"}
