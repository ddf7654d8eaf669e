"""Every claim: its verdict is what it should be today and follows from the package, and its tests hold its numbers."""

import re
from collections.abc import Iterable
from functools import cache
from itertools import zip_longest
from pathlib import Path

import pytest
from book.chapters import claims as claims_page
from book.claims import CLAIMS
from book.quantities.sources import PUBLISHED
from faults import FAULTS, planted

from actckpt import ACCELERATORS, POLICIES, PRESETS, FlopRules, estimate
from actckpt.formulas.flops import gpt_forward_flops

torch = pytest.importorskip("torch")
pytest.importorskip("plotly")

# what one test has found another goes on with
pytestmark = pytest.mark.xdist_group("claims")
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


RIGHT = {claim.id: claim.finding for claim in CLAIMS}


def test_every_verdict() -> None:
    assert {name: finding.verdict.value for name, finding in RIGHT.items()} == EXPECTED


def test_every_element_with_a_statement_is_checked() -> None:
    elements = {claim.element for claim in CLAIMS}
    # W11 and W22 are pictures, W8 to W10 share their statements
    expected = {f"W{number}" for number in range(1, 28)} - {"W11", "W22"}
    assert elements == expected | {""}


def test_ids_are_anchors_of_their_own() -> None:
    ids = [claim.id for claim in CLAIMS]
    assert len(set(ids)) == len(ids) >= 35
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in ids)
    for claim in CLAIMS:
        card = claims_page.card(claim)
        assert f'id="claim-{claim.id}"' in card
        assert f'data-verdict="{EXPECTED[claim.id]}"' in card
        assert f'href="@/{claim.taught}"' in card


def test_the_counts_are_those_of_the_verdicts() -> None:
    shown = dict(re.findall(r'id="verdict-([\w-]+)".*?<data value=\'(\d+)\'', claims_page.choices()))
    values = list(EXPECTED.values())
    assert shown == {"all": str(len(values))} | {name: str(values.count(name)) for name in shown if name != "all"}
    assert set(values) == set(shown) - {"all"}


# A wrong number changes verdicts, and fails a test that the page names


@pytest.mark.parametrize(
    ("fault", "changed"),
    [
        ("a wider GELU", {"linear": "fails", "ffn-part": "fails"}),
        ("one moment of Adam", {"sixteen-bytes": "fails"}),
        ("a narrower FFN", {"ffn-flops": "fails", "twice-the-projections": "fails", "short-sequences": "fails"}),
        ("no scores recomputed", {"three-forwards": "holds", "built-in": "fails", "takeaway-5": "fails"}),
        (
            "scores stored",
            {"linear-memory": "fails", "ffn-first": "fails", "takeaway-2": "holds", "b-keeps-square": "holds"},
        ),
    ],
)
def test_a_wrong_number_changes_the_verdict(fault: str, changed: dict[str, str]) -> None:
    with planted(FAULTS[fault]):
        assert {claim.id: claim.check().verdict.value for claim in CLAIMS if claim.id in changed} == changed
    assert all(EXPECTED[name] != verdict for name, verdict in changed.items())


class Failures:
    """A plugin that notes which functions fail, and runs a function up to its first failure."""

    def __init__(self) -> None:
        self.functions: set[str] = set()

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if function_of(item.nodeid) in self.functions:
            pytest.skip("it has failed already")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.functions.add(function_of(report.nodeid))


def function_of(nodeid: str) -> str:
    return nodeid.partition("[")[0].removeprefix("tests/").replace(".py", "")


def failures(tests: Iterable[str], *options: str) -> set[str]:
    """Those of some tests that fail, run in this process."""
    noted = Failures()
    paths = [f"{ROOT}/tests/{test.replace('::', '.py::')}" for test in sorted(tests)]
    status = pytest.main(
        [*paths, "-q", "--tb=no", "-p", "no:cacheprovider", "-p", "no:unraisableexception", *options], plugins=[noted]
    )
    assert status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), paths
    return noted.functions


@cache
def import_tests() -> None:
    """Import every test that a claim names: a name that a module takes while a fault is planted stays wrong."""
    failures({test for claim in CLAIMS for test in claim.tests}, "--collect-only")


@cache
def failed_tests(fault: str) -> dict[str, set[str]]:
    """The claims whose finding a fault changes, each with those of its tests that fail under it.

    A claim's tests run in their order, until one fails.
    """
    import_tests()
    with planted(FAULTS[fault]):
        changed = [claim for claim in CLAIMS if claim.check() != RIGHT[claim.id]]
        failed: set[str] = set()
        for tests in zip_longest(*(claim.tests for claim in changed)):
            left = [test for test, claim in zip(tests, changed, strict=True) if not failed & set(claim.tests)]
            if wanted := {test for test in left if test}:
                failed |= failures(wanted)
    return {claim.id: failed & set(claim.tests) for claim in changed}


@pytest.mark.parametrize("fault", FAULTS)
def test_where_a_number_is_wrong_a_test_that_the_page_names_fails(fault: str) -> None:
    failed = failed_tests(fault)
    assert failed, "no claim sees this fault"
    assert not [claim for claim, tests in failed.items() if not tests]


def test_every_test_that_the_page_names_holds_its_claim() -> None:
    held = {(claim, test) for fault in FAULTS for claim, tests in failed_tests(fault).items() for test in tests}
    assert held == {(claim.id, test) for claim in CLAIMS for test in claim.tests}


def test_a_claim_without_a_test_has_no_number() -> None:
    for claim in CLAIMS:
        if not claim.tests:
            assert EXPECTED[claim.id] == "cited"
            assert "ac-n" not in claim.finding.computed


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
        # GB as sold, MiB by the driver, TB/s, dense bfloat16 TFLOP/s, SMs, KiB of an SM and for a block, MiB of L2
        "a100-40gb": (40, 40_960, 1.555, 312, 108, 192, 163, 40),
        "a100-80gb": (80, 81_920, 2.039, 312, 108, 192, 163, 40),
        "h100-80gb": (80, 81_559, 3.35, 989, 132, 256, 227, 50),
        "h200-141gb": (141, 143_771, 4.8, 989, 132, 256, 227, None),
        "b200-192gb": (192, 183_359, 8.0, 2250, 148, 256, 227, None),
    }
    found = {
        name: (
            card.datasheet_bytes / 1e9,
            card.memory_bytes / 2**20,
            card.bandwidth / 1e12,
            card.bf16_flops / 1e12,
            card.n_sms,
            card.sram_bytes / 2**10,
            card.shared_bytes / 2**10,
            card.l2_bytes and card.l2_bytes / 2**20,
        )
        for name, card in ACCELERATORS.items()
    }
    assert {name: found[name] for name in datasheets} == datasheets


@pytest.mark.parametrize("name", ACCELERATORS)
def test_an_accelerator_is_named_after_the_memory_it_is_sold_with_and_has(name: str) -> None:
    card = ACCELERATORS[name]
    assert card.name == name == card.label.lower().replace(" ", "-", 1).replace(" ", "")
    assert card.label.endswith(f" {card.datasheet_bytes // 10**9} GB")
    # GB are sold, and what is there is some GiB, less what the error correction takes
    assert 1 <= card.memory_bytes / card.datasheet_bytes <= 1.08
    assert card.shared_bytes < card.sram_bytes < card.total_sram_bytes < card.memory_bytes


def test_what_was_published_is_what_the_papers_say() -> None:
    papers = {
        # Korthikanti et al., table 4: milliseconds of a layer
        "korthikanti_none": (19.6, "ms"),
        "korthikanti_full": (27.2, "ms"),
        # Dao et al., §2.1 and figure 2
        "sram_bandwidth": (19, "TB/s"),
        "flash_standard_time": (41.7, "ms"),
        "flash_flash_time": (7.3, "ms"),
        # Abdelkhalik et al., table IV
        "shared_latency": (23, "cycles"),
        "hbm_latency": (290, "cycles"),
    }
    assert {name: (PUBLISHED[name].value, PUBLISHED[name].unit) for name in papers} == papers


def test_the_peak_is_the_states_and_what_is_alive_beside_them() -> None:
    config = PRESETS["llama-3.1-8b"]
    # by the paper nothing is alive but what is saved: 34 SBH + 5nS²B in each block, and 4 SBH + 4 SBV after them
    s, h, n = 1024, config.hidden_size, config.n_heads
    saved = config.n_layers * (34 * s * h + 5 * n * s * s) + 4 * s * (h + config.vocab_size)
    step = estimate(config, seq_len=s, accounting="paper", data_parallel=8)
    assert step.peak_bytes == 16 * -(-config.n_parameters // 8) + saved


def test_the_checkpoint_function_is_in_torch_utils() -> None:
    assert not hasattr(torch, "checkpoint")
    assert callable(torch.utils.checkpoint.checkpoint)


def test_what_is_cited_says_so() -> None:
    cited = [claim for claim in CLAIMS if EXPECTED[claim.id] == "cited"]
    assert len(cited) >= 3
    for claim in cited:
        card = claims_page.card(claim)
        assert "Cited, not computed" in card
        assert re.search(r'href="https://', claim.source), claim.id
