"""A closed form that is wrong on purpose, for tests of what notices it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from actckpt import ACCOUNTINGS
from actckpt.algebra import Form
from actckpt.blocks.block import Block


def change_block(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Block[Form]], Block[Form]], accounting: str = "llama"
) -> None:
    """Have an accounting describe its block as `change` has it."""
    right = ACCOUNTINGS[accounting]

    def wrong(*how: Any) -> Block[Form]:
        return change(right.block(*how))

    # a block of its own, so that nothing that was kept of the right one is asked
    monkeypatch.setitem(ACCOUNTINGS, accounting, replace(right, block=wrong))


def drop_saved(tensor: str) -> Callable[[Block[Form]], Block[Form]]:
    """A block that forgets to save a tensor that a stage reads."""

    def forgetful(block: Block[Form]) -> Block[Form]:
        stages = [replace(stage, saves=tuple(name for name in stage.saves if name != tensor)) for stage in block.stages]
        return replace(block, stages=tuple(stages))

    return forgetful


def with_tensor(name: str, **changes: Any) -> Callable[[Block[Form]], Block[Form]]:
    """A block in which one tensor has another shape, dtype or component."""

    def changed(block: Block[Form]) -> Block[Form]:
        return replace(block, tensors={**block.tensors, name: replace(block.tensors[name], **changes)})

    return changed


def wider_gelu_output(block: Block[Form]) -> Block[Form]:
    """The paper's block with a GELU whose output is five times as wide."""
    gelu = block.tensors["gelu_output"]
    return replace(block, tensors={**block.tensors, gelu.name: replace(gelu, shape=(Form.of(5), *gelu.shape))})
