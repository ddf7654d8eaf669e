"""Answers as text: a step, and the registries, as tables that a person reads and as rows for JSON."""

from __future__ import annotations

from dataclasses import asdict
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from actckpt.config import PRESETS
from actckpt.formulas import ACCOUNTINGS, accounting_policies
from actckpt.hardware import ACCELERATORS, GB, GIB, Accelerator
from actckpt.policy import POLICIES
from actckpt.states import OPTIMIZERS
from actckpt.step import Step
from actckpt.tables import size, table


def memory(count: int, largest: int) -> str:
    """A number of bytes beside others that add up to `largest`: in GiB with one decimal; tiny ones as `size`."""
    if largest < GIB // 10:
        return size(count)
    # halves up, as in a browser
    return f"{Decimal(count / GIB).quantize(Decimal('0.1'), ROUND_HALF_UP):,} GiB"


def step_table(step: Step[int]) -> str:
    """A step: the terms of a block, the sums, what else is in memory, the FLOPs, and where it fits."""
    n_layers = len(step.layers)
    partly = ""
    if step.policy.every > 1:
        n = sum(map(step.policy.checkpoints, range(n_layers)))
        are = f"of which {n} {'is' if n == 1 else 'are'} checkpointed" if n else "none of which is checkpointed"
        partly = f", {are},"
    terms = [
        (term.name, term.component, " × ".join(f"{n:,}" for n in term.shape), term.dtype, size(term.bytes))
        for term in step.block
    ]
    components = [
        (component, size(count), f"{count / step.total_bytes:.1%}") for component, count in step.by_component().items()
    ]
    working = step.working_bytes - step.total_bytes - step.head.ledger.bytes
    counted = step.accounting == "measured" or ACCOUNTINGS[step.accounting].has_peak
    peak, states = int(step.peak_bytes), step.states
    parts = {
        "parameters": states.parameters_bytes,
        "gradients": states.gradients_bytes,
        "optimizer": states.optimizer_bytes,
        "blocks": step.total_bytes,
        "head": step.head.ledger.bytes,
        "working set": working if counted else None,
        "peak": peak,
    }
    at_peak = [(name, "not counted" if n is None else memory(n, peak)) for name, n in parts.items()]
    flops = [
        ("forward", f"{step.flops.forward:.4g}"),
        ("backward", f"{step.flops.backward:.4g}"),
        ("recompute", f"{step.flops.recompute:.4g}"),
        ("overhead", f"{step.flops.overhead:.1%}"),
    ]
    fits = [_fit(accelerator, peak) for accelerator in ACCELERATORS.values()]
    return "\n".join(
        (
            f"{step.model}, {step.batch_size} × {step.seq_len:,} tokens, policy {step.policy.name}, "
            f"{step.accounting} accounting, {step.attention} attention",
            f"\nOne block keeps {size(step.block.bytes)}",
            table(terms, right=(4,)),
            f"\nAll {n_layers} blocks{partly} keep {size(step.total_bytes)}",
            table(components, right=(1, 2)),
            f"\nMemory at the peak, on {_sharing(states.data_parallel)}: {OPTIMIZERS[states.optimizer].description}",
            table(at_peak, right=(1,)),
            "\nFLOPs of the blocks in one step",
            table(flops, right=(1,)),
            "\nOne accelerator (named after the GB it is sold by; what its driver reports, in GiB of 2³⁰)",
            table(fits, right=(2,)),
        )
    )


def _sharing(ranks: int) -> str:
    return "one rank that holds all states" if ranks == 1 else f"each of {ranks:,} ranks that share the states"


def _fit(accelerator: Accelerator, peak_bytes: int) -> tuple[str, ...]:
    spare = accelerator.memory_bytes - peak_bytes
    verdict, rest = ("fits", "to spare") if spare >= 0 else ("does not fit", "too much")
    return accelerator.label, verdict, memory(abs(spare), peak_bytes), rest


def model_rows() -> list[dict[str, Any]]:
    """The presets, with their number of parameters."""
    return [asdict(config) | {"n_parameters": config.n_parameters} for config in PRESETS.values()]


def model_table() -> str:
    """The presets as a table."""
    head = ("model", "block", "parameters", "layers", "hidden", "heads", "kv heads", "ffn", "vocabulary")
    rows = [
        (
            config.name,
            config.block,
            f"{config.n_parameters / 1e9:.2f} billion",
            *(
                f"{size:,}"
                for size in (
                    config.n_layers,
                    config.hidden_size,
                    config.n_heads,
                    config.n_kv_heads,
                    config.ffn_size,
                    config.vocab_size,
                )
            ),
        )
        for config in PRESETS.values()
    ]
    return table([head, *rows], right=tuple(range(2, len(head))))


def policy_rows() -> list[dict[str, Any]]:
    """The policies, with the accountings that have them."""
    return [
        {
            "name": policy.name,
            "recomputes": policy.recomputes,
            "strategy": policy.strategy,
            "accountings": [
                accounting
                for accounting in ACCOUNTINGS
                if ("every_N" if policy.every > 1 else policy.name) in accounting_policies(accounting)
            ],
        }
        for policy in POLICIES.values()
    ]


def policy_table() -> str:
    """The policies as a table."""
    head = ("policy", "recomputes", "strategy", "accountings")
    rows = [(row["name"], row["recomputes"], row["strategy"], ", ".join(row["accountings"])) for row in policy_rows()]
    return table([head, *rows]) + "\n\n  every_N stands for any N of at least 2."


def accelerator_rows() -> list[dict[str, Any]]:
    """The accelerators, in bytes and FLOPs a second."""
    return [asdict(accelerator) for accelerator in ACCELERATORS.values()]


def accelerator_table() -> str:
    """The accelerators as a table."""
    head = ("accelerator", "sold as", "reports", "bandwidth", "bf16 matmuls", "SMs", "SRAM of each", "shared of each")
    rows = [
        (
            accelerator.name,
            f"{accelerator.datasheet_bytes / GB:,.0f} GB",
            size(accelerator.memory_bytes),
            f"{accelerator.bandwidth / 1e12:.4g} TB/s",
            f"{accelerator.bf16_flops / 1e12:,.0f} TFLOP/s",
            f"{accelerator.n_sms}",
            f"{accelerator.sram_bytes // 1024} KiB",
            f"{accelerator.shared_bytes // 1024} KiB",
        )
        for accelerator in ACCELERATORS.values()
    ]
    return table([head, *rows], right=tuple(range(1, len(head))))
