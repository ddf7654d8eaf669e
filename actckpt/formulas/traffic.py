"""What attention moves between a GPU's memory and its cores, kernel by kernel, and how long that takes at least.

Standard attention is the FlashAttention paper's algorithm 0 and its backward pass (arXiv 2205.14135, §2.2 and appendix
B): every kernel reads its inputs from memory and writes its outputs there. Flash attention is the package's four
kernels: a tile stays on the chip while the other sequence goes past it. Only matrix multiplications count as FLOPs, and
nothing is masked: a causal mask halves what flash attention visits and a sliding window cuts it further, and neither
changes anything for standard attention.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from actckpt.config import ModelConfig
from actckpt.hardware import Accelerator


@dataclass(frozen=True)
class Shape:
    """The sizes of one attention op.

    Attributes:
        seq_len: S, of queries and of keys.
        head_dim: D.
        n_heads: Query heads.
        n_kv_heads: Key/value heads.
        itemsize: Bytes of an element.
    """

    seq_len: int
    head_dim: int
    n_heads: int = 1
    n_kv_heads: int = 1
    itemsize: int = 2

    @classmethod
    def of(cls, config: ModelConfig, seq_len: int) -> Shape:
        """The attention of one block of a model, batch size 1, in bfloat16."""
        return cls(seq_len, config.head_dim, config.n_heads, config.n_kv_heads)

    @property
    def q_bytes(self) -> int:
        """q; the output, do and dq are as large."""
        return self.n_heads * self.seq_len * self.head_dim * self.itemsize

    @property
    def kv_bytes(self) -> int:
        """k; v, dk and dv are as large."""
        return self.n_kv_heads * self.seq_len * self.head_dim * self.itemsize

    @property
    def matrix_bytes(self) -> int:
        """The scores of all heads; the probabilities are as large."""
        return self.n_heads * self.seq_len**2 * self.itemsize

    @property
    def row_bytes(self) -> int:
        """One float32 for each query of each head: lse, or delta."""
        return self.n_heads * self.seq_len * 4

    @property
    def matmul_flops(self) -> int:
        """One of attention's matrix multiplications, over all heads."""
        return 2 * self.n_heads * self.seq_len**2 * self.head_dim


@dataclass(frozen=True)
class Tiles:
    """How many rows stay on the chip while the other sequence goes past.

    Attributes:
        forward: Queries, in the forward kernel.
        dk_dv: Keys, in the kernel for dk and dv.
        dq: Queries, in the kernel for dq.
    """

    forward: int
    dk_dv: int
    dq: int


@dataclass(frozen=True)
class Kernel:
    """One kernel: what it reads from memory and writes to it, in bytes by tensor, and the FLOPs of its matmuls."""

    name: str
    reads: dict[str, int]
    writes: dict[str, int]
    flops: int = 0

    @property
    def bytes(self) -> int:
        """All that it moves."""
        return sum(self.reads.values()) + sum(self.writes.values())

    def memory_s(self, accelerator: Accelerator) -> float:
        """The time that moving it takes at full bandwidth."""
        return self.bytes / accelerator.bandwidth

    def matmul_s(self, accelerator: Accelerator) -> float:
        """The time that its matmuls take at the tensor cores' full rate."""
        return self.flops / accelerator.bf16_flops

    def bound_s(self, accelerator: Accelerator) -> float:
        """The least time it can take: moving and multiplying overlap, and the longer of the two decides."""
        return max(self.memory_s(accelerator), self.matmul_s(accelerator))


def standard_forward(shape: Shape) -> list[Kernel]:
    """Scores, softmax, values: the scores are written and read, and the probabilities as well."""
    q, kv, matrix = shape.q_bytes, shape.kv_bytes, shape.matrix_bytes
    return [
        Kernel("scores", {"q": q, "k": kv}, {"scores": matrix}, shape.matmul_flops),
        Kernel("softmax", {"scores": matrix}, {"probabilities": matrix}),
        Kernel("values", {"probabilities": matrix, "v": kv}, {"output": q}, shape.matmul_flops),
    ]


def standard_backward(shape: Shape) -> list[Kernel]:
    """The gradients of values, softmax and scores, from the probabilities that were kept."""
    q, kv, matrix, matmul = shape.q_bytes, shape.kv_bytes, shape.matrix_bytes, shape.matmul_flops
    return [
        Kernel("dv", {"probabilities": matrix, "do": q}, {"dv": kv}, matmul),
        Kernel("dp", {"do": q, "v": kv}, {"dp": matrix}, matmul),
        Kernel("ds", {"probabilities": matrix, "dp": matrix}, {"ds": matrix}),
        Kernel("dq", {"ds": matrix, "k": kv}, {"dq": q}, matmul),
        Kernel("dk", {"ds": matrix, "q": q}, {"dk": kv}, matmul),
    ]


def flash_forward(shape: Shape, tiles: Tiles | None = None) -> list[Kernel]:
    """One kernel. A tile of queries stays, and all keys and values go past each tile.

    Args:
        shape: The sizes.
        tiles: How many rows stay. Every load counts, as if no cache stood between memory and cores. Without it each
            tensor counts once: the least that can be moved, when a cache serves whatever is read again.
    """
    q, row = shape.q_bytes, shape.row_bytes
    kv = _loads(shape, tiles.forward if tiles else None)
    reads = {"q": q, "k": kv, "v": kv}
    return [Kernel("flash forward", reads, {"output": q, "lse": row}, 2 * shape.matmul_flops)]


def flash_backward(shape: Shape, tiles: Tiles | None = None) -> list[Kernel]:
    """Three kernels: delta and lse to base 2; dk and dv, past which the queries go; dq, past which the keys go.

    The scores and dp are computed by the second and again by the third: seven matmuls, where one kernel for all three
    gradients would need five and would have to add them up across tiles.

    Args:
        shape: The sizes.
        tiles: As for `flash_forward`.
    """
    q, kv, row = shape.q_bytes, shape.kv_bytes, shape.row_bytes
    passes = -(-shape.seq_len // tiles.dk_dv) if tiles else 1
    keys = _loads(shape, tiles.dq if tiles else None)
    return [
        Kernel("delta", {"output": q, "do": q, "lse": row}, {"delta": row, "lse to base 2": row}),
        Kernel(
            "dk and dv",
            {"k": kv, "v": kv, "q": passes * q, "do": passes * q, "lse": passes * row, "delta": passes * row},
            {"dk": kv, "dv": kv},
            4 * shape.matmul_flops,
        ),
        Kernel(
            "dq",
            {"q": q, "do": q, "lse": row, "delta": row, "k": keys, "v": keys},
            {"dq": q},
            3 * shape.matmul_flops,
        ),
    ]


def moved_bytes(kernels: Iterable[Kernel]) -> int:
    """What all of them move."""
    return sum(kernel.bytes for kernel in kernels)


def run_flops(kernels: Iterable[Kernel]) -> int:
    """What all of them multiply."""
    return sum(kernel.flops for kernel in kernels)


def bound_s(kernels: Iterable[Kernel], accelerator: Accelerator) -> float:
    """The least time that they can take one after another."""
    return sum(kernel.bound_s(accelerator) for kernel in kernels)


def largest_tile(sram_bytes: int, head_dim: int, itemsize: int = 2) -> int:
    """The rows of a tile when tiles of q, k, v and the output share the SRAM (arXiv 2205.14135, algorithm 1)."""
    return sram_bytes // (4 * head_dim * itemsize)


def _loads(shape: Shape, queries: int | None) -> int:
    """k, or v, as often as it is loaded: once for each tile of queries of each query head; None for once in all."""
    if queries is None:
        return shape.kv_bytes
    # a query head reads the keys of the key/value head that it shares: as many bytes as q has
    return -(-shape.seq_len // queries) * shape.q_bytes
