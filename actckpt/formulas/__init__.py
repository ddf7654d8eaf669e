"""Closed forms, with numpy alone: `estimate` puts them together into one training step, `sweep` into many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from actckpt.algebra import B, Form, Formula, Grid, IntArray, L, Point, S, total
from actckpt.arguments import checked_attention, checked_count, checked_sizes
from actckpt.blocks.block import FlopRules
from actckpt.blocks.weights import Traits
from actckpt.config import ModelConfig, get_config
from actckpt.errors import InputError, shown
from actckpt.formulas.accounting import ACCOUNTINGS, Accounting, accounting_policies, get_accounting
from actckpt.formulas.peak import block_backward_bytes, working_bytes
from actckpt.formulas.saved import policy_flops
from actckpt.policy import POLICIES, Policy, get_policy
from actckpt.states import States, get_optimizer
from actckpt.step import Flops, Head, Step
from actckpt.terms import Ledger

__all__ = ["ACCOUNTINGS", "accounting_policies", "estimate", "sweep"]


def estimate(
    model: str | ModelConfig,
    *,
    seq_len: int,
    batch_size: int = 1,
    policy: str | Policy = "none",
    accounting: str = "llama",
    attention: str | None = None,
    data_parallel: int = 1,
    optimizer: str = "adam-fp32",
    rules: FlopRules | None = None,
) -> Step[int]:
    """What one training step keeps and computes, by the closed form.

    Weights and activations are bfloat16 throughout. Under `torch.autocast` with float32 weights a block keeps more: see
    `ledger`.

    Args:
        model: A name in `PRESETS`, or a configuration.
        seq_len: S, in tokens.
        batch_size: B, the sequences of one rank.
        policy: What is recomputed: a name, or under the llama accounting any `Policy`.
        accounting: A key of `ACCOUNTINGS`.
        attention: "flash" or "eager". The workshop's and the paper's blocks have only eager attention.
        data_parallel: The number of ranks that share the training states. The whole weights that a rank gathers for the
            block it is running are not counted.
        optimizer: How the states are kept: a key of `OPTIMIZERS`.
        rules: How FLOPs are counted under the llama accounting; by default as PyTorch runs them.

    Raises:
        InputError: A value is unknown, out of range, or not modelled by the accounting.
    """
    config = get_config(model)
    formulas = _formulas(config, policy, accounting, attention, data_parallel, optimizer, rules)
    seq_len, batch_size = checked_count("seq_len", seq_len), checked_count("batch_size", batch_size)
    point = Point(config.axes(seq_len, batch_size))
    return formulas.map(point.count, formulas)


def sweep(
    model: str | ModelConfig,
    *,
    seq_len: Any,
    batch_size: Any = 1,
    policy: str | Policy = "none",
    accounting: str = "llama",
    attention: str | None = None,
    data_parallel: int = 1,
    optimizer: str = "adam-fp32",
    rules: FlopRules | None = None,
) -> Step[IntArray]:
    """What `estimate` says at many lengths or batch sizes: every count is an int64 array.

    Args:
        model: As for `estimate`. The same holds for the arguments without a line here.
        seq_len: S in tokens: a whole number, or an array of them.
        batch_size: B: a whole number, or an array of them. The two broadcast, and every count has that shape.
        policy: What is recomputed.
        accounting: A key of `ACCOUNTINGS`.
        attention: "flash" or "eager".
        data_parallel: The number of ranks that share the training states.
        optimizer: How the states are kept.
        rules: How FLOPs are counted.

    Raises:
        InputError: A value is unknown, out of range, or not modelled by the accounting.
        OverflowError: A count does not fit into 64 bits.
    """
    config = get_config(model)
    formulas = _formulas(config, policy, accounting, attention, data_parallel, optimizer, rules)
    sizes = checked_sizes(seq_len=seq_len, batch_size=batch_size)
    grid = Grid(_axes_over(config, **sizes))
    # a sum of counts that each fit may not: no count falls as S or B grows
    largest = formulas.map(grid.largest.count)
    if max(largest.peak_bytes, largest.flops.forward + largest.flops.backward) >= 2**63:
        raise OverflowError(
            f"a count at seq_len {grid.largest.sizes['S']} and batch_size {grid.largest.sizes['B']} does not fit into "
            "64 bits: ask for so large a size by itself, as an int"
        )
    return formulas.map(grid.counts, formulas)


def _axes_over(config: ModelConfig, seq_len: IntArray, batch_size: IntArray) -> Mapping[str, Any]:
    # what a query sees at most grows with the sequence up to the window
    window = config.sliding_window
    return {
        **config.axes(1, 1),
        "S": seq_len,
        "B": batch_size,
        "W": seq_len if window is None else np.minimum(seq_len, window),
    }


def _formulas(
    config: ModelConfig,
    policy: str | Policy,
    accounting: str,
    attention: str | None,
    data_parallel: int,
    optimizer: str,
    rules: FlopRules | None,
) -> Step[Formula]:
    policy, way = get_policy(policy), get_accounting(accounting)
    if rules is not None and not isinstance(rules, FlopRules):
        raise InputError(f"rules is {shown(rules)}: it must be a FlopRules, or None")
    way.check(policy)
    attention = way.attentions[0] if attention is None else checked_attention(attention)
    if attention not in way.attentions:
        raise InputError(
            f"the {way.name} accounting has no {attention} attention: it has {' and '.join(way.attentions)}"
        )
    if config.block not in way.models:
        raise InputError(
            f"the {way.name} accounting has no block for {config.name!r}: take the paper accounting, or a Llama model"
        )
    rules, ranks = way.rules or rules or FlopRules(), checked_count("data_parallel", data_parallel)
    return _unsized(config, way, policy, attention, rules, ranks, get_optimizer(optimizer).name)


@lru_cache(maxsize=1024)
def _unsized(
    config: ModelConfig,
    way: Accounting,
    policy: Policy,
    attention: str,
    rules: FlopRules,
    data_parallel: int,
    optimizer: str,
) -> Step[Formula]:
    # the depth counts where blocks differ
    depth = config.n_layers if policy.every > 1 else 1
    stack = _stack(way, config.traits, config.tied_embeddings, attention, rules, policy, depth)
    return Step(
        model=config.name,
        seq_len=S,
        batch_size=B,
        n_layers=L,
        accounting=way.name,
        attention=attention,
        policy=policy,
        layers=tuple(stack.ledgers[kind] for kind in policy.layers(config.n_layers)),
        head=stack.head,
        states=States.of(config.n_parameters, data_parallel, optimizer),
        working_bytes=stack.working_bytes,
        flops=stack.flops,
    )


@dataclass(frozen=True)
class _Stack:
    """All blocks of a model and its head; `ledgers` are of a block that is not checkpointed and of one that is."""

    ledgers: tuple[Ledger[Formula], Ledger[Formula]]
    head: Head[Formula]
    working_bytes: Formula
    flops: Flops[Formula]


@lru_cache(maxsize=4096)
def _stack(
    way: Accounting, traits: Traits, tied: bool, attention: str, rules: FlopRules, policy: Policy, depth: int
) -> _Stack:
    block = way.block(traits, attention, rules)
    policies = (POLICIES["none"], policy)
    ledgers = (way.ledger(block, policies[0]), way.ledger(block, policies[1]))
    layers = policy.layers(depth)
    # of either kind, how many blocks there are, and how many of both kinds come before its last one
    if len(set(layers)) == 1:
        counts, before = {layers[0]: L}, {layers[0]: (L - 1) * ledgers[layers[0]].bytes}
    else:
        counts = {kind: Form.of(layers.count(kind)) for kind in (False, True)}
        last = {kind: depth - 1 - layers[::-1].index(kind) for kind in counts}
        before = {kind: total(ledgers[each].bytes for each in layers[: last[kind]]) for kind in counts}
    saved = total(count * ledgers[kind].bytes for kind, count in counts.items())
    head_ledger, head_flops = way.head()
    working: Formula = saved + head_ledger.bytes
    if way.has_peak:
        backward = [(before[kind], block_backward_bytes(block, policies[kind])) for kind in counts]
        working = working_bytes(saved, backward, head_ledger, tied)
    flops = [(count, policy_flops(block, policies[kind], rules.early_stop)) for kind, count in counts.items()]
    return _Stack(
        ledgers,
        Head(head_ledger, head_flops),
        working,
        Flops(
            forward=total(count * each.forward for count, each in flops),
            backward=total(count * each.backward for count, each in flops),
            recompute=total(count * each.recompute for count, each in flops),
        ),
    )
