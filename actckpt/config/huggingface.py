"""The sizes that a Hugging Face `config.json` states."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import NoneType
from typing import Any

from actckpt.config.model import HasToDict, ModelConfig, RopeScaling, positive_number, whole_number
from actckpt.errors import InputError, shown

# a name is repeated in every message
_LONGEST_NAME = 200
# characters of a path in a message
_LONGEST_PATH = 400
_HF_DENSE = ("llama", "mistral", "qwen2", "qwen3")


def read(source: str | os.PathLike[str] | Mapping[str, Any] | HasToDict) -> ModelConfig:
    """What `ModelConfig.from_hf` does."""
    if not isinstance(source, str | os.PathLike | Mapping):
        content = None if isinstance(source, type) else getattr(source, "to_dict", lambda: None)()
        if not isinstance(content, Mapping):
            raise InputError(f"the config.json is {shown(source)}: give a file, a folder with one, or its content")
        source = content
    if isinstance(source, Mapping):
        return _from_mapping(_as_json(source))
    if not str(source):
        raise InputError("the path of the config.json is empty: give a file, or a folder with one")
    path = Path(source)
    place = shown(str(path), _LONGEST_PATH)
    try:
        path = path / "config.json" if path.is_dir() else path
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"cannot read {place}: {error.strerror}: give a config.json") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place} is not JSON ({error}): give a Hugging Face config.json") from error
    if not isinstance(content, dict):
        raise InputError(f"{place} holds a JSON {type(content).__name__}: a config.json holds an object")
    return _from_mapping(content, path.resolve().parent.name if path.name == "config.json" else path.stem)


def _as_json(content: Mapping[str, Any]) -> dict[str, Any]:
    # what no file can hold is a string from here on, and refused where a number is needed
    try:
        return json.loads(json.dumps(dict(content), default=shown))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"the config.json cannot be written as JSON ({error}): give what a file could hold") from error


def _from_mapping(content: Mapping[str, Any], name: str = "") -> ModelConfig:
    # an error that starts with the name is one line, and moves no cursor
    name = str(content.get("_name_or_path") or name or content.get("model_type", "model"))
    name = " ".join(name.split())[:_LONGEST_NAME]
    name = "".join(character if character.isprintable() else "?" for character in name)
    model_type = content.get("model_type")
    experts = [key for key in content if "expert" in key and content[key]]
    if experts or "moe" in str(model_type) or model_type == "mixtral":
        raise InputError(
            f"{name}: model_type {shown(model_type)} is a mixture of experts, which is not modelled: "
            f"give a dense model ({', '.join(_HF_DENSE)})"
        )
    if model_type not in _HF_DENSE:
        raise InputError(f"{name}: model_type {shown(model_type)} is not modelled: use one of {', '.join(_HF_DENSE)}")
    for key, modelled in (("hidden_act", "silu"), ("mlp_bias", False)):
        if content.get(key, modelled) != modelled:
            raise InputError(f"{name}: {key} {shown(content[key])} is not modelled: it must be {modelled!r}")
    if content.get("attention_bias"):
        raise InputError(f"{name}: attention_bias true is not modelled: it must be false")
    try:
        hidden_size, n_heads = content["hidden_size"], content["num_attention_heads"]
        n_layers, ffn_size, vocab_size = (
            content[key] for key in ("num_hidden_layers", "intermediate_size", "vocab_size")
        )
    except KeyError as error:
        raise InputError(f"{name}: config.json lacks {error}: it must state every size of the model") from error
    head_dim = content.get("head_dim")
    head_dim = _head_dim(name, hidden_size, n_heads) if head_dim is None else head_dim
    rope = content.get("rope_parameters") or content.get("rope_scaling") or {}
    if not isinstance(rope, Mapping):
        raise InputError(f"{name}: the rope parameters are {shown(rope)}: they must be an object, or null")
    stated = (source for source in (rope, content) if source.get("rope_theta") is not None)
    theta = next(stated, {"rope_theta": 10_000.0})
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
        rope_theta=positive_number(name, theta, "rope_theta"),
        rope_scaling=_rope_scaling(name, rope),
        norm_eps=positive_number(name, {"rms_norm_eps": 1e-6, **content}, "rms_norm_eps"),
    )
    return replace(config, sliding_window=_sliding_window(content, config))


def _flag(name: str, content: Mapping[str, Any], key: str) -> bool:
    value = content.get(key)
    if not isinstance(value, bool | NoneType):
        raise InputError(f"{name}: {key} is {shown(value)}: it must be true, false or null")
    return bool(value)


def _head_dim(name: str, hidden_size: Any, n_heads: Any) -> int:
    for key, value in (("hidden_size", hidden_size), ("num_attention_heads", n_heads)):
        whole_number(name, {key: value}, key)
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
        raise InputError(f"{name}: rope scaling {shown(kind)} is not modelled: use one of default, llama3")
    return RopeScaling(
        factor=positive_number(name, rope, "factor"),
        low_freq_factor=positive_number(name, rope, "low_freq_factor"),
        high_freq_factor=positive_number(name, rope, "high_freq_factor"),
        original_max_position=whole_number(name, rope, "original_max_position_embeddings"),
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
                f"{config.name}: layer_types is {shown(kinds)}: "
                f"it must be a list of {n_layers}, each {' or '.join(known)}"
            )
        return kinds.count("sliding_attention")
    # of Qwen2 and Qwen3 the first max_window_layers layers see all keys
    n_full = 0 if content["model_type"] == "mistral" else content.get("max_window_layers", 28)
    n_full = whole_number(config.name, {"max_window_layers": n_full}, "max_window_layers", least=0)
    return max(0, n_layers - n_full)
