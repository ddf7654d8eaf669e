"""Finds the tiles, warps and stages with which the attention kernels run fastest, and prints the launch table.

    python scripts/tune_gpu.py --output FILE               on any machine with CUDA, torch and Triton
    python scripts/tune_gpu.py --output FILE --rehearse    without a GPU: every part in miniature

First every candidate is compiled, on all cores; then each kernel has a process of its own that times its candidates,
most important first. Each candidate is in the file once it is timed, or once it has failed. The next run with the same
file goes on where this one ended.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# every worker imports this file anew, before it learns how Triton is to run: nothing here may import Triton at the top
from gpu.recording import Entry, OtherRecording, Recording, header
from gpu.worker import Failed, Worker

if TYPE_CHECKING:
    from gpu.tuning import Problem

KERNELS = ("forward", "dk_dv", "dq")
# the longest that the candidates of one kernel may take together, and one of them to be compiled
KERNEL_LIMIT_S, COMPILE_LIMIT_S = 60, 60
# the share of the time after which nothing more is compiled
COMPILE_SHARE = 0.5


@dataclass(frozen=True)
class Candidate:
    """A launch configuration: what compiles it, and what times it once it is compiled."""

    compile: Entry
    time: Entry


def problems(capability: tuple[int, int]) -> Iterator[Problem]:
    """All that the launch table has entries for, most important first."""
    from gpu.tuning import Problem

    # 16,384 tokens of Llama 3.1 8B
    half, single = (4, 32, 8, 4096), (1, 8, 2, 2048)
    paths = ("descriptor", "pointer") if capability >= (9, 0) else ("pointer",)
    for path, head_dim, kernel in product(paths, (128, 64, 256), KERNELS):
        yield Problem(kernel, head_dim, "bfloat16", path, half)
    for head_dim, kernel in product((128, 64, 256), KERNELS):
        yield Problem(kernel, head_dim, "float32", "pointer", single)


def rehearsal() -> list[Problem]:
    """One of each kernel, so small that the interpreter is quick."""
    from gpu.tuning import Problem

    return [Problem(kernel, 64, "float16", "descriptor", (1, 2, 1, 40)) for kernel in KERNELS]


def candidates(found: Problem, about: dict[str, Any], repeats: int, most: int | None = None) -> Iterator[Candidate]:
    """The launch configurations to try for a problem, at most so many."""
    capability, shared_bytes = about["capability"], about["shared_bytes"]
    device = "cpu" if about["device"] == "cpu" else "cuda"
    for numbers in found.candidates(capability, shared_bytes)[:most]:
        name = f"{found.name}/{'-'.join(map(str, numbers))}"
        yield Candidate(
            Entry(name, "gpu.tuning:compile_candidate", (found, numbers, capability, shared_bytes), COMPILE_LIMIT_S),
            Entry(name, "gpu.tuning:time_candidate", (found, numbers, device, repeats), 20, found.name),
        )


def compile_all(recording: Recording, listed: Sequence[Candidate], deadline: float) -> list[Entry]:
    """Compile on all cores; what can be timed afterwards. What cannot be compiled is noted in the recording."""
    idle: SimpleQueue[Worker] = SimpleQueue()
    cores = min(len(listed), os.cpu_count() or 1)
    for _ in range(cores):
        idle.put(Worker())

    def compiled(entry: Entry) -> str | None:
        """Why it failed; "" where it did not; None where no time is left."""
        worker, left_s = idle.get(), deadline - time.monotonic()
        why: str | None = None
        if left_s > 0:
            try:
                worker.run(entry.measure, entry.arguments, min(entry.limit_s, left_s))
                why = ""
            except Failed as error:
                worker.stop()
                worker = Worker()
                why = str(error) if time.monotonic() < deadline else None
        idle.put(worker)
        return why

    ready = set()
    with ThreadPoolExecutor(cores) as pool:
        jobs = {pool.submit(compiled, candidate.compile): candidate.time for candidate in listed}
        for count, job in enumerate(as_completed(jobs), 1):
            entry, why = jobs[job], job.result()
            if why:
                recording.keep(entry.name, failed=why)
            elif why is not None:
                ready.add(entry.name)
            if count % 50 == 0 or count == len(jobs):
                print(f"compiled {len(ready)} of {len(jobs)}", flush=True)
    for _ in range(cores):
        idle.get().stop()
    return [candidate.time for candidate in listed if candidate.time.name in ready]


def tune(listed: Sequence[Candidate], about: dict[str, Any], output: Path, minutes: float) -> Recording:
    """Compile and time what is missing in the file."""
    start = time.monotonic()
    recording = Recording(output, about, [candidate.time for candidate in listed])
    by_name = {candidate.time.name: candidate for candidate in listed}
    todo = [by_name[entry.name] for entry in recording.missing()]
    if todo:
        ready = compile_all(recording, todo, start + COMPILE_SHARE * 60 * minutes)
        # without a GPU the kernels run in the interpreter
        environment = {"TRITON_INTERPRET": "1"} if about["device"] == "cpu" else {}
        recording.measure(ready, start + 60 * minutes, environment, KERNEL_LIMIT_S)
    return recording


def report(recording: Recording, asked: Sequence[Problem]) -> str:
    """For each kernel what was fastest beside what the table says, then the table that follows."""
    from gpu.launch_table import fastest, table

    capability = recording.about["capability"]
    results, failures = recording.results(), recording.failures()
    lines = [f"{name} FAILED: {why}" for name, why in failures.items()]
    lines.append(f"{len(results)} of {len(recording.entries)} candidates were timed, {len(failures)} failed")
    for problem in asked:
        timed = fastest(problem, results)
        if timed:
            launch, median_s = timed
            present = problem.present(capability)
            before = results.get(f"{problem.name}/{'-'.join(map(str, present))}")
            beside = f"{1000 * before['median_s']:.3f} ms with {tuple(present)}" if before else "no time"
            lines.append(f"{problem.name}: {1000 * median_s:.3f} ms with {tuple(launch)}; by the table {beside}")
    return "\n".join([*lines, "", table(recording.about, asked, results)])


def main() -> int:
    """Tune, or rehearse."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="the file to write, or to go on with")
    parser.add_argument("--minutes", type=float, default=9, help="how long it may take; by default 9")
    parser.add_argument("--rehearse", action="store_true", help="every part in miniature on the CPU")
    arguments = parser.parse_args()
    try:
        about = header("cpu" if arguments.rehearse else "cuda", arguments.output)
        if arguments.rehearse:
            asked, repeats, most = rehearsal(), 2, 2
        else:
            asked, repeats, most = list(problems(about["capability"])), 10, None
        listed = [candidate for problem in asked for candidate in candidates(problem, about, repeats, most)]
        recording = tune(listed, about, arguments.output, arguments.minutes)
    except (OtherRecording, Failed) as error:
        print(f"tune_gpu: {error}", file=sys.stderr)
        return 2
    print(report(recording, asked))
    left = len(recording.missing()) - len(recording.failures())
    if left:
        print(f"{left} candidates are left: run it again", file=sys.stderr)
    return 1 if left or recording.failures() else 0


if __name__ == "__main__":
    sys.exit(main())
