"""scripts/record_gpu.py and scripts/tune_gpu.py without a GPU: rehearsed and killed, among crashes and hangs."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

triton = pytest.importorskip("triton")

ROOT = Path(__file__).parents[1]
REHEARSAL = "tests/kernels/gpu_rehearsal.py"
CORRECTNESS = ("correctness/D16/float16", "correctness/D16/float16/masks")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
ENVIRONMENT.pop("PYTHONPATH", None)


def run(*command: Any) -> subprocess.CompletedProcess[str]:
    """A Python script of this checkout, to its end."""
    command = [sys.executable, *map(str, command)]
    return subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def kill_when(done: Callable[[], bool], *command: Any) -> None:
    """Start a script, and kill its process group as soon as `done` says so."""
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    for _ in range(1200):
        if done() or process.poll() is not None:
            break
        time.sleep(0.05)
    assert process.poll() is None, "it ended by itself"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def kept(path: Path) -> dict[str, Any]:
    """The entries of a recording, or none where there is no file yet."""
    return json.loads(path.read_text())["entries"] if path.exists() else {}


def killed_twice_and_finished(what: str, path: Path, first: int, second: int) -> tuple[dict[str, Any], str]:
    """What a rehearsal leaves that is killed after so many entries, and again; and what the last run printed."""
    for count in (first, second):
        kill_when(lambda count=count: len(kept(path)) >= count, REHEARSAL, what, path)
    before = kept(path)
    done = run(REHEARSAL, what, path)
    after = kept(path)
    assert len(before) < len(after), "something was left to do"
    # a time that was taken again would differ
    assert {name: after[name]["result"] for name, entry in before.items() if "result" in entry} == {
        name: entry["result"] for name, entry in before.items() if "result" in entry
    }
    return after, done.stdout


def test_a_recording_is_whole_after_two_kills_a_crash_and_a_hang(tmp_path: Path) -> None:
    entries, said = killed_twice_and_finished("record", tmp_path / "recording.json", 3, 7)
    failed = {name: entry["failed"] for name, entry in entries.items() if "failed" in entry}
    assert failed == {"crash": "its process ended by SIGSEGV", "hang": "took longer than 1 s"}
    assert [name for name in entries if name not in failed] == [
        "device",
        *(f"forward/D16/{name}" for name in ("actckpt", "flash", "plain", "flex")),
        *(f"backward/D16/{name}" for name in ("actckpt", "flash", "plain")),
        *CORRECTNESS,
        "policy/full",
    ]
    for name in CORRECTNESS:
        assert entries[name]["result"]["right"]
        assert entries[name]["result"]["repeats_equal"]
    assert "hang                         FAILED: took longer than 1 s" in said
    about = json.loads((tmp_path / "recording.json").read_text())
    assert about["device"] == "cpu"
    assert about["torch"] == torch.__version__
    assert about["changed"] in (True, False, None)


def test_a_tuning_is_whole_after_two_kills_crashes_and_hangs(tmp_path: Path) -> None:
    entries, said = killed_twice_and_finished("tune", tmp_path / "tuning.json", 3, 6)
    assert {name: entry["failed"] for name, entry in entries.items() if "failed" in entry} == {
        "compiler aborts": "its process ended by SIGABRT",
        "compiler hangs": "took longer than 1 s",
        "kernel crashes": "its process ended by SIGSEGV",
        "kernel hangs": "took longer than 1 s",
    }
    timed = [name for name, entry in entries.items() if "result" in entry]
    kernels = ("forward", "dk_dv", "dq")
    assert [name.partition("/")[0] for name in timed] == [kernel for kernel in kernels for _ in range(2)]
    assert all(0 < entries[name]["result"]["error"] <= 1 for name in timed)
    # the table is the last thing that is said
    written = said[said.rindex('    "sm_90 descriptors": {') :]
    ((part, rows),) = ast.literal_eval("{" + re.sub(r"Launch(es)?", "", written) + "}").items()
    assert part == "sm_90 descriptors"
    fastest = [
        min((entries[name]["result"]["median_s"], name) for name in timed if name.startswith(f"{kernel}/"))[1]
        for kernel in kernels
    ]
    assert rows[64] == tuple(tuple(map(int, name.rpartition("/")[2].split("-"))) for name in fastest)
    assert written.count(f"# measured on cpu, Triton {triton.__version__}, ") == 1


@pytest.mark.parametrize("capability", [(8, 0), (9, 0), (10, 0)], ids=str)
def test_the_table_is_written_as_it_stands_in_the_source(capability: tuple[int, int]) -> None:
    import tune_gpu
    from gpu.launch_table import table

    about = {"device": "A device", "capability": capability, "triton": "1.2", "date": "2000-01-02"}
    problems = list(tune_gpu.problems(capability))
    lines = table(about, problems, {}).splitlines()
    assert {line.strip() for line in lines if "#" in line} == {"# not measured on A device"}
    # whole parts, to be put in the place of those that are there
    parts = "\n".join(line for line in lines if "#" not in line).split("    },\n")
    source = (ROOT / "actckpt/ops/attention/config.py").read_text().splitlines()
    without_comments = "\n".join(line for line in source if not line.strip().startswith("#"))
    assert len(parts) > 1
    assert all(part in without_comments for part in parts)
    results = {
        f"{problems[0].name}/128-64-4-2": {"median_s": 2.0},
        f"{problems[0].name}/64-32-8-4": {"median_s": 1.0},
    }
    changed = table(about, problems, results).splitlines()
    (reason, row) = (line.strip() for line in changed if line not in lines)
    assert reason == "# forward measured on A device, Triton 1.2, 2000-01-02, dk_dv and dq not"
    assert row.startswith("128: Launches(Launch(64, 32, 8, 4), Launch(")


def test_what_hangs_ends_with_the_script_that_started_it(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = f"""
import sys
sys.path[:0] = ["scripts", "tests/kernels"]
from gpu.worker import Job, Worker
if __name__ == "__main__":
    Worker().run(Job("gpu_rehearsal:hang", ({str(pids)!r},)))
"""
    script = tmp_path / "hanging.py"
    script.write_text(code)
    kill_when(lambda: pids.exists() and pids.read_text().endswith("\n"), script)
    assert_ended(pids)


def test_what_hangs_ends_at_its_limit_with_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests/kernels"))
    from gpu.worker import Failed, Job, Worker

    pids = tmp_path / "pids"
    worker = Worker()
    assert worker.run(Job("gpu_rehearsal:fine")) == {"median_s": 1.0}
    with pytest.raises(Failed, match="took longer than 2 s"):
        worker.run(Job("gpu_rehearsal:hang", (str(pids),), limit_s=2))
    worker.stop()
    assert_ended(pids)


def assert_ended(pids: Path) -> None:
    """The processes whose numbers are in the file are gone, or will be soon."""
    for _ in range(100):
        alive = [pid for pid in map(int, pids.read_text().split()) if _runs(pid)]
        if not alive:
            return
        time.sleep(0.1)
    pytest.fail(f"{alive} still run")


def _runs(pid: int) -> bool:
    # what has ended and was not waited for is a zombie
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
@pytest.mark.parametrize("script", ["record_gpu", "tune_gpu"])
def test_without_a_gpu_one_line_says_so(script: str, tmp_path: Path) -> None:
    done = run(f"scripts/{script}.py", "--output", tmp_path / "file.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{script}: no CUDA device is here: --rehearse tries the script without one\n"
    assert not list(tmp_path.iterdir())


def entry(name: str, function: str = "gpu.timing:seconds", process: str = "") -> Any:
    from gpu.recording import Entry
    from gpu.worker import Job

    return Entry(name, Job(function), process=process)


def recording(path: Path, *entries: Any, **about: str) -> Any:
    from gpu.recording import Recording

    return Recording(path, {"device": "a device", "torch": "1", "triton": "2", **about}, entries)


def test_what_failed_is_tried_again_after_what_never_was(tmp_path: Path) -> None:
    path = tmp_path / "recording.json"
    broken, whole, other = (entry(name) for name in ("broken", "whole", "other"))
    first = recording(path, broken, whole, other)
    first.keep("broken", failed="OutOfResources: shared memory")
    first.keep("whole", result={"right": True})
    second = recording(path, broken, whole, other)
    assert second.missing() == [other, broken]
    assert second.results() == {"whole": {"right": True}}
    assert second.failures() == {"broken": "OutOfResources: shared memory"}
    second.keep("broken", result={})
    assert not second.failures()
    assert list(kept(path)) == ["broken", "whole"], "in the order of the list"


def test_a_recording_is_of_one_device_and_of_one_version(tmp_path: Path) -> None:
    from gpu.recording import OtherRecording

    path = tmp_path / "recording.json"
    only = entry("only")
    recording(path, only, driver="1").keep("only", result={})
    assert recording(path, only, driver="2").results(), "another driver"
    with pytest.raises(OtherRecording, match=r"recorded with torch 1, and this is torch 3: name another file"):
        recording(path, only, torch="3")
    path.write_text("[]")
    with pytest.raises(OtherRecording, match="is not a recording: name another file"):
        recording(path, only)


def test_what_the_time_does_not_suffice_for_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests/kernels"))
    hang, fine = "gpu_rehearsal:hang", "gpu_rehearsal:fine"
    entries = [
        entry("slow", hang, process="one"),
        entry("behind it", fine, process="one"),
        entry("elsewhere", fine),
        entry("slower", hang),
        entry("too late", fine),
    ]
    found = recording(tmp_path / "recording.json", *entries)
    found.measure(entries[:3], time.monotonic() + 60, {}, process_limit_s=1)
    start = time.monotonic()
    found.measure(entries[3:], start + 1, {})
    assert time.monotonic() < start + 5
    # none of them failed: they may have more time in the next run
    assert list(kept(found.path)) == ["elsewhere"]


# the keys of all entries as they are, then after a change of each file alone
KEYS = """
import json, sys
from pathlib import Path
sys.path[:0] = ["scripts"]
import record_gpu, tune_gpu
about = {"device": "cpu", "capability": (9, 0), "shared_bytes": 2**17}
(tuned, *_) = tune_gpu.candidates(tune_gpu.rehearsal()[0], about, 2)
entries = {entry.name: entry for entry in record_gpu.rehearsal()} | {"tuned": tuned}
found = [{name: entry.key() for name, entry in entries.items()}]
for file in map(Path, sys.argv[1:]):
    source = file.read_text()
    file.write_text(f"{source}\\n# changed\\n")
    found.append({name: entry.key() for name, entry in entries.items()})
    file.write_text(source)
print(json.dumps(found))
"""
OURS = {"forward/D16/actckpt", "backward/D16/actckpt", *CORRECTNESS, "policy/full", "tuned"}
TIMED = {f"{direction}/D16/{name}" for direction in ("forward", "backward") for name in ("actckpt", "flash", "plain")}
CHANGES = {
    "actckpt/ops/attention/kernels.py": OURS,
    "actckpt/ops/attention/config.py": OURS,
    "actckpt/llama.py": {"policy/full"},
    "scripts/gpu/plain_flash.py": {"forward/D16/plain", "backward/D16/plain"},
    "scripts/gpu/peers.py": {"forward/D16/flash", "backward/D16/flash", "forward/D16/flex"},
    "scripts/gpu/timing.py": {*TIMED, "forward/D16/flex", "device", "policy/full", "tuned"},
    "scripts/gpu/derived.py": set(),
    "actckpt/blocks/llama.py": set(),
}


def test_a_changed_source_makes_what_runs_it_be_measured_again_and_nothing_else(tmp_path: Path) -> None:
    for folder in ("actckpt", "scripts"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-c", KEYS, *CHANGES]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    before, *after = json.loads(done.stdout)
    assert len(before) == 12
    for (file, expected), keys in zip(CHANGES.items(), after, strict=True):
        assert {name for name in before if keys[name] != before[name]} == expected, file


def test_all_that_is_recorded_and_tuned_on_a_gpu_can_be_named() -> None:
    import pkgutil

    import record_gpu
    import tune_gpu

    about = {"device": "a GPU", "capability": (9, 0), "shared_bytes": 227 * 1024}
    recorded = list(record_gpu.entries((9, 0)))
    tuned = [one for problem in tune_gpu.problems((9, 0)) for one in tune_gpu.candidates(problem, about, 10)]
    for listed in (recorded, tuned):
        assert len({one.name for one in listed}) == len(listed)
    jobs = {job for one in (*recorded, *tuned) for job in (one.measure, one.compile) if job}
    named = {name for job in jobs for name in (job.function, *job.arguments) if isinstance(name, str) and ":" in name}
    assert len(named) > 10
    assert all(callable(pkgutil.resolve_name(name)) for name in named)
    assert [one.name for one in recorded[:3]] == ["device", "forward/D128/actckpt", "forward/D128/cudnn"]
    assert [problem.name for problem in tune_gpu.problems((9, 0))][:4] == [
        "forward/D128/bfloat16/descriptor",
        "dk_dv/D128/bfloat16/descriptor",
        "dq/D128/bfloat16/descriptor",
        "forward/D64/bfloat16/descriptor",
    ]
    # a GPU without a copy engine has no descriptors
    assert {problem.path for problem in tune_gpu.problems((8, 0))} == {"pointer"}


def test_what_is_compiled_beforehand_is_what_is_launched() -> None:
    code = """
import sys, torch
sys.path[:0] = [".", "scripts"]
from actckpt.ops.attention import launch
from actckpt.ops.attention.options import Options
from gpu.compiling import compile_attention, compile_plain
from gpu.exact import random_inputs
from gpu.launches import Call, noted, without_gpu
from gpu import plain_flash
import triton

compiled = set()
warmup = triton.runtime.jit.JITFunction.warmup
def note(*args, **options):
    kernel = warmup(*args, **options)
    compiled.add(kernel.hash)
    return kernel
triton.runtime.jit.JITFunction.warmup = note
compile_attention(16, "float16", (True,), (9, 0))
compile_plain("backward", 16, (9, 0))
before = set(compiled)
q, k, v, do = (x.detach() for x in random_inputs("cpu", 3, (6, 3), (128, 384), 16, torch.float16))
with without_gpu((9, 0)), noted() as calls:
    o, lse = launch.forward(q, k, v, Options.of(True, 0.25))
    launch.backward(do, q, k, v, o, lse, None, Options.of(True, 0.25))
for call in calls.values():
    call.compiled()
x, row = torch.ones(1, 2, 1024, 16, dtype=torch.bfloat16), torch.ones(1, 2, 1024)
with without_gpu((9, 0)):
    kernel = plain_flash.forward_kernel
    options = dict(kernel.configs[0].all_kwargs(), CAUSAL=True, HEAD_DIM=16)
    note(kernel.fn, x, x, x, x, row, 1024, 0.3, grid=(1,), **options)
    note(plain_flash.delta_kernel, x, x, row, grid=(1,), HEAD_DIM=16, BLOCK_M=plain_flash.DELTA_ROWS)
print(len(calls), len(before), len(compiled - before))
"""
    done = run("-c", code)
    assert done.stdout == "4 18 0\n", done.stdout + done.stderr


def test_wrong_numbers_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpu import exact, peers, speed

    arguments = ("gpu.peers:flash", False, 16, ((1, 2, 1, 64),), "cpu", 2)
    assert speed.backward(*arguments)["timings"]
    flash = peers.flash
    monkeypatch.setattr(peers, "flash", lambda q, k, v, causal: flash(q, k, v, not causal))
    for direction in (speed.forward, speed.backward):
        with pytest.raises(ValueError, match="times what they may be"):
            direction(*arguments)
    # what was never written is NaN
    *inputs, do = exact.random_inputs("cpu", 1, (2, 1), (5, 7), 16, torch.float16)
    results = exact.results(exact.definition, inputs, do, True)
    assert exact.error(results, inputs, do, True) <= 0.5
    results[1][..., -1, 3] = torch.nan
    assert exact.error(results, inputs, do, True) == torch.inf


def test_poisoned_memory_is_full_of_nan() -> None:
    from gpu.correctness import poisoned

    with poisoned():
        new = (torch.empty(9), torch.empty_like(torch.ones(3)), torch.ones(1).new_empty(4, dtype=torch.bfloat16))
    assert all(x.isnan().all() for x in new)
    assert not torch.are_deterministic_algorithms_enabled()


def test_flex_attention_is_compiled_for_every_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpu import peers

    compiled, compile_now = [], torch.compile

    def count(graph, _):
        compiled.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda f, backend, **options: compile_now(f, backend=count, **options))
    with torch._dynamo.config.patch(recompile_limit=2):
        for length in (128, 256, 384):
            q, k = torch.randn(1, 2, length, 16), torch.randn(1, 1, length, 16)
            peers.flex(q, k, k, True)
            with torch.no_grad():
                peers.flex(q, k, k, True)
    assert len(compiled) == 6


def test_the_plain_kernels_are_right_with_all_their_tiles() -> None:
    code = """
import sys, torch
sys.path[:0] = [".", "scripts"]
import triton
from gpu import plain_flash
from gpu.exact import error, random_inputs, results
kernels = (plain_flash.forward_kernel, plain_flash.dk_dv_kernel, plain_flash.dq_kernel)
tiles = sorted({tile[:2] for tiles in (plain_flash.FORWARD_TILES, plain_flash.BACKWARD_TILES) for tile in tiles})
assert len(tiles) >= 4
*inputs, do = (x.contiguous() for x in random_inputs("cpu", 1, (1, 1), (256, 256), 16, torch.float16))
for (block_m, block_n) in tiles:
    for kernel in kernels:
        kernel.configs = [triton.Config({"BLOCK_M": block_m, "BLOCK_N": block_n})]
    for causal in (True, False):
        off = error(results(plain_flash.attention, inputs, do, causal), inputs, do, causal)
        assert off <= 1, (block_m, block_n, causal, off)
"""
    environment = {**ENVIRONMENT, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
