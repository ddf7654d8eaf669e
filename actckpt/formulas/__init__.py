"""Closed forms, with numpy alone: `estimate` puts them together into one training step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from actckpt.arguments import checked_attention, checked_batch_size, checked_ranks, checked_seq_len
from actckpt.config import ModelConfig, get_config
from actckpt.errors import InputError, unknown
from actckpt.formulas import gpt, llama, peak
from actckpt.formulas.flops import FlopRules
from actckpt.ledger import Ledger, exact, total
from actckpt.policy import POLICIES, Policy, get_policy
from actckpt.step import Flops, Head, States, Step

ACCOUNTINGS: dict[str, str] = {
    "workshop": "the workshop as published: 34 SBH + 5nS²B elements of two bytes",
    "paper": "Korthikanti et al.: the same terms as bytes",
    "llama": "the real Llama block, tensor by tensor, as PyTorch saves it",
}


def accounting_policies(accounting: str) -> tuple[str, ...]:
    """The names of the policies that an accounting has; `every_N` stands for any N of at least 2."""
    named = {
        "workshop": gpt.WORKSHOP_POLICIES,
        "paper": gpt.PAPER_POLICIES,
        "llama": (*(name for name, policy in POLICIES.items() if policy.every == 1), "every_N"),
    }
    if accounting not in named:
        raise unknown("accounting", accounting, ACCOUNTINGS)
    return named[accounting]


def estimate(
    model: str | ModelConfig,
    *,
    seq_len: Any,
    batch_size: int = 1,
    policy: str | Policy = "none",
    accounting: str = "llama",
    attention: str | None = None,
    data_parallel: int = 1,
    rules: FlopRules | None = None,
) -> Step:
    """What one training step keeps and computes, by the closed form.

    Weights and activations are bfloat16 throughout. Under `torch.autocast` with float32 weights a block keeps more: see
    `saved_ledger`.

    Args:
        model: A name in `PRESETS`, or a configuration.
        seq_len: S in tokens; an array of them gives every count as an int64 array of the same shape.
        batch_size: B, the sequences of one rank.
        policy: What is recomputed: a name, or under the llama accounting any `Policy`.
        accounting: A key of `ACCOUNTINGS`.
        attention: "flash" or "eager". The workshop's and the paper's blocks have eager attention alone.
        data_parallel: The number of ranks that share the training states. The whole weights that a rank gathers for the
            block it is running are not counted.
        rules: How FLOPs are counted under the llama accounting; by default as PyTorch runs them.

    Raises:
        InputError: A value is unknown, out of range, or not modelled by the accounting.
        OverflowError: A count for an array of sequence lengths does not fit into 64 bits.
    """
    config, policy = get_config(model), get_policy(policy)
    have, name = accounting_policies(accounting), "every_N" if policy.every > 1 else policy.name
    # the llama accounting knows every region, so it has any policy that is made of them
    if accounting != "llama" and (name not in have or get_policy(policy.name) != policy):
        raise InputError(f"the {accounting} accounting has no policy {name!r}: its policies are {', '.join(have)}")
    attention = checked_attention(("flash" if accounting == "llama" else "eager") if attention is None else attention)
    if attention == "flash" and accounting != "llama":
        raise InputError(f"the {accounting} accounting has no flash attention: it has eager")
    lengths, batch_size = checked_seq_len(seq_len), checked_batch_size(batch_size)

    ledger: Callable[[Policy], Ledger]
    flops: Callable[[Policy], Flops]
    if accounting == "llama":
        if config.block != "llama":
            raise InputError(
                f"the llama accounting has no block for {config.name!r}: take the paper accounting, or a Llama model"
            )
        block = llama.Block(config, lengths, batch_size, attention, rules or FlopRules())
        ledger, flops = partial(llama.llama_ledger, block), partial(llama.llama_flops, block)
        head = llama.llama_head(config, lengths, batch_size)
    else:
        block_ledger = {"workshop": gpt.workshop_ledger, "paper": gpt.paper_ledger}[accounting]
        ledger = partial(block_ledger, config, lengths, batch_size)
        flops = partial(gpt.gpt_flops, config, lengths, batch_size)
        head = gpt.paper_head(config, lengths, batch_size) if accounting == "paper" else Head(Ledger(), 0)

    layer_policies = [policy if policy.checkpoints(layer) else POLICIES["none"] for layer in range(config.n_layers)]
    kinds = Counter(layer_policies)
    ledgers = {kind: ledger(kind) for kind in kinds}
    layers = tuple(ledgers[kind] for kind in layer_policies)
    if accounting == "llama":
        backward = {kind: peak.block_backward_bytes(block, kind) for kind in kinds}
        working = peak.working_bytes(config, layers, [backward[kind] for kind in layer_policies], head)
    else:
        working = total(ledger.bytes for ledger in (*layers, head.ledger))
    return Step(
        model=config.name,
        seq_len=exact(lengths),
        batch_size=batch_size,
        accounting=accounting,
        attention=attention,
        policy=policy,
        layers=layers,
        head=head,
        states=States.of(config.n_parameters, checked_ranks(data_parallel)),
        working_bytes=working,
        flops=sum_flops([(count, flops(kind)) for kind, count in kinds.items()]),
    )


def sum_flops(blocks: list[tuple[int, Flops]]) -> Flops:
    """The FLOPs of many blocks, from how many there are of each kind."""
    return Flops(
        forward=exact(sum(n * flops.forward for n, flops in blocks)),
        backward=exact(sum(n * flops.backward for n, flops in blocks)),
        recompute=exact(sum(n * flops.recompute for n, flops in blocks)),
    )
