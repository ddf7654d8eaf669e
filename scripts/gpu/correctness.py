"""Whether the attention kernels are right, and give the same bits again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

import torch
from torch import Tensor

from actckpt.ops.attention import flash_attention
from gpu import ours
from gpu.exact import error, random_inputs, results


def correctness(device: str, head_dim: int, dtype: str, cases: Sequence[Sequence[int]]) -> dict[str, Any]:
    """The largest error over cases and masks, as a share of what is allowed; and whether a repeat is equal.

    Args:
        device: "cuda"; "cpu" for a rehearsal.
        head_dim: D.
        dtype: The name of a type of torch.
        cases: (batch, query heads, key/value heads, S_q, S_k) of each.
    """
    # the same inputs in every run
    torch.manual_seed(0)
    worst, repeats_equal = {"causal": 0.0, "full": 0.0}, True
    for (batch, n, n_kv, *lengths), mask in product(cases, worst):
        *inputs, do = random_inputs(device, batch, (n, n_kv), lengths, head_dim, getattr(torch, dtype))
        with poisoned():
            first, again = (results(ours.attention, inputs, do, mask == "causal") for _ in range(2))
        repeats_equal &= all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
        worst[mask] = max(worst[mask], error(first, inputs, do, mask == "causal"))
    return {"cases": len(cases), "error": worst, "repeats_equal": repeats_equal, "right": max(worst.values()) <= 1}


def masks(device: str, head_dim: int, dtype: str, length: int) -> dict[str, Any]:
    """The same for windows, a softcap, packed documents, and tensors without descriptors, with lse's gradient.

    What is right is the reference in float64. All numbers of a result together may be off by one rounding of the type.

    Args:
        device: "cuda"; "cpu" for a rehearsal.
        head_dim: D.
        dtype: The name of a type of torch.
        length: S_q, and nearly S_k.
    """
    torch.manual_seed(0)
    kind = getattr(torch, dtype)
    *inputs, do = random_inputs(device, 1, (4, 2), (length, length + 7), head_dim, kind)
    dlse = torch.randn(1, 4, length, device=device)
    third, half = length // 3, length // 2
    ends, ends_k = (
        torch.tensor(offsets, device=device, dtype=torch.int32)
        for offsets in ([0, third, third, third + 1, length], [0, half, half + 5, half + 5, length + 7])
    )
    documents = {"cu_seqlens": ends, "cu_seqlens_k": ends_k}
    options: dict[str, dict[str, Any]] = {
        "window": {"causal": True, "window": (length // 5, None)},
        "both sides": {"window": (length // 7, length // 3)},
        "softcap": {"causal": True, "softcap": 2.0},
        "documents": documents,
        "all": documents | {"causal": True, "window": (length // 5, None), "softcap": 2.0},
        "pointers": {"causal": True},
    }

    def outcome(tensors: list[Tensor], do: Tensor, impl: str, mask: str) -> list[Tensor]:
        leaves = [x.detach().requires_grad_() for x in tensors]
        if mask == "pointers":
            # one key/value head seen twice has no descriptor
            leaves[1:] = [x[:, :1].detach().expand_as(x).requires_grad_() for x in leaves[1:]]
        output, lse = flash_attention(*leaves, impl=impl, return_lse=True, **options[mask])
        # the lse of a query that sees nothing is -inf, whatever it is asked
        lse = lse.masked_fill(lse == -torch.inf, 0)
        gradients = torch.autograd.grad((output, lse), leaves, (do, dlse.to(lse.dtype)))
        return [output.detach(), lse.detach(), *gradients]

    worst, repeats_equal = {}, True
    for mask in options:
        with poisoned():
            first, again = (outcome(inputs, do, "triton", mask) for _ in range(2))
        repeats_equal &= all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
        exact = outcome([x.double() for x in inputs], do.double(), "reference", mask)
        shares = [(x - right).norm() / right.norm() for x, right in zip(first, exact, strict=True)]
        # what is not a number must not pass
        worst[mask] = torch.stack(shares).max().nan_to_num(torch.inf).item() / torch.finfo(kind).eps
    return {"cases": len(options), "error": worst, "repeats_equal": repeats_equal, "right": max(worst.values()) <= 1}


@contextmanager
def poisoned() -> Iterator[None]:
    """New memory is full of NaN: what a kernel does not write shows."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
