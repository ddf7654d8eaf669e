"""The figures of "Attention first?": their numbers are the package's, and each title says what its figure shows."""

import pytest

from actckpt import PRESETS, estimate

figures = pytest.importorskip("actckpt.figures.tradeoffs")

MODEL = "llama-3.1-8b"
GIB = 2**30


def traces(figure):
    return {trace.name: trace for trace in figure.data}


MODELS = ("llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b")


def gain(model, policy, **how):
    """Bytes for each FLOP that a policy runs again."""
    none, step = (estimate(model, policy=name, **how) for name in ("none", policy))
    return (none.total_bytes - step.total_bytes) / step.flops.recompute


def test_advantage_over_seq_len():
    for ways in (figures.WORKSHOP, figures.WORLDS):
        lines = traces(figures.advantage_over_seq_len(MODELS, ways))
        for way, how in ways.items():
            for model, name in zip(MODELS, ("8B", "70B", "405B"), strict=True):
                line = lines[f"{name}, {way}"]
                for seq_len, ratio in zip(line.x, line.y, strict=True):
                    halves = [gain(model, half, seq_len=seq_len, **how) for half in ("attention", "ffn")]
                    assert ratio == pytest.approx(halves[0] / halves[1], rel=1e-12)
    # what the title says, and the dots
    figure = figures.advantage_over_seq_len(MODELS, figures.WORLDS)
    lines = traces(figure)
    assert min(lines["8B, eager"].y) > 1
    before, after = (gain(MODEL, "attention", seq_len=s) / gain(MODEL, "ffn", seq_len=s) for s in (2621, 2622))
    assert before >= 1 > after
    assert (
        figure.layout.title.text == "Eager attention: the attention half first, at every length. "
        "Flash attention: the FFN half first, from 2,622 tokens on (8B)"
    )
    assert list(lines["parity"].x) == [2622, 6044, 12681]


def test_memory_and_compute():
    figure = figures.memory_and_compute(MODEL, 16_384)
    bars = traces(figure)
    for row, name in enumerate(bars["attention"].y):
        assert sum(bar.x[row] for bar in bars.values()) == pytest.approx(100)
        attention, what = name.split(": ")
        step = estimate(MODEL, seq_len=16_384, attention=attention)
        if what == "bytes":
            share = step.block.component_bytes("attention") / step.block.bytes
        else:
            config = PRESETS[MODEL]
            pairs = 16_384**2 if attention == "eager" else 16_384 * 16_385 // 2
            projections = 4 * 16_384 * config.hidden_size * (config.q_size + config.kv_size)
            share = config.n_layers * (projections + 4 * pairs * config.q_size) / step.flops.forward
        assert bars["attention"].x[row] == pytest.approx(100 * share, rel=1e-9)
    assert "from 96 to 15" in figure.layout.title.text
    assert "leaves it 38" in figure.layout.title.text


def test_policy_frontier():
    figure = figures.policy_frontier(MODEL, 16_384)
    points, best = figure.data
    for name, overhead, size in zip(points.text, points.x, points.y, strict=True):
        step = estimate(MODEL, seq_len=16_384, policy=name)
        assert size * GIB == step.total_bytes
        assert overhead == 100 * step.flops.overhead
        beaten = any(
            x <= overhead and y <= size and (x, y) != (overhead, size) for x, y in zip(points.x, points.y, strict=True)
        )
        assert ((overhead, size) in zip(best.x, best.y, strict=True)) == (not beaten)
    assert "FFN half gives back 3.5\u00a0GiB, the attention half 1.4" in figure.layout.title.text
