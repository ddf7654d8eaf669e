"""The page on GPU recordings: it says that there is none, and shows what a recording holds."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from book.chapters import on_a_gpu

import actckpt

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"batch": 1, "heads": [32, 8], "head_dim": 128, "length": 16_384}
# forward and backward of causal attention of those sizes
FLOPS = 4 * 32 * 128 * (16_384 * 16_385 // 2)


def timed(seconds: float) -> dict:
    return {"result": {"timings": [{**SIZES, "median_s": seconds, "low_s": seconds / 2, "high_s": 2 * seconds}]}}


def checked(right: bool, repeats_equal: bool = True) -> dict:
    return {"result": {"right": right, "repeats_equal": repeats_equal}}


RECORDING = {
    "device": "A device",
    "driver": "1.2",
    "cuda": "7.8",
    "torch": "3.4",
    "triton": "5.6",
    "commit": "0123456789abcdef",
    "changed": False,
    "date": "2000-01-02",
    "entries": {
        "device": {
            "result": {
                "matmul": {"size": 1000, "median_s": 2e9 / 654e12},
                "copy": {"bytes": 10**9, "median_s": 2e9 / 3.21e12},
            }
        },
        "forward/D128/actckpt": timed(FLOPS / 321e12),
        "forward/D128/cudnn": timed(FLOPS / 642e12),
        "backward/D128/actckpt": timed(2.5 * FLOPS / 222e12),
        "correctness/D64/bfloat16": checked(right=True),
        "correctness/D96/bfloat16": checked(right=False),
        "correctness/D96/float16": checked(right=True, repeats_equal=False),
        "policy/full": {"result": {"steps": [{"length": 2048, "working_bytes": 2**30, "median_s": 0.25}]}},
    },
}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(on_a_gpu, "DATA", tmp_path)
    return on_a_gpu


def shown(gpu, tmp_path: Path, **changes) -> str:
    recording = {**RECORDING, **changes}
    name = "-".join(recording["device"].lower().split())
    (tmp_path / f"gpu-{name}.json").write_text(json.dumps(recording), encoding="utf-8")
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", gpu.recordings()))


def test_without_a_recording_the_page_says_so(gpu) -> None:
    assert "No recording exists yet" in gpu.recordings()
    assert "Nothing on this site was measured on a GPU" in gpu.recordings()


def test_a_recording_is_shown_with_device_versions_and_date(gpu, tmp_path: Path) -> None:
    page = shown(gpu, tmp_path)
    for part in ("A device", "torch 3.4", "triton 5.6", "cuda 7.8", "driver 1.2", "2000-01-02", "commit 0123456789 ."):
        assert part in page
    assert "No recording" not in page


def test_what_was_recorded_of_changed_sources_is_said_to_be(gpu, tmp_path: Path) -> None:
    assert "commit 0123456789 with changes." in shown(gpu, tmp_path, changed=True)
    assert "an unknown commit." in shown(gpu, tmp_path, commit=None, changed=None)


def test_devices_stand_side_by_side(gpu, tmp_path: Path) -> None:
    shown(gpu, tmp_path)
    page = shown(gpu, tmp_path, device="Another device", entries={})
    assert re.search(r"A device 654.TFLOP/s 3\.21.TB/s 321.TFLOP/s, 0\.50.× cuDNN 222.TFLOP/s 1 of 3 2000-01-02 ", page)
    assert "Another device – – – – 0 of 0 2000-01-02" in page
    assert 'href="#another-device"' in gpu.recordings()
    assert 'id="another-device"' in gpu.recordings()


def test_a_recording_says_what_is_right_and_what_is_not(gpu, tmp_path: Path) -> None:
    page = shown(gpu, tmp_path)
    assert "Correctness: 1 of 3 combinations" in page
    assert "Wrong: D96/bfloat16 . A repeat gave other bits: D96/float16 ." in page


def test_a_recording_says_what_did_not_run(gpu, tmp_path: Path) -> None:
    assert "Did not run" not in shown(gpu, tmp_path)
    page = shown(gpu, tmp_path, entries={"correctness/D256/float16": {"failed": "OutOfResources: shared memory"}})
    assert "Did not run: correctness/D256/float16 (OutOfResources: shared memory)." in page


def test_a_recording_shows_memory_and_time_of_the_policies(gpu, tmp_path: Path) -> None:
    page = shown(gpu, tmp_path)
    config = replace(actckpt.PRESETS["llama-3.1-8b"], n_layers=4, vocab_size=1024)
    step = actckpt.estimate(config, seq_len=2048, policy="full")
    flops = step.flops.forward + step.flops.backward + step.flops.recompute + step.head.flops
    predicted = int(step.working_bytes)
    row = (
        rf"full {predicted / 2**30:.3f}.GiB 1\.000.GiB \{100 * (2**30 / predicted - 1):+.2f}.% "
        rf"250\.0 ms {flops / 0.25e12:.0f} "
    )
    assert "S = 2,048, on A device" in page
    assert re.search(row.replace("-", "−"), page), row


def test_a_recording_shows_the_speed_of_attention(gpu, tmp_path: Path) -> None:
    page = shown(gpu, tmp_path)
    assert "Forward, head dimension 128, on A device" in page
    assert re.search(r"length, batch, heads +actckpt +cuDNN +16,384, 1, 32 on 8 +321 +642 ", page)
    assert re.search(r"Backward, head dimension 128, on A device .* actckpt +16,384, 1, 32 on 8 +222 ", page)
    milliseconds = 1000 * FLOPS / 321e12
    title = f"{milliseconds:.3f} ms, half of the times between {milliseconds / 2:.3f} and {2 * milliseconds:.3f}"
    assert f'title="{title}"' in gpu.recordings()


def test_a_recording_that_ended_early_is_shown_as_far_as_it_goes(gpu, tmp_path: Path) -> None:
    page = shown(gpu, tmp_path, entries={})
    assert "0 of 0 combinations" in page
    assert "Speed" not in page
    assert "Policies" not in page
