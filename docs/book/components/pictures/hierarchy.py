"""The memories of a GPU: what is on the chip and what is beside it, with areas and bandwidths drawn to scale."""

from __future__ import annotations

from dataclasses import dataclass

from actckpt.hardware import GB
from book.components.pictures import svg
from book.components.pictures.player import player
from book.components.pictures.svg import Timeline
from book.quantities.flash import DEVICE, HEAD, LAUNCH, SEQ_LEN, SHAPE, tile_bytes
from book.quantities.sources import PUBLISHED
from book.quantities.steps import CONFIG, LABEL
from book.quantities.text import size

LINE = Timeline(6)
CORES, SRAM, HBM, DOT, SCORES, TILES = range(6)
SRAM_BANDWIDTH = PUBLISHED["sram_bandwidth"]
# bfloat16
WEIGHTS_BYTES = 2 * CONFIG.n_parameters
HBM_SIZE, HBM_BANDWIDTH = f"{DEVICE.datasheet_bytes / GB:,.0f} GB", f"{DEVICE.bandwidth / 1e12:.4g} TB/s"
# units of the drawing for a TB/s
PIPE = 5.0


@dataclass(frozen=True)
class Layout:
    """Where things stand, in units of the drawing: the chip, and the memory beside it."""

    name: str
    width: float
    height: float
    chip: tuple[float, float, float, float]
    memory: tuple[float, float, float, float]


LAYOUTS = (
    Layout("wide", 760, 372, (0, 30, 346, 330), (440, 30, 320, 300)),
    Layout("narrow", 360, 644, (4, 26, 352, 300), (4, 386, 352, 250)),
)


def picture() -> str:
    return player(
        name="memories",
        title="A little fast memory on the chip, a lot of slow memory beside it",
        description="The chip: tensor cores and on-chip memory, joined by a broad band. Beside it the main memory, "
        "HBM, joined to the chip by a narrow band. Inside it, to scale, the weights of a model, the scores of one "
        "block, and a dot as large as all on-chip memory.",
        frames=sentences(),
        drawing="".join(_drawing(layout) for layout in LAYOUTS),
        caption="The areas inside HBM are to scale, and so are the widths of the two bands. The chip is not: on the "
        "scale of HBM, its SRAM is the dot.",
        made_by=f'actckpt.ACCELERATORS["{DEVICE.name}"]',
        assumes=f"{DEVICE.source}; on-chip bandwidth as estimated in {SRAM_BANDWIDTH.source.label}, "
        f"{SRAM_BANDWIDTH.place}. {LABEL} in bfloat16.",
        test="test_flash_page::test_the_memories_are_drawn_to_scale",
    )


def sentences() -> list[str]:
    return [
        f"An {DEVICE.label} has {DEVICE.n_sms} streaming multiprocessors. Their tensor cores do the matrix "
        "multiplications, and their registers hold the running sums.",
        f"Each has {size(DEVICE.sram_bytes)} of SRAM, for its L1 cache and for the shared memory that a kernel manages "
        f"itself. That is {size(DEVICE.total_sram_bytes)} in all, at {SRAM_BANDWIDTH.words}.",
        f"Beside the chip is HBM, {HBM_SIZE}, at {HBM_BANDWIDTH}. All tensors are here: weights, gradients, "
        f"optimizer states, activations. The weights of {LABEL} take the lower part.",
        "On the same scale, all the SRAM of the chip is this dot.",
        f"The scores of a single block at {SEQ_LEN:,} tokens are this square, {size(SHAPE.matrix_bytes)}. Standard "
        "attention moves it through the narrow band four times: it writes and reads the scores, then writes and reads "
        "the probabilities.",
        f"Flash attention brings tiles to the chip instead. A tile of keys, {size(tile_bytes())}, is a small part of "
        "the SRAM of one SM, and its scores never leave the chip.",
    ]


def areas(layout: Layout) -> dict[str, float]:
    """The areas inside HBM, by what they stand for."""
    _, _, width, height = layout.memory
    scale = width * height / DEVICE.memory_bytes
    sizes = {"weights": WEIGHTS_BYTES, "scores": SHAPE.matrix_bytes, "sram": DEVICE.total_sram_bytes}
    return {what: scale * n_bytes for what, n_bytes in sizes.items()}


def breadths() -> dict[str, float]:
    return {"sram": PIPE * SRAM_BANDWIDTH.value, "hbm": PIPE * DEVICE.bandwidth / 1e12}


def _drawing(layout: Layout) -> str:
    return svg.svg(layout.width, layout.height, *_chip(layout), *_bands(layout), *_hbm(layout), layout=layout.name)


def _cells(layout: Layout) -> tuple[tuple[float, float, float, float], tuple[float, float, float, float]]:
    # the tensor cores and the SRAM
    x, y, width, height = layout.chip
    block = (width - 116) / 2
    return (x + 12, y + 36, block, height - 64), (x + width - block - 12, y + 36, block, height - 64)


def _chip(layout: Layout) -> list[str]:
    x, y, width, height = layout.chip
    cores, sram = _cells(layout)
    drawn = [
        svg.text(x, y - 12, f"the chip of an {DEVICE.label}", cls="ac-strong"),
        svg.box(x, y, width, height, cls="ac-chip", rx=10),
        svg.text(cores[0], y + 24, "tensor cores", cls="ac-quiet"),
        svg.group(*_grid(cores, "ac-cell"), when=LINE.since(CORES)),
        svg.text(cores[0], y + height - 10, f"{DEVICE.n_sms} SMs", cls="ac-quiet"),
        svg.group(
            svg.text(sram[0], y + 24, "SRAM", cls="ac-quiet"),
            *_grid(sram, "ac-store ac-cell"),
            svg.text(sram[0], y + height - 10, size(DEVICE.total_sram_bytes), cls="ac-quiet"),
            when=LINE.since(SRAM),
        ),
    ]
    # one tile of keys in one SM's SRAM, by its share of the SM's area
    left, top, cell_width, cell_height = _cell(sram, 40)
    share = LAUNCH.block_n * HEAD * SHAPE.itemsize / DEVICE.sram_bytes
    tile = svg.box(left, top, cell_width, max(cell_height * share, 1.5), cls="ac-attention", rx=0)
    ring = svg.rect(left - 2, top - 2, cell_width + 4, cell_height + 4, cls="ac-now", rx=3)
    return [*drawn, svg.group(tile, ring, when=LINE.on(TILES))]


COLUMNS = 9


def _cell(block: tuple[float, float, float, float], index: int) -> tuple[float, float, float, float]:
    x, y, width, height = block
    rows = -(-DEVICE.n_sms // COLUMNS)
    step_x, step_y = width / COLUMNS, height / rows
    return x + index % COLUMNS * step_x, y + index // COLUMNS * step_y, step_x - 2.5, step_y - 3


def _grid(block: tuple[float, float, float, float], cls: str) -> list[str]:
    return [svg.box(*_cell(block, index), cls=cls, rx=1.5) for index in range(DEVICE.n_sms)]


def _bands(layout: Layout) -> list[str]:
    cores, sram = _cells(layout)
    x, y, width, height = layout.chip
    left, top = layout.memory[:2]
    broad, narrow = breadths()["sram"], breadths()["hbm"]
    middle, start, end = y + height / 2, cores[0] + cores[2] + 2, sram[0] - 4
    on_chip = svg.group(
        svg.rect(start, middle - broad / 2, end - start, broad, cls="ac-band"),
        svg.text((start + end) / 2, middle + 4.5, SRAM_BANDWIDTH.words, cls="ac-strong", text_anchor="middle"),
        when=LINE.since(SRAM),
    )
    when = LINE.since(HBM)
    if layout.name == "wide":
        gap = left - x - width
        band = svg.rect(x + width, middle - narrow / 2, gap, narrow, cls="ac-band")
        words = svg.text(x + width + gap / 2, middle - 12, HBM_BANDWIDTH, cls="ac-strong", text_anchor="middle")
    else:
        at, bottom = sram[0] + sram[2] / 2, y + height
        band = svg.rect(at - narrow / 2, bottom, narrow, top - bottom, cls="ac-band")
        words = svg.text(at - 14, (bottom + top) / 2 + 2, HBM_BANDWIDTH, cls="ac-strong", text_anchor="end")
    return [on_chip, svg.group(band, words, when=when)]


def _hbm(layout: Layout) -> list[str]:
    x, y, width, height = layout.memory
    area = areas(layout)
    weights, side, dot = area["weights"] / width, area["scores"] ** 0.5, area["sram"] ** 0.5
    words = f"weights, {WEIGHTS_BYTES / GB:.1f} GB"
    label_x = x + 26 + side
    return [
        svg.group(
            svg.text(x, y - 12, f"HBM, {HBM_SIZE}", cls="ac-strong"),
            svg.box(x, y, width, height, cls="ac-chip", rx=0),
            svg.rect(x, y + height - weights, width, weights, cls="ac-area ac-parameters"),
            svg.text(x + 14, y + height - weights / 2 + 4.5, words, cls="ac-on ac-parameters"),
            when=LINE.since(HBM),
        ),
        svg.group(
            svg.rect(x + 14, y + 24, dot, dot, cls="ac-area ac-store"),
            svg.text(label_x, y + 31, f"all SRAM, {size(DEVICE.total_sram_bytes)}"),
            when=LINE.since(DOT),
        ),
        svg.group(
            svg.rect(x + 14, y + 52, side, side, cls="ac-area ac-attention"),
            svg.text(label_x, y + 52 + side / 2 + 4.5, f"scores of one block, {size(SHAPE.matrix_bytes)}"),
            when=LINE.since(SCORES),
        ),
    ]
