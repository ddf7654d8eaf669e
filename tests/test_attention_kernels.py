"""The attention kernels without a GPU: run by Triton's interpreter, and compiled for GPUs that are not there."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

from kernels.interpreter import run_interpreted

from actckpt.ops.attention.config import HEAD_DIMS

# one worker of pytest-xdist takes them all, as they share the compilers
pytestmark = pytest.mark.xdist_group("attention_kernels")

ARCHITECTURES = {80: (8, 0), 90: (9, 0), 100: (10, 0)}
DTYPES = ("bfloat16", "float16", "float32")
# Every head dimension, every type, and every 16-bit tile on every architecture: 80 and 96 share the tiles of 128, 192
# those of 256. ACTCKPT_COMPILE=all compiles every combination, on sm_89 too.
MATRIX = [
    *((architecture, head_dim, "bfloat16") for head_dim in (64, 128, 256) for architecture in (90, 100)),
    *((80, 64, "bfloat16"), (80, 128, "bfloat16"), (80, 256, "float16")),
    *((90, 16, "float16"), (100, 16, "float32"), (80, 32, "float16")),
    *((90, 80, "float16"), (80, 96, "float16"), (80, 192, "float32")),
]
if os.environ.get("ACTCKPT_COMPILE") == "all":
    ARCHITECTURES[89] = (8, 9)
    MATRIX = [(a, d, t) for a in ARCHITECTURES for d in HEAD_DIMS for t in DTYPES]


def compile_all(architecture: int, head_dim: int, dtype: str) -> dict[str, int]:
    """The shared memory, in bytes, that each kernel asks for."""
    from unittest.mock import patch

    from kernels.compile_kernels import recorded

    from actckpt.ops.attention import kernels, launch
    from actckpt.ops.attention.config import launches

    def view(heads):
        return torch.empty(1, 48, heads, head_dim, dtype=getattr(torch, dtype), device="meta").transpose(1, 2)

    q, k, lse = view(4), view(2), torch.empty(1, 4, 48, device="meta")
    config = launches(ARCHITECTURES[architecture], q.dtype.itemsize, head_dim)
    with recorded(kernels) as calls, patch.object(launch, "_launches", lambda _: config):
        launch.forward(q, k, k, True, 1.0)
        launch.backward(q, q, k, k, q, lse, True, 1.0)
    return {call.kernel.__name__: call.compile(architecture).metadata.shared for call in calls}


@pytest.fixture(scope="module")
def compiled():
    """What `compile_all` returns for every entry of the matrix, on two cores."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        results: dict[tuple[int, int, str], Future] = {entry: pool.submit(compile_all, *entry) for entry in MATRIX}
        yield results
        pool.shutdown(cancel_futures=True)


def test_in_the_interpreter(compiled):
    # asking for `compiled` starts the compilers, which work while this waits
    run_interpreted("interpreted_attention.py")


@pytest.mark.parametrize("entry", MATRIX, ids=lambda entry: f"sm_{entry[0]}-D{entry[1]}-{entry[2]}")
def test_compiles_within_shared_memory(compiled, entry):
    from kernels.compile_kernels import SHARED_MEMORY

    shared = compiled[entry].result()
    assert set(shared) == {"forward_kernel", "preprocess_kernel", "dk_dv_kernel", "dq_kernel"}
    assert all(size <= SHARED_MEMORY[entry[0]] for size in shared.values()), shared


def test_triton_waits_until_a_kernel_is_launched():
    code = """
import sys, torch
from actckpt.ops import flash_attention
flash_attention(*(torch.ones(1, 1, 4, 16),) * 3)
sys.exit("actckpt.ops.attention.kernels" in sys.modules)
"""
    root = Path(__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
