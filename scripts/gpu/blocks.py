"""Memory and time of blocks of Llama 3.1 8B under a policy, beside what the package predicts."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import torch

import actckpt
from gpu.recording import seconds


def block_model(tiny: bool) -> actckpt.ModelConfig:
    """Four blocks of Llama 3.1 8B and a vocabulary so small that the head does not hide them."""
    config = actckpt.PRESETS["llama-3.1-8b"]
    if tiny:
        config = replace(config, hidden_size=256, n_heads=2, n_kv_heads=1, ffn_size=512)
    return replace(config, name="4 blocks of llama-3.1-8b", n_layers=4, vocab_size=1024)


def policy_step(
    device: torch.device, config: actckpt.ModelConfig, policy: str, length: int, repeats: int
) -> dict[str, Any]:
    """Memory and time of a training step beside the closed form; without optimizer."""
    predicted = actckpt.estimate(config, seq_len=length, policy=policy)
    with torch.device(device):
        model = actckpt.apply(actckpt.Llama(config).to(torch.bfloat16), policy)
        tokens, targets = torch.randint(config.vocab_size, (2, 1, length))

    def step() -> None:
        model(tokens, targets).backward()

    # the first step leaves the gradients, which are training states, and the kernels
    step()
    peak = None
    if device.type == "cuda":
        # a model that was measured before is a cycle of references: freed during the step, it would lower the peak
        gc.collect()
        torch.cuda.synchronize()
        states = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated() - states
    flops = predicted.flops.forward + predicted.flops.backward + predicted.flops.recompute + predicted.head.flops
    return {
        "working_bytes": peak,
        "predicted_working_bytes": int(predicted.working_bytes),
        "step_s": seconds({"": step}, device, repeats)[""],
        "predicted_flops": int(flops),
    }
