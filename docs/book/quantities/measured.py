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
from actckpt.policy import get_policy
from actckpt.states import States
from actckpt.step import Flops, Head
from actckpt.terms import Ledger, Term

CACHE = closure.ROOT / ".cache/measurements"


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
    return asdict(step) | {"policy": step.policy.name}


def _read(content: dict[str, Any]) -> Step[int]:
    head = content["head"]
    typed = {
        "policy": get_policy(content["policy"]),
        "layers": tuple(map(_ledger, content["layers"])),
        "head": Head(_ledger(head["ledger"]), head["flops"]),
        "states": States(**content["states"]),
        "flops": Flops(**content["flops"]),
    }
    return Step(**content | typed)


def _ledger(content: dict[str, Any]) -> Ledger[int]:
    return Ledger(tuple(Term(**term | {"shape": tuple(term["shape"])}) for term in content["terms"]))


@cache
def _folder() -> Path:
    folder = CACHE / closure.key(closure.ROOT / "actckpt/measurement.py")
    for stale in CACHE.glob("*"):
        if stale != folder:
            rmtree(stale, ignore_errors=True)
    return folder
