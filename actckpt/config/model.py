"""ModelConfig: the sizes of a model."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

from actckpt.algebra import Point
from actckpt.blocks.weights import Traits, gpt_weights, llama_weights, n_elements
from actckpt.errors import InputError, shown


@dataclass(frozen=True)
class RopeScaling:
    """Llama 3.1's stretching of the rotary frequencies for long context: `rope_type` "llama3" in a config.json.

    Raises:
        InputError: A number is not positive, or the factors of the frequencies are not in order.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position: int

    def __post_init__(self) -> None:
        for number in ("factor", "low_freq_factor", "high_freq_factor"):
            positive_number("rope scaling", vars(self), number)
        whole_number("rope scaling", vars(self), "original_max_position")
        if self.low_freq_factor >= self.high_freq_factor:
            raise InputError(
                f"rope scaling: low_freq_factor is {self.low_freq_factor}: it must be below high_freq_factor, "
                f"{self.high_freq_factor}"
            )


class HasToDict(Protocol):
    """A configuration object that writes itself as a mapping, as transformers' `PretrainedConfig` does."""

    def to_dict(self) -> dict[str, Any]:
        """The content of its config.json."""


_SIZES = ("hidden_size", "n_layers", "n_heads", "n_kv_heads", "head_dim", "ffn_size", "vocab_size")
# far beyond any model, and small enough that a mistake in a file is told from a size
MAX_SIZE, MAX_LAYERS = 2**40, 2**16


@dataclass(frozen=True)
class ModelConfig:
    """The sizes of a transformer.

    Attributes:
        name: What to call it.
        hidden_size: H, the width of the residual stream.
        n_layers: L, the number of blocks.
        n_heads: n, the number of query heads.
        n_kv_heads: The number of key/value heads; n for multi-head attention, 1 for multi-query attention.
        head_dim: D, the width of a head.
        ffn_size: F, the width of the FFN's inside.
        vocab_size: V, the number of tokens.
        block: "llama" (RMSNorm, RoPE, grouped queries, SwiGLU, no bias) or "gpt" (LayerNorm, GELU, dropout, biases).
        tied_embeddings: Whether the output projection shares the embedding's weight.
        qkv_bias: Whether the q, k and v projections of a Llama block have a bias (Qwen2).
        qk_norm: Whether a Llama block normalises each head of q and k before RoPE (Qwen3).
        n_positions: The number of learned positions (gpt); 0 for none.
        rope_theta: The base of the rotary frequencies (llama).
        rope_scaling: How the rotary frequencies are stretched, or None.
        norm_eps: What the norms add to the mean square.
        sliding_window: W, the number of keys that a query of every block sees at most, its own among them, or None for
            all. Flash attention computes only what is visible. Eager attention computes every score and masks it. No
            saved tensor depends on it.

    Raises:
        InputError: A size is not a positive whole number, the heads do not divide, or another value cannot be used.
    """

    name: str
    hidden_size: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    ffn_size: int
    vocab_size: int
    block: Literal["llama", "gpt"] = "llama"
    tied_embeddings: bool = False
    qkv_bias: bool = False
    qk_norm: bool = False
    n_positions: int = 0
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    norm_eps: float = 1e-5
    sliding_window: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise InputError(f"the name of a model is {shown(self.name)}: it must be a string")
        for size in (*_SIZES, *(() if self.sliding_window is None else ("sliding_window",))):
            whole_number(self.name, vars(self), size, most=MAX_LAYERS if size == "n_layers" else MAX_SIZE)
        whole_number(self.name, vars(self), "n_positions", least=0)
        if not isinstance(self.block, str) or self.block not in ("llama", "gpt"):
            raise InputError(f"{self.name}: block is {shown(self.block)}: it must be 'llama' or 'gpt'")
        for flag in ("tied_embeddings", "qkv_bias", "qk_norm"):
            if not isinstance(getattr(self, flag), bool):
                raise InputError(f"{self.name}: {flag} is {shown(getattr(self, flag))}: it must be True or False")
        if not isinstance(self.rope_scaling, RopeScaling | None):
            raise InputError(
                f"{self.name}: rope_scaling is {shown(self.rope_scaling)}: it must be a RopeScaling, or None"
            )
        for number in ("rope_theta", "norm_eps"):
            positive_number(self.name, vars(self), number)
        if self.n_heads % self.n_kv_heads:
            raise InputError(
                f"{self.name}: {self.n_heads} heads do not divide into {self.n_kv_heads} key/value heads: "
                "n_heads must be a multiple of n_kv_heads"
            )
        if self.block == "llama" and self.head_dim % 2:
            raise InputError(f"{self.name}: head_dim is {self.head_dim}: RoPE rotates pairs, so it must be even")

    @property
    def q_size(self) -> int:
        """The width of all query heads together; H in most models."""
        return self.n_heads * self.head_dim

    @property
    def kv_size(self) -> int:
        """The width of all key heads together."""
        return self.n_kv_heads * self.head_dim

    @cached_property
    def traits(self) -> Traits:
        """What a block has in addition to its sizes."""
        return Traits(self.qkv_bias, self.qk_norm, self.sliding_window is not None)

    def axes(self, seq_len: int, batch_size: int = 1) -> dict[str, int]:
        """The sizes of the axes of a formula, by the names in `actckpt.algebra.AXES`."""
        return {
            "L": self.n_layers,
            "n": self.n_heads,
            "n_kv": self.n_kv_heads,
            "S": seq_len,
            "W": seq_len if self.sliding_window is None else min(seq_len, self.sliding_window),
            "B": batch_size,
            "H": self.hidden_size,
            "D": self.head_dim,
            "F": self.ffn_size,
            "V": self.vocab_size,
        }

    @property
    def block_parameters(self) -> int:
        """The number of parameters of one block."""
        weights = llama_weights if self.block == "llama" else gpt_weights
        return n_elements(weights(self.traits)).at(Point(self.axes(1)))

    @cached_property
    def n_parameters(self) -> int:
        """N, the number of parameters of the whole model; a tied output projection counts once."""
        h, v = self.hidden_size, self.vocab_size
        embeddings = v * h + (0 if self.tied_embeddings else v * h) + self.n_positions * h
        final_norm = 2 * h if self.block == "gpt" else h
        return embeddings + self.n_layers * self.block_parameters + final_norm

    @classmethod
    def from_hf(cls, source: str | os.PathLike[str] | Mapping[str, Any] | HasToDict) -> ModelConfig:
        """The sizes that a Hugging Face `config.json` states.

        Args:
            source: The file, a folder that holds it, its content as a mapping, or a configuration of transformers.
                Llama, Mistral and the dense Qwen2 and Qwen3 can be modelled.

        Raises:
            InputError: The file cannot be read, lacks a size, or describes what this package does not model.
        """
        from actckpt.config.huggingface import read

        return read(source)


def positive_number(name: str, content: Mapping[str, Any], key: str) -> float:
    """The number under a key.

    Raises:
        InputError: It is not positive, or no float.
    """
    value = content.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= sys.float_info.max:
        raise InputError(f"{name}: {key} is {shown(value)}: it must be a positive number")
    return float(value)


def whole_number(name: str, content: Mapping[str, Any], key: str, *, least: int = 1, most: int = MAX_SIZE) -> int:
    """The whole number under a key.

    Raises:
        InputError: It is not whole, too small or too large.
    """
    value = content.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name}: {key} is {shown(value)}: it must be a whole number of at least {least}")
    if value > most:
        raise InputError(f"{name}: {key} is {shown(value)}: it must be at most {most}")
    return value
