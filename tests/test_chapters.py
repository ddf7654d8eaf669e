"""What the chapters on activations, training memory and compute cost derive from the package."""

import pytest
from book.chapters import training_memory as training
from book.quantities import costs, peaks, sources, tensors

from actckpt import PRESETS, estimate

MODEL = "llama-3.1-8b"


def test_every_tensor_has_words_and_one_place_in_the_comparison() -> None:
    paper, llama = (tuple(term.name for term in step.block) for step in (tensors.PAPER_STEP, tensors.LLAMA_STEP))
    assert (tuple(tensors.PAPER), tuple(tensors.LLAMA)) == (paper, llama)
    for place, names in ((1, paper), (2, llama)):
        compared = [name for row in tensors.REPLACED for name in row[place]]
        assert sorted(compared) == sorted(names)


def test_the_paper_counts_bytes_and_there_are_18_sbh_and_3_nssb_elements() -> None:
    assert tensors.symbolic(tensors.PAPER_BLOCK) == "34\u00a0SBH + 5\u00a0nS²B"
    assert tensors.symbolic(tensors.PAPER_BLOCK, elements=True) == "18\u00a0SBH + 3\u00a0nS²B"
    components = {"attention": "11\u00a0SBH + 5\u00a0nS²B", "ffn": "19\u00a0SBH", "norm": "4\u00a0SBH"}
    for component, formula in components.items():
        terms = tensors.PAPER_BLOCK.where(lambda term, kind=component: term.component == kind)
        assert tensors.symbolic(terms) == formula


def test_the_formula_of_a_llama_block() -> None:
    assert str(tensors.llama_form()) == "12 + 4·n_kv/n + 6·F/H"


def test_attention_overtakes_the_ffn_where_s_is_2h() -> None:
    shares = {
        name: {half: float(share) for half, share in costs.overheads(at).items()} for name, at in costs.CASES.items()
    }
    for name, attention, ffn in (
        ("S ≪ H", 11.1, 22.2),
        ("S = H", 14.3, 19.0),
        ("S = 2H", 16.7, 16.7),
        ("S = 4H", 20.0, 13.3),
    ):
        assert [round(100 * shares[name][half], 1) for half in ("attention", "ffn", "both")] == [attention, ffn, 33.3]
        if at := costs.CASES[name]:
            for policy in ("attention", "ffn", "both"):
                step = estimate(MODEL, seq_len=at * PRESETS[MODEL].hidden_size, policy=policy, accounting="workshop")
                assert step.flops.overhead == pytest.approx(shares[name][policy], rel=1e-12)


def test_the_worked_example_is_a_llama_at_4095_tokens_and_no_block_of_the_workshop() -> None:
    assert costs.length_of_the_example() == 4095
    assert costs.coefficients("ffn")[0] / costs.coefficients("attention")[0] < costs.EXAMPLE[1] / costs.EXAMPLE[0]


def test_published_overheads() -> None:
    found = {
        ("korthikanti_full", "korthikanti_none"): 0.39,
        ("korthikanti_selective", "korthikanti_none"): 0.07,
        ("torchtitan_selective", "torchtitan_none"): 0.14,
    }
    for (slow, fast), share in found.items():
        assert round(sources.more_time(slow, fast), 2) == share
    with pytest.raises(ValueError, match="ms"):
        sources.more_time("korthikanti_full", "torchtitan_none")


def test_the_logits_set_the_peak_of_a_recomputed_step() -> None:
    step = estimate(MODEL, seq_len=training.LONG, policy="full")
    logits = step.head.ledger["loss.log_probabilities"].bytes
    assert logits > step.total_bytes
    # saved once, with the gradient of log-softmax's output and of its input
    assert peaks.logits_copies() == 3
    assert 0 <= step.working_bytes - (step.total_bytes + step.head.ledger.bytes + 2 * logits) < 1024
