"""Numbers as the site writes them, and the bits of HTML that every block needs."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from actckpt import PRESETS
from actckpt.hardware import GIB

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
    """A preset's name as prose writes it: "llama-3.1-8b" is "Llama 3.1 8B"."""
    words = name.split("-")
    family = {"llama": "Llama", "gpt": "GPT"}[words[0]]
    if words[0] == "gpt":
        return (
            f"{family}-3 {words[-1].upper()}" if PRESETS[name].vocab_size == 50_257 else f"{family} {words[-1].upper()}"
        )
    return " ".join((family, *words[1:-1], words[-1].upper()))


def fixed(value: float, digits: int) -> str:
    """`value` with commas and so many decimals, halves rounded up as JavaScript rounds them."""
    return f"{Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):,}"


def gib(n_bytes: int, digits: int = 1) -> str:
    """Bytes as "12.3 GiB", the unit kept on the number's line."""
    return f"{fixed(n_bytes / GIB, digits)}\u00a0GiB"


def prose_gib(n_bytes: int) -> str:
    """Bytes as prose has them: no decimals from 100 GiB."""
    return gib(n_bytes, digits=0 if n_bytes >= 100 * GIB else 1)


def size(n_bytes: int) -> str:
    """Bytes in the unit that suits them, kept on the number's line: "2.13 GiB", "128 MiB", "64 KiB"."""
    if n_bytes >= GIB:
        return f"{fixed(n_bytes / GIB, 2)}\u00a0GiB"
    mib = n_bytes / 2**20
    return f"{fixed(mib, 0)}\u00a0MiB" if mib >= 1 or not n_bytes else f"{fixed(n_bytes / 2**10, 0)}\u00a0KiB"


def percent(share: float, digits: int = 1) -> str:
    """A share as "33.3 %", the sign kept on the number's line."""
    return f"{fixed(100 * share, digits)}\u00a0%"


def tokens(seq_len: int) -> str:
    """A sequence length as "16K" where it is whole thousands of 1024, in full otherwise."""
    return f"{seq_len // 1024}K" if seq_len % 1024 == 0 else f"{seq_len / 1024:g}K"


def data(n_bytes: int, part: str = "") -> str:
    """Bytes as people read them, with the exact number for whoever wants it."""
    attribute = f' data-part="{part}"' if part else ""
    return f'<data value="{n_bytes}" title="{n_bytes:,} bytes"{attribute}>{gib(n_bytes)}</data>'


def mark(number: str) -> str:
    """A number in prose that was computed, marked as such."""
    return f'<span class="ac-n">{number}</span>'


def table(caption: str, head: tuple[str, ...], rows: str, foot: str = "") -> str:
    """A table of numbers that scrolls in itself, from its columns' names and the HTML of its rows."""
    columns = "".join(f'<th scope="col">{name}</th>' for name in head)
    return (
        f'<div class="ac-table" tabindex="0" role="region" aria-label="{caption}">'
        f'<table class="ac-numbers"><caption>{caption}</caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{rows}</tbody><tfoot>{foot}</tfoot></table></div>"
    )
