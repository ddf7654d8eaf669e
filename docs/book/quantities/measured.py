"""measure, with its answers kept: a measurement is repeated only when something that it runs has changed.

No closed form is among what a measurement runs, so that a changed formula meets the same measurement.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from functools import cache
from pathlib import Path
from shutil import rmtree
from typing import Any

import closure

from actckpt import ModelConfig, Step
from actckpt.config import get_config

CACHE = closure.ROOT / ".cache/measurements"


def measure(model: str | ModelConfig, **options: Any) -> Step[int]:
    """`actckpt.measure`, from the cache where it has been asked the same before."""
    asked = repr((get_config(model), sorted(options.items())))
    kept = _folder() / f"{hashlib.sha256(asked.encode()).hexdigest()[:16]}.pickle"
    if kept.is_file():
        step: Step[int] = pickle.loads(kept.read_bytes())
        return step
    from actckpt import measure as measure_now

    step = measure_now(model, **options)
    # another build may be writing the same file
    unfinished = kept.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(pickle.dumps(step))
    unfinished.replace(kept)
    return step


@cache
def _folder() -> Path:
    folder = CACHE / closure.key(closure.ROOT / "actckpt/measurement.py")
    for stale in CACHE.glob("*"):
        if stale != folder:
            rmtree(stale, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
