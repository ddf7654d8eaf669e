"""Finds the tiles, warps and stages with which the attention kernels run fastest, and prints the launch table.

    python scripts/tune_gpu.py --output FILE               on any machine with CUDA, torch and Triton
    python scripts/tune_gpu.py --output FILE --rehearse    without a GPU: every part in miniature

First every candidate is compiled, on all cores; then each kernel has a process of its own that times its candidates,
most important first. Each candidate is in the file once it is timed, or once it has failed. The next run with the same
file goes on where this one ended.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# every worker imports this file anew, before it learns how Triton is to run: nothing here may import Triton at the top
from gpu.recording import Entry, OtherRecording, Recording, header
from gpu.worker import Failed, Job

if TYPE_CHECKING:
    from gpu.tuning import Problem

KERNELS = ("forward", "dk_dv", "dq")
# the longest that the candidates of one kernel may take together
KERNEL_LIMIT_S = 60
# the share of the time after which nothing more is compiled
COMPILE_SHARE = 0.5


def problems(capability: tuple[int, int]) -> Iterator[Problem]:
    """The kernels of each row of the launch table that this GPU uses, most important first."""
    from gpu.tuning import Problem

    from actckpt.ops.attention.config import HEAD_DIMS

    # 16,384 tokens of Llama 3.1 8B; fewer in float32, which takes long
    half, single, checked = (4, 32, 8, 4096), (1, 8, 2, 2048), (2, 4, 2, 1021)
    kinds = [("bfloat16", "pointer", half), ("float32", "pointer", single)]
    if capability >= (9, 0):
        kinds.insert(0, ("bfloat16", "descriptor", half))
    rows: list[object] = []
    for (dtype, path, sizes), head_dim in product(kinds, (128, 64, 256, *HEAD_DIMS)):
        found = [Problem(kernel, head_dim, dtype, path, sizes, checked) for kernel in KERNELS]
        row = found[0].launches(capability)
        if not any(row is other for other in rows):
            rows.append(row)
            yield from found


def rehearsal() -> list[Problem]:
    """One of each kernel, so small that the interpreter is quick."""
    from gpu.tuning import Problem

    return [Problem(kernel, 64, "float16", "descriptor", (1, 2, 1, 64), (1, 2, 1, 40)) for kernel in KERNELS]


def candidates(problem: Problem, about: dict[str, Any], repeats: int, most: int | None = None) -> Iterator[Entry]:
    """The launch configurations to try for a problem, at most so many."""
    capability, shared_bytes = about["capability"], about["shared_bytes"]
    device = "cpu" if about["device"] == "cpu" else "cuda"
    for numbers in problem.candidates(capability, shared_bytes)[:most]:
        yield Entry(
            f"{problem.name}/{'-'.join(map(str, numbers))}",
            Job("gpu.tuning:time_candidate", (problem, numbers, device, repeats), 20),
            Job("gpu.tuning:compile_candidate", (problem, numbers, capability, shared_bytes)),
            problem.name,
        )


def tune(entries: Iterable[Entry], about: dict[str, Any], output: Path, deadline: float) -> Recording:
    """Compile, then time what is missing in the file, until it is `deadline` by the monotonic clock."""
    recording = Recording(output, about, entries)
    missing = recording.missing()
    outcomes = recording.compile(missing, deadline - (1 - COMPILE_SHARE) * (deadline - time.monotonic()))
    for name, why in outcomes.items():
        if why:
            recording.keep(name, failed=why)
    # without a GPU the kernels run in the interpreter
    environment = {"TRITON_INTERPRET": "1"} if about["device"] == "cpu" else {}
    ready = [entry for entry in missing if outcomes.get(entry.name) == ""]
    recording.measure(ready, deadline, environment, KERNEL_LIMIT_S)
    return recording


def report(recording: Recording, asked: Sequence[Problem]) -> str:
    """For each kernel what was fastest beside what the table says, then the table that follows."""
    from gpu.launch_table import fastest, table

    capability = recording.about["capability"]
    results, failed = recording.results(), len(recording.failures())
    left = len(recording.missing()) - failed
    lines = [f"{len(results)} of {len(recording.entries)} candidates were timed, {failed} failed, {left} are left"]
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
    deadline = time.monotonic() + 60 * arguments.minutes
    try:
        about = header("cpu" if arguments.rehearse else "cuda", arguments.output)
        if arguments.rehearse:
            asked, repeats, most = rehearsal(), 2, 2
        else:
            asked, repeats, most = list(problems(about["capability"])), 10, None
        entries = [entry for problem in asked for entry in candidates(problem, about, repeats, most)]
        recording = tune(entries, about, arguments.output, deadline)
    except (OtherRecording, Failed) as error:
        print(f"tune_gpu: {error}", file=sys.stderr)
        return 2
    print(report(recording, asked))
    return 0


if __name__ == "__main__":
    sys.exit(main())
