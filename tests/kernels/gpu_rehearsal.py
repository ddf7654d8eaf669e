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

CRASH, ABORT, HANG, FINE = (f"gpu_rehearsal:{name}" for name in ("crash", "abort", "hang", "fine"))


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
    first, *others = record_gpu.rehearsal()
    return record_gpu.record(
        [first, Entry("crash", CRASH), others[0], Entry("hang", HANG, limit_s=1), *others[1:]], "cpu", output, minutes=5
    )


def tune(output):
    """Tune, with a crash and a hang of the compiler, and of a kernel between two others of its process."""
    about = header("cpu", output)
    found = [list(tune_gpu.candidates(problem, about, 2, 2)) for problem in tune_gpu.rehearsal()]
    process = found[0][0].time.process
    compiles = Entry("", FINE)
    planted = [
        tune_gpu.Candidate(Entry("", ABORT), Entry("compiler aborts", FINE)),
        tune_gpu.Candidate(Entry("", HANG, limit_s=1), Entry("compiler hangs", FINE)),
        tune_gpu.Candidate(compiles, Entry("kernel crashes", CRASH, process=process)),
        tune_gpu.Candidate(compiles, Entry("kernel hangs", HANG, limit_s=1, process=process)),
    ]
    listed = [found[0][0], *planted, *found[0][1:], *(candidate for others in found[1:] for candidate in others)]
    print(tune_gpu.report(tune_gpu.tune(listed, about, output, minutes=5), tune_gpu.rehearsal()))
    return 0


if __name__ == "__main__":
    sys.exit({"record": record, "tune": tune}[sys.argv[1]](Path(sys.argv[2])))
