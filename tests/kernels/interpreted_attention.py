"""The attention kernels in Triton's interpreter. test_attention_kernels.py runs this file with TRITON_INTERPRET=1."""

from __future__ import annotations

import math

import pytest
import torch
from attention_cases import (
    HEADS,
    MASKS,
    check_error,
    check_large_scores,
    minus_infinity,
    offsets,
    random_inputs,
    run,
)

from actckpt.errors import InputError
from actckpt.ops.attention import flash_attention, launch, reference
from actckpt.ops.attention.config import HEAD_DIMS, INTERPRETER

# (S_q, S_k); the interpreter's tiles have 32 or 16 rows
LENGTHS = {
    "one": (1, 1),
    "odd": (7, 7),
    "past a tile": (33, 33),
    "many tiles": (81, 81),
    "whole tiles": (64, 64),
    "fewer queries": (9, 45),
    "fewer keys": (45, 9),
    "one query": (1, 70),
    "one key": (70, 1),
}
BOTH = pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])


@pytest.fixture(autouse=True)
def nan_in_new_memory(monkeypatch):
    """What a kernel does not write shows."""
    for owner, name in ((torch, "empty_like"), (torch.Tensor, "new_empty")):
        original = getattr(owner, name)

        def poisoned(*args, original=original, **options):
            made = original(*args, **options)
            return made.fill_(math.nan) if made.is_floating_point() else made

        monkeypatch.setattr(owner, name, poisoned)


@pytest.fixture(params=["descriptors", "pointers"])
def path(request, monkeypatch):
    """Both ways in which a kernel reads a tensor that allows both."""
    taken = []
    original = launch._operands
    monkeypatch.setattr(
        launch, "_operands", lambda *args, **options: taken.append(args[1]) or original(*args, **options)
    )
    if request.param == "pointers":
        monkeypatch.setattr(launch, "_describable", lambda *_: False)
    yield
    assert (True in taken) == (request.param == "descriptors")


@BOTH
@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("lengths", LENGTHS)
def test_every_length(lengths, causal):
    *inputs, do = random_inputs(*LENGTHS[lengths], 2, 1, dtype=torch.float16, batch=1)
    check_error(flash_attention, inputs, do, causal=causal, impl="triton")


@BOTH
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_every_type(dtype, causal):
    *inputs, do = random_inputs(40, 50, 2, 2, dtype=dtype, batch=1)
    check_error(flash_attention, inputs, do, causal=causal, impl="triton")


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("head_dim", HEAD_DIMS)
def test_every_head_dimension(head_dim):
    *inputs, do = random_inputs(35, 50, 1, 1, head_dim=head_dim, dtype=torch.float16, batch=1)
    check_error(flash_attention, inputs, do, causal=True, impl="triton")


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("heads", HEADS)
def test_heads_and_batches(heads):
    *inputs, do = random_inputs(19, 19, *HEADS[heads], dtype=torch.float16)
    check_error(flash_attention, inputs, do, causal=True, impl="triton")


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("mask", MASKS)
def test_every_mask(mask, dtype):
    lengths, options = MASKS[mask]
    *inputs, do = random_inputs(*lengths, 4, 2, dtype=dtype, batch=1)
    dlse = random_inputs(*lengths, 4, 2, dtype=torch.float32, batch=1)[3][..., 0]
    check_error(flash_attention, inputs, do, dlse, impl="triton", **options)


@pytest.mark.parametrize("mask", [name for name in MASKS if "documents" not in name and "at once" not in name])
def test_every_mask_by_pointers(mask, monkeypatch):
    monkeypatch.setattr(launch, "_describable", lambda *_: False)
    lengths, options = MASKS[mask]
    *inputs, do = random_inputs(*lengths, 2, 1, dtype=torch.float16, batch=1)
    check_error(flash_attention, inputs, do, impl="triton", **options)


@pytest.mark.parametrize("window", [(48, None), (49, None), (None, 38), (None, 39)], ids=str)
def test_a_window_that_just_hides_a_key(window):
    # 50 keys and 40 queries: the second of each pair hides nothing
    *inputs, do = random_inputs(40, 50, 1, 1, dtype=torch.float16, batch=1)
    check_error(flash_attention, inputs, do, window=window, impl="triton")


def test_many_documents():
    # of every length around a tile's, some of them empty
    lengths = (0, 1, 31, 32, 33, 0, 0, 5, 64, 15, 16, 17, 0)
    total = sum(lengths)
    *inputs, do = random_inputs(total, total, 1, 1, dtype=torch.float16, batch=1)
    check_error(flash_attention, inputs, do, causal=True, cu_seqlens=offsets(*lengths), impl="triton")


def test_offsets_of_any_stride():
    *inputs, do = random_inputs(81, 81, 2, 1, dtype=torch.float32, batch=1)
    apart = torch.full((5, 2), -1, dtype=torch.int32)
    apart[:, 0] = offsets(33, 1, 0, 47)
    check_error(flash_attention, inputs, do, cu_seqlens=apart[:, 0], impl="triton")


@pytest.mark.parametrize("softcap", [2.0**-60, 1e5, 2.0**60])
def test_any_softcap(softcap):
    *inputs, do = random_inputs(40, 50, 1, 1, dtype=torch.float16, batch=1)
    check_error(flash_attention, inputs, do, softcap=softcap, impl="triton")


def test_what_is_not_a_number_stays_in_its_document():
    q, k, v, do = (x.detach().clone() for x in random_inputs(81, 81, 2, 1, dtype=torch.float16, batch=1))
    for x in (q, k, v, do):
        x[:, :, 33:50] = math.nan
    options = {"return_lse": True, "cu_seqlens": offsets(33, 17, 31), "impl": "triton"}
    for x in run(flash_attention, (q, k, v), do, torch.float16, **options):
        assert torch.cat((x[:, :, :33], x[:, :, 50:]), 2).isfinite().all()


@pytest.mark.parametrize("lengths", [(40, 50), (50, 9)], ids=str)
def test_lse_alone_has_a_gradient(lengths):
    inputs = random_inputs(*lengths, 2, 1, dtype=torch.float32, batch=1)[:3]

    def z_loss(impl):
        _, lse = flash_attention(*inputs, causal=True, impl=impl, return_lse=True)
        return torch.autograd.grad(lse[lse > -math.inf].square().sum(), inputs)

    for x, right in zip(z_loss("triton"), z_loss("reference"), strict=True):
        torch.testing.assert_close(x, right)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("options", [{}, {"causal": True, "window": (24, None)}, {"softcap": 3.0}], ids=str)
def test_scores_of_minus_infinity(options):
    *inputs, do = minus_infinity(torch.float16)
    kernels, reference = (
        run(flash_attention, inputs, do, torch.float16, return_lse=True, impl=impl, **options)
        for impl in ("triton", "reference")
    )
    for results in (kernels, reference):
        # dq and dk of the infinite columns: 0 times infinity, or nothing where a tile is not visited
        results[2:4] = (x[..., 2:] for x in results[2:4])
    for x, right in zip(kernels, reference, strict=True):
        assert not right.isnan().any()
        torch.testing.assert_close(x, right, rtol=1e-3, atol=1e-3)


def test_any_strides():
    *inputs, do = random_inputs(33, 40, 4, 2, dtype=torch.float32, transposed=True, batch=1)
    assert not inputs[0].is_contiguous()
    check_error(flash_attention, inputs, do, causal=True, impl="triton")
    # every second number of a wider head, and a gradient that is one number seen everywhere
    inputs = [torch.randn(*x.shape[:3], 32)[..., ::2] for x in inputs]
    check_error(flash_attention, inputs, torch.ones(()).expand_as(do), causal=True, impl="triton")


def test_scale_and_large_scores():
    # in float32 the rounding of lse counts for more than twice the plain error: the next test bounds it
    *inputs, do = random_inputs(33, 33, 1, 1, dtype=torch.float16, batch=1)
    check_error(flash_attention, inputs, do, causal=True, scale=4.0, impl="triton")


def test_large_scores_of_float32():
    # to base 2 and back, with constants that are rounded themselves
    check_large_scores(flash_attention, roundings=7, impl="triton")


def test_a_row_that_sees_no_key_is_zero():
    q, k, v, _ = random_inputs(40, 3, 1, 1, dtype=torch.float16, batch=1)
    output, lse = flash_attention(q, k, v, causal=True, impl="triton", return_lse=True)
    assert (output[:, :, :37] == 0).all()
    assert (lse[:, :, :37] == -math.inf).all()
    gradients = torch.autograd.grad(output.sum(), (q, k, v))
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert (gradients[0][:, :, :37] == 0).all()


def test_lse_and_layout_are_the_references():
    q, k, v, _ = random_inputs(33, 40, 4, 2, dtype=torch.float16, transposed=True)
    results = [flash_attention(q, k, v, causal=True, impl=impl, return_lse=True) for impl in ("triton", "reference")]
    torch.testing.assert_close(results[0][1], results[1][1])
    assert results[0][0].stride() == results[1][0].stride()


def test_the_saved_set_is_that_of_the_reference():
    q, k, v, _ = random_inputs(5, 7, 4, 2, dtype=torch.float16)
    saved = {"triton": [], "reference": []}
    for impl, kept in saved.items():
        with torch.autograd.graph.saved_tensors_hooks(lambda x, kept=kept: kept.append(x), lambda x: x):
            flash_attention(q, k, v, causal=True, impl=impl)
    shapes = {impl: [(x.shape, x.stride(), x.dtype) for x in kept] for impl, kept in saved.items()}
    assert shapes["triton"] == shapes["reference"]
    assert len(shapes["triton"]) == 5


def test_the_backward_is_deterministic():
    q, k, v, do = random_inputs(50, 50, 4, 1, dtype=torch.float16, batch=1)
    first, second = (
        torch.autograd.grad(flash_attention(q, k, v, causal=True, impl="triton"), (q, k, v), do) for _ in range(2)
    )
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


def test_auto_stays_with_the_reference_on_cpu(monkeypatch):
    monkeypatch.setattr(reference, "BLOCK_M", "touched")
    q, k, v, _ = random_inputs(3, 3, 1, 1, dtype=torch.float32)
    with pytest.raises(TypeError):
        flash_attention(q, k, v)


def test_what_the_kernels_cannot_do_is_refused():
    with pytest.raises(InputError, match="head dimension is 24"):
        flash_attention(*(torch.zeros(1, 1, 4, 24),) * 3, impl="triton")
    with pytest.raises(InputError, match=r"torch\.float64"):
        flash_attention(*(torch.zeros(1, 1, 4, 16, dtype=torch.float64),) * 3, impl="triton")


def test_offsets_past_2_to_the_31():
    # memory that is never touched costs nothing
    far = 2**31 + 64
    memory = torch.empty(far + 64 * 16, dtype=torch.float16)
    q, k, v, _ = (x.detach() for x in random_inputs(33, 33, 2, 2, dtype=torch.float16, batch=1))
    expected = flash_attention(q, k, v, impl="triton")
    for index in range(3):
        inputs = [q, k, v]
        inputs[index] = memory.as_strided(q.shape, (0, far, 16, 1)).copy_(inputs[index])
        torch.testing.assert_close(flash_attention(*inputs, impl="triton"), expected, rtol=0, atol=0)


def test_the_tiles_have_unequal_sides():
    assert all(launch.block_m != launch.block_n for launch in INTERPRETER)
