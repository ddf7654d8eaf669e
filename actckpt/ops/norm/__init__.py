"""RMSNorm that saves the same on every device: one registered op, a readable reference, and kernels behind it."""

from actckpt.ops.norm.api import rms_norm

__all__ = ["rms_norm"]
