"""The blocks of the chapter on memory over sequence length."""

from __future__ import annotations

from typing import Any

from actckpt import estimate
from actckpt.figures.drawing import LENGTHS
from actckpt.figures.memory import accountings_over_seq_len, policies_over_seq_len
from book.components import explorer as explorers
from book.components import figure
from book.quantities import numbers, text
from book.quantities.grid import View

VIEW = View(
    name="lengths",
    heading="What stays in memory, length by length",
    models=("llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b"),
    accountings=("workshop", "paper", "llama"),
    policies=("none", "attention", "ffn", "both", "full"),
    lengths=tuple(range(1024, 16 * 1024 + 1, 1024)),
    opens={"model": "llama-3.1-8b", "accounting": "workshop", "policy": "none", "seq_len": 16384, "ranks": 1},
    chart="columns",
)


def explorer() -> str:
    """The explorer."""
    return explorers.explorer(VIEW)


def formula() -> str:
    """What a block of the paper keeps, as LaTeX."""
    linear, squared = numbers.growth("paper")
    return rf"$$\left( {linear}\,S B H + {squared}\,n S^2 B \right) \text{{ bytes}}$$"


def accountings() -> str:
    """The chart of the three accountings."""
    return figure.figure(
        accountings_over_seq_len("llama-3.1-8b"),
        name="accountings",
        made_by='actckpt.figures.memory.accountings_over_seq_len("llama-3.1-8b")',
        assumes="All blocks of Llama 3.1 8B, batch size 1, nothing recomputed, without states, logits and loss; "
        "dotted is eager attention; GiB of 2³⁰ bytes.",
        test="test_figures::test_accountings_over_seq_len",
    )


def policies() -> str:
    """The chart of what each policy leaves."""
    return figure.figure(
        policies_over_seq_len("llama-3.1-8b"),
        name="policies",
        made_by='actckpt.figures.memory.policies_over_seq_len("llama-3.1-8b")',
        assumes="Llama accounting with flash attention, all blocks of Llama 3.1 8B, batch size 1; "
        "blue and green for the half that is recomputed; GiB of 2³⁰ bytes.",
        test="test_figures::test_policies_over_seq_len",
    )


def doubling() -> str:
    """What twice the length does to what all blocks keep, as a table."""
    ways: dict[str, dict[str, Any]] = {
        "paper": {"accounting": "paper"},
        "Llama, eager": {"attention": "eager"},
        "Llama, flash": {"attention": "flash"},
    }
    rows = "".join(
        f'<tr><th scope="row">{text.tokens(length)} to {text.tokens(2 * length)}</th>'
        + "".join(f"<td>{_growth(length, how)}</td>" for how in ways.values())
        + "</tr>"
        for length in (1024, 4096, 16_384, 65_536)
    )
    return text.table(
        f"Activations of {text.model_label(numbers.LLAMA_8B)}, times what they were", ("tokens", *ways), rows
    )


def longest() -> str:
    """The longest sequence of the explorer."""
    return text.tokens(VIEW.lengths[-1])


def longest_of_the_charts() -> str:
    """The longest sequence of the charts."""
    return text.tokens(LENGTHS[-1])


def _growth(length: int, how: dict[str, Any]) -> str:
    once, twice = (estimate(numbers.LLAMA_8B, seq_len=s, **how).total_bytes for s in (length, 2 * length))
    return f"{text.fixed(twice / once, 2)}\u00a0×"
