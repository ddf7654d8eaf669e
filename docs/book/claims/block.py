"""What a block stores, component by component."""

from __future__ import annotations

from functools import partial

from actckpt.figures.drawing import LABELS
from book.claims import names
from book.claims.claim import Finding, Stated, claim, judge, n, near
from book.claims.names import EAGER, PAPER, PAPER_LINK
from book.quantities.steps import CONFIG, LONG, SIZES, block_at, growth, sbh, step

LINEAR, SQUARED = Stated(34, "SBH"), Stated(5, "nS²")
ATTENTION, FFN, NORM = Stated(11, "SBH"), Stated(19, "SBH"), Stated(4, "SBH")
SOURCE = f"{PAPER_LINK}, §4.1"

total = partial(claim, taught="workshop/activations/#total", source=SOURCE, tests=(names.PAPERS_LAYER, names.MEASURED))
part = partial(
    claim,
    element="W3",
    taught="workshop/activations/#three-components",
    source=SOURCE,
    tests=(names.PAPERS_LAYER, names.MEASURED),
)


@claim(
    element="W2",
    says="Every intermediate tensor of the forward pass is kept as an activation.",
    taught="workshop/activations/#layer-stack",
    source=f"{PAPER_LINK}, §4",
    tests=(names.MEASURED,),
)
def every_tensor() -> Finding:
    written = {name for stage in block_at(LONG).stages for name in stage.writes}
    kept = [term.name for term in step().block if term.name in written]
    return judge(
        f"The forward pass of a Llama block writes {n(len(written))} tensors and keeps {n(len(kept))} of them: those "
        "that a gradient reads.",
        holds=len(kept) == len(written),
        condition="Not every tensor is kept. What the backward pass does not read is freed at once.",
    )


@total(element="W1", says=f"A block keeps {LINEAR} of activations.")
def linear() -> Finding:
    paper, real = growth(**PAPER).linear, [sbh(model=model) for model in SIZES]
    return judge(
        f"The paper's GPT block keeps {n(paper)} bytes for each SBH; Llama 3.1 8B, 70B and 405B keep "
        f"{', '.join(n(value, 2) for value in real)}.",
        holds=all(near(value, LINEAR, 0.001) for value in (paper, *real)),
        when=paper == LINEAR.value,
        condition="the block is a GPT block with dropout and the unit is bytes. The 8B model comes close by accident: "
        "every term differs.",
    )


@total(element="W1", says=f"The quadratic term adds {SQUARED}.")
def squared() -> Finding:
    paper, eager, flash = (growth(**how).squared for how in (PAPER, EAGER, {}))
    return judge(
        f"Bytes for each nS²B: {n(paper)} in the paper's block, {n(eager)} in Llama with eager attention, "
        f"{n(flash)} with flash attention.",
        holds=paper == eager == flash == SQUARED.value,
        when=paper == SQUARED.value,
        condition="attention is eager, with dropout.",
    )


@total(
    element="W4",
    says="These coefficients count elements; in bfloat16 each is two bytes.",
    source=f"{PAPER_LINK}, §4",
    tests=(names.PAPERS_LAYER,),
)
def elements() -> Finding:
    counts, sizes = growth(elements=True, **PAPER), growth(**PAPER)
    # nS²B is n times SBH where S = H
    average = (sizes.linear + CONFIG.n_heads * sizes.squared) / (counts.linear + CONFIG.n_heads * counts.squared)
    return judge(
        f"The same tensors have {n(counts.linear)} SBH + {n(counts.squared)} nS²B elements. The dropout masks take "
        f"one byte per element, so the average at S = H = {n(CONFIG.hidden_size)} is {n(average, 2)} bytes.",
        holds=counts.linear == LINEAR.value,
        condition="The coefficients are bytes. If they are taken for elements of two bytes, everything is counted "
        "twice.",
    )


def component(name: str, stated: Stated) -> Finding:
    """A component's coefficients in the paper's block, as bytes and as elements of two bytes."""
    paper, real = growth(component=name, **PAPER), growth(component=name)
    squared = f" + {n(paper.squared)} nS²B" if paper.squared else ""
    return judge(
        f"{n(paper.linear)} SBH{squared} bytes in the paper's block; {n(real.linear, 2)} SBH in Llama 3.1 8B with "
        "flash attention.",
        holds=paper.linear / 2 == stated.value,
        when=paper.linear == stated.value,
        condition="the block is the paper's and the unit is bytes.",
    )


@part(says=f"Attention stores {ATTENTION} and the quadratic term.")
def attention_part() -> Finding:
    return component("attention", ATTENTION)


@part(says=f"The FFN stores {FFN}, with GELU or with SwiGLU.")
def ffn_part() -> Finding:
    return component("ffn", FFN)


@part(says=f"The two norms store {NORM}.")
def norm_part() -> Finding:
    return component("norm", NORM)


@claim(
    element="W3",
    says="A norm stores its statistics and its normalized output.",
    taught="workshop/activations/#a-norm-keeps-its-input",
    source=SOURCE,
    tests=(names.MEASURED,),
)
def norm_output() -> Finding:
    saves = block_at(LONG).stages[0].saves
    rstd, block = (step().block[name].bytes for name in ("norm_1.rstd", "input"))
    return judge(
        f"It keeps {' and '.join(f'<code>{name}</code>' for name in saves)}. The statistic is "
        f"{n(100 * rstd / block, 2, '%')} of the input's bytes.",
        holds="norm_1.output" in saves,
        condition="The output is kept for the next matmul, and is counted there.",
    )


@part(says="At long sequences attention is the largest part.", tests=(names.MEASURED,))
def largest() -> Finding:
    eager, flash = (max(step(**how).block.by_component().items(), key=lambda part: part[1]) for how in (EAGER, {}))
    shares = [100 * part[1] / step(**how).block.bytes for part, how in ((eager, EAGER), (flash, {}))]
    return judge(
        f"At {n(LONG)} tokens the largest part of a block of Llama 3.1 8B is {LABELS[eager[0]]} with eager "
        f"attention ({n(shares[0], 0, '%')}) and {LABELS[flash[0]]} with flash attention ({n(shares[1], 0, '%')}).",
        holds=eager[0] == flash[0] == "attention",
        when=eager[0] == "attention",
        condition="attention is eager.",
    )
