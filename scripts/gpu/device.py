"""The device, and the two rates that bound whatever runs on it."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from gpu.timing import seconds


def about(device: str) -> dict[str, Any]:
    """Name, memory, compute capability and driver of the device, and the versions that run on it; {} if it is missing.

    The CPU of a rehearsal stands for a GPU of compute capability 9.0.
    """
    found: dict[str, Any] = {"device": "cpu", "capability": (9, 0), "shared_bytes": 227 * 1024}
    if device == "cuda":
        from triton.runtime import driver

        if not torch.cuda.is_available():
            return {}
        properties = torch.cuda.get_device_properties(0)
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
        found = {
            "device": properties.name,
            "capability": (properties.major, properties.minor),
            # what Triton compares with what a kernel asks for
            "shared_bytes": driver.active.utils.get_device_properties(0)["max_shared_mem"],
            "memory_bytes": properties.total_memory,
            "driver": _said_by(query),
        }
    try:
        triton = version("triton")
    except PackageNotFoundError:
        triton = None
    return found | {
        "cuda": torch.version.cuda,
        "torch": torch.__version__,
        "triton": triton,
        "python": platform.python_version(),
    }


def rates(device: str, size: int, repeats: int) -> dict[str, Any]:
    """Times of one large bfloat16 matrix product of random numbers, and of one large copy."""
    a, b = torch.randn(2, size, size, device=device, dtype=torch.bfloat16)
    source = torch.randn(8 * size, size, device=device)
    target = torch.empty_like(source)
    return {
        "matmul": {"size": size, **seconds(lambda: a @ b, device, repeats)},
        "copy": {"bytes": source.nbytes, **seconds(lambda: target.copy_(source), device, repeats)},
    }


def _said_by(command: list[str]) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
