"""The paper's block, term by term, and the workshop's reading of it.

Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models" (arXiv 2205.05198), §4.1: a GPT
block with dropout and eager attention keeps 34·S·B·H + 5·n·S²·B bytes. The workshop takes the same coefficients for a
number of elements and doubles them.
"""

from __future__ import annotations

from dataclasses import replace

from actckpt.config import ModelConfig
from actckpt.formulas.flops import gpt_forward_flops, linear_flops, step_flops
from actckpt.ledger import ITEM_BYTES, Count, Ledger, Term, exact
from actckpt.policy import Policy
from actckpt.step import Flops, Head

# The terms that each policy discards, by component or by name. The workshop's strategies discard a whole half of the
# block and add a checkpoint.
_CORE = ("softmax", "softmax_dropout_mask", "softmax_dropout")
_DISCARDS: dict[str, tuple[str, ...]] = {
    "none": (),
    "attention": ("attention",),
    "ffn": ("ffn",),
    "both": ("attention", "ffn"),
    "full": ("attention", "ffn", "norm"),
    "core_attention": _CORE,
}
WORKSHOP_POLICIES = ("none", "attention", "ffn", "both")
PAPER_POLICIES = (*_DISCARDS, "every_N")


def paper_terms(config: ModelConfig, seq_len: Count, batch_size: int) -> Ledger:
    """Everything that the paper's block keeps, in bytes: 11·SBH + 5·n·S²·B, 19·SBH and 4·SBH (§4.1).

    A dropout mask is one byte an element, everything else two.
    """
    s, b, h, n = seq_len, batch_size, config.hidden_size, config.n_heads
    hidden, scores = (s, b, h), (b, n, s, s)
    return Ledger(
        (
            Term("norm_1_input", "norm", hidden, "bfloat16"),
            Term("qkv_input", "attention", hidden, "bfloat16"),
            Term("q", "attention", hidden, "bfloat16"),
            Term("k", "attention", hidden, "bfloat16"),
            Term("softmax", "attention", scores, "bfloat16"),
            Term("softmax_dropout_mask", "attention", scores, "bool"),
            Term("softmax_dropout", "attention", scores, "bfloat16"),
            Term("v", "attention", hidden, "bfloat16"),
            Term("o_proj_input", "attention", hidden, "bfloat16"),
            Term("attention_dropout_mask", "attention", hidden, "bool"),
            Term("norm_2_input", "norm", hidden, "bfloat16"),
            Term("ffn_input", "ffn", hidden, "bfloat16"),
            Term("gelu_input", "ffn", (s, b, 4 * h), "bfloat16"),
            Term("gelu_output", "ffn", (s, b, 4 * h), "bfloat16"),
            Term("ffn_dropout_mask", "ffn", hidden, "bool"),
        )
    )


def paper_ledger(config: ModelConfig, seq_len: Count, batch_size: int, policy: Policy) -> Ledger:
    """What the paper's block keeps under a policy.

    A checkpoint is one hidden state of 1·SBH elements. Where a strategy keeps the norms' inputs beside it, it is
    counted twice, as the workshop does.
    """
    return _under(policy, paper_terms(config, seq_len, batch_size), _checkpoint(config, seq_len, batch_size))


def workshop_ledger(config: ModelConfig, seq_len: Count, batch_size: int, policy: Policy) -> Ledger:
    """The paper's terms as the workshop reads them: each byte an element of two bytes. The checkpoint is 1·SBH·2."""
    terms = Ledger(
        tuple(
            replace(term, shape=(ITEM_BYTES[term.dtype], *term.shape), dtype="bfloat16")
            for term in paper_terms(config, seq_len, batch_size)
        )
    )
    return _under(policy, terms, _checkpoint(config, seq_len, batch_size))


def gpt_flops(config: ModelConfig, seq_len: Count, batch_size: int, policy: Policy) -> Flops:
    """FLOPs of one block by the workshop's rules, under a policy."""
    forward = gpt_forward_flops(seq_len, batch_size, config.hidden_size)
    discards = _DISCARDS[_region_name(policy)]
    recomputed: Count = forward["core_attention"] if discards == _CORE else 0 * seq_len
    for half in ("attention", "ffn"):
        if half in discards:
            recomputed = recomputed + forward[half]
    return step_flops(forward["attention"] + forward["ffn"], recomputed)


def paper_head(config: ModelConfig, seq_len: Count, batch_size: int) -> Head:
    """The final norm, the output projection and the loss: 4·SBH·(1 + V/H) bytes (§4.3), the logits in float32."""
    s, b, h, v = seq_len, batch_size, config.hidden_size, config.vocab_size
    ledger = Ledger(
        (
            Term("final_norm_input", "norm", (s, b, h), "bfloat16"),
            Term("output_projection_input", "logits", (s, b, h), "bfloat16"),
            Term("logits", "logits", (s, b, v), "float32"),
        )
    )
    return Head(ledger, exact(3 * linear_flops(s * b, h, v)))


def _checkpoint(config: ModelConfig, seq_len: Count, batch_size: int) -> Term:
    return Term("checkpoint", "checkpoint", (seq_len, batch_size, config.hidden_size), "bfloat16")


def _under(policy: Policy, terms: Ledger, checkpoint: Term) -> Ledger:
    discards = _DISCARDS[_region_name(policy)]
    kept = terms.where(lambda term: term.component not in discards and term.name not in discards)
    adds_checkpoint = discards not in ((), _CORE)
    return Ledger((checkpoint, *kept)) if adds_checkpoint else kept


def _region_name(policy: Policy) -> str:
    return "full" if policy.every > 1 else policy.name
