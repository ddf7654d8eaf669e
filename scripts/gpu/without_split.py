"""The kernels of attention without the split of their loop: what the split is worth is timed against them."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

# the kernels' source, changed so that every tile is masked and none is skipped
NO_SPLIT = {
    "return full // BLOCK_N * BLOCK_N, end": "return 0, s_k",
    "return start, diagonal_end, full_end, masked_tiles": (
        "return 0, tl.cdiv(s_q, BLOCK_M) * BLOCK_M, tl.cdiv(s_q, BLOCK_M) * BLOCK_M, tl.cdiv(s_q, BLOCK_M)"
    ),
}


@cache
def without_split() -> Callable[..., Tensor]:
    """Attention by the same algorithm and launches, but every tile is masked and none is skipped."""
    from actckpt.ops.attention import kernels, launch

    source = Path(kernels.__file__).read_text(encoding="utf-8")
    for split, plain in NO_SPLIT.items():
        if source.count(split) != 1:
            raise ValueError(f"{kernels.__file__} does not say {split!r} once: adapt NO_SPLIT")
        source = source.replace(split, plain)
    path = Path(tempfile.mkdtemp()) / "kernels_without_split.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    class Attention(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
            with patch.object(launch, "kernels", module):
                output, lse = launch.forward(q, k, v, causal, q.shape[-1] ** -0.5)
            ctx.save_for_backward(q, k, v, output, lse)
            ctx.causal = causal
            return output

        @staticmethod
        def backward(ctx: Any, do: Tensor) -> tuple[Tensor | None, ...]:
            with patch.object(launch, "kernels", module):
                return *launch.backward(do, *ctx.saved_tensors, ctx.causal, do.shape[-1] ** -0.5), None

    return lambda q, k, v, causal: Attention.apply(q, k, v, causal)
