"""The oldest versions that the package takes, which `scripts/setup --tests` installs into a folder of their own.

A process must choose them before it imports numpy or triton, so this file imports neither.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLOOR = ROOT / ".cache/floor"


def enter() -> None:
    """Have this process import them."""
    sys.path.insert(0, str(FLOOR))


def environment() -> dict[str, str]:
    """What a process that imports them is started with."""
    return os.environ | {"PYTHONPATH": os.pathsep.join((str(FLOOR), str(ROOT)))}


def version(package: str) -> str:
    """The version that is installed there."""
    (folder,) = FLOOR.glob(f"{package}-*.dist-info")
    return folder.name.removesuffix(".dist-info").removeprefix(f"{package}-")
