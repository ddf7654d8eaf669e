"""The attention op against float64, and what PyTorch knows of it."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from kernels.attention_cases import (
    HEADS,
    MASKS,
    PACKED,
    check_error,
    check_large_scores,
    minus_infinity,
    offsets,
    oracle,
    random_inputs,
    run,
    visible,
)
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts
from torch.utils.flop_counter import FlopCounterMode

from actckpt import PRESETS, Llama
from actckpt.errors import InputError
from actckpt.ops.attention import flash_attention, reference
from actckpt.ops.attention.options import Options

OP = torch.ops.actckpt.flash_attention.default
BACKWARD = torch.ops.actckpt.flash_attention_backward.default

# (S_q, S_k): one tile, odd, more than one tile, and both ways unequal
LENGTHS = [(1, 1), (7, 7), (33, 33), (130, 130), (7, 33), (33, 7), (1, 130), (130, 1), (259, 130)]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_reference_equals_the_definition(lengths, heads, causal):
    q, k, v, do = random_inputs(*lengths, *HEADS[heads])
    output, lse = flash_attention(q, k, v, causal=causal, return_lse=True)
    expected, expected_lse = oracle(q, k, v, causal)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(lse, expected_lse)
    gradients = torch.autograd.grad(output, (q, k, v), do)
    for actual, right in zip(gradients, torch.autograd.grad(expected, (q, k, v), do), strict=True):
        torch.testing.assert_close(actual, right.nan_to_num(0))


def test_a_row_that_sees_no_key_is_zero():
    q, k, v, _ = random_inputs(5, 3, 1, 1)
    output, lse = flash_attention(q, k, v, causal=True, return_lse=True)
    assert (output[:, :, :2] == 0).all()
    assert (lse[:, :, :2] == -math.inf).all()
    gradients = torch.autograd.grad(output.sum(), (q, k, v))
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert (gradients[0][:, :, :2] == 0).all()


def test_scale_and_large_scores():
    q, k, v, _ = random_inputs(40, 40, 2, 1)
    output = flash_attention(q, k, v, causal=True, scale=300.0)
    torch.testing.assert_close(output, oracle(q, k, v, causal=True, scale=300.0)[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_at_most_twice_the_error_of_plain_attention_of_the_same_precision(dtype):
    *inputs, do = random_inputs(70, 200, 4, 2, head_dim=64, dtype=dtype)
    check_error(flash_attention, inputs, do, causal=True)


@pytest.mark.parametrize("causal", [False, True])
def test_gradcheck(causal):
    q, k, v, _ = random_inputs(5, 7, 2, 1, head_dim=4, batch=1)
    assert torch.autograd.gradcheck(lambda *qkv: flash_attention(*qkv, causal=causal), (q, k, v))


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("mask", MASKS)
def test_every_mask_equals_the_definition(mask, heads):
    lengths, options = MASKS[mask]
    *inputs, do = random_inputs(*lengths, *HEADS[heads], batch=1 if "cu_seqlens" in options else 2)
    dlse = random_inputs(*lengths, *HEADS[heads], batch=len(do))[3][..., 0]
    actual = run(flash_attention, inputs, do, torch.float64, dlse, return_lse=True, **options)
    for x, right in zip(actual, run(oracle, inputs, do, torch.float64, dlse, **options), strict=True):
        torch.testing.assert_close(x, right)


@pytest.mark.parametrize("tiles", [(16, 32), (32, 8)], ids=str)
@pytest.mark.parametrize("mask", MASKS)
def test_a_mask_is_the_same_in_tiles_of_any_size(mask, tiles, monkeypatch):
    monkeypatch.setattr(reference, "BLOCK_M", tiles[0])
    monkeypatch.setattr(reference, "BLOCK_N", tiles[1])
    lengths, options = MASKS[mask]
    *inputs, do = random_inputs(*lengths, 2, 1, batch=1)
    actual = run(flash_attention, inputs, do, torch.float64, return_lse=True, **options)
    for x, right in zip(actual, run(oracle, inputs, do, torch.float64, **options), strict=True):
        torch.testing.assert_close(x, right)


def test_a_window_as_wide_as_the_sequence_changes_nothing():
    q, k, v, _ = random_inputs(40, 60, 2, 1)
    for window, causal in (((59, 39), False), ((10**12, 10**12), False), ((59, None), True)):
        assert torch.equal(
            flash_attention(q, k, v, causal=causal, window=window), flash_attention(q, k, v, causal=causal)
        )


def test_a_document_neither_sees_nor_disturbs_another():
    q, k, v, do = random_inputs(81, 90, 4, 2, batch=1)
    together = run(flash_attention, (q, k, v), do, torch.float64, return_lse=True, causal=True, **PACKED)
    ends_q, ends_k = (PACKED[name].tolist() for name in ("cu_seqlens", "cu_seqlens_k"))
    for a, b, c, d in zip(ends_q, ends_q[1:], ends_k, ends_k[1:], strict=False):
        if a == b or c == d:
            continue
        alone = [q[:, :, a:b], k[:, :, c:d], v[:, :, c:d]]
        found = run(flash_attention, alone, do[:, :, a:b], torch.float64, return_lse=True, causal=True)
        slices = (slice(a, b), slice(a, b), slice(a, b), slice(c, d), slice(c, d))
        for x, whole, part in zip(found, together, slices, strict=True):
            torch.testing.assert_close(whole[:, :, part], x)


def test_what_is_not_a_number_stays_in_its_document():
    q, k, v, do = (x.detach().clone() for x in random_inputs(81, 81, 2, 1, batch=1))
    for x in (q, k, v, do):
        x[:, :, 33:50] = math.nan
    results = run(flash_attention, (q, k, v), do, torch.float64, return_lse=True, cu_seqlens=offsets(33, 17, 31))
    for x in results:
        assert torch.cat((x[:, :, :33], x[:, :, 50:]), 2).isfinite().all()


@pytest.mark.parametrize("mask", [None, *MASKS])
def test_gradients_flow_through_lse(mask):
    lengths, options = MASKS[mask] if mask else ((40, 50), {})
    q, k, v, _ = random_inputs(*lengths, 2, 1, batch=1)

    def z_loss(attention, **more):
        _, lse = attention(q, k, v, **options, **more)
        return torch.autograd.grad(lse[lse > -math.inf].square().sum(), (q, k), retain_graph=True)

    for x, right in zip(z_loss(flash_attention, return_lse=True), z_loss(oracle), strict=True):
        torch.testing.assert_close(x, right.nan_to_num(0))
        assert x.abs().max() > 0


@pytest.mark.parametrize("options", [{}, {"causal": True, "window": (2, None)}, {"softcap": 1.5}], ids=str)
def test_gradcheck_of_both_outputs(options):
    q, k, v, _ = random_inputs(5, 7, 2, 1, head_dim=4, batch=1)
    assert torch.autograd.gradcheck(lambda *qkv: flash_attention(*qkv, return_lse=True, **options), (q, k, v))


def test_scores_of_minus_infinity():
    q, k, v, do = minus_infinity()
    output, lse = flash_attention(q, k, v, return_lse=True)
    expected, expected_lse = oracle(q, k, v)
    blind = expected_lse == -math.inf
    assert blind[0, 0].tolist() == [True] * 5 + [False] * 65
    torch.testing.assert_close(lse, expected_lse)
    torch.testing.assert_close(output, expected.masked_fill(blind.unsqueeze(-1), 0))
    _, _, dv = torch.autograd.grad(output, (q, k, v), do)
    torch.testing.assert_close(dv, torch.softmax(q @ k.mT * 0.25, -1).nan_to_num(0).mT @ do)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("options", [{}, {"window_left": 5, "softcap": 2.0}, {"cu_seqlens_q": offsets(33)}], ids=list)
def test_opcheck(options, transposed):
    batch = 1 if "cu_seqlens_q" in options else 2
    q, k, v, do = random_inputs(33, 33, 4, 2, dtype=torch.float32, transposed=transposed, batch=batch)
    torch.library.opcheck(OP, (q, k, v, True, 0.25), options)
    output, lse = OP(q, k, v, True, 0.25, **options)
    detached = [x.detach() for x in (do, q, k, v, output, lse)]
    for dlse in (None, lse.detach()):
        torch.library.opcheck(BACKWARD, (*detached, dlse, True, 0.25), options)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_outputs_lie_in_memory_as_the_projections_need_them(device):
    q, k, v, do = (x.detach().to(device) for x in random_inputs(33, 40, 4, 2, dtype=torch.float32))
    output, lse = OP(q, k, v, True, 0.25)
    for x in (output, *BACKWARD(do, q, k, v, output, lse, None, True, 0.25)):
        assert x.transpose(1, 2).is_contiguous()


def test_the_returns_are_named():
    assert [value.name for value in OP._schema.returns] == ["output", "lse"]


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_saves_its_inputs_output_and_lse(device):
    q, k, v, _ = random_inputs(33, 40, 4, 2, dtype=torch.bfloat16)
    q, k, v = (x.detach().to(device).requires_grad_() for x in (q, k, v))
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        output = flash_attention(q, k, v, causal=True)
    assert [(list(x.shape), x.dtype) for x in saved] == [
        ([2, 4, 33, 16], torch.bfloat16),
        ([2, 2, 40, 16], torch.bfloat16),
        ([2, 2, 40, 16], torch.bfloat16),
        ([2, 4, 33, 16], torch.bfloat16),
        ([2, 4, 33], torch.float32),
    ]
    if device == "cpu":
        assert [x.data_ptr() for x in saved[:4]] == [x.data_ptr() for x in (q, k, v, output)]


@pytest.mark.parametrize("mask", MASKS)
def test_masks_save_nothing_but_the_offsets(mask):
    lengths, options = MASKS[mask]
    q, k, v, _ = random_inputs(*lengths, 4, 2, dtype=torch.bfloat16, batch=1)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        output, lse = flash_attention(q, k, v, return_lse=True, **options)
    expected = [q, k, v, output, lse, *(options[name] for name in ("cu_seqlens", "cu_seqlens_k") if name in options)]
    assert [x.data_ptr() for x in saved] == [x.data_ptr() for x in expected]


class Record(TorchDispatchMode):
    """The largest tensor that any op returns, and how often each op runs."""

    def __init__(self):
        super().__init__()
        self.largest, self.calls = 0, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.calls.append(func)
        for x in result if isinstance(result, tuple | list) else [result]:
            if isinstance(x, torch.Tensor):
                self.largest = max(self.largest, x.numel())
        return result


def test_nothing_is_as_large_as_the_scores():
    length, head_dim = 2048, 16
    q, k, v, do = random_inputs(length, length, 2, 1, head_dim=head_dim, batch=1, dtype=torch.float32)
    with torch.no_grad(), Record() as record:
        options = Options(0.25, right=0)
        output, lse = reference.forward(q, k, v, options)
        reference.backward(do, q, k, v, output, lse, None, options)
    assert record.largest == q.numel()


@pytest.mark.parametrize(
    ("lengths", "options"),
    [(lengths, {"causal": causal}) for lengths in LENGTHS for causal in (False, True)] + list(MASKS.values()),
    ids=str,
)
def test_flops_count_the_visible_pairs(lengths, options):
    q, k, v, _ = random_inputs(*lengths, 4, 2, batch=1)
    masks = {name: value for name, value in options.items() if name != "softcap"}
    pairs = int(visible(*lengths, **masks).sum())
    # real offsets beside meta tensors
    q, k, v = (x.detach().to("meta").requires_grad_() for x in (q, k, v))
    with FlopCounterMode(display=False) as counter:
        flash_attention(q, k, v, **options).sum().backward()
    assert counter.get_flop_counts()["Global"] == {
        torch.ops.actckpt.flash_attention: 4 * 4 * pairs * 16,
        torch.ops.actckpt.flash_attention_backward: 10 * 4 * pairs * 16,
    }


def test_flops_of_unknown_documents_are_refused():
    q, k, v, _ = (x.detach().to("meta") for x in random_inputs(9, 9, 1, 1, batch=1))
    with pytest.raises(InputError, match="cu_seqlens has no values"), FlopCounterMode(display=False):
        flash_attention(q, k, v, cu_seqlens=offsets(9).to("meta"))
    with FakeTensorMode() as fake:
        q, ends = torch.zeros(1, 1, 9, 16), torch.zeros(2, dtype=torch.int32)
    with pytest.raises(InputError, match="cu_seqlens has no values"), fake, FlopCounterMode(display=False):
        flash_attention(q, q, q, cu_seqlens=ends)


@pytest.mark.parametrize("mask", ["window of 20", "softcap", "all at once"])
def test_selective_checkpointing_runs_the_forward_once(mask):
    lengths, masks = MASKS[mask]
    q, k, v, _ = random_inputs(*lengths, 4, 2, dtype=torch.float32, batch=1)

    def keep_attention(context, op, *args, **kwargs):
        return CheckpointPolicy.MUST_SAVE if op is OP else CheckpointPolicy.PREFER_RECOMPUTE

    def count(**options):
        with Record() as record:
            checkpoint(
                lambda *qkv: flash_attention(*qkv, **masks).sin(), q, k, v, use_reentrant=False, **options
            ).sum().backward()
        return record.calls.count(OP)

    assert count() == 2
    assert count(context_fn=lambda: create_selective_checkpoint_contexts(keep_attention)) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": None}, "q is None: it must be a tensor"),
        ({"q": torch.zeros(2, 33, 16)}, "must be"),
        ({"v": torch.zeros(2, 2, 39, 16)}, r"v is \[2, 2, 39, 16\]"),
        ({"q": torch.zeros(2, 3, 33, 16)}, "3 query heads and 2 key/value heads"),
        ({"q": torch.zeros(2, 4, 0, 16)}, "at least 1"),
        ({"k": torch.zeros(2, 2, 40, 16, dtype=torch.float16)}, "k is torch.float16"),
        ({x: torch.zeros(2, 2, 40, 16, dtype=torch.int32) for x in "qkv"}, "q is torch.int32"),
        ({"v": torch.zeros(2, 2, 40, 16, device="meta")}, "v is on meta"),
        ({"impl": "triton"}, "TRITON_INTERPRET=1"),
        ({"impl": "tritn"}, "did you mean 'triton'"),
        ({x: torch.zeros(2, 2, 40, 24, device="meta") for x in "qkv"} | {"impl": "triton"}, "head dimension is 24"),
        ({"scale": 0.0}, "scale is 0.0"),
        ({"scale": 1e-46}, "scale is 1e-46: it must be a number above 0, from"),
        ({"scale": 1e39}, r"scale is 1e\+39"),
        ({"scale": torch.ones(2)}, "scale is a Tensor"),
        ({"scale": True}, "scale is True"),
        ({"softcap": -1}, "softcap is -1"),
        ({"softcap": 1e-46}, "softcap is 1e-46: it must be a number above 0, from"),
        ({"softcap": 1e39}, r"softcap is 1e\+39"),
        ({"softcap": math.nan}, "softcap is nan"),
        ({"causal": 1}, "causal is 1"),
        ({"impl": None}, "impl is None"),
        ({"window": 4}, r"window is 4: it must be \(left, right\)"),
        ({"window": (1, 2, 3)}, "window is a tuple"),
        ({"window": (1.5, None)}, "window is 1.5"),
        ({"window": (-1, 0)}, "reaches -1 keys to the left"),
        ({"window": (None, -2)}, "reaches -2 keys to the right"),
        ({"cu_seqlens": [0, 33]}, "cu_seqlens is a list"),
        ({"cu_seqlens": torch.tensor([0, 33])}, "torch.int64"),
        ({"cu_seqlens": offsets(33)}, "the batch is 2"),
        ({"cu_seqlens_k": offsets(40)}, "cu_seqlens_k is given without cu_seqlens"),
    ],
)
def test_bad_input_is_one_clear_error(change, message):
    good = {"q": torch.zeros(2, 4, 33, 16), "k": torch.zeros(2, 2, 40, 16), "v": torch.zeros(2, 2, 40, 16)}
    flash_attention(**good)
    with pytest.raises(InputError, match=message) as error:
        flash_attention(**{**good, **change})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cu_seqlens": offsets(33)}, "give cu_seqlens_k, too"),
        ({"cu_seqlens": offsets(33), "cu_seqlens_k": offsets(20, 20)}, "has 2 offsets and cu_seqlens_k 3"),
        ({"cu_seqlens": offsets(32), "cu_seqlens_k": offsets(40)}, r"is \[0, 32\]: it must rise from 0 to S_q = 33"),
        ({"cu_seqlens": offsets(33), "cu_seqlens_k": offsets(41)}, r"is \[0, 41\]: it must rise from 0 to S_k = 40"),
        ({"cu_seqlens": offsets(40, -7), "cu_seqlens_k": offsets(20, 20)}, r"\[0, 40, 33\]"),
        ({"cu_seqlens": offsets(*[3] * 11), "cu_seqlens_k": offsets(*[3] * 11)}, "0, 3, 6, 9, …, 27, 30, 33"),
        ({"cu_seqlens": offsets(33).to("meta"), "cu_seqlens_k": offsets(40)}, "cu_seqlens is on meta"),
        ({"cu_seqlens": torch.zeros(0, dtype=torch.int32)}, "must be"),
        ({"cu_seqlens": offsets(33).to_sparse()}, "cu_seqlens is laid out as torch.sparse_coo"),
    ],
)
def test_bad_offsets_are_one_clear_error(change, message):
    q, k, v, _ = random_inputs(33, 40, 2, 1, batch=1)
    flash_attention(q, k, v, cu_seqlens=offsets(30, 3), cu_seqlens_k=offsets(0, 40))
    with pytest.raises(InputError, match=message) as error:
        flash_attention(q, k, v, **change)
    assert "\n" not in str(error.value)


def test_autocast_lowers_the_precision():
    q, k, v, _ = random_inputs(7, 7, 2, 1, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = flash_attention(q, k, v)
    assert output.dtype == torch.bfloat16
    output.sum().backward()
    assert q.grad.dtype == torch.float32


def test_autocast_rounds_the_inputs_and_nothing_else():
    q, k, v, _ = random_inputs(130, 130, 2, 1, dtype=torch.bfloat16)
    expected = flash_attention(q, k, v, return_lse=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = flash_attention(*(x.detach().float().requires_grad_() for x in (q, k, v)), return_lse=True)
    for x, right in zip(found, expected, strict=True):
        assert torch.equal(x, right)


def test_autocast_leaves_meta_tensors_alone():
    q, k, v = (x.detach().to("meta") for x in random_inputs(7, 7, 2, 1, dtype=torch.float32)[:3])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert flash_attention(q, k, v).dtype == torch.float32


def test_a_block_under_autocast_saves_half_precision_and_trains_its_float32_norms():
    sizes = {"hidden_size": 64, "n_layers": 1, "n_heads": 4, "n_kv_heads": 2, "ffn_size": 96, "vocab_size": 256}
    block = Llama(replace(PRESETS["llama-3.1-8b"], name="small", **sizes))
    kept = []
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x)
    with hooks, torch.autocast("cpu", dtype=torch.bfloat16):
        loss = block(*torch.randint(256, (2, 1, 33)))
    loss.backward()
    # q, k, v and the output
    assert [x.dtype for x in kept if x.dim() == 4] == [torch.bfloat16] * 4
    assert all(p.dtype == p.grad.dtype == torch.float32 for p in block.parameters())


def test_forward_mode_is_refused():
    q, k, v, do = (x.detach() for x in random_inputs(5, 7, 2, 1))
    with pytest.raises(InputError, match="differentiate in reverse mode"):
        torch.func.jvp(lambda q: flash_attention(q, k, v), (q,), (do,))
    # what does not depend on the direction is fine
    assert torch.func.jvp(lambda do: flash_attention(q, k, v) * do, (do,), (do,))[1].isfinite().all()


def test_a_second_derivative_is_refused():
    q, k, v, do = random_inputs(5, 7, 2, 1)
    (dq,) = torch.autograd.grad(flash_attention(q, k, v), q, do, create_graph=True)
    with pytest.raises(InputError, match=r"flash_attention_backward has no derivative"):
        dq.sum().backward()


def test_a_function_is_mapped_over_a_batch():
    q, k, v, _ = random_inputs(5, 7, 2, 1)
    mapped = torch.func.vmap(lambda q: flash_attention(q[None], k[:1], v[:1])[0])(q)
    torch.testing.assert_close(mapped, flash_attention(q, k[:1].expand_as(k), v[:1].expand_as(v)))


def test_large_scores_of_float32():
    check_large_scores(flash_attention, roundings=1)


def test_a_step_on_meta_tensors_is_two_ops():
    q, k, v, do = (x.detach().to("meta").requires_grad_() for x in random_inputs(33, 33, 4, 2, dtype=torch.float32))
    with Record() as record:
        torch.autograd.grad(flash_attention(q, k, v, causal=True), (q, k, v), do)
    ops = torch.ops.actckpt
    views = {torch.ops.aten.detach.default}
    assert [op for op in record.calls if op not in views] == [
        ops.flash_attention.default,
        ops.flash_attention_backward.default,
    ]


def test_importing_the_package_does_not_import_torch():
    code = "import sys, actckpt; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
