"""What `ledger` says a module keeps is what autograd holds, to the byte, and who holds it."""

import gc
import threading
import weakref
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from kept_by_hooks import kept_by_hooks
from test_measurement import ATTENTIONS, ODD
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from actckpt import POLICIES, InputError, LlamaBlock, SavedLedger, apply, estimate, ledger


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


class Of(nn.Module):
    """A module whose forward is a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def given(*shape: int, **options: Any) -> Tensor:
    return torch.randn(shape, requires_grad=True, **options)


def two_linears() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 10), nn.GELU(), nn.Linear(10, 6))


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


# As on CUDA


def test_attention_and_dropout_on_meta_are_cudas() -> None:
    layer = nn.TransformerEncoderLayer(64, 4, 96, dropout=0.1, batch_first=True, dtype=torch.bfloat16, device="meta")
    x = given(2, 32, 64, dtype=torch.bfloat16, device="meta")
    kept = ledger(layer, x)
    assert (kept.as_on, kept.kernels) == ("cuda", ("flash attention", "fused dropout"))
    masks = [saved for saved in kept if saved.savers == "NativeDropoutBackward0.result1"]
    assert [(mask.dtype, mask.shape) for mask in masks] == [
        ("bool", (2, 32, 64)),
        ("bool", (2, 32, 96)),
        ("bool", (2, 32, 64)),
    ]
    lse = next(saved for saved in kept if saved.result == "logsumexp")
    assert (lse.shape, lse.dtype) == ((2, 4, 32), "float32")
    # no scores
    assert all(saved.shape != (2, 4, 32, 32) for saved in kept)


RULES: dict[str, tuple[dict[str, Any], str]] = {
    "half": ({}, "flash attention"),
    "causal": ({"is_causal": True}, "flash attention"),
    "a mask": ({"attn_mask": (32, 32)}, "memory-efficient attention"),
    "float32": ({"dtype": torch.float32}, "memory-efficient attention"),
    "double": ({"dtype": torch.float64}, "math attention"),
    "wide heads": ({"width": 264}, "memory-efficient attention"),
    "odd heads": ({"width": 20}, "flash attention"),
    "values that are wider": ({"value_width": 24}, "memory-efficient attention"),
    "grouped": ({"kv_heads": 2, "enable_gqa": True}, "flash attention"),
    "grouped, in float32": ({"kv_heads": 2, "enable_gqa": True, "dtype": torch.float32}, "math attention"),
}


@pytest.mark.parametrize(("options", "kernel"), RULES.values(), ids=RULES)
def test_the_kernel_is_the_one_that_pytorch_takes_on_cuda(options: dict[str, Any], kernel: str) -> None:
    dtype, width = options.pop("dtype", torch.bfloat16), options.pop("width", 16)
    value_width, kv_heads = options.pop("value_width", width), options.pop("kv_heads", 4)
    if shape := options.pop("attn_mask", None):
        options["attn_mask"] = torch.ones(shape, dtype=torch.bool, device="meta")
    shapes = ((4, width), (kv_heads, width), (kv_heads, value_width))
    qkv = [given(2, heads, 32, size, dtype=dtype, device="meta") for heads, size in shapes]
    kept = ledger(Of(lambda *qkv: F.scaled_dot_product_attention(*qkv, **options)), *qkv)
    assert kept.kernels == (kernel,)
    assert (kernel == "math attention") == any(saved.shape[-2:] == (32, 32) for saved in kept if len(saved.shape) > 2)


def test_rms_norm_on_meta_keeps_its_input_and_one_number_a_row() -> None:
    norm, x = nn.RMSNorm(8, dtype=torch.bfloat16, device="meta"), given(3, 8, dtype=torch.bfloat16, device="meta")
    assert [(saved.shape, saved.dtype) for saved in ledger(norm, x)] == [((3, 8), "bfloat16"), ((3, 1), "float32")]


def test_meta_tensors_are_as_before_afterwards() -> None:
    x = given(2, 4, 32, 16, dtype=torch.bfloat16, device="meta")
    attend = Of(lambda x: F.scaled_dot_product_attention(x, x, x))
    here = ledger(attend, x, as_on="here")
    assert here.bytes > ledger(attend, x).bytes
    assert ledger(attend, x, as_on="here").bytes == here.bytes == kept_by_hooks(attend, x)


# Others


def test_threads_do_not_see_each_other() -> None:  # F1
    nets = [two_linears().to("meta") for _ in range(2)]
    x = given(5, 6, device="meta")
    wrong: list[Any] = []

    def measure(net: nn.Module) -> None:
        try:
            wrong.extend(kept.bytes for kept in (ledger(net, x) for _ in range(20)) if kept.bytes != 520)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=measure, args=(net,)) for net in (nets[0], nets[0], nets[1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_nothing_is_left_behind() -> None:
    def fails(x: Tensor) -> Tensor:
        raise RuntimeError("stop")

    for module in (two_linears(), nn.Sequential(nn.Linear(6, 6), Of(fails))):
        with suppress(RuntimeError):
            ledger(module, given(5, 6))
        assert not any(child._forward_hooks or child._forward_pre_hooks for child in module.modules())


def test_a_model_goes_when_it_is_deleted() -> None:  # F7
    gc.disable()
    try:
        net = two_linears()
        weight = weakref.ref(net[0].weight.untyped_storage())
        kept = ledger(net, given(5, 6))
        del net
        assert weight() is None
        assert kept.bytes == 520
    finally:
        gc.enable()


# The answer


def test_the_sums_are_of_all_that_is_kept() -> None:
    kept = ledger(nn.TransformerEncoderLayer(64, 4, 96, batch_first=True), given(2, 16, 64))
    for sums in (kept.by_module(), kept.by_module(1), kept.by_op(), kept.by_saver()):
        assert sum(sums.values()) == kept.bytes
        assert list(sums.values()) == sorted(sums.values(), reverse=True)
    assert kept.by_module(0) == {"": kept.bytes}
    assert kept.to_dict()["total_bytes"] == sum(term["bytes"] for term in kept.to_dict()["terms"]) == kept.bytes


def test_a_difference_is_what_one_keeps_and_the_other_does_not() -> None:
    block, x = LlamaBlock(ODD).to("meta"), given(2, 37, 60, device="meta")
    none, full = ledger(block, x), ledger(apply(block, "full"), x)
    assert [saved.name for saved in full] == ["input"]
    apart = none.diff(full)
    assert apart.bytes == none.bytes - full.bytes == sum(saved.bytes for saved in apart.only_first)
    assert not apart.only_second
    assert "only the first keeps" in str(apart)
    assert str(none.diff(none)) == "the two keep the same"


def test_it_prints_as_a_table_with_a_row_for_all_layers() -> None:
    net = nn.Sequential(*(two_linears() for _ in range(3)))
    lines = str(ledger(net, given(5, 6))).splitlines()
    assert lines[0] == "Sequential keeps 1.52 KiB for its backward pass, here, 1.41 KiB of parameters apart"
    assert lines[1].split() == ["bytes", "shape", "dtype", "written", "by", "saved", "by", "line"]
    assert any(line.split()[:8] == ["600", "bytes", "5", "×", "10", "float32", "*.*:addmm", "(3)"] for line in lines)
    assert "<table>" in ledger(net, given(5, 6))._repr_html_()


# What is refused


def compiled() -> nn.Module:
    net = two_linears()
    net[0].compile()
    return net


def forward_compiled() -> nn.Module:
    net = two_linears()
    net[0].forward = torch.compile(net[0].forward)
    return net


REFUSED: dict[str, tuple[Callable[[], SavedLedger], str]] = {
    "no module": (lambda: ledger(torch.relu, given(3)), "it must be a torch.nn.Module"),
    "a compiled model": (lambda: ledger(torch.compile(two_linears()), given(5, 6)), "the model is compiled"),
    "a compiled part": (lambda: ledger(compiled(), given(5, 6)), "0 is compiled"),
    "a compiled forward": (lambda: ledger(forward_compiled(), given(5, 6)), "0 is compiled"),
    "a script": (lambda: ledger(torch.jit.script(two_linears()), given(5, 6)), "the model is compiled"),
    "a lazy layer": (lambda: ledger(nn.LazyLinear(3), given(5, 6)), "has parameters without a size"),
    "a frozen model": (lambda: ledger(two_linears().requires_grad_(False), torch.ones(5, 6)), "needs a gradient"),
    "no_grad inside": (lambda: ledger(Of(torch.no_grad()(torch.exp)), given(3)), "needs a gradient"),
    "no tensor": (lambda: ledger(Of(lambda x: {"loss": 3}), given(3)), "without a tensor"),
    "as on nothing": (lambda: ledger(two_linears(), given(5, 6), as_on="tpu"), "unknown device in as_on 'tpu'"),
    "as on CUDA, from a CPU": (lambda: ledger(two_linears(), given(5, 6), as_on="cuda"), "no tensor is on meta"),
    "sparse tensors": (lambda: ledger(Of(lambda x: x.exp().to_sparse()), given(3)), "torch.sparse_coo"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_what_could_not_be_right_is_refused_in_one_line(call: Callable[[], SavedLedger], message: str) -> None:
    with pytest.raises(InputError) as refusal:
        call()
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("around", "message"),
    [
        (torch.inference_mode, "inference mode"),  # F4
        (lambda: torch.autograd.graph.save_on_cpu(), "saved-tensor hooks are active"),  # F6
        (lambda: FlopCounterMode(display=False), "_FlopCounterMode is active"),
    ],
)
def test_what_is_around_is_refused_where_it_changes_the_answer(around: Callable[[], Any], message: str) -> None:
    net, x = two_linears(), given(5, 6)
    with around(), pytest.raises(InputError, match=message):
        ledger(net, x)
