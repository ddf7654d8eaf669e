"""How the ops are differentiated: once, in reverse mode, by autograd and by torch.func.

`CustomOpDef.register_autograd` does not do: its kernel refuses `torch.func.grad`
(https://github.com/pytorch/pytorch/issues/170834), takes the derivative of forward mode to be 0, and has words of its
own for an op without a derivative.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._functorch.utils import enable_single_level_autograd_function
from torch._ops import OpOverload
from torch.autograd import Function, forward_ad
from torch.autograd.forward_ad import _set_fwd_grad_enabled
from torch.library import Library

from actckpt.errors import InputError

_LIBRARY = Library("actckpt", "FRAGMENT")


def register_derivative(op: OpOverload, save: Callable[..., None] | None, gradients: Callable[..., Any] | None) -> None:
    """Make `op` differentiable by `save` and `gradients`, which `define` describes."""

    def below_autograd(keyset: Any, *args: Any) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return op.redispatch(keyset & torch._C._after_autograd_keyset, *args)

    def forward(ctx: Any, *args_and_keyset: Any) -> Any:
        *args, keyset = args_and_keyset
        # an autograd.Function switches derivatives off, which the outer levels of nested transforms are still to take
        with torch.enable_grad(), _set_fwd_grad_enabled(True):
            output = below_autograd(keyset, *args)
        if save is not None:
            save(ctx, args, output)
        return output

    def backward(ctx: Any, *d_outputs: Tensor | None) -> Any:
        if gradients is None:
            raise InputError(
                f"{op.name()} has no derivative: the op whose backward pass it is can be differentiated once; for a "
                "second derivative compute the same with PyTorch's own functions"
            )
        return *gradients(ctx, *d_outputs), None

    function = type(
        f"actckpt_{op._opname}", (Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    )

    def autograd(keyset: Any, *given: Any) -> Any:
        args = filled(op, given)
        tensors = [x for x in args if isinstance(x, Tensor)]
        _check(tensors)
        if not (torch.is_grad_enabled() and any(x.requires_grad for x in tensors)):
            return below_autograd(keyset, *args)
        # Function.apply is for functions above the dispatcher, and takes care of every level of torch.func's transforms
        # itself; here the dispatcher does
        with enable_single_level_autograd_function():
            return super(Function, function).apply(*args, keyset)

    with warnings.catch_warnings():
        # it stands in front of the kernel of custom_op, and PyTorch warns that it does
        warnings.filterwarnings("ignore", "Warning only once for all operators", UserWarning)
        _LIBRARY.impl(op, autograd, "Autograd", with_keyset=True, allow_override=True)


def filled(op: OpOverload, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """All arguments of a call: the dispatcher leaves out what is equal to its default, from the end."""
    return (*given, *_defaults(op)[len(given) :])


@cache
def _defaults(op: OpOverload) -> tuple[Any, ...]:
    return tuple(argument.default_value for argument in op._schema.arguments)


def _check(tensors: list[Tensor]) -> None:
    """Refuse what never gets to the op's own check: nested tensors, and derivatives of forward mode."""
    for tensor in tensors:
        if tensor.is_nested:
            raise InputError("a tensor is nested: the ops take dense tensors, so pad or pack what it holds")
        if forward_ad.unpack_dual(tensor).tangent is not None:
            raise InputError(
                "a tensor carries a forward-mode derivative (torch.func.jvp, torch.autograd.forward_ad), which would "
                "come out as 0: differentiate in reverse mode"
            )
