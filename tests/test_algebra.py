"""Formulas: exact at every size, written so that others compute the same, and equal to the ledgers they belong to."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from changed_block import change_block, with_tensor
from hypothesis import given
from hypothesis import strategies as st

from actckpt import ACCOUNTINGS, PRESETS, InputError, ModelConfig, Step, estimate, sweep
from actckpt.algebra import B, D, F, Form, Formula, Grid, H, L, Largest, Point, S, V, n, n_kv, total
from actckpt.notation import AXES, JAVASCRIPT, LATEX, PYTHON, TEXT
from actckpt.terms import COMPONENTS

MODEL = "llama-3.1-8b"
# (accounting, attention, policy) for every combination that there is
WAYS = [
    (accounting.name, attention, policy)
    for accounting in ACCOUNTINGS.values()
    for attention in accounting.attentions
    for name in accounting.policies
    for policy in (("every_2", "every_7", "every_500") if name == "every_N" else (name,))
]
WINDOWED = replace(PRESETS["llama-3.2-1b"], name="windowed", sliding_window=1000, qk_norm=True, qkv_bias=True)

ONE_BLOCK = replace(PRESETS[MODEL], n_layers=1)

powers = st.tuples(*[st.integers(-2, 2)] * len(AXES))
coefficients = st.integers(-9, 9) | st.fractions(max_denominator=12).filter(lambda f: abs(f) < 9)
forms = st.dictionaries(powers, coefficients, max_size=4).map(
    lambda parts: total(Form(((each, number),)) for each, number in parts.items() if number)
)
sizes = st.fixed_dictionaries({axis: st.integers(1, 9) for axis in AXES})


def value(form: Form, at: dict[str, int]) -> Fraction:
    """What a form is, summed as it is defined."""
    result = Fraction(0)
    for each, number in form.parts:
        result += number * np.prod([Fraction(at[axis]) ** power for axis, power in zip(AXES, each, strict=True)])
    return result


def run(written: str, at: dict[str, Any]) -> Any:
    """What Python makes of a written formula."""
    return eval(written, {"max": max}, at)


# The algebra


@given(forms, forms, sizes)
def test_sums_and_products_are_those_of_their_values(one: Form, other: Form, at: dict[str, int]) -> None:
    a, b = value(one, at), value(other, at)
    assert value(one + other, at) == a + b
    assert value(one - other, at) == a - b
    assert value(2 - one, at) == 2 - a
    assert value(one * other, at) == a * b
    assert value(one**2, at) == a * a
    assert value(one / (3 * S * B), at) == a / (3 * at["S"] * at["B"])
    assert (one + other) - other == one
    if one.dominates(other):
        assert a >= b


@given(forms, sizes)
def test_a_form_is_exact_or_refused(form: Form, at: dict[str, int]) -> None:
    right = value(form, at)
    if right.denominator == 1:
        assert form.at(Point(at)) == right
        assert form.over(Grid({**at, "S": [at["S"]] * 3})).tolist() == [right] * 3
        return
    for evaluate in (lambda: form.at(Point(at)), lambda: form.over(Grid(at))):
        with pytest.raises(InputError, match="not whole at these sizes"):
            evaluate()


@given(forms, sizes)
def test_what_is_written_is_what_is_computed(form: Form, at: dict[str, int]) -> None:
    exact = {axis: Fraction(size) for axis, size in at.items()}
    assert run(form.written(PYTHON), exact) == value(form, at)


@given(forms, sizes)
def test_another_axis_in_the_place_of_one(form: Form, at: dict[str, int]) -> None:
    narrow = {**at, "D": at["H"] * at["n"], "F": 7}
    assert value(form.where(D=H * n, F=7), at) == value(form, narrow)


@given(st.lists(forms, min_size=1, max_size=4), sizes)
def test_the_largest_of_several_drops_only_what_another_dominates(several: list[Form], at: dict[str, int]) -> None:
    kept = Largest.of(several)
    assert max(value(form, at) for form in kept.forms) == max(value(form, at) for form in several)
    assert max(value(form, at) for form in (kept + 3).forms) == 3 + max(value(form, at) for form in several)


def test_notations() -> None:
    form = 12 * S * B * H - S * (S + 1) / 2 + 4 * n_kv / n * S * B * H
    assert form.written(TEXT) == str(form) == "-S/2 + 12·S·B·H + 4·n_kv·S·B·H/n - S²/2"
    assert form.written(LATEX) == (
        r"-\frac{S}{2} + 12\,S\,B\,H + \frac{4\,n_{\text{kv}}\,S\,B\,H}{n} - \frac{S^{2}}{2}"
    )
    assert form.written(PYTHON) == "(-n * S + 24 * n * S * B * H + 8 * n_kv * S * B * H - n * S**2) / (2 * n)"
    assert form.written(JAVASCRIPT) == "(-n * S + 24 * n * S * B * H + 8 * n_kv * S * B * H - n * S ** 2) / (2 * n)"
    assert str(Form.of(0)) == "0"
    assert str(Form.of(Fraction(-3, 4)) / (H * D)) == "-3/(4·H·D)"
    assert str(Largest((S, B + 1))) == "max(S, 1 + B)"
    assert Largest((S, B + 1)).written(LATEX) == r"\max\left(S, 1 + B\right)"


def test_what_cannot_be_computed_is_refused_in_one_line() -> None:
    for wrong, message in (
        (lambda: (S + 1).at(Point({"B": 3})), "no size is given for 'S'"),
        (lambda: S / (B + 1), r"cannot be divided by 1 \+ B"),
        (lambda: S / 0, "the divisor must be a single product, not zero"),
    ):
        with pytest.raises(InputError, match=message) as error:
            wrong()
        assert "\n" not in str(error.value)


def test_an_array_is_refused_before_it_overflows() -> None:
    largest = 2**31 - 1
    grid = Grid({"S": [1, largest], "B": 1, "H": 2})
    assert (S**2 * H).over(grid).tolist() == [2, 2 * largest**2]
    for too_large in (S**3, S**2 * H + S**2 * H, 2**63 * B, S**2 * H - 3 * S**2):
        with pytest.raises(OverflowError, match="does not fit into 64 bits"):
            too_large.over(grid)


# Of ledgers and steps


def formulas(step: Step[Any]) -> Iterator[tuple[str, Any]]:
    """Every count of a step, by name."""
    for layer, ledger in enumerate((step.layers[0], step.layers[-1], step.block, step.head.ledger)):
        for term in ledger:
            yield f"{layer} {term.name}", term.bytes
            yield from ((f"{layer} {term.name} {axis}", size) for axis, size in enumerate(term.shape))
        yield f"{layer}", ledger.bytes
    yield from step.by_component().items()
    yield "total", step.total_bytes
    yield "working", step.working_bytes
    yield "peak", step.peak_bytes
    yield "head", step.head.flops
    yield from ((way, getattr(step.flops, way)) for way in ("forward", "backward", "recompute"))


def check_written(config: ModelConfig, way: tuple[str, str, str], seq_len: int, batch_size: int) -> None:
    """The Python text of every formula of a step, run by Python, gives the step's count."""
    accounting, attention, policy = way
    step = estimate(
        config,
        seq_len=seq_len,
        batch_size=batch_size,
        policy=policy,
        accounting=accounting,
        attention=attention,
        data_parallel=3,
    )
    at = {axis: Fraction(size) for axis, size in config.axes(seq_len, batch_size).items()}
    written = {name: formula.written(PYTHON) for name, formula in formulas(step.formula())}
    assert {name: run(text, at) for name, text in written.items()} == dict(formulas(step))
    assert run(step.block.formula().written(PYTHON), at) == step.block.bytes


@pytest.mark.parametrize(
    ("config", "way"),
    [
        pytest.param(config, way, id="-".join((config.name, *way)))
        for config in (*PRESETS.values(), WINDOWED)
        for way in WAYS
        if config.block in ACCOUNTINGS[way[0]].models
    ],
)
def test_the_formula_of_every_preset_and_policy_is_its_ledger(config: ModelConfig, way: tuple[str, str, str]) -> None:
    for seq_len, batch_size in ((1, 1), (999, 3), (131_072, 2)):
        check_written(config, way, seq_len, batch_size)


def test_a_formula_of_another_tensor_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    way = ("llama", "flash", "none")
    right = estimate(MODEL, seq_len=64).formula().block.bytes
    change_block(monkeypatch, with_tensor("attention.lse", shape=(B, n, S + 1)))
    check_written(PRESETS[MODEL], way, 64, 1)
    assert estimate(MODEL, seq_len=64).formula().block.bytes != right


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_javascript_computes_the_same(way: tuple[str, str, str]) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node")
    accounting, attention, policy = way
    config = replace(PRESETS["llama-3.2-1b"], n_layers=4, vocab_size=1000)
    step = estimate(config, seq_len=96, policy=policy, accounting=accounting, attention=attention)
    axes = config.axes(96)
    # JavaScript counts exactly up to 2^53
    counts = {name: count for name, count in formulas(step) if count < 2**45}
    assert len(counts) > 10
    written = {name: each.written(JAVASCRIPT) for name, each in formulas(step.formula()) if name in counts}
    names = ", ".join(axes)
    code = ", ".join(f"{json.dumps(name)}: {text}" for name, text in written.items())
    script = f"const {{{names}}} = {json.dumps(axes)}; console.log(JSON.stringify({{{code}}}))"
    done = subprocess.run([node, "-e", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == counts


def per_sbh(formula: Form) -> str:
    """A formula in units of S·B·H, where the heads are together as wide as the residual stream."""
    return str((formula / (S * B * H)).where(D=H / n))


def check_shares() -> None:
    """What each component of a Llama block keeps, in bytes for each S·B·H: written out, not asked of the package."""
    flash, eager = (estimate(MODEL, seq_len=64, attention=each).formula().block for each in ("flash", "eager"))
    assert {component: per_sbh(size) for component, size in flash.by_component().items()} == {
        "attention": "4 + 4·n_kv/n + 4·n/H",
        "ffn": "6·F/H",
        "norm": "8 + 8/H",
        "checkpoint": "0",
    }
    assert per_sbh(eager.component_bytes("attention")) == "4 + 4·n_kv/n + 6·n·S/H"
    assert per_sbh(flash.bytes) == "12 + 8/H + 4·n_kv/n + 4·n/H + 6·F/H"
    checkpoints = {
        "none": "0",
        "attention": "2",
        "ffn": "2",
        "both": "4",
        "full": "2",
        "core_attention": "0",
        "save_attention": "2",
        "pointwise": "4",
    }
    assert {
        name: per_sbh(estimate(MODEL, seq_len=64, policy=name).formula().block.component_bytes("checkpoint"))
        for name in checkpoints
    } == checkpoints


def test_the_share_of_each_component_of_a_llama_block() -> None:
    check_shares()


@pytest.mark.parametrize(
    ("tensor", "component"),
    [("rope.q", "norm"), ("norm_1.output", "attention"), ("swiglu.product", "norm"), ("residual", "ffn")],
)
def test_a_tensor_under_another_component_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tensor: str, component: str
) -> None:
    change_block(monkeypatch, with_tensor(tensor, component=component))
    with pytest.raises(AssertionError):
        check_shares()


def test_the_share_of_each_component_of_the_published_block() -> None:
    paper, workshop = (estimate(MODEL, seq_len=64, accounting=name).formula().block for name in ("paper", "workshop"))
    assert [per_sbh(paper.component_bytes(component)) for component in COMPONENTS] == ["11 + 5·n·S/H", "19", "4", "0"]
    assert per_sbh(paper.bytes) == "34 + 5·n·S/H"
    assert per_sbh(workshop.bytes) == "68 + 10·n·S/H"


def test_formulas_of_a_step() -> None:
    step = estimate(MODEL, seq_len=64, policy="full").formula()
    assert str(step.total_bytes) == "2·L·S·B·H"
    assert step.head.flops == 6 * S * B * H * V
    assert step.flops.forward == L * (
        2 * S * B * (2 * H * n * D + 2 * H * n_kv * D + 3 * H * F) + 2 * B * n * D * S * (S + 1)
    )
    assert isinstance(step.working_bytes, Largest)
    # a block that is not like the others is counted by itself
    every_2 = estimate(MODEL, seq_len=64, policy="every_2").formula()
    none = estimate(MODEL, seq_len=64).formula()
    assert every_2.total_bytes == 16 * none.block.bytes + 16 * step.block.bytes


def test_the_formula_of_one_of_several_ranks() -> None:
    step = estimate(MODEL, seq_len=64)
    block, config = step.formula().block, PRESETS[MODEL]
    attention: Formula = block.component_bytes("attention")
    half = attention.where(n=n / 2, n_kv=n_kv / 2)
    assert 2 * half.at(Point(config.axes(64))) == step.block.component_bytes("attention")


# Sweeps


@pytest.mark.parametrize("accounting", ["llama", "paper"])
def test_a_sweep_over_one_length_is_the_estimate(accounting: str) -> None:
    one = estimate("llama-3.1-8b", seq_len=4096, accounting=accounting)
    swept = sweep("llama-3.1-8b", seq_len=4096, accounting=accounting)
    assert swept.peak_bytes == one.peak_bytes
    assert swept.flops.forward == one.flops.forward


def test_a_sweep_over_lengths_and_batch_sizes() -> None:
    lengths, batch_sizes = np.array([1, 999, 4096])[:, None], [1, 8]
    steps = sweep(WINDOWED, seq_len=lengths, batch_size=batch_sizes, policy="every_2")
    for name, counts in formulas(steps):
        assert counts.shape == (3, 2), name
        assert counts.dtype == np.int64
    for (i, j), seq_len in zip(product(range(3), range(2)), np.repeat(lengths, 2).tolist(), strict=True):
        alone = estimate(WINDOWED, seq_len=seq_len, batch_size=batch_sizes[j], policy="every_2")
        assert {name: counts[i, j] for name, counts in formulas(steps)} == dict(formulas(alone))


def test_a_sum_that_does_not_fit_is_refused_though_its_parts_do() -> None:
    # forward and backward FLOPs on either side of 2^63
    low, high = 1, 2**40
    while high - low > 1:
        middle = (low + high) // 2
        flops = estimate(ONE_BLOCK, seq_len=middle).flops
        low, high = (middle, high) if flops.forward + flops.backward < 2**63 else (low, middle)
    flops = estimate(ONE_BLOCK, seq_len=high).flops
    assert max(flops.forward, flops.backward) < 2**63 <= flops.forward + flops.backward
    with pytest.raises(OverflowError, match="64 bits"):
        sweep(ONE_BLOCK, seq_len=[high])
