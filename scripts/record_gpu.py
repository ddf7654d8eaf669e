"""Records what the package does on a GPU: docs/data/gpu-<name>.json, from which the pages take measured figures.

    python scripts/record_gpu.py                 on any machine with CUDA, within 9 minutes
    python scripts/record_gpu.py --rehearse      without a GPU: every part in miniature, nothing is written

Three parts: whether the attention kernels are right, for every head dimension; memory and time of blocks of Llama 3.1
8B under every policy, beside what the package predicts; how fast the kernels are, beside PyTorch's. Each entry is saved
when it is there. A run that ends early is resumed by the next on the same device, versions and commit.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from gpu.attention import correctness, speed
from gpu.blocks import block_model, policy_step
from gpu.recording import ROOT, Measure, Recording, header, seconds

import actckpt
from actckpt.ops.attention.config import HEAD_DIMS

TOKENS = 16_384


def matmul_rate(device: torch.device, size: int) -> dict[str, Any]:
    """The rate of one large bfloat16 matrix product, in TFLOP/s."""
    a, b = torch.randn(2, size, size, device=device, dtype=torch.bfloat16)
    return {"tflops": 2 * size**3 / seconds({"": lambda: a @ b}, device, 20)[""] / 1e12}


def entries(device: torch.device, tiny: bool) -> Iterator[tuple[str, Measure]]:
    """Every entry of the recording, by name."""
    cuda = device.type == "cuda"
    yield "matmul", partial(matmul_rate, device, 256 if tiny else 8192)
    impl = "triton" if cuda else "reference"
    dims, lengths = (HEAD_DIMS[:1], (64,)) if tiny else (HEAD_DIMS, (1024, 2048, 4096, 8192, 16_384))
    for head_dim, dtype, causal in product(dims, (torch.bfloat16, torch.float16), (False, True)):
        name = f"correctness/D{head_dim}/{str(dtype).removeprefix('torch.')}/{_mask(causal)}"
        yield name, partial(correctness, device, head_dim, dtype, causal, impl)
    config = block_model(tiny)
    repeats = 1 if tiny else 10
    for length, policy in product((64,) if tiny else (2048, 8192, 32_768), actckpt.POLICIES):
        yield f"policy/{policy}/S{length}", partial(policy_step, device, config, policy, length, 1 if tiny else 5)
    for head_dim, length, causal, heads in product(
        (64,) if tiny else (128, 64), lengths, (True, False), ((32, 8), (64, 8))
    ):
        name = f"speed/D{head_dim}/S{length}/{_mask(causal)}/heads{heads[0]}-{heads[1]}"
        tokens = length if tiny else TOKENS
        yield name, partial(speed, device, head_dim, length, causal, heads, tokens, repeats)


def _mask(causal: bool) -> str:
    return "causal" if causal else "full"


def table(data: dict[str, Any]) -> str:
    """What there is to know at a glance."""
    found = data["entries"]
    lines = [f"{data['device']}, torch {data['torch']}, triton {data['triton']}, commit {data['commit'][:10]}"]
    if "matmul" in found:
        lines.append(f"matmul {found['matmul']['tflops']:.0f} TFLOP/s")
    checked = {name: entry for name, entry in found.items() if name.startswith("correctness/")}
    wrong = [name for name, entry in checked.items() if not entry["right"]]
    lines.append(f"correctness: {len(checked) - len(wrong)} of {len(checked)} right {' '.join(wrong)}")
    for name, entry in found.items():
        if name.startswith("policy/"):
            peak, predicted = entry["working_bytes"], entry["predicted_working_bytes"]
            memory = "" if peak is None else f"{peak / 2**30:8.3f} GiB, {100 * (peak / predicted - 1):+6.2f} % off"
            rate = entry["predicted_flops"] / entry["step_s"] / 1e12
            lines.append(f"{name:32} {memory}  {1000 * entry['step_s']:8.1f} ms  {rate:5.0f} TFLOP/s")
    for name, entry in found.items():
        if name.startswith("speed/"):
            rates = (
                f"{key} {timed['forward_tflops']:.0f}/{timed['backward_tflops']:.0f}"
                for key, timed in entry["implementations"].items()
            )
            lines.append(f"{name:40} {'  '.join(rates)}")
    return "\n".join(lines)


def main() -> int:
    """Record, or rehearse."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rehearse", action="store_true", help="run every part in miniature on the CPU, write nothing")
    parser.add_argument("--minutes", type=float, default=8.5, help="start nothing new after so many minutes")
    parser.add_argument("--output", type=Path, help="the file to write; by default docs/data/gpu-<name>.json")
    arguments = parser.parse_args()
    if not arguments.rehearse and not torch.cuda.is_available():
        print("record_gpu: no CUDA device is here: use --rehearse to try the script without one", file=sys.stderr)
        return 2
    device = torch.device("cpu" if arguments.rehearse else "cuda")
    about = header(device)
    path = None
    if not arguments.rehearse:
        name = re.sub(r"[^a-z0-9]+", "-", about["device"].lower()).strip("-")
        path = arguments.output or ROOT / "docs" / "data" / f"gpu-{name}.json"
    recording = Recording(path, about, 60 * arguments.minutes)
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        for name, measure in entries(device, arguments.rehearse):
            recording.entry(name, measure)
    print(table(recording.data))
    if recording.left:
        print(f"{recording.left} entries are left: run it again")
    failed = recording.data.get("failed", {})
    for name, error in failed.items():
        print(f"{name} failed: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
