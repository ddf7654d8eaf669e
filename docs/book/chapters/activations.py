"""The blocks of the chapter on what activations are."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from actckpt import PRESETS, Ledger, Term, estimate
from book.quantities import text
from book.quantities.blocks import (
    LABEL,
    LLAMA,
    MODEL,
    PAPER,
    REPLACED,
    SEQ_LEN,
    SIZES,
    coefficients,
    llama_coefficients,
    mib,
    named,
    per_sbh,
    per_sbv,
    step,
    symbolic,
)

AT = f"S\u00a0=\u00a0{SEQ_LEN:,}"
CARDS = {
    "attention": "Its S × S matrices are the softmax before and after dropout, and the dropout mask between them.",
    "ffn": "Two tensors of four times the width, before and after GELU, are most of it.",
    "norm": "Two norms, and each keeps its input. The two statistics a token are left out.",
}
TITLES = {"attention": "Attention", "ffn": "FFN", "norm": "LayerNorm"}


def stack() -> str:
    """The layers of a model in the order in which they run, with what each keeps, as a figure."""
    return (
        '<figure class="ac-layers" aria-labelledby="layers-title">'
        '<p class="ac-figure__title" id="layers-title">What each layer keeps for the backward pass</p>'
        '<div class="ac-table" tabindex="0" role="region" aria-label="What each layer keeps"><table class="ac-numbers">'
        '<thead><tr><td></td><th scope="col">layer</th><th scope="col">a GPT, by the paper</th>'
        f'<th scope="col">{LABEL}</th></tr></thead><tbody>{"".join(_stack_rows())}</tbody></table></div>'
        f"<figcaption>Bytes, and below them MiB at the sizes of {LABEL}: {AT}, one sequence, nothing recomputed. The "
        "line on the left is the residual stream, which passes by each half of a block and is added to what the half "
        "returns. Made by <code>actckpt.estimate</code> under both accountings, with flash attention for Llama; held "
        'by <a href="@/evidence/tests/#test_chapters"><code>test_chapters</code></a>.</figcaption></figure>'
    )


def cards() -> str:
    """What each component of the paper's block keeps, as three cards."""
    items = "".join(
        f'<li class="ac-card ac-{component}"><p class="ac-card__title">{title}</p>'
        f'<p class="ac-card__figure ac-n">{symbolic(_paper(component))}</p><p>{CARDS[component]}</p>'
        f'<p class="ac-card__real">{LABEL}: <span class="ac-n">{per_sbh(_llama(component))} SBH</span></p></li>'
        for component, title in TITLES.items()
    )
    return f'<ul class="ac-cards">{items}</ul>'


def total() -> str:
    """What the paper's block keeps, as LaTeX."""
    sums = coefficients(PAPER)
    return rf"$$M_\text{{block}} = \left( {sums['SBH']}\,S B H + {sums['nS²B']}\,n S^2 B \right) \text{{ bytes}}$$"


def elements() -> str:
    """The paper's total, split by the size of an element, as a table."""
    block = step("paper").block
    parts = {
        "activations, bfloat16": block.where(lambda term: term.dtype == "bfloat16"),
        "dropout masks": block.where(lambda term: term.dtype == "bool"),
        "sum": block,
    }
    *rows, foot = (
        f'<tr><th scope="row">{words}</th><td>{symbolic(part, elements=True)}</td><td>{symbolic(part)}</td></tr>'
        for words, part in parts.items()
    )
    return text.table("The paper's block", ("", "elements", "bytes"), "".join(rows), foot)


def paper_terms() -> str:
    """The paper's block, tensor by tensor, as a table."""
    block = step("paper").block
    rows = "".join(_term_row(term, PAPER[term.name], symbolic([term])) for term in block)
    return _terms_table(f"The paper's block, {AT}", rows, block, symbolic(block))


def llama_terms() -> str:
    """The Llama block, tensor by tensor, as a table."""
    block = step("llama").block
    rows = "".join(_term_row(term, LLAMA[term.name], f"{per_sbh([term], digits=3)} SBH") for term in block)
    return _terms_table(f"A block of {LABEL}, flash attention, {AT}", rows, block, f"{per_sbh(block, digits=3)} SBH")


def llama_formula() -> str:
    """What a Llama block keeps without its statistics in float32, as LaTeX."""
    constant, heads, width = llama_coefficients()
    return (
        rf"$$M_\text{{block}} \approx \left( {constant} + {heads}\,\frac{{n_\text{{kv}}}}{{n}} + "
        rf"{width}\,\frac{{F}}{{H}} \right) S B H \text{{ bytes}}$$"
    )


def models() -> str:
    """Three sizes of Llama, side by side, as a table."""
    rows = ""
    for name in SIZES:
        config, block = PRESETS[name], estimate(name, seq_len=SEQ_LEN).block
        unfused = (*block, block["swiglu.product"])
        rows += (
            f'<tr><th scope="row">{text.model_label(name)}</th><td>{config.n_kv_heads} / {config.n_heads}</td>'
            f"<td>{config.ffn_size / config.hidden_size:g}</td><td>{per_sbh(block, name)}</td>"
            f"<td>{per_sbh(unfused, name)}</td></tr>"
        )
    head = ("", "n<sub>kv</sub> / n", "F / H", "bytes per SBH", "SwiGLU not fused")
    return text.table("The same block at three sizes", head, rows)


def differences() -> str:
    """What replaced what, part by part, as a table."""
    paper, llama = step("paper").block, step("llama").block
    rows = "".join(
        f'<tr><th scope="row">{words}</th><td>{per_sbh(named(paper, before))}</td>'
        f"<td>{per_sbh(named(llama, after))}</td></tr>"
        for words, before, after in REPLACED
    )
    foot = f'<tr><th scope="row">sum</th><td>{per_sbh(paper)}</td><td>{per_sbh(llama)}</td></tr>'
    return text.table(f"Bytes per SBH of one block, {AT}", ("", "paper", LABEL), rows, foot)


def elements_sum() -> str:
    """The elements of the paper's block."""
    return symbolic(step("paper").block, elements=True)


def bytes_sum() -> str:
    """The bytes of the paper's block."""
    return symbolic(step("paper").block)


def squared_share() -> str:
    """The share of the S × S matrices in the paper's block."""
    matrices = named(step("paper").block, ("softmax", "softmax_dropout_mask", "softmax_dropout"))
    return text.percent(matrices.bytes / step("paper").block.bytes, 0)


def seq_len() -> str:
    """The length of the chapter's tables."""
    return f"{SEQ_LEN:,}"


def norm_inputs() -> str:
    """What the two norms' inputs take in a Llama block."""
    return f"{per_sbh(named(step('llama').block, ('input', 'residual')))} SBH"


def statistics() -> str:
    """What the two norms' statistics take."""
    return f"{per_sbh(named(step('llama').block, ('norm_1.rstd', 'norm_2.rstd')), digits=3)} SBH"


def llama_sbh() -> str:
    """What a Llama block keeps."""
    return per_sbh(step("llama").block)


def paper_linear() -> str:
    """The coefficient of SBH in the paper's block."""
    return str(coefficients(PAPER)["SBH"])


def _paper(component: str) -> Ledger:
    return step("paper").block.where(_of(component))


def _llama(component: str) -> Ledger:
    return step("llama").block.where(_of(component))


def _of(component: str) -> Callable[[Term], bool]:
    return lambda term: term.component == component


def _stack_rows() -> Iterator[str]:
    paper, llama = step("paper"), step("llama")
    yield _layer("Embedding", "plain", "plain", '<td colspan="2" class="ac-nothing">nothing but the token ids</td>')
    halves = {
        "attention": ("Norm 1", "norm_1_input", ("input", "norm_1.output", "norm_1.rstd")),
        "ffn": ("Norm 2", "norm_2_input", ("residual", "norm_2.output", "norm_2.rstd")),
    }
    repeat = f'<td rowspan="6" class="ac-repeat"><span>× {PRESETS[MODEL].n_layers} blocks</span></td>'
    for half, (norm, before, after) in halves.items():
        cells = _cells(named(paper.block, [before]), named(llama.block, after))
        yield _layer(norm, "norm", "fork", cells, repeat)
        repeat = ""
        yield _layer(TITLES[half], half, "skip", _cells(_paper(half), _llama(half)), "")
        yield (
            '<tr><th scope="row" class="ac-layer ac-layer--sum"><span aria-label="sum">+</span></th>'
            '<td colspan="2" class="ac-nothing">nothing: the gradient of a sum needs neither summand</td></tr>'
        )
    for label, component in (("Final norm", "norm"), ("Logits and loss", "logits")):
        heads = (head.ledger.where(_of(component)) for head in (paper.head, llama.head))
        yield _layer(label, component, "plain", _cells(*heads))


def _layer(label: str, component: str, way: str, cells: str, before: str = '<td class="ac-no-repeat"></td>') -> str:
    head = f'<th scope="row" class="ac-layer ac-layer--{way} ac-{component}"><span>{label}</span></th>'
    return f"<tr>{before}{head}{cells}</tr>"


def _cells(paper: Ledger, llama: Ledger) -> str:
    logits = any(term.component == "logits" for term in llama)
    formula = f"{per_sbv(llama)}\u00a0SBV" if logits else f"{per_sbh(llama)}\u00a0SBH"
    return "".join(
        f"<td><b>{words}</b><small>{mib(ledger)}\u00a0MiB</small></td>"
        for words, ledger in ((symbolic(paper), paper), (formula, llama))
    )


def _term_row(term: Term, words: tuple[str, str], size: str) -> str:
    what, needed = words
    return (
        f'<tr><th scope="row"><i class="ac-swatch ac-{term.component}"></i>{what}</th><td>{size}</td>'
        f"<td>{mib([term])}</td><td>{'mask' if term.dtype == 'bool' else term.dtype}</td><td>{needed}</td></tr>"
    )


def _terms_table(caption: str, rows: str, block: Ledger, size: str) -> str:
    foot = f'<tr><th scope="row">sum</th><td>{size}</td><td>{mib(block)}</td><td></td><td></td></tr>'
    head = ("tensor", "bytes", "MiB", "type", "needed for")
    return text.table(caption, head, rows, foot).replace('class="ac-table"', 'class="ac-table ac-terms"')
