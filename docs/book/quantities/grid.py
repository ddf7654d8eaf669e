"""What an explorer can show: a grid of exact numbers that the package computes, in a small form, and words for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import gcd
from typing import Any

import numpy as np

from actckpt import ACCOUNTINGS, POLICIES, InputError, Step, estimate, sweep

STATES = ("parameters", "gradients", "optimizer")
COUNTED = ("attention", "ffn", "norm", "checkpoint", "logits", "working")
PARTS = (*STATES, *COUNTED)
ATTENTIONS = {
    "flash": "Never writes the S × S scores down.",
    "eager": "Writes the S × S scores down, and keeps them.",
}
# JavaScript counts exactly up to here
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
        opens: The state it opens in.
        chart: "bar" for one bar, "columns" for one column a sequence length.
        attentions: The kinds of attention that are offered; an accounting starts with the first that it has.
        ranks: Over how many data-parallel ranks the states may be shared.
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

    def kinds(self, accounting: str) -> tuple[str, ...]:
        """Those of the offered kinds of attention that an accounting has, or, where it has none of them, its own."""
        has = ACCOUNTINGS[accounting].attentions
        return tuple(kind for kind in self.attentions if kind in has) or has

    def step(self, seq_len: int) -> Step[int]:
        """The step that the view opens with, at a length."""
        opens = self.opens
        return estimate(
            opens["model"],
            seq_len=seq_len,
            policy=opens["policy"],
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
    """Everything that a view can show, in a small form: equal rows stand once, divided by what divides them."""
    rows: dict[tuple[Any, ...], int] = {}
    cells: dict[str, list[int]] = {}
    others: dict[str, list[int]] = {}
    reasons: dict[str, str] = {}
    for model, accounting, policy in product(view.models, view.accountings, view.policies):
        name = f"{model}|{accounting}|{policy}"
        for attention in view.kinds(accounting):
            try:
                step = sweep(
                    model, seq_len=np.array(view.lengths), policy=policy, accounting=accounting, attention=attention
                )
            except InputError as error:
                reasons[f"{accounting}|{policy}"] = reasons[f"{model}|{accounting}"] = refusal(error)
                continue
            found = [rows.setdefault(row, len(rows)) for row in _rows(step, len(view.lengths))]
            (others if name in cells else cells)[name] = found
    return {
        "lengths": list(view.lengths),
        "cells": cells,
        "others": others,
        "attentions": {accounting: view.kinds(accounting) for accounting in view.accountings},
        "rows": list(rows),
        "ranks": dict(_ranks(view)),
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


def _rows(step: Step[Any], n_lengths: int) -> Iterator[tuple[Any, ...]]:
    parts = parts_of(step)
    for part in COUNTED:
        yield _divided(np.broadcast_to(parts[part], n_lengths).tolist())
    yield (1, *(round(share, 6) for share in np.broadcast_to(step.flops.overhead, n_lengths).tolist()))


def _divided(row: list[int]) -> tuple[int, ...]:
    if max(row) >= LARGEST:
        raise OverflowError(f"{max(row)} is more than JavaScript can count exactly")
    divisor = gcd(*row) or 1
    return (divisor, *(count // divisor for count in row))


def _ranks(view: View) -> Iterator[tuple[str, list[int]]]:
    for model, n in product(view.models, view.ranks):
        yield f"{model}|{n}", list(states_of(estimate(model, seq_len=1, accounting="paper", data_parallel=n)).values())


def _possible(pair: str, cells: dict[str, list[int]]) -> bool:
    first, second = pair.split("|")
    return any(
        first in (model, accounting) and second in (accounting, policy)
        for model, accounting, policy in (cell.split("|") for cell in cells)
    )
