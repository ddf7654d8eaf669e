"""How fast an implementation of attention is."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gpu.exact import Attention, error, last_group, random_inputs, results
from gpu.timing import seconds

# (batch, query heads, key/value heads, length)
Shape = tuple[int, int, int, int]
# An implementation rounds otherwise than the definition does, so that it may be off by a little more than is allowed of
# the package's own. What is off by more than that computes something else.
WRONG = 4


def forward(
    attention: str, takes_groups: bool, head_dim: int, shapes: Sequence[Shape], device: str, repeats: int
) -> dict[str, Any]:
    """Times of the forward pass under a causal mask.

    Args:
        attention: The implementation, a function named as "module:function".
        takes_groups: Whether it takes fewer key/value heads than query heads. If not, it gets contiguous tensors, the
            key/value heads repeated beforehand, untimed.
        head_dim: D.
        shapes: The sizes of each measurement.
        device: "cuda"; "cpu" for a rehearsal.
        repeats: How often each is timed.

    Raises:
        ValueError: The output is wrong, so that its time says nothing.
    """
    run = implementation(attention)
    timings: list[dict[str, Any]] = []
    with torch.no_grad():
        for sizes, inputs in _inputs(takes_groups, head_dim, shapes, device):
            q, k, v, do = (x.detach() for x in inputs)
            if not timings:
                _check([run(q, k, v, True), None, None, None], (q, k, v), do)
            timings.append({**sizes, **seconds(partial(run, q, k, v, True), device, repeats)})
    return {"timings": timings}


def backward(
    attention: str, takes_groups: bool, head_dim: int, shapes: Sequence[Shape], device: str, repeats: int
) -> dict[str, Any]:
    """Times of the backward pass alone; arguments and errors are those of `forward`."""
    run = implementation(attention)
    timings: list[dict[str, Any]] = []
    for sizes, (q, k, v, do) in _inputs(takes_groups, head_dim, shapes, device):
        if not timings:
            _check(results(run, (q, k, v), do, True), (q, k, v), do)
        gradients = partial(torch.autograd.grad, run(q, k, v, True), (q, k, v), do, retain_graph=True)
        timings.append({**sizes, **seconds(gradients, device, repeats)})
    return {"timings": timings}


def implementation(name: str) -> Attention:
    """The function of that name; Triton is imported with the module that needs it."""
    return pkgutil.resolve_name(name)


def _inputs(
    takes_groups: bool, head_dim: int, shapes: Sequence[Shape], device: str
) -> Iterator[tuple[dict[str, Any], tuple[Tensor, Tensor, Tensor, Tensor]]]:
    """What a timing says of its sizes; q, k, v and the gradient of the output."""
    # the interpreter of Triton multiplies the bits of bfloat16
    dtype = torch.bfloat16 if device == "cuda" else torch.float16
    for batch, n, n_kv, length in shapes:
        q, k, v, do = random_inputs(device, batch, (n, n_kv), (length, length), head_dim, dtype)
        if not takes_groups:
            k, v = (x.detach().repeat_interleave(n // n_kv, dim=1) for x in (k, v))
            q, k, v = (x.detach().contiguous().requires_grad_() for x in (q, k, v))
            do = do.contiguous()
        yield {"batch": batch, "heads": (n, n_kv), "head_dim": head_dim, "length": length}, (q, k, v, do)


def _check(actual: Sequence[Tensor | None], inputs: Sequence[Tensor], do: Tensor) -> None:
    """Judge one key/value head, and the query heads that read it."""
    n_kv = inputs[1].shape[1]
    off = error(
        [None if x is None else last_group(x, n_kv) for x in actual],
        [last_group(x, n_kv) for x in inputs],
        last_group(do, n_kv),
        True,
    )
    if off > WRONG:
        raise ValueError(f"the results are off by {off:.2g} times what they may be")
