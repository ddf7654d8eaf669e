"""The only place where the sizes of a model live: `ModelConfig`, its presets, and Hugging Face's config.json."""

from actckpt.config.model import ModelConfig, RopeScaling
from actckpt.config.presets import PRESETS, get_config

__all__ = ["PRESETS", "ModelConfig", "RopeScaling", "get_config"]
