"""The tables of the chapters, read by row and column from the built pages, against numbers worked out by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tables_of_charts as charts
import tables_of_costs as costs
import tables_of_flash as flash
import tables_of_memory as memory
from asked import EVERY_LENGTH, LONG
from built_pages import Cells, article, fixed, tables, words
from by_hand import SIZES, n_parameters

pytest_plugins = ["built_site"]

# sentences, which no number says
WORDS = {"needed for", "who decides what is there", "What that is", "Checkpointing"}
# each power of two and halfway to the next; and every 1K to 16K
HALVED = sorted({*EVERY_LENGTH, *(3 * length // 2 for length in EVERY_LENGTH[:-1])})
STEPS = range(1024, LONG + 1, 1024)
TABLES: dict[str, dict[str, Callable[[], Cells]]] = {
    ".": {
        "The peak, part by part, in GiB": lambda: memory.explorer(HALVED, "llama", ranks=8, checkpointed=16),
        "share of what a block saves, %": charts.component_shares,
    },
    "questions": {
        "The longest sequence in tokens, Llama 3.1 8B, states shared by 8 ranks, one sequence a rank": memory.longest,
    },
    "workshop/activations": {
        "The paper's block": memory.elements,
        "The paper's block, S = 4,096": memory.paper_terms,
        "A block of Llama 3.1 8B, flash attention, S = 4,096": memory.llama_terms,
        "The same block at three sizes": memory.models,
        "Bytes per SBH of one block, S = 4,096": memory.differences,
    },
    "workshop/training-memory": {
        "The training states, on one GPU": memory.states,
        "The peak, part by part, in GiB": lambda: memory.explorer(STEPS, "llama", ranks=1),
        "Training states on each GPU; in bold where an H100 80 GB holds them": memory.shared,
        "Llama 3.1 8B, S = 16,384, flash attention: the peak beside the states": memory.peak,
    },
    "workshop/recomputation": {
        "What one block keeps, tensor by tensor": memory.block_map,
        "What a block keeps, in bytes": memory.strategies,
    },
    "workshop/memory-over-sequence-length": {
        "Part by part, in GiB": memory.side_by_side,
        "The peak at every length, in GiB": lambda: memory.side_by_side_over_lengths(STEPS),
        "activations of all blocks, GiB": charts.accountings,
        "Activations of Llama 3.1 8B, times what they were": memory.doubling,
        "activations of all blocks, GiB (2)": charts.policies,
    },
    "workshop/compute-cost": {
        "The workshop's block, forward": costs.matmuls,
        "FLOPs that recomputing adds to a step, by the workshop's rules": costs.cases,
        "A block with 100 FLOPs in attention and 300 in the FFN": costs.worked_example,
        "FLOPs added to a step, %": charts.overheads,
        "Whole blocks of Llama 3.1 8B recomputed, FLOPs added": costs.switches,
        "One block of Llama 3.1 8B, S = 4,096, flash attention, in BSH² FLOPs": costs.llama_matmuls,
        "One layer of GPT 22B, S = 2,048, A100": costs.measured,
    },
    "workshop/attention-first": {
        "bytes per percent, attention half ÷ FFN half": charts.reversal,
        "What a percent of FLOPs buys: Llama 3.1 8B, S = 16,384": costs.efficiency,
        "bytes per percent, attention half ÷ FFN half (2)": charts.workshop_advantage,
        "share of a block, %": charts.shares,
        "The length from which the FFN half is the better one, with flash attention": costs.parities,
        "Every policy that treats all blocks alike, Llama 3.1 8B, S = 16,384": costs.every_policy,
        "Llama 3.1 8B, S = 16,384, one sequence a rank, 8 ranks share the states": costs.decision,
        "Llama 3.1 8B, S = 16,384, flash attention": costs.frontier,
    },
    "workshop/flash-attention": {
        "The memories of an A100 80 GB": flash.memories,
        "On the chip and beside it, card by card": flash.accelerators,
        "Attention in one block of Llama 3.1 8B, S = 4,096, in MiB": flash.saved,
        "Standard": flash.standard,
        "Flash, each tensor once": flash.flash_once,
        "Flash, every load": flash.flash_loads,
        "moved by one head, GB": charts.traffic,
        "What the forward pass moves, when one quantity doubles": flash.exponents,
        "Standard and flash attention: one block of Llama 3.1 8B, S = 4,096": flash.comparison,
        "Time at full speed, in ms": flash.bounds,
        "Forward and backward pass of one block's attention, S = 4,096, each tensor moved once": flash.bounds_by_device,
        "All blocks of Llama 3.1 8B, batch size 1": flash.composition,
    },
}


def numbers(cells: Cells) -> Cells:
    return {
        row: {column: cell for column, cell in each.items() if column not in WORDS}
        for row, each in cells.items()
        if row not in WORDS
    }


@pytest.mark.parametrize(
    ("page", "caption"), [(page, caption) for page, captions in TABLES.items() for caption in captions]
)
def test_every_cell(site: Path, page: str, caption: str) -> None:
    found = tables(article(site, page))
    assert caption in found, list(found)
    assert numbers(found[caption]) == TABLES[page][caption]()


def test_every_table_is_read(site: Path) -> None:
    unread = []
    for page, captions in TABLES.items():
        chapter = article(site, page)
        # what a bar draws stands in the table below it once more
        for parts in chapter.select(".ac-parts"):
            parts.decompose()
        unread += [f"{page}: {caption}" for caption in tables(chapter) if caption not in captions]
    assert unread == []


def test_the_layer_stack(site: Path) -> None:
    stacks = article(site, "workshop/activations").select(".ac-layers")
    assert ["Llama" in words(stack.p) for stack in stacks] == [True, False]
    for stack, expected in zip(stacks, memory.layers(), strict=True):
        rows = stack.select("tbody tr")
        assert {words(row.th): words(row("td")[-1]) for row in rows if row.th and row.b} == expected


def test_the_cards_of_the_components(site: Path) -> None:
    cards = article(site, "workshop/activations").select(".ac-card")
    found = {words(card.p): [words(number) for number in card.select(".ac-n")] for card in cards}
    assert found == memory.component_cards()


def test_what_an_h100_holds_is_bold(site: Path) -> None:
    table = next(t for t in article(site, "workshop/training-memory")("table") if "in bold" in words(t))
    bold = [[cell.b is not None for cell in row("td")] for row in table.select("tbody tr")]
    counts = [n_parameters(name) for name in SIZES]
    # 81,559 MiB by the driver
    assert bold == [[16 * count / ranks <= 81_559 * 2**20 for count in counts] for ranks in (1, 8, 64, 512)]


@pytest.mark.parametrize("page", TABLES)
def test_an_exact_number_is_what_its_cell_rounds(site: Path, page: str) -> None:
    units = {"GiB": 2**30, "MiB": 2**20, "GB": 1e9}
    for data in article(site, page).select("table data[value]"):
        number = float(words(data).split()[0].replace(",", ""))
        assert data["title"] == f"{int(data['value']):,} bytes"
        digits = len(words(data).split()[0].partition(".")[2])
        assert any(fixed(number, digits) == fixed(int(data["value"]) / unit, digits) for unit in units.values()), data
