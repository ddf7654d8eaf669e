"""RoPE, which saves no activation: one registered op, a readable reference, and a kernel behind it."""

from actckpt.ops.rope.api import rope

__all__ = ["rope"]
