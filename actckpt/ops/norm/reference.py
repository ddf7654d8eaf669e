"""RMSNorm in PyTorch (Zhang and Sennrich, arXiv 1910.07467), and its gradients from what it saves.

With `rstd = 1 / sqrt(mean(x²) + eps)`, one number a row, and `normed = x * rstd`,

    output   = normed * weight
    d_normed = d_output * weight
    dx       = rstd * (d_normed - normed * mean(d_normed * normed))
    dweight  = the sum of d_output * normed over all rows

What dx subtracts is the part of d_normed that lies along normed: a row's own scale takes it away.
"""

from __future__ import annotations

import torch
from torch import Tensor

from actckpt.ops.implementation import wide_dtype


def forward(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The output, contiguous, and rstd, [...] in the type that x is summed in."""
    rows = x.to(wide_dtype(x))
    # [..., 1]
    rstd = torch.rsqrt(rows.square().mean(-1, keepdim=True) + eps)
    output = (rows * rstd).to(x.dtype) * weight.to(x.dtype)
    return output.contiguous(), rstd.squeeze(-1).contiguous()


def backward(d_output: Tensor, x: Tensor, weight: Tensor, rstd: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of x, contiguous, and of the weight."""
    rstd = rstd.unsqueeze(-1)
    normed = x.to(rstd.dtype) * rstd
    d_output = d_output.to(rstd.dtype)
    d_normed = d_output * weight.to(rstd.dtype)
    dx = rstd * (d_normed - normed * (d_normed * normed).mean(-1, keepdim=True))
    dweight = (d_output * normed).reshape(-1, x.shape[-1]).sum(0)
    return dx.to(x.dtype).contiguous(), dweight.to(weight.dtype)
