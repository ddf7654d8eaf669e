"""The numbers that stand in the prose of the chapter on compute cost."""

from __future__ import annotations

from typing import Any

import numpy as np

from actckpt import PRESETS, FlopRules, estimate
from actckpt.algebra import Grid
from actckpt.blocks.llama import llama_block
from actckpt.formulas.flops import workshop_overheads
from book.chapters.compute_cost import CASES, EXAMPLE, LENGTHS, MODEL, block, coefficients, full, overheads
from book.quantities import text


def example_attention() -> str:
    """Attention's FLOPs in the worked example."""
    return str(EXAMPLE[0])


def example_ffn() -> str:
    """The FFN's FLOPs in the worked example."""
    return str(EXAMPLE[1])


def example_ratio() -> str:
    """How many times as many FLOPs the example's FFN has as its attention."""
    return f"{EXAMPLE[1] / EXAMPLE[0]:g}"


def workshop_ratio() -> str:
    """The largest such ratio that the workshop's own block has: at no length at all."""
    return f"{coefficients('ffn')[0] / coefficients('attention')[0]:g}"


def llama_length_of_the_example() -> str:
    """Where a Llama block has the example's ratio, in tokens."""
    lengths = np.arange(1024, 8192)
    forward = _llama_halves(lengths)
    distance = abs(forward["ffn"] * EXAMPLE[0] - forward["attention"] * EXAMPLE[1])
    return f"{lengths[np.argmin(distance)]:,}"


def end_of_the_ranges() -> str:
    """Where the workshop's ranges end, in tokens."""
    return f"{PRESETS[MODEL].hidden_size:,}"


def case(name: str, strategy: str) -> str:
    """One overhead of the table of cases."""
    return text.percent(float(overheads(CASES[name])[strategy]))


def attention_range() -> str:
    """What attention adds from the first to the last of the workshop's cases."""
    return f"{case('S ≪ H', 'attention')} to {case('S = H', 'attention')}"


def attention_8k() -> str:
    """What attention adds at 8K tokens."""
    return case("S = 2H", "attention")


def ffn_8k() -> str:
    """What the FFN adds at 8K tokens."""
    return case("S = 2H", "ffn")


def attention_16k() -> str:
    """What attention adds at 16K tokens."""
    return case("S = 4H", "attention")


def ffn_16k() -> str:
    """What the FFN adds at 16K tokens."""
    return case("S = 4H", "ffn")


def full_range() -> str:
    """What recomputing whole blocks adds in PyTorch, over all lengths."""
    shares = full(LENGTHS, FlopRules()).flops.overhead
    return f"{text.fixed(100 * min(shares), 1)} to {text.percent(max(shares))}"


def always() -> str:
    """What recomputing everything adds by the workshop's rules."""
    return text.percent(float(workshop_overheads(*EXAMPLE)["both"]))


def flash_backward() -> str:
    """How many times its forward pass flash attention's backward pass computes."""
    stage = next(stage for stage in block(1024).region("core_attention") if stage.kind == "flash")
    return f"{stage.backward / stage.forward:g}\u00a0×"


def skipped_by_early_stop() -> str:
    """The share of a block's forward FLOPs that the down projection takes, at 1K tokens."""
    stages = block(1024).stages
    down = next(stage for stage in stages if stage.writes == ("down_proj",))
    return text.percent(down.forward / sum(stage.forward for stage in stages), 0)


def full_at_most() -> str:
    """What `full` adds at the longest sequence."""
    return text.percent(full(LENGTHS, FlopRules()).flops.overhead[-1])


def save_attention_at_most() -> str:
    """What `save_attention` adds there."""
    return text.percent(estimate(MODEL, seq_len=int(LENGTHS[-1]), policy="save_attention").flops.overhead)


def longest() -> str:
    """The longest sequence."""
    return text.tokens(int(LENGTHS[-1]))


def _llama_halves(lengths: Any) -> dict[str, Any]:
    config = PRESETS[MODEL]
    forms, grid = llama_block(config.traits, "flash", FlopRules()), Grid({**config.axes(1), "S": lengths})
    return {
        half: sum(grid.counts(stage.forward) for stage in forms.region(f"{half}_half")) for half in ("attention", "ffn")
    }
