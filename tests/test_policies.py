"""A policy changes what is kept and what is computed again, and not one bit of an output or a gradient."""

import copy
import io
import pickle
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from actckpt import POLICIES, InputError, Llama, LlamaBlock, ModelConfig, Policy, Region, apply
from actckpt.checkpointing import KEPT_OPS
from actckpt.policy import REGIONS, get_policy

CONFIG = ModelConfig("tiny", 24, n_layers=4, n_heads=6, n_kv_heads=2, head_dim=4, ffn_size=40, vocab_size=31)
TOKENS = torch.tensor([[1, 5, 2, 30, 7, 0, 9], [4, 4, 8, 16, 3, 2, 1]])
CHECKPOINTING = [name for name in POLICIES if name != "none"]
ATTENTIONS = ("flash", "eager")


@pytest.fixture(autouse=True)
def _repeatable() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch._dynamo.reset()


class DropoutBlock(LlamaBlock):
    """Drops something in every region that a policy can checkpoint."""

    def core_attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.dropout(super().core_attention(q, k, v), 0.25)

    def attend(self, x: Tensor) -> Tensor:
        return F.dropout(super().attend(x), 0.25)

    def gate_and_up(self, x: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = super().gate_and_up(x)
        return F.dropout(gate, 0.25), F.dropout(up, 0.25)

    def swiglu_and_down(self, gate: Tensor, up: Tensor) -> Tensor:
        return F.dropout(super().swiglu_and_down(gate, F.dropout(up, 0.25)), 0.25)


def build(attention: str = "flash", config: ModelConfig = CONFIG, block: type[LlamaBlock] = LlamaBlock) -> Llama:
    torch.manual_seed(1)
    model = Llama(config, attention)
    for layer in model.layers:
        layer.__class__ = block
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model


def train(model: nn.Module, **autocast: Any) -> list[Tensor]:
    """The logits and every parameter's gradient of one step; the same random numbers in every call."""
    torch.manual_seed(2)
    model.zero_grad()
    with torch.autocast("cpu", enabled=bool(autocast), **autocast):
        logits = model(TOKENS)
        loss = F.cross_entropy(logits.float().flatten(0, 1), TOKENS.flip(0).flatten())
    loss.backward()
    return [logits.detach().clone(), *(parameter.grad.clone() for parameter in model.parameters())]


def check_same(found: list[Tensor], expected: list[Tensor]) -> None:
    """Equal bit for bit."""
    assert len(found) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)), "not bit for bit"
    assert all(tensor.abs().sum() > 0 for tensor in expected)


class CountOps(TorchDispatchMode):
    """How often each op ran."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: Counter[Any] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.ran[func] += 1
        return func(*args, **(kwargs or {}))


def forward_ops(model: nn.Module, op: Any) -> int:
    with CountOps() as counter:
        train(model)
    return counter.ran[op]


# The same bits


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("policy", CHECKPOINTING)
def test_outputs_and_gradients_are_those_of_none_bit_for_bit(policy: str, attention: str) -> None:
    model = build(attention)
    expected = train(model)
    check_same(train(apply(model, policy)), expected)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("policy", CHECKPOINTING)
def test_dropout_inside_a_region_drops_the_same_elements_again(policy: str, attention: str) -> None:
    model = build(attention, block=DropoutBlock)
    expected = train(model)
    assert not torch.equal(expected[0], train(build(attention))[0])
    check_same(train(apply(model, policy)), expected)


def test_a_checkpoint_that_draws_other_random_numbers_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from actckpt import checkpointing

    def forgetful(*args: Any, preserve_rng_state: bool, **options: Any) -> Any:
        return torch.utils.checkpoint.checkpoint(*args, preserve_rng_state=False, **options)

    model = build(block=DropoutBlock)
    expected = train(model)
    monkeypatch.setattr(checkpointing, "checkpoint", forgetful)
    with pytest.raises(AssertionError, match="not bit for bit"):
        check_same(train(apply(model, "ffn")), expected)


def test_every_2_with_three_blocks_checkpoints_the_second() -> None:
    model = build(config=replace(CONFIG, n_layers=3))
    expected = train(model)
    apply(model, "every_2")
    assert [set(vars(block)) & set(REGIONS) for block in model.layers] == [set(), {"forward"}, set()]
    check_same(train(model), expected)


@pytest.mark.parametrize("policy", ["full", "both", "core_attention", "save_attention", "pointwise"])
@pytest.mark.parametrize(
    "config",
    [
        replace(CONFIG, qkv_bias=True, n_layers=1),
        replace(CONFIG, qk_norm=True, head_dim=6, n_layers=1, tied_embeddings=True),
        replace(CONFIG, sliding_window=3, n_layers=2),
    ],
    ids=["bias", "normalised and tied", "a window"],
)
def test_other_blocks_keep_their_bits_too(config: ModelConfig, policy: str) -> None:
    for attention in ATTENTIONS:
        model = build(attention, config)
        expected = train(model)
        check_same(train(apply(model, policy)), expected)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("policy", CHECKPOINTING)
def test_autocast_is_recomputed_as_autocast(policy: str, attention: str) -> None:
    model = build(attention)
    expected = train(model, dtype=torch.bfloat16)
    assert expected[0].dtype == torch.bfloat16
    check_same(train(apply(model, policy), dtype=torch.bfloat16), expected)


def test_without_gradients_a_policy_runs_the_same_forward_pass() -> None:
    model = build()
    with torch.no_grad():
        expected = model(TOKENS)
        for policy in CHECKPOINTING:
            assert torch.equal(apply(model, policy)(TOKENS), expected)


# What apply does to a model


@pytest.mark.parametrize("policy", CHECKPOINTING)
def test_applying_twice_checkpoints_once(policy: str) -> None:
    model = apply(build(), policy)
    once = forward_ops(model, torch.ops.aten.mm.default)
    assert forward_ops(apply(model, policy), torch.ops.aten.mm.default) == once


def test_a_policy_replaces_the_one_before() -> None:
    model = build()
    expected = {}
    for policy in POLICIES:
        expected[policy] = forward_ops(apply(build(), policy), torch.ops.aten.mm.default)
    for policy in (*POLICIES, *reversed(POLICIES)):
        assert forward_ops(apply(model, policy), torch.ops.aten.mm.default) == expected[policy]


def test_none_restores_the_model() -> None:
    model = build()
    before = [set(vars(block)) for block in model.layers]
    expected = train(model)
    for policy in CHECKPOINTING:
        apply(model, policy)
    apply(model, "none")
    assert [set(vars(block)) for block in model.layers] == before
    assert forward_ops(model, torch.ops.actckpt.flash_attention.default) == CONFIG.n_layers
    check_same(train(model), expected)


@pytest.mark.parametrize("policy", CHECKPOINTING)
def test_modules_and_parameters_keep_their_names(policy: str) -> None:
    model = build()
    modules, parameters = [name for name, _ in model.named_modules()], list(model.state_dict())
    assert apply(model, policy) is model
    assert [name for name, _ in model.named_modules()] == modules
    assert list(model.state_dict()) == parameters
    build().load_state_dict(model.state_dict(), strict=True)


def test_hooks_of_a_block_run_once_for_each_forward_pass_of_the_user() -> None:
    model, calls = apply(build(), "full"), []
    model.layers[0].register_forward_hook(lambda *_: calls.append(1))
    train(model)
    assert len(calls) == 1


def pickled(model: Llama) -> Llama:
    return pickle.loads(pickle.dumps(model))


def saved_and_loaded(model: Llama) -> Llama:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled, saved_and_loaded])
@pytest.mark.parametrize("policy", CHECKPOINTING)
def test_a_copy_of_a_model_uses_its_own_parameters(policy: str, duplicate: Any) -> None:
    original = apply(build(), policy)
    expected = train(original)
    copied = duplicate(original)
    check_same(train(copied), expected)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert not copied(TOKENS).any()
    check_same(train(original), expected)
    # and it is checkpointed as the original is
    mm = torch.ops.aten.mm.default
    assert forward_ops(copied, mm) == forward_ops(original, mm)
    assert not any(set(vars(block)) & set(REGIONS) for block in apply(copied, "none").layers)


def test_a_block_alone_can_be_checkpointed() -> None:
    block = LlamaBlock(CONFIG)
    x = torch.randn(2, 7, 24)
    expected = block(x)
    assert torch.equal(apply(block, "full")(x), expected)
    assert "forward" in vars(block)


class OwnBlock(nn.Module):
    """A block that is no Llama's."""

    starts: ClassVar = {"forward": "input"}

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(24, 24, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.proj(x)


def test_a_block_is_known_by_what_it_says_of_its_regions() -> None:
    model = apply(nn.Sequential(nn.Linear(24, 24), OwnBlock()), "full")
    assert [set(vars(module)) & set(REGIONS) for module in model] == [set(), {"forward"}]


def test_a_wrapper_is_no_block_beside_the_one_in_it() -> None:
    wrappers = nn.Sequential(*(torch.compile(OwnBlock(), backend="eager") for _ in range(4)))
    apply(wrappers, "every_2")
    checkpointed = ["forward" in vars(wrapper._orig_mod) for wrapper in wrappers]
    assert checkpointed == [False, True, False, True]


@pytest.mark.parametrize(
    ("model", "policy", "message"),
    [
        (nn.Linear(2, 2), "full", "Linear has no LlamaBlock in it: apply() checkpoints actckpt's own blocks"),
        (nn.Linear(2, 2), "none", "Linear has no LlamaBlock in it"),
        (nn.Linear(2, 2), "full", "build the model with actckpt.Llama"),
        ("llama-3.1-8b", "full", "str has no LlamaBlock in it"),
        (None, "full", "NoneType has no LlamaBlock in it"),
        (LlamaBlock(CONFIG), "ful", "unknown policy 'ful': did you mean 'full'?"),
        (LlamaBlock(CONFIG), "FFN", "unknown policy 'FFN': did you mean 'ffn'?"),
        (LlamaBlock(CONFIG), "every_1", "its name is 'full'"),
        (LlamaBlock(CONFIG), "every_0", "policy 'every_0': N must be at least 2"),
    ],
)
def test_what_cannot_be_applied_is_refused(model: Any, policy: str, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        apply(model, policy)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ({"name": "ffn"}, "unknown region 'ffn': use one of forward, attention_half"),
        ({"name": "FFN_half"}, "unknown region 'FFN_half': did you mean 'ffn_half'? use one of forward"),
        ({"name": 3}, "unknown region 3: use one of forward"),
        ({"name": "forward", "keeps": ("flsh",)}, "unknown kind of op 'flsh': did you mean 'flash'? use one of linear"),
        ({"name": "attend", "keeps": ("values",)}, "region 'attend' ends with 'values', whose output is kept anyway"),
        ({"name": "forward", "keeps": "flash"}, "region 'forward' keeps 'flash': it must be a tuple"),
        ({"name": "forward", "keeps": ["flash"]}, "region 'forward' keeps ['flash']: it must be a tuple"),
    ],
)
def test_a_region_that_is_none_is_refused_when_it_is_made(region: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refusal:
        Region(**region)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"regions": ("forward",)}, "policy 'mine': regions is ('forward',): it must be a tuple, such as (Region("),
        ({"regions": Region("forward")}, "it must be a tuple"),
        ({"regions": [Region("forward")]}, "it must be a tuple"),
        ({"regions": None}, "policy 'mine': regions is None"),
        ({"regions": (Region("ffn_half"), Region("forward"))}, "the regions ffn_half, forward overlap"),
        ({"regions": (Region("forward"), Region("core_attention"))}, "the regions forward, core_attention overlap"),
        ({"regions": (Region("attend"), Region("attend"))}, "the regions attend, attend overlap"),
        ({"every": 0}, "policy 'mine': every is 0: it must be a whole number of at least 1"),
        ({"every": "2"}, "policy 'mine': every is '2'"),
    ],
)
def test_a_policy_that_cannot_be_applied_is_refused_when_it_is_made(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refusal:
        Policy("mine", "what I say", **{"regions": (Region("ffn_half"),), **wrong})
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def runs_inside(region: str, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The regions that a block runs through when it runs `region`, itself among them."""
    block, ran = LlamaBlock(CONFIG), set()

    def watch(name: str, run: Any) -> None:
        monkeypatch.setattr(block, name, lambda *args: ran.add(name) or run(*args))

    for name in REGIONS:
        watch(name, getattr(block, name))
    q, kv, gate = torch.randn(1, 6, 3, 4), torch.randn(1, 2, 3, 4), torch.randn(1, 3, 40)
    arguments = {"core_attention": (q, kv, kv), "swiglu_and_down": (gate, gate)}
    getattr(block, region)(*arguments.get(region, (torch.randn(1, 3, 24),)))
    return ran


def test_regions_overlap_where_one_runs_inside_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = {region: runs_inside(region, monkeypatch) for region in REGIONS}
    for one, other in product(REGIONS, REGIONS):
        regions = (Region(one), Region(other))
        if one in inside[other] or other in inside[one]:
            with pytest.raises(InputError, match=f"the regions {one}, {other} overlap"):
                Policy("mine", "what I say", regions)
        else:
            assert Policy("mine", "what I say", regions).regions == regions


def test_a_refused_policy_leaves_the_model_as_it_was() -> None:
    model = apply(build(), "ffn")
    before = [dict(vars(block)) for block in model.layers]
    for wrong in ("fnn", "every_0", Region("forward"), None):
        with pytest.raises(InputError):
            apply(model, wrong)
    assert [dict(vars(block)) for block in model.layers] == before


# What is computed again


def test_selective_policies_match_overloads() -> None:
    for ops in KEPT_OPS.values():
        assert ops
        # a packet would match nothing, and say nothing
        assert all(isinstance(op, torch._ops.OpOverload) for op in ops)


def test_a_packet_in_the_place_of_an_overload_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    packets = tuple(op.overloadpacket for op in KEPT_OPS["flash"])
    monkeypatch.setitem(KEPT_OPS, "flash", packets)
    with pytest.raises(AssertionError):
        test_selective_policies_match_overloads()


@pytest.mark.parametrize(
    ("policy", "runs"),
    [
        ("none", 1),
        ("attention", 2),
        ("ffn", 1),
        ("both", 2),
        ("full", 2),
        ("core_attention", 2),
        ("save_attention", 1),
        ("pointwise", 1),
    ],
)
def test_how_often_the_attention_op_runs_forward(policy: str, runs: int) -> None:
    model = apply(build(), policy)
    assert forward_ops(model, torch.ops.actckpt.flash_attention.default) == runs * CONFIG.n_layers
    assert forward_ops(model, torch.ops.actckpt.flash_attention_backward.default) == CONFIG.n_layers


@pytest.mark.parametrize(
    ("policy", "again"),
    # of a block's seven projections, those that run again: the last of a region does not
    [
        ("none", 0),
        ("attention", 3),
        ("ffn", 2),
        ("both", 5),
        ("full", 6),
        ("core_attention", 0),
        ("pointwise", 0),
        ("save_attention", 6),
    ],
)
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_how_many_projections_run_again(policy: str, again: int, attention: str) -> None:
    mm = torch.ops.aten.mm.default
    none = forward_ops(build(attention), mm)
    assert forward_ops(apply(build(attention), policy), mm) - none == again * CONFIG.n_layers


def test_every_n_runs_one_block_of_n_again() -> None:
    flash = torch.ops.actckpt.flash_attention.default
    again = [forward_ops(apply(build(), f"every_{n}"), flash) - CONFIG.n_layers for n in range(2, 6)]
    assert again == [2, 1, 1, 0]
    assert get_policy("every_2") is POLICIES["every_2"]


# A second time


@pytest.mark.parametrize("policy", CHECKPOINTING)
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_second_backward_pass_is_the_first_again_or_one_clear_error(policy: str, attention: str) -> None:
    model = apply(build(attention), policy)
    loss, parameters = model(TOKENS, TOKENS.flip(0)), list(model.parameters())
    first = torch.autograd.grad(loss, parameters, retain_graph=True)
    if any(region.keeps for region in POLICIES[policy].regions):
        with pytest.raises(InputError, match=r"second backward pass.*call backward\(\) once") as error:
            torch.autograd.grad(loss, parameters)
        assert "\n" not in str(error.value)
    else:
        check_same(list(torch.autograd.grad(loss, parameters)), list(first))
    # the next step starts afresh
    check_same(train(model), train(build(attention)))


# Compiled


@pytest.mark.parametrize("policy", ["none", "full", "save_attention"])
def test_compiled_blocks_give_the_same_results(policy: str) -> None:
    config = replace(CONFIG, n_layers=1)
    expected = train(build(config=config))
    model = apply(build(config=config), policy)
    for block in model.layers:
        block.compile(backend="aot_eager", fullgraph=True)
    for found, right in zip(train(model), expected, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-5)
