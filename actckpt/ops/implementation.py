"""Which implementation of an op runs: "triton", "reference", or "auto"."""

from __future__ import annotations

import math
import os
from functools import cache
from importlib.util import find_spec
from types import NoneType
from typing import Any

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


def check_kinds(kind: type | tuple[type, ...], wanted: str, **arguments: object) -> None:
    """Refuse what PyTorch would refuse in words of its own, before an op could.

    Args:
        kind: The types that an argument may have; bool counts as no number.
        wanted: What they are to a reader.
        arguments: By their names.

    Raises:
        InputError: An argument has another type.
    """
    for name, value in arguments.items():
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise InputError(f"{name} is {shown(value)}: it must be {wanted}")


def as_float(number: Any) -> float:
    """A number as PyTorch takes it; infinite where it is too large for a float."""
    try:
        return float(number)
    except OverflowError:
        return math.copysign(math.inf, number)


def shown(value: object) -> str:
    """A value in a message: what it is where it is short, its type where it is not."""
    if isinstance(value, int) and value.bit_length() > 64:
        return f"a whole number of {value.bit_length()} bits"
    return repr(value) if isinstance(value, str | int | float | NoneType) else f"a {type(value).__name__}"


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
                f"impl is 'triton' and the tensors are {tensor.dtype}: it computes in {_names(KERNEL_DTYPES)}; "
                "say impl='reference'"
            )
    elif impl not in IMPLEMENTATIONS:
        raise unknown("impl", impl, IMPLEMENTATIONS)


def check_tensors(**tensors: Tensor) -> None:
    """Refuse tensors of other types than `DTYPES`, sparse ones, and tensors on more than one device.

    A meta tensor among others would silence them.

    Raises:
        InputError: One of the three.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPES:
            raise InputError(f"{name} is {tensor.dtype}: it must be floating-point numbers, {_names(DTYPES)}")
        if tensor.layout != torch.strided:
            raise InputError(f"{name} is laid out as {tensor.layout}: it must be a dense tensor, torch.strided")
    if len({tensor.device for tensor in tensors.values()}) > 1:
        devices = ", ".join(f"{name} is on {tensor.device}" for name, tensor in tensors.items())
        raise InputError(f"{devices}: they must be on one device")


def check_like(name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Refuse a tensor of another shape or type than an op was computed with.

    Raises:
        InputError: The shape or the type differs.
    """
    if tensor.shape != shape or tensor.dtype != dtype:
        raise InputError(f"{name} is {list(tensor.shape)} {tensor.dtype}: it must be {list(shape)} {dtype}")


def wide_dtype(x: Tensor) -> torch.dtype:
    """The type that the references compute in before they round: float32, or float64 for float64."""
    return torch.promote_types(x.dtype, torch.float32)


def _names(dtypes: tuple[torch.dtype, ...]) -> str:
    return ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)


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
