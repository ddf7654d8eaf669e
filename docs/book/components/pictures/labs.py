"""The pictures at the top of the labs."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from actckpt.ops.attention.config import INTERPRETER
from book.components.pictures import svg
from book.components.pictures.opening import WIDTH, bars, opening
from book.components.pictures.tiles import grid
from book.quantities import text
from book.quantities.steps import LABEL, LONG, step
from book.quantities.tiles import counts

# of the lab's head: a row of four
TILES = 4
TOP, SIDE = 24, 132


def tiny_llama() -> Markup:
    """What one block keeps if nothing is recomputed, and if all of it is."""
    blocks = {policy: step(policy).block for policy in ("none", "full")}
    return opening(
        bars(
            (f"{policy}: {text.size(block.bytes)}", [(term.component, term.bytes) for term in block])
            for policy, block in blocks.items()
        ),
        name="kept-by-a-block",
        title="A block keeps far less under full",
        description="Two bars, tensor by tensor: what one block keeps if nothing is recomputed, and under the policy "
        "full, which keeps the block’s input alone.",
        caption=f"What one block of {LABEL} keeps under two policies, tensor by tensor. The lab trains a model small "
        "enough for a CPU.",
        made_by="actckpt.estimate",
        assumes=f"Llama accounting with flash attention, {LABEL}, {text.tokens(LONG)} tokens, bfloat16.",
        test="test_openings::test_what_a_block_keeps",
    )


def flash_attention() -> Markup:
    """The tiles of one causal head."""
    launch = INTERPRETER.forward
    sizes = (TILES * launch.block_n, launch.block_m, launch.block_n)
    everything, visited, _ = counts(*sizes)
    middle = (WIDTH + SIDE) / 2
    drawn = (
        svg.text(SIDE / 2 + 70, 14, "keys →", cls="ac-quiet", text_anchor="middle"),
        svg.text(58, TOP + SIDE / 2, "queries ↓", cls="ac-quiet", text_anchor="end"),
        "".join(grid(*sizes, x=70, y=TOP, side=SIDE)),
        svg.text(middle - 20, TOP + 40, f"{visited} tiles visited", cls="ac-said ac-attention"),
        svg.text(middle - 20, TOP + 64, f"{everything - visited} skipped", cls="ac-quiet"),
    )
    return opening(
        svg.svg(WIDTH, TOP + SIDE + 2, *drawn),
        name="tiles-of-a-head",
        title="Under a causal mask, tiles in the future are skipped",
        description="A grid of tiles of scores: queries from top to bottom, keys from left to right. Those on and "
        "below the diagonal are visited, those above are empty.",
        caption="The tiles of scores of one head, as long as the lab’s. Filled tiles are visited, dashed ones are not.",
        made_by=f"book.quantities.tiles.visits({', '.join(map(str, sizes))})",
        assumes=f"A causal mask, and the tiles of the forward pass in the interpreter: {launch.block_m} queries by "
        f"{launch.block_n} keys.",
        test="test_openings::test_the_tiles_of_a_head",
    )


OPENINGS: dict[str, Callable[[], Markup]] = {"tiny-llama": tiny_llama, "flash-attention": flash_attention}
"""By the name of the lab."""
