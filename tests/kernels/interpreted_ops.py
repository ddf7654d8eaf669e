"""The kernels of RMSNorm, SwiGLU and RoPE in Triton's interpreter. test_ops_kernels.py runs this file."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from ops_cases import CASES, as_tuple, differentiable, gradients_of, inverse_frequencies

from actckpt.errors import InputError
from actckpt.ops import launching, rms_norm, rope, swiglu
from actckpt.ops.norm import kernels as norm_kernels

EACH_OP = pytest.mark.parametrize("name", CASES)


@pytest.fixture(autouse=True)
def nan_in_new_memory(monkeypatch):
    """What a kernel does not write shows."""
    new_empty = torch.Tensor.new_empty
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda *args, **kwargs: new_empty(*args, **kwargs).fill_(math.nan))


@pytest.fixture
def small_tiles(monkeypatch):
    """Several tiles and programs for a small input, the last of them ragged."""
    monkeypatch.setattr(launching, "TILE", 64)
    monkeypatch.setattr(norm_kernels, "_PARTS", 3)


def results(op, inputs, leaves):
    outputs = as_tuple(op(*inputs))
    return [x.double() for x in (*outputs, *gradients_of(outputs, leaves))]


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("view", [False, True], ids=["contiguous", "view"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@EACH_OP
def test_at_most_twice_the_error_of_the_definition_in_the_same_precision(name, dtype, view):
    op, plain, make = CASES[name]
    inputs, leaves = differentiable(make(view, dtype))
    wide, wide_leaves = differentiable([x.double() if isinstance(x, torch.Tensor) else x for x in inputs])
    actual = results(partial(op, impl="triton"), inputs, leaves)
    same_precision = results(plain, inputs, leaves)
    exact = results(plain, wide, wide_leaves[: len(leaves)])
    for x, near, right in zip(actual, same_precision, exact, strict=True):
        # one rounding to the type is allowed where the definition has none
        rounding = torch.finfo(dtype).eps * right.abs().max()
        assert (x - right).abs().max() <= 2 * (near - right).abs().max() + rounding


@EACH_OP
def test_one_tile(name):
    op, _, make = CASES[name]
    inputs, leaves = differentiable(make(False, torch.float32))
    for x, right in zip(
        results(partial(op, impl="triton"), inputs, leaves),
        results(partial(op, impl="reference"), inputs, leaves),
        strict=True,
    ):
        torch.testing.assert_close(x, right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("op", "shapes"),
    [
        (lambda x, impl: rms_norm(x, torch.ones(8), 1e-5, impl=impl), [(0, 8), (2, 0, 8), (8,)]),
        (lambda x, impl: swiglu(x, x.sin(), impl=impl), [(0, 8), (2, 0), (0,), (), (3,)]),
        (lambda x, impl: rope(x, x[:, :, :1], inverse_frequencies(8), impl=impl), [(0, 3, 2, 8), (1, 3, 0, 8)]),
    ],
)
def test_nothing_and_single_numbers(op, shapes):
    for shape in shapes:
        x = torch.linspace(-1, 1, math.prod(shape)).view(shape).requires_grad_()
        for found, right in zip(
            results(partial(op, impl="triton"), [x], [x]), results(partial(op, impl="reference"), [x], [x]), strict=True
        ):
            torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-5)


def test_the_backward_of_a_norm_reads_strided_rows():
    x, d_output = torch.randn(2, 4, 9, 8).unbind()
    weight, rstd = torch.randn(16)[::2], torch.rand(9, 4).t()
    op = torch.ops.actckpt.rms_norm_backward
    for found, right in zip(
        op(d_output, x, weight, rstd, "triton"), op(d_output, x, weight, rstd, "reference"), strict=True
    ):
        torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-5)


def test_the_saved_set_is_that_of_the_reference():
    x, w = torch.ones(2, 7, 32, dtype=torch.bfloat16, requires_grad=True), torch.ones(32, dtype=torch.bfloat16)
    q = x.unflatten(-1, (2, 16))
    calls = {
        "rms_norm": partial(rms_norm, x, w, 1e-5),
        "swiglu": partial(swiglu, x, x),
        "rope": partial(rope, q, q, inverse_frequencies(16)),
    }
    assert calls.keys() == CASES.keys()
    for call in calls.values():
        saved = {}
        for impl in ("triton", "reference"):
            saved[impl] = []
            with torch.autograd.graph.saved_tensors_hooks(lambda x, kept=saved[impl]: kept.append(x), lambda x: x):
                call(impl=impl)
        shapes = {impl: [(x.shape, x.stride(), x.dtype) for x in tensors] for impl, tensors in saved.items()}
        assert shapes["triton"] == shapes["reference"]


@EACH_OP
def test_float64_is_refused(name):
    op, _, make = CASES[name]
    with pytest.raises(InputError, match=r"torch\.float64"):
        op(*make(False), impl="triton")
