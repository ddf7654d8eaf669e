"""rope(): what users call. It checks its input and hands it to the registered op."""

from __future__ import annotations

from torch import Tensor

from actckpt.ops.checks import check_kinds
from actckpt.ops.rope import registration


def rope(q: Tensor, k: Tensor, inv_freq: Tensor, *, impl: str = "auto") -> tuple[Tensor, Tensor]:
    """Rotate the pair (x[i], x[i + D/2]) of every head at position s by the angle `s * inv_freq[i]`.

    Positions are 0 to S - 1; the pairing is Hugging Face's ("rotate half"). Sine, cosine and rotation are in float32
    (float64 for float64), rounded once. Saved for the backward pass: inv_freq. The op can be differentiated any number
    of times, in reverse mode.

    An angle of float32 is rounded to 24 bits: off by up to `2**-24` of itself, as in Hugging Face's models. At the end
    of 131,072 positions that is up to `2**-8` = 0.004 radians, where bfloat16 rounds what is rotated to 8 bits.

    Args:
        q: [B, S, n, D] float16, bfloat16, float32 or float64, any strides; D is at least 2.
        k: [B, S, n_kv, D], of q's type.
        inv_freq: [D / 2] float32, in radians a position. It gets no gradient.
        impl: "triton", "reference", or "auto": Triton on a GPU, the reference elsewhere. An explicit request never
            falls back.

    Returns:
        q and k rotated: their shapes and types, contiguous.

    Raises:
        InputError: The tensors do not fit together, are not on one device or carry a forward-mode derivative, or `impl`
            cannot run on q.
    """
    check_kinds(Tensor, "a tensor", q=q, k=k, inv_freq=inv_freq)
    check_kinds(str, "a name", impl=impl)
    turned_q, turned_k = registration.rope(q, k, inv_freq, impl)
    return turned_q, turned_k
