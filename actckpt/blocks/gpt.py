"""The paper's block, and what comes after the blocks.

Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models" (arXiv 2205.05198), §4.1: a GPT
block with dropout and eager attention keeps 34·S·B·H + 5·n·S²·B bytes.
"""

from __future__ import annotations

from functools import lru_cache

from actckpt.algebra import B, Form, H, S, V, n
from actckpt.blocks.block import Block, FlopRules, Stage, tensors
from actckpt.blocks.weights import Traits
from actckpt.terms import Ledger, ledger_of_forms

_ZERO = Form.of(0)


@lru_cache(maxsize=256)
def gpt_block(traits: Traits, attention: str, rules: FlopRules) -> Block[Form]:
    """The paper's block: it keeps 11·SBH + 5·n·S²·B bytes in attention, 19·SBH in the FFN and 4·SBH in the norms.

    A dropout mask is one byte an element, everything else two (§4.1). Forward FLOPs are 8BSH² + 4BS²H in attention and
    16BSH² in an FFN of width 4H (appendix A), without a causal saving; the backward pass costs twice as many.
    """
    hidden, scores, wide = (S, B, H), (B, n, S, S), (S, B, 4 * H)
    kept = tensors(
        ("norm_1_input", "norm", hidden, "bfloat16"),
        ("qkv_input", "attention", hidden, "bfloat16"),
        ("q", "attention", hidden, "bfloat16"),
        ("k", "attention", hidden, "bfloat16"),
        ("softmax", "attention", scores, "bfloat16"),
        ("softmax_dropout_mask", "attention", scores, "bool"),
        ("softmax_dropout", "attention", scores, "bfloat16"),
        ("v", "attention", hidden, "bfloat16"),
        ("o_proj_input", "attention", hidden, "bfloat16"),
        ("attention_dropout_mask", "attention", hidden, "bool"),
        ("norm_2_input", "norm", hidden, "bfloat16"),
        ("ffn_input", "ffn", hidden, "bfloat16"),
        ("gelu_input", "ffn", wide, "bfloat16"),
        ("gelu_output", "ffn", wide, "bfloat16"),
        ("ffn_dropout_mask", "ffn", hidden, "bool"),
    )
    linear, matmul = 2 * S * B * H * H, 2 * B * S**2 * H
    stages = (
        _stage("attention_half", "norm_1_input", "qkv_input", saves="norm_1_input"),
        _stage("attention_half", "qkv_input", "q k v", 3 * linear, saves="qkv_input"),
        _stage("core_attention", "q k", "scores", matmul, saves="q k"),
        _stage("core_attention", "scores", "softmax", saves="softmax"),
        _stage("core_attention", "softmax", "softmax_dropout softmax_dropout_mask", saves="softmax_dropout_mask"),
        _stage("core_attention", "softmax_dropout v", "o_proj_input", matmul, saves="softmax_dropout v"),
        _stage("attention_half", "o_proj_input", "o_proj", linear, saves="o_proj_input"),
        _stage("attention_half", "o_proj", "attention_dropout attention_dropout_mask", saves="attention_dropout_mask"),
        _stage("forward", "norm_1_input attention_dropout", "norm_2_input"),
        _stage("ffn_half", "norm_2_input", "ffn_input", saves="norm_2_input"),
        _stage("ffn_half", "ffn_input", "gelu_input", 4 * linear, saves="ffn_input"),
        _stage("ffn_half", "gelu_input", "gelu_output", saves="gelu_input"),
        _stage("ffn_half", "gelu_output", "ffn", 4 * linear, saves="gelu_output"),
        _stage("ffn_half", "ffn", "ffn_dropout ffn_dropout_mask", saves="ffn_dropout_mask"),
        _stage("forward", "norm_2_input ffn_dropout", "output"),
    )
    return Block(kept, stages)


def gpt_head() -> tuple[Ledger[Form], Form]:
    """The final norm, the output projection and the loss: 4·SBH·(1 + V/H) bytes (§4.3), the logits in float32.

    Returns:
        What they save, and the FLOPs of a step.
    """
    saved = tensors(
        ("final_norm_input", "norm", (S, B, H), "bfloat16"),
        ("output_projection_input", "logits", (S, B, H), "bfloat16"),
        ("logits", "logits", (S, B, V), "float32"),
    )
    return ledger_of_forms(saved.values()), 6 * S * B * H * V


def _stage(region: str, reads: str, writes: str, flops: Form = _ZERO, saves: str = "") -> Stage[Form]:
    # names of tensors with blanks between them
    return Stage(region, tuple(reads.split()), tuple(writes.split()), flops, 2 * flops, _ZERO, tuple(saves.split()))
