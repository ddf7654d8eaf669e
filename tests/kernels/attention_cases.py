"""Inputs for attention, what is right for them, and how far off an implementation may be."""

from __future__ import annotations

import math

import torch

# (n, n_kv)
HEADS = {"MHA": (2, 2), "GQA": (4, 2), "MQA": (3, 1)}


def random_inputs(s_q, s_k, n, n_kv, head_dim=16, dtype=torch.float64, transposed=False, batch=2):
    """q, k, v and the gradient of the output."""
    generator = torch.Generator().manual_seed(s_q * 1000 + s_k)

    def randn(heads, length):
        if transposed:
            return torch.randn(batch, length, heads, head_dim, generator=generator, dtype=dtype).transpose(1, 2)
        return torch.randn(batch, heads, length, head_dim, generator=generator, dtype=dtype)

    q, k, v, do = randn(n, s_q), randn(n_kv, s_k), randn(n_kv, s_k), randn(n, s_q)
    return *(x.requires_grad_() for x in (q, k, v)), do


def oracle(q, k, v, causal, scale=None):
    """Output and lse as the definition has them: every score at once, heads copied."""
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    s = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        visible = torch.ones(s.shape[-2:], dtype=torch.bool, device=s.device).tril(s.shape[-1] - s.shape[-2])
        s = s.masked_fill(~visible, -math.inf)
    return torch.softmax(s, -1).nan_to_num(0) @ v, torch.logsumexp(s, -1)


def run(attention, inputs, do, dtype, **options):
    """Output, dq, dk and dv of `attention` computed in `dtype`, in float64."""
    leaves = [x.detach().to(dtype).requires_grad_() for x in inputs]
    output, _ = attention(*leaves, **options)
    gradients = torch.autograd.grad(output, leaves, do.to(dtype))
    # where a row sees no key, the definition divides by 0 in its backward pass too
    return [x.double() for x in (output, *(gradient.nan_to_num(0) for gradient in gradients))]


def check_error(attention, inputs, do, **options):
    """At most twice the error of plain attention in the same precision, both against float64.

    Where plain attention happens to be exact, a few roundings of the float32 in which sums are taken are allowed.
    """
    dtype = inputs[0].dtype
    plain_options = {name: value for name, value in options.items() if name in ("causal", "scale")}
    exact = run(oracle, inputs, do, torch.float64, **plain_options)
    plain = run(oracle, inputs, do, dtype, **plain_options)
    actual = run(attention, inputs, do, dtype, return_lse=True, **options)
    for name, x, same_precision, right in zip(("output", "dq", "dk", "dv"), actual, plain, exact, strict=True):
        floor = 16 * torch.finfo(torch.float32).eps * max(1, right.abs().max().item())
        error, allowed = (x - right).abs().max().item(), 2 * (same_precision - right).abs().max().item() + floor
        assert error <= allowed, f"{name}: off by {error:.2e}, allowed {allowed:.2e}"
