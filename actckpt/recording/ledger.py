"""ledger: what any module keeps for its backward pass, and who keeps it."""

from __future__ import annotations

import gc
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.eval_frame import OptimizedModule
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack
from torch.utils._pytree import tree_iter

from actckpt.errors import InputError, shown, unknown
from actckpt.recording.cuda import as_on_cuda
from actckpt.recording.events import Storage
from actckpt.recording.recorder import Recorder
from actckpt.recording.saved import Saved, SavedLedger
from actckpt.recording.savers import Saver, savers
from actckpt.recording.tensors import fresh, held_by

DEVICES = ("cuda", "here")


def ledger(model: nn.Module, *inputs: Any, as_on: str | None = None, **options: Any) -> SavedLedger:
    """What `model` keeps for its backward pass when it is called, and who keeps it.

    Any module will do, on any device, on meta or fake tensors too, also one that checkpoints, is sharded, or wraps its
    tensors. On meta tensors nothing is allocated. What is kept is what is alive after the forward pass once the output
    is gone, each storage once, at the size that it has then.

    Args:
        model: It is run once, and has no gradients afterwards that it did not have before.
        inputs: What it is called with. A tensor among them counts if it is kept.
        as_on: "cuda" for what CUDA's kernels of attention, dropout and RMSNorm save, on meta tensors, where it is the
            default; "here" for what the device of the model does.
        options: What it is called with, by name.

    Raises:
        InputError: The answer could not be right: it is no module, it is compiled, or not initialised; it runs in
            inference mode, or inside of other modes or hooks; or no output needs a gradient.
    """
    check(model)
    kernels = kernels_of(as_on, model, (inputs, options))
    recorder = Recorder(model)
    inputs, options = fresh((inputs, options))
    recorder.add("input", (inputs, options))
    try:
        with torch.enable_grad(), kernels as assumed, recorder:
            with recorder.modules(model):
                output = model(*inputs, **options)
            roots = roots_of(output)
            # the graph keeps what it needs; the rest goes
            del inputs, options, output
            kept_by = savers(roots, recorder)
            if any(storage.counts and storage.number not in kept_by for storage in recorder.alive()):
                # perhaps a cycle of objects keeps it alive
                gc.collect()
        return _ledger(model, recorder, kept_by, assumed)
    finally:
        recorder.close()


def _ledger(
    model: nn.Module, recorder: Recorder, kept_by: dict[int, list[Saver]], assumed: list[str] | None
) -> SavedLedger:
    alive = [(storage, _size(storage)) for storage in recorder.alive()]
    apart = dict.fromkeys(("parameter", "buffer", "gathered", "outside"), 0)
    for storage, count in alive:
        if not storage.counts and (storage.number in kept_by or storage.kind == "gathered"):
            apart[storage.kind] += count
    saved = tuple(
        Saved(
            count,
            storage.shape if count == storage.bytes else (count // getattr(torch, storage.dtype).itemsize,),
            storage.dtype,
            storage.device,
            storage.path,
            storage.op or "input",
            storage.result,
            storage.source if storage.op else "",
            tuple(kept_by.get(storage.number, ())),
        )
        for storage, count in alive
        if storage.counts and count
    )
    return SavedLedger(type(model).__name__, "here" if assumed is None else "cuda", tuple(assumed or ()), saved, apart)


def _size(storage: Storage) -> int:
    # sharding gives memory back and takes it again: what counts is its size now
    memory = storage.reference() if storage.reference else None
    return 0 if memory is None else int(memory.nbytes())


def roots_of(output: Any) -> list[Any]:
    """The nodes of the graph that an output of a module leads to.

    Raises:
        InputError: It leads to none.
    """
    tensors = [held for leaf in tree_iter(output) for held in held_by(leaf) if isinstance(held, Tensor)]
    roots = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    if not tensors:
        raise InputError(f"the model returns {shown(type(output))} without a tensor: it must return one")
    if not roots:
        raise InputError(
            "no output of the model needs a gradient, so that nothing is kept: have a parameter or an input that "
            "requires one, and no torch.no_grad() in its forward()"
        )
    return roots


def kernels_of(as_on: str | None, model: nn.Module, arguments: Any) -> AbstractContextManager[list[str] | None]:
    """The context in which tensors save what they do on "cuda" or "here"; None is "cuda" where one is on meta.

    Raises:
        InputError: It is something else, or "cuda" and no tensor is on meta.
    """
    tensors = (*model.parameters(), *model.buffers(), *tree_iter(arguments))
    is_on_meta = any(tensor.is_meta for tensor in tensors if isinstance(tensor, Tensor))
    if as_on is None:
        as_on = "cuda" if is_on_meta else "here"
    if as_on not in DEVICES:
        raise unknown("device in as_on", as_on, DEVICES)
    if as_on == "here":
        return nullcontext()
    if not is_on_meta:
        raise InputError("as_on is 'cuda' and no tensor is on meta: build the model under torch.device('meta')")
    return as_on_cuda()


def check(model: nn.Module) -> None:
    """Refuse what cannot be recorded as it will train.

    Raises:
        InputError: Says why.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"the model is {shown(model)}: it must be a torch.nn.Module")
    if torch.is_inference_mode_enabled():
        raise InputError("this is inference mode, in which nothing is kept: call it outside of torch.inference_mode()")
    if torch._C._autograd._top_saved_tensors_default_hooks(False) is not None:
        raise InputError("saved-tensor hooks are active, and keep other tensors: call it outside of them")
    for mode in _get_current_dispatch_mode_stack():
        if not isinstance(mode, FakeTensorMode):
            raise InputError(f"{type(mode).__name__} is active, and changes what runs: call it outside of it")
    for path, module in model.named_modules():
        if _is_compiled(module):
            raise InputError(
                f"{path or 'the model'} is compiled, and its compiler chooses what is kept: use the model before "
                "torch.compile() or torch.jit"
            )
        if any(map(is_lazy, module._parameters.values())):
            raise InputError(f"{path or 'the model'} has parameters without a size: run the model once before")
        if any(tensor is not None and tensor.is_inference() for tensor in module._parameters.values()):
            raise InputError(f"{path or 'the model'} was made in inference mode, and keeps nothing: make it outside")


def _is_compiled(module: nn.Module) -> bool:
    return (
        isinstance(module, OptimizedModule | torch.jit.ScriptModule)
        or module._compiled_call_impl is not None
        or any(hasattr(value, "_torchdynamo_orig_callable") for value in vars(module).values())
    )
