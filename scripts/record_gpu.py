"""Records what the package does on a GPU, most important first: speed, correctness, memory and time of the policies.

    python scripts/record_gpu.py --output docs/data/gpu-NAME.json     on any machine with CUDA, torch and Triton
    python scripts/record_gpu.py --output FILE --rehearse             without a GPU: every part in miniature

The package need not be installed. Each entry runs in a process of its own with a time limit, and is in the file once it
is measured. The next run with the same file measures what is missing: what the time did not suffice for, what failed,
and what runs sources that have changed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# every worker imports this file anew, before it learns how Triton is to run: nothing here may import Triton at the top
from gpu.recording import Entry, OtherRecording, Recording, header
from gpu.worker import Failed, Job

from actckpt import POLICIES

# where it is, and whether it takes fewer key/value heads than query heads
IMPLEMENTATIONS = {
    "actckpt": ("gpu.ours:attention", True),
    "cudnn": ("gpu.peers:cudnn", False),
    "flash": ("gpu.peers:flash", False),
    "plain": ("gpu.plain_flash:attention", False),
    "flex": ("gpu.peers:flex", True),
}
# (batch, query heads, key/value heads, length) of the timings: heads as in Llama 3.1 8B, 16,384 tokens
SHAPES = ((16, 32, 8, 1024), (4, 32, 8, 4096), (1, 32, 8, 16_384))
# (batch, query heads, key/value heads, S_q, S_k) of the correctness part: odd lengths, the long ones with few heads
SHORT = ((1, 1), (7, 7), (130, 130), (513, 513), (1, 300), (300, 1), (65, 200), (200, 65))
CASES = (
    *((2, *heads, *lengths) for lengths, heads in product(SHORT, ((4, 4), (8, 2), (6, 1)))),
    *((1, 2, 1, *lengths) for lengths in ((4099, 1025), (4097, 4097), (8191, 8191))),
)
# lengths of the training steps
STEPS = (2048, 8192, 32_768)


def entries(capability: tuple[int, int]) -> Iterator[Entry]:
    """All that is recorded, most important first."""
    from actckpt.ops.attention.config import HEAD_DIMS

    yield Entry("device", Job("gpu.device:rates", ("cuda", 8192, 30)))
    for head_dim, direction, name in product((128, 64), ("forward", "backward"), IMPLEMENTATIONS):
        yield speed(direction, name, head_dim, capability, "cuda", SHAPES, 30)
    in_order = sorted(HEAD_DIMS, key=lambda head_dim: head_dim not in (128, 64))
    yield from (correctness(head_dim, "bfloat16", capability, "cuda", CASES) for head_dim in in_order)
    yield from (masks(head_dim, "bfloat16", "cuda", 1021) for head_dim in in_order)
    for policy in POLICIES:
        yield Entry(f"policy/{policy}", Job("gpu.blocks:policy_steps", ("cuda", policy, STEPS, 10), 90))
    for dtype, head_dim in product(("float16", "float32"), in_order):
        yield correctness(head_dim, dtype, capability, "cuda", CASES)


def rehearsal() -> Iterator[Entry]:
    """Something of everything, in miniature: all that can run on a CPU."""
    capability = (9, 0)
    yield Entry("device", Job("gpu.device:rates", ("cpu", 64, 2)))
    for direction, name in product(("forward", "backward"), IMPLEMENTATIONS):
        if name != "cudnn" and (direction, name) != ("backward", "flex"):
            yield speed(direction, name, 16, capability, "cpu", ((1, 2, 1, 128),), 2)
    yield correctness(16, "float16", capability, "cpu", ((1, 2, 1, 5, 9), (1, 2, 1, 33, 20)))
    yield masks(16, "float16", "cpu", 49)
    yield Entry("policy/full", Job("gpu.blocks:policy_steps", ("cpu", "full", (64,), 2)))


def speed(
    direction: str,
    name: str,
    head_dim: int,
    capability: tuple[int, int],
    device: str,
    shapes: Sequence[tuple[int, ...]],
    repeats: int,
) -> Entry:
    """How fast the forward or the backward pass of an implementation is."""
    compiled = {
        "actckpt": Job("gpu.compiling:compile_attention", (head_dim, "bfloat16", (True,), capability)),
        "plain": Job("gpu.compiling:compile_plain", (direction, head_dim, capability)),
    }
    arguments = (*IMPLEMENTATIONS[name], head_dim, shapes, device, repeats)
    # FlexAttention is compiled for each shape
    measured = Job(f"gpu.speed:{direction}", arguments, 100)
    return Entry(f"{direction}/D{head_dim}/{name}", measured, compiled.get(name))


def correctness(
    head_dim: int, dtype: str, capability: tuple[int, int], device: str, cases: Sequence[tuple[int, ...]]
) -> Entry:
    """Whether the package's attention is right."""
    return Entry(
        f"correctness/D{head_dim}/{dtype}",
        Job("gpu.correctness:correctness", (device, head_dim, dtype, cases)),
        Job("gpu.compiling:compile_attention", (head_dim, dtype, (True, False), capability), 120),
    )


def masks(head_dim: int, dtype: str, device: str, length: int) -> Entry:
    """Whether it is right with windows, a softcap and packed documents."""
    return Entry(
        f"correctness/D{head_dim}/{dtype}/masks", Job("gpu.correctness:masks", (device, head_dim, dtype, length))
    )


def summary(recording: Recording) -> str:
    """What there is to know at a glance."""
    from gpu import derived

    about, results = recording.about, recording.results()
    commit = f"commit {str(about['commit'])[:10]}{' with changes' if about['changed'] else ''}"
    lines = [f"{about['device']}, torch {about['torch']}, triton {about['triton']}, {commit}"]
    if "device" in results:
        flops, bandwidth = derived.rates(results["device"])
        lines.append(f"matrix product {flops / 1e12:.0f} TFLOP/s, copy {bandwidth / 1e12:.2f} TB/s")
    for name, result in results.items():
        part = name.partition("/")[0]
        if part in ("forward", "backward"):
            cells = [
                f"S {timing['length']}: {derived.attention_rate(part, timing) / 1e12:.0f} TFLOP/s"
                for timing in result["timings"]
            ]
        elif part == "correctness":
            errors = ", ".join(f"{mask} {error:.2f}" for mask, error in result["error"].items())
            cells = [f"{'right' if result['right'] else 'WRONG'}: {errors} of what is allowed"]
            cells.append("repeats are equal" if result["repeats_equal"] else "REPEATS DIFFER")
        elif part == "policy":
            cells = [f"S {step['length']}: {1000 * step['median_s']:.1f} ms" for step in result["steps"]]
        else:
            continue
        lines.append(f"{name:28} {', '.join(cells)}")
    lines += [f"{name:28} FAILED: {why}" for name, why in recording.failures().items()]
    return "\n".join(lines)


def record(entries: Iterable[Entry], about: dict[str, Any], output: Path, deadline: float) -> int:
    """Measure what is missing in the file, until it is `deadline` by the monotonic clock; say what is in it."""
    recording = Recording(output, about, entries)
    # without a GPU the kernels run in the interpreter
    environment = {"TRITON_INTERPRET": "1"} if about["device"] == "cpu" else {}
    missing = recording.missing()
    timed = [entry for entry in missing if entry.name.startswith(("device", "forward", "backward"))]
    for part in (timed, [entry for entry in missing if entry not in timed]):
        recording.compile(part, deadline)
        recording.measure(part, deadline, environment)
    print(summary(recording))
    left = len(recording.missing()) - len(recording.failures())
    if left:
        print(f"{left} entries are left: run it again")
    return 1 if left or recording.failures() else 0


def main() -> int:
    """Record, or rehearse."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="the file to write, or to go on with")
    parser.add_argument("--minutes", type=float, default=9, help="how long it may take; by default 9")
    parser.add_argument("--rehearse", action="store_true", help="every part in miniature on the CPU")
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    try:
        about = header("cpu" if arguments.rehearse else "cuda", arguments.output)
        listed = rehearsal() if arguments.rehearse else entries(about["capability"])
        return record(listed, about, arguments.output, deadline)
    except (OtherRecording, Failed) as error:
        print(f"record_gpu: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
