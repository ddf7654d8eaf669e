"""ModelConfig: the only place where the sizes of a model live, its presets, and Hugging Face's config.json."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import NoneType
from typing import Any, Literal, Protocol

from actckpt.algebra import Point
from actckpt.blocks.weights import Traits, gpt_weights, llama_weights, n_elements
from actckpt.errors import InputError, unknown


@dataclass(frozen=True)
class RopeScaling:
    """Llama 3.1's stretching of the rotary frequencies for long context: `rope_type` "llama3" in a config.json."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position: int


class HasToDict(Protocol):
    """A configuration object that writes itself as a mapping, as transformers' `PretrainedConfig` does."""

    def to_dict(self) -> dict[str, Any]:
        """The content of its config.json."""


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
        for size in (*_SIZES, *(() if self.sliding_window is None else ("sliding_window",))):
            value = getattr(self, size)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"{self.name}: {size} is {value!r}: it must be a whole number of at least 1")
            limit = MAX_LAYERS if size == "n_layers" else MAX_SIZE
            if value > limit:
                raise InputError(f"{self.name}: {size} is {value}: it must be at most {limit}")
        if self.block not in ("llama", "gpt"):
            raise InputError(f"{self.name}: block is {self.block!r}: it must be 'llama' or 'gpt'")
        for number in ("rope_theta", "norm_eps"):
            _positive_number(self.name, vars(self), number)
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
        """What a block has beside its sizes."""
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
        if not isinstance(source, str | os.PathLike | Mapping):
            if not hasattr(source, "to_dict"):
                raise InputError(f"the config.json is {source!r}: give a file, a folder with one, or its content")
            source = source.to_dict()
        if isinstance(source, Mapping):
            return _from_mapping(source, str(source.get("_name_or_path") or source.get("model_type", "model")))
        if not str(source):
            raise InputError("the path of the config.json is empty: give a file, or a folder with one")
        path = Path(source)
        try:
            path = path / "config.json" if path.is_dir() else path
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise InputError(f"cannot read {str(path)!r}: {error.strerror}: give a config.json") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{str(path)!r} is not JSON ({error}): give a Hugging Face config.json") from error
        if not isinstance(content, dict):
            raise InputError(f"{str(path)!r} holds a JSON {type(content).__name__}: a config.json holds an object")
        name = path.resolve().parent.name if path.name == "config.json" else path.stem
        return _from_mapping(content, str(content.get("_name_or_path") or name))


_SIZES = ("hidden_size", "n_layers", "n_heads", "n_kv_heads", "head_dim", "ffn_size", "vocab_size")
_HF_DENSE = ("llama", "mistral", "qwen2", "qwen3")


def _from_mapping(content: Mapping[str, Any], name: str) -> ModelConfig:
    # an error that starts with the name is one line
    name = " ".join(name.split())
    model_type = content.get("model_type")
    experts = [key for key in content if "expert" in key and content[key]]
    if experts or "moe" in str(model_type) or model_type == "mixtral":
        raise InputError(
            f"{name}: model_type {model_type!r} is a mixture of experts, which is not modelled: "
            f"give a dense model ({', '.join(_HF_DENSE)})"
        )
    if model_type not in _HF_DENSE:
        raise InputError(f"{name}: model_type {model_type!r} is not modelled: known are {', '.join(_HF_DENSE)}")
    for key, modelled in (("hidden_act", "silu"), ("mlp_bias", False)):
        if content.get(key, modelled) != modelled:
            raise InputError(f"{name}: {key} {content[key]!r} is not modelled: it must be {modelled!r}")
    if content.get("attention_bias"):
        raise InputError(f"{name}: attention_bias true is not modelled: it must be false")
    try:
        hidden_size, n_heads = content["hidden_size"], content["num_attention_heads"]
        n_layers, ffn_size, vocab_size = (
            content[key] for key in ("num_hidden_layers", "intermediate_size", "vocab_size")
        )
    except KeyError as error:
        raise InputError(f"{name}: config.json lacks {error}: it must state every size of the model") from error
    head_dim = content.get("head_dim") or _head_dim(name, hidden_size, n_heads)
    rope = content.get("rope_parameters") or content.get("rope_scaling") or {}
    if not isinstance(rope, Mapping):
        raise InputError(f"{name}: the rope parameters are {rope!r}: they must be an object, or null")
    theta = next((source for source in (rope, content) if source.get("rope_theta")), {"rope_theta": 10_000.0})
    config = ModelConfig(
        name=name,
        hidden_size=hidden_size,
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=n_heads if content.get("num_key_value_heads") is None else content["num_key_value_heads"],
        head_dim=head_dim,
        ffn_size=ffn_size,
        vocab_size=vocab_size,
        tied_embeddings=_flag(name, content, "tie_word_embeddings"),
        qkv_bias=model_type == "qwen2",
        qk_norm=model_type == "qwen3",
        rope_theta=_positive_number(name, theta, "rope_theta"),
        rope_scaling=_rope_scaling(name, rope),
        norm_eps=_positive_number(name, {"rms_norm_eps": 1e-6, **content}, "rms_norm_eps"),
    )
    return replace(config, sliding_window=_sliding_window(content, config))


def _positive_number(name: str, content: Mapping[str, Any], key: str) -> float:
    value = content.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise InputError(f"{name}: {key} is {value!r}: it must be a positive number")
    return float(value)


def _flag(name: str, content: Mapping[str, Any], key: str) -> bool:
    value = content.get(key)
    if not isinstance(value, bool | NoneType):
        raise InputError(f"{name}: {key} is {value!r}: it must be true, false or null")
    return bool(value)


def _head_dim(name: str, hidden_size: Any, n_heads: Any) -> int:
    for key, value in (("hidden_size", hidden_size), ("num_attention_heads", n_heads)):
        if not isinstance(value, int) or value < 1:
            raise InputError(f"{name}: {key} is {value!r}: it must be a whole number of at least 1")
    if hidden_size % n_heads:
        raise InputError(
            f"{name}: a hidden size of {hidden_size!r} does not divide into {n_heads!r} heads: "
            "hidden_size must be a multiple of num_attention_heads, or head_dim must be stated"
        )
    return hidden_size // n_heads


def _rope_scaling(name: str, rope: Mapping[str, Any]) -> RopeScaling | None:
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return None
    if kind != "llama3":
        raise InputError(f"{name}: rope scaling {kind!r} is not modelled: known are default, llama3")
    return RopeScaling(
        factor=_positive_number(name, rope, "factor"),
        low_freq_factor=_positive_number(name, rope, "low_freq_factor"),
        high_freq_factor=_positive_number(name, rope, "high_freq_factor"),
        original_max_position=int(_positive_number(name, rope, "original_max_position_embeddings")),
    )


def _sliding_window(content: Mapping[str, Any], config: ModelConfig) -> int | None:
    # as transformers 5 reads it: Llama has no window, Mistral's needs no switch, and a window of null is none
    mistral = content["model_type"] == "mistral"
    window = content.get("sliding_window", 4096)
    used = mistral or _flag(config.name, content, "use_sliding_window")
    if content["model_type"] == "llama" or window is None or not used:
        return None
    n_windowed = _windowed_layers(content, config)
    if n_windowed == config.n_layers:
        return window
    # Mistral's class has the window on every layer, whatever the file says of its layers
    if n_windowed == 0 and not mistral:
        return None
    raise InputError(
        f"{config.name}: a sliding window on {n_windowed} of {config.n_layers} layers is not modelled: it must be on "
        f"all of them; for sequences of at most {window!r} tokens, set sliding_window to null"
    )


def _windowed_layers(content: Mapping[str, Any], config: ModelConfig) -> int:
    kinds, n_layers = content.get("layer_types"), config.n_layers
    if kinds is not None:
        known = ("full_attention", "sliding_attention")
        if not isinstance(kinds, list) or len(kinds) != n_layers or any(kind not in known for kind in kinds):
            raise InputError(
                f"{config.name}: layer_types is {kinds!r}: it must be a list of {n_layers}, each {' or '.join(known)}"
            )
        return kinds.count("sliding_attention")
    # of Qwen2 and Qwen3 the first max_window_layers layers see all keys
    n_full = 0 if content["model_type"] == "mistral" else content.get("max_window_layers", 28)
    if not isinstance(n_full, int) or isinstance(n_full, bool) or n_full < 0:
        raise InputError(f"{config.name}: max_window_layers is {n_full!r}: it must be a whole number of at least 0")
    return max(0, n_layers - n_full)


_LLAMA_3_VOCAB = 128_256


def _llama_3_rope(factor: float) -> RopeScaling:
    return RopeScaling(factor, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position=8192)


def _llama_3(name: str, h: int, layers: int, heads: int, ffn: int, factor: float, tied: bool = False) -> ModelConfig:
    # head_dim is 128 but for the 1B model
    return ModelConfig(
        name=name,
        hidden_size=h,
        n_layers=layers,
        n_heads=heads,
        n_kv_heads=8,
        head_dim=h // heads,
        ffn_size=ffn,
        vocab_size=_LLAMA_3_VOCAB,
        tied_embeddings=tied,
        rope_theta=500_000.0,
        rope_scaling=_llama_3_rope(factor),
    )


def _gpt(name: str, h: int, layers: int, heads: int, vocab: int) -> ModelConfig:
    return ModelConfig(
        name=name,
        hidden_size=h,
        n_layers=layers,
        n_heads=heads,
        n_kv_heads=heads,
        head_dim=h // heads,
        ffn_size=4 * h,
        vocab_size=vocab,
        block="gpt",
        tied_embeddings=True,
        n_positions=2048,
    )


PRESETS: dict[str, ModelConfig] = {
    config.name: config
    for config in (
        # Llama 3 report (arXiv 2407.21783), table 3; the 1B and 3B sizes from their model cards
        _llama_3("llama-3.1-8b", 4096, 32, 32, 14_336, factor=8.0),
        _llama_3("llama-3.1-70b", 8192, 80, 64, 28_672, factor=8.0),
        _llama_3("llama-3.1-405b", 16_384, 126, 128, 53_248, factor=8.0),
        _llama_3("llama-3.2-1b", 2048, 16, 32, 8192, factor=32.0, tied=True),
        _llama_3("llama-3.2-3b", 3072, 28, 24, 8192, factor=32.0, tied=True),
        # GPT-3 (arXiv 2005.14165), table 2.1
        _gpt("gpt-3-175b", 12_288, 96, 96, 50_257),
        # Korthikanti et al. (arXiv 2205.05198), table 3
        _gpt("gpt-22b", 6144, 48, 64, 51_200),
        _gpt("gpt-530b", 20_480, 105, 128, 51_200),
        _gpt("gpt-1t", 25_600, 128, 160, 51_200),
    )
}


def get_config(model: str | ModelConfig) -> ModelConfig:
    """The preset of that name, "Llama 3.1 8B" or "llama-3.1-8b"; a `ModelConfig` is handed back as it is.

    Raises:
        InputError: The name is unknown.
    """
    if isinstance(model, ModelConfig):
        return model
    if not isinstance(model, str):
        raise InputError(f"the model is {model!r}: it must be a name or a ModelConfig")
    name = model.strip().lower().replace(" ", "-")
    if name not in PRESETS:
        raise unknown("model", model, PRESETS)
    return PRESETS[name]
