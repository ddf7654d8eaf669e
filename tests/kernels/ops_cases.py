"""Inputs for RMSNorm, SwiGLU and RoPE, and what each is by its definition."""

from __future__ import annotations

import torch

from actckpt.ops import rms_norm, rope, swiglu


def randn(*shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


def heads_view(batch, length, heads, head_dim, dtype=torch.float64):
    """Some heads of a projection that all heads share: [B, S, n, D] with a gap between tokens."""
    return randn(batch, length, heads + 3, head_dim, dtype=dtype)[:, :, 1 : heads + 1]


def inverse_frequencies(head_dim):
    return 10_000.0 ** -(torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)


def plain_rms_norm(x, weight, eps=1e-5):
    return weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps))


def plain_swiglu(gate, up):
    return torch.nn.functional.silu(gate) * up


def plain_rope(q, k, inv_freq):
    """As complex numbers: each pair times e to the i angle."""

    def rotate(x):
        angles = torch.outer(torch.arange(x.shape[1], dtype=torch.float64), inv_freq.double())
        turned = torch.complex(*x.double().chunk(2, -1)) * torch.polar(torch.ones_like(angles), angles)[:, None]
        return torch.cat((turned.real, turned.imag), -1)

    return rotate(q), rotate(k)


def norm_inputs(view, dtype=torch.float64):
    x = heads_view(2, 7, 3, 16, dtype) if view else randn(2, 7, 33, dtype=dtype)
    return x, randn(x.shape[-1], dtype=dtype), 1e-5


def swiglu_inputs(view, dtype=torch.float64):
    if view:
        return randn(2, 7, 66, dtype=dtype).chunk(2, -1)
    return randn(2, 7, 33, dtype=dtype), randn(2, 7, 33, dtype=dtype).flip(1)


def rope_inputs(view, dtype=torch.float64):
    make = heads_view if view else lambda *shape: randn(*shape[:4], dtype=dtype)
    return make(2, 9, 4, 16, dtype), make(2, 9, 2, 16, dtype), inverse_frequencies(16)


CASES = {
    "rms_norm": (rms_norm, plain_rms_norm, norm_inputs),
    "swiglu": (swiglu, plain_swiglu, swiglu_inputs),
    "rope": (rope, plain_rope, rope_inputs),
}


def differentiable(inputs):
    """The inputs as leaves that keep their strides, and those of them that get a gradient."""
    leaves = [x.detach().requires_grad_() if isinstance(x, torch.Tensor) else x for x in inputs]
    if inputs[-1].__class__ is torch.Tensor and inputs[-1].dim() == 1:
        leaves[-1] = inputs[-1]
    return leaves, [x for x in leaves if isinstance(x, torch.Tensor) and x.requires_grad]


def as_tuple(outputs):
    return outputs if isinstance(outputs, tuple) else (outputs,)


def gradients_of(outputs, leaves):
    """Of a sum in which every entry of every output has its own weight."""
    weights = [torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view(y.shape).to(y.dtype) for y in outputs]
    return torch.autograd.grad(outputs, leaves, weights)
