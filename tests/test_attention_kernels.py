"""The attention kernels without a GPU: run by Triton's interpreter, and compiled for GPUs that are not there."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

pytest.importorskip("triton")

from kernels.interpreter import run_interpreted

from actckpt.ops.attention.config import HEAD_DIMS, launches

# one worker of pytest-xdist takes them all, as they share the compilers
pytestmark = pytest.mark.xdist_group("attention_kernels")

ARCHITECTURES = {80: (8, 0), 90: (9, 0), 100: (10, 0)}
DTYPES = ("bfloat16", "float16", "float32")
if os.environ.get("ACTCKPT_COMPILE") == "all":
    # for time's sake not by default: its tiles are those of sm_80, or smaller
    ARCHITECTURES[89] = (8, 9)
MATRIX = list(product(ARCHITECTURES, HEAD_DIMS, DTYPES))


def memory(architecture: int, head_dim: int) -> dict[str, dict[str, Any]]:
    """What each kernel asks for, for every type, once it is compiled to machine code."""
    from kernels.compile_kernels import Compilation

    known: dict[str, Any] = {}
    result: dict[str, dict[str, Any]] = {}
    for dtype in DTYPES:
        result[dtype] = {}
        for call in launched(architecture, head_dim, dtype):
            compilation = Compilation(call, architecture)
            key = compilation.key()
            if key not in known:
                known[key] = compilation.build()
            result[dtype][call.kernel.__name__] = known[key]
    return result


def launched(architecture: int, head_dim: int, dtype: str) -> list[Any]:
    """The kernels of a step as a GPU of this architecture would launch them."""
    from kernels.compile_kernels import recorded

    from actckpt.ops.attention import kernels, launch

    def view(heads: int) -> torch.Tensor:
        return torch.empty(1, 48, heads, head_dim, dtype=getattr(torch, dtype), device="meta").transpose(1, 2)

    q, k, lse = view(4), view(2), torch.empty(1, 4, 48, device="meta")
    config = launches(ARCHITECTURES[architecture], q.dtype.itemsize, head_dim)
    with recorded(kernels) as calls, patch.object(launch, "_launches", lambda _: config):
        launch.forward(q, k, k, True, 1.0)
        launch.backward(q, q, k, k, q, lse, True, 1.0)
    return calls


@pytest.fixture(scope="module")
def compiled():
    """What `memory` returns for every architecture and head dimension, on two cores."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        results: dict[tuple[int, int], Future] = {
            pair: pool.submit(memory, *pair) for pair in product(ARCHITECTURES, HEAD_DIMS)
        }
        yield results
        pool.shutdown(cancel_futures=True)


def test_in_the_interpreter(compiled):
    # asking for `compiled` starts the compilers, which work while this waits
    run_interpreted("interpreted_attention.py")


@pytest.mark.parametrize("entry", MATRIX, ids=lambda entry: f"sm_{entry[0]}-D{entry[1]}-{entry[2]}")
def test_compiles_within_memory(compiled, entry):
    architecture, head_dim, dtype = entry
    needed = compiled[architecture, head_dim].result()[dtype]
    assert set(needed) == {"forward_kernel", "preprocess_kernel", "dk_dv_kernel", "dq_kernel"}
    assert all(memory.fits(architecture) for memory in needed.values()), needed


def test_triton_waits_until_a_kernel_is_launched():
    code = """
import sys, torch
from actckpt.ops import flash_attention
flash_attention(*(torch.ones(1, 1, 4, 16),) * 3)
sys.exit("actckpt.ops.attention.kernels" in sys.modules)
"""
    root = Path(__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
