"""define(): a `torch.library` op from a schema, what computes it, what it looks like, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.library import CustomOpDef, custom_op
from torch.utils.flop_counter import register_flop_formula


def define(
    schema: str, compute: Callable[..., Any], fake: Callable[..., Any], flops: Callable[..., int] | None = None
) -> CustomOpDef:
    """Register the op `actckpt::<schema>`.

    Args:
        schema: Its name, arguments and returns, as `add(Tensor a, Tensor b) -> Tensor sum`. The measurement labels what
            an op saves by the names of its returns.
        compute: Computes it on real tensors, on any device, with autocast off. Its first argument is a tensor.
        fake: Allocates what `compute` returns, with the same strides, and computes nothing. It serves meta and fake
            tensors.
        flops: Its floating-point operations, from its arguments; None for an op without a matrix multiplication.
    """
    name, signature = schema.split("(", 1)

    def plain(first: Tensor, *others: Any, **options: Any) -> Any:
        # autocast has had its say on the inputs: in here it would round the sums that are taken in float32
        with torch.autocast(first.device.type, enabled=False):
            return compute(first, *others, **options)

    op = custom_op(f"actckpt::{name}", plain, mutates_args=(), schema=f"({signature}")
    op.register_fake(fake)
    if flops is not None:
        register_flop_formula(getattr(torch.ops.actckpt, name), get_raw=True)(lambda *a, out_val, **o: flops(*a, **o))
    return op
