"""SwiGLU's gating, which saves its two inputs: one registered op, a readable reference, and kernels behind it."""

from actckpt.ops.swiglu.api import swiglu

__all__ = ["swiglu"]
