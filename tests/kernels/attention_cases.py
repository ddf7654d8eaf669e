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
    exact = run(oracle, (q, k, v), do, torch.float64, causal=False, scale=1.0)
    actual = run(attention, (q, k, v), do, torch.float32, return_lse=True, scale=1.0, **options)

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
