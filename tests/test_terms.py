"""Properties that hold for every model, policy, accounting and size."""

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from changed_block import change_block
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from actckpt import ACCOUNTINGS, POLICIES, FlopRules, Ledger, ModelConfig, Step, Term, estimate
from actckpt.algebra import Form
from actckpt.blocks.block import Stage
from actckpt.formulas import accounting_policies, saved
from actckpt.terms import COMPONENTS

# (accounting, attention, policy) for every combination that there is
CASES = [
    (accounting, attention, policy)
    for accounting in ACCOUNTINGS
    for attention in ACCOUNTINGS[accounting].attentions
    for name in accounting_policies(accounting)
    for policy in (("every_2", "every_3", "every_7") if name == "every_N" else (name,))
]

# (less, more): `more` recomputes everything that `less` does, and keeps nothing that `less` does not. Others recompute
# different things: "attention" and "ffn", "core_attention" and "save_attention", blocks 3 and 6 and blocks 4 and 8.
RECOMPUTES_MORE = [
    ("none", "attention"),
    ("none", "ffn"),
    ("none", "core_attention"),
    ("none", "pointwise"),
    ("none", "save_attention"),
    ("none", "every_4"),
    ("every_4", "every_2"),
    ("every_2", "full"),
    ("every_3", "full"),
    ("attention", "both"),
    ("ffn", "both"),
    ("core_attention", "attention"),
    ("save_attention", "full"),
    ("both", "full"),
    ("pointwise", "full"),
]


@st.composite
def configs(draw: st.DrawFn) -> ModelConfig:
    n_kv_heads = draw(st.integers(1, 4))
    return ModelConfig(
        "random",
        hidden_size=draw(st.integers(1, 300)),
        n_layers=draw(st.integers(1, 9)),
        n_heads=n_kv_heads * draw(st.integers(1, 4)),
        n_kv_heads=n_kv_heads,
        head_dim=2 * draw(st.integers(1, 64)),
        ffn_size=draw(st.integers(1, 900)),
        vocab_size=draw(st.integers(1, 2000)),
        qkv_bias=draw(st.booleans()),
        qk_norm=draw(st.booleans()),
        tied_embeddings=draw(st.booleans()),
    )


# of each of many cases
EXAMPLES = 12
seq_lens = st.integers(1, 300_000)
batch_sizes = st.integers(1, 64)


def step(config: ModelConfig, seq_len: int, batch_size: int, case: tuple[str, str, str], **options: Any) -> Step:
    accounting, attention, policy = case
    return estimate(
        config,
        seq_len=seq_len,
        batch_size=batch_size,
        accounting=accounting,
        attention=attention,
        policy=policy,
        **options,
    )


def all_counts(s: Step) -> list[int]:
    terms = [term.bytes for ledger in (*s.layers, s.head.ledger) for term in ledger]
    totals = [s.total_bytes, s.block.bytes, *s.by_component().values()]
    return [*terms, *totals, s.head.flops, s.flops.forward, s.flops.backward, s.flops.recompute]


@pytest.mark.parametrize("case", CASES, ids="-".join)
@settings(max_examples=EXAMPLES)
@given(config=configs(), seq_len=seq_lens, batch_size=batch_sizes)
def test_nothing_is_negative(case: tuple[str, str, str], config: ModelConfig, seq_len: int, batch_size: int) -> None:
    s = step(config, seq_len, batch_size, case)
    assert min(all_counts(s)) >= 0
    assert s.peak_bytes >= s.working_bytes >= 0
    assert s.total_bytes > 0
    assert s.working_bytes >= s.total_bytes + s.head.ledger.bytes - 4
    assert 0 <= s.flops.overhead <= 0.5


def check_growth(smaller: Step, larger: Step) -> None:
    """Every count grows, and what was positive grows strictly; only the loss's total weight has one size."""
    pairs = list(zip(all_counts(smaller), all_counts(larger), strict=True))
    assert all(small < large or small == large == 0 or (small, large) == (4, 4) for small, large in pairs)
    for small, large in zip(smaller.layers, larger.layers, strict=True):
        assert [t.name for t in small] == [t.name for t in large]
        assert all(a.bytes < b.bytes for a, b in zip(small, large, strict=True))


@pytest.mark.parametrize("case", CASES, ids="-".join)
@settings(max_examples=EXAMPLES)
@given(config=configs(), seq_len=seq_lens, batch_size=batch_sizes, more=st.integers(1, 1000))
def test_everything_grows_with_s_and_with_b(
    case: tuple[str, str, str], config: ModelConfig, seq_len: int, batch_size: int, more: int
) -> None:
    smaller = step(config, seq_len, batch_size, case)
    for larger in (step(config, seq_len + more, batch_size, case), step(config, seq_len, batch_size + more, case)):
        check_growth(smaller, larger)
        # at a few tokens the weights' gradients are the peak, and they do not grow
        assert larger.working_bytes >= smaller.working_bytes


def test_a_step_that_does_not_grow_is_noticed() -> None:
    s = estimate("llama-3.2-1b", seq_len=64)
    with pytest.raises(AssertionError):
        check_growth(s, s)


@pytest.mark.parametrize("case", CASES, ids="-".join)
@settings(max_examples=EXAMPLES)
@given(config=configs(), seq_len=seq_lens, batch_size=batch_sizes)
def test_bytes_are_linear_in_the_batch(
    case: tuple[str, str, str], config: ModelConfig, seq_len: int, batch_size: int
) -> None:
    one, many = step(config, seq_len, 1, case), step(config, seq_len, batch_size, case)
    assert many.total_bytes == batch_size * one.total_bytes
    assert many.flops.forward == batch_size * one.flops.forward
    assert many.flops.recompute == batch_size * one.flops.recompute


def check_sums(s: Step) -> None:
    """A term is in one component; terms add up to blocks, and blocks and components to the total."""
    for ledger in s.layers:
        assert {term.component for term in ledger} <= set(COMPONENTS)
        assert sum(ledger.by_component().values()) == ledger.bytes == sum(term.bytes for term in ledger)
        assert len({term.name for term in ledger}) == len(ledger.terms)
    assert sum(s.by_component().values()) == s.total_bytes == sum(ledger.bytes for ledger in s.layers)


@pytest.mark.parametrize("case", CASES, ids="-".join)
@settings(max_examples=EXAMPLES)
@given(config=configs(), seq_len=seq_lens, batch_size=batch_sizes)
def test_components_sum_to_totals(
    case: tuple[str, str, str], config: ModelConfig, seq_len: int, batch_size: int
) -> None:
    check_sums(step(config, seq_len, batch_size, case))


def test_a_term_outside_the_components_is_noticed() -> None:
    s = estimate("llama-3.2-1b", seq_len=64)
    with pytest.raises(AssertionError):
        check_sums(replace(s, layers=(Ledger((Term("x", "other", (1,), "bool"),)), *s.layers[1:])))


# Recomputing more


@pytest.mark.parametrize(("less", "more"), RECOMPUTES_MORE, ids=lambda name: name)
@pytest.mark.parametrize("early_stop", [True, False], ids=["early stop", "to the end"])
@pytest.mark.parametrize("attention", ["flash", "eager"])
@settings(max_examples=EXAMPLES)
@given(config=configs(), seq_len=seq_lens, batch_size=batch_sizes)
def test_recomputing_more_saves_no_more_bytes_and_no_flops(
    attention: str, early_stop: bool, less: str, more: str, config: ModelConfig, seq_len: int, batch_size: int
) -> None:
    rules = FlopRules(early_stop=early_stop)
    a, b = (step(config, seq_len, batch_size, ("llama", attention, p), rules=rules) for p in (less, more))
    assert (a.flops.forward, a.flops.backward) == (b.flops.forward, b.flops.backward)
    assert b.total_bytes <= a.total_bytes
    assert b.flops.recompute >= a.flops.recompute


@pytest.mark.parametrize("accounting", ["workshop", "paper"])
@settings(max_examples=EXAMPLES)
@given(config=configs(), seq_len=seq_lens, batch_size=batch_sizes)
def test_recomputing_more_of_the_published_block(
    accounting: str, config: ModelConfig, seq_len: int, batch_size: int
) -> None:
    have = accounting_policies(accounting)
    for less, more in RECOMPUTES_MORE:
        if {less, more} <= {*have, *(("every_2", "every_3", "every_4") if "every_N" in have else ())}:
            a, b = (step(config, seq_len, batch_size, (accounting, "eager", p)) for p in (less, more))
            assert b.total_bytes <= a.total_bytes
            assert b.flops.recompute >= a.flops.recompute


@settings(max_examples=EXAMPLES)
@given(config=configs(), n=st.integers(2, 12), seq_len=seq_lens)
def test_every_n_checkpoints_fewer_blocks_the_larger_n_is(config: ModelConfig, n: int, seq_len: int) -> None:
    assume(config.n_layers > 1)
    steps = [estimate(config, seq_len=seq_len, policy=p) for p in ("full", f"every_{n}", f"every_{n + 1}", "none")]
    for more, less in pairwise(steps):
        assert more.total_bytes <= less.total_bytes
        assert more.flops.recompute >= less.flops.recompute


@settings(max_examples=EXAMPLES)
@given(config=configs(), seq_len=seq_lens)
def test_early_stop_never_costs_more(config: ModelConfig, seq_len: int) -> None:
    for policy in POLICIES:
        for attention in ("flash", "eager"):
            stops, runs_on = (
                estimate(config, seq_len=seq_len, policy=policy, attention=attention, rules=FlopRules(early_stop=on))
                for on in (True, False)
            )
            assert stops.flops.recompute <= runs_on.flops.recompute <= runs_on.flops.forward
            assert stops.layers == runs_on.layers


def test_a_region_that_keeps_what_it_should_not_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    region_saves = saved.region_saves

    def greedy(stages: list[Stage[Form]], keeps: tuple[str, ...]) -> set[str]:
        return region_saves(stages, keeps) | {name for stage in stages for name in stage.writes}

    change_block(monkeypatch, lambda block: block)
    monkeypatch.setattr(saved, "region_saves", greedy)
    none, full = (estimate("llama-3.2-1b", seq_len=64, policy=p) for p in ("none", "full"))
    assert full.total_bytes > none.total_bytes


# As JSON


@pytest.mark.parametrize("case", CASES, ids="-".join)
@settings(max_examples=EXAMPLES)
@given(config=configs(), seq_len=seq_lens, batch_size=batch_sizes)
def test_a_step_survives_json(case: tuple[str, str, str], config: ModelConfig, seq_len: int, batch_size: int) -> None:
    s = step(config, seq_len, batch_size, case)
    found = json.loads(json.dumps(s.to_dict()))
    assert found == s.to_dict()
    terms = tuple(Term(t["name"], t["component"], tuple(t["shape"]), t["dtype"]) for t in found["activations"]["terms"])
    assert Ledger(terms) == s.block
    assert [t["bytes"] for t in found["activations"]["terms"]] == [t.bytes for t in terms]


def test_terms_are_found_by_name_and_by_component() -> None:
    block = estimate("llama-3.1-8b", seq_len=64).block
    assert block["v_proj"].shape == (64, 1024)
    with pytest.raises(KeyError):
        block["w_proj"]
    kept = block.where(lambda term: term.component == "ffn")
    assert [term.name for term in kept] == ["gate_proj", "up_proj", "swiglu.product"]
    assert kept.bytes == block.component_bytes("ffn") == sum(map(term_bytes, kept))
    assert Ledger().bytes == 0


def term_bytes(term: Term) -> int:
    return int(term.bytes)
