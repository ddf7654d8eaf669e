"""Which policy: all that a view offers, cheapest first, and which of them fit a card."""

from __future__ import annotations

from collections.abc import Sequence

from actckpt import ACCELERATORS, Accelerator, InputError, Step, estimate
from actckpt.hardware import GB
from book.quantities.grid import View
from book.quantities.text import NBSP, gib

# of each kind of card the one with the most memory
_BY_MEMORY = sorted(ACCELERATORS.values(), key=lambda card: card.memory_bytes)
CARDS = tuple({short: card for card in _BY_MEMORY for short in [card.label.split()[0]]}.values())
# what is larger than so many cards is counted in cards
MANY = 2


def choices(view: View) -> list[Step[int]]:
    """The steps of a view as it opens, one for each policy that its accounting has, fewest FLOPs first."""
    opens, found = view.opens, []
    for policy in view.policies:
        try:
            found.append(
                estimate(
                    opens["model"],
                    seq_len=opens["seq_len"],
                    policy=policy,
                    accounting=opens["accounting"],
                    attention=view.kinds(opens["accounting"])[0],
                    data_parallel=opens["ranks"],
                )
            )
        except InputError:
            continue
    return sorted(found, key=lambda step: float(step.flops.overhead))


def cheapest(steps: Sequence[Step[int]], card: Accelerator) -> Step[int] | None:
    """The first step that fits a card."""
    return next((step for step in steps if step.peak_bytes <= card.memory_bytes), None)


def nearest_miss(steps: Sequence[Step[int]], card: Accelerator) -> Step[int] | None:
    """Of the steps before the first that fits, the smallest; None where the first one fits."""
    fits = cheapest(steps, card)
    before = steps[: steps.index(fits)] if fits else steps
    return min(before, key=lambda step: step.peak_bytes, default=None)


def chosen(view: View) -> Step[int]:
    """The step that a view opens with: of its policy, or where it has none, the cheapest that fits its card."""
    if view.opens["policy"] is not None:
        return view.step(view.opens["seq_len"], view.opens["policy"])
    steps, card = choices(view), ACCELERATORS[view.opens["card"]]
    return cheapest(steps, card) or min(steps, key=lambda step: step.peak_bytes)


def short(card: Accelerator) -> str:
    """The kind of a card: "H100"."""
    return card.label.split()[0]


def room(card: Accelerator, peak_bytes: int) -> str:
    """How a step fits a card, in words; what is far too large is counted in cards."""
    spare = card.memory_bytes - peak_bytes
    if spare >= 0:
        return f"fits, {gib(spare, 1)} to spare"
    if peak_bytes <= MANY * card.memory_bytes:
        return f"too large by {gib(-spare, 1)}"
    return f"as large as {-(-peak_bytes // card.memory_bytes):,} cards of {card.datasheet_bytes // GB}{NBSP}GB"


def holds(peak_bytes: int) -> str:
    """The kinds of card that a step fits."""
    return ", ".join(short(card) for card in CARDS if peak_bytes <= card.memory_bytes) or "none"


def standing(step: Step[int], steps: Sequence[Step[int]], card: Accelerator) -> str:
    """What a step is among the others, as a sentence."""
    fits = cheapest(steps, card)
    if fits is None:
        return "No policy fits."
    if fits.policy == step.policy:
        return "The cheapest that fits."
    return f"The cheapest that fits is {fits.policy.name}."


def described_card(card: Accelerator) -> str:
    """The memory of a card, as it is sold and as its driver reports it."""
    sold = f"{card.datasheet_bytes // GB}{NBSP}GB"
    return f"Sold as {sold}; its driver reports {gib(card.memory_bytes, 1)}."
