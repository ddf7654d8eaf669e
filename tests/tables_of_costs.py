"""The tables of the chapters on what recomputation costs, worked out by hand; `test_tables_on_pages` finds them."""

from __future__ import annotations

from bisect import bisect_right
from functools import partial

import by_hand
from asked import LONG, C, H
from built_pages import Cells, by, fixed, gib, percent
from by_hand import SIZES, all_bytes, forward, n_parameters, overhead, paper_all_bytes, parity, third
from tables_of_memory import LABELS, POLICIES

from actckpt import PRESETS

# Compute cost


def matmuls() -> Cells:
    square, scores, wide = "2 BSH²", "2 BS²H", "8 BSH²"
    rows = dict.fromkeys(("q", "k", "v"), ("[S·B, H] · [H, H]", square)) | {
        "scores q kᵀ": ("n × [S, H/n] · [H/n, S]", scores),
        "probabilities · v": ("n × [S, S] · [S, H/n]", scores),
        "o": ("[S·B, H] · [H, H]", square),
        "FFN up": ("[S·B, H] · [H, 4H]", wide),
        "FFN down": ("[S·B, 4H] · [4H, H]", wide),
        # 4 · 2 + 2 · 8, and 2 · 2
        "sum": ("", "24 BSH² + 4 BS²H"),
    }
    return by(("sizes", "FLOPs"), rows)


def cases() -> Cells:
    rows = {}
    for name, ratio in {"S ≪ H": 0, "S = H": 1, "S = 2H": 2, "S = 4H": 4}.items():
        flops = {"attention": 8 + 4 * ratio, "ffn": 16, "both": 24 + 4 * ratio}
        parts = [f"{n} / (3 · {flops['both']}) = {percent(n / (3 * flops['both']))}" for n in flops.values()]
        rows[name] = (f"{ratio * H:,}" if ratio else "–", *parts, percent(flops["attention"] / flops["both"]))
    return by(("tokens, 8B", "attention", "FFN", "both", "attention’s share of F"), rows)


def worked_example() -> Cells:
    rows = {
        name: (f"{n}", f"{1200 + n:,}", percent(n / 1200))
        for name, n in {"nothing": 0, "attention": 100, "FFN": 300, "both": 400}.items()
    }
    return by(("computed again", "the step", "overhead"), rows)


def switches() -> Cells:
    rules = {
        "by the workshop's rules": {"causal": False, "flash_backward": False, "early_stop": False},
        "and the recomputation stops early": {"causal": False, "flash_backward": False},
        "and flash attention's backward pass is longer": {"causal": False},
        "and the causal mask is skipped: as PyTorch runs it": {},
    }
    rows = {
        words: [percent(overhead("full", 1024 * k, **each)) for k in (1, 4, 16, 128)] for words, each in rules.items()
    }
    return by(("1K tokens", "4K tokens", "16K tokens", "128K tokens"), rows)


def llama_matmuls() -> Cells:
    ahead, unit = forward(H), H * H**2
    back = by_hand.backward(ahead)
    ops = {op: (op,) for op in ahead if op not in ("scores", "values")} | {"attention.output": ("scores", "values")}
    rows = {name: (sum(ahead[op] for op in parts), sum(back[op] for op in parts)) for name, parts in ops.items()}
    cells = {name: (fixed(f / unit, 2), fixed(b / unit, 2), f"{b / f:g}") for name, (f, b) in rows.items()}
    f, b = sum(ahead.values()), sum(back.values())
    return by(
        ("forward", "backward", "backward ÷ forward"),
        cells | {"sum": (fixed(f / unit, 2), fixed(b / unit, 2), fixed(b / f, 2))},
    )


def measured() -> Cells:
    # Korthikanti et al., table 4: 19.6, 20.9 and 27.2 ms; 6144 wide, 2048 long
    core = 4 * 2048 / (3 * (24 * 6144 + 4 * 2048))
    return by(
        ("FLOPs added, counted", "time added, as published"),
        {
            "core attention": (percent(core), percent(20.9 / 19.6 - 1, 0)),
            "the whole layer": (percent(1 / 3), percent(27.2 / 19.6 - 1, 0)),
        },
    )


# Attention first?


def gain(freed: float, share: float) -> list[str]:
    """GiB freed, and for each percent of a share of the step's FLOPs."""
    return [fixed(freed / 2**30, 2), fixed(freed / 2**30 / (100 * share), 2) if share else "no FLOPs"]


def efficiency() -> Cells:
    rows = {}
    for policy in ("attention", "ffn", "both"):
        freed = paper_all_bytes("none", factor=2) - paper_all_bytes(policy, factor=2)
        rows[f"the workshop's accounting: {policy}"] = (freed, third(policy))
    for attention in ("eager", "flash"):
        for policy in ("attention", "ffn", "both"):
            freed = all_bytes("none", attention=attention) - all_bytes(policy, attention=attention)
            rows[f"the real block, {attention} attention: {policy}"] = (freed, overhead(policy, attention=attention))
    cells = {}
    for name, (freed, share) in rows.items():
        saved, rate = gain(freed, share)
        cells[name] = (saved, fixed(100 * share, 1), rate)
    return by(("saved, GiB", "extra FLOPs, %", "GiB per percent"), cells)


def parities() -> Cells:
    rows = {}
    for label, name in zip(LABELS, SIZES, strict=True):
        c = PRESETS[name]
        r, f = c.n_kv_heads / c.n_heads, c.ffn_size / c.hidden_size
        rules = ({}, {"early_stop": False}, {"causal": False}, {"early_stop": False, "causal": False})
        rows[label] = (
            f"{c.hidden_size:,}",
            *(f"{parity(name, **each):,}" for each in rules),
            fixed(parity(name) / c.hidden_size, 2),
            fixed(2 * f * (3 + 2 * r) / (1 + 3 * f) - 1 - 2 * r, 2),
        )
    return by(("H", "as PyTorch", "no early stop", "not causal", "neither", "S*/H", "formula"), rows)


def every_policy() -> Cells:
    rows = {}
    for policy in POLICIES[1:]:
        rows[policy] = [
            cell
            for attention in ("eager", "flash")
            for cell in gain(
                all_bytes("none", attention=attention) - all_bytes(policy, attention=attention),
                overhead(policy, attention=attention),
            )
        ]
    return by(("eager: saved, GiB", "GiB per percent", "flash: saved, GiB", "GiB per percent (2)"), rows)


RECOMPUTES = {
    "none": "nothing",
    "pointwise": "norms, RoPE, the SwiGLU product",
    "every_2": "every second block",
    "ffn": "the FFN half",
    "save_attention": "all but the attention op",
    "full": "the whole block",
}


def decision() -> Cells:
    """The order of advice: the states of a rank out of eight, what blocks and loss keep, and the loss's gradients."""
    card, n = 81_559 * 2**20, -(-n_parameters() // 8)

    def peak(policy: str, seq_len: int) -> int:
        head = 4 * seq_len * H + 4 * seq_len + 3 * 4 * seq_len * C.vocab_size + 4
        return 16 * n + all_bytes(policy, seq_len) + head

    cheapest = next(policy for policy in RECOMPUTES if peak(policy, LONG) <= card)
    rows = {}
    for policy in RECOMPUTES:
        share, over = overhead(policy), peak(policy, LONG) - card
        verdict = f"{gib(over)} too much" if over > 0 else "fits too"
        rows[f"{policy} {RECOMPUTES[policy]}"] = (
            f"+{percent(share)}" if share else "no more",
            gib(peak(policy, LONG), 1),
            "take it" if policy == cheapest else verdict,
            f"{bisect_right(range(65_537), card, key=partial(peak, policy)) - 1:,}",
        )
    return by(("FLOPs", "peak", "fits an H100 80 GB?", "fits up to, tokens"), rows)


def frontier() -> Cells:
    points = {policy: (all_bytes(policy), overhead(policy)) for policy in POLICIES}

    def beaten(policy: str) -> bool:
        kept, share = points[policy]
        others = [point for name, point in points.items() if name != policy]
        return any(k <= kept and s <= share for k, s in others)

    rows = {
        policy: (fixed(kept / 2**30, 2), fixed(100 * share, 2), "no" if beaten(policy) else "yes")
        for policy, (kept, share) in points.items()
    }
    return by(("kept, GiB", "extra FLOPs, %", "on the frontier"), rows)
