"""What a block keeps, tensor by tensor: the paper's block and Llama's, with words for each tensor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from actckpt import PRESETS, FlopRules, Ledger, ModelConfig, Step, Term, estimate
from actckpt.algebra import Point
from actckpt.blocks.block import Block
from actckpt.blocks.llama import llama_block
from actckpt.ledger import ITEM_BYTES
from book.quantities import text

MODEL = "llama-3.1-8b"
LABEL = text.model_label(MODEL)
SEQ_LEN = 4096
SIZES = ("llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b")
# a prime, so that no product of a model's sizes is taken for another
PROBE = 4099

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


@cache
def step(accounting: str) -> Step:
    """The step that the chapter's tables show."""
    return estimate(MODEL, seq_len=SEQ_LEN, accounting=accounting)


def block_at(seq_len: int) -> Block[int]:
    """A block of the examples' model with flash attention, as the package lists its ops."""
    config = PRESETS[MODEL]
    return llama_block(config.traits, "flash", FlopRules()).map(Point(config.axes(seq_len)).count)


def named(ledger: Ledger, names: Iterable[str]) -> Ledger:
    """The tensors of those names."""
    return Ledger(tuple(ledger[name] for name in names))


def mib(terms: Iterable[Term]) -> str:
    """The size of some tensors in MiB, with the exact number for whoever wants it."""
    n_bytes = sum(term.bytes for term in terms)
    digits = 1 if n_bytes >= 2**19 else 3
    return f'<data value="{n_bytes}" title="{n_bytes:,} bytes">{text.fixed(n_bytes / 2**20, digits)}</data>'


def per_sbh(terms: Iterable[Term], model: str = MODEL, digits: int = 2) -> str:
    """The size of some tensors in bytes for each element of a hidden state."""
    return text.fixed(sum(term.bytes for term in terms) / (SEQ_LEN * PRESETS[model].hidden_size), digits)


def per_sbv(terms: Iterable[Term]) -> str:
    """The size of some tensors in bytes for each logit."""
    return text.fixed(sum(term.bytes for term in terms) / (SEQ_LEN * PRESETS[MODEL].vocab_size), 2)


@cache
def _probe() -> dict[str, Term]:
    step = estimate(MODEL, seq_len=PROBE, accounting="paper")
    return {term.name: term for term in (*step.block, *step.head.ledger)}


def coefficients(names: Iterable[str], *, elements: bool = False) -> dict[str, int]:
    """How many bytes, or elements, tensors of the paper's block have for each SBH, nS²B and SBV."""
    config = PRESETS[MODEL]
    units = {
        "nS²B": config.n_heads * PROBE**2,
        "SBH": PROBE * config.hidden_size,
        "SBV": PROBE * config.vocab_size,
    }
    sums = {"SBH": 0, "nS²B": 0, "SBV": 0}
    for name in names:
        term = _probe()[name]
        count = term.bytes // (ITEM_BYTES[term.dtype] if elements else 1)
        unit = next(unit for unit, size in units.items() if count % size == 0)
        sums[unit] += count // units[unit]
    return sums


def symbolic(terms: Iterable[Term], *, elements: bool = False) -> str:
    """The size of tensors of the paper's block as a formula, in bytes or in elements."""
    sums = coefficients((term.name for term in terms), elements=elements)
    return " + ".join(f"{count}\u00a0{unit}" for unit, count in sums.items() if count)


def llama_coefficients() -> tuple[int, int, int]:
    """The constant, the coefficient of n_kv/n and that of F/H in a Llama block, from how it changes with each."""
    config = PRESETS[MODEL]
    here = _bfloat16(config)
    heads = (_bfloat16(replace(config, n_kv_heads=config.n_heads)) - here) / (1 - config.n_kv_heads / config.n_heads)
    width = _bfloat16(replace(config, ffn_size=config.ffn_size + config.hidden_size)) - here
    rest = here - heads * config.n_kv_heads / config.n_heads - width * config.ffn_size / config.hidden_size
    return round(rest), round(heads), round(width)


def _bfloat16(config: ModelConfig) -> float:
    block = estimate(config, seq_len=SEQ_LEN).block.where(lambda term: term.dtype == "bfloat16")
    return float(block.bytes / (SEQ_LEN * config.hidden_size))
