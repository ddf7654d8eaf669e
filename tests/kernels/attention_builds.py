"""The attention kernels, compiled for GPUs that are not there, with the Triton that is installed or the oldest one."""

from __future__ import annotations

import hashlib
import multiprocessing
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kept
import torch
from kernels import floor
from kernels.machine_code import MachineCode

from actckpt.ops.attention.config import HEAD_DIMS

if TYPE_CHECKING:
    from kernels.compile_kernels import Compilation, Memory

CACHE = floor.ROOT / ".cache/kernels"

KERNELS = ("forward", "preprocess", "dk_dv", "dq")
DTYPES = ("bfloat16", "float16", "float32")
# how a kernel reaches its tiles
PATHS = ("descriptor", "pointer", "packed")


@dataclass(frozen=True)
class Row:
    """A kernel as it was compiled.

    Attributes:
        triton: The version of Triton.
        architecture: As 90 for sm_90a.
        kernel: One of `KERNELS`.
        head_dim: One of `HEAD_DIMS`.
        dtype: One of `DTYPES`.
        path: One of `PATHS`.
        memory: What a block asks for.
        code: What its machine code holds, or None if that was not asked for.
    """

    triton: str
    architecture: int
    kernel: str
    head_dim: int
    dtype: str
    path: str
    memory: Memory
    code: MachineCode | None


def rows(
    architecture: int,
    kernels: Sequence[str] = KERNELS,
    head_dims: Sequence[int] = HEAD_DIMS,
    dtypes: Sequence[str] = DTYPES,
    paths: Sequence[str] = PATHS,
    read: bool = True,
) -> list[Row]:
    """Compile the kernels of training steps, and read them. What was compiled before comes from .cache.

    For time's sake packed documents are compiled in the types that models are trained in, and not in float32.
    """
    from triton import __version__

    found: dict[tuple[str, int, str, str], Row] = {}
    for head_dim, dtype, path in product(head_dims, dtypes, paths):
        if (dtype, path) == ("float32", "packed"):
            continue
        for compilation in launched(architecture, head_dim, dtype, path):
            kernel = compilation.kernel.removesuffix("_kernel")
            # what could arrive as descriptors may arrive as pointers; rows of lse and delta are described on every path
            described = re.search(r"tensordesc<(tensor<)?1x1x", compilation.ir)
            taken = "descriptor" if described else path.replace("descriptor", "pointer")
            place = (kernel, head_dim, dtype, taken)
            if kernel in kernels and place not in found:
                found[place] = Row(__version__, architecture, *place, *_built(compilation, __version__, read))
    return list(found.values())


@contextmanager
def compilers() -> Iterator[dict[bool, Executor]]:
    """A process with the installed Triton, and under True one with the oldest, for `rows`."""
    spawn = multiprocessing.get_context("spawn")
    pools = {False: ProcessPoolExecutor(1, spawn), True: ProcessPoolExecutor(1, spawn, floor.enter)}
    try:
        yield pools
    finally:
        for pool in pools.values():
            pool.shutdown(cancel_futures=True)


def launched(architecture: int, head_dim: int, dtype: str, path: str) -> list[Compilation]:
    """The kernels of a training step under a causal mask, as a GPU of this architecture would launch them.

    A key/value head that two heads share with a stride of 0 cannot be described, and neither can packed documents.
    """
    from kernels.compile_kernels import recorded

    from actckpt.ops.attention import launch
    from actckpt.ops.attention.options import Options

    def view(heads: int) -> torch.Tensor:
        return torch.empty(1, 48, heads, head_dim, dtype=getattr(torch, dtype), device="meta").transpose(1, 2)

    q, lse = view(4), torch.empty(1, 4, 48, device="meta")
    k = view(1).expand(-1, 2, -1, -1) if path == "pointer" else view(2)
    documents = torch.empty(3, dtype=torch.int32, device="meta") if path == "packed" else None
    options = Options.of(True, 1.0, cu_seqlens_q=documents)
    with recorded(architecture) as compilations:
        launch.forward(q, k, k, options)
        launch.backward(q, q, k, k, q, lse, None, options)
    return compilations


def _built(compilation: Compilation, triton: str, read: bool) -> tuple[Memory, MachineCode | None]:
    """What a block of a kernel asks for, and its machine code."""
    from kernels import compile_kernels, machine_code

    # matrices of the two 16-bit types meet the same instructions but for a name: they are built once, for time's sake.
    # What preprocess does, making float32 of them, takes other instructions for each
    alike = compilation.ir if compilation.kernel == "preprocess_kernel" else compilation.ir.replace("bf16", "f16")
    digest = hashlib.sha256(f"{triton} {read} {alike}".encode())
    for module in (compile_kernels, machine_code):
        digest.update(Path(module.__file__).read_bytes())
    asked = digest.hexdigest()

    def decode(answer: Any) -> tuple[Memory, MachineCode | None]:
        memory, code = answer
        return compile_kernels.Memory(*memory), code and MachineCode.from_json(code)

    built = kept.read(CACHE / f"{asked}.json", asked, decode)
    if built is None:
        build = compilation.build()
        code = machine_code.read(build.cubin, build.report) if read else None
        built = build.memory, code
        kept.write(CACHE / f"{asked}.json", asked, [build.memory, code and asdict(code)])
    return built
