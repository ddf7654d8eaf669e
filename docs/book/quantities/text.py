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


class Written(str):
    """A number as it is written, with the values that it rounds, in the unit in which it is written."""

    __slots__ = ("values",)
    values: tuple[float, ...]

    def __new__(cls, words: str, *values: float) -> Written:
        """The words, and what they round."""
        written = str.__new__(cls, words)
        written.values = tuple(map(float, values))
        return written


def fixed(value: float, digits: int = 0) -> Written:
    """`value` with commas and so many decimals, halves rounded up as JavaScript rounds them."""
    return Written(f"{Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):,}", value)


def with_unit(number: Written, unit: str) -> Written:
    """A number and its unit, on one line."""
    return Written(f"{number}{NBSP}{unit}", *number.values)


def gib(n_bytes: float, digits: int | None = None) -> Written:
    """Bytes as "12.3 GiB": by default one decimal, and none from 100 GiB."""
    if digits is None:
        digits = 0 if n_bytes >= 100 * GIB else 1
    return with_unit(fixed(n_bytes / GIB, digits), "GiB")


def gb(n_bytes: float, digits: int = 1) -> Written:
    """Bytes as "32.1 GB", a GB of 10⁹."""
    return with_unit(fixed(n_bytes / GB, digits), "GB")


def size(n_bytes: float) -> Written:
    """Bytes in the unit that suits them: with three digits, as "2.13 GiB", or four where that is exact: "20.25 MiB"."""
    for unit, factor in (("TiB", 2**40), ("GiB", GIB), ("MiB", 2**20), ("KiB", 2**10)):
        if n_bytes >= factor:
            count = n_bytes / factor
            digits = max(4 if float(f"{count:.4g}") == count else 3, len(str(int(count))))
            return with_unit(Written(f"{count:,.{digits}g}", count), unit)
    return with_unit(Written(f"{n_bytes}", n_bytes), "bytes")


def percent(share: float, digits: int = 1) -> Written:
    """A share as "33.3 %"."""
    return with_unit(fixed(100 * share, digits), "%")


def times(value: float, digits: int = 1) -> Written:
    """A factor as "3.9 ×"."""
    return with_unit(fixed(value, digits), "×")


def span(values: Iterable[float], digits: int = 1) -> Written:
    """The least and the most of some numbers: "24.5–27.5"."""
    found = sorted(values)
    return Written(f"{fixed(found[0], digits)}–{fixed(found[-1], digits)}", found[0], found[-1])


def tokens(seq_len: int) -> str:
    """A sequence length as "16K" where it is whole thousands of 1024, with decimals otherwise."""
    return f"{seq_len // 1024}K" if seq_len % 1024 == 0 else f"{seq_len / 1024:g}K"
