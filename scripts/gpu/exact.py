"""What attention is by its definition, and how far from it a result may be."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

Attention = Callable[[Tensor, Tensor, Tensor, bool], Tensor]


def random_inputs(
    device: str, batch: int, heads: Sequence[int], lengths: Sequence[int], head_dim: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q, k, v and the gradient of the output: heads of a projection, as a block hands them over."""
    n, n_kv = heads
    s_q, s_k = lengths
    make = partial(torch.randn, device=device, dtype=dtype)
    q, k, v, do = (
        make(batch, length, count, head_dim).transpose(1, 2)
        for length, count in ((s_q, n), (s_k, n_kv), (s_k, n_kv), (s_q, n))
    )
    return q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), do


def definition(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """Attention with every score at once, in the type of its input."""
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    return _probabilities(q, k, causal) @ v


def results(attention: Attention, inputs: Sequence[Tensor], do: Tensor, causal: bool) -> list[Tensor]:
    """The output, dq, dk and dv."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    q, k, v = leaves
    output = attention(q, k, v, causal)
    return [output.detach(), *torch.autograd.grad(output, leaves, do)]


def error(actual: Sequence[Tensor | None], inputs: Sequence[Tensor], do: Tensor, causal: bool) -> float:
    """How far results are from float64, as a share of what they may be off by: above 1 they are wrong.

    They may be off by twice as much as the definition computed in the type of the inputs. Where that happens to be
    exact, some roundings of what is summed in float32 are allowed.

    Args:
        actual: The output, dq, dk and dv, or None for those that are not judged.
        inputs: q, k and v.
        do: The gradient of the output.
        causal: Whether the mask is causal.
    """
    with torch.enable_grad():
        near = results(definition, inputs, do, causal)
    q, k, v, do = (x.detach().double() for x in (*inputs, do))
    n_kv = k.shape[1]
    k, v = (x.repeat_interleave(q.shape[1] // n_kv, dim=1) for x in (k, v))
    p = _probabilities(q, k, causal)
    exact = _products(p, q, k, v, do, -1, n_kv)
    summed = _products(p, q.abs(), k.abs(), v.abs(), do.abs(), 1, n_kv)
    worst = 0.0
    for x, plain, right, terms in zip(actual, near, exact, summed, strict=True):
        if x is not None:
            allowed = 2 * (plain.double() - right).abs().max() + 32 * torch.finfo(torch.float32).eps * terms
            off = (x.double() - right).abs()
            share = torch.where(off == 0, 0, off / allowed).max().item()
            # what is not a number must not pass
            worst = max(worst, share if share == share else math.inf)
    return worst


def last_group(x: Tensor, n_kv: int) -> Tensor:
    """Of the last entry of the batch, the last key/value head, or the query heads that read it."""
    return x[-1:, -(x.shape[1] // n_kv) :]


def _probabilities(q: Tensor, k: Tensor, causal: bool) -> Tensor:
    s = q @ k.mT * q.shape[-1] ** -0.5
    if causal:
        visible = torch.ones(s.shape[-2:], dtype=torch.bool, device=s.device).tril(s.shape[-1] - s.shape[-2])
        s = s.masked_fill(~visible, -math.inf)
    # a query that sees no key gives 0
    return torch.softmax(s, -1).nan_to_num(0)


def _products(p: Tensor, q: Tensor, k: Tensor, v: Tensor, do: Tensor, sign: int, n_kv: int) -> list[Tensor]:
    """The output, dq, dk and dv from the probabilities, where `sign` is -1; with 1, and no signs, the sum of terms."""
    dp = do @ v.mT
    ds = p * (dp + sign * (p * dp).sum(-1, keepdim=True)) * q.shape[-1] ** -0.5
    dk, dv = (x.unflatten(1, (n_kv, -1)).sum(2) for x in (ds.mT @ q, p.mT @ do))
    return [p @ v, ds @ k, dk, dv]
