"""What `ledger` says a module keeps is what autograd holds, to the byte, and who holds it."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from kept_by_hooks import kept_by_hooks
from small_modules import Of, given, two_linears
from test_measurement import ATTENTIONS, ODD
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from actckpt import POLICIES, LlamaBlock, apply, estimate, ledger


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


# Against an oracle


class Shared(nn.Module):
    """Saves x, two views of x and a buffer; x counts once, the buffer not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        y = x.exp()
        return (y * self.scale).sum() + (y.view(-1) * y.t().reshape(-1)[:1]).sum() + (y[0] * y[1]).sum()


ATTEND = {"need_weights": False}
MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear and gelu": (two_linears, (5, 6)),
    "views of one storage": (Shared, (5, 6)),
    "layer norm and softmax": (lambda: nn.Sequential(nn.LayerNorm(6), nn.Softmax(-1)), (2, 5, 6)),
    "batch norm and convolution": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), (2, 3, 8, 8)),
    "an LSTM": (lambda: nn.LSTM(6, 5, num_layers=2, batch_first=True), (2, 5, 6)),
    "an encoder layer": (lambda: nn.TransformerEncoderLayer(6, 2, 11, dropout=0.1, batch_first=True), (2, 5, 6)),
    "an encoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 11, norm_first=True), 2),
        (2, 5, 6),
    ),
    "a block": (lambda: LlamaBlock(ODD), (2, 5, 60)),
    "an eager block": (lambda: LlamaBlock(ODD, "eager"), (2, 5, 60)),
}


@pytest.mark.parametrize(("make", "shape"), MODULES.values(), ids=MODULES)
@pytest.mark.parametrize("requires_grad", [True, False])
def test_a_module_keeps_what_autograd_holds(
    make: Callable[[], nn.Module], shape: tuple[int, ...], requires_grad: bool
) -> None:
    if make is Shared and not requires_grad:
        pytest.skip("nothing in it needs a gradient")
    for device in ("cpu", "meta"):
        module, x = make().to(device), torch.randn(shape, device=device, requires_grad=requires_grad)
        kept = ledger(module, x, as_on="here")
        assert kept.bytes == kept_by_hooks(module, x)
        assert all(saved.saved_by for saved in kept)


FUNCTIONS: dict[str, Callable[[Tensor], Any]] = {
    # M8: a copy has its own shape
    "a copy of what is expanded": lambda x: (x.expand(4, 8, 8).reshape(32, 8) ** 2).sum(),
    "a copy of a slice": lambda x: (x[:, :2].contiguous() ** 2).sum(),
    "a slice keeps the whole": lambda x: (x.exp()[:, :2] ** 2).sum(),
    # M9: dtypes
    "an index of int32": lambda x: x.exp()[torch.arange(3, dtype=torch.int32)],
    "complex numbers": lambda x: torch.polar(x.exp(), x.sin()).abs(),
    "a mask": lambda x: torch.where(x > 0, x.exp(), x.sin()),
    "numbers from Python": lambda x: x.exp() * torch.tensor([2.0] * 8, device="cpu").to(x.device),
    "in place": lambda x: x.exp().mul_(2).sigmoid_() * x,
    "a dead branch": lambda x: (x.exp(), x.sin().mul(x).sum().detach())[0],
    "parts": lambda x: [part**2 for part in x.exp().split(3)],
    "one tensor, many names": lambda x: torch.stack([x.exp()] * 3) ** 2,
    "nothing of an op's": lambda x: x + 1,
    "dropout": lambda x: F.dropout(x, 0.5) * x,
    "double": lambda x: x.double().exp().float() * x,
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_function_keeps_what_autograd_holds(function: Callable[[Tensor], Any]) -> None:
    for device in ("cpu", "meta"):
        x = torch.randn(1 if "expand" in str(function) else 8, 8, device=device, requires_grad=True)
        with torch.device(device):
            assert ledger(Of(function), x, as_on="here").bytes == kept_by_hooks(Of(function), x)


def test_a_copy_of_what_is_expanded_has_its_own_shape() -> None:
    (kept,) = ledger(Of(FUNCTIONS["a copy of what is expanded"]), given(8, 8))
    assert (kept.shape, kept.bytes, kept.shares) == ((4, 8, 8), 1024, ((32, 8),))


def test_fake_tensors_keep_what_real_ones_do() -> None:
    def measured(around: Any) -> list[dict[str, Any]]:
        with around:
            return ledger(two_linears(), given(5, 6)).to_dict()["terms"]

    assert measured(FakeTensorMode()) == measured(nullcontext())


# By hand


def test_linear_and_gelu_by_hand() -> None:
    kept = ledger(two_linears(), torch.randn(5, 6))
    # x for the first weight, gelu's input for gelu, and gelu's output for the second weight
    assert [(s.name, s.shape, s.bytes, s.savers) for s in kept] == [
        ("input", (5, 6), 120, "AddmmBackward0.mat1"),
        ("0:addmm", (5, 10), 200, "GeluBackward0.self"),
        ("1:gelu", (5, 10), 200, "AddmmBackward0.mat1"),
    ]
    assert [saver.path for saved in kept for saver in saved.saved_by] == ["0", "1", "2"]
    # only the second weight: the first one's input needs no gradient
    assert kept.apart == {"parameter": 240, "buffer": 0, "gathered": 0, "outside": 0}


def test_each_result_of_an_op_has_its_name() -> None:
    kept = ledger(nn.LayerNorm(6), given(5, 6))
    assert [saved.name for saved in kept] == ["input", "native_layer_norm.1", "native_layer_norm.2"]


def test_the_line_is_the_users() -> None:
    def forward(x: Tensor) -> Tensor:
        return F.silu(x + 1)

    (kept,) = ledger(Of(forward), given(3))
    line = forward.__code__.co_firstlineno + 1
    assert (kept.source, kept.saved_by[0].source) == (f"test_saved_ledger.py:{line}",) * 2


def test_what_shares_a_storage_is_one_row_with_all_that_save_it() -> None:
    (kept,) = ledger(Of(lambda x: x.view(2, 8) * x.exp().view(2, 8)), given(4, 4)).where(lambda s: s.op != "input")
    assert kept.savers == "ExpBackward0.result + MulBackward0.other"
    assert kept.shares == ((2, 8),)


def test_what_is_empty_at_first_is_written_by_the_op_that_fills_it() -> None:
    kept = ledger(Of(lambda x: x * torch.empty(3).fill_(2)), given(3))
    assert [saved.op for saved in kept] == ["aten.fill_.Scalar"]


def test_what_no_node_holds_is_said_to_be_unknown() -> None:
    class Keeps(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            self.last = x * 3
            return x.exp()

    assert [saved.savers for saved in ledger(Keeps(), given(3))] == ["unknown", "ExpBackward0.result"]


def test_a_custom_function_keeps_what_it_saves_and_its_attributes() -> None:
    class Keeps(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            ctx.extra = {"twice": [2 * x]}
            return x.exp()

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return grad

    kept = ledger(Of(Keeps.apply), given(3))
    assert [saved.savers for saved in kept] == ["KeepsBackward.tensors", "KeepsBackward.extra"]


def test_tensors_from_before_are_apart() -> None:
    before = torch.randn(3)
    kept = ledger(Of(lambda x: x * before), given(3))
    assert (kept.bytes, kept.apart["outside"]) == (0, 12)


# Public cases


def test_record_function_changes_nothing() -> None:  # M1
    def forward(x: Tensor) -> Tensor:
        with torch.profiler.record_function("mlp"):
            torch._assert_async(torch.ones(()) > 0)
            return net(x)

    net = two_linears()
    assert ledger(Of(forward), given(5, 6)).bytes == ledger(net, given(5, 6)).bytes


def test_for_each_changes_nothing() -> None:
    def forward(x: Tensor) -> Tensor:
        many = [x.exp(), x.sin()]
        torch._foreach_mul_(many, 2.0)
        return many[0] * many[1]

    assert ledger(Of(forward), given(5)).bytes == kept_by_hooks(Of(forward), given(5))


@dataclass
class Out:
    logits: Tensor


class Holder:
    def __init__(self, logits: Tensor) -> None:
        self.parts = {"logits": [logits]}


@pytest.mark.parametrize("kind", [Out, Holder, list, lambda y: {"y": (y, None)}, lambda y: iter([y]) and {y}])
def test_any_output_will_do(kind: Callable[..., Any]) -> None:  # M4
    net = two_linears()
    wrapped = Of(lambda x: kind([net(x)]) if kind is list else kind(net(x)))
    assert ledger(wrapped, given(5, 6)).bytes == ledger(net, given(5, 6)).bytes == 520


def test_a_tensor_that_is_passed_twice_is_one() -> None:  # M5
    attention, x = nn.MultiheadAttention(64, 4, bias=False, batch_first=True), torch.randn(2, 96, 64)
    kept = ledger(attention, x, x, x, need_weights=False)
    assert kept.bytes == kept_by_hooks(attention, x, x, x, need_weights=False)
    wide = ledger(Of(lambda x, y: x * y), x.requires_grad_(), x[:1])
    assert [saved.bytes for saved in wide] == [x.nbytes]


def test_arguments_by_name_are_as_by_position() -> None:  # M6, F3, F5
    block, x = LlamaBlock(ODD), given(2, 5, 60)
    with torch.no_grad():
        assert ledger(block, x=x).to_dict() == ledger(block, x).to_dict()


def test_frozen_parameters_are_as_autograd_has_them() -> None:  # M7
    net = two_linears()
    net[0].requires_grad_(False)
    assert ledger(net, torch.randn(5, 6)).bytes == kept_by_hooks(net, torch.randn(5, 6)) == 200
    assert all(parameter.grad is None for parameter in net.parameters())


# Checkpoints


class Checkpointed(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.net, self.options = two_linears(), options

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return checkpoint(lambda y: self.net(y) * scale, x.exp(), **self.options).sum()


@pytest.mark.parametrize("reentrant", [True, False])
def test_the_inputs_of_a_checkpoint_are_named(reentrant: bool) -> None:
    kept = ledger(Checkpointed(use_reentrant=reentrant), given(5, 6), torch.randn(6))
    assert [(saved.name, saved.shape, saved.savers) for saved in kept] == [
        ("input", (6,), "checkpoint.input"),
        ("exp", (5, 6), "ExpBackward0.result + checkpoint.input"),
    ]


def test_the_cache_of_a_selective_checkpoint_is_named() -> None:
    block = apply(LlamaBlock(ODD), "save_attention")
    kept = ledger(block, given(2, 37, 60))
    assert [(saved.name, saved.savers) for saved in kept] == [
        ("input", "checkpoint.input"),
        ("flash_attention.output", "selective checkpoint.cache"),
        ("flash_attention.lse", "selective checkpoint.cache"),
    ]


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("name", [name for name in POLICIES if POLICIES[name].every == 1])
def test_a_block_keeps_what_the_closed_form_says(name: str, attention: str) -> None:
    block = apply(LlamaBlock(ODD, attention).to("meta", torch.bfloat16), name)
    x = given(2, 37, 60, dtype=torch.bfloat16, device="meta")
    formula = estimate(ODD, seq_len=37, batch_size=2, policy=name, attention=attention).block
    kept = ledger(block, x)
    assert sorted((s.bytes, s.dtype) for s in kept) == sorted((term.bytes, term.dtype) for term in formula)


def test_autocast_keeps_float32_states_and_copies_of_weights_and_norm_outputs() -> None:
    block = LlamaBlock(ODD)

    def forward(x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return block(x)

    kept = [(saved.shape, saved.dtype) for saved in ledger(Of(forward), given(1, 9, 60))]
    # the block's input and the sum between its halves
    assert kept.count(((1, 9, 60), "float32")) == 2
    # for q, k, v, gate and up
    assert kept.count(((1, 9, 60), "bfloat16")) == 5
