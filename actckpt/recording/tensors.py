"""Tensors wherever they are: in containers, dataclasses and objects, inside of wrappers, behind functions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_iter, tree_map_only

from actckpt.errors import InputError

_SAVED: Any = torch._C._autograd.SavedTensor
# what is not searched: it leads to all of a program, and holds no tensor that a run keeps
_CLOSED = (nn.Module, type, ModuleType, str, bytes, int, float, complex, bool, type(None), torch.dtype, torch.device)
_ENDS = (Tensor, *_CLOSED)


def is_wrapper(kind: type) -> bool:
    """Whether tensors of a class are wrapped around others, as a DTensor is around its local tensor."""
    return hasattr(kind, "__tensor_flatten__") and hasattr(kind, "__tensor_unflatten__")


def plain(tensor: Tensor) -> Iterator[Tensor]:
    """The tensor itself, or those that it is wrapped around: they have the memory.

    Raises:
        InputError: It is not strided, and so has no storage.
    """
    if is_wrapper(type(tensor)):
        names, _ = tensor.__tensor_flatten__()
        # of a DTensor, its mesh is among them
        for inner in (getattr(tensor, name) for name in names):
            if isinstance(inner, Tensor):
                yield from plain(inner)
    elif tensor.layout is not torch.strided:
        raise InputError(f"a tensor is {tensor.layout}: what it keeps cannot be counted: use strided tensors")
    else:
        yield tensor


def tensors_of(value: Any) -> Iterator[Tensor]:
    """The plain tensors among the arguments of an op or of a module: in containers that PyTorch knows."""
    for leaf in tree_iter(value):
        if isinstance(leaf, Tensor):
            yield from plain(leaf)


def held_by(root: Any, ends: tuple[type, ...] = ()) -> Iterator[Any]:
    """Everything that an object holds through containers, attributes, closures and saved tensors, itself first.

    Modules and classes are left out: what they hold stays anyway. Into an object of `ends` it does not look, unless it
    is the root.
    """
    seen: dict[int, Any] = {}
    todo = [root]
    while todo:
        held = todo.pop()
        if id(held) not in seen and not isinstance(held, _CLOSED):
            seen[id(held)] = held
            yield held
            if held is root or not isinstance(held, ends):
                todo += reversed(_parts(held))


def _parts(held: Any) -> list[Any]:
    if isinstance(held, _ENDS):
        return []
    if isinstance(held, dict):
        return list(held.values())
    if isinstance(held, list | tuple | set | frozenset):
        return list(held)
    if isinstance(held, FunctionType):
        cells = [cell.cell_contents for cell in held.__closure__ or () if _is_filled(cell)]
        return [*cells, *(held.__defaults__ or ()), *(held.__kwdefaults__ or {}).values()]
    if isinstance(held, MethodType):
        return [held.__self__, held.__func__]
    if isinstance(held, partial):
        return [held.func, *held.args, *held.keywords.values()]
    if isinstance(held, _SAVED):
        return [_packed(held), held.unpack_hook]
    slots = [getattr(held, slot, None) for kind in type(held).__mro__ for slot in getattr(kind, "__slots__", ())]
    return [*slots, *getattr(held, "__dict__", {}).values()]


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018, an empty cell raises
    except ValueError:
        return False
    return True


def _packed(saved: Any) -> Any:
    # as it is stored: nothing is unpacked, so nothing is computed again
    try:
        return saved.data
    except RuntimeError:
        # an undefined tensor
        return None


def fresh(arguments: Any) -> Any:
    """Arguments with copies of their tensors that are no leaves: autograd keeps its leaves alive, saved or not.

    What was one tensor, or shared its memory, is so in the copy.
    """
    bases: dict[int, Tensor] = {}
    copies: dict[int, Tensor] = {}

    def copy(tensor: Tensor) -> Tensor:
        if id(tensor) not in copies:
            copies[id(tensor)] = _copy(tensor, bases)
        return copies[id(tensor)]

    return tree_map_only(Tensor, copy, arguments)


def _copy(tensor: Tensor, bases: dict[int, Tensor]) -> Tensor:
    if is_wrapper(type(tensor)) or tensor.layout is not torch.strided:
        return tensor.detach().requires_grad_(tensor.requires_grad).clone()
    alone = in_new_memory(tensor, bases)
    return _Given.apply(torch.empty((), requires_grad=True), alone) if tensor.requires_grad else alone


def in_new_memory(tensor: Tensor, bases: dict[int, Tensor]) -> Tensor:
    """A copy of a tensor, as it lies in a copy of its whole storage.

    Args:
        tensor: A plain tensor.
        bases: The copies of storages that there are already, by the address of the original; it gets the new one.
    """
    with torch.no_grad():
        storage = tensor.untyped_storage()
        if storage._cdata not in bases:
            whole = (storage.nbytes() // tensor.itemsize,)
            bases[storage._cdata] = torch.as_strided(tensor.detach(), whole, (1,), 0).clone()
        base = bases[storage._cdata].view(tensor.dtype)
        # .data is no view to autograd, so that a module may change it in place
        return torch.as_strided(base, tensor.shape, tensor.stride(), tensor.storage_offset()).data


class _Given(torch.autograd.Function):
    """Hands out a tensor as if something that needs a gradient had computed it."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, tensor: Tensor) -> Tensor:
        return tensor.data

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return None, None
