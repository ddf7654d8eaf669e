"""Who keeps a storage: the nodes of the graph, and the checkpoints that the graph leads to."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.utils.checkpoint import _CachedTorchDispatchMode, _CheckpointFrame

from actckpt.recording.recorder import Recorder
from actckpt.recording.tensors import held_by, plain

# each is looked into by itself, once
_ENDS = (_CheckpointFrame, _CachedTorchDispatchMode)


@dataclass(frozen=True)
class Saver:
    """Who keeps a storage, and as which tensor.

    Attributes:
        node: The autograd node, as "MulBackward0"; "checkpoint" and "selective checkpoint" for what these keep.
        slot: What the node calls it, as "self"; "input" and "cache" of a checkpoint.
        path: The module that ran the op of the node.
        source: The line of the user's code that did.
        shape: Of the tensor as it was saved.
    """

    node: str
    slot: str
    path: str
    source: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.node}.{self.slot}"


def savers(roots: Iterable[Node], recorder: Recorder) -> dict[int, list[Saver]]:
    """Who keeps which storage, by its number, in the order of the forward pass.

    Args:
        roots: The nodes of the outputs.
        recorder: Of the run that made them. A parameter that it has not seen becomes "gathered".
    """
    found: dict[int, list[Saver]] = {}
    frames: dict[int, _CheckpointFrame] = {}

    def note(node: str, slot: str, place: tuple[str, str], inside: Iterable[Any]) -> None:
        for held in inside:
            if isinstance(held, Tensor):
                for tensor in plain(held):
                    if (number := recorder.find(tensor)) is not None:
                        found.setdefault(number, []).append(Saver(node, slot, *place, tuple(held.shape)))
            elif isinstance(held, _CachedTorchDispatchMode):
                note("selective checkpoint", "cache", place, held_by(held.storage))
            elif isinstance(held, _CheckpointFrame) and id(held) not in frames:
                frames[id(held)] = held
                note("checkpoint", "input", place, held_by(held, _ENDS))

    for node in sorted(_graph(roots), key=lambda node: node._sequence_nr()):
        if isinstance(variable := getattr(node, "variable", None), nn.Parameter):
            recorder.gathered(variable)
        reentrant = node.name() == "CheckpointFunctionBackward"
        place = recorder.place_of(node._sequence_nr())
        for slot, value in _slots(node):
            name: tuple[str, str] = ("checkpoint", "input") if reentrant else (node.name(), slot)
            note(*name, place, held_by(value, _ENDS))
    return found


def _graph(roots: Iterable[Node]) -> Iterator[Node]:
    seen: set[Node] = set()
    todo = list(roots)
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            yield node
            todo += [behind for behind, _ in node.next_functions if behind is not None]


def _slots(node: Node) -> Iterator[tuple[str, Any]]:
    for name in _raw_names(node.__class__):
        yield name.removeprefix("_raw_saved_"), getattr(node, name)
    # attributes of the context of a custom function
    yield from getattr(node, "__dict__", {}).items()


@cache
def _raw_names(kind: Hashable) -> tuple[str, ...]:
    return tuple(name for name in dir(kind) if name.startswith("_raw_saved_"))
