"""What a recording says of a checkpoint is what a run with it does: bytes kept, ops and FLOPs run again, the peak."""

import random
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from checkpointed_run import Run, run
from families import KINDS, build, inputs
from small_modules import Of, given
from test_measurement import ODD
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from actckpt import InputError, Llama, LlamaBlock, apply, estimate, ledger
from actckpt.recording.cuda import as_on_cuda
from actckpt.recording.events import Enter
from actckpt.recording.peak import peak_bytes
from actckpt.recording.recording import Recording, record
from actckpt.recording.regions import Plan, predict, regions

FLASH = torch.ops.actckpt.flash_attention.default


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def predicted(recording: Recording, plan: Plan, early_stop: bool = True) -> Run:
    answer = predict(recording, plan, early_stop)
    return Run(answer.bytes, answer.ops, answer.flops, peak_bytes(recording, plan, early_stop))


def paths(recording: Recording) -> list[str]:
    return sorted({event.path for event in recording.events if isinstance(event, Enter)})


def can_be_kept(recording: Recording, path: str) -> list[tuple[Any, int]]:
    """Every occurrence of an op in a module that a plan may name."""
    found = []
    counts: dict[Any, int] = {}
    for _, op in recording.ops():
        if op.path == path or op.path.startswith(f"{path}.") or not path:
            counts[op.func] = counts.get(op.func, 0) + 1
    for func, count in counts.items():
        for occurrence in range(count):
            try:
                regions(recording, {path: [(func, occurrence)]})
            except InputError:
                continue
            found.append((func, occurrence))
    return found


# Against runs


def encoder_layer(device: str) -> nn.Module:
    return nn.TransformerEncoderLayer(64, 4, 96, dropout=0.1, batch_first=True, device=device)


@pytest.mark.parametrize("early_stop", [True, False])
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("make", [encoder_layer, lambda device: LlamaBlock(ODD).to(device)], ids=["encoder", "llama"])
def test_a_layer_does_as_recorded(make: Any, device: str, early_stop: bool) -> None:
    layer = make(device)
    x = given(2, 16, 64 if isinstance(layer, nn.TransformerEncoderLayer) else 60, device=device)
    recording = record(layer, x, as_on="here")
    pool, rng = can_be_kept(recording, ""), random.Random(0)
    recipes = [{"": rng.sample(pool, rng.randint(1, len(pool)))} for _ in range(20)]
    for plan in ({}, *({path: ()} for path in paths(recording)), *recipes):
        assert predicted(recording, plan, early_stop) == run(layer, plan, x, early_stop=early_stop), plan


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(("family", "attention"), KINDS)
def test_a_family_does_as_recorded(family: str, attention: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    masking = pytest.importorskip("transformers.masking_utils")
    # it asks meta tensors for their values
    monkeypatch.setattr(masking, "find_packed_sequence_indices", lambda positions: None)
    model, batch = build(family, attention, device), inputs(family, device, use_cache=False)
    recording = record(model, **batch)
    rng = random.Random(family)
    layers = [path for path in paths(recording) if path.rpartition(".")[2].isdigit()]
    layers = [path for path in layers if not any(path.startswith(f"{other}.") for other in layers)]
    some = rng.sample([path for path in paths(recording) if path], 4)
    recipes = [{path: rng.sample(can_be_kept(recording, path), 4)} for path in layers[-1:] for _ in range(3)]
    mixed = {**dict.fromkeys(layers, ()), **recipes[0]}
    for plan in ({}, {"": ()}, dict.fromkeys(layers, ()), mixed, *({path: ()} for path in some), *recipes):
        with as_on_cuda() if device == "meta" else nullcontext():
            assert predicted(recording, plan) == run(model, plan, **batch), plan


@dataclass
class Box:
    inside: Tensor


class Odd(nn.Module):
    """Parts that are given tensors in a box, that return what nobody uses, and that nobody uses at all."""

    def __init__(self) -> None:
        super().__init__()
        self.boxed = Of(lambda x, box: (x + box.inside).sin())
        self.partly = Of(lambda x: (x.sin(), x.repeat(8, 1).exp().sin().cos().sin().cos()))
        self.dead = Of(lambda x: x.exp().sin())

    def forward(self, x: Tensor) -> Tensor:
        x = self.boxed(x, Box(x.cos()))
        self.dead(x)
        x, _ = self.partly(x * 2)
        return x.sum()


@pytest.mark.parametrize("path", ["", "boxed", "partly", "dead"])
def test_odd_parts_do_as_recorded(path: str) -> None:
    x = given(4, 3)
    recording = record(Odd(), x)
    for plan in ({}, {path: ()}):
        assert predicted(recording, plan) == run(Odd(), plan, x)


# Against the closed form, the ledger, and fake tensors


@pytest.mark.parametrize(("policy", "keeps"), [("none", None), ("full", ()), ("save_attention", [(FLASH, 0)])])
def test_our_llama_keeps_and_computes_what_the_closed_form_says(policy: str, keeps: Any) -> None:
    model = Llama(ODD).to("meta", torch.bfloat16)
    tokens = torch.zeros(3, 37, dtype=torch.int64, device="meta")
    plan = {} if keeps is None else {f"layers.{layer}": keeps for layer in range(ODD.n_layers)}
    recording = record(model, tokens, tokens)
    answer, step = predict(recording, plan), estimate(ODD, seq_len=37, batch_size=3, policy=policy)
    assert answer.flops == step.flops.recompute
    # the closed form counts no token ids
    assert answer.bytes == step.total_bytes + step.head.ledger.bytes + tokens.nbytes
    assert sum(op.flops for _, op in recording.ops()) == step.flops.forward + step.head.flops // 3
    assert answer.bytes == ledger(apply(model, policy), tokens, tokens).bytes


def test_fake_tensors_are_recorded_as_real_ones() -> None:
    def events(around: Any) -> list[Any]:
        with around:
            recording = record(encoder_layer("cpu").eval(), given(2, 16, 64))
        return [(predicted(recording, {}), predicted(recording, {"": ()}), len(recording.events))]

    assert events(FakeTensorMode()) == events(nullcontext())


def test_gradients_are_as_before() -> None:
    layer = nn.Linear(3, 3)
    layer.weight.grad = torch.ones(3, 3)
    record(layer, torch.ones(3))
    assert torch.equal(layer.weight.grad, torch.ones(3, 3))
    assert layer.bias.grad is None
    assert not layer.weight._post_accumulate_grad_hooks


# What is recorded


def test_an_op_says_what_it_reads_and_writes_and_where() -> None:
    layer = nn.Linear(3, 5, bias=False)
    recording = record(nn.Sequential(layer, nn.ReLU()), given(2, 3))
    ops = [op for _, op in recording.ops() if op.flops or op.func is torch.ops.aten.relu.default]
    product, relu = ops
    assert (str(product.func), product.path, product.flops) == ("aten.mm.default", "0", 2 * 2 * 3 * 5)
    assert (relu.path, relu.reads) == ("1", product.new)
    assert relu.source.startswith("test_recording.py:")
    kinds = [recording.storages[number].kind for number in product.reads]
    assert sorted(kinds) == ["input", "parameter"]


# What is refused


def in_place(x: Tensor) -> Tensor:
    return x.exp().mul_(2).sin()


class Changes(nn.Module):
    """Its second part changes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Of(torch.exp), Of(lambda x: F.relu(x, inplace=True).sin())

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x) + 1)


EXP, T, ADD = torch.ops.aten.exp.default, torch.ops.aten.t.default, torch.ops.aten.add.Tensor


@pytest.mark.parametrize(
    ("module", "plan", "message"),
    [
        (nn.Linear(3, 3), {"more": ()}, "'more' is the path of no module that is called"),
        (nn.Sequential(nn.Linear(3, 3)), {"": (), "0": ()}, "'0' lies in '': checkpoint one of the two"),
        (nn.Linear(3, 3), {"": [(EXP, 0)]}, "aten.exp.default does not run 1 times in ''"),
        (nn.Linear(3, 3), {"": [(T, 0)]}, "aten.t.default in '' writes no memory that stays as it is"),
        (Of(in_place), {"": [(EXP, 0)]}, "aten.exp.default in '' writes no memory that stays as it is"),
        (Changes(), {"second": ()}, "'second' begins from a tensor that is changed in place"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_in_one_line(module: nn.Module, plan: Plan, message: str) -> None:
    recording = record(module, given(3, 3))
    for answer in (predict, peak_bytes):
        with pytest.raises(InputError) as refusal:
            answer(recording, plan)
        assert message in str(refusal.value)
        assert "\n" not in str(refusal.value)
