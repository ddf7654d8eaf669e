"""The Llama block as autograd sees it: RMSNorm, RoPE, grouped queries, SwiGLU; and what comes after the blocks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from math import prod

from actckpt.algebra import B, D, F, Form, H, S, V, W, n, n_kv
from actckpt.blocks.block import Block, FlopRules, Stage, tensors
from actckpt.blocks.weights import Traits, Weights, llama_weights
from actckpt.terms import Ledger, Term, ledger_of_forms

_ZERO, _ONE = Form.of(0), Form.of(1)


@lru_cache(maxsize=256)
def llama_block(traits: Traits, attention: str, rules: FlopRules) -> Block[Form]:
    """A Llama block.

    Without a policy, with flash attention and in units of S·B·H bytes, it keeps 12 + 4·n_kv/n + 6·F/H and the float32
    statistics of the norms and the softmax.

    Args:
        traits: Its biases, norms and window.
        attention: "flash" or "eager".
        rules: How FLOPs are counted.
    """
    q, k = ("q_norm.output", "k_norm.output") if traits.qk_norm else ("q_proj", "k_proj")
    weights = llama_weights(traits)
    norm, linear = partial(_norm, weights), partial(_linear, weights)
    stages = (
        norm("attend", "input", "norm_1"),
        linear("attend", "norm_1.output", "q_proj"),
        linear("attend", "norm_1.output", "k_proj"),
        linear("attend", "norm_1.output", "v_proj"),
        *((norm("attend", "q_proj", "q_norm"), norm("attend", "k_proj", "k_norm")) if traits.qk_norm else ()),
        _plain("attend", (q, k), ("rope.q", "rope.k")),
        *(_flash(traits, rules) if attention == "flash" else _eager()),
        linear("attention_half", "attention.output", "o_proj"),
        _plain("forward", ("input", "o_proj"), ("residual",), kind="add"),
        norm("gate_and_up", "residual", "norm_2"),
        linear("gate_and_up", "norm_2.output", "gate_proj"),
        linear("gate_and_up", "norm_2.output", "up_proj"),
        _plain("swiglu_and_down", ("gate_proj", "up_proj"), ("swiglu.product",), saves=("gate_proj", "up_proj")),
        linear("swiglu_and_down", "swiglu.product", "down_proj"),
        _plain("forward", ("residual", "down_proj"), ("output",), kind="add"),
    )
    return Block(_tensors(attention), stages)


def llama_head() -> tuple[Ledger[Form], Form]:
    """The final norm, the output projection and a float32 cross-entropy, which keeps the log-probabilities.

    Returns:
        What they save, and the FLOPs of a step.
    """
    saved = tensors(
        ("norm.input", "norm", (B, S, H), "bfloat16"),
        ("norm.output", "norm", (B, S, H), "bfloat16"),
        ("norm.rstd", "norm", (B, S), "float32"),
        ("loss.log_probabilities", "logits", (S * B, V), "float32"),
        ("loss.total_weight", "logits", (), "float32"),
    )
    return ledger_of_forms(saved.values()), 6 * S * B * H * V


def visible_pairs(rows: Form, widest: Form) -> Form:
    """The (query, key) pairs that a causal mask leaves: S(S + 1)/2, and W(2S - W + 1)/2 with a sliding window.

    A query sees itself and the keys before it: one more than the query before it until it sees `widest`, and from there
    on so many.
    """
    return widest * (2 * rows - widest + 1) / 2


def _tensors(attention: str) -> Mapping[str, Term[Form]]:
    hidden, rows, tokens = (B, S, H), (B, S), S * B
    q, k = (B, S, n, D), (B, S, n_kv, D)
    scores = (B * n_kv, n / n_kv * S, S)
    output = (B, n, S, D) if attention == "flash" else (*scores[:-1], D)
    return tensors(
        ("input", "norm", hidden, "bfloat16"),
        ("norm_1.output", "norm", hidden, "bfloat16"),
        ("norm_1.rstd", "norm", rows, "float32"),
        ("q_proj", "attention", (tokens, n * D), "bfloat16"),
        ("k_proj", "attention", (tokens, n_kv * D), "bfloat16"),
        ("v_proj", "attention", (tokens, n_kv * D), "bfloat16"),
        ("q_norm.output", "attention", q, "bfloat16"),
        ("q_norm.rstd", "attention", q[:-1], "float32"),
        ("k_norm.output", "attention", k, "bfloat16"),
        ("k_norm.rstd", "attention", k[:-1], "float32"),
        ("rope.q", "attention", q, "bfloat16"),
        ("rope.k", "attention", k, "bfloat16"),
        ("attention.scores", "attention", scores, "bfloat16"),
        ("attention.float_scores", "attention", scores, "float32"),
        ("attention.softmax", "attention", scores, "float32"),
        ("attention.probabilities", "attention", scores, "bfloat16"),
        ("attention.output", "attention", output, "bfloat16"),
        ("attention.lse", "attention", (B, n, S), "float32"),
        ("o_proj", "attention", (tokens, H), "bfloat16"),
        ("residual", "norm", hidden, "bfloat16"),
        ("norm_2.output", "norm", hidden, "bfloat16"),
        ("norm_2.rstd", "norm", rows, "float32"),
        ("gate_proj", "ffn", (tokens, F), "bfloat16"),
        ("up_proj", "ffn", (tokens, F), "bfloat16"),
        ("swiglu.product", "ffn", (B, S, F), "bfloat16"),
        ("down_proj", "ffn", (tokens, H), "bfloat16"),
        ("output", "norm", hidden, "bfloat16"),
    )


def _plain(
    region: str,
    reads: tuple[str, ...],
    writes: tuple[str, ...],
    saves: tuple[str, ...] = (),
    kind: str = "",
) -> Stage[Form]:
    # nothing that counts as FLOPs, and no weight
    return Stage(region, reads, writes, _ZERO, _ZERO, _ZERO, saves, kind)


def _norm(weights: Weights, region: str, reads: str, name: str) -> Stage[Form]:
    output, rstd = f"{name}.output", f"{name}.rstd"
    return Stage(region, (reads,), (output, rstd), _ZERO, _ZERO, prod(weights[name], start=_ONE), saves=(reads, rstd))


def _linear(weights: Weights, region: str, reads: str, name: str) -> Stage[Form]:
    size = prod(weights[name], start=_ONE)
    flops = 2 * S * B * size
    # the gradient of the input and the gradient of the weight: a matmul of the same size each
    return Stage(region, (reads,), (name,), flops, 2 * flops, size, saves=(reads,), kind="linear")


def _matmul_flops(pairs: Form) -> Form:
    # of one of the two matmuls of attention, over all heads
    return 2 * B * n * D * pairs


def _flash(traits: Traits, rules: FlopRules) -> list[Stage[Form]]:
    reads, writes = ("rope.q", "rope.k", "v_proj"), ("attention.output", "attention.lse")
    visible = visible_pairs(S, W if traits.windowed else S)
    matmul = _matmul_flops(visible if rules.causal else S**2)
    backward = (5 if rules.flash_backward else 4) * matmul
    return [Stage("core_attention", reads, writes, 2 * matmul, backward, _ZERO, saves=(*reads, *writes), kind="flash")]


def _eager() -> list[Stage[Form]]:
    # all scores are computed, those that the mask hides too
    matmul = _matmul_flops(S**2)
    scores, values = ("rope.q", "rope.k"), ("attention.probabilities", "v_proj")
    softmax = ("attention.softmax",)
    return [
        Stage("core_attention", scores, ("attention.scores",), matmul, 2 * matmul, _ZERO, saves=scores, kind="scores"),
        # in float32, as Hugging Face's eager attention has it, and then rounded
        _plain("core_attention", ("attention.scores",), ("attention.float_scores",)),
        _plain("core_attention", ("attention.float_scores",), softmax, saves=softmax),
        _plain("core_attention", softmax, ("attention.probabilities",)),
        Stage("core_attention", values, ("attention.output",), matmul, 2 * matmul, _ZERO, saves=values, kind="values"),
    ]
