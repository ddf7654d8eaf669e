"""What launches of kernels share: options, the numbers of a tile, tensors as rows."""

from __future__ import annotations

from torch import Tensor

OPTIONS = {"enable_fp_fusion": True}
"""As the kernels are tested; Triton's default is about to change."""

TILE = 4096
"""The numbers of a tile that is read and written once: enough to keep 4 warps loading 16 bytes a thread."""


def as_rows(x: Tensor) -> Tensor:
    """[..., size] as a matrix; a single number as one row of one."""
    return x.reshape(x.shape[:-1].numel(), x.shape[-1:].numel())
