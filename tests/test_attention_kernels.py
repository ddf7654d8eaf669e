"""The attention kernels without a GPU: run by Triton's interpreter, and compiled for GPUs that are not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from itertools import product
from pathlib import Path

import pytest

pytest.importorskip("triton")

from kernels import attention_builds as builds
from kernels import floor, gate
from kernels.interpreter import INSTALLED_AND_OLDEST, run_interpreted

# one worker of pytest-xdist takes them all, as they share the compilers
pytestmark = pytest.mark.xdist_group("attention_kernels")

HOPPER = 90
# with one Triton, unread and without packed documents, for time's sake; so is sm_89, whose tiles are at most sm_80's
OTHERS = (80, 100, 89) if os.environ.get("ACTCKPT_COMPILE") == "all" else (80, 100)
EACH_KERNEL = pytest.mark.parametrize("kernel", builds.KERNELS)
EACH_HEAD_DIM = pytest.mark.parametrize("head_dim", builds.HEAD_DIMS)


@pytest.fixture(scope="module")
def compiled():
    """All rows for an architecture and a Triton, the oldest or not."""
    with builds.compilers() as pools:
        runs = {(HOPPER, oldest): pool.submit(builds.rows, HOPPER) for oldest, pool in pools.items()}
        for other in OTHERS:
            runs[other, False] = pools[False].submit(builds.rows, other, paths=("descriptor", "pointer"), read=False)
        yield lambda architecture, oldest=False: runs[architecture, oldest].result()


@INSTALLED_AND_OLDEST
def test_in_the_interpreter(compiled, oldest):
    # asking for `compiled` starts the compilers, which work while this waits
    run_interpreted("interpreted_attention.py", oldest)


@INSTALLED_AND_OLDEST
def test_every_kernel_is_compiled(compiled, oldest):
    rows = compiled(HOPPER, oldest)
    assert {row.triton for row in rows} == {floor.version("triton") if oldest else version("triton")}
    found = [(row.kernel, row.head_dim, row.dtype, row.path) for row in rows]
    wanted = {
        (kernel, head_dim, dtype, path)
        for kernel, head_dim, dtype, path in product(builds.KERNELS, builds.HEAD_DIMS, builds.DTYPES, builds.PATHS)
        if path == "pointer" or (dtype != "float32" and (path == "packed" or kernel != "preprocess"))
    }
    assert len(found) == len(wanted)
    assert set(found) == wanted


@INSTALLED_AND_OLDEST
@EACH_KERNEL
@EACH_HEAD_DIM
def test_machine_code(compiled, oldest, kernel, head_dim):
    rows = [row for row in compiled(HOPPER, oldest) if (row.kernel, row.head_dim) == (kernel, head_dim)]
    found = {(row.dtype, row.path): gate.faults(row) for row in rows}
    known = {(row.dtype, row.path): set(gate.known(row)) for row in rows}
    assert found == known


def test_the_table_is_what_the_compilers_make(compiled):
    table = gate.table([*compiled(HOPPER), *compiled(HOPPER, True)])
    kept = json.loads(gate.TABLE.read_text(encoding="utf-8"))
    assert table == kept, "run .venv/bin/python scripts/machine_code.py --write"


@EACH_KERNEL
@EACH_HEAD_DIM
@pytest.mark.parametrize("architecture", [HOPPER, *OTHERS])
def test_fits_into_memory(compiled, architecture, head_dim, kernel):
    rows = [row for row in compiled(architecture) if (row.kernel, row.head_dim) == (kernel, head_dim)]
    assert rows
    for row in rows:
        assert row.memory.fits(architecture), row


def test_triton_waits_until_a_kernel_is_launched():
    code = """
import sys, torch
from actckpt.ops import flash_attention
flash_attention(*(torch.ones(1, 1, 4, 16),) * 3)
sys.exit("actckpt.ops.attention.kernels" in sys.modules)
"""
    root = Path(__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
