"""The numbers in the sentences of "Flash attention", and what its blocks share."""

from __future__ import annotations

from actckpt import ACCELERATORS, PRESETS, estimate
from actckpt.formulas import traffic
from actckpt.formulas.traffic import Shape, Tiles
from actckpt.hardware import GIB, REGISTER_BYTES
from actckpt.ops.attention.config import launches
from book.components.pictures import tiles
from book.quantities import published, text

MODEL = "llama-3.1-8b"
CONFIG = PRESETS[MODEL]
SEQ_LEN, LONG = 4096, 128 * 1024
ACCELERATOR = "a100-80gb"
DEVICE = ACCELERATORS[ACCELERATOR]
HEAD = CONFIG.head_dim
SHAPE = Shape.of(CONFIG, SEQ_LEN)
# an A100 has compute capability 8.0, and bfloat16 two bytes
LAUNCHES = launches((8, 0), 2, HEAD, descriptors=False)
TILES = Tiles(LAUNCHES.forward.block_m, LAUNCHES.dk_dv.block_n, LAUNCHES.dq.block_m)

STANDARD = [*traffic.standard_forward(SHAPE), *traffic.standard_backward(SHAPE)]
FLASH = [*traffic.flash_forward(SHAPE), *traffic.flash_backward(SHAPE)]


def size(n_bytes: int) -> str:
    """Bytes in the binary unit that leaves the fewest digits, whole where it is whole."""
    for unit, factor in (("TiB", 2**40), ("GiB", GIB), ("MiB", 2**20), ("KiB", 2**10)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:,.4g}\u00a0{unit}"
    return f"{n_bytes}\u00a0bytes"


def table(caption: str, head: tuple[str, ...], rows: str, foot: str = "", words: bool = False) -> str:
    """A table as `text.table` makes it; with `words`, its cells hold sentences, which break and begin on the left."""
    made = text.table(caption, head, rows, foot)
    return f'<div class="ac-words">{made}</div>' if words else made


def growth(change: str) -> tuple[float, float, float]:
    """By what the forward pass moves more when `change` doubles: standard, flash, and if flash grew as S²/M.

    The sizes are large enough for the terms that do not matter to vanish, and the tiles follow from the SRAM.
    """
    sizes = {"seq_len": 2**20, "head_dim": HEAD, "sram": 2**17}
    pairs = []
    for scale in (1, 2):
        now = sizes | {change: scale * sizes[change]}
        tile = traffic.largest_tile(now["sram"], now["head_dim"])
        shape = Shape(now["seq_len"], now["head_dim"])
        kernels = (traffic.standard_forward(shape), traffic.flash_forward(shape, Tiles(tile, tile, tile)))
        pairs.append([*map(traffic.moved_bytes, kernels), now["seq_len"] ** 2 / now["sram"]])
    standard, flash, claimed = (after / before for before, after in zip(*pairs, strict=True))
    return standard, flash, claimed


def backward_share(attention: str) -> float:
    """Backward over forward FLOPs of the attention op alone: of what a block has more of at twice the length."""
    once, twice = (estimate(MODEL, seq_len=s, attention=attention).flops for s in (SEQ_LEN, 2 * SEQ_LEN))
    return float((twice.backward - 2 * once.backward) / (twice.forward - 2 * once.forward))


def seq_len() -> str:
    """The sequence length of the examples."""
    return f"{SEQ_LEN:,}"


def heads() -> str:
    """The query heads of the model."""
    return str(CONFIG.n_heads)


def n_sms() -> str:
    """The SMs of an A100."""
    return str(DEVICE.n_sms)


def sram() -> str:
    """The on-chip memory of one SM."""
    return size(DEVICE.sram_bytes)


def shared() -> str:
    """What one thread block can take of it."""
    return size(DEVICE.shared_bytes)


def total_sram() -> str:
    """The on-chip memory of all SMs."""
    return size(DEVICE.total_sram_bytes)


def l2() -> str:
    """The L2 cache."""
    return size(DEVICE.l2_bytes or 0)


def registers() -> str:
    """The registers of one SM."""
    return size(REGISTER_BYTES)


def bandwidth_ratio() -> str:
    """How much faster the on-chip memory is than HBM."""
    return text.fixed(published.PUBLISHED["sram_bandwidth"].value * 1e12 / DEVICE.bandwidth, 0)


def size_ratio() -> str:
    """How much larger HBM is than all on-chip memory."""
    return text.fixed(round(DEVICE.memory_bytes / DEVICE.total_sram_bytes, -2), 0)


def matrix() -> str:
    """The scores of one block."""
    return size(SHAPE.matrix_bytes)


def matrix_head() -> str:
    """The scores of one head."""
    return size(SHAPE.matrix_bytes // CONFIG.n_heads)


def matrix_ratio() -> str:
    """How many times all on-chip memory the scores of one block are."""
    return text.fixed(SHAPE.matrix_bytes / DEVICE.total_sram_bytes, 0)


def matrix_all() -> str:
    """The scores of all blocks, were they kept."""
    return size(CONFIG.n_layers * SHAPE.matrix_bytes)


def output_size() -> str:
    """The output of the attention op."""
    return size(SHAPE.q_bytes)


def matrix_long() -> str:
    """The scores of one block at 128K tokens."""
    return size(Shape.of(CONFIG, LONG).matrix_bytes)


def eager_saved() -> str:
    """What eager attention keeps in one block."""
    return text.prose_gib(_attention_bytes("eager"))


def flash_saved() -> str:
    """What flash attention keeps in one block."""
    return size(_attention_bytes("flash"))


def _attention_bytes(attention: str) -> int:
    return int(estimate(MODEL, seq_len=SEQ_LEN, attention=attention).block.component_bytes("attention"))


def moved_standard() -> str:
    """What standard attention moves in a forward pass."""
    return _gb(traffic.moved_bytes(traffic.standard_forward(SHAPE)))


def moved_once() -> str:
    """What flash attention moves in a forward pass, each tensor once."""
    return _gb(traffic.moved_bytes(traffic.flash_forward(SHAPE)))


def moved_loads() -> str:
    """What flash attention moves in a forward pass, counting every load."""
    return _gb(traffic.moved_bytes(traffic.flash_forward(SHAPE, TILES)))


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.2g}\u00a0GB"


def kv_head() -> str:
    """The keys and values of one key/value head."""
    return size(2 * SHAPE.kv_bytes // CONFIG.n_kv_heads)


def tile_queries() -> str:
    """Queries in a tile of the forward kernel."""
    return str(LAUNCHES.forward.block_m)


def tile_keys() -> str:
    """Keys in a tile of the forward kernel."""
    return str(LAUNCHES.forward.block_n)


def tile_size() -> str:
    """What one tile of keys takes."""
    return size(LAUNCHES.forward.block_n * HEAD * SHAPE.itemsize)


def _tile_counts() -> tuple[int, int, int]:
    return tiles.counts(SEQ_LEN, LAUNCHES.forward.block_m, LAUNCHES.forward.block_n)


def tiles_in_all() -> str:
    """The tiles of one head's scores."""
    return f"{_tile_counts()[0]:,}"


def tiles_visited() -> str:
    """The tiles that are visited under a causal mask."""
    return f"{_tile_counts()[1]:,}"


def tiles_masked() -> str:
    """The tiles that take a mask."""
    return f"{_tile_counts()[2]:,}"


def more_flops() -> str:
    """What flash attention multiplies more than standard attention, forward and backward."""
    return text.percent(traffic.run_flops(FLASH) / traffic.run_flops(STANDARD) - 1, 0)


def matmuls_standard() -> str:
    """The matmuls of standard attention, forward and backward."""
    return _matmuls(STANDARD)


def matmuls_flash() -> str:
    """The matmuls of the package's flash attention, forward and backward."""
    return _matmuls(FLASH)


def _matmuls(kernels: list[traffic.Kernel]) -> str:
    return str(traffic.run_flops(kernels) // SHAPE.matmul_flops)


def balance() -> str:
    """The FLOPs that an A100's tensor cores can run for each byte from memory."""
    return text.fixed(DEVICE.balance, 0)


def intensity_standard() -> str:
    """The FLOPs for each byte that standard attention moves."""
    return text.fixed(traffic.run_flops(STANDARD) / traffic.moved_bytes(STANDARD), 0)


def intensity_flash() -> str:
    """The FLOPs for each byte that flash attention moves, each tensor once."""
    return text.fixed(traffic.run_flops(FLASH) / traffic.moved_bytes(FLASH), 0)


def intensity_loads() -> str:
    """The same, counting every load."""
    loads = [*traffic.flash_forward(SHAPE, TILES), *traffic.flash_backward(SHAPE, TILES)]
    return text.fixed(traffic.run_flops(loads) / traffic.moved_bytes(loads), 0)


def idle() -> str:
    """The share of the time in which standard attention leaves the tensor cores without work, at best."""
    busy = sum(kernel.matmul_s(DEVICE) for kernel in STANDARD)
    return text.percent(1 - busy / traffic.bound_s(STANDARD, DEVICE), 0)


def backward_flash() -> str:
    """The backward pass of flash attention over its forward pass, as it is counted."""
    return text.fixed(backward_share("flash"), 1)


def core_saves() -> str:
    """What recomputing the attention op saves of what the blocks keep, with flash attention."""
    none, core = (estimate(MODEL, seq_len=LONG, policy=policy).total_bytes for policy in ("none", "core_attention"))
    return text.percent(1 - core / none, 1)


def core_costs() -> str:
    """What recomputing the attention op costs at long contexts."""
    return text.percent(estimate(MODEL, seq_len=LONG, policy="core_attention").flops.overhead)


def long() -> str:
    """A long context."""
    return text.tokens(LONG)


def full_costs() -> str:
    """What recomputing whole blocks costs at a long context."""
    return text.percent(estimate(MODEL, seq_len=LONG, policy="full").flops.overhead)


def save_attention_costs() -> str:
    """The same, when the attention op's output is kept."""
    return text.percent(estimate(MODEL, seq_len=LONG, policy="save_attention").flops.overhead)
