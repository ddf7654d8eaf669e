"""Compile kernels for a GPU that is not there, with exactly the arguments that their launchers pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

# what a block may ask for, in bytes
SHARED_MEMORY = {80: 163 * 1024, 89: 99 * 1024, 90: 227 * 1024, 100: 227 * 1024}
OPTIONS = ("num_warps", "num_stages", "enable_fp_fusion")


@dataclass
class Call:
    """A launch that was recorded instead of run."""

    kernel: JITFunction
    arguments: dict[str, Any]
    options: dict[str, Any]

    def compile(self, architecture: int) -> Any:
        """The compiled kernel; its metadata says what it needs."""
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
        source = ASTSource(self.kernel, signature, constants, attributes)
        return triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=self.options)


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
