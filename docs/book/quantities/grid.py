"""What an explorer can show: for each choice the sums that give its numbers, and words for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from actckpt import ACCOUNTINGS, OPTIMIZERS, POLICIES, PRESETS, InputError, Step, estimate
from book.quantities.sums import Sum, in_proportion, largest, whole

STATES = ("parameters", "gradients", "optimizer")
COUNTED = ("attention", "ffn", "norm", "checkpoint", "logits", "working")
PARTS = (*STATES, *COUNTED)
ATTENTIONS = {
    "flash": "Does not store the S × S scores.",
    "eager": "Stores the S × S scores.",
}
# JavaScript reads numbers exactly up to here
LARGEST = 2**53


@dataclass(frozen=True)
class View:
    """What an explorer offers, and where it opens.

    Attributes:
        name: Its id on the page.
        heading: The question it answers.
        models: Names in `PRESETS`.
        accountings: Keys of `ACCOUNTINGS`.
        policies: Names in `POLICIES`.
        lengths: Sequence lengths.
        opens: The state it opens in; its policy may be None where the chart lists them: the cheapest that fits.
        chart: "policies" for a list with a bar for each policy, "bar" for one bar.
        attentions: The kinds of attention that are offered; an accounting starts with the first that it has.
        ranks: Over how many data-parallel ranks the states may be shared.
        batches: How many sequences a rank may have.
        optimizers: How the states may be kept: keys of `OPTIMIZERS`.
    """

    name: str
    heading: str
    models: Sequence[str]
    accountings: Sequence[str]
    policies: Sequence[str]
    lengths: Sequence[int]
    opens: dict[str, Any]
    chart: str = "bar"
    attentions: Sequence[str] = ("flash", "eager")
    ranks: Sequence[int] = (1, 8, 64, 512)
    batches: Sequence[int] = (1,)
    optimizers: Sequence[str] = ("adam-fp32",)

    def kinds(self, accounting: str) -> tuple[str, ...]:
        """Those of the offered kinds of attention that an accounting has, or, where it has none of them, its own."""
        has = ACCOUNTINGS[accounting].attentions
        return tuple(kind for kind in self.attentions if kind in has) or has

    def step(self, seq_len: int, policy: str) -> Step[int]:
        """The step that the view opens with, at a length and under a policy."""
        opens = self.opens
        return estimate(
            opens["model"],
            seq_len=seq_len,
            policy=policy,
            accounting=opens["accounting"],
            attention=self.kinds(opens["accounting"])[0],
            data_parallel=opens["ranks"],
        )


def parts_of(step: Step[Any]) -> dict[str, Any]:
    """The peak of a step, part by part: what is saved, and the working set on top of it."""
    saved = {**step.by_component(), "logits": step.head.ledger.bytes}
    return {**states_of(step), **saved, "working": step.working_bytes - sum(saved.values())}


def states_of(step: Step[Any]) -> dict[str, int]:
    """The training states of one rank."""
    return {name: getattr(step.states, f"{name}_bytes") for name in STATES}


def grid(view: View) -> dict[str, Any]:
    """Everything that a view can show, in a small form: a sum stands once, as what each power of S and B is times."""
    cells: dict[str, list[Sum]] = {}
    reasons: dict[str, str] = {}
    for model, accounting, policy in product(view.models, view.accountings, view.policies):
        for attention in view.kinds(accounting):
            try:
                found = _sums(model, accounting, attention, policy, view.lengths[0])
            except InputError as error:
                reasons[f"{accounting}|{policy}"] = reasons[f"{model}|{accounting}"] = refusal(error)
                continue
            cells[f"{model}|{accounting}|{attention}|{policy}"] = found
    powers = sorted({power for sums in cells.values() for each in sums for power in each}, reverse=True)
    rows = {_row(each, powers): None for sums in cells.values() for each in sums}
    at = {row: index for index, row in enumerate(rows)}
    return {
        "lengths": list(view.lengths),
        "powers": powers,
        "sums": list(rows),
        "cells": {name: [at[_row(each, powers)] for each in sums] for name, sums in cells.items()},
        "attentions": {accounting: view.kinds(accounting) for accounting in view.accountings},
        "parameters": {model: PRESETS[model].n_parameters for model in view.models},
        "states": {name: _stored(name) for name in view.optimizers},
        "reasons": {key: reason for key, reason in reasons.items() if not _possible(key, cells)}
        | {
            f"{accounting}|flash": no_flash(accounting)
            for accounting in view.accountings
            if "flash" not in view.kinds(accounting)
        },
        "words": {
            "policy": {name: recomputes(name) for name in view.policies},
            "accounting": {name: described(name) for name in view.accountings},
            "attention": {name: ATTENTIONS[name] for name in view.attentions},
            "optimizer": {name: sentence(OPTIMIZERS[name].description) for name in view.optimizers},
        },
    }


def recomputes(policy: str) -> str:
    """What a policy recomputes, as a sentence."""
    return sentence(f"recomputes {POLICIES[policy].recomputes}")


def described(accounting: str) -> str:
    """What an accounting counts, as a sentence."""
    return sentence(ACCOUNTINGS[accounting].description)


def no_flash(accounting: str) -> str:
    """Why an accounting offers no flash attention, as a sentence."""
    try:
        estimate("llama-3.1-8b", seq_len=1, accounting=accounting, attention="flash")
    except InputError as error:
        return refusal(error)
    return ""


def refusal(error: InputError) -> str:
    """Why a choice is struck out, as a sentence; what may be chosen instead is there to be seen."""
    return sentence(str(error).partition(": it")[0])


def sentence(words: str) -> str:
    """The words with a capital and a full stop."""
    return f"{words[0].upper()}{words[1:]}."


def _sums(model: str, accounting: str, attention: str, policy: str, shortest: int) -> list[Sum]:
    """The sums of `COUNTED` but the working set, what is recomputed, all FLOPs, and those of the most that is alive."""
    # of a step only its working set is the largest of several sums
    step: Step[Any] = estimate(model, seq_len=1, policy=policy, accounting=accounting, attention=attention).formula()
    config, flops = PRESETS[model], step.flops
    saved = [*step.by_component().values(), step.head.ledger.bytes]
    return [
        *(whole(form, config) for form in saved),
        *in_proportion((flops.recompute, flops.forward + flops.backward), config),
        *largest(step.working_bytes, config, shortest),
    ]


def _row(each: Sum, powers: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    if max(each.values(), default=0) >= LARGEST:
        raise OverflowError(f"{max(each.values())} is more than JavaScript reads exactly")
    return tuple(each.get(power, 0) for power in powers)


def _stored(optimizer: str) -> dict[str, list[list[int]]]:
    # for each state what is stored: bytes, and the parameters that share them
    kept = OPTIMIZERS[optimizer]
    states = {"parameters": (kept.parameters,), "gradients": (kept.gradients,), "optimizer": kept.optimizer}
    return {name: [list(asdict(stored).values()) for stored in each] for name, each in states.items()}


def _possible(pair: str, cells: dict[str, list[Sum]]) -> bool:
    first, second = pair.split("|")
    return any(
        first in (model, accounting) and second in (accounting, policy)
        for model, accounting, _, policy in (cell.split("|") for cell in cells)
    )
