"""The closed forms reproduce the published figures, and each switch and each coefficient counts."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from changed_block import change_block, drop_saved, wider_gelu_output
from hypothesis import given
from hypothesis import strategies as st

from actckpt import ACCOUNTINGS, POLICIES, PRESETS, FlopRules, InputError, ModelConfig, Step, Term, estimate, sweep
from actckpt.algebra import Point, S, W
from actckpt.blocks.llama import visible_pairs
from actckpt.formulas import accounting_policies
from actckpt.formulas.flops import linear_flops, workshop_overheads
from actckpt.formulas.timeline import timeline
from actckpt.policy import REGIONS, Policy, Region

GIB = 2**30
LLAMA_8B = PRESETS["llama-3.1-8b"]
LENGTHS = (1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072)
# (accounting, policy) for every policy that an accounting has
PAIRS = [
    (accounting, policy)
    for accounting in ACCOUNTINGS
    for name in accounting_policies(accounting)
    for policy in (("every_2", "every_5") if name == "every_N" else (name,))
]


def per_sbh(count: Any, config: ModelConfig, seq_len: int, batch_size: int = 1) -> Fraction:
    return Fraction(count, seq_len * batch_size * config.hidden_size)


def overhead(step: Step) -> Fraction:
    return Fraction(step.flops.recompute, step.flops.forward + step.flops.backward)


# The published block


def check_workshop_baseline() -> None:
    """The workshop's and the paper's total for Llama 3.1 8B at 16K tokens."""
    for accounting, gib in (("workshop", 2696), ("paper", 1348)):
        total = estimate("llama-3.1-8b", seq_len=16_384, accounting=accounting).total_bytes
        assert total == gib * GIB, f"{accounting}: {total / GIB} GiB"


def test_8b_at_16k_keeps_2696_gib_by_the_workshop_and_1348_gib_by_the_paper() -> None:
    check_workshop_baseline()


def test_another_width_of_the_gelu_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for accounting in ("workshop", "paper"):
        change_block(monkeypatch, wider_gelu_output, accounting)
    with pytest.raises(AssertionError, match="GiB"):
        check_workshop_baseline()


@pytest.mark.parametrize("model", ["gpt-3-175b", "gpt-22b", "llama-3.1-70b"])
@pytest.mark.parametrize(("seq_len", "batch_size"), [(2048, 1), (333, 7)])
def test_a_layer_of_the_paper_keeps_34_sbh_and_5_nssb_bytes(model: str, seq_len: int, batch_size: int) -> None:
    s, b, h, n = seq_len, batch_size, PRESETS[model].hidden_size, PRESETS[model].n_heads
    paper = estimate(model, seq_len=s, batch_size=b, accounting="paper")
    assert paper.block.bytes == 34 * s * b * h + 5 * n * s * s * b
    assert paper.block.by_component() == {
        "attention": 11 * s * b * h + 5 * n * s * s * b,
        "ffn": 19 * s * b * h,
        "norm": 4 * s * b * h,
        "checkpoint": 0,
    }
    # in elements of their own width it is less: a mask is one byte
    elements = sum(np.prod(term.shape, dtype=object) for term in paper.block)
    assert elements == 18 * s * b * h + 3 * n * s * s * b


def test_the_workshop_doubles_every_term_of_the_paper() -> None:
    paper, workshop = (estimate("gpt-22b", seq_len=2048, accounting=name) for name in ("paper", "workshop"))
    assert [term.name for term in workshop.block] == [term.name for term in paper.block]
    assert all(doubled.bytes == 2 * once.bytes for doubled, once in zip(workshop.block, paper.block, strict=True))
    assert not workshop.head.ledger.terms


@pytest.mark.parametrize(
    ("policy", "linear", "quadratic"),
    # units of SBH and of nS²B bytes in the paper's block
    [
        ("none", 34, 5),
        ("attention", 23 + 2, 0),
        ("ffn", 15 + 2, 5),
        ("both", 4 + 2, 0),
        ("full", 2, 0),
        ("core_attention", 34, 0),
    ],
)
def test_what_each_strategy_leaves(policy: str, linear: int, quadratic: int) -> None:
    s, b, h, n = 4096, 2, LLAMA_8B.hidden_size, LLAMA_8B.n_heads
    paper = estimate(LLAMA_8B, seq_len=s, batch_size=b, policy=policy, accounting="paper")
    assert paper.block.bytes == linear * s * b * h + quadratic * n * s * s * b
    if policy in accounting_policies("workshop"):
        # the terms double; the checkpoint is 1 SBH of two bytes in both
        checkpoint = 0 if policy == "none" else 2 * s * b * h
        workshop = estimate(LLAMA_8B, seq_len=s, batch_size=b, policy=policy, accounting="workshop")
        assert workshop.block.bytes == 2 * (paper.block.bytes - checkpoint) + checkpoint
        assert workshop.block.component_bytes("checkpoint") == checkpoint


def test_strategies_are_a_b_and_c() -> None:
    assert {name: p.strategy for name, p in POLICIES.items() if p.strategy} == {
        "attention": "A",
        "ffn": "B",
        "both": "C",
    }


def test_both_saves_93_to_99_percent_by_the_workshop() -> None:
    saved = {}
    for s in (1024, 16_384):
        none, both = (
            estimate(LLAMA_8B, seq_len=s, policy=p, accounting="workshop").total_bytes for p in ("none", "both")
        )
        saved[s] = round(100 * (1 - both / none), 1)
    assert saved == {1024: 93.2, 16_384: 99.3}


# Overhead by the workshop's rules


@pytest.mark.parametrize("accounting", ["workshop", "paper"])
@pytest.mark.parametrize(
    ("seq_len", "hidden_size", "expected"),
    [
        (1, 2**24, {"attention": 0.1111, "ffn": 0.2222, "both": 0.3333}),
        (4096, 4096, {"attention": 0.1429, "ffn": 0.1905, "both": 0.3333}),
        (8192, 4096, {"attention": 0.1667, "ffn": 0.1667, "both": 0.3333}),
        (16_384, 4096, {"attention": 0.2, "ffn": 0.1333, "both": 0.3333}),
    ],
    ids=["S<<H", "S=H", "8B at 8K", "8B at 16K"],
)
def test_overhead_of_each_strategy(accounting: str, seq_len: int, hidden_size: int, expected: dict[str, float]) -> None:
    config = replace(LLAMA_8B, hidden_size=hidden_size)
    for policy, share in expected.items():
        step = estimate(config, seq_len=seq_len, policy=policy, accounting=accounting)
        assert round(float(overhead(step)), 4) == share
        assert step.flops.overhead == pytest.approx(float(overhead(step)), rel=1e-15)
        assert step.flops.backward == 2 * step.flops.forward


def test_at_s_equal_to_h_the_overheads_are_a_seventh_four_21sts_and_a_third() -> None:
    shares = [
        overhead(estimate(LLAMA_8B, seq_len=4096, policy=policy, accounting="workshop"))
        for policy in ("none", "attention", "ffn", "both")
    ]
    assert shares == [0, Fraction(1, 7), Fraction(4, 21), Fraction(1, 3)]


def test_the_worked_example_100_and_300() -> None:
    shares = workshop_overheads(100, 300)
    assert shares == {
        "none": 0,
        "attention": Fraction(1, 12),
        "ffn": Fraction(1, 4),
        "both": Fraction(1, 3),
    }
    assert {name: 1200 * (1 + share) for name, share in shares.items()} == {
        "none": 1200,
        "attention": 1300,
        "ffn": 1500,
        "both": 1600,
    }


def test_forward_flops_of_the_paper_are_those_of_its_matmuls() -> None:
    s, b, h = 2048, 4, 6144
    assert PRESETS["gpt-22b"].hidden_size == h
    step = estimate("gpt-22b", seq_len=s, batch_size=b, policy="full", accounting="paper")
    qkvo, scores_and_values = linear_flops(s * b, h, 4 * h), 2 * 2 * b * s * s * h
    assert step.flops.forward == 48 * (qkvo + scores_and_values + linear_flops(s * b, h, 8 * h))
    assert step.flops.recompute == step.flops.forward
    core = estimate("gpt-22b", seq_len=s, batch_size=b, policy="core_attention", accounting="paper")
    assert core.flops.recompute == 48 * scores_and_values


# The Llama block


def check_llama_table() -> None:
    """Bytes per S·B·H that a Llama block keeps, by the written-out formula 12 + 4r + 6f and the statistics."""
    for name, published in (("8b", "34.03"), ("70b", "33.53"), ("405b", "31.78")):
        config = PRESETS[f"llama-3.1-{name}"]
        h, n = config.hidden_size, config.n_heads
        formula = 12 + Fraction(4 * config.n_kv_heads, n) + Fraction(6 * config.ffn_size + 4 * n + 8, h)
        for s, b in ((1024, 1), (131_072, 3)):
            block = estimate(config, seq_len=s, batch_size=b).block
            assert per_sbh(block.bytes, config, s, b) == formula
        assert f"{float(formula):.2f}" == published


def test_a_llama_block_keeps_34_03_33_53_and_31_78_bytes_per_sbh() -> None:
    check_llama_table()


def test_a_product_that_is_not_kept_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    change_block(monkeypatch, drop_saved("swiglu.product"))
    with pytest.raises(AssertionError):
        check_llama_table()


def test_what_the_policies_leave_of_34_03() -> None:
    s = 8192
    kept = {
        policy: per_sbh(estimate(LLAMA_8B, seq_len=s, policy=policy).block.bytes, LLAMA_8B, s) for policy in POLICIES
    }
    h, n = LLAMA_8B.hidden_size, LLAMA_8B.n_heads
    rstd, lse = Fraction(4, h), Fraction(4 * n, h)
    assert kept["none"] - kept["attention"] == 7 + lse + rstd
    assert kept["none"] - kept["ffn"] == 23 + rstd
    assert kept["both"] == 4
    assert kept["full"] == kept["every_2"] == 2
    assert kept["save_attention"] == 4 + lse
    # core attention reads q, k and v, which are saved anyway; its output is read by the o projection
    assert kept["core_attention"] == kept["none"] - lse
    rounded = {name: f"{float(kept['none'] - kept[name]):.2f}" for name in ("attention", "ffn")}
    assert rounded == {"attention": "7.03", "ffn": "23.00"}
    assert f"{float(kept['save_attention']):.2f}" == "4.03"


def test_eager_attention_adds_6_nssb_bytes_and_no_log_sum_exp() -> None:
    s, b, n = 4096, 2, LLAMA_8B.n_heads
    flash, eager = (estimate(LLAMA_8B, seq_len=s, batch_size=b, attention=a).block for a in ("flash", "eager"))
    assert eager.bytes - flash.bytes == 6 * n * s * s * b - flash["attention.lse"].bytes


def test_every_n_checkpoints_one_block_of_n() -> None:
    none, full = (estimate(LLAMA_8B, seq_len=4096, policy=p) for p in ("none", "full"))
    for n, checkpointed in ((2, 16), (3, 10), (5, 6), (32, 1), (33, 0)):
        step = estimate(LLAMA_8B, seq_len=4096, policy=f"every_{n}")
        assert step.total_bytes == checkpointed * full.block.bytes + (32 - checkpointed) * none.block.bytes
        assert 32 * step.flops.recompute == checkpointed * full.flops.recompute
        assert step.block == (full if checkpointed else none).block


def test_published_parameter_counts() -> None:
    # the elements of the published weights, to the last one, so that no size of a preset can be off
    counts = {name: config.n_parameters for name, config in PRESETS.items() if config.block == "llama"}
    assert counts == {
        "llama-3.1-8b": 8_030_261_248,
        "llama-3.1-70b": 70_553_706_496,
        "llama-3.1-405b": 405_853_388_800,
        "llama-3.2-1b": 1_235_814_400,
        "llama-3.2-3b": 3_212_749_824,
    }
    # "22 billion", "175 billion", "530 billion" and "1 trillion" in the papers
    rounded = {name: float(f"{config.n_parameters:.2g}") for name, config in PRESETS.items() if config.block == "gpt"}
    assert rounded == {"gpt-22b": 22e9, "gpt-3-175b": 1.7e11, "gpt-530b": 5.3e11, "gpt-1t": 1e12}
    assert PRESETS["gpt-3-175b"].n_parameters == pytest.approx(175e9, rel=0.005)


def test_training_states_are_16_bytes_a_parameter_and_shared_by_ranks() -> None:
    gib = [round(estimate(f"llama-3.1-{size}", seq_len=1).states.bytes / GIB) for size in ("8b", "70b", "405b")]
    # 16 · 405.85e9 / 2^30 = 6,048
    assert gib == [120, 1051, 6048]
    shared = estimate(LLAMA_8B, seq_len=1, data_parallel=7).states
    share = -(-LLAMA_8B.n_parameters // 7)
    assert (shared.parameters_bytes, shared.gradients_bytes, shared.optimizer_bytes) == (
        4 * share,
        4 * share,
        8 * share,
    )


# FLOPs


def test_flops_of_a_llama_block_are_those_of_its_matmuls() -> None:
    s, b, c = 2048, 3, replace(LLAMA_8B, n_layers=1)
    projections = linear_flops(s * b, c.hidden_size, 2 * c.q_size + 2 * c.kv_size)
    ffn = linear_flops(s * b, c.hidden_size, 3 * c.ffn_size)
    matmul = 2 * b * c.n_heads * c.head_dim * s * (s + 1) // 2
    flops = estimate(c, seq_len=s, batch_size=b, policy="full").flops
    assert flops.forward == projections + ffn + 2 * matmul
    assert flops.backward == 2 * (projections + ffn) + 5 * matmul
    # the down projection is not run again: nothing reads its output
    assert flops.recompute == projections + 2 * ffn // 3 + 2 * matmul


def mask(seq_len: int, window: int | None = None) -> np.ndarray:
    """Which keys a query sees, [S, S]: itself and those before it, `window` at most."""
    query, key = np.ogrid[:seq_len, :seq_len]
    return (key <= query) & (query - key < (seq_len if window is None else window))


def pairs(seq_len: int, window: int | None = None) -> int:
    """What the closed form says of them."""
    return visible_pairs(S, W).at(Point({"S": seq_len, "W": seq_len if window is None else min(seq_len, window)}))


def test_pairs_that_a_causal_mask_leaves() -> None:
    assert [pairs(s) for s in (1, 2, 3, 4)] == [1, 3, 6, 10]
    assert pairs(5) == np.tril(np.ones((5, 5))).sum() == mask(5).sum()
    # the first query sees itself, each of the four others one key more
    assert pairs(5, window=2) == 1 + 4 * 2 == mask(5, window=2).sum()


@given(st.lists(st.integers(1, 90), min_size=1, max_size=5), st.integers(1, 100))
def test_pairs_that_a_window_leaves(lengths: list[int], window: int) -> None:
    right = [int(mask(s, window).sum()) for s in lengths]
    assert [pairs(s, window) for s in lengths] == right
    # and as the FLOPs of a sweep have them: four for each pair and width of all heads
    config = replace(LLAMA_8B, sliding_window=window, n_layers=1)
    masked, all_pairs = (
        sweep(config, seq_len=lengths, rules=FlopRules(causal=causal)).flops.forward for causal in (True, False)
    )
    hidden = (all_pairs - masked) // (4 * config.q_size)
    assert hidden.tolist() == [s * s - seen for s, seen in zip(lengths, right, strict=True)]


def flash_runs_again(policy: str) -> int:
    """In how many of twelve blocks: where a region around it is checkpointed that does not keep its outputs."""
    around = ("core_attention", *REGIONS["core_attention"])
    again = any(region.name in around and "flash" not in region.keeps for region in POLICIES[policy].regions)
    return 12 // POLICIES[policy].every * again


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seq_len", [99, 100, 101, 555])
def test_a_window_spares_flash_attention_what_it_hides_and_changes_no_byte(policy: str, seq_len: int) -> None:
    whole = replace(LLAMA_8B, n_layers=12)
    step, windowed = (
        estimate(config, seq_len=seq_len, batch_size=3, policy=policy)
        for config in (whole, replace(whole, sliding_window=100))
    )
    assert replace(windowed, flops=step.flops) == step
    hidden = int(mask(seq_len).sum() - mask(seq_len, window=100).sum())
    assert (hidden > 0) == (seq_len > 100)
    less = 12 * 2 * 3 * whole.q_size * hidden
    assert step.flops.forward - windowed.flops.forward == 2 * less
    assert step.flops.backward - windowed.flops.backward == 5 * less
    assert 12 * (step.flops.recompute - windowed.flops.recompute) == flash_runs_again(policy) * 2 * less


@pytest.mark.parametrize(
    "how",
    [
        {"attention": "eager"},
        {"rules": FlopRules(causal=False)},
        {"accounting": "paper"},
        {"accounting": "workshop"},
    ],
    ids=str,
)
@pytest.mark.parametrize("policy", ["none", "attention"])
def test_where_every_score_is_computed_a_window_changes_nothing(policy: str, how: dict[str, Any]) -> None:
    step, windowed = (
        estimate(config, seq_len=555, policy=policy, **how)
        for config in (LLAMA_8B, replace(LLAMA_8B, sliding_window=100))
    )
    assert windowed == step


@pytest.mark.parametrize("policy", ["none", "full", "every_2"])
def test_the_passes_of_a_timeline_run_what_the_step_runs(policy: str) -> None:
    config = replace(LLAMA_8B, n_layers=5, sliding_window=100)
    passes = timeline(config, seq_len=555, policy=POLICIES[policy])
    flops = estimate(config, seq_len=555, policy=policy).flops
    for action, right in (("forward", flops.forward), ("backward", flops.backward), ("recompute", flops.recompute)):
        assert sum(each.flops for each in passes if each.action == action) == right


@pytest.mark.parametrize("policy", POLICIES)
def test_causality_halves_flash_attention_and_leaves_eager_attention(policy: str) -> None:
    s, c = 4096, replace(LLAMA_8B, n_layers=12)
    masked, all_pairs = (
        estimate(c, seq_len=s, policy=policy, rules=FlopRules(causal=on)).flops for on in (True, False)
    )
    # s(s - 1)/2 pairs fewer in each matmul
    less = 12 * 2 * c.q_size * (s * (s - 1) // 2)
    assert all_pairs.forward - masked.forward == 2 * less
    assert all_pairs.backward - masked.backward == 5 * less
    assert 12 * (all_pairs.recompute - masked.recompute) == flash_runs_again(policy) * 2 * less
    eager = [
        estimate(c, seq_len=s, policy=policy, attention="eager", rules=FlopRules(causal=on)).flops
        for on in (True, False)
    ]
    assert eager[0] == eager[1]


@pytest.mark.parametrize("attention", ["flash", "eager"])
def test_the_flash_backward_is_one_matmul_more_and_changes_nothing_else(attention: str) -> None:
    s, c = 4096, replace(LLAMA_8B, n_layers=1)
    five, four = (
        estimate(c, seq_len=s, policy="full", attention=attention, rules=FlopRules(flash_backward=on)).flops
        for on in (True, False)
    )
    assert (five.forward, five.recompute) == (four.forward, four.recompute)
    assert five.backward - four.backward == (c.q_size * s * (s + 1) if attention == "flash" else 0)
    if attention == "flash":
        assert four.backward == 2 * four.forward


# the matmul whose output nothing later in its region reads, in units of layers
@pytest.mark.parametrize(
    ("policy", "o_proj", "down_proj", "values"),
    [
        ("none", 0, 0, 0),
        ("attention", 1, 0, 0),
        ("ffn", 0, 1, 0),
        ("both", 1, 1, 0),
        ("full", 0, 1, 0),
        ("save_attention", 0, 1, 0),
        # of eager attention it keeps the scores, not the values
        ("pointwise", 0, 1, 1),
        # flash attention must finish: its backward pass needs its output
        ("core_attention", 0, 0, 1),
    ],
)
@pytest.mark.parametrize("attention", ["flash", "eager"])
def test_early_stop_spares_the_last_matmul_of_a_region(
    policy: str, o_proj: int, down_proj: int, values: int, attention: str
) -> None:
    s, c = 1024, replace(LLAMA_8B, n_layers=1)
    stops, runs_on = (
        estimate(c, seq_len=s, policy=policy, attention=attention, rules=FlopRules(early_stop=on)).flops
        for on in (True, False)
    )
    spared = o_proj * linear_flops(s, c.q_size, c.hidden_size) + down_proj * linear_flops(s, c.ffn_size, c.hidden_size)
    if attention == "eager":
        spared += values * 2 * c.q_size * s * s
    assert runs_on.recompute - stops.recompute == spared
    assert (runs_on.forward, runs_on.backward) == (stops.forward, stops.backward)


def test_without_early_stop_full_runs_the_whole_forward_pass_again() -> None:
    flops = estimate(LLAMA_8B, seq_len=4096, policy="full", rules=FlopRules(early_stop=False)).flops
    assert flops.recompute == flops.forward


def test_full_costs_24_to_28_percent_for_8b_from_1k_to_128k() -> None:
    shares = sweep(LLAMA_8B, seq_len=np.array(LENGTHS), policy="full").flops.overhead
    assert ((shares >= 0.24) & (shares <= 0.28)).all()
    assert (np.diff(shares) > 0).all()


# Many lengths at once


def counts(step: Step) -> Iterator[tuple[str, Any]]:
    """Every count of a step, with a name; what is no count becomes a part of the name."""
    for layer, ledger in enumerate((*step.layers, step.head.ledger)):
        for term in ledger:
            yield from (
                (f"{layer} {term.name} {term.component} {term.dtype} {axis}", size)
                for axis, size in enumerate(term.shape)
            )
            yield f"{layer} {term.name}", term.bytes
        yield f"{layer}", ledger.bytes
    yield from step.by_component().items()
    yield "block", step.block.bytes
    yield "total", step.total_bytes
    yield "working", step.working_bytes
    yield "peak", step.peak_bytes
    yield "head", step.head.flops
    yield "forward", step.flops.forward
    yield "backward", step.flops.backward
    yield "recompute", step.flops.recompute
    yield "overhead", step.flops.overhead


@pytest.mark.parametrize("attention", ["flash", "eager"])
@pytest.mark.parametrize(("accounting", "policy"), PAIRS)
def test_many_lengths_at_once_equal_one_at_a_time(accounting: str, policy: str, attention: str) -> None:
    if attention == "flash" and accounting != "llama":
        with pytest.raises(InputError, match=f"the {accounting} accounting has no flash attention: it has eager"):
            estimate("gpt-22b", seq_len=1, policy=policy, accounting=accounting, attention=attention)
        return
    config = replace(PRESETS["llama-3.2-1b"], n_layers=5, sliding_window=1000)
    lengths = np.array([[1, 7, 1024], [4096, 131_072, 3]])
    options = {"batch_size": 3, "policy": policy, "accounting": accounting, "attention": attention}
    vectorised = list(counts(sweep(config, seq_len=lengths, **options)))
    for index in np.ndindex(lengths.shape):
        alone = list(counts(estimate(config, seq_len=int(lengths[index]), **options)))
        picked = [(name, n[index] if isinstance(n, np.ndarray) else n) for name, n in vectorised]
        assert picked == alone
        assert all(isinstance(n, float if name == "overhead" else int) for name, n in alone)
    shapes = {name: np.shape(n) for name, n in vectorised if name in ("peak", "forward", "recompute", "overhead")}
    assert set(shapes.values()) == {lengths.shape}


@pytest.mark.parametrize(("accounting", "policy"), PAIRS)
def test_huge_counts_are_exact_or_refused(accounting: str, policy: str) -> None:
    """Powers of two from where everything fits into 64 bits to where nothing does: no count wraps around."""
    refused = 0
    for exponent in range(20, 60):
        s = 2**exponent
        options = {"policy": policy, "accounting": accounting, "attention": "eager"}
        alone = dict(counts(estimate("llama-3.1-8b", seq_len=s, **options)))
        assert all(n >= 0 for n in alone.values())
        try:
            many = dict(counts(sweep("llama-3.1-8b", seq_len=np.array([s]), **options)))
        except OverflowError:
            refused += 1
            continue
        wrong = {name: n for name, n in many.items() if np.ravel(n)[0] != alone[name] and name != "overhead"}
        assert not wrong, f"S = 2^{exponent}"
    assert refused


def test_a_count_beyond_64_bits_is_exact_for_one_length() -> None:
    s = 2**50
    assert Term("x", "norm", (s, s), "bfloat16").bytes == 2**101
    eager = estimate("llama-3.1-8b", seq_len=s, attention="eager")
    assert eager.block["attention.softmax"].bytes == 4 * 32 * s * s
    with pytest.raises(OverflowError):
        sweep("llama-3.1-8b", seq_len=[s], attention="eager")


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "llama-3.1-8"}, "unknown model 'llama-3.1-8': did you mean 'llama-3.1-8b'"),
        ({"policy": "ful"}, "unknown policy 'ful': did you mean 'full'"),
        ({"policy": "every_1"}, "its name is 'full'"),
        ({"policy": "every_0"}, "policy 'every_0': N must be at least 2"),
        ({"accounting": "gpt"}, f"unknown accounting 'gpt': use one of {', '.join(ACCOUNTINGS)}"),
        ({"attention": "flsh"}, "unknown attention 'flsh': did you mean 'flash'"),
        ({"seq_len": 0}, "seq_len is 0: it must be a whole number of at least 1"),
        ({"seq_len": np.array([8, 16])}, "seq_len is array([ 8, 16]): it must be a whole number"),
        ({"seq_len": 1.5}, "seq_len is 1.5: it must be a whole number"),
        ({"seq_len": "8"}, "seq_len is '8': it must be a whole number"),
        ({"seq_len": None}, "seq_len is None: it must be a whole number"),
        ({"seq_len": []}, "seq_len is []: it must be"),
        ({"batch_size": 0}, "batch_size is 0: it must be a whole number of at least 1"),
        ({"batch_size": True}, "batch_size is True"),
        ({"batch_size": 2.0}, "batch_size is 2.0"),
        ({"data_parallel": 0}, "data_parallel is 0"),
        (
            {"accounting": "workshop", "policy": "full"},
            "the workshop accounting has no policy 'full': its policies are none, ",
        ),
        ({"accounting": "workshop", "policy": "every_2"}, "the workshop accounting has no policy"),
        ({"accounting": "paper", "policy": "pointwise"}, "the paper accounting has no policy 'pointwise'"),
        # another one of that name
        ({"accounting": "paper", "policy": Policy("full", "", (Region("ffn_half"),))}, "the paper accounting has no"),
        ({"accounting": "paper", "attention": "flash"}, "the paper accounting has no flash attention: it has eager"),
        ({"model": "gpt-22b"}, "take the paper accounting, or a Llama model"),
    ],
)
def test_what_cannot_be_estimated_is_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refusal:
        estimate(**{"model": "llama-3.1-8b", "seq_len": 1024, **options})
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_every_count_of_many_lengths_has_their_shape() -> None:
    step = sweep("llama-3.1-8b", seq_len=[1024, 4096], policy="ffn")
    assert step.seq_len.tolist() == [1024, 4096]
    for component, sizes in step.by_component().items():
        assert sizes.shape == (2,), component
    assert step.by_component()["ffn"].tolist() == [0, 0]


def test_an_array_that_does_not_fit_says_what_would() -> None:
    with pytest.raises(OverflowError, match="by itself, as an int"):
        sweep("llama-3.1-8b", seq_len=[2**22])
    assert estimate("llama-3.1-8b", seq_len=2**22).flops.backward > 2**63
