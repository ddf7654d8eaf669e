"""The kernels of RMSNorm, SwiGLU and RoPE without a GPU: run by Triton's interpreter, compiled for three GPUs."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton")

from kernels.interpreter import INSTALLED_AND_OLDEST, run_interpreted


@INSTALLED_AND_OLDEST
def test_in_the_interpreter(oldest):
    run_interpreted("interpreted_ops.py", oldest)


@pytest.mark.parametrize("architecture", [80, 90, 100])
def test_compiles(architecture):
    from kernels.compile_kernels import recorded

    from actckpt.ops.norm import kernels as norm
    from actckpt.ops.rope import kernels as rope
    from actckpt.ops.swiglu import kernels as swiglu

    meta = torch.empty(2, 64, 4096, dtype=torch.bfloat16, device="meta")
    heads = meta.unflatten(-1, (32, 128))
    with recorded(architecture) as compilations:
        _, rstd = norm.forward(meta, meta[0, 0], 1e-5)
        norm.backward(meta, meta, meta[0, 0], rstd)
        norm.forward(heads, heads[0, 0, 0], 1e-5)
        swiglu.backward(meta, meta, swiglu.forward(meta, meta))
        rope.forward(heads, heads, torch.empty(64, device="meta"))
    assert len({compilation.kernel for compilation in compilations}) == 5
    for compilation in compilations:
        assert compilation.build().memory.fits(architecture)
