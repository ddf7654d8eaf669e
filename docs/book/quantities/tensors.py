"""What a block keeps, tensor by tensor: the paper's block and Llama's, with words for each tensor."""

from __future__ import annotations

import re
from collections.abc import Iterable

from actckpt import Ledger, Term
from actckpt.algebra import B, Form, H, S, n
from book.quantities import steps
from book.quantities.steps import CONFIG, MODEL
from book.quantities.text import NBSP

SEQ_LEN = 4096
LLAMA_STEP = steps.step(seq_len=SEQ_LEN)
PAPER_STEP = steps.step(seq_len=SEQ_LEN, accounting="paper")
PAPER_BLOCK = PAPER_STEP.block

# each tensor of the paper's block: what it is, and what the backward pass needs it for
PAPER = {
    "norm_1_input": ("input of norm 1", "its own gradient"),
    "qkv_input": ("input of the q, k, v projections", "gradients of three weights"),
    "q": ("queries", "gradient of the keys"),
    "k": ("keys", "gradient of the queries"),
    "softmax": ("softmax", "its own gradient"),
    "softmax_dropout_mask": ("dropout mask of the softmax", "the same zeros again"),
    "softmax_dropout": ("softmax after dropout", "gradient of the values"),
    "v": ("values", "gradient of the softmax"),
    "o_proj_input": ("input of the output projection", "gradient of its weight"),
    "attention_dropout_mask": ("dropout mask after attention", "the same zeros again"),
    "norm_2_input": ("input of norm 2", "its own gradient"),
    "ffn_input": ("input of the first FFN matmul", "gradient of its weight"),
    "gelu_input": ("input of GELU", "its own gradient"),
    "gelu_output": ("output of GELU", "gradient of the second weight"),
    "ffn_dropout_mask": ("dropout mask after the FFN", "the same zeros again"),
}
LLAMA = {
    "input": ("input of norm 1", "its own gradient"),
    "norm_1.output": ("output of norm 1", "gradients of the q, k, v weights"),
    "norm_1.rstd": ("one statistic a token", "gradient of norm 1"),
    "v_proj": ("values", "attention's backward pass"),
    "rope.q": ("queries after RoPE", "attention's backward pass"),
    "rope.k": ("keys after RoPE", "attention's backward pass"),
    "attention.output": ("attention's output", "the same, and the o projection's weight"),
    "attention.lse": ("log-sum-exp of each row", "softmax, computed again"),
    "residual": ("input of norm 2", "its own gradient"),
    "norm_2.output": ("output of norm 2", "gradients of the gate and up weights"),
    "norm_2.rstd": ("one statistic a token", "gradient of norm 2"),
    "gate_proj": ("gate", "gradient of SwiGLU"),
    "up_proj": ("up", "gradient of SwiGLU"),
    "swiglu.product": ("SwiGLU's product", "gradient of the down weight"),
}

# what of the paper's block became what of Llama's
REPLACED: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "the norms' inputs and statistics",
        ("norm_1_input", "norm_2_input"),
        ("input", "residual", "norm_1.rstd", "norm_2.rstd"),
    ),
    ("the norms' outputs, which matmuls read", ("qkv_input", "ffn_input"), ("norm_1.output", "norm_2.output")),
    ("queries, keys, values", ("q", "k", "v"), ("rope.q", "rope.k", "v_proj")),
    ("S × S matrices, or the log-sum-exp", ("softmax", "softmax_dropout_mask", "softmax_dropout"), ("attention.lse",)),
    ("attention's output", ("o_proj_input",), ("attention.output",)),
    ("inside the FFN", ("gelu_input", "gelu_output"), ("gate_proj", "up_proj", "swiglu.product")),
    ("dropout masks of hidden states", ("attention_dropout_mask", "ffn_dropout_mask"), ()),
)


def named(ledger: Ledger[int], names: Iterable[str]) -> Ledger[int]:
    return Ledger(tuple(ledger[name] for name in names))


def per_sbh(terms: Iterable[Term[int]], model: str = MODEL) -> float:
    """The size of some tensors in bytes for each element of a hidden state."""
    return steps.per_sbh(terms, model=model, seq_len=SEQ_LEN)


def llama_sbh(*names: str) -> float:
    """The size of tensors of the Llama block in the same unit."""
    return per_sbh(named(LLAMA_STEP.block, names))


def per_sbv(terms: Iterable[Term[int]]) -> float:
    """The size of some tensors in bytes for each logit."""
    return float(Ledger(tuple(terms)).bytes / (SEQ_LEN * CONFIG.vocab_size))


def squared_share() -> float:
    """The share of the S × S matrices in the paper's block."""
    matrices = named(PAPER_BLOCK, ("softmax", "softmax_dropout_mask", "softmax_dropout"))
    return float(matrices.bytes / PAPER_BLOCK.bytes)


def symbolic(terms: Iterable[Term[int]], *, elements: bool = False) -> str:
    """The size of tensors of the paper's block as a formula, in bytes or in elements: "34 SBH + 5 nS²B"."""
    form = str(steps.formula(terms, elements=elements)).replace("·", "")
    products = re.findall(r"(\d*)([^\d\s+][^\s+]*)", form)
    return " + ".join(f"{number or 1}{NBSP}{unit}" for number, unit in products)


def llama_form() -> Form:
    """What a Llama block keeps without its statistics in float32, in bytes for each element of a hidden state."""
    block = LLAMA_STEP.block.where(lambda term: term.dtype == "bfloat16")
    return block.formula().where(D=H / n) / (S * B * H)
