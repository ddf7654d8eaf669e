"""What autograd does in a real training step is what the closed form says, to the byte and to the FLOP."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from changed_block import change_block, with_tensor
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributed._tools.mem_tracker import MemTracker
from torch.utils.flop_counter import FlopCounterMode

from actckpt import (
    POLICIES,
    PRESETS,
    InputError,
    Llama,
    LlamaBlock,
    ModelConfig,
    Step,
    apply,
    estimate,
)
from actckpt import measure as measure_preset
from actckpt.algebra import B, D, Form, Point, S, n
from actckpt.blocks.block import Block
from actckpt.checkpointing import KEPT_OPS
from actckpt.measurement import measure_step
from actckpt.policy import Policy, Region

LENGTHS = (1024, 4096, 16_384, 131_072)
ATTENTIONS = ("flash", "eager")

# no size is a multiple of another one by chance
ODD = ModelConfig("odd", 60, n_layers=3, n_heads=6, n_kv_heads=3, head_dim=10, ffn_size=77, vocab_size=53)
SHAPES = {
    "grouped queries": ODD,
    "multi-head": replace(ODD, n_kv_heads=6),
    "multi-query": replace(ODD, n_kv_heads=1),
    "q, k and v with a bias": replace(ODD, qkv_bias=True),
    "q and k normalised, heads wider than H": replace(ODD, qk_norm=True, head_dim=14),
    "both, and tied": replace(ODD, qkv_bias=True, qk_norm=True, tied_embeddings=True, n_kv_heads=1),
    "heads narrower than H": replace(ODD, head_dim=4),
    # so little besides that the sum of two gradients is the peak of "attention" and of "both"
    "a narrow FFN, one head": replace(ODD, n_heads=1, n_kv_heads=1, head_dim=26, ffn_size=7, vocab_size=11),
    "one block, one head": replace(ODD, n_layers=1, n_heads=1, n_kv_heads=1),
    "a window": replace(ODD, sliding_window=16),
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def check_equal(measured: Step, estimated: Step) -> None:
    """The two agree on every term of every layer, on FLOPs, states and the peak."""
    assert measured.accounting == "measured"
    assert len(measured.layers) == len(estimated.layers)
    ledgers = zip((*measured.layers, measured.head.ledger), (*estimated.layers, estimated.head.ledger), strict=True)
    for layer, (found, computed) in enumerate(ledgers):
        assert [(t.to_dict()) for t in found] == [t.to_dict() for t in computed], f"layer {layer}"
    assert measured.flops == estimated.flops
    assert measured.head.flops == estimated.head.flops
    assert measured.states == estimated.states
    found, computed = measured.to_dict(), {**estimated.to_dict(), "accounting": "measured"}
    del found["peak_bytes"], computed["peak_bytes"]
    assert found == computed


def check_peak(measured: Step, estimated: Step) -> None:
    assert measured.working_bytes == estimated.working_bytes
    assert measured.peak_bytes == estimated.peak_bytes


def compare(config: ModelConfig, seq_len: int, **options: Any) -> Step:
    measured = measure_preset(config, seq_len=seq_len, **options)
    estimated = estimate(config, seq_len=seq_len, accounting="llama", **options)
    check_equal(measured, estimated)
    if config.hidden_size == ODD.hidden_size and measured.attention == "eager":
        # At toy sizes other moments can be the highest. The closed form leaves out the copies of q and k that eager
        # attention makes when it runs again.
        left_out = 2 * (config.q_size + config.kv_size) * seq_len * measured.batch_size
        assert 0 <= measured.working_bytes - estimated.working_bytes <= left_out
    elif (measured.policy.name, measured.attention) == ("core_attention", "eager"):
        assert measured.working_bytes - estimated.working_bytes in (0, 2 * config.q_size * seq_len)
    else:
        check_peak(measured, estimated)
    return measured


# Against the closed form


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("model", ["llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b"])
def test_the_measurement_equals_the_closed_form(model: str, policy: str, attention: str) -> None:
    config = replace(PRESETS[model], n_layers=4)
    for seq_len in LENGTHS:
        compare(config, seq_len, policy=policy, attention=attention)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("policy", [*POLICIES, "every_5"])
@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_other_shapes_measure_as_computed(config: ModelConfig, policy: str, attention: str) -> None:
    compare(config, 37, batch_size=3, policy=policy, attention=attention)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("policy", ["none", "both", "full", "pointwise", "save_attention"])
def test_a_single_token_measures_as_computed(policy: str, attention: str) -> None:
    for config in SHAPES.values():
        compare(config, 1, policy=policy, attention=attention)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("policy", ["none", "attention", "core_attention", "save_attention", "pointwise", "every_2"])
def test_lengths_around_the_window_measure_as_computed(policy: str, attention: str) -> None:
    config = replace(PRESETS["llama-3.1-8b"], n_layers=2, sliding_window=1000)
    for seq_len in (1, 999, 1000, 1001, 40_001):
        compare(config, seq_len, policy=policy, attention=attention)


@settings(max_examples=50)
@given(
    config=st.sampled_from(list(SHAPES.values())),
    window=st.integers(1, 40),
    seq_len=st.integers(1, 60),
    batch_size=st.integers(1, 3),
    policy=st.sampled_from(list(POLICIES)),
    attention=st.sampled_from(ATTENTIONS),
)
def test_any_window_measures_as_computed(config: ModelConfig, window: int, seq_len: int, **options: Any) -> None:
    compare(replace(config, sliding_window=window), seq_len, **options)


def test_a_pair_too_many_in_the_closed_form_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    compare(SHAPES["a window"], 37)

    def one_more(block: Block[Form]) -> Block[Form]:
        more = [replace(s, forward=s.forward + 4 * B * n * D) if s.kind == "flash" else s for s in block.stages]
        return replace(block, stages=tuple(more))

    change_block(monkeypatch, one_more)
    with pytest.raises(AssertionError):
        compare(SHAPES["a window"], 37)


def test_all_126_layers_of_405b_measure_as_computed() -> None:
    step = compare(PRESETS["llama-3.1-405b"], 8192, data_parallel=1024)
    assert len(step.layers) == 126
    assert step.states.parameters_bytes * 1024 == pytest.approx(4 * 405.85e9, rel=1e-4)


def test_every_2_checkpoints_the_second_and_fourth_of_five_blocks() -> None:
    step = compare(replace(ODD, n_layers=5), 64, policy="every_2")
    assert [[term.name for term in ledger] == ["input"] for ledger in step.layers] == [False, True, False, True, False]


@pytest.mark.parametrize(
    "policy",
    [
        Policy("mine", "the FFN but its projections", (Region("ffn_half", keeps=("linear",)),)),
        Policy("mine", "most of both halves", (Region("attend"), Region("gate_and_up"), Region("swiglu_and_down"))),
        Policy("mine", "every third FFN", (Region("ffn_half"),), every=3),
        Policy("mine", "all but the matmuls", (Region("forward", keeps=("linear", "flash")),)),
    ],
    ids=lambda policy: policy.recomputes,
)
def test_a_policy_of_ones_own_measures_as_computed(policy: Policy) -> None:
    compare(ODD, 64, policy=policy)


@pytest.mark.parametrize(
    ("attention", "wrong"),
    [
        ("eager", with_tensor("attention.softmax", dtype="bfloat16")),
        ("flash", with_tensor("attention.lse", shape=(B, n, S + 1))),
        ("flash", with_tensor("rope.q", component="norm")),
        ("flash", with_tensor("swiglu.product", component="attention")),
    ],
)
def test_a_wrong_tensor_in_the_closed_form_is_noticed(
    monkeypatch: pytest.MonkeyPatch, attention: str, wrong: Callable[[Block[Form]], Block[Form]]
) -> None:
    compare(ODD, 37, attention=attention)
    change_block(monkeypatch, wrong)
    with pytest.raises(AssertionError, match="layer 0"):
        compare(ODD, 37, attention=attention)


def test_a_wrong_component_in_the_model_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LlamaBlock, "components", {**LlamaBlock.components, "rope": "norm"})
    with pytest.raises(AssertionError, match="layer 0"):
        compare(ODD, 37)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("policy", [*POLICIES, "every_5"])
@pytest.mark.parametrize(
    "config", [ODD, SHAPES["both, and tied"], SHAPES["heads narrower than H"]], ids=["odd", "tied", "narrow"]
)
def test_the_formula_is_what_measurements_fit(config: ModelConfig, policy: str, attention: str) -> None:
    """Each count is the polynomial through what was measured at two lengths, coefficient by coefficient."""

    def counts(step: Step) -> list[Any]:
        return [step.block.bytes, step.total_bytes, step.head.flops, *vars(step.flops).values()]

    short = 7
    measured = [
        counts(measure_preset(config, seq_len=s, batch_size=b, policy=policy, attention=attention))
        for s, b in ((short, 1), (2 * short, 1), (25, 3))
    ]
    here = {axis: size for axis, size in config.axes(1).items() if axis not in ("S", "B", "W")}
    formulas = counts(estimate(config, seq_len=1, policy=policy, attention=attention).formula())
    for formula, once, twice, elsewhere in zip(formulas, *measured, strict=True):
        squared = Fraction(twice - 2 * once, 2 * short**2)
        fitted = (Fraction(once, short) - squared * short) * S * B + squared * S**2 * B
        assert formula.where(**here) == fitted
        assert fitted.at(Point({"S": 25, "B": 3})) == elsewhere


def test_a_policy_that_keeps_another_op_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KEPT_OPS, "flash", KEPT_OPS["linear"])
    with pytest.raises(AssertionError):
        compare(ODD, 37, policy="save_attention")


# Against the tools that PyTorch has


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("policy", POLICIES)
def test_a_real_step_on_the_cpu_measures_as_one_on_meta(policy: str, attention: str) -> None:
    config = replace(ODD, n_layers=4, qk_norm=True)
    meta, cpu = (
        measure_preset(config, seq_len=9, batch_size=2, policy=policy, attention=attention, device=device)
        for device in ("meta", "cpu")
    )
    assert cpu == meta


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("window", [None, 8])
def test_flops_are_those_of_flop_counter_mode(window: int | None, policy: str, attention: str) -> None:
    config = replace(ODD, n_layers=4, sliding_window=window)
    model, tokens, targets = build(config, policy, attention)
    with FlopCounterMode(display=False) as counter:
        model(tokens, targets)
        forward = counter.get_total_flops()
        model(tokens, targets).backward()
    step = measure_preset(config, seq_len=SEQ_LEN, batch_size=BATCH, policy=policy, attention=attention)
    head = 3 * 2 * SEQ_LEN * BATCH * config.hidden_size * config.vocab_size
    assert step.head.flops == head
    assert step.flops.forward == forward - head // 3
    assert sum((step.flops.forward, step.flops.backward, step.flops.recompute)) + head == (
        counter.get_total_flops() - forward
    )


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_the_peak_is_that_of_mem_tracker(device: str, policy: str, attention: str) -> None:
    config = replace(ODD, n_layers=4, vocab_size=211)
    step = measure_preset(config, seq_len=SEQ_LEN, batch_size=BATCH, policy=policy, attention=attention, device=device)
    model, tokens, targets = build(config, policy, attention, device)
    # gradients that are there already are added to in place, so that MemTracker counts none of them twice
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    with MemTracker() as tracker:
        tracker.track_external(model)
        # the loss stays alive through the backward pass, and so it is counted
        loss = model(tokens, targets)
        loss.backward()
    (peak,) = tracker.get_tracker_snapshot("peak").values()
    states = 2 * sum(p.nbytes for p in model.parameters()) + sum(b.nbytes for b in model.buffers())
    # MemTracker counts an input once an op has made a view of it: the targets, which the loss flattens
    assert peak["Total"] == step.working_bytes + states + loss.nbytes + targets.nbytes


def test_a_peak_that_misses_the_smallest_tensor_is_noticed() -> None:
    step = measure_preset(ODD, seq_len=37)
    check_peak(step, estimate(ODD, seq_len=37))
    short = replace(step, working_bytes=step.working_bytes - 4)
    with pytest.raises(AssertionError):
        check_peak(short, estimate(ODD, seq_len=37))


SEQ_LEN, BATCH = 21, 3


def build(config: ModelConfig, policy: str, attention: str, device: str = "meta") -> tuple[Llama, Tensor, Tensor]:
    with torch.device(device):
        model = apply(Llama(config, attention).to(torch.bfloat16), policy)
        return (
            model,
            torch.zeros(BATCH, SEQ_LEN, dtype=torch.int64),
            torch.zeros(BATCH, SEQ_LEN, dtype=torch.int64),
        )


def test_a_step_with_gradients_from_before_measures_the_same() -> None:
    model, tokens, targets = build(ODD, "full", "flash", "cpu")
    first = measure_step(model, tokens, targets, "full")
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert measure_step(model, tokens, targets, "full") == first


def test_measuring_leaves_nothing_behind() -> None:
    model, tokens, targets = build(ODD, "none", "flash", "cpu")
    model(tokens, targets).backward()
    before = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    measure_step(model, tokens, targets)
    for parameter, grad in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter.grad, grad)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not any(parameter._post_accumulate_grad_hooks for parameter in model.parameters())


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "llama"}, "unknown model 'llama'"),
        ({"model": "gpt-22b"}, "'gpt-22b' has a gpt block"),
        ({"policy": "fulll"}, "unknown policy 'fulll'"),
        ({"attention": "sdpa"}, "unknown attention 'sdpa'"),
        ({"seq_len": 0}, "seq_len is 0"),
        ({"seq_len": [8, 16]}, "seq_len is [8, 16]: it must be a whole number of at least 1"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"data_parallel": 0.5}, "data_parallel is 0.5"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refusal:
        measure_preset(**{"model": ODD, "seq_len": 8, **options})
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
