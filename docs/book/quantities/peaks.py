"""What the peak of a step is made of, and what fits a card: the cheapest policy, and the longest sequence."""

from __future__ import annotations

from functools import cache

from actckpt import POLICIES, Accelerator, FlopRules, Step, estimate
from book.quantities.steps import CARD, CONFIG, LONG, MODEL, RANKS, overhead, step

# no sequence beyond this is tried
LONGEST = 2**24


@cache
def cheapest(*, seq_len: int = LONG, ranks: int = RANKS, card: Accelerator = CARD) -> Step[int]:
    """The step with the fewest FLOPs whose peak a card holds, and of equal ones that with the lowest peak."""
    steps = [step(policy, seq_len=seq_len, data_parallel=ranks) for policy in POLICIES]
    fitting = [each for each in steps if each.peak_bytes <= card.memory_bytes]
    return min(fitting, key=lambda each: (each.flops.overhead, each.peak_bytes))


@cache
def longest(policy: str = "none", *, ranks: int = RANKS, card: Accelerator = CARD) -> int:
    """The longest sequence whose step a card holds, in tokens; 0 where not even one token fits."""
    fits, too_long = 0, LONGEST
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        peak = estimate(MODEL, seq_len=middle, policy=policy, data_parallel=ranks).peak_bytes
        fits, too_long = (middle, too_long) if peak <= card.memory_bytes else (fits, middle)
    return fits


def peak(policy: str = "none") -> int:
    """The most that is alive at any moment of the example's step on one rank, in bytes."""
    return step(policy, data_parallel=RANKS).peak_bytes


def working_set(policy: str) -> int:
    """What the peak has beside the states and what was saved, in bytes."""
    found = step(policy)
    return found.working_bytes - found.total_bytes - found.head.ledger.bytes


def logits() -> int:
    """What the loss saves of the logits, in bytes."""
    return step().head.ledger["loss.log_probabilities"].bytes


def logits_copies() -> int:
    """How many times the loss holds them at its peak."""
    full = step("full")
    return round((full.working_bytes - full.total_bytes) / logits())


def without_early_stop(policy: str) -> float:
    """What a policy adds to the FLOPs of the blocks where every recomputation runs to its end, as a share."""
    return overhead(policy, rules=FlopRules(early_stop=False))


def rewritten_seconds(policy: str, card: Accelerator = CARD) -> float:
    """The least time in which a card writes what a policy computes again, in seconds: its bytes over the bandwidth."""
    kept = {term.name for term in step(policy).block}
    again = step().block.where(lambda term: term.name not in kept)
    return CONFIG.n_layers * again.bytes / card.bandwidth
