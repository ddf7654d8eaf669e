"""Whether the attention kernels are right, and how fast they are beside PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from actckpt.ops.attention import flash_attention
from actckpt.ops.attention.registration import visible_pairs
from gpu.recording import seconds
from gpu.without_split import without_split

# (S_q, S_k) and (n, n_kv) of the correctness part
LENGTHS = ((1, 1), (7, 7), (130, 130), (513, 513), (1, 300), (300, 1), (65, 200), (200, 65))
HEADS = ((4, 4), (8, 2), (6, 1))
BACKENDS = {
    "sdpa_flash": SDPBackend.FLASH_ATTENTION,
    "sdpa_cudnn": SDPBackend.CUDNN_ATTENTION,
    "sdpa_efficient": SDPBackend.EFFICIENT_ATTENTION,
    "sdpa_math": SDPBackend.MATH,
}
# beyond this length the math backend's scores crowd out the others
MATH_LENGTH = 2048


def attention_inputs(
    device: torch.device,
    batch: int,
    heads: tuple[int, int],
    lengths: tuple[int, int],
    head_dim: int,
    dtype: torch.dtype,
) -> list[Tensor]:
    """q, k, v and the gradient of the output: heads of a projection, as a block hands them over."""
    n, n_kv = heads
    s_q, s_k = lengths
    shapes = ((s_q, n), (s_k, n_kv), (s_k, n_kv), (s_q, n))
    make = partial(torch.randn, device=device, dtype=dtype)
    q, k, v, do = (make(batch, length, count, head_dim).transpose(1, 2) for length, count in shapes)
    return [q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), do]


def plain_attention(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """The definition, in the type of its input."""
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    s = q @ k.mT * q.shape[-1] ** -0.5
    if causal:
        visible = torch.ones(s.shape[-2:], dtype=torch.bool, device=s.device).tril(s.shape[-1] - s.shape[-2])
        s = s.masked_fill(~visible, -torch.inf)
    return torch.softmax(s, -1).nan_to_num(0) @ v


def correctness(device: torch.device, head_dim: int, dtype: torch.dtype, causal: bool, impl: str) -> dict[str, Any]:
    """The largest error over all lengths and heads, and as a share of what plain attention of that type is off by."""
    worst, ratio = 0.0, 0.0
    for lengths, heads in product(LENGTHS, HEADS):
        torch.manual_seed(0)
        *inputs, do = attention_inputs(device, 2, heads, lengths, head_dim, dtype)

        def results(
            attention: Callable[..., Tensor], wide: bool, inputs: Any = inputs, do: Tensor = do
        ) -> list[Tensor]:
            leaves = [(x.double() if wide else x).detach().requires_grad_() for x in inputs]
            output = attention(*leaves, causal=causal)
            gradients = torch.autograd.grad(output, leaves, do.to(output.dtype))
            return [x.double().nan_to_num(0) if wide else x.double() for x in (output, *gradients)]

        exact, near = results(plain_attention, wide=True), results(plain_attention, wide=False)
        actual = results(partial(flash_attention, impl=impl), wide=False)
        for x, plain, right in zip(actual, near, exact, strict=True):
            error = (x - right).abs().max().item()
            # what plain attention happens to get exactly may be off by one rounding of a number near 1
            allowed = (plain.nan_to_num(0) - right).abs().max().item() + torch.finfo(dtype).eps
            # a value that is not a number must not pass
            worst, ratio = max(worst, error), max(ratio, error / allowed if error == error else torch.inf)
    return {"cases": len(LENGTHS) * len(HEADS), "largest_error": worst, "against_plain": ratio, "right": ratio <= 2}


def speed(
    device: torch.device, head_dim: int, length: int, causal: bool, heads: tuple[int, int], tokens: int, repeats: int
) -> dict[str, Any]:
    """Median seconds and TFLOP/s of forward and backward, for each implementation that runs.

    The backends of `scaled_dot_product_attention` get key/value heads that were copied beforehand, untimed.
    """
    *inputs, do = attention_inputs(device, tokens // length, heads, (length, length), head_dim, torch.bfloat16)
    copied = [inputs[0], *(x.detach().repeat_interleave(heads[0] // heads[1], 1).requires_grad_() for x in inputs[1:])]
    impl = "triton" if device.type == "cuda" else "reference"
    candidates: dict[str, tuple[Callable[..., Tensor], list[Tensor]]] = {
        "actckpt": (partial(flash_attention, causal=causal, impl=impl), inputs)
    }
    for name, backend in BACKENDS.items():
        if name != "sdpa_math" or length <= MATH_LENGTH:
            candidates[name] = (partial(_sdpa, backend=backend, causal=causal), copied)
    if device.type == "cuda":
        candidates["actckpt_no_split"] = (partial(without_split(), causal=causal), inputs)
    if device.type == "cuda" and heads == (32, 8):
        candidates["flex"] = (_flex(device, length, causal), inputs)

    forwards: dict[str, Callable[[], Any]] = {}
    backwards: dict[str, Callable[[], Any]] = {}
    refused: dict[str, str] = {}
    for name, (attention, tensors) in candidates.items():
        try:
            output = attention(*tensors)
            backward = partial(torch.autograd.grad, output, tensors, do, retain_graph=True)
            backward()
        except Exception as error:
            refused[name] = str(error).splitlines()[0][:200]
            continue
        forwards[name], backwards[name] = partial(attention, *tensors), backward
    flops = 4 * tokens // length * heads[0] * visible_pairs(length, length, causal) * head_dim
    with torch.no_grad():
        forward_s = seconds(forwards, device, repeats)
    backward_s = seconds(backwards, device, repeats)
    timed = {
        name: {
            "forward_s": forward_s[name],
            "backward_s": backward_s[name],
            "forward_tflops": flops / forward_s[name] / 1e12,
            "backward_tflops": 2.5 * flops / backward_s[name] / 1e12,
        }
        for name in forwards
    }
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return {"implementations": timed, "refused": refused}


def _sdpa(q: Tensor, k: Tensor, v: Tensor, backend: SDPBackend, causal: bool) -> Tensor:
    with sdpa_kernel(backend):
        return scaled_dot_product_attention(q, k, v, is_causal=causal)


def _flex(device: torch.device, length: int, causal: bool) -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    mask = None
    if causal:
        mask = create_block_mask(lambda b, h, i, j: i >= j, None, None, length, length, device=device.type)
    # a function is compiled for a few shapes and not for the next, and would then write its scores out
    torch.compiler.reset()
    return partial(torch.compile(flex_attention, dynamic=False, fullgraph=True), block_mask=mask, enable_gqa=True)
