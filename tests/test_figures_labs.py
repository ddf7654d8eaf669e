"""The labs' charts: their numbers are what the labs measured, and their titles follow."""

import math
from dataclasses import replace

import pytest

pytest.importorskip("plotly")
from actckpt.figures import labs

MIB = 2**20


def test_loss_curves():
    losses = {"none": [5.0, 4.0, 3.5], "full": [5.0, 4.0, 3.5], "ffn": [5.0, 4.0, 3.5]}
    figure = labs.loss_curves(losses)
    (line,) = figure.data
    assert list(line.y) == losses["none"]
    assert line.name == "all 3 policies"
    assert figure.layout.title.text == "3 policies draw one loss curve"


def test_a_run_that_parts_from_the_others_has_a_line_of_its_own():
    parted = math.nextafter(3.5, 4)
    figure = labs.loss_curves({"none": [5.0, 3.5], "full": [5.0, parted], "ffn": [5.0, 3.5]})
    assert [line.name for line in figure.data] == ["none, ffn", "full"]
    assert figure.layout.title.text == "1 of 3 policies part from the others"


def test_saved_by_policy():
    actckpt = pytest.importorskip("actckpt")
    pytest.importorskip("torch")
    config = replace(actckpt.PRESETS["llama-3.1-8b"], n_layers=2)
    steps = [actckpt.measure(config, seq_len=128, policy=policy) for policy in ("none", "ffn", "full")]
    figure = labs.saved_by_policy(steps)
    *bars, sums = figure.data
    for index, step in enumerate(steps):
        assert sum(bar.x[index] for bar in bars) * MIB == pytest.approx(step.total_bytes, rel=1e-12)
        assert sums.x[index] * MIB == step.total_bytes
        assert f"+{100 * step.flops.overhead:.1f}\u00a0%" in sums.text[index]
    share = 100 * steps[-1].total_bytes / steps[0].total_bytes
    assert f"full keeps {share:.0f}\u00a0% of what none keeps" in figure.layout.title.text


def test_online_softmax():
    # two tiles, of which the second brings a score larger by log 2
    scores = [[0.0, 0.0], [math.log(2), math.log(2)]]
    first = sum(math.exp(s) for s in scores[0])
    second = [sum(math.exp(s - math.log(2)) for s in tile) for tile in scores]
    figure = labs.online_softmax([[first], second])
    assert [list(bar.y) for bar in figure.data] == [[2.0, pytest.approx(1.0)], [0.0, 2.0]]
    assert "here to as little as 50\u00a0%" in figure.layout.title.text
