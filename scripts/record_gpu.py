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

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# every worker imports this file anew, before it learns how Triton is to run: nothing here may import Triton at the top
from gpu.recording import Entry, OtherRecording, Recording, header
from gpu.worker import Failed

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
# (S_q, S_k) of the correctness part: with several batches and heads, and with few of them
SHORT = ((1, 1), (7, 7), (130, 130), (513, 513), (1, 300), (300, 1), (65, 200), (200, 65))
LONG = ((4097, 4097), (8191, 8191), (4099, 1025))
DTYPES = ("bfloat16", "float16", "float32")
# lengths of the training steps
STEPS = (2048, 8192, 32_768)


def entries() -> Iterator[Entry]:
    """All that is recorded, most important first."""
    from actckpt.ops.attention.config import HEAD_DIMS

    yield Entry("device", "gpu.device:rates", ("cuda", 8192, 30))
    for head_dim, direction, name in product((128, 64), ("forward", "backward"), IMPLEMENTATIONS):
        yield speed(direction, name, head_dim, "cuda", SHAPES, 30)
    for head_dim, dtype in product(sorted(HEAD_DIMS, key=lambda head_dim: head_dim not in (128, 64)), DTYPES):
        yield correctness(head_dim, dtype, "cuda", SHORT, LONG)
    for policy in POLICIES:
        yield Entry(f"policy/{policy}", "gpu.blocks:policy_steps", ("cuda", policy, STEPS, 10))


def rehearsal() -> Iterator[Entry]:
    """Something of everything, in miniature: all that can run on a CPU."""
    yield Entry("device", "gpu.device:rates", ("cpu", 64, 2))
    for direction, name in product(("forward", "backward"), IMPLEMENTATIONS):
        if name != "cudnn" and (direction, name) != ("backward", "flex"):
            yield speed(direction, name, 16, "cpu", ((1, 2, 1, 128),), 2)
    yield correctness(16, "float16", "cpu", ((5, 9),), ((33, 20),))
    yield Entry("policy/full", "gpu.blocks:policy_steps", ("cpu", "full", (64,), 2))


def speed(
    direction: str, name: str, head_dim: int, device: str, shapes: Sequence[tuple[int, ...]], repeats: int
) -> Entry:
    """How fast the forward or the backward pass of an implementation is."""
    arguments = (*IMPLEMENTATIONS[name], head_dim, shapes, device, repeats)
    # a compiler may take most of it
    return Entry(f"{direction}/D{head_dim}/{name}", f"gpu.speed:{direction}", arguments, limit_s=100)


def correctness(head_dim: int, dtype: str, device: str, *lengths: Sequence[tuple[int, int]]) -> Entry:
    """Whether the package's attention is right."""
    return Entry(f"correctness/D{head_dim}/{dtype}", "gpu.correctness:correctness", (device, head_dim, dtype, *lengths))


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


def record(listed: Iterable[Entry], device: str, output: Path, minutes: float) -> int:
    """Measure what is missing in the file, and say what is in it."""
    deadline = time.monotonic() + 60 * minutes
    try:
        recording = Recording(output, header(device, output), listed)
    except (OtherRecording, Failed) as error:
        print(f"record_gpu: {error}", file=sys.stderr)
        return 2
    # without a GPU the kernels run in the interpreter
    recording.measure(recording.missing(), deadline, {"TRITON_INTERPRET": "1"} if device == "cpu" else {})
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
    if arguments.rehearse:
        return record(rehearsal(), "cpu", arguments.output, arguments.minutes)
    return record(entries(), "cuda", arguments.output, arguments.minutes)


if __name__ == "__main__":
    sys.exit(main())
