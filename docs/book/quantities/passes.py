"""The passes of the step that two pictures show, and what they hold, from the package's timeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from actckpt import POLICIES
from actckpt.formulas.timeline import Pass, timeline
from book.quantities import text
from book.quantities.steps import CONFIG, LONG

N_LAYERS = 4


@cache
def passes(policy: str) -> tuple[Pass, ...]:
    """The passes of the picture's model under a policy."""
    config = replace(CONFIG, n_layers=N_LAYERS)
    return tuple(timeline(config, seq_len=LONG, policy=POLICIES[policy]))


def peak(policy: str) -> Pass:
    """The pass in which the most is alive."""
    return max(passes(policy), key=lambda each: each.bytes)


def frame_of(index: int) -> int:
    """The frame of a pass: first comes a frame in which nothing has run, and between the directions the loss."""
    return index + 1 if index < N_LAYERS else index + 2


def forward_total(policy: str) -> str:
    """What the blocks hold when all have run forward."""
    return text.size(of(policy, "forward")[-1].bytes)


def of(policy: str, action: str) -> Sequence[Pass]:
    """The passes of one kind, in order."""
    return [each for each in passes(policy) if each.action == action]
