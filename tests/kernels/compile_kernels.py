"""Compile kernels for a GPU that is not there, with exactly what a launch on it would pass."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from triton import knobs
from triton._C.libtriton import ir
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction

# what a block may ask for: bytes, and columns of the tensor memory that sm_100 has
SHARED_MEMORY = {80: 163 * 1024, 89: 99 * 1024, 90: 227 * 1024, 100: 227 * 1024}
TENSOR_MEMORY = 512


class Memory(NamedTuple):
    """What a block of a kernel asks for: bytes of shared memory, and columns of tensor memory."""

    shared: int
    tensor: int

    def fits(self, architecture: int) -> bool:
        """Whether a block may have that much."""
        return self.shared <= SHARED_MEMORY[architecture] and self.tensor <= TENSOR_MEMORY


class Build(NamedTuple):
    """A kernel as machine code, with what its block asks for and what ptxas says of it."""

    memory: Memory
    cubin: bytes
    report: str


class Compilation:
    """A kernel that a launch would have had compiled.

    Attributes:
        kernel: Its name.
        ir: What it is compiled from: target, options and its own IR, specialised for what the launch passes.
    """

    def __init__(self, kernel: JITFunction, source: ASTSource, options: Any, target: GPUTarget):
        self.kernel = kernel.__name__
        backend = make_backend(target)
        self._metadata: dict[str, Any] = {}
        self._stages: dict[str, Callable[..., Any]] = {}
        # a module lives no longer than its context
        self._context = ir.context()
        ir.load_dialects(self._context)
        backend.load_dialects(self._context)
        generate, modules = backend.get_codegen_implementation(options), backend.get_module_map()
        self._module = source.make_ir(target, options, generate, modules, self._context)
        backend.add_stages(self._stages, options, source.language)
        self._run("ttir")
        self.ir = f"{target} {options} {self._module}"

    def build(self) -> Build:
        """Compile the kernel to machine code, past Triton's cache."""
        with redirect_stdout(io.StringIO()) as report, patch.object(knobs.nvidia, "dump_ptxas_log", True):
            self._run("ttgir", "llir", "ptx", "cubin")
        memory = Memory(self._metadata["shared"], self._metadata["tmem_size"] or 0)
        return Build(memory, self._module, report.getvalue())

    def _run(self, *stages: str) -> None:
        for stage in stages:
            self._module = self._stages[stage](self._module, self._metadata)


class _Driver(NamedTuple):
    """What a launch asks the driver. A device's number is its architecture: Triton keeps what it knows by device."""

    architecture: int

    def get_current_device(self) -> int:
        return self.architecture

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.architecture, 32)


@contextmanager
def recorded(architecture: int) -> Iterator[list[Compilation]]:
    """Take each kernel that a launch would have Triton compile for a GPU of this architecture, and launch none."""
    compilations: list[Compilation] = []

    def record(
        kernel: JITFunction,
        key: Any,
        signature: Any,
        device: int,
        constants: Any,
        options: Any,
        attributes: Any,
        _: bool,
    ) -> None:
        source = ASTSource(kernel, signature, constants, attributes)
        compilations.append(Compilation(kernel, source, options, driver.active.get_current_target()))

    with (
        patch.object(JITFunction, "_do_compile", record),
        patch.object(driver, "_active", _Driver(architecture)),
        patch.object(torch.cuda, "get_device_capability", lambda *_: divmod(architecture, 10)),
    ):
        yield compilations
