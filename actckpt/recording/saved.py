"""SavedLedger: what a run keeps for its backward pass, storage by storage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from actckpt.recording.savers import Saver
from actckpt.tables import size, table

_HEAD = ("bytes", "shape", "dtype", "written by", "saved by", "line")


@dataclass(frozen=True)
class Saved:
    """A storage that stays in memory from the forward to the backward pass.

    Attributes:
        bytes: Its size at the end of the forward pass.
        shape: Of the tensor that was written into it; flat where the storage is larger.
        dtype: As "bfloat16".
        device: As "meta".
        path: The module that wrote it; "" for the model itself and for its inputs.
        op: The overload that wrote it, as "aten.mm.default"; "input" for an argument of the model.
        result: Which of the op's results it is, as "logsumexp" or "1"; "" where there is one.
        source: The line of the user's code that did, as "model.py:12".
        saved_by: Who keeps it. Empty where no node of the graph says so: a module or a global holds it, or a node of a
            C++ extension.
    """

    bytes: int
    shape: tuple[int, ...]
    dtype: str
    device: str
    path: str
    op: str
    result: str
    source: str
    saved_by: tuple[Saver, ...]

    @property
    def name(self) -> str:
        """The module and the op that wrote it, as "mlp.up_proj:mm" or "norm:native_layer_norm.1"."""
        op = self.op.split(".")[1] if "." in self.op else self.op
        written = f"{op}.{self.result}" if self.result else op
        return f"{self.path}:{written}" if self.path else written

    @property
    def shares(self) -> tuple[tuple[int, ...], ...]:
        """The other shapes in which tensors of this storage are saved: its views."""
        return tuple(dict.fromkeys(saver.shape for saver in self.saved_by if saver.shape != self.shape))

    @property
    def savers(self) -> str:
        """Who keeps it, each once, as "MulBackward0.other, self + MmBackward0.mat2"; "unknown" where nobody says so."""
        slots: dict[str, dict[str, None]] = {}
        for saver in self.saved_by:
            slots.setdefault(saver.node, {})[saver.slot] = None
        return " + ".join(f"{node}.{', '.join(names)}" for node, names in slots.items()) or "unknown"

    def to_dict(self) -> dict[str, Any]:
        """The storage as JSON has it."""
        return {
            "name": self.name,
            "path": self.path,
            "op": self.op,
            "saved_by": [str(saver) for saver in self.saved_by],
            "shape": list(self.shape),
            "dtype": self.dtype,
            "device": self.device,
            "bytes": self.bytes,
            "shares": [list(shape) for shape in self.shares],
            "source": self.source,
        }


@dataclass(frozen=True)
class Difference:
    """What one ledger keeps and another does not.

    Attributes:
        only_first: What the first alone keeps.
        only_second: What the second alone keeps.
    """

    only_first: tuple[Saved, ...]
    only_second: tuple[Saved, ...]

    @property
    def bytes(self) -> int:
        """How much more the first keeps; negative where it keeps less."""
        return _bytes(self.only_first) - _bytes(self.only_second)

    def __str__(self) -> str:
        sides = (("only the first keeps", self.only_first), ("only the second keeps", self.only_second))
        parts = [f"{title} {size(_bytes(saved))}\n{_table(saved)}" for title, saved in sides if saved]
        return "\n".join(parts) or "the two keep the same"


@dataclass(frozen=True)
class SavedLedger:
    """What a run keeps for its backward pass, without what was there before. It prints as a table.

    Attributes:
        model: The name of the model's class.
        as_on: "cuda" or "here": whose saved set this is.
        kernels: Where it is CUDA's, the kernels that are assumed, as "flash attention".
        saved: The storages, in the order in which they were written.
        apart: The bytes that the graph holds and that do not count, by kind: "parameter", "buffer", "gathered"
            (parameters that sharding put together, and has not let go of), "outside" (tensors from before that the
            model does not own).
    """

    model: str
    as_on: str
    kernels: tuple[str, ...]
    saved: tuple[Saved, ...]
    apart: dict[str, int]

    def __iter__(self) -> Iterator[Saved]:
        return iter(self.saved)

    def __len__(self) -> int:
        return len(self.saved)

    @property
    def bytes(self) -> int:
        """The sum over all storages."""
        return _bytes(self.saved)

    def where(self, keep: Callable[[Saved], bool]) -> SavedLedger:
        """The ledger of the storages for which `keep` is true."""
        return SavedLedger(self.model, self.as_on, self.kernels, tuple(filter(keep, self.saved)), self.apart)

    def by_module(self, depth: int | None = None) -> dict[str, int]:
        """The bytes that each module wrote, most first; with a depth, below `depth` names of a path together."""
        return self._by(lambda saved: ".".join(saved.path.split(".")[:depth]))

    def by_op(self) -> dict[str, int]:
        """The bytes that each op wrote, most first."""
        return self._by(lambda saved: saved.op)

    def by_saver(self) -> dict[str, int]:
        """The bytes that each node, or each set of nodes together, keeps, most first."""
        return self._by(lambda saved: saved.savers)

    def _by(self, key: Callable[[Saved], str]) -> dict[str, int]:
        sums: Counter[str] = Counter()
        for saved in self.saved:
            sums[key(saved)] += saved.bytes
        return dict(sums.most_common())

    def diff(self, other: SavedLedger) -> Difference:
        """What this ledger keeps and the other does not, and the other way round, by name, shape and dtype."""
        return Difference(_without(self.saved, other.saved), _without(other.saved, self.saved))

    def to_dict(self) -> dict[str, Any]:
        """The ledger as JSON has it."""
        return {
            "model": self.model,
            "as_on": self.as_on,
            "kernels": list(self.kernels),
            "total_bytes": self.bytes,
            "apart": dict(self.apart),
            "terms": [saved.to_dict() for saved in self.saved],
        }

    def __str__(self) -> str:
        kernels = ", ".join(self.kernels) or "ops that save the same everywhere"
        where = f"as on CUDA ({kernels})" if self.as_on == "cuda" else "here"
        apart = "".join(f", {size(count)} of {kind}s apart" for kind, count in self.apart.items() if count)
        title = f"{self.model} keeps {size(self.bytes)} for its backward pass, {where}{apart}"
        return f"{title}\n{_table(self.saved)}" if self.saved else title

    def _repr_html_(self) -> str:
        head, *rows = _rows(self.saved)
        cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        title = escape(str(self).split("\n")[0])
        return f"<table><caption>{title}</caption><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def _bytes(saved: Iterable[Saved]) -> int:
    return sum(one.bytes for one in saved)


def _without(saved: Iterable[Saved], others: Iterable[Saved]) -> tuple[Saved, ...]:
    def key(one: Saved) -> Hashable:
        return (one.name, one.shape, one.dtype, one.bytes)

    left = Counter(map(key, others))
    only = []
    for one in saved:
        if left[key(one)]:
            left[key(one)] -= 1
        else:
            only.append(one)
    return tuple(only)


def _rows(saved: Iterable[Saved]) -> list[tuple[str, ...]]:
    """A row for each storage; those that differ in the numbers of their layers alone have one row."""
    groups: dict[Hashable, list[Saved]] = {}
    for one in saved:
        key = (_layers(one.name), one.op, one.shape, one.dtype, one.savers, one.source)
        groups.setdefault(key, []).append(one)
    return [_HEAD, *map(_row, groups.values())]


def _row(group: list[Saved]) -> tuple[str, ...]:
    one = group[0]
    name = one.name if len(group) == 1 else f"{_layers(one.name)} ({len(group)})"
    shape = " × ".join(map(str, one.shape)) or "scalar"
    return (size(_bytes(group)), shape, one.dtype, name, one.savers, one.source)


def _layers(name: str) -> str:
    """A name with a star for each number of a layer."""
    path, colon, op = name.rpartition(":")
    return ".".join("*" if part.isdigit() else part for part in path.split(".")) + colon + op


def _table(saved: Iterable[Saved]) -> str:
    return table(_rows(saved), right=(0,))
