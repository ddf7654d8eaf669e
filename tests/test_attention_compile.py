"""torch.compile sees the ops as they are: one graph, the numbers of eager, and a policy that is obeyed."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from actckpt.ops import flash_attention, rms_norm, rope, swiglu
from actckpt.ops.attention import reference

MASKS = {
    "causal": {"causal": True},
    "window and softcap": {"window": (7, 3), "softcap": 5.0},
    "documents": {"causal": True, "cu_seqlens": torch.tensor([0, 10, 33], dtype=torch.int32)},
}


def block(x, w, projection, inv_freq, mask="causal"):
    """Every op of the package: x [B, S, 64] to its own shape, with 4 query heads and 2 key/value heads of 16."""
    q, k, v = (rms_norm(x, w, 1e-5) @ projection).split((64, 32, 32), -1)
    q, k = rope(q.unflatten(-1, (4, 16)), k.unflatten(-1, (2, 16)), inv_freq)
    heads = (y.transpose(1, 2) for y in (q, k, v.unflatten(-1, (2, 16))))
    o = flash_attention(*heads, **MASKS[mask]).transpose(1, 2).flatten(2)
    return swiglu(o, x) + x


def keep_attention(context, op, *args, **kwargs):
    kept = op is torch.ops.actckpt.flash_attention.default
    return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE


def checkpointed(*args, **options):
    contexts = partial(create_selective_checkpoint_contexts, keep_attention)
    return checkpoint(block, *args, use_reentrant=False, context_fn=contexts, **options)


def step(function, length=33, batch=2):
    """The output and the gradients of all leaves."""
    generator = torch.Generator().manual_seed(length)
    shapes = ((batch, length, 64), (64,), (64, 128))
    leaves = [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]
    output = function(*leaves, 10_000.0 ** -torch.linspace(0, 1, 8))
    return [output, *torch.autograd.grad(output.sin().sum(), leaves)]


@pytest.fixture
def forwards(monkeypatch):
    """One entry for each time that attention's forward runs."""
    runs, forward = [], reference.forward
    monkeypatch.setattr(reference, "forward", lambda *args: runs.append(1) or forward(*args))
    return runs


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("backend", "mask"), [("inductor", "causal"), *(("aot_eager", mask) for mask in MASKS)])
def test_equal_to_eager_with_one_forward(backend, mask, forwards):
    torch._dynamo.reset()
    batch = 1 if mask == "documents" else 2
    compiled = torch.compile(partial(checkpointed, mask=mask), backend=backend, fullgraph=True)
    eager = step(partial(block, mask=mask), batch=batch)
    forwards.clear()
    for x, right in zip(step(compiled, batch=batch), eager, strict=True):
        torch.testing.assert_close(x, right)
        assert x.stride() == right.stride()
    assert len(forwards) == 1


def test_lengths_that_change():
    torch._dynamo.reset()
    compiled = torch.compile(block, backend="aot_eager", fullgraph=True, dynamic=True)
    for length in (33, 40, 129):
        for x, right in zip(step(compiled, length), step(block, length), strict=True):
            torch.testing.assert_close(x, right)
