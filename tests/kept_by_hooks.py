"""What a module keeps, counted another way: weak handles given to autograd, by storage. Checkpoints are not seen."""

import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


class Handle:
    """What autograd keeps in place of a tensor; it is gone when its node is."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def plain(tensor: Tensor) -> Iterator[Tensor]:
    if hasattr(tensor, "__tensor_flatten__"):
        for name in tensor.__tensor_flatten__()[0]:
            if isinstance(inner := getattr(tensor, name), Tensor):
                yield from plain(inner)
    else:
        yield tensor


def kept_by_hooks(module: nn.Module, *inputs: Any, **options: Any) -> int:
    """The bytes of the storages in which saved tensors are, without the parameters' and the buffers'."""
    own = {part.untyped_storage()._cdata for t in (*module.parameters(), *module.buffers()) for part in plain(t)}
    handles: list[weakref.ref[Handle]] = []

    def pack(tensor: Tensor) -> Handle:
        # detached, or a node that saves its output would keep itself alive
        handle = Handle(tensor.detach())
        handles.append(weakref.ref(handle))
        return handle

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda handle: handle.tensor):
        output = module(*inputs, **options)
    graph = [leaf.grad_fn for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
    del output
    alive = [handle() for handle in handles]
    sizes = {
        part.untyped_storage()._cdata: part.untyped_storage().nbytes()
        for handle in alive
        if handle is not None
        for part in plain(handle.tensor)
    }
    del graph
    return sum(size for key, size in sizes.items() if key not in own)
