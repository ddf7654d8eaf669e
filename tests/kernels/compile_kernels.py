"""Compile kernels for a GPU that is not there, with exactly the arguments that their launchers pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from triton._C.libtriton import ir
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.runtime.jit import JITFunction

# what a block may ask for: bytes, and columns of the tensor memory that sm_100 has
SHARED_MEMORY = {80: 163 * 1024, 89: 99 * 1024, 90: 227 * 1024, 100: 227 * 1024}
TENSOR_MEMORY = 512
OPTIONS = ("num_warps", "num_stages", "enable_fp_fusion")


class Memory(NamedTuple):
    """What a block of a kernel asks for: bytes of shared memory, and columns of tensor memory."""

    shared: int
    tensor: int

    def fits(self, architecture: int) -> bool:
        """Whether a block may have that much."""
        return self.shared <= SHARED_MEMORY[architecture] and self.tensor <= TENSOR_MEMORY


@dataclass
class Call:
    """A launch that was recorded instead of run."""

    kernel: JITFunction
    arguments: dict[str, Any]
    options: dict[str, Any]

    def source(self) -> ASTSource:
        """The kernel, specialised for its arguments as a launch would."""
        signature: dict[str, Any] = {}
        constants: dict[tuple[int, ...], Any] = {}
        attributes: dict[tuple[int, ...], Any] = {}

        def describe(value: Any, path: tuple[int, ...], constant: bool) -> Any:
            if isinstance(value, tuple):
                return tuple(describe(entry, (*path, index), constant) for index, entry in enumerate(value))
            if constant or (isinstance(value, int) and value == 1 and len(path) == 2):
                constants[path] = value
                return "constexpr"
            if isinstance(value, torch.Tensor):
                attributes[path] = [["tt.divisibility", 16]]
                return "*" + {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}[value.dtype]
            if isinstance(value, float):
                return "fp32"
            if len(path) == 2 and value % 16 == 0:
                attributes[path] = [["tt.divisibility", 16]]
            return "i64" if value >= 2**31 else "i32"

        for index, parameter in enumerate(self.kernel.params):
            value = self.arguments[parameter.name]
            signature[parameter.name] = describe(value, (index,), parameter.is_constexpr)
        return ASTSource(self.kernel, signature, constants, attributes)


class Compilation:
    """Triton's compilation of a call, past its cache. It begins with the kernel's own IR."""

    def __init__(self, call: Call, architecture: int):
        source, target = call.source(), GPUTarget("cuda", architecture, 32)
        backend = make_backend(target)
        options = backend.parse_options(dict(call.options))
        self.metadata, self.stages = {}, {}
        # a module lives no longer than its context
        self.context = ir.context()
        ir.load_dialects(self.context)
        backend.load_dialects(self.context)
        generate, modules = backend.get_codegen_implementation(options), backend.get_module_map()
        self.module = source.make_ir(target, options, generate, modules, self.context)
        backend.add_stages(self.stages, options, source.language)
        self._run("ttir")

    def key(self) -> str:
        """The kernel's IR, in which the two 16-bit types are one: it is equal for kernels that differ in no more."""
        return str(self.module).replace("bf16", "f16")

    def build(self) -> Memory:
        """Compile the kernel to machine code."""
        self._run("ttgir", "llir", "ptx", "cubin")
        return Memory(self.metadata["shared"], self.metadata["tmem_size"] or 0)

    def _run(self, *stages: str) -> None:
        for stage in stages:
            self.module = self.stages[stage](self.module, self.metadata)


class _Recorder:
    def __init__(self, kernel: JITFunction, calls: list[Call]):
        self.kernel, self.calls = kernel, calls

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        def record(*args: Any, **kwargs: Any) -> None:
            options = {name: kwargs.pop(name) for name in OPTIONS if name in kwargs}
            arguments = dict(zip(self.kernel.arg_names, args, strict=False)) | kwargs
            self.calls.append(Call(self.kernel, arguments, options))

        return record


@contextmanager
def recorded(kernels: ModuleType) -> Iterator[list[Call]]:
    """Record the launches of every kernel of a module instead of running them."""
    calls: list[Call] = []
    launched = [name for name in vars(kernels) if name.endswith("_kernel")]
    with patch.multiple(kernels, **{name: _Recorder(getattr(kernels, name), calls) for name in launched}):
        yield calls
