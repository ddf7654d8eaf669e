"""The page on GPU recordings: it says that there is none, and shows what a recording holds."""

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def flash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    module = importlib.import_module("pages.flash")
    monkeypatch.setattr(module, "DATA", tmp_path)
    yield module
    for name in [name for name in sys.modules if name.split(".")[0] == "pages"]:
        del sys.modules[name]


def test_without_a_recording_the_page_says_so(flash) -> None:
    assert "No recording exists yet" in flash.recordings()


def test_a_recording_is_shown_with_device_versions_and_date(flash, tmp_path: Path) -> None:
    policy = {
        "working_bytes": 2**30 + 2**20,
        "predicted_working_bytes": 2**30,
        "predicted_flops": 10**12,
        "step_s": 0.25,
    }
    recording = {
        "device": "A device",
        "driver": "1.2",
        "torch": "3.4",
        "triton": "5.6",
        "commit": "0123456789abcdef",
        "date": "2000-01-02",
        "entries": {
            "matmul": {"tflops": 1.0},
            "correctness/D64/bfloat16/causal": {"right": True},
            "correctness/D96/bfloat16/causal": {"right": False},
            "policy/full/S2048": policy,
        },
    }
    (tmp_path / "gpu-a-device.json").write_text(json.dumps(recording), encoding="utf-8")
    shown = flash.recordings()
    for part in (
        "A device",
        "torch 3.4",
        "triton 5.6",
        "driver 1.2",
        "2000-01-02",
        "0123456789",
        "Of 2 ",
        "1 are right",
    ):
        assert part in shown
    assert "| `full/S2048` | 1.000 GiB | 1.001 GiB | 250.0 ms |" in shown
    assert "No recording" not in shown
