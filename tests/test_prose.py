"""Every computed number in the prose of the chapters, the home page and the exercises, against the package asked anew.

A page's rows have the words right before a number, where "…" stands for a number before it, and what the number should
be: by calls of `actckpt`, or for a published figure as its source has it, never by the site's own code.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from asked import EVERY_LENGTH, LAYERS, LONG, SIZES, C, H, climbs_to, cost, kept, of, published, saved, sbh, step
from asked_costs import attention_first, compute_cost, flash_attention_page
from asked_questions import questions
from bs4 import BeautifulSoup
from built_pages import article, fixed, gib, percent, prose_numbers, size, times

from actckpt import PRESETS

pytest.importorskip("torch")
pytest_plugins = ["built_site"]

ROOT = Path(__file__).resolve().parent.parent


def activations() -> dict[str, str]:
    paper, llama = step("none", 4096, accounting="paper").block, step("none", 4096).block
    matrices = of(paper, "softmax", "softmax_dropout_mask", "softmax_dropout")
    return {
        "with its square. At": "4,096",
        "× S matrices are": percent(matrices / paper.bytes, 0),
        # of 34 and 5 bytes the masks have 2 and 1, and all else two bytes an element
        "two. The block keeps": "18 SBH + 3 nS²B",
        "… elements, which are": "{} SBH + {} nS²B".format(*published()),
        "Doubling the bytes turns": gib(kept(accounting="paper")),
        "bytes turns … into": gib(kept(accounting="workshop")),
        "The statistics are tiny,": fixed(of(llama, "norm_1.rstd", "norm_2.rstd") / (4096 * H), 3),
        "while their inputs take": fixed(of(llama, "input", "residual") / (4096 * H), 2),
        "to keep. The totals,": fixed(llama.bytes / (4096 * H), 2),
        "the 8B model and": f"{published()[0]}",
    }


def training_memory() -> dict[str, str]:
    states, head, full = step().states, step().head.ledger, step("full")
    logits = head["loss.log_probabilities"].bytes
    return {
        "The 8B model has": fixed(C.n_parameters / 1e9, 2),
        "10⁹ parameters, which take": f"{fixed(4 * C.n_parameters / 1e9, 1)} GB",
        "that unit it is": gib(4 * C.n_parameters),
        "Mixed precision splits the": fixed(states.bytes / C.n_parameters),
        "tokens this tensor takes": gib(4 * LONG * C.vocab_size),
        "The checkpoints of all": f"{LAYERS}",
        "everything else recomputed, take": gib(kept("full")),
        # with what is saved of them
        "saved, the GPU holds": fixed((full.working_bytes - full.total_bytes) / logits),
        "full the blocks keep": gib(kept("full")),
        "step still peaks at": gib(full.working_bytes),
    }


def recomputation() -> dict[str, str]:
    block, checkpoint = step().block, step("full").block.bytes
    paper, hidden = published()[0], published("full")[0]
    return {
        "time: four layers of": "Llama 3.1 8B",
        "the picture. With all": f"{LAYERS}",
        "the staircase climbs to": gib(climbs_to("none")),
        "long makes each step": times(block.bytes / step("none", LONG // 2).block.bytes),
        "it makes each step": times(kept(accounting="paper") / kept("none", LONG // 2, accounting="paper")),
        "with its gradients. With": f"{LAYERS}",
        "layers it falls from": gib(climbs_to("none")),
        "falls from … to": gib(climbs_to("full")),
        "which the checkpoints are": gib(kept("full")),
        "the dashed line's end:": percent(cost("full")),
        "In bfloat16 it takes": f"{hidden}",
        "each of its elements:": size(checkpoint),
        "the whole block is": size(block.bytes),
        # elements of either: 68 and 2 bytes by the workshop's count
        "checkpoint? The workshop says": times(published("none", "workshop")[0] / hidden, 0),
        "the paper's block has": f"{paper}",
        "each and the checkpoint": f"{hidden}",
        "…, so it is": times(paper / hidden, 0),
        "it, the factor is": times(kept(accounting="paper") / kept("full", accounting="paper"), 0),
        "such term. It keeps": fixed(sbh(), 2),
        "and its checkpoint is": times(sbh() / sbh("full"), 0),
        "The number is small:": size(of(block, "norm_1.rstd")),
        "where the input takes": size(of(block, "input")),
        'the workshop says "about': fixed(published("both", "workshop")[0] / 2),
        '… SBH" elements, or': f"{published('both', 'workshop')[0]}",
        "halves checkpointed separately keeps": fixed(sbh("both")),
        "for the whole block": fixed(sbh("full")),
        "of Llama, A saves": percent(saved("attention"), 0),
        "of the block for": percent(cost("attention")),
        "FLOPs, and B saves": percent(saved("ffn"), 0),
        "B saves … for": percent(cost("ffn")),
    }


def memory_over_sequence_length() -> dict[str, str]:
    return {
        "space whatever the batch:": gib(16 * C.n_parameters),
        "float32 with Adam, and": gib(16 * PRESETS[SIZES[2]].n_parameters),
        "The columns end at": "16K",
        "charts below go to": "128K",
        "as it was derived:": f"{published()[0]}",
        "was derived: … and": f"{published()[1]}",
        "Llama 3.1 8B take": gib(kept(accounting="paper")),
        "bytes each. That makes": f"{published('none', 'workshop')[0]}",
        "That makes … and": f"{published('none', 'workshop')[1]}",
        "and … bytes, and": gib(kept(accounting="workshop")),
        "and the blocks take": gib(kept()),
        "Llama 3.1 8B keeps": fixed(sbh(), 2),
        "its attention half leaves": fixed(sbh("attention"), 2),
        "recomputing its FFN half": fixed(sbh("ffn"), 2),
        "the whole block leaves": fixed(sbh("full"), 2),
        "the states first. Over": "8",
        "Over … ranks, the": gib(16 * C.n_parameters),
        "an 8B model become": gib(16 * C.n_parameters / 8),
        "at 16K tokens keep": gib(kept("full")),
        "keep … instead of": gib(kept()),
    }


def takeaways() -> dict[str, str]:
    # as `test_claims` has their verdicts
    return {
        "that holds. Of the six,": "2",
        "hold as they stand,": "4",
        "under a condition, and": "0",
        "length is given, it is": "16K",
    }


def exercises() -> dict[str, str]:
    eager = step("none", LONG, attention="eager").block
    quadratic = of(eager, "attention.softmax", "attention.probabilities")
    return {
        "you unfold the answer?": f"{len(list((ROOT / 'docs/snippets/exercises').glob('*.py')))}",
        "The paper's block keeps": f"{published()[0]}",
        "worked example Attention has": "100",
        "FLOPs and the FFN": "300",
        "is bytes, the rest": fixed((eager.bytes - quadratic) / (LONG * H), 2),
    }


def home() -> dict[str, str]:
    full = [100 * cost("full", seq_len) for seq_len in EVERY_LENGTH]
    return {
        "models without a condition.": f"{published()[0]} SBH",
        "Llama 3.1 8B keeps": fixed(sbh(), 2),
        "matrices in the FFN.": f"{published()[1]} nS²",
        "head and token instead.": percent(cost("both", accounting="workshop")),
        "Llama 3.1 8B cost": f"{fixed(min(full), 1)}–{fixed(max(full), 1)} %",
        "1K and 128K tokens.": percent(saved("both", 1024, accounting="workshop")),
        "with flash attention saves": percent(saved("full")),
    }


PAGES: dict[str, Callable[[], dict[str, str]]] = {
    "workshop/activations": activations,
    "workshop/training-memory": training_memory,
    "workshop/recomputation": recomputation,
    "workshop/memory-over-sequence-length": memory_over_sequence_length,
    "workshop/compute-cost": compute_cost,
    "workshop/attention-first": attention_first,
    "workshop/flash-attention": flash_attention_page,
    "workshop/takeaways": takeaways,
    "exercises": exercises,
    "questions": questions,
    ".": home,
}


@pytest.mark.parametrize("page", PAGES)
def test_every_number_in_prose(site: Path, page: str) -> None:
    expected, wrong = PAGES[page](), []
    for before, number in prose_numbers(article(site, page)):
        rows = [words for words in expected if before.endswith(words)]
        if len(rows) != 1:
            wrong.append(f"not in the table, or more than once: “{before[-60:]} {number}”: {rows}")
        elif (right := expected.pop(rows[0])) != number:
            wrong.append(f"“{rows[0]} {number}” should be {right}")
    wrong += [f"not on the page: “{words}”" for words in expected]
    assert not wrong, "\n".join(wrong)


def test_every_chapter_is_read(site: Path) -> None:
    chapters = {f"workshop/{folder.name}" for folder in (site / "workshop").iterdir() if folder.is_dir()}
    assert chapters == {page for page in PAGES if page.startswith("workshop/")}


def test_a_number_that_nobody_expects_is_seen() -> None:
    prose = BeautifulSoup('<p>Of <span class="ac-n">3</span>, <span class="ac-n">4</span></p><svg>', "html.parser")
    assert prose_numbers(prose) == [("Of", "3"), ("Of …,", "4")]
