"""The numbers below the charts, worked out by hand; `test_tables_on_pages` finds them on the pages."""

from __future__ import annotations

from asked import EVERY_LENGTH, LONG, C, H
from built_pages import Cells, by
from by_hand import SIZES, all_bytes, block_bytes, component, forward, kept, overhead, paper_all_bytes, tensors, third

GIB = 2**30


def over_seq_len(columns: dict[str, list[float]]) -> Cells:
    """A row for each length, with two decimals."""
    rows = {
        f"{seq_len:,}": [f"{column[place]:,.2f}" for column in columns.values()]
        for place, seq_len in enumerate(EVERY_LENGTH)
    }
    return by(columns, rows)


def accountings() -> Cells:
    return over_seq_len(
        {
            "workshop": [paper_all_bytes("none", s, 2) / GIB for s in EVERY_LENGTH],
            "paper": [paper_all_bytes("none", s) / GIB for s in EVERY_LENGTH],
            "Llama, eager attention": [all_bytes("none", s, attention="eager") / GIB for s in EVERY_LENGTH],
            "Llama, flash attention": [all_bytes("none", s) / GIB for s in EVERY_LENGTH],
        }
    )


def policies() -> Cells:
    names = ("none", "attention", "ffn", "both", "full")
    return over_seq_len({name: [all_bytes(name, s) / GIB for s in EVERY_LENGTH] for name in names})


def overheads() -> Cells:
    columns: dict[str, list[float]] = {"none": [0 for _ in EVERY_LENGTH]}
    for label, policy in {"attention": "attention", "FFN": "ffn", "both": "both"}.items():
        columns[f"{label}, workshop"] = [100 * third(policy, s) for s in EVERY_LENGTH]
        columns[f"{label}, PyTorch"] = [100 * overhead(policy, s) for s in EVERY_LENGTH]
    return over_seq_len(columns)


def reversal() -> Cells:
    def advantage(model: str, seq_len: int, attention: str) -> float:
        none = block_bytes("none", seq_len, model, attention)
        half, ffn = (
            (none - block_bytes(policy, seq_len, model, attention)) / overhead(policy, seq_len, model, attention)
            for policy in ("attention", "ffn")
        )
        return half / ffn

    return over_seq_len(
        {
            f"{name.split('-')[-1].upper()}, {attention}": [advantage(name, s, attention) for s in EVERY_LENGTH]
            for attention in ("eager", "flash")
            for name in SIZES
        }
    )


def workshop_advantage() -> Cells:
    def advantage(model: str, seq_len: int) -> float:
        none = paper_all_bytes("none", seq_len, 2, model)
        half, ffn = (
            (none - paper_all_bytes(policy, seq_len, 2, model)) / third(policy, seq_len, model)
            for policy in ("attention", "ffn")
        )
        return half / ffn

    return over_seq_len(
        {f"{name.split('-')[-1].upper()}, workshop": [advantage(name, s) for s in EVERY_LENGTH] for name in SIZES}
    )


def shares_of(seq_len: int, attention: str) -> dict[str, float]:
    """Percent of a block's bytes, component by component."""
    sizes, parts = tensors(seq_len), dict.fromkeys(("attention", "ffn", "norm"), 0)
    for name in kept("none", attention):
        parts[component(name)] += sizes[name]
    return {name: 100 * part / sum(parts.values()) for name, part in parts.items()}


def shares() -> Cells:
    rows = {}
    for attention in ("eager", "flash"):
        flops = forward(LONG, attention=attention)
        ffn = 100 * sum(flops[op] for op in ("gate_proj", "up_proj", "down_proj")) / sum(flops.values())
        rows[f"{attention}: bytes"] = [f"{share:.2f}" for share in shares_of(LONG, attention).values()]
        rows[f"{attention}: FLOPs"] = [f"{share:.2f}" for share in (100 - ffn, ffn, 0)]
    return by(("attention", "FFN", "norm"), rows)


def component_shares() -> Cells:
    return over_seq_len(
        {
            f"{label}, {attention}": [shares_of(s, attention)[part] for s in EVERY_LENGTH]
            for attention in ("eager", "flash")
            for label, part in {"attention": "attention", "FFN": "ffn"}.items()
        }
    )


def traffic() -> Cells:
    # tiles of q, k, v and the output fill the 163 KiB that a thread block of an A100 can have
    d = H // C.n_heads
    tile = 163 * 1024 // (4 * d * 2)
    return over_seq_len(
        {
            "standard": [(4 * s * d + 4 * s**2) * 2 / 1e9 for s in EVERY_LENGTH],
            "flash, every load": [((2 + 2 * -(-s // tile)) * 2 * s * d + 4 * s) / 1e9 for s in EVERY_LENGTH],
            "flash, each tensor once": [(4 * 2 * s * d + 4 * s) / 1e9 for s in EVERY_LENGTH],
        }
    )
