"""What checkpoints keep and compute again, from a recording without any: nothing is run.

A plan says which modules are checkpointed, by their paths, and of each which ops it keeps: pairs of an overload and the
number of its occurrence in one call of the module, as selective checkpointing counts them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from actckpt.errors import InputError, shown
from actckpt.recording.events import Enter, Exit, Op
from actckpt.recording.recording import Recording

Kept = Collection[tuple[Any, int]]
Plan = Mapping[str, Kept]


@dataclass(frozen=True)
class Region:
    """One call of a checkpointed module.

    Attributes:
        first: The number of the event with which it begins.
        last: The number of the last event that runs again: early stop ends it at its last pack.
        packs: What autograd would save in it.
        is_alive: Whether one of them is still held at the end of the forward pass.
        inputs: The storages that it keeps to begin from: of all its arguments, and of what it reads from outside.
        kept: The events of the ops that it keeps.
        again: The events of the ops that run again.
    """

    first: int
    last: int
    packs: tuple[int, ...]
    is_alive: bool
    inputs: frozenset[int]
    kept: tuple[int, ...]
    again: tuple[int, ...]


@dataclass(frozen=True)
class Prediction:
    """What a plan does to a run.

    Attributes:
        kept: The storages that are kept for the backward pass.
        bytes: Their size.
        ops: How many ops run again.
        flops: What they compute.
    """

    kept: frozenset[int]
    bytes: int
    ops: int
    flops: int


def predict(recording: Recording, plan: Plan, early_stop: bool = True) -> Prediction:
    """What a plan keeps and computes again.

    Args:
        recording: Of the model without a checkpoint.
        plan: By the path of each checkpointed module, the ops that it keeps; empty for no checkpoint.
        early_stop: Whether a region stops once all that is asked for is there, as is PyTorch's default.

    Raises:
        InputError: As `regions`.
    """
    found = regions(recording, plan, early_stop)
    released = recording.released
    inside = {pack for region in found for pack in region.packs}
    packs = recording.packs
    alive = {storage for pack, (_, storage) in packs.items() if pack not in released}
    # what is alive and nobody saved stays under every plan
    kept = set(recording.survivors - alive)
    kept |= {storage for pack, (_, storage) in packs.items() if pack not in released and pack not in inside}
    for region in found:
        if region.is_alive:
            kept |= region.inputs | cached(recording, region)
    kept = {number for number in kept if recording.storages[number].counts}
    again = [recording.events[number] for region in found for number in region.again]
    return Prediction(
        frozenset(kept),
        sum(recording.storages[number].bytes for number in kept),
        len(again),
        sum(event.flops for event in again if isinstance(event, Op)),
    )


def cached(recording: Recording, region: Region) -> set[int]:
    """The storages that selective checkpointing puts aside: those of all results of the ops that are kept."""
    events = (recording.events[number] for number in region.kept)
    return {storage for event in events if isinstance(event, Op) for storage in event.writes}


def regions(recording: Recording, plan: Plan, early_stop: bool = True) -> list[Region]:
    """The calls of the modules of a plan, in order.

    Raises:
        InputError: A path is no module that was called, or lies in another of the plan; an op that is to be kept does
            not run, allocates nothing, or writes what is changed in place; or what a region begins from is.
    """
    packs, released = recording.packs, recording.released
    changed = {number: event for event, op in recording.ops() for number in op.mutates}
    found: list[Region] = []
    for path, keeps in plan.items():
        outer = [other for other in plan if other != path and (not other or path.startswith(f"{other}."))]
        if outer:
            raise InputError(f"{shown(path)} lies in {shown(outer[0])}: checkpoint one of the two")
        calls = _calls(recording, path)
        if not calls:
            raise InputError(f"{shown(path)} is the path of no module that is called")
        ops = [_occurrences(recording, *call) for call in calls]
        running = {key for call in ops for key in call.values()}
        for func, occurrence in keeps:
            if (func, occurrence) not in running:
                raise InputError(f"{func} does not run {occurrence + 1} times in {shown(path)}")
        for (first, last), keys in zip(calls, ops, strict=True):
            inside = {pack: event for pack, (event, _) in packs.items() if first < event < last}
            end = max(inside.values(), default=first) if early_stop else last
            is_alive = not released.issuperset(inside)
            kept = tuple(event for event, key in keys.items() if key in keeps)
            again = tuple(event for event, key in keys.items() if key not in keeps and event < end and is_alive)
            region = Region(first, end, tuple(inside), is_alive, _inputs(recording, first, keys), kept, again)
            _check(recording, region, path, changed)
            found.append(region)
    return sorted(found, key=lambda region: region.first)


def _calls(recording: Recording, path: str) -> list[tuple[int, int]]:
    """The first and the last event of each call of a module."""
    calls, begun = [], []
    for number, event in enumerate(recording.events[: recording.end]):
        if isinstance(event, Enter) and event.path == path:
            begun.append(number)
        elif isinstance(event, Exit) and event.path == path:
            calls.append((begun.pop(), number))
    return calls


def _occurrences(recording: Recording, first: int, last: int) -> dict[int, tuple[Any, int]]:
    """The ops of a call as selective checkpointing counts them, by the numbers of their events."""
    seen: Counter[Any] = Counter()
    keys = {}
    for number, event in enumerate(recording.events[first:last], first):
        if isinstance(event, Op):
            keys[number] = (event.func, seen[event.func])
            seen[event.func] += 1
    return keys


def _inputs(recording: Recording, first: int, keys: dict[int, tuple[Any, int]]) -> frozenset[int]:
    enter = recording.events[first]
    inputs = set(enter.reads) if isinstance(enter, Enter) else set()
    born: set[int] = set()
    for event in map(recording.events.__getitem__, keys):
        if isinstance(event, Op):
            inputs |= set(event.reads) - born
            born |= set(event.new)
    return frozenset(inputs)


def _check(recording: Recording, region: Region, path: str, changed: dict[int, int]) -> None:
    for event in region.kept:
        op = recording.events[event]
        if isinstance(op, Op) and (not op.new or op.mutates or any(changed.get(new, -1) > event for new in op.new)):
            raise InputError(f"{op.func} in {shown(path)} writes no memory that stays as it is: keep another op")
    for storage in map(recording.storages.__getitem__, region.inputs):
        if storage.counts and changed.get(storage.number, -1) > region.first:
            raise InputError(f"{shown(path)} begins from a tensor that is changed in place: it cannot run again")
