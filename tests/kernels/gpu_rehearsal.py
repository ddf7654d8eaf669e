"""The rehearsals of scripts/record_gpu.py and scripts/tune_gpu.py, with entries among the others that fail.

    python tests/kernels/gpu_rehearsal.py record|tune FILE

`test_gpu_scripts.py` runs this file, and kills it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import record_gpu
import tune_gpu
from gpu.recording import Entry, header
from gpu.worker import Job

CRASH, ABORT, FINE = (Job(f"gpu_rehearsal:{name}") for name in ("crash", "abort", "fine"))
HANG = Job("gpu_rehearsal:hang", limit_s=1)


def crash():
    """As an illegal access in a library does."""
    os.kill(os.getpid(), signal.SIGSEGV)


def abort():
    """As an assertion in a compiler does."""
    os.abort()


def hang(pids=None):
    """Start a process and wait for ever; say which processes these are."""
    other = subprocess.Popen(["sleep", "1000"])
    if pids:
        Path(pids).write_text(f"{os.getpid()} {other.pid}\n")
    time.sleep(1000)


def fine():
    """What nothing is wrong with."""
    return {"median_s": 1.0}


def record(output):
    """Record, with a crash and a hang in the midst."""
    first, second, *others = record_gpu.rehearsal()
    entries = [first, Entry("crash", CRASH), second, Entry("hang", HANG), *others]
    return record_gpu.record(entries, header("cpu", output), output, time.monotonic() + 300)


def tune(output):
    """Tune, with a crash and a hang of the compiler, and of a kernel between two others of its process."""
    about = header("cpu", output)
    first, *others = (entry for problem in tune_gpu.rehearsal() for entry in tune_gpu.candidates(problem, about, 2, 2))
    planted = [
        Entry("compiler aborts", FINE, compile=ABORT),
        Entry("compiler hangs", FINE, compile=HANG),
        Entry("kernel crashes", CRASH, FINE, first.process),
        Entry("kernel hangs", HANG, FINE, first.process),
    ]
    recording = tune_gpu.tune([first, *planted, *others], about, output, time.monotonic() + 300)
    print(tune_gpu.report(recording, tune_gpu.rehearsal()))
    return 0


if __name__ == "__main__":
    sys.exit({"record": record, "tune": tune}[sys.argv[1]](Path(sys.argv[2])))
