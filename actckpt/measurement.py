"""measure: the closed form's answer, from what autograd really did in one training step of the real model.

On meta tensors nothing is allocated and nothing computed, but every op runs through autograd as it would on a device.
What is saved is what stays alive: a saved tensor, and as well an output that selective checkpointing puts aside, which
saved-tensor hooks do not see.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from actckpt.arguments import checked_attention, checked_count
from actckpt.checkpointing import apply, is_block
from actckpt.config import ModelConfig, get_config
from actckpt.errors import InputError, shown
from actckpt.llama import OP_NAMES, Llama
from actckpt.policy import POLICIES, Policy, get_policy
from actckpt.recorder import Recorder, Storage
from actckpt.states import States, get_optimizer
from actckpt.step import Flops, Head, Step
from actckpt.terms import Ledger, Term


def measure(
    model: str | ModelConfig,
    *,
    seq_len: int,
    batch_size: int = 1,
    policy: str | Policy = "none",
    attention: str = "flash",
    data_parallel: int = 1,
    optimizer: str = "adam-fp32",
    device: str = "meta",
) -> Step[int]:
    """What one training step of the real Llama keeps and computes, in bfloat16.

    Args:
        model: A name in `PRESETS`, or a configuration.
        seq_len: S, in tokens.
        batch_size: B, in sequences.
        policy: What is recomputed.
        attention: "flash" or "eager".
        data_parallel: The number of ranks that share the training states.
        optimizer: How the states are kept: a key of `OPTIMIZERS`.
        device: "meta" computes nothing and takes no memory; any other really runs the step. Either way the peak counts
            what ops hand to each other: not what one allocates while it runs, nor what an allocator rounds up.

    Raises:
        InputError: A value is unknown or out of range, or the model is not a Llama.
    """
    config, policy = get_config(model), get_policy(policy)
    s, b = checked_count("seq_len", seq_len), checked_count("batch_size", batch_size)
    ranks, optimizer = checked_count("data_parallel", data_parallel), get_optimizer(optimizer).name
    largest = 4 * b * s * max(config.n_heads * s, config.ffn_size, config.vocab_size)
    if largest >= 2**63:
        raise InputError(f"seq_len is {s} and batch_size {b}: a tensor of {largest:.1e} bytes is too large to measure")
    with _checked_device(device):
        llama = apply(Llama(config, checked_attention(attention)).to(torch.bfloat16), policy)
        tokens, targets = torch.zeros(2, b, s, dtype=torch.int64)
    return measure_step(llama, tokens, targets, policy, ranks, optimizer)


def measure_step(
    llama: Llama,
    tokens: Tensor,
    targets: Tensor,
    policy: str | Policy = "none",
    data_parallel: int = 1,
    optimizer: str = "adam-fp32",
) -> Step[int]:
    """What one training step of `llama`, as it is, keeps and computes. The step leaves gradients on the model.

    Args:
        llama: A model, on any device, to which `policy` has been applied.
        tokens: [B, S], int64.
        targets: [B, S], int64.
        policy: The policy whose name and components order the ledgers.
        data_parallel: The number of ranks that share the training states.
        optimizer: How the states are kept: a key of `OPTIMIZERS`.

    Raises:
        InputError: The model is not a `Llama`, or the tokens and targets are not what they must be.
    """
    policy = get_policy(policy)
    if not isinstance(llama, Llama):
        raise InputError(f"the model is {shown(llama)}: it must be an actckpt.Llama")
    for name, ids in (("tokens", tokens), ("targets", targets)):
        if not isinstance(ids, Tensor) or ids.dtype != torch.int64 or ids.dim() != 2 or ids.shape != tokens.shape:
            raise InputError(f"{name} is {shown(ids)}: tokens and targets must be int64 tensors of one shape, [B, S]")
    recorder = Recorder(llama, is_block, OP_NAMES)
    flops_at_blocks: list[int] = []

    def head_is_done(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        # the gradient of the final norm's input is where the head's backward pass ends and the blocks' begins
        args[0].register_hook(lambda _: flops_at_blocks.append(recorder.flops))

    hooks = [llama.norm.register_forward_pre_hook(head_is_done)]
    for parameter in llama.parameters():
        hooks.append(parameter.register_post_accumulate_grad_hook(lambda p: recorder.forget(p.grad)))
    try:
        with recorder:
            with recorder.forward():
                loss = llama(tokens, targets)
            recorder.forget(loss)
            layers = tuple(
                _ledger(recorder.saved(f"layers.{layer}"), llama, policy if checkpointed else POLICIES["none"])
                for layer, checkpointed in enumerate(policy.layers(llama.config.n_layers))
            )
            head = _ledger(recorder.saved(""), llama, POLICIES["none"])
            forward, blocks_forward = recorder.flops, recorder.block_flops
            loss.backward()
    finally:
        for hook in hooks:
            hook.remove()
    blocks_backward = recorder.flops - flops_at_blocks[0]
    recompute = recorder.forward_flops - forward
    return Step(
        model=llama.config.name,
        seq_len=tokens.shape[1],
        batch_size=tokens.shape[0],
        n_layers=llama.config.n_layers,
        accounting="measured",
        attention=llama.layers[0].attention,
        policy=policy,
        layers=layers,
        head=Head(head, recorder.flops - blocks_forward - blocks_backward),
        states=States.of(sum(parameter.numel() for parameter in llama.parameters()), data_parallel, optimizer),
        working_bytes=recorder.peak_bytes,
        flops=Flops(blocks_forward, blocks_backward - recompute, recompute),
    )


def _checked_device(device: str) -> torch.device:
    try:
        checked = torch.device(device)
        torch.empty(0, device=checked)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"device is {shown(device)}: it must be one that PyTorch has here, 'meta' or 'cpu'") from error
    return checked


def _ledger(storages: list[Storage], module: nn.Module, policy: Policy) -> Ledger[int]:
    return Ledger(
        tuple(
            Term(
                storage.name,
                _component(storage, module, policy),
                storage.shape,
                str(storage.dtype).removeprefix("torch."),
            )
            for storage in storages
        )
    )


def _component(storage: Storage, module: nn.Module, policy: Policy) -> str:
    # the model says what its tensors are, without the closed form
    if not hasattr(module, "components"):
        return "other"
    owner: Any = module.get_submodule(storage.layer)
    if storage.layer and storage.name in {owner.starts.get(region.name) for region in policy.regions}:
        return "checkpoint"
    return owner.components.get(storage.name.split(".")[0], "other")
