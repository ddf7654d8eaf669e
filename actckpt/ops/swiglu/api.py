"""swiglu(): what users call. It checks its input and hands it to the registered op."""

from __future__ import annotations

from torch import Tensor

from actckpt.ops.checks import check_kinds
from actckpt.ops.swiglu import registration


def swiglu(gate: Tensor, up: Tensor, *, impl: str = "auto") -> Tensor:
    """`silu(gate) * up`, element by element, with `silu(x) = x * sigmoid(x)`.

    Computed in float32 (float64 for float64) and rounded once. Saved for the backward pass: gate and up. The op can be
    differentiated once, in reverse mode.

    Args:
        gate: [...] float16, bfloat16, float32 or float64, any strides.
        up: The shape and the type of gate.
        impl: "triton", "reference", or "auto": Triton on a GPU, the reference elsewhere. An explicit request never
            falls back.

    Returns:
        [...] in the type of gate, contiguous.

    Raises:
        InputError: The two differ in shape, type or device, are no such numbers or carry a forward-mode derivative,
            `impl` cannot run on them, or the gradient is differentiated again.
    """
    check_kinds(Tensor, "a tensor", gate=gate, up=up)
    check_kinds(str, "a name", impl=impl)
    product: Tensor = registration.swiglu(gate, up, impl)
    return product
