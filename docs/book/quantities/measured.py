"""measure, with its answers kept: a measurement is repeated only when something that it runs has changed.

No closed form is among what a measurement runs, so that a changed formula meets the same measurement.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from functools import cache
from pathlib import Path
from shutil import rmtree
from typing import Any

import closure
import kept

from actckpt import ModelConfig, Step
from actckpt.config import get_config
from actckpt.ledger import Ledger, Term
from actckpt.policy import get_policy
from actckpt.step import Flops, Head, States

CACHE = closure.ROOT / ".cache/measurements"
PLAIN = ("model", "seq_len", "batch_size", "n_layers", "accounting", "attention", "working_bytes")


def measure(model: str | ModelConfig, **options: Any) -> Step[int]:
    """`actckpt.measure`, from the cache where it has been asked the same before."""
    asked = repr((get_config(model), sorted(options.items())))
    file = _folder() / f"{hashlib.sha256(asked.encode()).hexdigest()[:16]}.json"
    step = kept.read(file, asked, _read)
    if step is None:
        from actckpt import measure as measure_now

        step = measure_now(model, **options)
        kept.write(file, asked, _written(step))
    return step


def _written(step: Step[int]) -> dict[str, Any]:
    return {name: getattr(step, name) for name in PLAIN} | {
        "policy": step.policy.name,
        "layers": [_terms(ledger) for ledger in step.layers],
        "head": [_terms(step.head.ledger), step.head.flops],
        "states": asdict(step.states),
        "flops": [step.flops.forward, step.flops.backward, step.flops.recompute],
    }


def _terms(ledger: Ledger[int]) -> list[tuple[object, ...]]:
    return [(term.name, term.component, term.shape, term.dtype) for term in ledger]


def _read(content: dict[str, Any]) -> Step[int]:
    saved, flops = content["head"]
    return Step(
        **{name: content[name] for name in PLAIN},
        policy=get_policy(content["policy"]),
        layers=tuple(map(_ledger, content["layers"])),
        head=Head(_ledger(saved), flops),
        states=States(**content["states"]),
        flops=Flops(*content["flops"]),
    )


def _ledger(terms: list[tuple[str, str, list[int], str]]) -> Ledger[int]:
    return Ledger(tuple(Term(name, component, tuple(shape), dtype) for name, component, shape, dtype in terms))


@cache
def _folder() -> Path:
    folder = CACHE / closure.key(closure.ROOT / "actckpt/measurement.py")
    for stale in CACHE.glob("*"):
        if stale != folder:
            rmtree(stale, ignore_errors=True)
    return folder
