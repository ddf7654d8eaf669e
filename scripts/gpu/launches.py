"""Launches of the attention kernels, noted instead of made; and how to compile one without a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from actckpt.ops.attention import kernels, launch

Capability = tuple[int, int]


@dataclass(frozen=True)
class Call:
    """A launch of a kernel, to be made as often as one likes."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: tuple[Any, ...]
    options: dict[str, Any]

    def __call__(self) -> None:
        self.kernel[self.grid](*self.arguments, **self.options)

    def compiled(self) -> Any:
        """The kernel, compiled for these arguments into Triton's cache, and not run."""
        return self.kernel.warmup(*self.arguments, grid=self.grid, **self.options)


@contextmanager
def noted() -> Iterator[dict[str, Call]]:
    """Note the launches of the kernels, by the names of these, instead of making them."""
    calls: dict[str, Call] = {}

    class Note:
        def __init__(self, name: str):
            self.name, self.kernel = name, getattr(kernels, name)

        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
            def note(*arguments: Any, **options: Any) -> None:
                calls[self.name] = Call(self.kernel, grid, arguments, options)

            return note

    notes: dict[str, Any] = {name: Note(name) for name in vars(kernels) if name.endswith("_kernel")}
    with patch.multiple(kernels, **notes):
        yield calls


@contextmanager
def without_gpu(capability: Capability) -> Iterator[None]:
    """Launch and compile as for a GPU of this compute capability, which this process does not touch, nor can later."""

    class Driver:
        def get_current_target(self) -> GPUTarget:
            return GPUTarget("cuda", 10 * capability[0] + capability[1], 32)

        def get_current_device(self) -> int:
            return 0

        def get_current_stream(self, _: int) -> int:
            return 0

    # to put the real one back, Triton would look for a GPU
    driver.set_active(Driver())
    with patch.object(launch, "_capability", lambda _: capability):
        yield
