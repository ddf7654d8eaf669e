"""FLOPs by the workshop's rules, and where a Llama block has the same numbers."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

from actckpt import FlopRules
from actckpt.algebra import Form, Point, total
from actckpt.blocks.gpt import gpt_block
from actckpt.blocks.weights import Traits
from actckpt.formulas.flops import step_flops, workshop_overheads
from book.quantities.steps import CONFIG, LENGTHS, LONG, block_at, described, overhead

# forward FLOPs of attention and of the FFN in the worked example
EXAMPLE = (100, 300)
# S / H in the workshop's two cases, where S ≪ H counts as nothing, and in two more
CASES = {"S ≪ H": 0, "S = H": 1, "S = 2H": 2, "S = 4H": 4}
# the backward pass of a step, and the whole step, in forward passes
BACKWARD_FACTOR = int(step_flops(1, 0).backward)
STEP_FACTOR = 1 + BACKWARD_FACTOR


def coefficients(half: str) -> tuple[int, int]:
    """The coefficients of BSH² and of BS²H in the forward FLOPs of a half of the workshop's block, or of its core."""
    region = half if half == "core_attention" else f"{half}_half"
    form = total(stage.forward for stage in gpt_block(Traits(), "eager", FlopRules()).region(region))
    linear, squared = (Point({"B": 1, "H": 1}).count(form.coefficient("S", power)) for power in (1, 2))
    return linear, squared


def case_halves(ratio: int) -> tuple[int, int]:
    """Forward FLOPs of both halves in BSH², where S is `ratio` times H."""
    linear, squared = coefficients("attention")
    return linear + squared * ratio, coefficients("ffn")[0]


def overheads(ratio: int) -> dict[str, Fraction]:
    """What each strategy adds to a step there."""
    return workshop_overheads(*case_halves(ratio))


def case(name: str, strategy: str) -> float:
    """What a strategy adds to a step in one of `CASES`, as a share."""
    return float(overheads(CASES[name])[strategy])


def full(at: int) -> float:
    """What recomputing whole blocks adds in PyTorch, at one of `LENGTHS` in the order of what it adds."""
    return sorted(overhead("full", seq_len=length) for length in LENGTHS)[at]


@cache
def _forward(region: str) -> Form:
    return total(stage.forward for stage in described().region(region))


def forward_flops(seq_len: int, region: str = "forward") -> int:
    """Forward FLOPs of a Llama block, or of a region of it."""
    return Point(CONFIG.axes(seq_len)).count(_forward(region))


def backward_share(attention: str = "flash") -> float:
    """How many times its forward pass the backward pass of the attention op alone computes."""
    core = block_at(LONG, attention).region("core_attention")
    return sum(stage.backward for stage in core) / sum(stage.forward for stage in core)


def skipped_by_early_stop() -> float:
    """The share of a block's forward FLOPs that the down projection takes, at 1K tokens."""
    down = next(stage for stage in block_at(1024).stages if stage.writes == ("down_proj",))
    return down.forward / forward_flops(1024)


def length_of_the_example() -> int:
    """Where a Llama block has the example's ratio, in tokens."""

    def distance(seq_len: int) -> int:
        ffn, attention = (forward_flops(seq_len, f"{half}_half") for half in ("ffn", "attention"))
        return abs(ffn * EXAMPLE[0] - attention * EXAMPLE[1])

    return min(range(1024, 8192), key=distance)
