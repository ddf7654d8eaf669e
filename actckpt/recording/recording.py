"""record: a forward and a backward pass of any module as events, from which what any policy does follows."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_iter

from actckpt.errors import InputError
from actckpt.recording.events import Event, Op, Pack, Release, Storage, Unpack
from actckpt.recording.ledger import check, kernels_of
from actckpt.recording.recorder import Recorder
from actckpt.recording.tensors import fresh, in_new_memory, is_wrapper


@dataclass(frozen=True)
class Recording:
    """A forward and a backward pass of a module, without a checkpoint.

    Attributes:
        storages: All that were seen.
        events: What happened, in order.
        end: The number of the first event after the forward pass.
        backward: The number of the first event of the backward pass; in between, the output goes.
        survivors: The storages that count and are alive then, without the loss.
        loss: The storage of the loss.
    """

    storages: tuple[Storage, ...]
    events: tuple[Event, ...]
    end: int
    backward: int
    survivors: frozenset[int]
    loss: int

    def ops(self) -> Iterator[tuple[int, Op]]:
        """The ops of the forward pass, each with the number of its event."""
        for number, event in enumerate(self.events[: self.end]):
            if isinstance(event, Op):
                yield number, event

    @cached_property
    def packs(self) -> dict[int, tuple[int, int]]:
        """What autograd saved in the forward pass: by the number of the pack, its event and its storage."""
        return {e.pack: (number, e.storage) for number, e in enumerate(self.events[: self.end]) if isinstance(e, Pack)}

    @cached_property
    def released(self) -> frozenset[int]:
        """The packs that were let go of before the backward pass: of nodes that the loss does not lead to."""
        return frozenset(event.pack for event in self.events[: self.backward] if isinstance(event, Release))


def record(model: nn.Module, *inputs: Any, as_on: str | None = None, **options: Any) -> Recording:
    """Record a forward and a backward pass of `model`, on any device, on meta or fake tensors too.

    The backward pass begins at the scalar that the model returns, or at all its outputs where it returns none. Memory
    outside of ops is counted: not what a kernel allocates while it runs.

    Args:
        model: It has no checkpoint, and afterwards the gradients that it had before.
        inputs: What it is called with.
        as_on: "cuda" or "here", as in `ledger`.
        options: What it is called with, by name.

    Raises:
        InputError: As `ledger`, or a tensor is wrapped around others, as those of a sharded model are.
    """
    check(model)
    kernels = kernels_of(as_on, model, (inputs, options))
    recorder = Recorder(model)
    given = fresh((inputs, options))
    recorder.add("input", given)
    # only the frame of the call holds them
    arguments = [given]
    del given, inputs, options
    try:
        with torch.enable_grad(), kernels, _gradients_aside(model), recorder:
            with recorder.modules(model), torch.autograd.graph.saved_tensors_hooks(*_hooks(recorder)):
                output = _call(model, arguments)
            end = len(recorder.events)
            loss = _loss(output)
            del output
            number = recorder.number(loss, "op")
            survivors = frozenset(storage.number for storage in recorder.alive() if storage.counts) - {number}
            backward = len(recorder.events)
            recorder.in_backward = True
            loss.backward()
        return Recording(tuple(recorder.storages), tuple(recorder.events), end, backward, survivors, number)
    finally:
        recorder.close()


def _call(model: nn.Module, arguments: list[Any]) -> Any:
    inputs, options = arguments.pop()
    return model(*inputs, **options)


class _Handle:
    """What autograd keeps in place of a tensor; it is gone when its node is."""

    __slots__ = ("__weakref__", "pack", "tensor")

    def __init__(self, pack: int, tensor: Tensor) -> None:
        self.pack, self.tensor = pack, tensor


def _hooks(recorder: Recorder) -> tuple[Any, Any]:
    references: list[Any] = []

    def pack(tensor: Tensor) -> _Handle:
        if is_wrapper(type(tensor)):
            raise InputError(f"a saved tensor is a {type(tensor).__name__}: record the model before it is sharded")
        number = len(references)
        recorder.events.append(Pack(number, recorder.number(tensor, "outside")))
        with _disable_current_modes():
            # detached, or a node that saves its output would keep itself alive
            handle = _Handle(number, tensor.detach())
        references.append(weakref.ref(handle, lambda _: recorder.events.append(Release(number))))
        return handle

    def unpack(handle: _Handle) -> Tensor:
        with _disable_current_modes():
            # in memory of its own, which goes when the node's formula has returned
            tensor = in_new_memory(handle.tensor, {})
        recorder.events.append(Unpack(handle.pack, recorder.number(tensor, "scratch")))
        return tensor

    return pack, unpack


@contextmanager
def _gradients_aside(model: nn.Module) -> Iterator[None]:
    """Let each gradient go as soon as it is complete, and give those from before back."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    before = [parameter.grad for parameter in parameters]
    hooks = []
    try:
        for parameter in parameters:
            parameter.grad = None
            hooks.append(parameter.register_post_accumulate_grad_hook(_forget))
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, gradient in zip(parameters, before, strict=True):
            parameter.grad = gradient


def _forget(parameter: Tensor) -> None:
    parameter.grad = None


def _loss(output: Any) -> Tensor:
    outputs = [leaf for leaf in tree_iter(output) if isinstance(leaf, Tensor) and leaf.requires_grad]
    if not outputs:
        raise InputError("no output of the model needs a gradient: have a parameter or an input that requires one")
    scalar = next((leaf for leaf in outputs if leaf.dim() == 0), None)
    return _Loss.apply(*(outputs if scalar is None else (scalar,)))


class _Loss(torch.autograd.Function):
    """A scalar whose gradient by each output is zeros: it holds no output, and nobody holds the zeros."""

    @staticmethod
    def forward(ctx: Any, *outputs: Tensor) -> Tensor:
        ctx.outputs = [(output.shape, output.dtype, output.device) for output in outputs]
        return outputs[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return tuple(torch.zeros(shape, dtype=dtype, device=device) for shape, dtype, device in ctx.outputs)
