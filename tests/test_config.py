"""What a config.json of Hugging Face becomes, and what is refused by name."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

from actckpt import PRESETS, InputError, ModelConfig
from actckpt.config import RopeScaling

SIZES = {
    "hidden_size": 64,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "num_hidden_layers": 3,
    "intermediate_size": 112,
    "vocab_size": 500,
}
LLAMA = {"model_type": "llama", **SIZES}
QWEN = {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 64}
LLAMA_3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def written(config: Any, folder: Path) -> ModelConfig:
    """From the config.json that transformers writes."""
    config.save_pretrained(folder)
    return ModelConfig.from_hf(folder)


def sizes(config: ModelConfig) -> tuple[int, ...]:
    return (
        config.hidden_size,
        config.n_heads,
        config.n_kv_heads,
        config.n_layers,
        config.ffn_size,
        config.vocab_size,
    )


@pytest.mark.parametrize(
    ("make", "qkv_bias", "qk_norm", "head_dim"),
    [
        (LlamaConfig, False, False, 8),
        (MistralConfig, False, False, 8),
        (Qwen2Config, True, False, 8),
        # Qwen3 states its own head_dim, 128
        (Qwen3Config, False, True, 128),
    ],
)
def test_what_transformers_writes_is_read(
    make: Any, qkv_bias: bool, qk_norm: bool, head_dim: int, tmp_path: Path
) -> None:
    config = written(make(**SIZES, rms_norm_eps=3e-6, tie_word_embeddings=True), tmp_path)
    assert sizes(config) == (64, 8, 2, 3, 112, 500)
    assert (config.qkv_bias, config.qk_norm, config.head_dim) == (qkv_bias, qk_norm, head_dim)
    assert (config.norm_eps, config.tied_embeddings, config.block) == (3e-6, True, "llama")
    assert config.name == tmp_path.name
    assert not written(make(**SIZES, tie_word_embeddings=False), tmp_path).tied_embeddings


@pytest.mark.parametrize("make", [LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config])
def test_a_configuration_of_transformers_is_read_as_the_file_that_it_writes(make: Any, tmp_path: Path) -> None:
    config = make(**SIZES, rms_norm_eps=3e-6)
    assert replace(ModelConfig.from_hf(config), name=tmp_path.name) == written(config, tmp_path)


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(LLAMA), encoding="utf-8-sig")
    assert sizes(ModelConfig.from_hf(file)) == sizes(ModelConfig.from_hf(LLAMA))


@pytest.mark.parametrize("source", [None, 3, ["config.json"]])
def test_what_is_no_configuration_is_refused(source: Any) -> None:
    with pytest.raises(InputError, match=re.escape(f"the config.json is {source!r}: give a file")):
        ModelConfig.from_hf(source)


def test_another_key_for_a_size_would_be_noticed(tmp_path: Path) -> None:
    config = written(LlamaConfig(**SIZES | {"intermediate_size": 113}), tmp_path)
    assert sizes(config) != (64, 8, 2, 3, 112, 500)


@pytest.mark.parametrize("name", ["llama-3.1-8b", "llama-3.1-405b", "llama-3.2-1b"])
def test_a_config_json_of_a_preset_is_the_preset(name: str, tmp_path: Path) -> None:
    preset = PRESETS[name]
    assert preset.rope_scaling
    hf = LlamaConfig(
        hidden_size=preset.hidden_size,
        num_attention_heads=preset.n_heads,
        num_key_value_heads=preset.n_kv_heads,
        num_hidden_layers=preset.n_layers,
        intermediate_size=preset.ffn_size,
        vocab_size=preset.vocab_size,
        tie_word_embeddings=preset.tied_embeddings,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_theta": 500_000.0, **LLAMA_3_ROPE, "factor": preset.rope_scaling.factor},
    )
    assert replace(written(hf, tmp_path), name=name) == preset


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_theta": 5e5, "rope_scaling": LLAMA_3_ROPE},
        {"rope_parameters": {"rope_theta": 5e5, **LLAMA_3_ROPE}},
    ],
    ids=["older", "newer"],
)
def test_both_forms_of_rope_parameters_are_read(rope: dict[str, Any]) -> None:
    config = ModelConfig.from_hf(LLAMA | rope)
    assert config.rope_theta == 500_000.0
    assert config.rope_scaling == RopeScaling(8.0, 1.0, 4.0, 8192)


@pytest.mark.parametrize(
    "rope",
    [
        {},
        {"rope_scaling": None},
        {"rope_scaling": {"rope_type": "default"}},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000}},
    ],
)
def test_without_scaling_the_frequencies_are_plain(rope: dict[str, Any]) -> None:
    config = ModelConfig.from_hf(LLAMA | rope)
    assert (config.rope_theta, config.rope_scaling) == (10_000.0, None)


def test_the_same_sizes_from_a_file_a_folder_and_a_mapping(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    (tmp_path / "tiny.json").write_text(json.dumps(LLAMA))
    configs = [ModelConfig.from_hf(source) for source in (tmp_path, str(tmp_path / "config.json"), LLAMA)]
    assert len({replace(config, name="") for config in configs}) == 1
    assert [config.name for config in configs] == [tmp_path.name, tmp_path.name, "llama"]
    assert ModelConfig.from_hf(tmp_path / "tiny.json").name == "tiny"
    assert ModelConfig.from_hf(LLAMA | {"_name_or_path": "org/model"}).name == "org/model"


def test_without_key_value_heads_attention_is_multi_head() -> None:
    assert ModelConfig.from_hf({k: v for k, v in LLAMA.items() if k != "num_key_value_heads"}).n_kv_heads == 8


@pytest.mark.parametrize(
    ("content", "window"),
    [
        ({"model_type": "mistral", "sliding_window": 64}, 64),
        ({"model_type": "mistral", "sliding_window": None}, None),
        ({"model_type": "mistral"}, 4096),
        # it has no such switch
        ({"model_type": "mistral", "sliding_window": 64, "use_sliding_window": False}, 64),
        (QWEN | {"model_type": "llama", "max_window_layers": 0}, None),
        ({"model_type": "qwen2", "sliding_window": 64, "use_sliding_window": False}, None),
        ({"model_type": "qwen2", "sliding_window": 64}, None),
        ({"model_type": "qwen2", "sliding_window": None, "use_sliding_window": True, "max_window_layers": 0}, None),
        # the first 28 layers see all keys, and there are three
        ({"model_type": "qwen3", "sliding_window": 64, "use_sliding_window": True}, None),
        ({"model_type": "qwen3", "use_sliding_window": True, "max_window_layers": 0}, 4096),
    ],
)
def test_the_sliding_window_is_the_one_that_is_used(content: dict[str, Any], window: int | None) -> None:
    assert ModelConfig.from_hf(LLAMA | content).sliding_window == window


@pytest.mark.parametrize("make", [Qwen2Config, Qwen3Config])
@pytest.mark.parametrize(
    "options",
    [
        {"use_sliding_window": False, "max_window_layers": 0},
        *({"max_window_layers": layers} for layers in (0, 1, 2, 3, 4)),
        *({"layer_types": kinds} for kinds in (["sliding_attention"] * 3, ["full_attention"] * 3)),
        {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"], "max_window_layers": 0},
    ],
    ids=str,
)
def test_a_window_on_some_layers_alone_is_refused_where_transformers_has_it_so(
    make: Any, options: dict[str, Any], tmp_path: Path
) -> None:
    theirs = make(**SIZES, **{"use_sliding_window": True, "sliding_window": 64, **options})
    windows = {theirs.sliding_window if kind == "sliding_attention" else None for kind in theirs.layer_types}
    # what the file says by itself, and what transformers makes of it
    sources = [{"use_sliding_window": True, "sliding_window": 64, "model_type": theirs.model_type, **SIZES, **options}]
    theirs.save_pretrained(tmp_path)
    for source in (*sources, theirs, tmp_path):
        if len(windows) == 1:
            assert {ModelConfig.from_hf(source).sliding_window} == windows
        else:
            with pytest.raises(InputError, match=r"a sliding window on \d of 3 layers is not modelled"):
                ModelConfig.from_hf(source)


# What is refused


def without(key: str) -> dict[str, Any]:
    return {k: v for k, v in LLAMA.items() if k != key}


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ({"model_type": "mixtral"}, "'mixtral' is a mixture of experts"),
        ({"model_type": "qwen3_moe"}, "'qwen3_moe' is a mixture of experts"),
        ({"num_local_experts": 8}, "a mixture of experts"),
        ({"model_type": "gemma2"}, "'gemma2' is not modelled: use one of llama, mistral, qwen2, qwen3"),
        ({"model_type": "gemma"}, "'gemma' is not modelled"),
        ({"model_type": "gpt2"}, "'gpt2' is not modelled"),
        ({"model_type": None}, "None is not modelled"),
        ({"model_type": 7}, "7 is not modelled"),
        ({"model_type": ["llama"]}, "is not modelled"),
        ({"mlp_bias": True}, "mlp_bias True is not modelled"),
        ({"attention_bias": True}, "attention_bias true is not modelled"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu' is not modelled: it must be 'silu'"),
        ({"num_attention_heads": 7}, "does not divide into 7 heads"),
        ({"num_key_value_heads": 3}, "8 heads do not divide into 3 key/value heads"),
        ({"head_dim": 7}, "head_dim is 7: RoPE rotates pairs"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope scaling 'yarn' is not modelled"),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, "rope scaling 'linear' is not modelled"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "low_freq_factor"),
        ({"rope_scaling": LLAMA_3_ROPE | {"factor": "eight"}}, "factor"),
        ({"rope_scaling": [1]}, "rope"),
        ({"rope_theta": "many"}, "rope_theta"),
        ({"rms_norm_eps": None}, "rms_norm_eps"),
        ({"tie_word_embeddings": "false"}, "tie_word_embeddings is 'false': it must be true, false or null"),
        (QWEN | {"use_sliding_window": "false"}, "use_sliding_window is 'false': it must be true, false or null"),
        ({"model_type": "mistral", "sliding_window": "wide"}, "sliding_window"),
        ({"model_type": "mistral", "sliding_window": -1}, "sliding_window"),
        ({"model_type": "mistral", "layer_types": ["full_attention"] * 3}, "a sliding window on 0 of 3 layers"),
        (QWEN | {"max_window_layers": 1}, "a sliding window on 2 of 3 layers is not modelled: it must be on all"),
        (QWEN | {"max_window_layers": 1, "num_hidden_layers": 0}, "n_layers is 0"),
        (QWEN | {"max_window_layers": 0, "sliding_window": "wide"}, "sliding_window"),
        *(
            (QWEN | {"max_window_layers": layers}, f"max_window_layers is {layers!r}: it must be a whole number")
            for layers in (None, "1", -1, True)
        ),
        *(
            (QWEN | {"layer_types": kinds}, f"layer_types is {kinds!r}: it must be a list of 3")
            for kinds in ([], ["sliding_attention"], ["chunked_attention"] * 3, [["sliding_attention"]] * 3, 3)
        ),
        *(
            ({key: value}, f"{value!r}")
            for key in SIZES
            if key not in ("num_key_value_heads",)
            for value in ("64", True, -64, 64.0, [64], 0)
        ),
        *(({"num_key_value_heads": value}, f"{value!r}") for value in ("2", True, -2, 2.0)),
        *(({"head_dim": value}, f"{value!r}") for value in ("8", True, -8, 8.0)),
        ({"hidden_size": None}, "None"),
        ({"_name_or_path": "two\nlines", "vocab_size": 0}, "vocab_size"),
    ],
    ids=str,
)
def test_what_cannot_be_modelled_is_refused_by_name_in_one_line(content: dict[str, Any], part: str) -> None:
    with pytest.raises(InputError) as refusal:
        ModelConfig.from_hf(LLAMA | content)
    assert part in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("key", [key for key in SIZES if key != "num_key_value_heads"])
def test_a_missing_size_is_named(key: str) -> None:
    with pytest.raises(InputError, match=f"lacks '{key}'"):
        ModelConfig.from_hf(without(key))


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\x00\xff\xfe\x80", "is not JSON"),
        (b"[]", "holds a JSON list: a config.json holds an object"),
        (b"3", "holds a JSON int"),
        (b"null", "holds a JSON NoneType"),
        (b"[" * 100_000, "JSON"),
    ],
)
def test_a_file_that_holds_no_config_is_refused_in_one_line(content: bytes, part: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content)
    with pytest.raises(InputError) as refusal:
        ModelConfig.from_hf(file)
    assert part in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_not_there_is_refused_in_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match=r"cannot read .*No such file") as refusal:
            ModelConfig.from_hf(path)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("size", "value"),
    [
        ("hidden_size", 0),
        ("n_layers", -1),
        ("n_heads", 2.0),
        ("head_dim", "4"),
        ("ffn_size", True),
        ("vocab_size", None),
        ("sliding_window", 0),
    ],
)
def test_a_configuration_with_a_wrong_size_is_refused(size: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{size} is {value!r}: it must be a whole number of at least 1"):
        replace(PRESETS["llama-3.1-8b"], **{size: value})


@pytest.mark.parametrize(
    ("field", "value", "right"),
    [
        ("block", "moe", "it must be 'llama' or 'gpt'"),
        ("block", None, "it must be 'llama' or 'gpt'"),
        *(
            (field, value, "it must be a positive number")
            for field in ("norm_eps", "rope_theta")
            for value in ("a", -1, 0)
        ),
    ],
)
def test_a_configuration_with_another_wrong_value_is_refused(field: str, value: Any, right: str) -> None:
    with pytest.raises(InputError, match=f"^llama-3.1-8b: {field} is {value!r}: {right}$"):
        replace(PRESETS["llama-3.1-8b"], **{field: value})
