"""Which implementation of an op runs: "triton", "reference", or "auto"."""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from actckpt.errors import InputError, unknown

IMPLEMENTATIONS = ("auto", "triton", "reference")

KERNEL_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
"""The types that the kernels compute in."""

DTYPES = (*KERNEL_DTYPES, torch.float64)
"""The types that the references compute in."""


@cache
def has_triton() -> bool:
    """Whether triton is installed. It is not imported."""
    return find_spec("triton") is not None


def interpreted() -> bool:
    """Whether Triton's kernels run in its interpreter, on any device."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def check_impl(impl: str, tensor: Tensor) -> None:
    """Refuse an `impl` that is unknown, or that cannot run on `tensor`.

    Raises:
        InputError: One of the two.
    """
    if impl == "triton":
        if not has_triton():
            raise InputError("impl is 'triton', which is not installed: install triton, or say impl='reference'")
        if not (tensor.is_cuda or tensor.is_meta or interpreted()):
            raise InputError(
                f"impl is 'triton' and the tensors are on {tensor.device.type!r}: move them to 'cuda', "
                "set TRITON_INTERPRET=1, or say impl='reference'"
            )
        if tensor.dtype not in KERNEL_DTYPES:
            raise InputError(
                f"impl is 'triton' and the tensors are {tensor.dtype}: it computes in {names(KERNEL_DTYPES)}; "
                "say impl='reference'"
            )
    elif impl not in IMPLEMENTATIONS:
        raise unknown("impl", impl, IMPLEMENTATIONS)


def names(dtypes: tuple[torch.dtype, ...]) -> str:
    """The types in a message."""
    return ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)


def wide_dtype(x: Tensor) -> torch.dtype:
    """The type that the references compute in before they round: float32, or float64 for float64."""
    return torch.promote_types(x.dtype, torch.float32)


def runs_triton(impl: str, tensor: Tensor) -> bool:
    """Whether the kernels compute an op on `tensor`; "auto" takes them on a GPU that has tensor cores for bfloat16."""
    if impl != "auto":
        return impl == "triton"
    if not (tensor.is_cuda and tensor.dtype in KERNEL_DTYPES and has_triton()):
        return False
    return torch.cuda.get_device_capability(tensor.device) >= (8, 0)


def readable(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors as kernels can read them: the interpreter would multiply the bits of bfloat16, so it gets float32."""
    if not interpreted():
        return tensors
    return tuple(x.float() if x.dtype == torch.bfloat16 else x for x in tensors)
