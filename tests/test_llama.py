"""The package's Llama computes what transformers' Llama, Mistral, Qwen2 and Qwen3 compute, from the same weights."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from actckpt import PRESETS, InputError, Llama, LlamaBlock, ModelConfig
from actckpt.llama import rope_frequencies

SIZES: dict[str, Any] = {
    "hidden_size": 48,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 72,
    "vocab_size": 61,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "pad_token_id": None,
}
# an original context of 24 positions, so that some frequencies are stretched, some kept and one interpolated
LLAMA_3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 24,
}
MODELS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama": (LlamaForCausalLM, LlamaConfig, {}),
    "llama 3.1": (LlamaForCausalLM, LlamaConfig, {"rope_parameters": LLAMA_3_ROPE}),
    "tied": (LlamaForCausalLM, LlamaConfig, {"tie_word_embeddings": True, "num_key_value_heads": 1}),
    "multi-head": (LlamaForCausalLM, LlamaConfig, {"num_key_value_heads": 6}),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, {}),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, {"head_dim": 12}),
    "mistral": (MistralForCausalLM, MistralConfig, {"sliding_window": 5}),
    "mistral without a window": (MistralForCausalLM, MistralConfig, {"sliding_window": None}),
    "qwen2 with a window": (
        Qwen2ForCausalLM,
        Qwen2Config,
        {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 0},
    ),
}
NAMES = {
    "embedding": "model.embed_tokens",
    "norm": "model.norm",
    "output": "lm_head",
    "norm_1": "input_layernorm",
    "norm_2": "post_attention_layernorm",
    **{name: f"self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm")},
    **{name: f"mlp.{name}" for name in ("gate_proj", "up_proj", "down_proj")},
}
TINY = ModelConfig("tiny", 48, 2, n_heads=6, n_kv_heads=2, head_dim=8, ffn_size=72, vocab_size=61)
TOKENS = torch.randint(0, 61, (2, 33), generator=torch.Generator().manual_seed(3))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def hf_name(name: str) -> str:
    """The name that transformers has for one of our parameters."""
    parts = name.split(".")
    if parts[0] == "layers":
        return f"model.layers.{parts[1]}.{NAMES[parts[2]]}.{parts[3]}"
    return f"{NAMES[parts[0]]}.{parts[1]}"


def pair(model: str, implementation: str, attention: str, dtype: torch.dtype) -> tuple[PreTrainedModel, Llama]:
    """transformers' model with random weights, and ours with the same."""
    torch.manual_seed(0)
    make, make_config, options = MODELS[model]
    hf_config = make_config(**SIZES | options, attn_implementation=implementation)
    theirs = make(hf_config).to(dtype)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, mean=0.1, std=0.3)
    # the rotary frequencies of both stay float32
    ours = Llama(ModelConfig.from_hf(hf_config.to_dict()), attention).to(dtype)
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            parameter.copy_(theirs.get_parameter(hf_name(name)))
    return theirs, ours


def losses(theirs: PreTrainedModel, ours: Llama) -> tuple[list[Tensor], list[Tensor]]:
    """Logits and loss of each, with the gradients left in the parameters."""
    found = ours(TOKENS[:, :-1]), ours(TOKENS[:, :-1], TOKENS[:, 1:])
    # transformers shifts the labels itself
    output = theirs(TOKENS, labels=TOKENS)
    expected = output.logits[:, :-1], output.loss
    found[1].backward()
    expected[1].backward()
    return list(found), list(expected)


# In float64 the two differ by the order of their sums alone, and by float32's: norms and the softmax of transformers,
# and both losses, are taken in float32. Of float32's 6e-8, some thirty roundings add up along the way.
TOLERANCE = {"rtol": 2e-5, "atol": 2e-6}


@pytest.mark.parametrize("attention", ["flash", "eager"])
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("model", MODELS)
def test_logits_loss_and_gradients_are_those_of_transformers(model: str, implementation: str, attention: str) -> None:
    theirs, ours = pair(model, implementation, attention, torch.float64)
    found, expected = losses(theirs, ours)
    check(theirs, ours, found, expected)


def check(theirs: PreTrainedModel, ours: Llama, found: list[Tensor], expected: list[Tensor]) -> None:
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.double(), b.double(), **TOLERANCE)
    for name, parameter in ours.named_parameters():
        right = theirs.get_parameter(hf_name(name)).grad
        assert right.abs().max() > 0
        scale = right.abs().max().item()
        torch.testing.assert_close(parameter.grad / scale, right / scale, rtol=0, atol=3e-5, msg=name)
    assert len(list(ours.parameters())) == len(list(theirs.parameters()))


def test_another_rotary_base_is_noticed() -> None:
    theirs, ours = pair("llama", "eager", "flash", torch.float64)
    for block in ours.layers:
        block.rope.inv_freq *= 1.001
    with pytest.raises(AssertionError):
        check(theirs, ours, *losses(theirs, ours))


@pytest.mark.parametrize("attention", ["flash", "eager"])
@pytest.mark.parametrize("wider", [-1, 1])
def test_another_window_is_noticed(wider: int, attention: str) -> None:
    theirs, ours = pair("mistral", "eager", attention, torch.float64)
    for block in ours.layers:
        block.sliding_window += wider
    with pytest.raises(AssertionError):
        check(theirs, ours, *losses(theirs, ours))


# Rotary frequencies


@pytest.mark.parametrize("name", ["llama-3.1-8b", "llama-3.2-1b"])
def test_rope_frequencies_are_those_of_transformers(name: str) -> None:
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = PRESETS[name]
    assert config.rope_scaling
    hf = LlamaConfig(
        hidden_size=config.hidden_size,
        num_attention_heads=config.n_heads,
        rope_parameters={**LLAMA_3_ROPE, "rope_theta": 500_000.0, "factor": config.rope_scaling.factor}
        | {"original_max_position_embeddings": 8192},
    )
    expected, _ = ROPE_INIT_FUNCTIONS["llama3"](hf, torch.device("cpu"))
    torch.testing.assert_close(rope_frequencies(config), expected, rtol=1e-6, atol=0)
    plain = rope_frequencies(replace(config, rope_scaling=None))
    stretched = plain / rope_frequencies(config)
    assert stretched[0] == 1
    assert stretched[-1] == pytest.approx(config.rope_scaling.factor)


def test_rope_frequencies_survive_a_cast_and_to_empty() -> None:
    expected = rope_frequencies(TINY)
    assert expected.dtype == torch.float32
    assert not torch.equal(expected, expected.bfloat16().float())
    with torch.device("meta"):
        on_meta = Llama(TINY)
    for model in (Llama(TINY).to(torch.bfloat16), Llama(TINY).half().double(), on_meta.to_empty(device="cpu")):
        for block in model.layers:
            assert torch.equal(block.rope.inv_freq, expected)
            assert block.rope.inv_freq.dtype == torch.float32
    assert "layers.0.rope.inv_freq" not in model.state_dict()


def test_a_model_built_on_meta_is_filled_by_init_weights() -> None:
    with torch.device("meta"):
        model = Llama(replace(TINY, qkv_bias=True, qk_norm=True))
    model = model.to_empty(device="cpu")
    for parameter in model.parameters():
        nn.init.constant_(parameter, math.nan)
    torch.manual_seed(0)
    model.init_weights()
    loss = model(TOKENS[:, :-1], TOKENS[:, 1:])
    # it knows nothing yet: every token is as likely
    assert loss.item() == pytest.approx(math.log(61), rel=0.02)


# Parameters


@pytest.mark.parametrize(
    "config",
    [
        *(config for config in PRESETS.values() if config.block == "llama"),
        TINY,
        replace(TINY, name="bias", qkv_bias=True),
        replace(TINY, name="normalised", qk_norm=True, head_dim=10),
        replace(TINY, name="tied", tied_embeddings=True, qkv_bias=True, qk_norm=True, n_kv_heads=1),
    ],
    ids=lambda config: config.name,
)
def test_the_real_module_has_as_many_parameters_as_the_configuration_says(config: ModelConfig) -> None:
    with torch.device("meta"):
        model = Llama(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == config.n_parameters
    assert sum(parameter.numel() for parameter in model.layers[0].parameters()) == config.block_parameters


def test_a_loss_is_the_mean_cross_entropy_in_float32() -> None:
    torch.manual_seed(0)
    model = Llama(TINY).to(torch.bfloat16)
    logits, loss = model(TOKENS[:, :-1]), model(TOKENS[:, :-1], TOKENS[:, 1:])
    assert (logits.dtype, logits.shape) == (torch.bfloat16, (2, 32, 61))
    assert (loss.dtype, loss.shape) == (torch.float32, ())
    right = logits.double().log_softmax(-1).gather(2, TOKENS[:, 1:, None]).mean()
    assert loss.item() == pytest.approx(-right.item(), rel=1e-6)


def logits(config: ModelConfig, attention: str) -> Tensor:
    torch.manual_seed(0)
    return Llama(config, attention).double()(TOKENS)


@pytest.mark.parametrize("window", [None, 1, 5, 32, 33, 2**40])
def test_the_attentions_agree(window: int | None) -> None:
    flash, eager = (logits(replace(TINY, sliding_window=window), attention) for attention in ("flash", "eager"))
    torch.testing.assert_close(flash, eager, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("attention", ["flash", "eager"])
def test_a_window_counts_from_the_length_at_which_it_hides_a_key(attention: str) -> None:
    whole = logits(TINY, attention)
    changed = {window: logits(replace(TINY, sliding_window=window), attention) != whole for window in (32, 33, 2**40)}
    # of 33 tokens the last one alone sees a key less
    assert changed[32].any(-1).tolist() == [[False] * 32 + [True]] * 2
    assert not changed[33].any()
    assert not changed[2**40].any()


def test_another_block_or_attention_is_refused() -> None:
    with pytest.raises(InputError, match="'gpt-22b' has a gpt block: LlamaBlock needs a Llama configuration"):
        LlamaBlock(PRESETS["gpt-22b"])
    with pytest.raises(InputError, match="unknown attention 'sdpa': use one of flash, eager"):
        LlamaBlock(TINY, "sdpa")


def test_tokens_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match=r"tokens is \[33\]: it must be \[B, S\]"):
        Llama(TINY)(TOKENS[0])
