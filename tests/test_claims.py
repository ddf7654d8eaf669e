"""Every claim: its verdict is what it should be today, follows from the package, and names a test that exists."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from book import claims
from book.chapters import claims as claims_page
from book.claims import quantities
from changed_block import change_block, wider_gelu_output, with_tensor

import actckpt.step
from actckpt import ACCELERATORS, POLICIES, PRESETS, FlopRules, estimate, formulas
from actckpt.algebra import B, Form, S, n
from actckpt.blocks.block import Block
from actckpt.formulas.flops import gpt_forward_flops

torch = pytest.importorskip("torch")
pytest.importorskip("plotly")

ROOT = Path(__file__).resolve().parent.parent

# what each claim comes to
EXPECTED = {
    "every-tensor": "fails",
    "linear": "only-when",
    "squared": "only-when",
    "elements": "fails",
    "attention-part": "only-when",
    "ffn-part": "only-when",
    "norm-part": "only-when",
    "norm-output": "fails",
    "largest": "only-when",
    "ninety-percent": "only-when",
    "same-for-llama": "fails",
    "grows-with-square": "only-when",
    "grows-linearly": "only-when",
    "sum-of-four": "fails",
    "eight-billion": "holds",
    "sixteen-bytes": "holds",
    "fixed-cost": "holds",
    "boundaries": "only-when",
    "one-hidden-state": "holds",
    "shrinks": "fails",
    "a-is-linear": "holds",
    "b-keeps-square": "only-when",
    "c-leaves": "fails",
    "norms": "fails",
    "at-most-a-third": "only-when",
    "three-forwards": "only-when",
    "attention-flops": "only-when",
    "ffn-flops": "only-when",
    "twice-the-projections": "only-when",
    "ffn-dominates": "only-when",
    "short-sequences": "holds",
    "s-equals-h": "holds",
    "ranges": "only-when",
    "always-a-third": "only-when",
    "attention-rises": "holds",
    "example": "holds",
    "example-from-formulas": "fails",
    "light-attention": "only-when",
    "heavy-ffn": "only-when",
    "poor-value": "only-when",
    "ten-times": "only-when",
    "advantage-grows": "only-when",
    "frameworks": "cited",
    "sram": "only-when",
    "hbm": "only-when",
    "sram-faster": "holds",
    "sram-smaller": "holds",
    "latency": "cited",
    "matrix": "holds",
    "round-trips": "holds",
    "hbm-traffic": "only-when",
    "exact": "holds",
    "built-in": "holds",
    "row-statistics": "fails",
    "linear-memory": "holds",
    "speed": "cited",
    "torch-checkpoint": "fails",
    "more-flops": "only-when",
    "waiting": "holds",
    "cuda-cores": "cited",
    "composes": "holds",
    "long-context": "only-when",
    "takeaway-1": "only-when",
    "takeaway-2": "only-when",
    "takeaway-3": "only-when",
    "takeaway-4": "only-when",
    "takeaway-5": "holds",
    "takeaway-6": "holds",
    "formula-is-measurement": "holds",
    "share-first": "holds",
    "pointwise-first": "holds",
    "ffn-first": "holds",
    "keep-the-op": "holds",
    "logits-matter": "holds",
}


@pytest.fixture
def verdicts() -> Iterator[Callable[..., dict[str, str]]]:
    """The verdicts of some claims, computed now."""
    caches = (quantities.step, quantities.trade, formulas._unsized)

    def compute(*ids: str) -> dict[str, str]:
        for cache in caches:
            cache.cache_clear()
        return {claim.id: str(claim.check().verdict) for claim in claims.CLAIMS if claim.id in ids}

    yield compute
    for cache in caches:
        cache.cache_clear()


def test_every_verdict(verdicts: Callable[..., dict[str, str]]) -> None:
    assert verdicts(*(claim.id for claim in claims.CLAIMS)) == EXPECTED


def test_every_claim_names_a_test_that_exists() -> None:
    for claim in claims.CLAIMS:
        file, function = claim.test.split("::")
        assert re.search(rf"^def {function}\(", (ROOT / f"tests/{file}.py").read_text("utf-8"), re.MULTILINE), claim.id


def test_every_element_with_a_statement_is_checked() -> None:
    elements = {claim.element for claim in claims.CLAIMS}
    # W11 and W22 are pictures, W8 to W10 share their statements
    expected = {f"W{number}" for number in range(1, 28)} - {"W11", "W22"}
    assert elements == expected | {""}


def test_ids_are_anchors_of_their_own() -> None:
    ids = [claim.id for claim in claims.CLAIMS]
    assert len(set(ids)) == len(ids) >= 35
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in ids)
    for claim in claims.CLAIMS:
        card = claims_page.card(claim)
        assert f'id="claim-{claim.id}"' in card
        assert f'data-verdict="{EXPECTED[claim.id]}"' in card
        assert f'href="@/{claim.taught}"' in card


def test_the_counts_are_those_of_the_verdicts() -> None:
    shown = dict(re.findall(r'id="verdict-([\w-]+)".*?<data value=\'(\d+)\'', claims_page.choices()))
    values = list(EXPECTED.values())
    assert shown == {"all": str(len(values))} | {name: str(values.count(name)) for name in shown if name != "all"}
    assert set(values) == set(shown) - {"all"}


# A changed coefficient changes verdicts


def wider_gelu(monkeypatch: pytest.MonkeyPatch) -> None:
    for accounting in ("workshop", "paper"):
        change_block(monkeypatch, wider_gelu_output, accounting)


def cheaper_adam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actckpt.step, "ADAM_BYTES", 4)
    # steps that were kept have the right ones
    change_block(monkeypatch, lambda block: block)


def plain_flash_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    def plain(block: Block[Form]) -> Block[Form]:
        stages = [replace(s, backward=2 * s.forward) if s.kind == "flash" else s for s in block.stages]
        return replace(block, stages=tuple(stages))

    change_block(monkeypatch, plain)


def narrower_ffn(monkeypatch: pytest.MonkeyPatch) -> None:
    def narrower(block: Block[Form]) -> Block[Form]:
        stages = [replace(s, forward=s.forward / 2) if s.is_inside("ffn_half") else s for s in block.stages]
        return replace(block, stages=tuple(stages))

    for accounting in ("workshop", "paper"):
        change_block(monkeypatch, narrower, accounting)


def stored_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    change_block(monkeypatch, with_tensor("attention.lse", shape=(B, n, S, S)))


@pytest.mark.parametrize(
    ("perturb", "changed"),
    [
        (wider_gelu, {"linear": "fails", "ffn-part": "fails"}),
        (cheaper_adam, {"sixteen-bytes": "fails"}),
        (narrower_ffn, {"ffn-flops": "fails", "twice-the-projections": "fails", "short-sequences": "fails"}),
        (plain_flash_backward, {"three-forwards": "holds", "built-in": "fails", "takeaway-5": "fails"}),
        (
            stored_scores,
            {"linear-memory": "fails", "ffn-first": "fails", "takeaway-2": "holds", "b-keeps-square": "holds"},
        ),
    ],
    ids=["a wider GELU", "one moment of Adam", "a narrower FFN", "no scores recomputed", "scores stored"],
)
def test_a_changed_coefficient_changes_the_verdict(
    monkeypatch: pytest.MonkeyPatch,
    verdicts: Callable[..., dict[str, str]],
    perturb: Callable[[pytest.MonkeyPatch], None],
    changed: dict[str, str],
) -> None:
    perturb(monkeypatch)
    assert verdicts(*changed) == changed
    assert all(EXPECTED[name] != verdict for name, verdict in changed.items())


# What some claims name as their test


@pytest.mark.parametrize("model", ["llama-3.1-8b", "llama-3.1-405b"])
@pytest.mark.parametrize("attention", ["eager", "flash"])
def test_no_policy_adds_more_than_a_third(model: str, attention: str) -> None:
    for name, policy in POLICIES.items():
        for rules in (FlopRules(), FlopRules(early_stop=False), FlopRules(causal=False, early_stop=False)):
            for seq_len in (1, 1024, 131_072):
                flops = estimate(model, seq_len=seq_len, policy=name, attention=attention, rules=rules).flops
                assert 3 * flops.recompute <= flops.forward + flops.backward, policy.name


def test_the_formulas_give_the_ffn_twice_attention_at_most() -> None:
    hidden = PRESETS["llama-3.1-8b"].hidden_size
    ratios = []
    for seq_len in (1, 64, 4096):
        flops = gpt_forward_flops(seq_len, 1, hidden)
        ratios.append(flops["ffn"] / flops["attention"])
    assert 2 > ratios[0] > ratios[1] > ratios[2]


def test_hardware_is_what_the_datasheets_say() -> None:
    datasheets = {
        # GB, TB/s, dense bfloat16 TFLOP/s, SMs, KiB of an SM, KiB for a thread block, MiB of L2
        "a100-40gb": (40, 1.555, 312, 108, 192, 163, 40),
        "a100-80gb": (80, 2.039, 312, 108, 192, 163, 40),
        "h100-80gb": (80, 3.35, 989, 132, 256, 227, 50),
        "h200-141gb": (141, 4.8, 989, 132, 256, 227, None),
        "b200-192gb": (192, 8.0, 2250, 148, 256, 227, None),
    }
    found = {
        name: (
            card.datasheet_bytes / 1e9,
            card.bandwidth / 1e12,
            card.bf16_flops / 1e12,
            card.n_sms,
            card.sram_bytes / 2**10,
            card.shared_bytes / 2**10,
            card.l2_bytes and card.l2_bytes / 2**20,
        )
        for name, card in ACCELERATORS.items()
    }
    assert found == datasheets


def test_the_checkpoint_function_is_in_torch_utils() -> None:
    assert not hasattr(torch, "checkpoint")
    assert callable(torch.utils.checkpoint.checkpoint)


def test_what_is_cited_says_so() -> None:
    cited = [claim for claim in claims.CLAIMS if EXPECTED[claim.id] == "cited"]
    assert len(cited) >= 3
    for claim in cited:
        card = claims_page.card(claim)
        assert "Cited, not computed" in card
        assert re.search(r'href="https://', claim.source), claim.id
