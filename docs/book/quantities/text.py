"""Numbers as the site writes them. A space before a unit does not break."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal

from actckpt.hardware import GB, GIB

NBSP = "\u00a0"
LABELS = {
    "parameters": "Parameters",
    "gradients": "Gradients",
    "optimizer": "Optimizer",
    "attention": "Attention",
    "ffn": "FFN",
    "norm": "Norm",
    "checkpoint": "Checkpoint",
    "logits": "Logits",
    "working": "Working set",
}


def model_label(name: str) -> str:
    """A preset's name as prose writes it: "llama-3.1-8b" is "Llama 3.1 8B", "gpt-3-175b" "GPT-3 175B"."""
    family, *version, parameters = name.split("-")
    label, joint = {"llama": ("Llama", " "), "gpt": ("GPT", "-")}[family]
    return f"{joint.join((label, *version))} {parameters.upper()}"


def fixed(value: float, digits: int = 0) -> str:
    """`value` with commas and so many decimals, halves rounded up as JavaScript rounds them."""
    return f"{Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):,}"


def gib(n_bytes: float, digits: int | None = None) -> str:
    """Bytes as "12.3 GiB": by default one decimal, and none from 100 GiB."""
    if digits is None:
        digits = 0 if n_bytes >= 100 * GIB else 1
    return f"{fixed(n_bytes / GIB, digits)}{NBSP}GiB"


def gb(n_bytes: float, digits: int = 1) -> str:
    """Bytes as "32.1 GB", a GB of 10⁹."""
    return f"{fixed(n_bytes / GB, digits)}{NBSP}GB"


def size(n_bytes: float) -> str:
    """Bytes in the unit that suits them: with three digits, as "2.13 GiB", or four where that is exact: "20.25 MiB"."""
    for unit, factor in (("TiB", 2**40), ("GiB", GIB), ("MiB", 2**20), ("KiB", 2**10)):
        if n_bytes >= factor:
            count = n_bytes / factor
            digits = max(4 if float(f"{count:.4g}") == count else 3, len(str(int(count))))
            return f"{count:,.{digits}g}{NBSP}{unit}"
    return f"{n_bytes}{NBSP}bytes"


def percent(share: float, digits: int = 1) -> str:
    """A share as "33.3 %"."""
    return f"{fixed(100 * share, digits)}{NBSP}%"


def times(value: float, digits: int = 1) -> str:
    """A factor as "3.9 ×"."""
    return f"{fixed(value, digits)}{NBSP}×"


def span(values: Iterable[float], digits: int = 1) -> str:
    """The least and the most of some numbers: "24.5–27.5"."""
    found = sorted(values)
    return f"{fixed(found[0], digits)}–{fixed(found[-1], digits)}"


def tokens(seq_len: int) -> str:
    """A sequence length as "16K" where it is whole thousands of 1024, with decimals otherwise."""
    return f"{seq_len // 1024}K" if seq_len % 1024 == 0 else f"{seq_len / 1024:g}K"
