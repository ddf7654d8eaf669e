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
# Every entry is lowered as far as its memory is laid out. These are compiled to machine code: every launch
# configuration for 16-bit types on every architecture, those for float32, which are the same on all, once, and with
# them every head dimension. ACTCKPT_COMPILE=all compiles everything, for sm_89 too.
BUILT = {
    *((80, 32, "float16"), (80, 80, "bfloat16"), (80, 256, "bfloat16"), (80, 96, "float32")),
    *((90, 64, "bfloat16"), (90, 128, "bfloat16"), (90, 192, "float16"), (90, 16, "float32")),
    *((100, 64, "bfloat16"), (100, 128, "bfloat16"), (100, 256, "float16"), (100, 192, "float32")),
}
EVERYTHING = os.environ.get("ACTCKPT_COMPILE") == "all"
if EVERYTHING:
    ARCHITECTURES[89] = (8, 9)
MATRIX = list(product(ARCHITECTURES, HEAD_DIMS, DTYPES))

Entry = tuple[int, int, str]


def memory(architecture: int, head_dim: int, built: set[Entry] | None) -> dict[str, dict[str, Any]]:
    """What each kernel asks for, for every type; `built` are compiled to machine code, None stands for all."""
    from kernels.compile_kernels import Compilation

    known: dict[str, Any] = {}
    result: dict[str, dict[str, Any]] = {}
    for dtype in DTYPES:
        result[dtype] = {}
        for call in launched(architecture, head_dim, dtype):
            compilation = Compilation(call, architecture)
            key = compilation.key()
            if built is None or (architecture, head_dim, dtype) in built:
                known[key] = compilation.build()
            elif key not in known:
                known[key] = compilation.allocate()
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
        built = None if EVERYTHING else BUILT
        results: dict[tuple[int, int], Future] = {
            pair: pool.submit(memory, *pair, built) for pair in product(ARCHITECTURES, HEAD_DIMS)
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


def test_what_is_built_stands_for_the_rest():
    def configurations(entries):
        return {
            (a if t != "float32" else None, launches(ARCHITECTURES[a], 4 if t == "float32" else 2, d))
            for a, d, t in entries
        }

    assert configurations(BUILT) == configurations(MATRIX) - configurations(e for e in MATRIX if e[0] == 89)
    for position in range(3):
        assert {entry[position] for entry in BUILT} == {entry[position] for entry in MATRIX} - {89}


def test_memory_is_the_same_whether_lowered_or_built():
    from kernels.compile_kernels import Compilation

    forward, *_ = launched(100, 64, "float16")
    assert Compilation(forward, 100).allocate() == Compilation(forward, 100).build()


def test_triton_waits_until_a_kernel_is_launched():
    code = """
import sys, torch
from actckpt.ops import flash_attention
flash_attention(*(torch.ones(1, 1, 4, 16),) * 3)
sys.exit("actckpt.ops.attention.kernels" in sys.modules)
"""
    root = Path(__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
