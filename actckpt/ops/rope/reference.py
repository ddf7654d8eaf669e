"""RoPE in PyTorch (Su et al., arXiv 2104.09864), which is its own backward pass.

A pair (a, b) of a head turns by an angle that grows with the position:

    a' = a * cos - b * sin
    b' = b * cos + a * sin

A rotation is undone by the opposite rotation: the gradients are turned with the frequencies negated.
"""

from __future__ import annotations

import torch
from torch import Tensor

from actckpt.ops.implementation import wide_dtype


def forward(q: Tensor, k: Tensor, inv_freq: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys rotated, contiguous."""
    wide = wide_dtype(q)
    positions = torch.arange(q.shape[1], device=q.device, dtype=wide)
    # [S, 1, D / 2]
    angles = torch.outer(positions, inv_freq.to(wide)).unsqueeze(1)
    cos, sin = angles.cos(), angles.sin()
    return _rotate(q, cos, sin), _rotate(k, cos, sin)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.to(cos.dtype).chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(x.dtype).contiguous()
