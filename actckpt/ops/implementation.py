"""Which implementation of an op runs: "triton", "reference", or "auto"."""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec

from torch import Tensor

from actckpt.errors import InputError, unknown

IMPLEMENTATIONS = ("auto", "triton", "reference")


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
    elif impl not in IMPLEMENTATIONS:
        raise unknown("impl", impl, IMPLEMENTATIONS)


def runs_triton(impl: str, tensor: Tensor) -> bool:
    """Whether the kernels compute an op on `tensor`; "auto" takes them on a GPU."""
    return impl == "triton" or (impl == "auto" and tensor.is_cuda and has_triton())
