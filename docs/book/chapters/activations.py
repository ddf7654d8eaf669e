"""The blocks of the chapter on what activations are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from markupsafe import Markup

from actckpt import PRESETS, Ledger, Step, Term
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


# what each layer keeps, in words: in Llama's block, and in the paper's
LLAMA_KEEPS = {
    "Norm 1": "its input, its output, and the rstd",
    "Attention": "q, k, v, the attention op's output and lse",
    "Norm 2": "its input, its output, and the rstd",
    "FFN": "gate, up, and their product",
    "Final norm": "its input, its output, and the rstd",
    "Logits and loss": "log-probabilities in float32",
}
PAPER_KEEPS = {
    "Norm 1": "its input",
    "Attention": "its input, q, k, v, the S × S matrices, the input of the o projection, and a mask",
    "Norm 2": "its input",
    "FFN": "its input, GELU's input and output, and a mask",
    "Final norm": "its input",
    "Logits and loss": "the input of the projection, and the logits in float32",
}
# the tensors of each norm
LLAMA_NORMS = {
    "attention": ("input", "norm_1.output", "norm_1.rstd"),
    "ffn": ("residual", "norm_2.output", "norm_2.rstd"),
}
PAPER_NORMS = {"attention": ("norm_1_input",), "ffn": ("norm_2_input",)}


def stack() -> Markup:
    """The layers of a Llama in the order in which they run, with what each keeps, as a figure."""

    def formula(terms: Ledger[int]) -> str:
        if any(term.component == "logits" for term in terms):
            return f"{fixed(per_sbv(terms), 2)}{NBSP}SBV"
        return f"{fixed(per_sbh(terms), 2)}{NBSP}SBH"

    return render(
        "layers",
        name="layers",
        title=f"What each layer of {LABEL} keeps for the backward pass",
        layers=list(_layers(LLAMA_STEP, LLAMA_NORMS, LLAMA_KEEPS, formula)),
        n_layers=CONFIG.n_layers,
        how=f"with flash attention at {AT}",
        assumes="Llama accounting with flash attention, one sequence, nothing recomputed.",
    )


def paper_stack() -> Markup:
    """The same of a GPT by the paper, at the sizes of that Llama."""
    return render(
        "layers",
        name="paper-layers",
        title="What each layer of a GPT keeps, by the paper",
        layers=list(_layers(PAPER_STEP, PAPER_NORMS, PAPER_KEEPS, symbolic)),
        n_layers=CONFIG.n_layers,
        how=f"at the sizes of {LABEL} and {AT}",
        assumes="Paper accounting, one sequence, nothing recomputed.",
    )


def _layers(
    step: Step[int],
    norms: Mapping[str, tuple[str, ...]],
    keeps: Mapping[str, str],
    formula: Callable[[Ledger[int]], str],
) -> Iterator[dict[str, Any]]:
    def layer(label: str, component: str, way: str, terms: Ledger[int]) -> dict[str, Any]:
        return {
            "label": label,
            "component": component,
            "way": way,
            "formula": formula(terms),
            "mib": _mib(terms),
            "keeps": keeps[label],
            "in_block": way != "plain",
        }

    for number, (half, names) in enumerate(norms.items(), start=1):
        yield layer(f"Norm {number}", "norm", "fork", named(step.block, names))
        yield layer(TITLES[half], half, "skip", _of(step.block, half))
        yield {"sum": True, "in_block": True}
    for label, component in (("Final norm", "norm"), ("Logits and loss", "logits")):
        yield layer(label, component, "plain", _of(step.head.ledger, component))


def _of(ledger: Ledger[int], component: str) -> Ledger[int]:
    return ledger.where(lambda term: term.component == component)


def _mib(terms: Iterable[Term[int]]) -> Markup:
    n_bytes = sum(term.bytes for term in terms)
    return data(n_bytes, fixed(n_bytes / 2**20, 1 if n_bytes >= 2**19 else 3))


def cards() -> Markup:
    """What each component of the paper's block keeps, as three cards."""
    words = {
        "attention": "The S × S matrices are the softmax before and after dropout, and the dropout mask.",
        "ffn": "Most of it is two tensors of four times the width, before and after GELU.",
        "norm": "Each of the two norms keeps its input. The paper leaves out their statistics.",
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
