"""The figures' numbers are the package's, and each title says what its figure shows."""

import json
from dataclasses import replace

import pytest

from actckpt import PRESETS, estimate
from actckpt.terms import COMPONENTS

figures = pytest.importorskip("actckpt.figures.memory")
cost = pytest.importorskip("actckpt.figures.cost")

MODEL = "llama-3.1-8b"
GIB = 2**30


def traces(figure):
    return {trace.name: trace for trace in figure.data}


def test_component_shares():
    lines = traces(figures.component_shares(MODEL))
    for attention in ("eager", "flash"):
        for component, label in (("attention", "attention"), ("ffn", "FFN")):
            trace = lines[f"{label}, {attention}"]
            for seq_len, share in zip(trace.x, trace.y, strict=True):
                block = estimate(MODEL, seq_len=seq_len, attention=attention).block
                assert share == pytest.approx(100 * block.component_bytes(component) / block.bytes, rel=1e-12)
    # what the title says
    assert min(lines["FFN, flash"].y) > 50 > max(lines["attention, flash"].y)
    assert min(lines["attention, eager"].y) > 50


def test_accountings_over_seq_len():
    figure = figures.accountings_over_seq_len(MODEL)
    lines = traces(figure)
    ways = {
        "workshop": {"accounting": "workshop"},
        "paper": {"accounting": "paper"},
        "Llama, eager attention": {"attention": "eager"},
        "Llama, flash attention": {"attention": "flash"},
    }
    assert lines.keys() == ways.keys()
    for name, how in ways.items():
        for seq_len, size in zip(lines[name].x, lines[name].y, strict=True):
            assert size * GIB == estimate(MODEL, seq_len=seq_len, **how).total_bytes
    ratio = lines["workshop"].y[-1] / lines["Llama, flash attention"].y[-1]
    assert f"the workshop counts {ratio:,.0f} times" in figure.layout.title.text


def test_policies_over_seq_len():
    figure = figures.policies_over_seq_len(MODEL)
    for policy, trace in traces(figure).items():
        for seq_len, size in zip(trace.x, trace.y, strict=True):
            assert size * GIB == estimate(MODEL, seq_len=seq_len, policy=policy).total_bytes
    left = {name: 100 * trace.y[-1] / traces(figure)["none"].y[-1] for name, trace in traces(figure).items()}
    assert f"the whole block {left['full']:.0f}\u00a0%" in figure.layout.title.text


def test_formula_and_measurement():
    actckpt = pytest.importorskip("actckpt")
    pytest.importorskip("torch")
    config = replace(PRESETS[MODEL], n_layers=2)
    policies = ("none", "ffn", "every_2")
    formula = [estimate(config, seq_len=1024, policy=policy) for policy in policies]
    measured = [actckpt.measure(config, seq_len=1024, policy=policy) for policy in policies]
    figure = figures.formula_and_measurement(formula, measured, config.hidden_size)
    bars, marks = figure.data[:-1], figure.data[-1]
    assert [bar.meta for bar in bars] == list(COMPONENTS)
    for index, (by_formula, by_measurement) in enumerate(zip(formula, measured, strict=True)):
        unit = 2 * 1024 * config.hidden_size
        assert sum(bar.x[index] for bar in bars) * unit == pytest.approx(by_formula.total_bytes, rel=1e-12)
        assert marks.x[index] * unit == by_measurement.total_bytes
    assert "every policy agrees to the byte" in figure.layout.title.text
    wrong = [replace(step, layers=step.layers[:1], n_layers=1) for step in measured]
    assert (
        "3 of 3 policies differ"
        in figures.formula_and_measurement(formula, wrong, config.hidden_size).layout.title.text
    )


@pytest.mark.parametrize("name", ["component_shares", "accountings_over_seq_len", "policies_over_seq_len"])
def test_figures_are_small_and_plain(name):
    figure = getattr(figures, name)(MODEL)
    content = figure.to_json()
    assert "bdata" not in content, "an array became base64"
    assert len(content) < 8_000
    # Plotly's own template, a white box, is not in it
    assert not json.loads(content)["layout"]["template"].get("layout")
    assert figure.layout.xaxis.type == "log"
    assert "logarithmic" in figure.layout.xaxis.title.text
    assert figure.layout.yaxis.title.text


def test_overheads_over_seq_len():
    figure = cost.overheads_over_seq_len(MODEL)
    lines = traces(figure)
    assert set(lines.pop("none").y) == {0}
    names = {"attention": "attention", "ffn": "FFN", "both": "both"}
    worlds = {"workshop": "workshop", "llama": "PyTorch"}
    assert len(lines) == len(names) * len(worlds)
    for policy, name in names.items():
        for accounting, world in worlds.items():
            trace = lines[f"{name}, {world}"]
            for seq_len, share in zip(trace.x, trace.y, strict=True):
                step = estimate(MODEL, seq_len=seq_len, policy=policy, accounting=accounting)
                assert share == pytest.approx(100 * step.flops.overhead, rel=1e-12)
    # what the title says
    assert {round(share, 6) for share in lines["both, workshop"].y} == {33.333333}
    low, high = min(lines["both, PyTorch"].y), max(lines["both, PyTorch"].y)
    assert f"{low:.1f} to {high:.1f}\u00a0% in PyTorch" in figure.layout.title.text
