"""apply: a policy put on a Llama, as thin sugar over `torch.utils.checkpoint`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

import actckpt.ops  # noqa: F401, it registers `torch.ops.actckpt`
from actckpt.errors import InputError
from actckpt.policy import KINDS, REGIONS, Policy, get_policy

M = TypeVar("M", bound=nn.Module)

# A selective policy matches overloads; a bare packet never matches, and says nothing.
KEPT_OPS: dict[str, tuple[Any, ...]] = {
    kind: tuple(attrgetter(f"{name}.default")(torch.ops) for name in names) for kind, names in KINDS.items()
}


def is_block(module: nn.Module) -> bool:
    """Whether a module is a block: its class says, in `starts`, which hidden state each of its regions starts from.

    A wrapper, such as `torch.compile` makes one, hands on the attributes of its module, and is no block itself.
    """
    return isinstance(getattr(type(module), "starts", None), Mapping)


def apply(model: M, policy: str | Policy) -> M:
    """Make every block of `model` recompute what `policy` says; a policy that is on it already is replaced.

    The blocks' methods are wrapped, not the modules: names of parameters, hooks and sharding see no difference. Apply
    it after tensor parallelism and before compiling the blocks or `fully_shard`.

    Args:
        model: A module with `LlamaBlock`s in it, or one itself. It is changed and handed back.
        policy: A name in `POLICIES`, `every_N`, or a `Policy`.

    Raises:
        InputError: The policy is unknown, or there is no `LlamaBlock` in the model. The model is then unchanged. And in
            training, a second backward pass through one graph whose policy keeps some ops.
    """
    policy = get_policy(policy)
    modules = model.modules() if isinstance(model, nn.Module) else ()
    blocks = [module for module in modules if is_block(module)]
    if not blocks:
        raise InputError(
            f"{type(model).__name__} has no LlamaBlock in it: apply() checkpoints actckpt's own blocks: "
            "build the model with actckpt.Llama"
        )
    for layer, block in enumerate(blocks):
        for method in REGIONS:
            block.__dict__.pop(method, None)
        if policy.checkpoints(layer):
            for region in policy.regions:
                setattr(block, region.name, partial(_checkpointed, getattr(block, region.name), region.keeps))
    return model


def _checkpointed(method: Callable[..., Any], keeps: tuple[str, ...], *args: Any) -> Any:
    # a function of this module, for pickle to find and for torch.compile to trace: it looks into no partial(checkpoint)
    if not keeps:
        return checkpoint(method, *args, use_reentrant=False, preserve_rng_state=True)
    context_fn = partial(_selective_contexts, [op for kind in keeps for op in KEPT_OPS[kind]])
    return checkpoint(method, *args, use_reentrant=False, preserve_rng_state=True, context_fn=context_fn)


def _selective_contexts(kept: list[Any]) -> tuple[TorchDispatchMode, TorchDispatchMode]:
    forward, recomputation = create_selective_checkpoint_contexts(kept)
    return forward, _Once(recomputation)


class _Once(TorchDispatchMode):
    """The mode of a recomputation, for one recomputation: what was kept is let go as it is handed out."""

    def __init__(self, mode: TorchDispatchMode) -> None:
        super().__init__()
        self.mode = mode
        self.entered = False

    def __enter__(self) -> TorchDispatchMode:
        if self.entered:
            raise InputError(
                "this is a second backward pass through a region whose policy keeps some ops, and the first let go of "
                "what was kept: call backward() once, on the sum of the losses, or apply a policy that keeps none, "
                "such as 'full'"
            )
        self.entered = True
        return self.mode.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.mode.__exit__(*error)
