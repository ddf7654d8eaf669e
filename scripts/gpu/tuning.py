"""One kernel of attention with one launch configuration: compiled without a GPU, and timed on one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from itertools import product
from unittest.mock import patch

import torch
from torch import Tensor

from actckpt.ops.attention import flash_attention, kernels, launch
from actckpt.ops.attention.config import Launch, Launches, block_d, launches
from actckpt.ops.attention.options import Options
from gpu.correctness import poisoned
from gpu.exact import error, random_inputs
from gpu.launches import Call, Capability, noted, without_gpu
from gpu.timing import seconds

# what the results of a kernel are among the output, dq, dk and dv
RESULTS = {"forward": (0,), "dk_dv": (2, 3), "dq": (1,)}
# float32 numbers of accumulators and scores that a thread may hold, of its 255 registers
MOST_HELD = 200


Sizes = tuple[int, int, int, int]


@dataclass(frozen=True)
class Problem:
    """What is to be launched well.

    Attributes:
        kernel: "forward", "dk_dv" or "dq".
        head_dim: D.
        dtype: The name of a type of torch.
        path: "descriptor" or "pointer": how the kernel reads.
        sizes: (batch, query heads, key/value heads, length) for which it is timed.
        checked: The same for which its results are judged: a length that no tile divides.
    """

    kernel: str
    head_dim: int
    dtype: str
    path: str
    sizes: Sizes
    checked: Sizes

    @property
    def name(self) -> str:
        """As it is called in a recording."""
        return f"{self.kernel}/D{self.head_dim}/{self.dtype}/{self.path}"

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return int(getattr(torch, self.dtype).itemsize)

    def launches(self, capability: Capability) -> Launches:
        """What the launch table says for all kernels."""
        return launches(capability, self.itemsize, self.head_dim, self.path == "descriptor")

    def present(self, capability: Capability) -> Launch:
        """What it says for this one."""
        found: Launch = getattr(self.launches(capability), self.kernel)
        return found

    def candidates(self, capability: Capability, shared_bytes: int) -> list[Launch]:
        """What may be worth a trial, beginning with what the table says.

        A tile that would not fit into shared memory, or whose accumulators would not fit into registers, is none.
        """
        # rows of the tile that a program owns, of those that it walks along, and how many of these are in flight
        choices: tuple[tuple[int, ...], ...] = ((64, 128, 256), (32, 64, 128), (2, 3, 4))
        if self.itemsize == 4:
            choices = ((32, 64), (16, 32, 64), (1, 2))
        present = self.present(capability)
        found = [present]
        for owned, walked, num_warps, num_stages in product(*choices[:2], (4, 8), choices[2]):
            m, n = (walked, owned) if self.kernel == "dk_dv" else (owned, walked)
            candidate = Launch(m, n, num_warps, num_stages)
            # the backward kernels read rows that are padded to so many
            padded = self.kernel == "forward" or m <= kernels.PADDING.value
            fits = self._held(candidate) <= MOST_HELD and self._shared_bytes(candidate) <= shared_bytes
            if padded and fits and candidate != present:
                found.append(candidate)
        return found

    def _held(self, candidate: Launch) -> float:
        """float32 numbers of the accumulators and of the scores, for each thread."""
        m, n, width = candidate.block_m, candidate.block_n, block_d(self.head_dim)
        held = {"forward": m * (width + n), "dk_dv": n * (2 * width + 2 * m), "dq": m * (width + 2 * n)}
        return held[self.kernel] / (32 * candidate.num_warps)

    def _shared_bytes(self, candidate: Launch) -> int:
        """The tiles that a program owns, and those in flight."""
        m, n, in_flight = candidate.block_m, candidate.block_n, 2 * candidate.num_stages
        rows = {"forward": m + in_flight * n, "dk_dv": 2 * n + in_flight * m, "dq": 2 * m + in_flight * n}
        return rows[self.kernel] * block_d(self.head_dim) * self.itemsize


def compile_candidate(
    problem: Problem, numbers: Sequence[int], capability: Capability, shared_bytes: int
) -> dict[str, int]:
    """Compile for a GPU that this process does not touch, into the cache from which Triton will take it.

    Raises:
        ValueError: It asks for more shared memory than there is.
    """
    q, k, v, do = _random(problem, problem.sizes, "meta")
    with without_gpu(capability):
        calls, _ = _called(problem, numbers, (q, k, v), do, do, q.new_empty(q.shape[:3], dtype=torch.float32))
        compiled = calls[-1].compiled()
    needed = int(compiled.metadata.shared)
    if needed > shared_bytes:
        raise ValueError(f"{needed:,} bytes of shared memory are needed, and there are {shared_bytes:,}")
    return {"shared_bytes": needed}


def time_candidate(problem: Problem, numbers: Sequence[int], device: str, repeats: int) -> dict[str, float]:
    """Times of the kernel, and how far it is off as a share of what is allowed.

    Raises:
        ValueError: The results are wrong.
    """
    inputs, *others = _prepared(problem, problem.checked, device)
    with poisoned():
        calls, outputs = _called(problem, numbers, inputs, *others)
    for call in calls:
        call()
    judged = [x if index in RESULTS[problem.kernel] else None for index, x in enumerate(outputs)]
    off = error(judged, inputs, others[0], True)
    if off > 1:
        raise ValueError(f"the results are off by {off:.2g} times what they may be")

    calls, _ = _called(problem, numbers, *_prepared(problem, problem.sizes, device))
    for call in calls:
        call()
    return {**seconds(calls[-1], device, repeats), "error": off}


def _random(problem: Problem, sizes: Sizes, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, n, n_kv, length = sizes
    return random_inputs(device, batch, (n, n_kv), (length, length), problem.head_dim, getattr(torch, problem.dtype))


@cache
def _prepared(problem: Problem, sizes: Sizes, device: str) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    """q, k and v; the gradient of the output; the output and lse, from the reference."""
    *inputs, do = (x.detach() for x in _random(problem, sizes, device))
    o, lse = flash_attention(*inputs, causal=True, impl="reference", return_lse=True)
    return inputs, do, o, lse


def _called(
    problem: Problem, numbers: Sequence[int], inputs: Sequence[Tensor], do: Tensor, o: Tensor, lse: Tensor
) -> tuple[list[Call], tuple[Tensor | None, ...]]:
    """The launches of a candidate, its own last, and where its output, dq, dk and dv will be."""
    config = Launches(*[Launch(*numbers)] * 3)
    options = Options.of(True, problem.head_dim**-0.5)
    q, k, v = inputs
    with ExitStack() as patches:
        calls = patches.enter_context(noted())
        patches.enter_context(patch.object(launch, "_launches", lambda *_: config))
        if problem.path == "pointer":
            patches.enter_context(patch.object(launch, "_describable", lambda *_: False))
        if problem.kernel == "forward":
            outputs = launch.forward(q, k, v, options)[0], None, None, None
        else:
            outputs = None, *launch.backward(do, q, k, v, o, lse, None, options)
    wanted = ("preprocess_kernel", f"{problem.kernel}_kernel")
    return [calls[name] for name in wanted if name in calls], outputs
