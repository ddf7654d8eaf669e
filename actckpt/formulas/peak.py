"""The peak: what is alive in the backward pass, gradient by gradient, beside what the forward pass saved.

The backward pass walks a block's stages in reverse. A stage takes the gradients of what it wrote, allocates those of
what it read and of its weight, and lets go of what no earlier stage saved. A weight's gradient goes to its parameter at
once and is one of the training states from there on.
"""

from __future__ import annotations

from collections.abc import Iterable

from actckpt.algebra import Form, H, Largest, V, total
from actckpt.blocks.block import Block, kept_outputs, region_reads, stages_run_again
from actckpt.formulas.saved import region_saves
from actckpt.policy import Policy
from actckpt.terms import ITEM_BYTES, Ledger

WEIGHT_BYTES = ITEM_BYTES["bfloat16"]
# the gradient of the loss itself, which lives as long as the backward pass
ROOT_BYTES = ITEM_BYTES["float32"]


def working_bytes(
    saved: Form, backward: Iterable[tuple[Form, Largest]], head: Ledger[Form], tied_embeddings: bool
) -> Largest:
    """The most that is alive at any moment of a step, beside the training states, in bytes.

    Args:
        saved: What all blocks save.
        backward: For the last block of each kind, what the blocks before it save and what `block_backward_bytes` says
            of it: an earlier block of a kind has less before it.
        head: What comes after the blocks.
        tied_embeddings: Whether the output projection shares the embedding's weight.
    """
    saved = saved + head.bytes
    embedding = WEIGHT_BYTES * V * H
    # A shared weight's gradient is alive from its first use in the backward pass to its last.
    shared = embedding if tied_embeddings else Form.of(0)
    log_probabilities, hidden, total_weight = (
        head[name].bytes for name in ("loss.log_probabilities", "norm.input", "loss.total_weight")
    )
    logits = log_probabilities * WEIGHT_BYTES / ITEM_BYTES["float32"]
    moments = [
        # log-softmax: the gradient of its output and of its input, both in float32
        saved - total_weight + 2 * log_probabilities,
        # output projection: the gradients of the logits, of its input and of its weight
        saved - total_weight - log_probabilities + logits + hidden + embedding,
        # embedding: the gradients of its output and of its weight
        hidden + embedding + shared,
        # the two gradients of a shared weight, and their sum
        embedding + 2 * shared,
    ]
    for before, alive in backward:
        moments.extend((alive + (before + shared)).forms)
    return Largest.of(moment + ROOT_BYTES for moment in moments)


def block_backward_bytes(block: Block[Form], policy: Policy) -> Largest:
    """The most that is alive while one block runs backward: its saved tensors, its gradients, its weights' gradients.

    Exact with flash attention. Not counted are the copies in another layout that eager attention makes of q, k, v and
    its output while a region with it is recomputed, a few times 2·nD·S·B bytes where 12·n·S²·B are alive.
    """
    sizes = {name: term.bytes for name, term in block.tensors.items()}
    gradients = {"output": sizes["output"]}
    moments = []
    for index, stage in reversed(list(enumerate(block.stages))):
        if stage.kind == "add":
            # both branches take the same gradient: it stays where it is
            stream, branch = stage.reads
            gradients[stream], gradients[branch] = gradients.pop(*stage.writes), Form.of(0)
            continue
        made = {name: sizes[name] for name in stage.reads}
        new = [*made.values(), WEIGHT_BYTES * stage.weights]
        saved = [sizes[name] for name in _saved_up_to(block, index, policy)]
        moments.append(total([*saved, *gradients.values(), *new]))
        for name in stage.writes:
            gradients.pop(name, None)
        if sums := [sizes[name] for name in made if name in gradients]:
            # a gradient that is there already and the new one are added into a third
            saved = [sizes[name] for name in _saved_up_to(block, index - 1, policy)] if index else []
            moments.append(total([*saved, *gradients.values(), *new, *sums]))
        gradients = made | gradients
    return Largest.of(moments)


def _saved_up_to(block: Block[Form], index: int, policy: Policy) -> set[str]:
    """The saved tensors that are alive when the backward pass runs stage `index`: its region has been recomputed."""
    earlier, now = {stage.writes for stage in block.stages[: index + 1]}, block.stages[index].writes
    alive: set[str] = set()
    for region in policy.regions:
        inside = block.region(region.name)
        writes = {stage.writes for stage in inside}
        if now in writes:
            # until the last of its stages has run backward, a region holds what it started from, and of what it keeps
            # the outputs that its recomputation stopped short of; it lets go of the others as it passes them
            not_reached = inside[len(stages_run_again(inside, early_stop=True)) :]
            alive |= region_reads(inside) | kept_outputs(not_reached, region.keeps)
        elif writes <= earlier:
            alive |= region_saves(inside, region.keeps)
            earlier -= writes
    return alive.union(*(stage.saves for stage in block.stages if stage.writes in earlier))
