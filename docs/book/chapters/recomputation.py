"""The blocks of the chapter on recomputation, and the numbers in its prose."""

from __future__ import annotations

from functools import cache

from actckpt import POLICIES, PRESETS, estimate
from actckpt.formulas.timeline import timeline
from book.components.pictures import baseline as baseline_picture
from book.components.pictures import block_map as block_map_picture
from book.components.pictures import checkpointed, passes
from book.quantities import text

MODEL, SEQ_LEN = passes.MODEL, passes.SEQ_LEN
CONFIG = PRESETS[MODEL]
SBH = SEQ_LEN * CONFIG.hidden_size


def baseline() -> str:
    """The step that stores everything."""
    return baseline_picture.picture()


def checkpointing() -> str:
    """The step that keeps checkpoints."""
    return checkpointed.picture()


def block_map() -> str:
    """The map of a block under each policy."""
    return block_map_picture.picture()


def strategies() -> str:
    """What each strategy leaves, by each accounting, as a table."""
    names = [name for name, policy in POLICIES.items() if policy.strategy]
    rows = "".join(_strategy_row(name) for name in ["none", *names, "full"])
    return text.table(
        "What a block keeps, in bytes",
        ("recomputed", "workshop", "paper", "Llama", f"Llama at {text.tokens(SEQ_LEN)}"),
        rows,
    )


def _strategy_row(policy: str) -> str:
    strategy = POLICIES[policy].strategy
    letter = f"<strong>{strategy}</strong> " if strategy else ""
    size = text.size(estimate(MODEL, seq_len=SEQ_LEN, policy=policy).block.bytes)
    # the workshop has no checkpoint round a whole block
    workshop = "–" if policy == "full" else _terms(policy, "workshop")
    return (
        f'<tr><th scope="row">{letter}<code>{policy}</code></th><td>{workshop}</td><td>{_terms(policy, "paper")}</td>'
        f"<td>{_terms(policy, 'llama')}</td><td>{size}</td></tr>"
    )


@cache
def growth(policy: str, accounting: str) -> tuple[float, int]:
    """The coefficients of SBH and of nS²B in what a block keeps under a policy."""
    short = 1024
    once, twice = (
        estimate(MODEL, seq_len=s, policy=policy, accounting=accounting).block.bytes for s in (short, 2 * short)
    )
    # twice the length doubles the linear part, and makes the squared one four times as large
    linear, squared = (4 * once - twice) / 2, (twice - 2 * once) // 2
    return linear / (short * CONFIG.hidden_size), squared // (short**2 * CONFIG.n_heads)


def _terms(policy: str, accounting: str) -> str:
    linear, squared = growth(policy, accounting)
    coefficient = text.fixed(linear, 2 if accounting == "llama" else 0)
    return f"{coefficient} SBH" + (f" + {squared} nS²B" if squared else "")


@cache
def _deep_peak(policy: str) -> int:
    # the whole depth of the model, rather than the picture's
    return max(each.bytes for each in timeline(CONFIG, seq_len=SEQ_LEN, policy=POLICIES[policy]))


def n_layers() -> str:
    """The layers of the whole model."""
    return str(CONFIG.n_layers)


def model() -> str:
    """The model's name."""
    return text.model_label(MODEL)


def deep_peak_stored() -> str:
    """The peak of all layers when everything is stored."""
    return text.size(_deep_peak("none"))


def deep_peak_rebuilt() -> str:
    """The peak of all layers when each is rebuilt from its checkpoint."""
    return text.size(_deep_peak("full"))


def all_checkpoints() -> str:
    """The checkpoints of all layers together."""
    return text.size(estimate(MODEL, seq_len=SEQ_LEN, policy="full").total_bytes)


def one_layer() -> str:
    """What one block stores with nothing recomputed."""
    return text.size(passes.block_bytes("none"))


def one_checkpoint() -> str:
    """What one block stores when it is checkpointed."""
    return text.size(passes.block_bytes("full"))


def _longer(accounting: str) -> str:
    short, long = (estimate(MODEL, seq_len=s, accounting=accounting).block.bytes for s in (SEQ_LEN // 2, SEQ_LEN))
    return f"{text.fixed(long / short, 1)}\u00a0×"


def longer_llama() -> str:
    """By how much a block with flash attention grows when the sequence is twice as long."""
    return _longer("llama")


def longer_paper() -> str:
    """The same for the paper's block, whose attention stores its scores."""
    return _longer("paper")


def overhead() -> str:
    """What rebuilding every block adds to the FLOPs."""
    return text.percent(estimate(MODEL, seq_len=SEQ_LEN, policy="full").flops.overhead)


def sbh() -> str:
    """The number of elements of a hidden state."""
    return f"{SBH:,}"


def checkpoint_linear() -> str:
    """A checkpoint, in bytes for each element of a hidden state."""
    return text.fixed(growth("full", "paper")[0], 0)


def paper_linear() -> str:
    """The paper's block without its quadratic term, in the same unit."""
    return text.fixed(growth("none", "paper")[0], 0)


def llama_linear() -> str:
    """The Llama block, in the same unit."""
    return text.fixed(growth("none", "llama")[0], 2)


def smaller_as_told() -> str:
    """How much smaller a checkpoint is where every byte of the block is taken for an element of two bytes."""
    return f"{text.fixed(growth('none', 'workshop')[0] / growth('full', 'paper')[0], 0)}\u00a0×"


def smaller_linear() -> str:
    """How much smaller a checkpoint is than the linear part of the paper's block, both in bytes."""
    return f"{text.fixed(growth('none', 'paper')[0] / growth('full', 'paper')[0], 0)}\u00a0×"


def smaller_with_scores() -> str:
    """The same with the scores that the paper's block stores."""
    none, full = (estimate(MODEL, seq_len=SEQ_LEN, policy=name, accounting="paper").block for name in ("none", "full"))
    return f"{text.fixed(none.bytes / full.bytes, 0)}\u00a0×"


def smaller_llama() -> str:
    """The same for the real block with flash attention."""
    return f"{text.fixed(passes.block_bytes('none') / passes.block_bytes('full'), 0)}\u00a0×"


def rstd() -> str:
    """What an RMSNorm stores of its statistics."""
    return text.size(estimate(MODEL, seq_len=SEQ_LEN).block["norm_1.rstd"].bytes)


def left_as_told() -> str:
    """What the workshop leaves with both halves recomputed, in its own elements of SBH."""
    return f"{text.fixed(growth('both', 'workshop')[0] / 2, 0)} SBH"


def left_workshop() -> str:
    """The same in bytes for each element of a hidden state."""
    return text.fixed(growth("both", "workshop")[0], 0)


def left_paper() -> str:
    """What the paper's terms leave with both halves recomputed and a checkpoint added."""
    return text.fixed(growth("both", "paper")[0], 0)


def left_both() -> str:
    """What a Llama block keeps with each half checkpointed by itself."""
    return text.fixed(growth("both", "llama")[0], 0)


def left_full() -> str:
    """What it keeps with one checkpoint round the whole block."""
    return text.fixed(growth("full", "llama")[0], 0)


def _overhead_of(policy: str) -> str:
    return text.percent(estimate(MODEL, seq_len=SEQ_LEN, policy=policy).flops.overhead)


def overhead_attention() -> str:
    """What recomputing the attention half adds to the FLOPs."""
    return _overhead_of("attention")


def overhead_ffn() -> str:
    """What recomputing the FFN half adds."""
    return _overhead_of("ffn")


def overhead_save_attention() -> str:
    """What recomputing all but the attention op adds."""
    return _overhead_of("save_attention")


def _gone(policy: str) -> str:
    none, left = (estimate(MODEL, seq_len=SEQ_LEN, policy=name).block.bytes for name in ("none", policy))
    return text.percent(1 - left / none, 0)


def gone_attention() -> str:
    """The share of a Llama block's memory that recomputing its attention half saves."""
    return _gone("attention")


def gone_ffn() -> str:
    """The same for its FFN half."""
    return _gone("ffn")


def save_attention_linear() -> str:
    """What is left when the attention op's output is kept."""
    return text.fixed(growth("save_attention", "llama")[0], 2)
