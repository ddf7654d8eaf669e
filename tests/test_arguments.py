"""Whatever is wrong with an argument of the public API is an InputError in one line, and no answer can be changed."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest

from actckpt import (
    ACCOUNTINGS,
    POLICIES,
    PRESETS,
    FlopRules,
    InputError,
    ModelConfig,
    Policy,
    Region,
    Term,
    accounting_policies,
    estimate,
    sweep,
)
from actckpt.algebra import Form, Grid, Point, S
from actckpt.config import RopeScaling
from actckpt.formulas.timeline import timeline
from actckpt.tradeoff import tradeoff

CONFIG = PRESETS["llama-3.2-1b"]
HF = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_attention_heads": 8,
    "num_hidden_layers": 3,
    "intermediate_size": 112,
    "vocab_size": 500,
}


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Empty:
    def to_dict(self) -> None:
        return None


# what no argument takes
ODD: list[Any] = [
    [],
    {},
    b"x",
    object(),
    Unprintable(),
    ["ffn"],
    ("none",),
    {"none"},
    np.array([1, 2]),
    np.zeros((50, 50)),
    -1,
    1.5,
    float("nan"),
    -(10**5000),
    "x" * 10_000,
    "two\nlines",
    "\x1b[31mred",
    lambda: None,
    int,
    CONFIG.axes,
]


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(InputError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    assert message.isprintable()
    assert len(message) < 500
    return message


# each with one argument open, and what it takes besides what is odd
ARGUMENTS: dict[str, tuple[Callable[[Any], Any], tuple[type, ...]]] = {
    "estimate model": (lambda odd: estimate(odd, seq_len=8), ()),
    "estimate seq_len": (lambda odd: estimate(CONFIG, seq_len=odd), ()),
    "estimate batch_size": (lambda odd: estimate(CONFIG, seq_len=8, batch_size=odd), ()),
    "estimate policy": (lambda odd: estimate(CONFIG, seq_len=8, policy=odd), ()),
    "estimate accounting": (lambda odd: estimate(CONFIG, seq_len=8, accounting=odd), ()),
    "estimate attention": (lambda odd: estimate(CONFIG, seq_len=8, attention=odd), ()),
    "estimate optimizer": (lambda odd: estimate(CONFIG, seq_len=8, optimizer=odd), ()),
    "estimate data_parallel": (lambda odd: estimate(CONFIG, seq_len=8, data_parallel=odd), ()),
    "estimate rules": (lambda odd: estimate(CONFIG, seq_len=8, rules=odd), ()),
    "sweep seq_len": (lambda odd: sweep(CONFIG, seq_len=odd), (np.ndarray,)),
    "sweep batch_size": (lambda odd: sweep(CONFIG, seq_len=[8, 9], batch_size=odd), (np.ndarray,)),
    "sweep policy": (lambda odd: sweep(CONFIG, seq_len=8, policy=odd), ()),
    "sweep rules": (lambda odd: sweep(CONFIG, seq_len=8, rules=odd), ()),
    "accounting_policies": (accounting_policies, ()),
    "tradeoff policy": (lambda odd: tradeoff(CONFIG, odd, seq_len=8), ()),
    "timeline seq_len": (lambda odd: timeline(CONFIG, seq_len=odd, policy=POLICIES["full"]), ()),
    "region name": (Region, ()),
    "region keeps": (lambda odd: Region("forward", odd), ()),
    "region kind": (lambda odd: Region("forward", (odd,)), ()),
    "policy name": (lambda odd: Policy(odd, "what"), (str,)),
    "policy recomputes": (lambda odd: Policy("mine", odd), (str,)),
    "policy regions": (lambda odd: Policy("mine", "what", odd), ()),
    "policy region": (lambda odd: Policy("mine", "what", (odd,)), ()),
    "policy every": (lambda odd: Policy("mine", "what", every=odd), ()),
    "policy strategy": (lambda odd: Policy("mine", "what", strategy=odd), (str,)),
    "rules causal": (lambda odd: FlopRules(causal=odd), ()),
    "rules early_stop": (lambda odd: FlopRules(early_stop=odd), ()),
    "term dtype": (lambda odd: Term("x", "norm", (1,), odd).bytes, ()),
    "from_hf": (lambda odd: ModelConfig.from_hf(odd), ()),
    "rope scaling": (lambda odd: RopeScaling(odd, 1.0, 4.0, 8192), (float,)),
    "rope scaling position": (lambda odd: RopeScaling(8.0, 1.0, 4.0, odd), ()),
    **{
        f"config {name}": ((lambda odd, name=name: replace(CONFIG, **{name: odd})), takes)
        for name, takes in (
            ("name", (str,)),
            ("hidden_size", ()),
            ("n_layers", ()),
            ("n_heads", ()),
            ("n_kv_heads", ()),
            ("head_dim", ()),
            ("ffn_size", ()),
            ("vocab_size", ()),
            ("block", ()),
            ("tied_embeddings", ()),
            ("qkv_bias", ()),
            ("qk_norm", ()),
            ("n_positions", ()),
            ("rope_theta", (float,)),
            ("rope_scaling", ()),
            ("norm_eps", (float,)),
            ("sliding_window", ()),
        )
    },
    **{
        f"config.json {key}": ((lambda odd, key=key: ModelConfig.from_hf({**HF, key: odd})), takes)
        for key, takes in (
            ("model_type", ()),
            ("hidden_size", ()),
            ("num_attention_heads", ()),
            ("num_hidden_layers", ()),
            ("intermediate_size", ()),
            ("vocab_size", ()),
            ("num_key_value_heads", ()),
            ("head_dim", ()),
            ("rope_theta", (float,)),
            ("rms_norm_eps", (float,)),
            ("tie_word_embeddings", ()),
            ("hidden_act", ()),
        )
    },
}


def is_usable(odd: Any) -> bool:
    """Whether what takes its type takes it: a string is a name, a positive float a number, lengths are at least 1."""
    return isinstance(odd, str) or bool(np.min(odd) > 0)


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_an_odd_argument_is_refused_in_one_line(argument: str) -> None:
    call, takes = ARGUMENTS[argument]
    for odd in ODD:
        if isinstance(odd, takes) and is_usable(odd):
            call(odd)
        else:
            refused(lambda odd=odd: call(odd))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: estimate(CONFIG, seq_len=True), "seq_len is True: it must be a whole number"),
        (lambda: sweep(CONFIG, seq_len=[True, 8]), "seq_len is [True, 8]: it must be a whole number, or an array"),
        (lambda: sweep(CONFIG, seq_len=[8, 16], batch_size=[1, 2, 3]), "that broadcast to one shape"),
        (lambda: sweep(CONFIG, seq_len=[[8], [16, 32]]), "seq_len is [[8], [16, 32]]"),
        (lambda: sweep(CONFIG, seq_len=[]), "seq_len is []: it must be a whole number, or an array of them"),
        (lambda: sweep(CONFIG, seq_len=[8, 0]), "seq_len is 0: it must be a whole number of at least 1"),
        (lambda: sweep(CONFIG, seq_len=[2**63]), "it must be at most"),
        (lambda: sweep(CONFIG, seq_len=np.array([8.0])), "it must be a whole number, or an array of them"),
        (lambda: estimate(CONFIG, seq_len=10**5000), "seq_len is a int that cannot be written out"),
        (lambda: estimate(CONFIG, seq_len=8, rules=0), "rules is 0: it must be a FlopRules, or None"),
        (lambda: estimate(CONFIG, seq_len=8, rules=1), "rules is 1: it must be a FlopRules, or None"),
        (lambda: estimate(CONFIG, seq_len=8, accounting=None), "unknown accounting None: use one of workshop"),
        (lambda: estimate(CONFIG, seq_len=8, policy="every_2٣"), "unknown policy"),
        (lambda: Policy("mine", "what", every=True), "every is True: it must be a whole number"),
        (lambda: replace(CONFIG, n_positions=-5000), "n_positions is -5000: it must be a whole number of at least 0"),
        (lambda: replace(CONFIG, rope_theta=10**400), "rope_theta is 1000"),
        (lambda: RopeScaling(8.0, 4.0, 4.0, 8192), "low_freq_factor is 4.0: it must be below high_freq_factor, 4.0"),
        (lambda: ModelConfig.from_hf({5: 1}), "model_type None is not modelled"),
        (lambda: ModelConfig.from_hf({(1, 2): 1}), "cannot be written as JSON"),
        (lambda: ModelConfig.from_hf(Empty()), "give a file, a folder with one, or its content"),
        (lambda: ModelConfig.from_hf(Empty), "give a file, a folder with one, or its content"),
        (lambda: ModelConfig.from_hf({**HF, "rope_theta": 10**400}), "rope_theta is 1000"),
        (lambda: ModelConfig.from_hf({**HF, "rope_theta": 0}), "rope_theta is 0: it must be a positive number"),
        (lambda: ModelConfig.from_hf({**HF, "head_dim": 0}), "head_dim is 0: it must be a whole number"),
        (lambda: ModelConfig.from_hf({**HF, "_name_or_path": "\x1b[31mred", "head_dim": 3}), "?[31mred: head_dim is 3"),
        (lambda: (S + 1).where(Q=3), "unknown axis 'Q': use one of L, n, n_kv"),
    ],
)
def test_what_is_wrong_is_named(call: Callable[[], Any], message: str) -> None:
    assert message in refused(call)


def test_the_torch_side_refuses_as_well() -> None:
    torch = pytest.importorskip("torch")
    from actckpt import Llama, LlamaBlock, apply, ledger, measure
    from actckpt.measurement import measure_step

    with torch.device("meta"):
        llama = Llama(replace(CONFIG, n_layers=1))
    ids = torch.zeros(1, 8, dtype=torch.int64, device="meta")
    for odd in ODD:
        for call in (
            lambda odd=odd: measure(odd, seq_len=8),
            lambda odd=odd: measure(CONFIG, seq_len=odd),
            lambda odd=odd: measure(CONFIG, seq_len=8, batch_size=odd),
            lambda odd=odd: measure(CONFIG, seq_len=8, policy=odd),
            lambda odd=odd: measure(CONFIG, seq_len=8, attention=odd),
            lambda odd=odd: measure(CONFIG, seq_len=8, data_parallel=odd),
            lambda odd=odd: measure(CONFIG, seq_len=8, device=odd),
            lambda odd=odd: measure_step(odd, ids, ids),
            lambda odd=odd: measure_step(llama, odd, ids),
            lambda odd=odd: measure_step(llama, ids, odd),
            lambda odd=odd: measure_step(llama, ids, ids, odd),
            lambda odd=odd: ledger(odd),
            lambda odd=odd: apply(odd, "full"),
            lambda odd=odd: apply(llama, odd),
            lambda odd=odd: Llama(odd),
            lambda odd=odd: LlamaBlock(odd),
            lambda odd=odd: LlamaBlock(CONFIG, odd),
        ):
            refused(call)
    for device in ("every_2", "cuda:9999"):
        message = refused(lambda device=device: measure(CONFIG, seq_len=8, device=device))
        assert "it must be one that PyTorch has here" in message


# Answers


def test_no_answer_can_be_changed() -> None:
    step, many = estimate(CONFIG, seq_len=8, policy="ffn"), sweep(CONFIG, seq_len=[8, 16], policy="ffn")
    for answer, name in ((step, "layers"), (step.flops, "forward"), (step.block, "terms"), (many, "working_bytes")):
        with pytest.raises(FrozenInstanceError):
            setattr(answer, name, None)
    for counts in (many.seq_len, many.working_bytes, many.flops.forward, many.head.flops, many.block.terms[0].shape[1]):
        with pytest.raises(ValueError, match="read-only"):
            counts[0] = 0
    many.by_component().clear()
    right = many.total_bytes.copy()
    many.total_bytes[:] = 0
    assert (many.total_bytes == right).all()
    block = ACCOUNTINGS["llama"].block(CONFIG.traits, "flash", FlopRules())
    with pytest.raises(TypeError):
        block.tensors["input"] = None


def test_a_sweep_keeps_no_hold_of_the_array_that_it_was_given() -> None:
    lengths = np.array([8, 16])
    step = sweep(CONFIG, seq_len=lengths)
    before = step.total_bytes.tolist()
    lengths[:] = 1
    assert step.seq_len.tolist() == [8, 16]
    assert step.total_bytes.tolist() == before == sweep(CONFIG, seq_len=[8, 16]).total_bytes.tolist()


def test_what_a_formula_gives_over_a_grid_cannot_be_written_to() -> None:
    for form in (S, Form.of(3), S * (S + 1) / 2):
        counts = form.over(Grid({"S": [1, 2]}))
        assert not counts.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            counts.flags.writeable = True
    assert S.at(Point({"S": 5})) == 5
