"""Recorder: sees every op of a run, and knows which storages there are, who wrote them and which are still alive."""

from __future__ import annotations

import weakref
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from threading import get_ident
from typing import Any

from torch import Tensor, nn
from torch._C._autograd import _get_sequence_nr
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import SAC_IGNORED_OPS
from torch.utils.flop_counter import flop_registry

from actckpt.recording.events import Enter, Event, Exit, Free, Op, Storage
from actckpt.recording.source import line
from actckpt.recording.tensors import is_wrapper, tensors_of

# ops that hand out memory that no op has written: from Python's numbers
_FROM_PYTHON = ("lift_fresh", "lift_fresh_copy")


class Recorder(TorchDispatchMode):
    """Records the ops of the thread that enters it.

    Args:
        module: Its modules give what they run the names of their paths. It is not kept.

    Attributes:
        storages: All that were seen.
        events: What happened, in order.
        in_backward: Whether a backward pass is running, in which no line of the user's is.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.storages: list[Storage] = []
        self.events: list[Event] = []
        self.in_backward = False
        self._numbers: dict[int, int] = {}
        self._running: list[str] = []
        self._places: list[tuple[int, tuple[str, str]]] | None = None
        for kind, tensors in (("parameter", module.parameters()), ("buffer", module.buffers())):
            self.add(kind, tensors)

    def add(self, kind: str, tensors: Any) -> tuple[int, ...]:
        """The numbers of the storages of tensors; one that is new becomes of this kind."""
        return tuple(dict.fromkeys(self.number(tensor, kind) for tensor in tensors_of(list(tensors))))

    def find(self, tensor: Tensor) -> int | None:
        """The number of the storage of a plain tensor, None where it has not been seen."""
        return self._numbers.get(tensor.untyped_storage()._cdata)

    def number(self, tensor: Tensor, kind: str, op: str = "", result: str = "") -> int:
        """The number of the storage of a plain tensor; one that is new becomes of this kind."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._numbers:
            number = self._numbers[key] = len(self.storages)
            # a tensor that does not fill its storage keeps the whole of it alive
            fills = tensor.nbytes == storage.nbytes()
            self.storages.append(
                Storage(
                    number,
                    kind,
                    storage.nbytes(),
                    tuple(tensor.shape) if fills else (storage.nbytes() // tensor.itemsize,),
                    str(tensor.dtype).removeprefix("torch."),
                    str(tensor.device),
                    op,
                    result,
                    self._path,
                    "" if self.in_backward else line(),
                    weakref.ref(storage, lambda _: self._free(key, number)),
                )
            )
        return self._numbers[key]

    def _free(self, key: int, number: int) -> None:
        # an address may have been given to another storage by now
        if self._numbers.get(key) == number:
            del self._numbers[key]
        self.events.append(Free(number))

    def close(self) -> None:
        """Watch the storages no longer."""
        for storage in self.storages:
            storage.reference = None

    @property
    def _path(self) -> str:
        return self._running[-1] if self._running else ""

    def alive(self) -> list[Storage]:
        """The storages that are alive, in the order in which they were first seen."""
        return [self.storages[number] for number in sorted(self._numbers.values())]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(map(is_wrapper, types)):
            # it comes back here as ops on the tensors inside
            return NotImplemented
        kwargs = kwargs or {}
        if func in SAC_IGNORED_OPS:
            # what checkpoints do not count: it asks for a size or a device, or hands on the same memory
            return func(*args, **kwargs)
        from_python = func.overloadpacket.__name__ in _FROM_PYTHON
        # what such an op is given is written by it
        reads = () if from_python else self.add("outside", (args, kwargs))
        first = len(self.storages)
        out = func(*args, **kwargs)
        writes = tuple(self._written(func, out))
        formula = flop_registry.get(func.overloadpacket)
        self.events.append(
            Op(
                func,
                self._path,
                "" if self.in_backward else line(),
                reads,
                writes,
                tuple(range(first, len(self.storages))),
                self._mutated(func, args, kwargs),
                formula(*args, **kwargs, out_val=out) if formula else 0,
                -1 if self.in_backward else _get_sequence_nr() - 1,
            )
        )
        return out

    def _written(self, func: Any, out: Any) -> Iterator[int]:
        """The storages of the results of an op."""
        returns = func._schema.returns
        several = isinstance(out, tuple) and len(out) == len(returns) > 1
        for index, result in enumerate(out if several else (out,)):
            name = returns[index].name or str(index) if several else ""
            for tensor in tensors_of(result):
                yield self.number(tensor, "op", str(func), name)

    def _mutated(self, func: Any, args: Any, kwargs: Any) -> tuple[int, ...]:
        """The storages that an op changed in place; one that was empty until now is written by it."""
        arguments = func._schema.arguments
        given = chain(zip(arguments, args, strict=False), ((a, kwargs[a.name]) for a in arguments if a.name in kwargs))
        written = [value for argument, value in given if argument.alias_info and argument.alias_info.is_write]
        numbers = self.add("outside", written)
        for storage in map(self.storages.__getitem__, numbers):
            if ".empty" in storage.op or ".new_empty" in storage.op:
                storage.op, storage.path, storage.source = str(func), self._path, line()
        return numbers

    @contextmanager
    def modules(self, module: nn.Module) -> Iterator[None]:
        """Name what runs after the modules that run it."""
        thread = get_ident()
        hooks = []

        def enter(path: str) -> Any:
            def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
                if get_ident() == thread:
                    self._running.append(path)
                    self.events.append(Enter(path, self.add("outside", (args, kwargs))))

            return hook

        def leave(path: str) -> Any:
            def hook(module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
                if get_ident() == thread:
                    # while it runs, a sharded module has whole parameters
                    for parameter in module._parameters.values():
                        if parameter is not None:
                            self.gathered(parameter)
                    self._running.pop()
                    self.events.append(Exit(path, self.add("outside", (out,))))

            return hook

        try:
            for path, child in module.named_modules():
                # inside the hooks of others, which may let parameters go
                hooks.append(child.register_forward_pre_hook(enter(path), with_kwargs=True))
                hooks.append(child.register_forward_hook(leave(path), with_kwargs=True, prepend=True, always_call=True))
            yield
        finally:
            for handle in hooks:
                handle.remove()

    def gathered(self, parameter: Tensor) -> None:
        """What is in the storage of a parameter that an op of the run wrote is no activation."""
        for number in self.add("gathered", (parameter,)):
            if self.storages[number].counts:
                self.storages[number].kind = "gathered"

    def place_of(self, node: int) -> tuple[str, str]:
        """The module and the line of the user's code in which an autograd node was made.

        Args:
            node: Its sequence number.
        """
        if self._places is None:
            ops = [event for event in self.events if isinstance(event, Op) and event.node >= 0]
            self._places = sorted({op.node: (op.path, op.source) for op in reversed(ops)}.items())
        index = bisect_right(self._places, node, key=lambda place: place[0]) - 1
        return self._places[index][1] if index >= 0 else ("", "")
