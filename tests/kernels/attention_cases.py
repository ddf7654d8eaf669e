"""Inputs for attention, what is right for them, and how far off an implementation may be."""

from __future__ import annotations

import math

import torch

# (n, n_kv)
HEADS = {"MHA": (2, 2), "GQA": (4, 2), "MQA": (3, 1)}


def offsets(*lengths):
    """cu_seqlens of documents of these lengths."""
    return torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)


# what a query sees, and (S_q, S_k) to try it on: odd lengths, several of the interpreter's tiles
PACKED = {"cu_seqlens": offsets(33, 1, 0, 47), "cu_seqlens_k": offsets(20, 9, 5, 56)}
MASKS = {
    "window of 20": ((81, 81), {"causal": True, "window": (19, None)}),
    "window of 1": ((40, 40), {"causal": True, "window": (0, None)}),
    "window on both sides": ((70, 90), {"window": (5, 30)}),
    "window to the right": ((90, 70), {"window": (None, 3)}),
    "window to the left": ((33, 81), {"window": (40, None)}),
    "window that sees nothing": ((81, 9), {"window": (3, 0)}),
    "softcap": ((45, 50), {"causal": True, "softcap": 0.7}),
    "softcap in a window": ((50, 50), {"causal": True, "window": (24, None), "softcap": 20.0}),
    "documents": ((81, 81), {"cu_seqlens": offsets(33, 1, 0, 47)}),
    "causal documents": ((81, 81), {"causal": True, "cu_seqlens": offsets(10, 16, 32, 23)}),
    "documents of other keys": ((81, 90), PACKED),
    "all at once": ((81, 90), PACKED | {"causal": True, "window": (12, None), "softcap": 3.0}),
}


def random_inputs(s_q, s_k, n, n_kv, head_dim=16, dtype=torch.float64, transposed=False, batch=2):
    """q, k, v and the gradient of the output."""
    generator = torch.Generator().manual_seed(s_q * 1000 + s_k)

    def randn(heads, length):
        if transposed:
            return torch.randn(batch, length, heads, head_dim, generator=generator, dtype=dtype).transpose(1, 2)
        return torch.randn(batch, heads, length, head_dim, generator=generator, dtype=dtype)

    q, k, v, do = randn(n, s_q), randn(n_kv, s_k), randn(n_kv, s_k), randn(n, s_q)
    return *(x.requires_grad_() for x in (q, k, v)), do


def minus_infinity(dtype=torch.float64):
    """Inputs whose scores of the first 48 keys are -inf: whole tiles for most queries, all keys for five of them."""
    q, k, v, do = (x.detach() for x in random_inputs(70, 81, 1, 1, dtype=dtype, batch=1))
    q[..., 0] = 1
    k[:, :, :48, 0] = -math.inf
    # five queries meet -inf everywhere
    q[..., 1], q[:, :, :5, 1], k[..., 1] = 1, math.inf, -1
    return q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), do


def visible(s_q, s_k, causal=False, window=None, cu_seqlens=None, cu_seqlens_k=None):
    """Which of S_q queries sees which of S_k keys, pair by pair: [S_q, S_k]."""
    left, right = window or (None, None)
    ends_q = [0, s_q] if cu_seqlens is None else cu_seqlens.tolist()
    ends_k = ([0, s_k] if cu_seqlens is None else ends_q) if cu_seqlens_k is None else cu_seqlens_k.tolist()
    seen = torch.zeros(s_q, s_k, dtype=torch.bool)
    for start_q, end_q, start_k, end_k in zip(ends_q, ends_q[1:], ends_k, ends_k[1:], strict=False):
        for i in range(start_q, end_q):
            # the last query of a document stands at its last key
            place = end_k - (end_q - i)
            for j in range(start_k, end_k):
                before, after = left is None or j >= place - left, right is None or j <= place + right
                seen[i, j] = before and after and (not causal or j <= place)
    return seen


def oracle(q, k, v, causal=False, scale=None, softcap=None, **masks):
    """Output and lse as the definition has them: every score at once, heads copied."""
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    s = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    if softcap:
        s = softcap * torch.tanh(s / softcap)
    seen = visible(*s.shape[-2:], causal=causal, **masks).to(s.device)
    s = s.masked_fill(~seen, -math.inf)
    # the softmax of a row that sees nothing is not a number, nor are its gradients
    p = torch.softmax(s.masked_fill(~seen.any(-1, keepdim=True), 0), -1) * seen.any(-1, keepdim=True)
    return p @ v, torch.logsumexp(s, -1)


def run(attention, inputs, do, dtype, dlse=None, **options):
    """Output, lse, dq, dk and dv of `attention` computed in `dtype`, in float64."""
    leaves = [x.detach().to(dtype).requires_grad_() for x in inputs]
    output, lse = attention(*leaves, **options)
    outputs, gradients = (output,), (do.to(dtype),)
    if dlse is not None:
        # the lse of a row that sees nothing is the same whatever q and k are
        outputs, gradients = (output, lse.masked_fill(lse == -math.inf, 0)), (*gradients, dlse.to(lse.dtype))
    return [x.detach().double() for x in (output, lse, *torch.autograd.grad(outputs, leaves, gradients))]


def check_error(attention, inputs, do, dlse=None, impl="auto", **options):
    """At most twice the error of plain attention in the same precision, both against float64.

    Where plain attention happens to be exact, a few roundings of the float32 in which sums are taken are allowed.
    """
    dtype = inputs[0].dtype
    # the definition's gradient of the lse of a row that sees nothing is not a number
    exact, plain = (
        [x.masked_fill(x.isnan(), 0) for x in run(oracle, inputs, do, each, dlse, **options)]
        for each in (torch.float64, dtype)
    )
    actual = run(attention, inputs, do, dtype, dlse, return_lse=True, impl=impl, **options)
    for name, x, same_precision, right in zip(("output", "lse", "dq", "dk", "dv"), actual, plain, exact, strict=True):
        if name == "lse":
            assert torch.equal(x == -math.inf, right == -math.inf), "lse: other rows see nothing"
            x, same_precision, right = (y.masked_fill(y == -math.inf, 0) for y in (x, same_precision, right))
        floor = 16 * torch.finfo(torch.float32).eps * max(1, right.abs().max().item())
        error, allowed = (x - right).abs().max().item(), 2 * (same_precision - right).abs().max().item() + floor
        assert error <= allowed, f"{name}: off by {error:.2e}, allowed {allowed:.2e}"


def check_large_scores(attention, roundings, **options):
    """How far float32's rounding of lse moves the gradients where scores are near 10,000, and that no more does.

    The scores are whole numbers, exact in float32. Then `exp(s - lse)` is off by a factor of `1 ± share`: each rounding
    of lse adds half a unit in its last place. So is every product that is summed into a gradient, and of them delta,
    which enters with its own.
    """
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randint(-1, 2, (1, 2, 40, 16), generator=generator).float() for _ in range(2))
    q[..., 0] = k[..., 0] = 100
    v, do = torch.randn(2, 1, 2, 40, 16, generator=generator)
    exact, actual = (
        [x for index, x in enumerate(results) if index != 1]
        for results in (
            run(oracle, (q, k, v), do, torch.float64, scale=1.0),
            run(attention, (q, k, v), do, torch.float32, return_lse=True, scale=1.0, **options),
        )
    )

    s = q.double() @ k.double().mT
    assert s.max() > 10_000
    share = roundings * 2**-24 * torch.logsumexp(s, -1).max().item()
    p = torch.softmax(s, -1)
    q, k, v, do = (x.abs().double() for x in (q, k, v, do))
    dp = do @ v.mT
    ds = p * (dp + (p * dp).sum(-1, keepdim=True))
    sums = (p @ v, ds @ k, ds.mT @ q, p.mT @ do)
    errors = [((x - right).abs() / total).max().item() for x, right, total in zip(actual, exact, sums, strict=True)]
    assert max(errors) <= share, f"output, dq, dk and dv are off by {errors} of what is summed, allowed {share:.2e}"
    # dv, a sum of few products, shows most of the rounding
    assert errors[3] > share / 20
