"""The blocks of the chapter on what activations are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from markupsafe import Markup

from actckpt import PRESETS, Ledger, Term
from actckpt.notation import LATEX
from book.components.table import table
from book.components.template import data, render, swatch
from book.quantities import steps
from book.quantities.steps import CONFIG, LABEL, SIZES
from book.quantities.tensors import (
    LLAMA,
    LLAMA_STEP,
    PAPER,
    PAPER_BLOCK,
    PAPER_STEP,
    REPLACED,
    SEQ_LEN,
    llama_form,
    named,
    per_sbh,
    per_sbv,
    symbolic,
)
from book.quantities.text import NBSP, fixed, model_label

AT = f"S{NBSP}={NBSP}{SEQ_LEN:,}"
LLAMA_BLOCK = LLAMA_STEP.block
TITLES = {"attention": "Attention", "ffn": "FFN", "norm": "LayerNorm"}


def stack() -> Markup:
    """The layers of a model in the order in which they run, with what each keeps, as a figure."""
    return render("layers", label=LABEL, at=AT, n_layers=CONFIG.n_layers, layers=list(_layers()))


def _layers() -> Iterator[dict[str, Any]]:
    # the tensors of the norms before each half
    norms = {
        "attention": ("Norm 1", ["norm_1_input"], ("input", "norm_1.output", "norm_1.rstd")),
        "ffn": ("Norm 2", ["norm_2_input"], ("residual", "norm_2.output", "norm_2.rstd")),
    }
    for half, (norm, before, after) in norms.items():
        cells = _cells(named(PAPER_BLOCK, before), named(LLAMA_BLOCK, after))
        yield {"label": norm, "component": "norm", "way": "fork", "cells": cells, "in_block": True}
        cells = _cells(_of(PAPER_BLOCK, half), _of(LLAMA_BLOCK, half))
        yield {"label": TITLES[half], "component": half, "way": "skip", "cells": cells, "in_block": True}
        yield {"sum": True, "in_block": True}
    for label, component in (("Final norm", "norm"), ("Logits and loss", "logits")):
        cells = _cells(*(_of(step.head.ledger, component) for step in (PAPER_STEP, LLAMA_STEP)))
        yield {"label": label, "component": component, "way": "plain", "cells": cells, "in_block": False}


def _of(ledger: Ledger[int], component: str) -> Ledger[int]:
    return ledger.where(lambda term: term.component == component)


def _cells(paper: Ledger[int], llama: Ledger[int]) -> list[tuple[str, Markup]]:
    logits = any(term.component == "logits" for term in llama)
    formula = f"{fixed(per_sbv(llama), 2)}{NBSP}SBV" if logits else f"{fixed(per_sbh(llama), 2)}{NBSP}SBH"
    return [(symbolic(paper), _mib(paper)), (formula, _mib(llama))]


def _mib(terms: Iterable[Term[int]]) -> Markup:
    n_bytes = sum(term.bytes for term in terms)
    return data(n_bytes, fixed(n_bytes / 2**20, 1 if n_bytes >= 2**19 else 3))


def cards() -> Markup:
    """What each component of the paper's block keeps, as three cards."""
    words = {
        "attention": "Its S × S matrices are the softmax before and after dropout, and the dropout mask between them.",
        "ffn": "Two tensors of four times the width, before and after GELU, are most of it.",
        "norm": "Two norms, and each keeps its input. The two statistics a token are left out.",
    }
    items = [
        (
            component,
            title,
            symbolic(_of(PAPER_BLOCK, component)),
            words[component],
            fixed(per_sbh(_of(LLAMA_BLOCK, component)), 2),
        )
        for component, title in TITLES.items()
    ]
    return render("cards", label=LABEL, items=items)


def total() -> str:
    """What the paper's block keeps, as LaTeX."""
    form = PAPER_BLOCK.formula().written(LATEX)
    return rf"$$M_\text{{block}} = \left( {form} \right) \text{{ bytes}}$$"


def elements() -> Markup:
    """The paper's total, split by the size of an element, as a table."""
    parts = {
        "activations, bfloat16": PAPER_BLOCK.where(lambda term: term.dtype == "bfloat16"),
        "dropout masks": PAPER_BLOCK.where(lambda term: term.dtype == "bool"),
        "sum": PAPER_BLOCK,
    }
    *rows, foot = ((words, symbolic(part, elements=True), symbolic(part)) for words, part in parts.items())
    return table("The paper's block", ("", "elements", "bytes"), rows, foot)


def paper_terms() -> Markup:
    """The paper's block, tensor by tensor, as a table."""
    return _terms(f"The paper's block, {AT}", PAPER_BLOCK, PAPER, symbolic)


def llama_terms() -> Markup:
    """The Llama block, tensor by tensor, as a table."""
    caption = f"A block of {LABEL}, flash attention, {AT}"
    return _terms(caption, LLAMA_BLOCK, LLAMA, lambda terms: f"{fixed(per_sbh(terms), 3)} SBH")


def _terms(caption: str, block: Ledger[int], words: dict[str, tuple[str, str]], size: Any) -> Markup:
    rows = [
        (
            swatch(term.component) + words[term.name][0],
            size([term]),
            _mib([term]),
            "mask" if term.dtype == "bool" else term.dtype,
            words[term.name][1],
        )
        for term in block
    ]
    head = ("tensor", "bytes", "MiB", "type", "needed for")
    return table(caption, head, rows, ("sum", size(block), _mib(block), "", ""), kind="terms")


def llama_formula() -> str:
    """What a Llama block keeps without its statistics in float32, as LaTeX."""
    return rf"$$M_\text{{block}} \approx \left( {llama_form().written(LATEX)} \right) S\,B\,H \text{{ bytes}}$$"


def models() -> Markup:
    """Three sizes of Llama, side by side, as a table."""
    rows = []
    for name in SIZES:
        config, block = PRESETS[name], steps.step(model=name, seq_len=SEQ_LEN).block
        unfused = (*block, block["swiglu.product"])
        rows.append(
            (
                model_label(name),
                f"{config.n_kv_heads} / {config.n_heads}",
                f"{config.ffn_size / config.hidden_size:g}",
                *(fixed(per_sbh(terms, name), 2) for terms in (block, unfused)),
            )
        )
    head = ("", Markup("n<sub>kv</sub> / n"), "F / H", "bytes per SBH", "SwiGLU not fused")
    return table("The same block at three sizes", head, rows)


def differences() -> Markup:
    """What replaced what, part by part, as a table."""
    rows = [
        (words, fixed(per_sbh(named(PAPER_BLOCK, before)), 2), fixed(per_sbh(named(LLAMA_BLOCK, after)), 2))
        for words, before, after in REPLACED
    ]
    foot = ("sum", fixed(per_sbh(PAPER_BLOCK), 2), fixed(per_sbh(LLAMA_BLOCK), 2))
    return table(f"Bytes per SBH of one block, {AT}", ("", "paper", LABEL), rows, foot)
