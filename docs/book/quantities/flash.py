"""Attention of one block on one GPU: its sizes, its kernels, and what those move and multiply."""

from __future__ import annotations

from typing import NamedTuple

from actckpt import ACCELERATORS
from actckpt.formulas import traffic
from actckpt.formulas.traffic import Kernel, Shape, Tiles
from actckpt.ops.attention.config import launches
from book.quantities import tiles
from book.quantities.sources import PUBLISHED
from book.quantities.steps import CONFIG, LENGTHS, step
from book.quantities.text import Written, gb

SEQ_LEN = 4096
DEVICE = ACCELERATORS["a100-80gb"]
HEAD = CONFIG.head_dim
SHAPE, LONG_SHAPE = (Shape.of(CONFIG, seq_len) for seq_len in (SEQ_LEN, LENGTHS[-1]))
# an A100 has compute capability 8.0, and bfloat16 two bytes
LAUNCHES = launches((8, 0), 2, HEAD, descriptors=False)
LAUNCH = LAUNCHES.forward
TILES = Tiles(LAUNCH.block_m, LAUNCHES.dk_dv.block_n, LAUNCHES.dq.block_m)


class Kernels(NamedTuple):
    """The kernels of a forward and of a backward pass."""

    forward: list[Kernel]
    backward: list[Kernel]

    @property
    def both(self) -> list[Kernel]:
        return [*self.forward, *self.backward]


STANDARD = Kernels(traffic.standard_forward(SHAPE), traffic.standard_backward(SHAPE))
# each tensor is moved once
FLASH = Kernels(traffic.flash_forward(SHAPE), traffic.flash_backward(SHAPE))
# every load counts
LOADS = Kernels(traffic.flash_forward(SHAPE, TILES), traffic.flash_backward(SHAPE, TILES))


def traffic_growth(change: str) -> tuple[float, float, float]:
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


def attention_bytes(attention: str) -> int:
    """What one block's attention keeps, in bytes."""
    return int(step(seq_len=SEQ_LEN, attention=attention).block.component_bytes("attention"))


def moved(kernels: Kernels) -> Written:
    """What a forward pass moves."""
    return gb(traffic.moved_bytes(kernels.forward), 3)


def intensity(kernels: Kernels) -> float:
    """The FLOPs for each byte that is moved, forward and backward."""
    return traffic.run_flops(kernels.both) / traffic.moved_bytes(kernels.both)


def matmuls(kernels: Kernels) -> int:
    """The matmuls of forward and backward pass."""
    return traffic.run_flops(kernels.both) // SHAPE.matmul_flops


def more_flops() -> float:
    """What flash attention multiplies more than standard attention, as a share."""
    return matmuls(FLASH) / matmuls(STANDARD) - 1


def idle() -> float:
    """The share of the time in which standard attention leaves the tensor cores without work, at best."""
    kernels = STANDARD.both
    return 1 - sum(kernel.matmul_s(DEVICE) for kernel in kernels) / traffic.bound_s(kernels, DEVICE)


def bandwidth_ratio() -> float:
    """How much faster the on-chip memory is than HBM."""
    return PUBLISHED["sram_bandwidth"].value * 1e12 / DEVICE.bandwidth


def size_ratio() -> int:
    """How much larger HBM is than all on-chip memory, to two digits."""
    return int(round(DEVICE.memory_bytes / DEVICE.total_sram_bytes, -2))


def tile_bytes() -> int:
    """What one tile of keys takes."""
    return LAUNCH.block_n * HEAD * SHAPE.itemsize


def tile_counts() -> tuple[int, int, int]:
    """The tiles of one head's scores: in all, visited under a causal mask, and of those the ones that take a mask."""
    return tiles.counts(SEQ_LEN, LAUNCH.block_m, LAUNCH.block_n)
