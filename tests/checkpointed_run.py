"""A real run with checkpoints on chosen modules, and what it keeps, computes again and has alive at most."""

import weakref
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.checkpoint import (
    SAC_IGNORED_OPS,
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
    set_checkpoint_early_stop,
)
from torch.utils.flop_counter import flop_registry

from actckpt.recording.recording import _forget, _loss
from actckpt.recording.tensors import fresh


@dataclass(frozen=True)
class Run:
    """What one run did: bytes kept after the forward pass, ops and FLOPs run again, the peak of the backward pass."""

    bytes: int
    ops: int
    flops: int
    peak: int


class Meter(TorchDispatchMode):
    """Counts what is alive, and what runs while `again` is set."""

    def __init__(self, before: Iterator[Tensor]) -> None:
        super().__init__()
        self.alive: dict[int, Any] = {}
        self.before = {tensor.untyped_storage()._cdata for tensor in before}
        self.live = self.peak = self.ops = self.flops = 0
        self.again = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.see_all(out)
        if self.again and func not in SAC_IGNORED_OPS:
            formula = flop_registry.get(func.overloadpacket)
            self.ops += 1
            self.flops += formula(*args, **(kwargs or {}), out_val=out) if formula else 0
        return out

    def see_all(self, values: Any) -> None:
        for tensor in tree_iter(values):
            if isinstance(tensor, Tensor):
                self.see(tensor)

    def see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self.before and key not in self.alive:
            self.alive[key] = weakref.ref(storage, lambda _: self.drop(key, size))
            self.live += size
            self.peak = max(self.peak, self.live)

    def drop(self, key: int, size: int) -> None:
        del self.alive[key]
        self.live -= size


class Again:
    """What a region runs again in. A generator would let go of what selective checkpointing keeps as it ends."""

    def __init__(self, meter: Meter, inner: Any) -> None:
        self.meter, self.inner = meter, inner

    def __enter__(self) -> None:
        self.inner.__enter__()
        self.meter.again = True

    def __exit__(self, *error: Any) -> None:
        self.meter.again = False
        self.inner.__exit__(*error)


def run(
    module: nn.Module,
    plan: Mapping[str, Collection[tuple[Any, int]]],
    *inputs: Any,
    early_stop: bool = True,
    **options: Any,
) -> Run:
    """Run a module with checkpoints on the modules of a plan, each of which keeps some occurrences of ops."""
    meter = Meter(iter((*module.parameters(), *module.buffers())))

    def contexts(keeps: Collection[tuple[Any, int]]) -> tuple[Any, Any]:
        if not keeps:
            return nullcontext(), Again(meter, nullcontext())
        seen: Counter[Any] = Counter()

        def policy(context: Any, func: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
            key = (func, seen[func])
            seen[func] += 1
            return CheckpointPolicy.MUST_SAVE if key in keeps else CheckpointPolicy.PREFER_RECOMPUTE

        forward, again = create_selective_checkpoint_contexts(policy)
        return forward, Again(meter, again)

    hooks = [p.register_post_accumulate_grad_hook(_forget) for p in module.parameters() if p.requires_grad]
    for path, keeps in plan.items():
        child = module.get_submodule(path)
        child.forward = partial(
            checkpoint, type(child).forward.__get__(child), use_reentrant=False, context_fn=partial(contexts, keeps)
        )
    given = fresh((inputs, options))
    meter.see_all(given)
    # only the frame of the call holds them
    arguments = [given]
    del given, inputs, options
    try:
        with meter, set_checkpoint_early_stop(early_stop):
            output = _call(module, arguments)
            loss = _loss(output)
            del output
            kept = meter.live - loss.nbytes
            meter.peak = meter.live
            loss.backward()
            return Run(kept, meter.ops, meter.flops, meter.peak)
    finally:
        for hook in hooks:
            hook.remove()
        for path in plan:
            del module.get_submodule(path).__dict__["forward"]


def _call(module: nn.Module, arguments: list[Any]) -> Any:
    inputs, options = arguments.pop()
    return module(*inputs, **options)
