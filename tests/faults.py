"""Deliberate faults: each makes a number of the package wrong, for tests of what notices it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import pytest
from book.quantities.sources import PUBLISHED
from changed_block import drop_saved, with_tensor

from actckpt import ACCELERATORS, ACCOUNTINGS, PRESETS, estimate
from actckpt.algebra import Form, S
from actckpt.blocks import block, gpt, llama
from actckpt.blocks.block import Block
from actckpt.formulas import flops, peak, saved, traffic
from actckpt.ops.attention import reference
from actckpt.states import OPTIMIZERS, States, Stored
from actckpt.step import Step
from actckpt.tradeoff import Tradeoff

Fault = Callable[[pytest.MonkeyPatch], None]
BlockOf = Callable[..., Block[Form]]


def forget() -> None:
    """Empty every cache of the package and of the site."""
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in ("actckpt", "book"):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


@contextmanager
def planted(fault: Fault) -> Iterator[None]:
    """The package with a fault in it, and nothing remembered from without."""
    with pytest.MonkeyPatch.context() as patch:
        fault(patch)
        forget()
        yield
    forget()


def everywhere(right: Callable[..., Any], wrong: Callable[..., Any]) -> Fault:
    """Another function in the place of one: under every name that a module has for it, and in every accounting."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        for module in list(sys.modules.values()):
            for name, value in list(getattr(module, "__dict__", {}).items()):
                if value is right:
                    patch.setattr(module, name, wrong)
        for name, accounting in ACCOUNTINGS.items():
            taken = [field.name for field in fields(accounting) if getattr(accounting, field.name) is right]
            patch.setitem(ACCOUNTINGS, name, replace(accounting, **dict.fromkeys(taken, wrong)))

    return plant


def changed(function: Callable[..., Any], change: Callable[..., Any]) -> Fault:
    """Another result of a function, everywhere; `change` is given the result and the arguments."""
    return everywhere(function, lambda *args, **how: change(function(*args, **how), *args))


def times(describe: BlockOf, name: str, factor: Form | int) -> Fault:
    """A block with a tensor that is counted several times."""
    return changed(
        describe,
        lambda block, *_: with_tensor(name, shape=(Form.of(factor), *block.tensors[name].shape))(block),
    )


def dtype(name: str, dtype: str) -> Fault:
    """A Llama block with a tensor of another type."""
    return changed(llama.llama_block, lambda block, *_: with_tensor(name, dtype=dtype)(block))


def stages(describe: BlockOf, inside: str, /, **changes: Callable[[Any], Any]) -> Fault:
    """A block with other stages in a region: what they have, from themselves."""

    def change(block: Block[Form], *_: Any) -> Block[Form]:
        found = [
            replace(stage, **{name: value(stage) for name, value in changes.items()})
            if stage.is_inside(inside)
            else stage
            for stage in block.stages
        ]
        return replace(block, stages=tuple(found))

    return changed(describe, change)


def attribute(owner: Any, name: str, change: Callable[[Any], Any]) -> Fault:
    """Another value of a class's property or method, of a module's constant, or of a frozen object's field."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        right = getattr(owner, name)
        if isinstance(right, property):
            patch.setattr(owner, name, property(lambda self: change(right.fget(self))))
        elif isinstance(owner, type(sys) | type):
            patch.setattr(owner, name, change(right))
        else:
            patch.setitem(owner.__dict__, name, change(right))

    return plant


def growing_states(step: Step, *_: Any) -> Step:
    states = replace(step.states, optimizer_bytes=step.states.optimizer_bytes + step.seq_len)
    return replace(step, states=states)


def kept_in_vain(saves: set[str], region: list[block.Stage[Form]], *_: Any) -> set[str]:
    return saves | {name for stage in region for name in stage.saves if name in ("norm_1.output", "attention.softmax")}


def without_first_write(kernels: list[traffic.Kernel], *_: Any) -> list[traffic.Kernel]:
    return [replace(kernels[0], writes={}), *kernels[1:]]


def bfloat16_head(head: tuple[Any, Form]) -> tuple[Any, Form]:
    ledger = replace(head[0], terms=tuple(replace(term, dtype="bfloat16") for term in head[0].terms))
    return ledger, head[1]


def published(name: str, value: float) -> Fault:
    """Another value of a published figure."""
    return lambda patch: patch.setitem(PUBLISHED, name, replace(PUBLISHED[name], value=value))


def torch_checkpoint(patch: pytest.MonkeyPatch) -> None:
    import torch

    patch.setattr(torch, "checkpoint", torch.utils.checkpoint.checkpoint, raising=False)


A100 = ACCELERATORS["a100-80gb"]
GPT, LLAMA = gpt.gpt_block, llama.llama_block
FAULTS: dict[str, Fault] = {
    # the paper's block
    "a wider GELU": times(GPT, "gelu_output", 5),
    "the queries twice": times(GPT, "q", 2),
    "the softmax twice": times(GPT, "softmax", 2),
    "a norm's input twice": times(GPT, "norm_1_input", 2),
    "the core outside its half": stages(GPT, "core_attention", region=lambda _: "forward"),
    "a larger checkpoint": changed(
        saved.published_ledger,
        lambda ledger, *_: replace(
            ledger, terms=tuple(replace(t, dtype="float32") if t.name == "checkpoint" else t for t in ledger)
        ),
    ),
    # the Llama block
    "wider queries": times(LLAMA, "rope.q", 2),
    "a float32 gate": dtype("gate_proj", "float32"),
    "a wider norm output": times(LLAMA, "norm_2.output", 2),
    "a statistic of float64": dtype("norm_1.rstd", "float64"),
    "two numbers a row": times(LLAMA, "attention.lse", 2),
    "scores stored": times(LLAMA, "attention.lse", S),
    "float32 probabilities": dtype("attention.probabilities", "float32"),
    "a larger input": times(LLAMA, "input", 2),
    "a product not kept": changed(LLAMA, lambda block, *_: drop_saved("swiglu.product")(block)),
    "tensors kept in vain": changed(saved.region_saves, kept_in_vain),
    # FLOPs
    "a costlier FFN": stages(LLAMA, "ffn_half", forward=lambda stage: 3 * stage.forward),
    "no scores recomputed": stages(LLAMA, "core_attention", backward=lambda stage: 2 * stage.forward),
    "no causal mask": changed(llama.visible_pairs, lambda _, rows, *__: rows**2),
    "no early stop": everywhere(block.stages_run_again, lambda stages, early_stop: stages),
    "nothing kept": everywhere(block.kept_outputs, lambda stages, keeps: set()),
    "a narrower FFN": stages(GPT, "ffn_half", forward=lambda stage: stage.forward / 2),
    "three projections": stages(GPT, "attention_half", forward=lambda stage: 3 * stage.forward / 4),
    "a short backward pass": stages(GPT, "forward", backward=lambda stage: stage.forward),
    "half of it again": changed(flops.workshop_overheads, lambda found, *_: {name: x / 2 for name, x in found.items()}),
    # the states, the logits, the peak
    "one moment of Adam": attribute(OPTIMIZERS["adam-fp32"], "optimizer", lambda moments: moments[:1]),
    "bfloat16 parameters": attribute(OPTIMIZERS["adam-fp32"], "parameters", lambda _: Stored(2)),
    "a weight too many": attribute(PRESETS["llama-3.1-8b"], "n_parameters", lambda count: count + 10**9),
    "states that no rank shares": lambda patch: patch.setattr(
        States, "of", classmethod(lambda cls, count, *_: cls(4 * count, 4 * count, 8 * count))
    ),
    "states that grow": changed(estimate, growing_states),
    "a higher peak": changed(peak.working_bytes, lambda size, *_: size + Form.of(10**9)),
    "a peak without the gradients": attribute(Step, "peak_bytes", lambda size: size - 10**9),
    "smaller logits": changed(llama.llama_head, bfloat16_head),
    "the other way round": attribute(Tradeoff, "bytes_per_percent", lambda rate: 1 / rate),
    # a GPU
    "fewer SMs": attribute(A100, "n_sms", lambda _: 100),
    "a larger L1 cache": attribute(A100, "sram_bytes", lambda size: 2 * size),
    "less shared memory": attribute(A100, "shared_bytes", lambda size: size // 2),
    "a slower memory": attribute(A100, "bandwidth", lambda rate: rate / 2),
    "a smaller memory": attribute(A100, "memory_bytes", lambda size: size // 2),
    "a smaller card": attribute(A100, "datasheet_bytes", lambda size: size // 2),
    "a smaller H100": attribute(ACCELERATORS["h100-80gb"], "memory_bytes", lambda size: size - 10**9),
    "a write forgotten": changed(traffic.standard_forward, without_first_write),
    "a load forgotten": changed(traffic.flash_forward, lambda kernels, *_: [replace(k, reads={}) for k in kernels]),
    "twice the time": attribute(traffic.Kernel, "matmul_s", lambda matmul_s: lambda *args: 2 * matmul_s(*args)),
    # what others published
    "a slower A100": published("korthikanti_full", 25.0),
    "a faster SRAM": published("sram_bandwidth", 20.0),
    "a faster kernel": published("flash_flash_time", 7.0),
    "a shorter way to memory": published("hbm_latency", 250.0),
    # what runs
    "larger scores": changed(reference._scores, lambda scores, *_: 1.01 * scores),
    "torch.checkpoint": torch_checkpoint,
}
