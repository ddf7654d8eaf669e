"""Claims on what a block stores, component by component."""

from __future__ import annotations

from actckpt.figures.drawing import LABELS
from book.claims.claim import Claim, Finding, Stated, judge, n, near
from book.claims.quantities import (
    CONFIG,
    EAGER,
    LONG,
    MODELS,
    PAPER,
    PAPER_LINK,
    coefficients,
    sbh,
    step,
)
from book.quantities.steps import block_at

LINEAR, SQUARED = Stated(34, "SBH"), Stated(5, "nS²")
ATTENTION, FFN, NORM = Stated(11, "SBH"), Stated(19, "SBH"), Stated(4, "SBH")


def linear() -> Finding:
    """The linear coefficient of the paper's block and of three real ones."""
    paper = coefficients(**PAPER)[0]
    real = [sbh(model=model) for model in MODELS]
    return judge(
        f"The paper's GPT block keeps {n(paper)} bytes for each SBH; Llama 3.1 8B, 70B and 405B keep "
        f"{', '.join(n(value, 2) for value in real)}.",
        holds=all(near(value, LINEAR.value, 0.001) for value in (paper, *real)),
        when=paper == LINEAR.value,
        condition="the block is a GPT block with dropout and the unit is bytes. That the 8B model comes so near is an "
        "accident: every term differs.",
    )


def squared() -> Finding:
    """The quadratic coefficient of the paper's block and of the real one, eager and flash."""
    paper, eager, flash = coefficients(**PAPER)[1], coefficients(**EAGER)[1], coefficients()[1]
    return judge(
        f"Bytes for each nS²B: {n(paper)} in the paper's block, {n(eager)} in Llama with eager attention, "
        f"{n(flash)} with flash attention.",
        holds=paper == eager == flash == SQUARED.value,
        when=paper == SQUARED.value,
        condition="attention is eager, with dropout.",
    )


def elements() -> Finding:
    """The number of elements in the paper's block."""
    block = step(4096, **PAPER).block
    counts = [sum(term.bytes // (1 if term.dtype == "bool" else 2) for term in step(s, **PAPER).block) for s in (1, 2)]
    square = (counts[1] - 2 * counts[0]) // 2
    size = (counts[0] - square) / CONFIG.hidden_size
    return judge(
        f"The same tensors have {n(size)} SBH + {n(square / CONFIG.n_heads)} nS²B elements, of which the dropout "
        "masks are one byte each: "
        f"{n(block.bytes / sum(t.bytes // (1 if t.dtype == 'bool' else 2) for t in block), 2)} bytes an element on "
        "average.",
        holds=size == LINEAR.value,
        condition="The coefficients are bytes. Taken for elements of two bytes, everything is counted twice.",
    )


def component(name: str, stated: Stated) -> Finding:
    """A component's coefficients in the paper's block, as bytes and as elements of two bytes."""
    once, square = coefficients(name, **PAPER)
    real = coefficients(name)[0]
    term = f" + {n(square)} nS²B" if square else ""
    return judge(
        f"{n(once)} SBH{term} bytes in the paper's block; {n(real, 2)} SBH in Llama 3.1 8B with flash attention.",
        holds=once / 2 == stated.value,
        when=once == stated.value,
        condition="it is read as bytes, for the paper's block.",
    )


def norm_output() -> Finding:
    """What a norm's backward pass reads."""
    stage = block_at(LONG).stages[0]
    rstd, block = (step().block[name].bytes for name in ("norm_1.rstd", "input"))
    return judge(
        f"It keeps {' and '.join(f'<code>{name}</code>' for name in stage.saves)}. The statistic is "
        f"{n(100 * rstd / block, 2, '%')} of the input's bytes.",
        holds="norm_1.output" in stage.saves,
        condition="What the norm puts out is kept because the next matmul needs it, and is counted there.",
    )


def largest() -> Finding:
    """The largest component at a long sequence, eager and flash."""
    eager, flash = (_largest(**how) for how in (EAGER, {}))
    return judge(
        f"At {n(f'{LONG:,}')} tokens the largest part of a block of Llama 3.1 8B is {LABELS[eager[0]]} with eager "
        f"attention ({n(eager[1], 0, '%')}) and {LABELS[flash[0]]} with flash attention ({n(flash[1], 0, '%')}).",
        holds=eager[0] == flash[0] == "attention",
        when=eager[0] == "attention",
        condition="attention is eager.",
    )


def _largest(**how: str) -> tuple[str, float]:
    block = step(**how).block
    sizes = {name: int(block.component_bytes(name)) for name in ("attention", "ffn", "norm")}
    name = max(sizes, key=lambda name: sizes[name])
    return name, 100 * sizes[name] / int(block.bytes)


def every_tensor() -> Finding:
    """The tensors that a block writes, and those that it keeps."""
    block = block_at(LONG)
    written = {name for stage in block.stages for name in stage.writes}
    kept = [term.name for term in step().block if term.name in written]
    return judge(
        f"The forward pass of a Llama block writes {n(len(written))} tensors and keeps {n(len(kept))} of them: those "
        "that a gradient reads.",
        holds=len(kept) == len(written),
        condition="Computed is not kept. What the backward pass does not read is freed at once.",
    )


CLAIMS = (
    Claim(
        "every-tensor",
        "W2",
        "Every intermediate tensor of the forward pass is an activation that is held.",
        "workshop/activations/#layer-stack",
        every_tensor,
        f"{PAPER_LINK}, §4",
        "test_measurement::test_saved_ledger_of_a_block_is_a_layer_of_the_measurement",
    ),
    Claim(
        "linear",
        "W1",
        f"A block keeps {LINEAR} of activations.",
        "workshop/activations/#total",
        linear,
        f"{PAPER_LINK}, §4.1",
        "test_formulas::test_a_layer_of_the_paper_keeps_34_sbh_and_5_nssb_bytes",
    ),
    Claim(
        "squared",
        "W1",
        f"On top come {SQUARED}, the quadratic term.",
        "workshop/activations/#total",
        squared,
        f"{PAPER_LINK}, §4.1",
        "test_formulas::test_eager_attention_adds_6_nssb_bytes_and_no_log_sum_exp",
    ),
    Claim(
        "elements",
        "W4",
        "These coefficients count elements; in bfloat16 each is two bytes.",
        "workshop/activations/#total",
        elements,
        f"{PAPER_LINK}, §4",
        "test_formulas::test_a_layer_of_the_paper_keeps_34_sbh_and_5_nssb_bytes",
    ),
    Claim(
        "attention-part",
        "W3",
        f"Attention stores {ATTENTION} and the quadratic term.",
        "workshop/activations/#three-components",
        lambda: component("attention", ATTENTION),
        f"{PAPER_LINK}, §4.1",
        "test_formulas::test_a_layer_of_the_paper_keeps_34_sbh_and_5_nssb_bytes",
    ),
    Claim(
        "ffn-part",
        "W3",
        f"The FFN stores {FFN}, with GELU or with SwiGLU.",
        "workshop/activations/#three-components",
        lambda: component("ffn", FFN),
        f"{PAPER_LINK}, §4.1",
        "test_formulas::test_a_layer_of_the_paper_keeps_34_sbh_and_5_nssb_bytes",
    ),
    Claim(
        "norm-part",
        "W3",
        f"The two norms store {NORM}.",
        "workshop/activations/#three-components",
        lambda: component("norm", NORM),
        f"{PAPER_LINK}, §4.1",
        "test_formulas::test_a_layer_of_the_paper_keeps_34_sbh_and_5_nssb_bytes",
    ),
    Claim(
        "norm-output",
        "W3",
        "A norm stores its statistics and its normalised output.",
        "workshop/activations/#a-norm-keeps-its-input",
        norm_output,
        f"{PAPER_LINK}, §4.1",
        "test_ops::test_saved_sets",
    ),
    Claim(
        "largest",
        "W3",
        "At long sequences attention is the largest part.",
        "workshop/activations/#three-components",
        largest,
        f"{PAPER_LINK}, §4.1",
        "test_figures::test_component_shares",
    ),
)
