"""SwiGLU's gating in PyTorch (Shazeer, arXiv 2002.05202), and its gradients.

With `silu(g) = g * sigmoid(g)`, whose derivative is `sigmoid(g) * (1 + g * (1 - sigmoid(g)))`,

    product = silu(gate) * up
    dgate   = d_product * up * silu'(gate)
    dup     = d_product * silu(gate)
"""

from __future__ import annotations

import torch
from torch import Tensor

from actckpt.ops.implementation import wide_dtype


def forward(gate: Tensor, up: Tensor) -> Tensor:
    """The product, contiguous."""
    wide = wide_dtype(gate)
    g, u = gate.to(wide), up.to(wide)
    return (g * torch.sigmoid(g) * u).to(gate.dtype).contiguous()


def backward(d_product: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of gate and up, contiguous."""
    wide = wide_dtype(gate)
    d, g, u = d_product.to(wide), gate.to(wide), up.to(wide)
    sigmoid = torch.sigmoid(g)
    dgate = d * u * sigmoid * (1 + g * (1 - sigmoid))
    dup = d * g * sigmoid
    return dgate.to(gate.dtype).contiguous(), dup.to(up.dtype).contiguous()
