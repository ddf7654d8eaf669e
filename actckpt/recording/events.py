"""What a recording is made of: storages, and the events that write them, save them and let them go."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

# what of a storage counts as kept: the rest was there before, and stays
COUNTED = ("input", "op")


@dataclass
class Storage:
    """A piece of memory that tensors lie in.

    Attributes:
        number: Its place in `Recording.storages`.
        kind: "input" (an argument of the model), "op" (written during the run), "parameter", "buffer", "gathered" (a
            parameter that sharding put together for the run), "outside" (there before, and none of the model's), or
            "scratch" (what the recorder makes for itself).
        bytes: Its size when it was first seen.
        shape: Of the tensor that was first seen in it.
        dtype: Of the same, as "bfloat16".
        device: Of the same.
        op: The overload that wrote it, as "aten.mm.default"; "" where none did.
        result: Which of the results of the op it is, as "logsumexp" or "1"; "" where there is one.
        path: The module in which that happened.
        source: The line of the user's code, as "model.py:12".
        reference: Tells when it is freed.
    """

    number: int
    kind: str
    bytes: int
    shape: tuple[int, ...]
    dtype: str
    device: str
    op: str = ""
    result: str = ""
    path: str = ""
    source: str = ""
    reference: weakref.ref[Any] | None = field(default=None, repr=False)

    @property
    def counts(self) -> bool:
        """Whether it is memory that the run takes."""
        return self.kind in COUNTED


@dataclass(frozen=True, slots=True)
class Op:
    """An op has run.

    Attributes:
        func: The overload.
        path: The module that ran it.
        source: The line of the user's code; "" in a backward pass.
        reads: The storages of its arguments.
        writes: The storages of what it returned.
        new: Those of them that it allocated.
        mutates: Those that it changed in place.
        flops: By the formula of FlopCounterMode; 0 where there is none.
        node: The number of the autograd node that ran it, or the last before it; -1 in a backward pass.
    """

    func: Any
    path: str
    source: str
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    new: tuple[int, ...]
    mutates: tuple[int, ...]
    flops: int
    node: int


@dataclass(frozen=True, slots=True)
class Enter:
    """A module is called, with tensors in the storages `reads`."""

    path: str
    reads: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Exit:
    """A module returns tensors in the storages `writes`."""

    path: str
    writes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pack:
    """Autograd saves a tensor: before the op runs if it is the op's input, afterwards if it is its output."""

    pack: int
    storage: int


@dataclass(frozen=True, slots=True)
class Unpack:
    """A node's formula takes out what `pack` saved, and holds it as the storage `scratch` until it returns."""

    pack: int
    scratch: int


@dataclass(frozen=True, slots=True)
class Release:
    """A node lets go of what `pack` saved."""

    pack: int


@dataclass(frozen=True, slots=True)
class Free:
    """The last tensor in a storage is gone."""

    storage: int


Event = Op | Enter | Exit | Pack | Unpack | Release | Free
