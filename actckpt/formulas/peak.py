"""The peak: what is alive in the backward pass, gradient by gradient, beside what the forward pass saved.

The backward pass walks a block's stages in reverse. A stage takes the gradients of what it wrote, allocates those of
what it read and of its weight, and lets go of what no earlier stage saved. A weight's gradient goes to its parameter at
once and is one of the training states from there on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import prod
from typing import Any

import numpy as np

from actckpt.config import ModelConfig
from actckpt.formulas.llama import Block, Stage, kept_outputs, region_saves, stages_run_again
from actckpt.ledger import ITEM_BYTES, Count, Ledger, exact, unbounded
from actckpt.policy import Policy
from actckpt.step import Head

WEIGHT_BYTES = ITEM_BYTES["bfloat16"]
# the gradient of the loss itself, which lives as long as the backward pass
ROOT_BYTES = ITEM_BYTES["float32"]


def working_bytes(config: ModelConfig, layers: Sequence[Ledger], backward: Sequence[Count], head: Head) -> Count:
    """The most that is alive at any moment of a step, beside the training states, in bytes.

    Args:
        config: The model.
        layers: What each block saves.
        backward: What `block_backward_bytes` says of each block.
        head: What comes after the blocks.
    """
    of_layer, of_head = [unbounded(ledger.bytes) for ledger in layers], unbounded(head.ledger.bytes)
    saved = sum(of_layer) + of_head
    embedding = WEIGHT_BYTES * config.vocab_size * config.hidden_size
    # A shared weight's gradient is alive from its first use in the backward pass to its last.
    shared = embedding if config.tied_embeddings else 0
    log_probabilities, hidden, total_weight = (
        unbounded(head.ledger[name].bytes) for name in ("loss.log_probabilities", "norm.input", "loss.total_weight")
    )
    logits = log_probabilities * WEIGHT_BYTES // ITEM_BYTES["float32"]
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
    before: Count = 0
    for kept, alive in zip(of_layer, backward, strict=True):
        moments.append(before + alive + shared)
        before = before + kept
    return exact(_largest(moments) + ROOT_BYTES)


def _largest(moments: list[Any]) -> Any:
    return reduce(np.maximum, moments) if any(isinstance(moment, np.ndarray) for moment in moments) else max(moments)


def block_backward_bytes(block: Block, policy: Policy) -> Count:
    """The most that is alive while one block runs backward: its saved tensors, its gradients, its weights' gradients.

    Exact with flash attention. Not counted are the copies in another layout that eager attention makes of q, k, v and
    its output while a region with it is recomputed, a few times 2·nD·S·B bytes where 12·n·S²·B are alive.
    """
    regions = block.regions()
    stages = regions["forward"]
    sizes = {name: prod(shape, start=ITEM_BYTES[dtype]) for name, (shape, dtype) in block.tensors().items()}
    gradients: dict[str, Count] = {"output": sizes["output"]}
    moments = []
    for index, stage in reversed(list(enumerate(stages))):
        if stage.kind == "add":
            # both branches take the same gradient: it stays where it is
            stream, branch = stage.reads
            gradients[stream], gradients[branch] = gradients.pop(*stage.writes), 0
            continue
        made = {name: sizes[name] for name in stage.reads}
        new = sum(made.values()) + WEIGHT_BYTES * stage.weights
        saved = sum(sizes[name] for name in _saved_up_to(index, regions, policy))
        moments.append(saved + sum(gradients.values()) + new)
        for name in stage.writes:
            gradients.pop(name, None)
        if sums := [sizes[name] for name in made if name in gradients]:
            # a gradient that is there already and the new one are added into a third
            saved = sum(sizes[name] for name in _saved_up_to(index - 1, regions, policy)) if index else 0
            moments.append(saved + sum(gradients.values()) + new + sum(sums))
        gradients = made | gradients
    return _largest(moments)


def _saved_up_to(index: int, regions: dict[str, list[Stage]], policy: Policy) -> set[str]:
    """The saved tensors that are alive when the backward pass runs stage `index`: its region has been recomputed."""
    stages = regions["forward"]
    earlier, now = {stage.writes for stage in stages[: index + 1]}, stages[index].writes
    alive: set[str] = set()
    for region in policy.regions:
        inside = regions[region.name]
        writes = {stage.writes for stage in inside}
        if now in writes:
            # until the last of its stages has run backward, a region holds what it started from, and of what it keeps
            # the outputs that its recomputation stopped short of; it lets go of the others as it passes them
            not_reached = inside[len(stages_run_again(inside, early_stop=True)) :]
            alive |= region_saves(inside, ()) | kept_outputs(not_reached, region.keeps)
        elif writes <= earlier:
            alive |= region_saves(inside, region.keeps)
            earlier -= writes
    return alive.union(*(stage.saves for stage in stages if stage.writes in earlier))
