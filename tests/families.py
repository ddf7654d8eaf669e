"""Small models of other people, by the families that the library of Hugging Face has."""

from typing import Any

import torch
from torch import nn

LENGTH = 32
WIDE = {"hidden_size": 64, "intermediate_size": 112, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT = {**WIDE, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 97, "pad_token_id": 0}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 48}
GROUPS = {"n_routed_experts": 8, "n_group": 2, "topk_group": 1}
MLA = {"q_lora_rank": 24, "kv_lora_rank": 16, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16}
GPT = {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 97}
T5 = {"d_model": 64, "d_kv": 16, "d_ff": 112, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}

# the config's class, the model's class, and the sizes
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", "LlamaForCausalLM", TEXT),
    "mistral": ("MistralConfig", "MistralForCausalLM", {**TEXT, "sliding_window": 16}),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", TEXT),
    "gemma2": ("Gemma2Config", "Gemma2ForCausalLM", {**TEXT, "sliding_window": 16}),
    "gemma3": ("Gemma3TextConfig", "Gemma3ForCausalLM", {**TEXT, "sliding_window": 16}),
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", GPT),
    "vit": ("ViTConfig", "ViTForImageClassification", {**WIDE, "image_size": 32, "patch_size": 8}),
    "mixtral": ("MixtralConfig", "MixtralForCausalLM", {**TEXT, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen3-moe": ("Qwen3MoeConfig", "Qwen3MoeForCausalLM", {**TEXT, **EXPERTS, "num_experts": 4}),
    "deepseek-v3": (
        "DeepseekV3Config",
        "DeepseekV3ForCausalLM",
        {**TEXT, **EXPERTS, **GROUPS, **MLA, "head_dim": 8, "num_key_value_heads": 4},
    ),
    "t5": ("T5Config", "T5ForConditionalGeneration", {**T5, "vocab_size": 97}),
}


MIXTURES = ("mixtral", "qwen3-moe", "deepseek-v3")
# each with the kinds of attention that it has
KINDS = [(family, kind) for family in FAMILIES for kind in ("sdpa", "eager") if (family, kind) != ("gemma2", "sdpa")]


def build(family: str, attention: str = "sdpa", device: str = "cpu", dtype: torch.dtype = torch.bfloat16) -> nn.Module:
    """A model of a family, in training; without transformers it skips the test."""
    import pytest

    transformers = pytest.importorskip("transformers")
    config, model, sizes = FAMILIES[family]
    torch.manual_seed(0)
    # the default has no kernel for meta tensors
    options = {"experts_implementation": "grouped_mm"} if family in MIXTURES else {}
    with torch.device(device):
        built = getattr(transformers, model)._from_config(
            getattr(transformers, config)(**sizes), attn_implementation=attention, dtype=dtype, **options
        )
    return built.train()


def inputs(family: str, device: str = "cpu", batch: int = 2, use_cache: bool = True) -> dict[str, Any]:
    """What a training step gives to it."""
    if family == "vit":
        return {"pixel_values": torch.zeros(batch, 3, 32, 32, device=device, dtype=torch.bfloat16)}
    ids = torch.zeros(batch, LENGTH, device=device, dtype=torch.int64)
    return {"input_ids": ids, "labels": ids.clone(), "use_cache": use_cache}
