"""The blocks of the chapter on memory over sequence length."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from actckpt.figures.memory import accountings_over_seq_len, policies_over_seq_len
from actckpt.notation import LATEX
from book.components.figure import figure
from book.components.table import table
from book.quantities.steps import LABEL, MODEL, kept, step
from book.quantities.text import times, tokens


def formula() -> str:
    """What a block of the paper keeps, as LaTeX."""
    form = step(accounting="paper").block.formula()
    return rf"$$\left( {form.written(LATEX)} \right) \text{{ bytes}}$$"


def accountings() -> Markup:
    """The chart of the three accountings."""
    return figure(
        accountings_over_seq_len,
        MODEL,
        name="accountings",
        caption="What all blocks of Llama 3.1 8B keep, in four ways of counting. Dotted is eager attention.",
        assumes="Batch size 1, nothing recomputed, without states, logits and loss; GiB of 2³⁰ bytes.",
        test="test_figures::test_accountings_over_seq_len",
    )


def policies() -> Markup:
    """The chart of what each policy leaves."""
    return figure(
        policies_over_seq_len,
        MODEL,
        name="policies",
        caption="What all blocks of Llama 3.1 8B keep under each policy. Blue and green say which half is recomputed.",
        assumes="Llama accounting with flash attention, batch size 1; GiB of 2³⁰ bytes.",
        test="test_figures::test_policies_over_seq_len",
    )


def doubling() -> Markup:
    """What twice the length does to what all blocks keep, as a table."""
    ways: dict[str, dict[str, Any]] = {
        "paper": {"accounting": "paper"},
        "Llama, eager": {"attention": "eager"},
        "Llama, flash": {"attention": "flash"},
    }
    rows = [
        (
            f"{tokens(length)} to {tokens(2 * length)}",
            *(times(kept(seq_len=2 * length, **how) / kept(seq_len=length, **how), 2) for how in ways.values()),
        )
        for length in (1024, 4096, 16_384, 65_536)
    ]
    return table(f"Activations of {LABEL}, times what they were", ("tokens", *ways), rows)
