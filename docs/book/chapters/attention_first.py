"""The blocks of "Attention first?": what a percent of FLOPs buys, half by half and policy by policy."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from actckpt import PRESETS
from actckpt.figures.tradeoffs import WORKSHOP, WORLDS, advantage_over_seq_len, memory_and_compute, policy_frontier
from actckpt.hardware import GIB
from actckpt.tradeoff import Tradeoff, frontier, tradeoff, tradeoffs
from book.components.figure import figure
from book.components.table import table
from book.components.template import code, exact, gib_cell, render, swatch
from book.quantities import advice, peaks
from book.quantities.halves import RULES, parity, parity_share
from book.quantities.steps import CARD, LABEL, LONG, MODEL, RANKS, SIZES, overhead
from book.quantities.text import fixed, gib, model_label, percent


def shares() -> Markup:
    """The chart of the shares of bytes and of FLOPs, eager and flash."""
    return figure(
        memory_and_compute,
        MODEL,
        LONG,
        name="shares",
        caption=f"Each bar is one block of {LABEL}, whole: the bytes that it keeps, and the FLOPs of its forward pass.",
        assumes=f"Llama accounting, S = {LONG:,}, bfloat16; flash attention skips what the causal mask hides.",
        test="test_figures_tradeoffs::test_memory_and_compute",
    )


def workshop_advantage() -> Markup:
    """The chart of the advantage over sequence length, by the workshop's count."""
    return figure(
        advantage_over_seq_len,
        SIZES,
        WORKSHOP,
        name="workshop-advantage",
        caption="What a percent of FLOPs saves in the attention half over what it saves in the FFN half, three sizes "
        "of Llama 3.1. Above 1, recompute the attention half first; below 1, the FFN half.",
        assumes="Workshop accounting and FLOPs; each strategy's checkpoint is subtracted.",
        test="test_figures_tradeoffs::test_advantage_over_seq_len",
    )


def reversal() -> Markup:
    """Both worlds in one chart."""
    return figure(
        advantage_over_seq_len,
        SIZES,
        WORLDS,
        name="reversal",
        caption="What a percent of FLOPs saves in the attention half over what it saves in the FFN half, three sizes "
        "of Llama 3.1: dotted with eager attention, solid with flash attention. A dot marks where the two halves are "
        "worth the same.",
        assumes="Llama accounting, bfloat16; FLOPs as PyTorch runs them.",
        test="test_figures_tradeoffs::test_advantage_over_seq_len",
    )


def policies() -> Markup:
    """The chart of every policy: what it keeps over what it costs."""
    choices = tradeoffs(MODEL, seq_len=LONG)
    best = frontier(choices)
    rows = [
        (
            choice.policy.name,
            gib_cell(choice.kept_bytes),
            fixed(100 * choice.overhead, 2),
            "yes" if choice in best else "no",
        )
        for choice in choices
    ]
    head = ("policy", "kept, GiB", "extra FLOPs, %", "on the frontier")
    return figure(
        policy_frontier,
        MODEL,
        LONG,
        name="frontier",
        caption=f"Each point is a policy for {LABEL}: what all blocks keep under it, and what it adds to a step. It is "
        "filled where no other policy keeps as little for as few FLOPs.",
        assumes=f"Llama accounting with flash attention, S = {LONG:,}, batch size 1.",
        test="test_figures_tradeoffs::test_policy_frontier",
        numbers=table(f"{LABEL}, S = {LONG:,}, flash attention", head, rows),
    )


# what each policy of the order of advice recomputes, in few words
RECOMPUTES = {
    "none": "nothing",
    "pointwise": "norms, RoPE, the SwiGLU product",
    "every_2": "every second block",
    "ffn": "the FFN half",
    "save_attention": "all but the attention op",
    "full": "the whole block",
}


def decision() -> Markup:
    """The order of advice with its conditions: what each policy peaks at, whether that fits, and up to which length."""
    head = ("policy, and what it recomputes", "FLOPs", "peak", f"fits an {CARD.label}?", "fits up to, tokens")
    choice = peaks.cheapest().policy.name
    steps = [
        {
            "policy": policy,
            "recomputes": RECOMPUTES[policy],
            "costs": f"+{percent(overhead(policy))}" if overhead(policy) else "no more",
            "peak": exact(peaks.peak(policy)),
            "verdict": _verdict(policy, choice),
            "longest": f"{peaks.longest(policy):,}",
            "chosen": policy == choice,
        }
        for policy in advice.ORDER
    ]
    caption = f"{LABEL}, S = {LONG:,}, one sequence a rank, {RANKS} ranks share the states"
    return render("decision", caption=caption, head=head, steps=steps)


def _verdict(policy: str, choice: str) -> str:
    too_much = peaks.peak(policy) - CARD.memory_bytes
    if too_much > 0:
        return f"{gib(too_much)} too much"
    return "take it" if policy == choice else "fits too"


def efficiency() -> Markup:
    """What a percent of FLOPs buys by three accountings, as a table."""
    ways: dict[str, dict[str, Any]] = {
        "the workshop's accounting": {"accounting": "workshop"},
        "the real block, eager attention": {"attention": "eager"},
        "the real block, flash attention": {"attention": "flash"},
    }
    rows: list[Any] = []
    for label, how in ways.items():
        choices = (tradeoff(MODEL, policy, seq_len=LONG, **how) for policy in ("attention", "ffn", "both"))
        rows += [label, *map(_choice, choices)]
    head = ("recomputed", "saved, GiB", "extra FLOPs, %", "GiB per percent")
    return table(f"What a percent of FLOPs buys: {LABEL}, S = {LONG:,}", head, rows)


def _choice(choice: Tradeoff) -> list[str]:
    name = choice.policy.name
    label = (swatch(name) if name in ("attention", "ffn") else Markup()) + code(name)
    return [label, gib_cell(choice.saved_bytes), fixed(100 * choice.overhead, 1), _rate(choice)]


def parities() -> Markup:
    """Where both halves are worth the same with flash attention, by model and by rule of counting, as a table."""
    rows = [
        (
            model_label(model),
            f"{PRESETS[model].hidden_size:,}",
            *(f"{parity(model, rules):,}" for rules in RULES.values()),
            fixed(parity(model) / PRESETS[model].hidden_size, 2),
            fixed(parity_share(model), 2),
        )
        for model in SIZES
    ]
    caption = "The length from which the FFN half is the better one, with flash attention"
    return table(caption, ("model", "H", *RULES, "S*/H", "formula"), rows)


def every_policy() -> Markup:
    """GiB per percent of every policy, eager and flash, as a table."""
    worlds = [tradeoffs(MODEL, seq_len=LONG, attention=attention) for attention in ("eager", "flash")]
    rows = [
        (code(both[0].policy.name), *(cell for each in both for cell in (gib_cell(each.saved_bytes), _rate(each))))
        for both in zip(*worlds, strict=True)
        if both[0].policy.name != "none"
    ]
    head = ("policy", "eager: saved, GiB", "GiB per percent", "flash: saved, GiB", "GiB per percent")
    return table(f"Every policy that treats all blocks alike, {LABEL}, S = {LONG:,}", head, rows)


def _rate(choice: Tradeoff) -> str:
    return fixed(choice.bytes_per_percent / GIB, 2) if choice.overhead else "no FLOPs"
