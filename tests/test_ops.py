"""RMSNorm, SwiGLU and RoPE against float64 autograd, and what they save."""

from __future__ import annotations

import pytest
import torch
from kernels.ops_cases import (
    CASES,
    as_tuple,
    differentiable,
    gradients_of,
    inverse_frequencies,
    norm_inputs,
    randn,
    rope_inputs,
    swiglu_inputs,
)

from actckpt.ops import rms_norm, rope, swiglu

OPS = torch.ops.actckpt
each_op = pytest.mark.parametrize("name", CASES)
each_layout = pytest.mark.parametrize("view", [False, True], ids=["contiguous", "view"])


@each_layout
@each_op
def test_equals_the_definition(name, view):
    op, plain, make = CASES[name]
    inputs, leaves = differentiable(make(view))
    actual, expected = as_tuple(op(*inputs)), as_tuple(plain(*inputs))
    for x, right in zip(actual, expected, strict=True):
        assert x.is_contiguous()
        torch.testing.assert_close(x, right)
    for x, right in zip(gradients_of(actual, leaves), gradients_of(expected, leaves), strict=True):
        torch.testing.assert_close(x, right)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@each_op
def test_low_precision_is_near(name, dtype):
    op, plain, make = CASES[name]
    inputs, leaves = differentiable(make(view=False, dtype=dtype))
    wide, wide_leaves = differentiable([x.double() if isinstance(x, torch.Tensor) else x for x in inputs])
    wide_leaves = wide_leaves[: len(leaves)]
    actual, expected = as_tuple(op(*inputs)), as_tuple(plain(*wide))
    eps = torch.finfo(dtype).eps
    for x, right in zip(actual, expected, strict=True):
        assert x.dtype == dtype
        torch.testing.assert_close(x.double(), right, rtol=2 * eps, atol=2 * eps)
    for x, right in zip(gradients_of(actual, leaves), gradients_of(expected, wide_leaves), strict=True):
        assert x.dtype == dtype
        torch.testing.assert_close(x.double(), right, rtol=8 * eps, atol=8 * eps)


@each_op
def test_gradcheck(name):
    op, _, make = CASES[name]
    inputs, _ = differentiable(make(view=False))
    assert torch.autograd.gradcheck(op, inputs)


@each_layout
@each_op
def test_opcheck(name, view):
    _, _, make = CASES[name]
    inputs, _ = differentiable(make(view, torch.float32))
    torch.library.opcheck(getattr(OPS, name).default, tuple(inputs))


@each_layout
def test_opcheck_of_the_backward_ops(view):
    x, weight, eps = norm_inputs(view, torch.bfloat16)
    _, rstd = OPS.rms_norm(x, weight, eps)
    torch.library.opcheck(OPS.rms_norm_backward.default, (torch.ones_like(x), x, weight, rstd))
    gate, up = swiglu_inputs(view, torch.bfloat16)
    torch.library.opcheck(OPS.swiglu_backward.default, (torch.ones_like(gate), gate, up))


def saved_by(op, *inputs):
    """What an op saves, as (shape, dtype), and the saved tensors."""
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        op(*inputs)
    return [(list(x.shape), x.dtype) for x in saved], saved


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_saved_sets(device):
    bf16, f32 = torch.bfloat16, torch.float32
    x, w = torch.ones(2, 7, 32, dtype=bf16, device=device), torch.ones(32, dtype=bf16, device=device)
    x.requires_grad_()
    assert saved_by(rms_norm, x, w, 1e-5)[0] == [([2, 7, 32], bf16), ([32], bf16), ([2, 7], f32)]
    assert saved_by(swiglu, x, x)[0] == [([2, 7, 32], bf16), ([2, 7, 32], bf16)]
    q = x.unflatten(-1, (2, 16))
    inv_freq = inverse_frequencies(16).to(device)
    shapes, saved = saved_by(rope, q, q, inv_freq)
    assert shapes == [([8], f32)]
    assert saved[0] is inv_freq


def test_the_returns_are_named():
    returns = {name: [value.name for value in getattr(OPS, name).default._schema.returns] for name in CASES}
    assert returns == {"rms_norm": ["output", "rstd"], "swiglu": ["product"], "rope": ["q", "k"]}


def test_rms_norm_is_hugging_faces():
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    x, weight, eps = norm_inputs(view=False, dtype=torch.bfloat16)
    norm = LlamaRMSNorm(x.shape[-1], eps).bfloat16()
    norm.weight.data.copy_(weight)
    torch.testing.assert_close(rms_norm(x, weight, eps), norm(x), rtol=0, atol=0)


def test_rope_is_hugging_faces():
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    q, k, inv_freq = rope_inputs(view=False, dtype=torch.float32)
    angles = torch.outer(torch.arange(q.shape[1]).float(), inv_freq).repeat(1, 2).unsqueeze(0)
    expected = apply_rotary_pos_emb(q, k, angles.cos(), angles.sin(), unsqueeze_dim=2)
    for x, right in zip(rope(q, k, inv_freq), expected, strict=True):
        torch.testing.assert_close(x, right)


def test_rope_far_along_is_off_by_the_rounding_of_its_angles():
    length, head_dim = 131_072, 16
    inv_freq = inverse_frequencies(head_dim)
    q = randn(1, length, 1, head_dim, dtype=torch.float32)
    actual, exact = rope(q, q, inv_freq)[0], rope(q.double(), q.double(), inv_freq)[0]
    off, radius = (torch.complex(*x.double().chunk(2, -1)).abs() for x in (actual - exact, q))
    # half a unit in the last place of angles below 2**17, and the roundings of sine, cosine and rotation
    assert (off / radius).max() <= 2**-8 + 8 * torch.finfo(torch.float32).eps
    # the first frequency is 1: its angles are whole numbers, and exact
    assert (off / radius)[..., 0].max() <= 8 * torch.finfo(torch.float32).eps


def test_rms_norm_of_one_row_has_gradients():
    x, weight = (torch.randn(8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda x, weight: rms_norm(x, weight, 1e-5), (x, weight))
