"""Which implementation of an op runs: "triton", "reference", or "auto"."""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.autograd import forward_ad

from actckpt.errors import InputError, unknown

IMPLEMENTATIONS = ("auto", "triton", "reference")

KERNEL_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
"""The types that the kernels compute in."""


@cache
def has_triton() -> bool:
    """Whether triton is installed. It is not imported."""
    return find_spec("triton") is not None


def interpreted() -> bool:
    """Whether Triton's kernels run in its interpreter, on any device."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def check_impl(impl: str, tensor: Tensor) -> None:
    """Refuse an `impl` that is unknown, or that cannot run on the device of `tensor`.

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
                f"impl is 'triton' and the tensors are {tensor.dtype}: it computes in float16, bfloat16 and float32; "
                "say impl='reference'"
            )
    elif impl not in IMPLEMENTATIONS:
        raise unknown("impl", impl, IMPLEMENTATIONS)


def check_tensors(*tensors: Tensor) -> None:
    """Refuse tensors on more than one device, of which a meta tensor would silence the others, and whole numbers.

    Raises:
        InputError: One of the two, or a tensor carries a forward-mode derivative.
    """
    check_reverse_mode(*tensors)
    devices = [str(tensor.device) for tensor in tensors]
    if len(set(devices)) > 1:
        raise InputError(f"the tensors are on {', '.join(devices)}: they must be on one device")
    if not all(tensor.is_floating_point() for tensor in tensors):
        dtypes = ", ".join(str(tensor.dtype) for tensor in tensors)
        raise InputError(f"the tensors are {dtypes}: they must be floating-point numbers")


def check_reverse_mode(*tensors: Tensor) -> None:
    """Refuse forward-mode differentiation, for which PyTorch takes the derivative of a custom op to be 0.

    Raises:
        InputError: A tensor carries a forward-mode derivative.
    """
    if any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors):
        raise InputError(
            "a tensor carries a forward-mode derivative (torch.func.jvp, torch.autograd.forward_ad), which would come "
            "out as 0: differentiate in reverse mode"
        )


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
