"""Memory and time of a training step of some blocks of Llama 3.1 8B under a policy."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from actckpt import PRESETS, Llama, ModelConfig, apply
from gpu.timing import seconds


def block_model(tiny: bool = False) -> ModelConfig:
    """Four blocks of Llama 3.1 8B and a vocabulary so small that the head does not hide them."""
    config = PRESETS["llama-3.1-8b"]
    if tiny:
        config = replace(config, hidden_size=256, n_heads=2, n_kv_heads=1, ffn_size=512)
    return replace(config, name="4 blocks of llama-3.1-8b", n_layers=4, vocab_size=1024)


def policy_steps(device: str, policy: str, lengths: Sequence[int], repeats: int) -> dict[str, Any]:
    """Working memory in bytes, and times, of a training step in bfloat16 without optimizer, for each length.

    A length for which the device has too little memory is left out.
    """
    config = block_model(tiny=device != "cuda")
    with torch.device(device):
        model = apply(Llama(config).to(torch.bfloat16), policy)
    steps = []
    for length in lengths:
        try:
            steps.append({"length": length, **_step(model, config, device, length, repeats)})
        except torch.OutOfMemoryError:
            break
    return {"steps": steps}


def _step(model: Llama, config: ModelConfig, device: str, length: int, repeats: int) -> dict[str, Any]:
    tokens, targets = torch.randint(config.vocab_size, (2, 1, length), device=device)

    def step() -> None:
        model(tokens, targets).backward()

    # the first step leaves the gradients, which are training states, and the kernels
    step()
    working_bytes = None
    if device == "cuda":
        # what an earlier step left in a cycle of references would be freed during this one, and lower the peak
        gc.collect()
        torch.cuda.synchronize()
        states = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        working_bytes = torch.cuda.max_memory_allocated() - states
    return {"working_bytes": working_bytes, **seconds(step, device, repeats)}
