"""What pages ask of a training step: what is kept, what is saved, what it costs. Every answer is a call into `actckpt`.

Each function takes the model of the examples at `LONG` tokens, nothing recomputed, as the real Llama block has it with
flash attention. What differs is said in its arguments, which are those of `actckpt.estimate`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from actckpt import ACCELERATORS, POLICIES, PRESETS, FlopRules, Ledger, Step, Term, estimate
from actckpt.algebra import Form, Point, total
from actckpt.blocks.block import Block
from actckpt.blocks.llama import llama_block
from actckpt.formulas.timeline import timeline
from actckpt.terms import ITEM_BYTES
from book.quantities.text import model_label

MODEL = "llama-3.1-8b"
CONFIG = PRESETS[MODEL]
LABEL = model_label(MODEL)
SIZES = ("llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b")
LONG = 16_384
LENGTHS = tuple(2**power for power in range(10, 18))
# ranks that share the training states where prose speaks of sharing
RANKS = 8
CARD = ACCELERATORS["h100-80gb"]


@cache
def step(policy: str = "none", *, model: str = MODEL, seq_len: int = LONG, **how: Any) -> Step[int]:
    return estimate(model, seq_len=seq_len, policy=policy, **how)


def kept(policy: str = "none", **how: Any) -> int:
    """What all blocks keep, in bytes."""
    return step(policy, **how).total_bytes


def block(policy: str = "none", **how: Any) -> int:
    """What one block keeps, in bytes."""
    return step(policy, **how).block.bytes


def saved(policy: str, **how: Any) -> float:
    """The share of what the blocks keep that a policy saves."""
    return 1 - kept(policy, **how) / kept(**how)


def overhead(policy: str, **how: Any) -> float:
    """What a policy adds to the FLOPs of the blocks, as a share."""
    return float(step(policy, **how).flops.overhead)


def states(model: str = MODEL, ranks: int = 1) -> int:
    """Parameters, gradients and Adam on one rank, in bytes."""
    return step(model=model, data_parallel=ranks).states.bytes


def overtaken(**how: Any) -> int:
    """The tokens of one sequence from which the activations take more than the training states on one rank."""
    return bisect_right(
        range(LENGTHS[-1]), states(), key=lambda seq_len: kept(seq_len=seq_len, **how) if seq_len else 0
    )


def grows(*, seq_len: int = LONG, **how: Any) -> float:
    """How many times as much a block keeps as at half the length."""
    return block(seq_len=seq_len, **how) / block(seq_len=seq_len // 2, **how)


def per_sbh(terms: Iterable[Term[int]], *, model: str = MODEL, seq_len: int = LONG) -> float:
    """The size of some tensors in bytes for each element of a hidden state."""
    return float(Ledger(tuple(terms)).bytes / (seq_len * PRESETS[model].hidden_size))


def sbh(policy: str = "none", **how: Any) -> float:
    """What a block keeps, in bytes for each element of a hidden state."""
    found = step(policy, **how)
    return per_sbh(found.block, model=found.model, seq_len=found.seq_len)


def formula(terms: Iterable[Term[int]], *, elements: bool = False) -> Form:
    """The size of some tensors as a formula, in bytes or in elements."""
    return total(term.formula() / (ITEM_BYTES[term.dtype] if elements else 1) for term in terms)


@cache
def peak_of_blocks(policy: str = "none") -> int:
    """The most that is alive while all blocks run forward and backward, in bytes: "none", "full" or `every_N`."""
    return max(each.bytes for each in timeline(CONFIG, seq_len=LONG, policy=POLICIES[policy]))


class Growth(NamedTuple):
    """What a block keeps as a function of S: `linear`·SBH + `squared`·nS²B, in bytes or in elements."""

    linear: float
    squared: float


@cache
def growth(
    policy: str = "none", component: str = "", *, model: str = MODEL, elements: bool = False, **how: Any
) -> Growth:
    """How what a block keeps, or one component of it, grows with the length."""
    config, block = PRESETS[model], step(policy, model=model, **how).block
    form = formula((term for term in block if component in ("", term.component)), elements=elements)
    linear, squared = (Point(config.axes(1, 1)).count(form.coefficient("S", power)) for power in (1, 2))
    return Growth(linear / config.hidden_size, squared / config.n_heads)


def described(attention: str = "flash") -> Block[Form]:
    """A block of the model of the examples, as the package describes it: in formulas."""
    return llama_block(CONFIG.traits, attention, FlopRules())


def block_at(seq_len: int, attention: str = "flash") -> Block[int]:
    """The same at a length."""
    return described(attention).map(Point(CONFIG.axes(seq_len)).count)
