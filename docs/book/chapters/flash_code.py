"""The code of "Flash attention", as it stands in the package, and what it computes."""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path

import torch

from actckpt import PRESETS, flash_attention
from actckpt.llama import eager_attention
from actckpt.ops.attention import reference
from book.quantities import text
from book.quantities.flash_numbers import MODEL


def algorithm() -> str:
    """The forward pass of the reference, as it stands in the package."""
    return _code(inspect.getsource(reference.attend))


def gradients() -> str:
    """The backward pass of the reference, as it stands in the package."""
    return _code(inspect.getsource(reference.differentiate))


def inner_loop() -> str:
    """The inner loop of the forward kernel, as it stands in the package."""
    source = Path(reference.__file__).with_name("kernels.py").read_text(encoding="utf-8")
    start = source.index("    for start_n in range(", source.index("def forward_kernel("))
    return _code(textwrap.dedent(source[start : source.index("\n\n", start)]))


def accuracy() -> str:
    """How far the op and plain attention are from float64, on the same bfloat16 numbers, as a sentence."""
    generator = torch.Generator().manual_seed(0)
    config = PRESETS[MODEL]
    q, k, v = (torch.randn(1, heads, 300, config.head_dim, generator=generator).bfloat16() for heads in (8, 2, 2))
    exact = flash_attention(q.double(), k.double(), v.double(), causal=True)
    flash, eager = (
        float((output.double() - exact).abs().max())
        for output in (flash_attention(q, k, v, causal=True), eager_attention(q, k, v))
    )
    return (
        f"On {text.mark(str(q.shape[2]))} random tokens in bfloat16 the op is at most {text.mark(f'{flash:.4f}')} from "
        f"what float64 gives; attention that writes its scores out, in the same precision, {text.mark(f'{eager:.4f}')}."
    )


def _code(source: str) -> str:
    return f"``` {{ .python }}\n{source.rstrip()}\n```"
