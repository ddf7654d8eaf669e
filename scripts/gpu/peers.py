"""PyTorch's attention: two backends of scaled_dot_product_attention, and FlexAttention."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import torch
import torch._functorch.config
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention


def cudnn(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """cuDNN's attention."""
    return _sdpa(q, k, v, causal, SDPBackend.CUDNN_ATTENTION)


def flash(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """FlashAttention-2, as PyTorch ships it."""
    return _sdpa(q, k, v, causal, SDPBackend.FLASH_ATTENTION)


def flex(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """FlexAttention, compiled. It takes fewer key/value heads than query heads."""
    return _compiled_flex(q.shape[2], causal, q.device)(q, k, v)


def _sdpa(q: Tensor, k: Tensor, v: Tensor, causal: bool, backend: SDPBackend) -> Tensor:
    with sdpa_kernel(backend):
        return scaled_dot_product_attention(q, k, v, is_causal=causal)


@cache
def _compiled_flex(length: int, causal: bool, device: torch.device) -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    mask = None
    if causal:
        mask = create_block_mask(lambda b, h, i, j: i >= j, None, None, length, length, device=device.type)
    # a function is compiled for a few shapes and not for the next, and would then write its scores out
    torch.compiler.reset()
    # the backward pass runs again and again over what the forward pass saved
    torch._functorch.config.donated_buffer = False
    # on the CPU, where nothing is measured, the compiler of C++ would take longest of all
    backend = "inductor" if device.type == "cuda" else "eager"
    compiled = torch.compile(flex_attention, backend=backend, dynamic=False, fullgraph=True)
    return partial(compiled, block_mask=mask, enable_gqa=True)
