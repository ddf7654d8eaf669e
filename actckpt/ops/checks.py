"""What any op refuses, each in one line: arguments of other kinds, tensors that it cannot compute with."""

from __future__ import annotations

import math
from types import NoneType
from typing import Any

import torch
from torch import Tensor

from actckpt.errors import InputError
from actckpt.ops.implementation import DTYPES, names


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
        return math.inf if number > 0 else -math.inf


def shown(value: object) -> str:
    """A value in a message: what it is where it is short, its type where it is not."""
    if isinstance(value, int) and value.bit_length() > 64:
        return f"a whole number of {value.bit_length()} bits"
    return repr(value) if isinstance(value, str | int | float | NoneType) else f"a {type(value).__name__}"


def check_tensors(**tensors: Tensor) -> None:
    """Refuse tensors of other types than `DTYPES`, sparse ones, tensors on more than one device, and None.

    The dispatcher lets None pass for a tensor, and takes a meta tensor among others for meta tensors all.

    Raises:
        InputError: One of the four.
    """
    check_kinds(Tensor, "a tensor", **tensors)
    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPES:
            raise InputError(f"{name} is {tensor.dtype}: it must be floating-point numbers, {names(DTYPES)}")
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
