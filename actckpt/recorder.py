"""Recorder: sees every op of a training step, and knows what is alive, what it is called and what has been computed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


@dataclass
class Storage:
    """A storage that is alive.

    Attributes:
        order: Counts up as storages are written; a copy has the number of its original.
        layer: The path of the block that it belongs to; "" outside the blocks.
        name: What wrote it.
        shape: Of the tensor that was written into it; flat where the storage is larger.
        dtype: Of the same.
        bytes: Its size.
        reference: Tells when it is freed.
    """

    order: int
    layer: str
    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    bytes: int
    reference: weakref.ref[torch.UntypedStorage]


class Recorder(TorchDispatchMode):
    """Counts storages and FLOPs from op to op.

    What was there before the recording does not count, so parameters do not. A gradient counts until it has been
    accumulated into its parameter. The state of the random generators, which a checkpoint keeps in host memory, is not
    written by an op and does not count.

    Args:
        module: Its modules give what they write the names of their paths.
        is_block: Whether a module is a block: paths are named from there on.
        op_names: What to call what an op writes that runs in no module of a block, by the name of the op.

    Attributes:
        alive: The storages that are alive, by their address.
        live_bytes: Their size.
        peak_bytes: The most that it has been.
        flops: What has been computed, by the formulas of FlopCounterMode.
        block_flops: The part of it that ran inside blocks in `forward()`.
        forward_flops: The part of it that is forward work; in a backward pass that is what is recomputed.
    """

    def __init__(self, module: nn.Module, is_block: Callable[[nn.Module], bool], op_names: Mapping[str, str]) -> None:
        super().__init__()
        self._is_block, self._op_names = is_block, op_names
        self.alive: dict[int, Storage] = {}
        self.live_bytes = self.peak_bytes = 0
        self.flops = self.block_flops = self.forward_flops = 0
        self._paths = {child: path for path, child in module.named_modules()}
        self._running: list[nn.Module] = []
        self._layer = ""
        self._order = count()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if formula := flop_registry.get(func.overloadpacket):
            flops = formula(*args, **kwargs, out_val=out)
            self.flops += flops
            self.block_flops += flops if self._layer else 0
            self.forward_flops += flops if _is_forward(func) else 0
        for index, returned in enumerate(out if isinstance(out, tuple) else (out,)):
            # a view, or what an op changed in place, is no new storage
            if func._schema.returns[index].alias_info is None:
                for tensor in returned if isinstance(returned, list) else (returned,):
                    self._add(tensor, func, args, index)
        return out

    def _add(self, tensor: Any, func: Any, args: tuple[Any, ...], index: int) -> None:
        # checkpointing keeps an empty tensor of its own
        if not isinstance(tensor, Tensor) or not tensor.untyped_storage().nbytes() or self._find(tensor):
            return
        storage = tensor.untyped_storage()
        entry = self._describe(func, args, index, tensor, storage)
        self.alive[storage._cdata] = entry
        self.live_bytes += entry.bytes
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)

    def _describe(
        self, func: Any, args: tuple[Any, ...], index: int, tensor: Tensor, storage: torch.UntypedStorage
    ) -> Storage:
        key = storage._cdata
        reference = weakref.ref(storage, lambda _: self._drop(key))
        source = self._find(args[0]) if func is torch.ops.aten.clone.default else None
        if source:
            # a copy in another layout is the same tensor to whoever reads the ledger
            return replace(source, bytes=storage.nbytes(), reference=reference)
        # a tensor that does not fill its storage keeps the whole of it alive
        fills = tensor.nbytes == storage.nbytes()
        shape = tuple(tensor.shape) if fills else (storage.nbytes() // tensor.itemsize,)
        return Storage(
            next(self._order), self._layer, self._name(func, index), shape, tensor.dtype, storage.nbytes(), reference
        )

    def _name(self, func: Any, index: int) -> str:
        op, returned = func.overloadpacket.__name__, func._schema.returns[index].name
        path = self._paths[self._running[-1]] if self._running else ""
        place = path.removeprefix(self._layer).removeprefix(".") or self._op_names.get(op, op)
        return f"{place}.{returned}" if returned not in (None, "", "out") else place

    def _find(self, tensor: Tensor) -> Storage | None:
        return self.alive.get(tensor.untyped_storage()._cdata)

    def _drop(self, key: int) -> None:
        if entry := self.alive.pop(key, None):
            self.live_bytes -= entry.bytes

    def forget(self, tensor: Tensor) -> None:
        """Count the storage of `tensor` no longer."""
        self._drop(tensor.untyped_storage()._cdata)

    def saved(self, layer: str | None = None) -> list[Storage]:
        """What is alive and belongs to a layer, or all that is alive, in the order in which it was written."""
        storages = (storage for storage in self.alive.values() if layer in (None, storage.layer))
        return sorted(storages, key=lambda storage: storage.order)

    @contextmanager
    def forward(self) -> Iterator[None]:
        """Name what a forward pass writes after the modules that write it."""
        hooks = (
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, always_call=True),
        )
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if module not in self._paths:
            return
        path = self._paths[module]
        self._running.append(module)
        entry = self._find(args[0]) if args and isinstance(args[0], Tensor) else None
        if self._is_block(module):
            self._layer = path
            if entry:
                entry.layer, entry.name = path, "input"
        elif entry and entry.layer and not self._layer:
            # what the last block wrote is the input of what follows
            entry.layer, entry.name = "", f"{path}.input"

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if module in self._paths:
            self._running.pop()
            if self._is_block(module):
                self._layer = ""


def _is_forward(func: Any) -> bool:
    # A recomputation runs with gradients enabled, the formulas of a backward pass without. The attention op disables
    # them for what is inside it, and has another name for its backward pass.
    return torch.is_grad_enabled() or func is torch.ops.actckpt.flash_attention.default
