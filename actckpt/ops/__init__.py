"""The ops of a block that PyTorch sees as one: each saves the same tensors on every device, meta included.

Importing this package imports torch and registers `torch.ops.actckpt.*`; triton waits until a kernel is launched.

Here `rope` and `swiglu` are the functions. `from actckpt.ops.rope import kernels` finds the package of that name.
"""

from actckpt.ops.attention import flash_attention
from actckpt.ops.norm import rms_norm
from actckpt.ops.rope import rope
from actckpt.ops.swiglu import swiglu

__all__ = ["flash_attention", "rms_norm", "rope", "swiglu"]
