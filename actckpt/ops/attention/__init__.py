"""Attention that never writes the S x S scores: one registered op, a readable reference, and kernels behind it."""

from actckpt.ops.attention.api import flash_attention

__all__ = ["flash_attention"]
