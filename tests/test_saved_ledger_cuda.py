"""On meta tensors a module keeps what CUDA's kernels keep, by the rules by which PyTorch chooses them."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from kept_by_hooks import kept_by_hooks
from small_modules import Of, given
from torch import nn

from actckpt import ledger


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def test_attention_and_dropout_on_meta_are_cudas() -> None:
    layer = nn.TransformerEncoderLayer(64, 4, 96, dropout=0.1, batch_first=True, dtype=torch.bfloat16, device="meta")
    x = given(2, 32, 64, dtype=torch.bfloat16, device="meta")
    kept = ledger(layer, x)
    assert (kept.as_on, kept.kernels) == ("cuda", ("flash attention", "fused dropout"))
    masks = [saved for saved in kept if saved.savers == "NativeDropoutBackward0.result1"]
    assert [(mask.dtype, mask.shape) for mask in masks] == [
        ("bool", (2, 32, 64)),
        ("bool", (2, 32, 96)),
        ("bool", (2, 32, 64)),
    ]
    lse = next(saved for saved in kept if saved.result == "logsumexp")
    assert (lse.shape, lse.dtype) == ((2, 4, 32), "float32")
    # no scores
    assert all(saved.shape != (2, 4, 32, 32) for saved in kept)


RULES: dict[str, tuple[dict[str, Any], str]] = {
    "half": ({}, "flash attention"),
    "causal": ({"is_causal": True}, "flash attention"),
    "a mask": ({"attn_mask": (32, 32)}, "memory-efficient attention"),
    "float32": ({"dtype": torch.float32}, "memory-efficient attention"),
    "double": ({"dtype": torch.float64}, "math attention"),
    "wide heads": ({"width": 264}, "memory-efficient attention"),
    "odd heads": ({"width": 20}, "flash attention"),
    "values that are wider": ({"value_width": 24}, "memory-efficient attention"),
    "grouped": ({"kv_heads": 2, "enable_gqa": True}, "flash attention"),
    "grouped, in float32": ({"kv_heads": 2, "enable_gqa": True, "dtype": torch.float32}, "math attention"),
}


@pytest.mark.parametrize(("options", "kernel"), RULES.values(), ids=RULES)
def test_the_kernel_is_the_one_that_pytorch_takes_on_cuda(options: dict[str, Any], kernel: str) -> None:
    dtype, width = options.pop("dtype", torch.bfloat16), options.pop("width", 16)
    value_width, kv_heads = options.pop("value_width", width), options.pop("kv_heads", 4)
    if shape := options.pop("attn_mask", None):
        options["attn_mask"] = torch.ones(shape, dtype=torch.bool, device="meta")
    shapes = ((4, width), (kv_heads, width), (kv_heads, value_width))
    qkv = [given(2, heads, 32, size, dtype=dtype, device="meta") for heads, size in shapes]
    kept = ledger(Of(lambda *qkv: F.scaled_dot_product_attention(*qkv, **options)), *qkv)
    assert kept.kernels == (kernel,)
    assert (kernel == "math attention") == any(saved.shape[-2:] == (32, 32) for saved in kept if len(saved.shape) > 2)


def test_rms_norm_on_meta_keeps_its_input_and_one_number_a_row() -> None:
    norm, x = nn.RMSNorm(8, dtype=torch.bfloat16, device="meta"), given(3, 8, dtype=torch.bfloat16, device="meta")
    assert [(saved.shape, saved.dtype) for saved in ledger(norm, x)] == [((3, 8), "bfloat16"), ((3, 1), "float32")]


def test_meta_tensors_are_as_before_afterwards() -> None:
    x = given(2, 4, 32, 16, dtype=torch.bfloat16, device="meta")
    attend = Of(lambda x: F.scaled_dot_product_attention(x, x, x))
    here = ledger(attend, x, as_on="here")
    assert here.bytes > ledger(attend, x).bytes
    assert ledger(attend, x, as_on="here").bytes == here.bytes == kept_by_hooks(attend, x)
