"""define(): a `torch.library` op from a schema, what it accepts, computes and looks like, and its derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.library import CustomOpDef, custom_op
from torch.utils.flop_counter import register_flop_formula

from actckpt.errors import InputError
from actckpt.ops.differentiation import filled, register_derivative


def define(
    schema: str,
    *,
    check: Callable[..., None],
    compute: Callable[..., Any],
    fake: Callable[..., Any],
    save: Callable[..., None] | None = None,
    gradients: Callable[..., Any] | None = None,
    flops: Callable[..., int] | None = None,
) -> CustomOpDef:
    """Register the op `actckpt::<schema>`.

    `check`, `compute`, `fake` and `flops` get the arguments of the schema, all of them, in its order.

    Args:
        schema: Its name, arguments and returns, as `add(Tensor a, Tensor b) -> Tensor sum`. The measurement labels what
            an op saves by the names of its returns.
        check: Raises an `InputError` for arguments that the op does not take. It runs before `compute` and before
            `fake`, whoever calls the op: the schema's types are all that it can rely on.
        compute: Computes it on real tensors, on any device, with autocast off. Its first argument is a tensor.
        fake: Allocates what `compute` returns, with the same strides, and computes nothing. It serves meta and fake
            tensors.
        save: Called as `save(ctx, inputs, output)`: puts what `gradients` needs on the `torch.autograd.Function`'s
            context.
        gradients: Called as `gradients(ctx, *d_outputs)` with the gradients of the returns: gives that of each
            argument, or None. Without it, as for the op of a backward pass, to differentiate the op is an `InputError`.
        flops: Its floating-point operations, from its arguments; None for an op without a matrix multiplication.
    """
    name, signature = schema.split("(", 1)

    def plain(*given: Any) -> Any:
        args = filled(overload, given)
        check(*args)
        # autocast has had its say on the inputs: in here it would round the sums that are taken in float32
        with torch.autocast(args[0].device.type, enabled=False):
            return compute(*args)

    def checked_fake(*given: Any) -> Any:
        args = filled(overload, given)
        check(*args)
        return fake(*args)

    op = custom_op(f"actckpt::{name}", plain, mutates_args=(), schema=f"({signature}")
    overload = getattr(torch.ops.actckpt, name).default
    op.register_fake(checked_fake)
    op.register_vmap(_one_by_one(op))
    register_derivative(overload, save, gradients)
    if flops is not None:
        formula = register_flop_formula(overload.overloadpacket, get_raw=True)
        formula(lambda *given, out_val: flops(*filled(overload, given)))
    return op


def _one_by_one(op: CustomOpDef) -> Callable[..., Any]:
    """The rule for `torch.func.vmap`: the op on each entry of the mapped dimension."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        def entry(index: int) -> Any:
            return op(*(x if dim is None else x.select(dim, index) for x, dim in zip(args, in_dims, strict=True)))

        if not info.batch_size:
            raise InputError("torch.func.vmap maps over a dimension of size 0: it must be at least 1")
        outputs = [entry(index) for index in range(info.batch_size)]
        if isinstance(outputs[0], Tensor):
            return torch.stack(outputs), 0
        return tuple(map(torch.stack, zip(*outputs, strict=True))), (0,) * len(outputs[0])

    return rule
