"""The models that are known by name."""

from __future__ import annotations

from actckpt.config.model import ModelConfig, RopeScaling
from actckpt.errors import InputError, shown, unknown

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
        raise InputError(f"the model is {shown(model)}: it must be a name or a ModelConfig")
    name = model.strip().lower().replace(" ", "-")
    if name not in PRESETS:
        raise unknown("model", model, PRESETS)
    return PRESETS[name]
