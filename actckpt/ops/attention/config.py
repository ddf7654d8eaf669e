"""How the attention kernels are launched: tiles, warps and pipeline stages for a head dimension, type and GPU.

The table follows from what a GPU has, in registers, shared memory and tensor memory, and from what the compiler
reports. None of it has been timed.
"""

from __future__ import annotations

from typing import NamedTuple

HEAD_DIMS = (16, 32, 64, 80, 96, 128, 192, 256)
"""The head dimensions that the kernels are built and tested for."""


class Launch(NamedTuple):
    """A launch configuration.

    Attributes:
        block_m: Queries in a tile.
        block_n: Keys in a tile.
        num_warps: Warps of 32 threads that share a tile.
        num_stages: Tiles that are in flight while one is computed.
    """

    block_m: int
    block_n: int
    num_warps: int
    num_stages: int


class Launches(NamedTuple):
    """What the three kernels that multiply matrices are launched with."""

    forward: Launch
    dk_dv: Launch
    dq: Launch


INTERPRETER = Launches(Launch(32, 16, 4, 1), Launch(16, 32, 4, 1), Launch(32, 16, 4, 1))
"""For the interpreter: small tiles of unequal sides, so that small shapes meet every kind of tile."""

# For 16-bit types, by what the tiles are read with, and by the widest tile that an entry is for. Unmeasured, all of
# them: chosen by what the compiler makes of them. Tiles in flight fit into shared memory: 163 KB on sm_80, 227 KB on
# sm_90 and sm_100, 99 KB on sm_89, which stands for all others. Within that they are the largest whose main loop keeps
# its registers and, on sm_90, lets matrix products run while it goes on. docs/evidence/machine-code.md shows both.
_HALF: dict[str, dict[int, Launches]] = {
    "sm_80": {
        64: Launches(Launch(128, 64, 4, 3), Launch(32, 128, 8, 2), Launch(128, 64, 8, 2)),
        128: Launches(Launch(128, 64, 8, 3), Launch(64, 64, 8, 2), Launch(64, 64, 8, 2)),
        256: Launches(Launch(128, 32, 8, 2), Launch(32, 64, 8, 1), Launch(64, 32, 8, 1)),
    },
    "sm_89": {
        64: Launches(Launch(128, 64, 4, 3), Launch(32, 128, 8, 2), Launch(128, 64, 8, 2)),
        128: Launches(Launch(128, 32, 8, 2), Launch(64, 64, 8, 2), Launch(64, 32, 4, 2)),
        256: Launches(Launch(64, 32, 8, 1), Launch(32, 32, 8, 1), Launch(32, 32, 8, 1)),
    },
    # with wgmma, a group of 4 warps multiplies 64 rows: 8 warps take 128
    "sm_90 descriptors": {
        64: Launches(Launch(128, 128, 8, 3), Launch(64, 128, 8, 3), Launch(128, 64, 8, 3)),
        128: Launches(Launch(128, 128, 8, 2), Launch(64, 128, 8, 3), Launch(128, 64, 8, 3)),
        256: Launches(Launch(128, 64, 8, 2), Launch(32, 64, 8, 2), Launch(128, 32, 8, 2)),
    },
    # pointers and their masks take registers: narrower tiles, and at D = 256 none in flight but for dK/dV; a thread
    # copies 16 bytes at a time, so few warps or many rows share a tile of rows of 32 bytes
    "sm_90 pointers": {
        16: Launches(Launch(128, 128, 8, 3), Launch(64, 64, 4, 3), Launch(128, 128, 8, 3)),
        64: Launches(Launch(128, 128, 8, 3), Launch(64, 128, 8, 3), Launch(128, 64, 8, 3)),
        128: Launches(Launch(128, 64, 8, 3), Launch(32, 128, 8, 2), Launch(128, 64, 8, 3)),
        256: Launches(Launch(128, 32, 8, 1), Launch(32, 64, 8, 2), Launch(128, 32, 8, 1)),
    },
    # accumulators live in tensor memory: 512 columns of 128 float32
    "sm_100": {
        64: Launches(Launch(128, 128, 8, 3), Launch(64, 128, 8, 2), Launch(128, 64, 8, 3)),
        128: Launches(Launch(128, 64, 8, 3), Launch(64, 128, 8, 2), Launch(128, 64, 8, 3)),
        256: Launches(Launch(128, 64, 8, 1), Launch(64, 64, 8, 1), Launch(64, 64, 8, 1)),
    },
}

# For float32, on every architecture: exact products run on the ordinary cores, fully unrolled, so tiles stay small
_SINGLE: dict[int, Launches] = {
    16: Launches(Launch(32, 32, 4, 2), Launch(32, 32, 4, 1), Launch(32, 32, 4, 1)),
    64: Launches(Launch(32, 32, 4, 2), Launch(32, 32, 8, 1), Launch(32, 32, 8, 1)),
    128: Launches(Launch(32, 32, 8, 1), Launch(16, 32, 8, 1), Launch(64, 16, 8, 1)),
    256: Launches(Launch(16, 32, 8, 1), Launch(16, 16, 8, 1), Launch(16, 16, 8, 1)),
}


def block_d(head_dim: int) -> int:
    """The width of a tile: the head dimension rounded up to a power of two, at least 16."""
    return max(16, 1 << (head_dim - 1).bit_length())


def launches(capability: tuple[int, int], itemsize: int, head_dim: int, descriptors: bool) -> Launches:
    """How to launch on a GPU.

    Args:
        capability: The GPU's compute capability, as (9, 0).
        itemsize: The bytes of an element: 2 or 4.
        head_dim: One of `HEAD_DIMS`.
        descriptors: Whether the kernels read through tensor descriptors.
    """
    if itemsize == 4:
        return _for_width(_SINGLE, head_dim)
    architecture = {(8, 0): "sm_80", (8, 7): "sm_80", (9, 0): "sm_90", (10, 0): "sm_100", (10, 3): "sm_100"}
    name = architecture.get(capability, "sm_89")
    if name == "sm_90":
        name = "sm_90 descriptors" if descriptors else "sm_90 pointers"
    return _for_width(_HALF[name], head_dim)


def _for_width(table: dict[int, Launches], head_dim: int) -> Launches:
    return next(entry for width, entry in table.items() if block_d(head_dim) <= width)
