"""Records what the package does on a GPU: docs/data/gpu-<name>.json, from which the pages take measured figures.

    python scripts/record_gpu.py                 on any machine with CUDA, within 9 minutes
    python scripts/record_gpu.py --rehearse      without a GPU: every part in miniature, nothing is written

Three parts: whether the attention kernels are right, for every head dimension; memory and time of blocks of Llama 3.1
8B under every policy, beside what the package predicts; how fast the kernels are, beside PyTorch's. Each entry is saved
when it is there. A run that ends early is resumed by the next on the same device, versions and commit.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

import actckpt
from actckpt.ops.attention import flash_attention
from actckpt.ops.attention.config import HEAD_DIMS
from actckpt.ops.attention.registration import visible_pairs

ROOT = Path(__file__).parents[1]
Measure = Callable[[], dict[str, Any]]

# (S_q, S_k) and (n, n_kv) of the correctness part
LENGTHS = ((1, 1), (7, 7), (130, 130), (513, 513), (1, 300), (300, 1), (65, 200), (200, 65))
HEADS = ((4, 4), (8, 2), (6, 1))
TOKENS = 16_384
BACKENDS = {
    "sdpa_flash": SDPBackend.FLASH_ATTENTION,
    "sdpa_cudnn": SDPBackend.CUDNN_ATTENTION,
    "sdpa_efficient": SDPBackend.EFFICIENT_ATTENTION,
    "sdpa_math": SDPBackend.MATH,
}
# beyond this length the math backend's scores crowd out the others
MATH_LENGTH = 2048
# the kernels' source, changed so that every tile is masked and none is skipped
NO_SPLIT = {
    "return full // BLOCK_N * BLOCK_N, end": "return 0, s_k",
    "return start, diagonal_end, full_end, masked_tiles": (
        "return 0, tl.cdiv(s_q, BLOCK_M) * BLOCK_M, tl.cdiv(s_q, BLOCK_M) * BLOCK_M, tl.cdiv(s_q, BLOCK_M)"
    ),
}


class Recording:
    """A JSON file of named entries that is complete after each of them, and a time at which to stop."""

    def __init__(self, path: Path | None, header: dict[str, Any], seconds: float):
        self.path, self.deadline, self.left = path, time.monotonic() + seconds, 0
        self.data: dict[str, Any] = header | {"date": datetime.date.today().isoformat(), "entries": {}}
        if path is not None and path.exists():
            before = json.loads(path.read_text(encoding="utf-8"))
            if all(before.get(key) == value for key, value in header.items()):
                self.data = before

    def entry(self, name: str, measure: Measure) -> None:
        """Measure it, unless it is there already or the time is up."""
        if name in self.data["entries"]:
            return
        if time.monotonic() > self.deadline:
            self.left += 1
            return
        self.data["entries"][name] = measure()
        print(name, json.dumps(self.data["entries"][name]), flush=True)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial_file = self.path.with_suffix(".part")
            partial_file.write_text(json.dumps(self.data, indent=1) + "\n", encoding="utf-8")
            partial_file.replace(self.path)


def header(device: torch.device) -> dict[str, Any]:
    """What the figures depend on."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    names: dict[str, Any] = {"device": "cpu", "driver": None, "memory_bytes": None}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
        driver = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
        names = {"device": properties.name, "driver": driver, "memory_bytes": properties.total_memory}
    return names | {
        "cuda": torch.version.cuda,
        "torch": torch.__version__,
        "triton": version("triton"),
        "commit": commit.stdout.strip(),
    }


def seconds(functions: dict[str, Callable[[], Any]], device: torch.device, repeats: int) -> dict[str, float]:
    """The median time of each function; they take turns, so that a change of the clock meets all of them alike."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeats + 2):
        for name, function in functions.items():
            elapsed = _seconds_once(function, device)
            # the first turns warm up
            if turn >= 2:
                times[name].append(elapsed)
    return {name: statistics.median(measured) for name, measured in times.items()}


def _seconds_once(function: Callable[[], Any], device: torch.device) -> float:
    if device.type != "cuda":
        start = time.perf_counter()
        function()
        return time.perf_counter() - start
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    before.record()
    function()
    after.record()
    after.synchronize()
    return before.elapsed_time(after) / 1000


def matmul_rate(device: torch.device, size: int) -> dict[str, Any]:
    """The rate of one large bfloat16 matrix product, in TFLOP/s."""
    a, b = torch.randn(2, size, size, device=device, dtype=torch.bfloat16)
    return {"tflops": 2 * size**3 / seconds({"": lambda: a @ b}, device, 20)[""] / 1e12}


def attention_inputs(
    device: torch.device,
    batch: int,
    heads: tuple[int, int],
    lengths: tuple[int, int],
    head_dim: int,
    dtype: torch.dtype,
) -> list[Tensor]:
    """q, k, v and the gradient of the output: heads of a projection, as a block hands them over."""
    n, n_kv = heads
    s_q, s_k = lengths
    shapes = ((s_q, n), (s_k, n_kv), (s_k, n_kv), (s_q, n))
    make = partial(torch.randn, device=device, dtype=dtype)
    q, k, v, do = (make(batch, length, count, head_dim).transpose(1, 2) for length, count in shapes)
    return [q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), do]


def plain_attention(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """The definition, in the type of its input."""
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    s = q @ k.mT * q.shape[-1] ** -0.5
    if causal:
        visible = torch.ones(s.shape[-2:], dtype=torch.bool, device=s.device).tril(s.shape[-1] - s.shape[-2])
        s = s.masked_fill(~visible, -torch.inf)
    return torch.softmax(s, -1).nan_to_num(0) @ v


def correctness(device: torch.device, head_dim: int, dtype: torch.dtype, causal: bool, impl: str) -> dict[str, Any]:
    """The largest error over all lengths and heads, and as a share of what plain attention of that type is off by."""
    worst, ratio = 0.0, 0.0
    for lengths, heads in product(LENGTHS, HEADS):
        torch.manual_seed(0)
        *inputs, do = attention_inputs(device, 2, heads, lengths, head_dim, dtype)

        def results(
            attention: Callable[..., Tensor], wide: bool, inputs: Any = inputs, do: Tensor = do
        ) -> list[Tensor]:
            leaves = [(x.double() if wide else x).detach().requires_grad_() for x in inputs]
            output = attention(*leaves, causal=causal)
            gradients = torch.autograd.grad(output, leaves, do.to(output.dtype))
            return [x.double().nan_to_num(0) if wide else x.double() for x in (output, *gradients)]

        exact, near = results(plain_attention, wide=True), results(plain_attention, wide=False)
        actual = results(partial(flash_attention, impl=impl), wide=False)
        for x, plain, right in zip(actual, near, exact, strict=True):
            error = (x - right).abs().max().item()
            # what plain attention happens to get exactly may be off by one rounding of a number near 1
            allowed = (plain.nan_to_num(0) - right).abs().max().item() + torch.finfo(dtype).eps
            # a value that is not a number must not pass
            worst, ratio = max(worst, error), max(ratio, error / allowed if error == error else torch.inf)
    return {"cases": len(LENGTHS) * len(HEADS), "largest_error": worst, "against_plain": ratio, "right": ratio <= 2}


def speed(
    device: torch.device, head_dim: int, length: int, causal: bool, heads: tuple[int, int], tokens: int, repeats: int
) -> dict[str, Any]:
    """Median seconds and TFLOP/s of forward and backward, for each implementation that runs.

    The backends of `scaled_dot_product_attention` get key/value heads that were copied beforehand, untimed.
    """
    *inputs, do = attention_inputs(device, tokens // length, heads, (length, length), head_dim, torch.bfloat16)
    copied = [inputs[0], *(x.detach().repeat_interleave(heads[0] // heads[1], 1).requires_grad_() for x in inputs[1:])]
    impl = "triton" if device.type == "cuda" else "reference"
    candidates: dict[str, tuple[Callable[..., Tensor], list[Tensor]]] = {
        "actckpt": (partial(flash_attention, causal=causal, impl=impl), inputs)
    }
    for name, backend in BACKENDS.items():
        if name != "sdpa_math" or length <= MATH_LENGTH:
            candidates[name] = (partial(_sdpa, backend=backend, causal=causal), copied)
    if device.type == "cuda":
        candidates["actckpt_no_split"] = (partial(without_split(), causal=causal), inputs)
    if device.type == "cuda" and heads == (32, 8):
        candidates["flex"] = (_flex(device, length, causal), inputs)

    forwards: dict[str, Callable[[], Any]] = {}
    backwards: dict[str, Callable[[], Any]] = {}
    refused: dict[str, str] = {}
    for name, (attention, tensors) in candidates.items():
        try:
            output = attention(*tensors)
            backward = partial(torch.autograd.grad, output, tensors, do, retain_graph=True)
            backward()
        except Exception as error:
            refused[name] = str(error).splitlines()[0][:200]
            continue
        forwards[name], backwards[name] = partial(attention, *tensors), backward
    flops = 4 * tokens // length * heads[0] * visible_pairs(length, length, causal) * head_dim
    with torch.no_grad():
        forward_s = seconds(forwards, device, repeats)
    backward_s = seconds(backwards, device, repeats)
    timed = {
        name: {
            "forward_s": forward_s[name],
            "backward_s": backward_s[name],
            "forward_tflops": flops / forward_s[name] / 1e12,
            "backward_tflops": 2.5 * flops / backward_s[name] / 1e12,
        }
        for name in forwards
    }
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return {"implementations": timed, "refused": refused}


@cache
def without_split() -> Callable[..., Tensor]:
    """Attention by the same algorithm and launches, but every tile is masked and none is skipped."""
    from actckpt.ops.attention import kernels, launch

    source = Path(kernels.__file__).read_text(encoding="utf-8")
    for split, plain in NO_SPLIT.items():
        if source.count(split) != 1:
            raise ValueError(f"{kernels.__file__} does not say {split!r} once: adapt NO_SPLIT")
        source = source.replace(split, plain)
    path = Path(tempfile.mkdtemp()) / "kernels_without_split.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    class Attention(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
            with patch.object(launch, "kernels", module):
                output, lse = launch.forward(q, k, v, causal, q.shape[-1] ** -0.5)
            ctx.save_for_backward(q, k, v, output, lse)
            ctx.causal = causal
            return output

        @staticmethod
        def backward(ctx: Any, do: Tensor) -> tuple[Tensor | None, ...]:
            with patch.object(launch, "kernels", module):
                return *launch.backward(do, *ctx.saved_tensors, ctx.causal, do.shape[-1] ** -0.5), None

    return lambda q, k, v, causal: Attention.apply(q, k, v, causal)


def _sdpa(q: Tensor, k: Tensor, v: Tensor, backend: SDPBackend, causal: bool) -> Tensor:
    with sdpa_kernel(backend):
        return scaled_dot_product_attention(q, k, v, is_causal=causal)


def _flex(device: torch.device, length: int, causal: bool) -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    mask = None
    if causal:
        mask = create_block_mask(lambda b, h, i, j: i >= j, None, None, length, length, device=device.type)
    return partial(torch.compile(flex_attention, dynamic=False), block_mask=mask, enable_gqa=True)


def block_model(tiny: bool) -> actckpt.ModelConfig:
    """Four blocks of Llama 3.1 8B and a vocabulary so small that the head does not hide them."""
    config = actckpt.PRESETS["llama-3.1-8b"]
    if tiny:
        config = replace(config, hidden_size=256, n_heads=2, n_kv_heads=1, ffn_size=512)
    return replace(config, name="4 blocks of llama-3.1-8b", n_layers=4, vocab_size=1024)


def policy_step(
    device: torch.device, config: actckpt.ModelConfig, policy: str, length: int, repeats: int
) -> dict[str, Any]:
    """Memory and time of a training step beside the closed form; without optimizer."""
    predicted = actckpt.estimate(config, seq_len=length, policy=policy)
    with torch.device(device):
        model = actckpt.apply(actckpt.Llama(config).to(torch.bfloat16), policy)
        tokens, targets = torch.randint(config.vocab_size, (2, 1, length))

    def step() -> None:
        model(tokens, targets).backward()

    # the first step leaves the gradients, which are training states, and the kernels
    step()
    peak = None
    if device.type == "cuda":
        torch.cuda.synchronize()
        states = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated() - states
    flops = predicted.flops.forward + predicted.flops.backward + predicted.flops.recompute + predicted.head.flops
    return {
        "working_bytes": peak,
        "predicted_working_bytes": int(predicted.working_bytes),
        "step_s": seconds({"": step}, device, repeats)[""],
        "predicted_flops": int(flops),
    }


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
    return 0


if __name__ == "__main__":
    sys.exit(main())
