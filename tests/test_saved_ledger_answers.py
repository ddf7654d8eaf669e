"""How a ledger is read, what it leaves behind, and what it refuses."""

import gc
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from small_modules import Of, given, two_linears
from test_measurement import ODD
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from actckpt import InputError, LlamaBlock, SavedLedger, apply, ledger


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


# What is left behind


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
