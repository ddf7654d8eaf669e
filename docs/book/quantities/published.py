"""Figures that others have measured and published: the only place where a cited number is written down.

Every other number of the site is computed. A page that cites one of these takes it from here, with its source.
"""

from __future__ import annotations

from dataclasses import dataclass

from book.quantities.sources import SOURCES, Source


@dataclass(frozen=True)
class Published:
    """One published figure.

    Attributes:
        value: The number as it stands in the source.
        unit: Its unit.
        what: What was measured, on what.
        source: Who published it.
        place: Where in the source it stands.
    """

    value: float
    unit: str
    what: str
    source: Source
    place: str

    @property
    def words(self) -> str:
        """The figure with its unit, kept on one line."""
        return f"{self.value:,g}\u00a0{self.unit}"


KORTHIKANTI, TORCHTITAN = SOURCES["korthikanti"], SOURCES["torchtitan"]
FLASH, AMPERE = SOURCES["dao"], SOURCES["ampere"]

_LAYER_22B = "forward and backward pass of one layer of the 22B model on A100"
_TRAINING_13B = "training of Llama 2 13B on 64 A100"
_ATTENTION_GPT2 = "forward and backward pass of attention on A100, GPT-2 medium, 1,024 tokens, batch size 64"
_POINTER_CHASE = "from a load to its value on A100"

PUBLISHED: dict[str, Published] = {
    "korthikanti_none": Published(19.6, "ms", f"{_LAYER_22B}, nothing recomputed", KORTHIKANTI, "Table 4"),
    "korthikanti_full": Published(27.2, "ms", f"{_LAYER_22B}, everything recomputed", KORTHIKANTI, "Table 4"),
    "korthikanti_selective": Published(20.9, "ms", f"{_LAYER_22B}, core attention recomputed", KORTHIKANTI, "Table 4"),
    "korthikanti_seq_len": Published(2048, "tokens", "sequence length of every model of the paper", KORTHIKANTI, "§6"),
    "gpt3_selective_saved": Published(
        70,
        "%",
        "activation memory of GPT-3 that recomputing core attention saves, with eager attention",
        KORTHIKANTI,
        "§5",
    ),
    "gpt3_selective_overhead": Published(
        2.7, "%", "FLOPs that recomputing core attention adds to GPT-3, with eager attention", KORTHIKANTI, "§5"
    ),
    "selective_flops_appendix": Published(
        4, "Bs²h", "FLOPs a layer that selective recomputation adds", KORTHIKANTI, "appendix A"
    ),
    "selective_flops_equation_8": Published(
        12, "Bs²h", "FLOPs a layer that selective recomputation adds", KORTHIKANTI, "equation 8"
    ),
    "torchtitan_none": Published(2162, "words/s", f"{_TRAINING_13B}, nothing recomputed", TORCHTITAN, "table"),
    "torchtitan_selective": Published(1904, "words/s", f"{_TRAINING_13B}, selective by op", TORCHTITAN, "table"),
    "sram_bandwidth": Published(19, "TB/s", "estimate for the on-chip memory of all SMs of an A100", FLASH, "§2.1"),
    "flash_standard_time": Published(41.7, "ms", f"{_ATTENTION_GPT2}, standard", FLASH, "figure 2"),
    "flash_flash_time": Published(7.3, "ms", f"{_ATTENTION_GPT2}, FlashAttention", FLASH, "figure 2"),
    "flash_standard_hbm": Published(40.3, "GB", f"{_ATTENTION_GPT2}, standard", FLASH, "figure 2"),
    "flash_flash_hbm": Published(4.4, "GB", f"{_ATTENTION_GPT2}, FlashAttention", FLASH, "figure 2"),
    "flash_standard_flops": Published(66.6, "GFLOP", f"{_ATTENTION_GPT2}, standard", FLASH, "figure 2"),
    "flash_flash_flops": Published(75.2, "GFLOP", f"{_ATTENTION_GPT2}, FlashAttention", FLASH, "figure 2"),
    "shared_latency": Published(23, "cycles", f"{_POINTER_CHASE}, shared memory", AMPERE, "table IV"),
    "l1_latency": Published(33, "cycles", f"{_POINTER_CHASE}, L1 cache", AMPERE, "table IV"),
    "l2_latency": Published(200, "cycles", f"{_POINTER_CHASE}, L2 cache", AMPERE, "table IV"),
    "hbm_latency": Published(290, "cycles", f"{_POINTER_CHASE}, global memory", AMPERE, "table IV"),
}


def more_time(slow: str, fast: str) -> float:
    """How much longer one of `PUBLISHED` takes than another, as a share: from times, or from rates."""
    one, other = PUBLISHED[slow], PUBLISHED[fast]
    if one.unit != other.unit:
        raise ValueError(f"{slow} is in {one.unit}, {fast} in {other.unit}")
    return (other.value / one.value if one.unit.endswith("/s") else one.value / other.value) - 1
