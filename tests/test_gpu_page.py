"""The page on GPU recordings: it says that there is none, and shows what a recording holds."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

RECORDING = {
    "device": "A device",
    "driver": "1.2",
    "cuda": "7.8",
    "torch": "3.4",
    "triton": "5.6",
    "commit": "0123456789abcdef",
    "date": "2000-01-02",
    "entries": {
        "matmul": {"tflops": 654.0},
        "correctness/D64/bfloat16/causal": {"right": True},
        "correctness/D96/bfloat16/causal": {"right": False},
        "policy/full/S2048": {
            "working_bytes": 2**30 + 2**20,
            "predicted_working_bytes": 2**30,
            "predicted_flops": 10**12,
            "step_s": 0.25,
        },
        "speed/D128/S1024/causal/heads32-8": {
            "implementations": {
                name: {
                    "forward_s": 0.0125,
                    "backward_s": 0.03125,
                    "forward_tflops": 321.0,
                    "backward_tflops": rate,
                }
                for name, rate in (("actckpt", 222.0), ("sdpa_cudnn", 444.0))
            },
            "refused": {},
        },
    },
}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    module = importlib.import_module("pages.gpu")
    monkeypatch.setattr(module, "DATA", tmp_path)
    yield module
    for name in [name for name in sys.modules if name.split(".")[0] == "pages"]:
        del sys.modules[name]


def shown(gpu, tmp_path: Path, recording: dict) -> str:
    (tmp_path / "gpu-a-device.json").write_text(json.dumps(recording), encoding="utf-8")
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", gpu.recordings()))


def test_without_a_recording_the_page_says_so(gpu) -> None:
    assert "No recording exists yet" in gpu.recordings()
    assert "Nothing on this site was measured on a GPU" in gpu.recordings()


def test_a_recording_is_shown_with_device_versions_and_date(gpu, tmp_path: Path) -> None:
    page = shown(gpu, tmp_path, RECORDING)
    for part in ("A device", "torch 3.4", "triton 5.6", "cuda 7.8", "driver 1.2", "2000-01-02", "0123456789 "):
        assert part in page
    assert "654 TFLOP/s" in page
    assert "No recording" not in page


def test_a_recording_says_what_is_right_and_what_is_not(gpu, tmp_path: Path) -> None:
    page = shown(gpu, tmp_path, RECORDING)
    assert "of 2 combinations" in page
    assert "1 are right" in page
    assert "Wrong: D96/bfloat16/causal" in page


def test_a_recording_says_what_did_not_run(gpu, tmp_path: Path) -> None:
    failed = {"correctness/D256/float16/full": "OutOfResources: shared memory"}
    page = shown(gpu, tmp_path, RECORDING | {"failed": failed})
    assert "Did not run: correctness/D256/float16/full (OutOfResources: shared memory)." in page
    assert "Did not run" not in shown(gpu, tmp_path, RECORDING)


def test_a_recording_shows_memory_and_time_of_the_policies(gpu, tmp_path: Path) -> None:
    page = shown(gpu, tmp_path, RECORDING)
    assert "S = 2,048, on A device" in page
    assert "full 1.000 GiB 1.001 GiB +0.10 % 250.0 ms 4 " in page


def test_a_recording_shows_the_speed_of_attention(gpu, tmp_path: Path) -> None:
    page = shown(gpu, tmp_path, RECORDING)
    assert "Head dimension 128, causal mask, on A device" in page
    assert re.search(r"length, heads +actckpt +cuDNN +1,024, 32 on 8 +321 / 222 +321 / 444", page)
    assert 'title="12.50 ms / 31.25 ms"' in gpu.recordings()


def test_a_recording_that_ended_early_is_shown_as_far_as_it_goes(gpu, tmp_path: Path) -> None:
    page = shown(gpu, tmp_path, RECORDING | {"entries": {}})
    assert "of 0 combinations" in page
    assert "Speed" not in page
