"""The script that records a GPU, without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

ROOT = Path(__file__).parents[1]


def record(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, "scripts/record_gpu.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_gpu_it_says_so():
    done = record()
    assert (done.returncode, done.stdout) == (2, "")
    assert "no CUDA device is here" in done.stderr


def test_every_part_runs_in_rehearsal():
    before = {path: path.stat().st_mtime for path in (ROOT / "docs").rglob("*") if path.is_file()}
    done = record("--rehearse")
    assert done.returncode == 0, done.stderr
    assert "correctness: 4 of 4 right" in done.stdout
    assert "policy/full/S64" in done.stdout
    assert "speed/D64/S64/causal/heads32-8" in done.stdout
    assert {path: path.stat().st_mtime for path in (ROOT / "docs").rglob("*") if path.is_file()} == before


def test_what_fails_is_named_and_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from gpu.recording import Recording

    def broken():
        raise RuntimeError("out of shared memory\nand more")

    path = tmp_path / "recording.json"
    first = Recording(path, {"device": "a device"}, seconds=60)
    first.entry("broken", broken)
    first.entry("whole", lambda: {"right": True})
    found = json.loads(path.read_text())
    assert found["failed"] == {"broken": "RuntimeError: out of shared memory"}
    assert found["entries"] == {"whole": {"right": True}}

    second = Recording(path, {"device": "a device"}, seconds=60)
    second.entry("broken", lambda: {"right": True})
    found = json.loads(path.read_text())
    assert not found["failed"]
    assert list(found["entries"]) == ["whole", "broken"]


def test_flex_attention_is_compiled_for_every_shape(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from gpu.attention import _flex

    compiled = []

    def count(graph, _):
        compiled.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=count))
    for length in range(128, 128 * 7, 128):
        q, k = torch.randn(1, 2, length, 16), torch.randn(1, 1, length, 16)
        attention = _flex(torch.device("cpu"), length, causal=True)
        attention(q, k, k)
        with torch.no_grad():
            attention(q, k, k)
    assert len(compiled) == 12


def test_the_kernels_without_the_split_are_right():
    code = """
import sys, torch
sys.path[:0] = ["scripts", "tests/kernels"]
from attention_cases import check_error, random_inputs
from gpu.without_split import without_split
*inputs, do = random_inputs(45, 45, 2, 1, dtype=torch.float16, batch=1)
check_error(lambda *qkv, causal, return_lse: (without_split()(*qkv, causal), None), inputs, do, causal=True)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
