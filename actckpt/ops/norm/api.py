"""rms_norm(): what users call. It checks its input and hands it to the registered op."""

from __future__ import annotations

from numbers import Real

from torch import Tensor

from actckpt.ops.checks import as_float, check_kinds
from actckpt.ops.norm import registration


def rms_norm(x: Tensor, weight: Tensor, eps: float, *, impl: str = "auto") -> Tensor:
    """`x / sqrt(mean(x²) + eps) * weight` over the last dimension.

    The statistics and the division are in float32 (float64 for float64); the quotient is rounded to x's type before it
    is multiplied by the weight, as Hugging Face's Llama does it. Saved for the backward pass: x, weight, and the
    reciprocal root of each row, [...] in float32. The op can be differentiated once, in reverse mode.

    Args:
        x: [..., H] float16, bfloat16, float32 or float64, any strides; H is at least 1.
        weight: [H], of any of these types.
        eps: What is added to the mean square, at least 0.
        impl: "triton", "reference", or "auto": Triton on a GPU, the reference elsewhere. An explicit request never
            falls back.

    Returns:
        [..., H] in x's type, contiguous.

    Raises:
        InputError: The weight does not have the size of a row, the tensors are no such numbers on one device or carry a
            forward-mode derivative, eps is negative or not finite, `impl` cannot run on x, or the gradient is
            differentiated again.
    """
    check_kinds(Tensor, "a tensor", x=x, weight=weight)
    check_kinds(Real, "a number", eps=eps)
    check_kinds(str, "a name", impl=impl)
    output, _ = registration.rms_norm(x, weight, as_float(eps), impl)
    return output
