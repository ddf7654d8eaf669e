"""The weights of each block, by the module that has them: what the number of parameters is counted from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from actckpt.algebra import D, F, Form, H, n, n_kv, total

Weights = Mapping[str, tuple[Form, ...]]


@dataclass(frozen=True)
class Traits:
    """What a block has in addition to its sizes.

    Attributes:
        qkv_bias: Whether the q, k and v projections have a bias.
        qk_norm: Whether each head of q and k is normalised.
        windowed: Whether a query sees at most W keys rather than all before it.
    """

    qkv_bias: bool = False
    qk_norm: bool = False
    windowed: bool = False


def llama_weights(traits: Traits) -> Weights:
    """The shapes of a Llama block's weights; a projection's is [in, out]."""
    q, kv = n * D, n_kv * D
    biases = {"q_proj.bias": (q,), "k_proj.bias": (kv,), "v_proj.bias": (kv,)}
    return {
        "norm_1": (H,),
        "q_proj": (H, q),
        "k_proj": (H, kv),
        "v_proj": (H, kv),
        **(biases if traits.qkv_bias else {}),
        **({"q_norm": (D,), "k_norm": (D,)} if traits.qk_norm else {}),
        "o_proj": (q, H),
        "norm_2": (H,),
        "gate_proj": (H, F),
        "up_proj": (H, F),
        "down_proj": (F, H),
    }


def gpt_weights(traits: Traits) -> Weights:
    """The shapes of a GPT block's weights, each projection with a bias; a LayerNorm has a weight and a bias."""
    q, kv = n * D, n_kv * D
    return {
        **dict.fromkeys(("norm_1", "norm_2"), (2 * H,)),
        "qkv": (H, q + 2 * kv),
        "qkv.bias": (q + 2 * kv,),
        "o_proj": (q, H),
        "o_proj.bias": (H,),
        "ffn_1": (H, F),
        "ffn_1.bias": (F,),
        "ffn_2": (F, H),
        "ffn_2.bias": (H,),
    }


def n_elements(weights: Weights) -> Form:
    """The number of parameters of a block."""
    return total(prod(shape, start=Form.of(1)) for shape in weights.values())
