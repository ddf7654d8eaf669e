"""The blocks of "Attention first?": what a percent of FLOPs buys, half by half and policy by policy."""

from __future__ import annotations

from actckpt import PRESETS
from actckpt.figures.tradeoffs import WORKSHOP, WORLDS, advantage_over_seq_len, memory_and_compute, policy_frontier
from actckpt.hardware import GIB
from actckpt.tradeoff import Tradeoff, frontier, tradeoff, tradeoffs
from book.components import figure
from book.quantities import advantage, text
from book.quantities.advantage import LONG, MODEL, MODELS, RULES

COUNTS = {
    "the workshop's accounting": {"accounting": "workshop"},
    "the real block, eager attention": {"attention": "eager"},
    "the real block, flash attention": {"attention": "flash"},
}


# Charts


def shares() -> str:
    """Shares of bytes and of FLOPs, eager and flash."""
    return figure.figure(
        memory_and_compute(MODEL, LONG),
        name="shares",
        made_by=f'actckpt.figures.tradeoffs.memory_and_compute("{MODEL}", {LONG})',
        assumes=f"Llama accounting, one block of {text.model_label(MODEL)}, S = {LONG:,}, bfloat16; "
        "forward FLOPs, of which flash attention skips what the causal mask hides.",
        test="test_figures_tradeoffs::test_memory_and_compute",
    )


def workshop_advantage() -> str:
    """The advantage over sequence length, by the workshop's count."""
    return figure.figure(
        advantage_over_seq_len(MODELS, WORKSHOP),
        name="workshop-advantage",
        made_by="actckpt.figures.tradeoffs.advantage_over_seq_len(models, WORKSHOP)",
        assumes="Workshop accounting and FLOPs, three sizes of Llama 3.1; each strategy's checkpoint is subtracted.",
        test="test_figures_tradeoffs::test_advantage_over_seq_len",
    )


def reversal() -> str:
    """Both worlds in one chart."""
    return figure.figure(
        advantage_over_seq_len(MODELS, WORLDS),
        name="reversal",
        made_by="actckpt.figures.tradeoffs.advantage_over_seq_len(models, WORLDS)",
        assumes="Llama accounting, three sizes of Llama 3.1, bfloat16; FLOPs as PyTorch runs them; dotted is eager "
        "attention; a dot marks where the two halves are worth the same.",
        test="test_figures_tradeoffs::test_advantage_over_seq_len",
    )


def policies() -> str:
    """Every policy: what it keeps over what it costs."""
    choices = tradeoffs(MODEL, seq_len=LONG)
    return figure.figure(
        policy_frontier(MODEL, LONG),
        name="frontier",
        made_by=f'actckpt.figures.tradeoffs.policy_frontier("{MODEL}", {LONG})',
        assumes=f"Llama accounting with flash attention, all blocks of {text.model_label(MODEL)}, S = {LONG:,}, "
        "batch size 1; filled where no other policy keeps as little for as few FLOPs.",
        test="test_figures_tradeoffs::test_policy_frontier",
        numbers=_choices_table("flash", choices),
    )


# Tables


def efficiency() -> str:
    """W17's table in three accountings."""
    rows = []
    for label, how in COUNTS.items():
        rows.append(f'<tr class="ac-group"><th scope="rowgroup" colspan="4">{label}</th></tr>')
        rows += [_row(tradeoff(MODEL, policy, seq_len=LONG, **how)) for policy in ("attention", "ffn", "both")]
    return text.table(
        f"What a percent of FLOPs buys: {text.model_label(MODEL)}, S = {LONG:,}",
        ("recomputed", "saved, GiB", "extra FLOPs, %", "GiB per percent"),
        "".join(rows),
    )


def parities() -> str:
    """Where both halves are worth the same with flash attention, by model and by rule of counting."""
    rows = "".join(
        f'<tr><th scope="row">{text.model_label(model)}</th><td>{PRESETS[model].hidden_size:,}</td>'
        + "".join(f"<td>{advantage.parity(model, rules):,}</td>" for rules in RULES.values())
        + f"<td>{text.fixed(advantage.parity(model) / PRESETS[model].hidden_size, 2)}</td>"
        + f"<td>{text.fixed(advantage.parity_share(model), 2)}</td></tr>"
        for model in MODELS
    )
    return text.table(
        "The length from which the FFN half is the better one, with flash attention",
        ("model", "H", *RULES, "S*/H", "formula"),
        rows,
    )


def every_policy() -> str:
    """GiB per percent of every policy, eager and flash."""
    worlds = {attention: {t.policy.name: t for t in _choices(attention)} for attention in ("eager", "flash")}
    rows = "".join(
        f'<tr><th scope="row"><code>{name}</code></th>'
        + "".join(f"<td>{_gib(world[name].saved_bytes)}</td><td>{_rate(world[name])}</td>" for world in worlds.values())
        + "</tr>"
        for name in worlds["flash"]
        if name != "none"
    )
    return text.table(
        f"Every policy, {text.model_label(MODEL)}, S = {LONG:,}",
        ("policy", "eager: saved, GiB", "GiB per percent", "flash: saved, GiB", "GiB per percent"),
        rows,
    )


def _choices(attention: str) -> list[Tradeoff]:
    return tradeoffs(MODEL, seq_len=LONG, attention=attention)


def _choices_table(attention: str, choices: list[Tradeoff]) -> str:
    best = frontier(choices)
    rows = "".join(
        f'<tr><th scope="row">{choice.policy.name}</th><td>{_gib(choice.kept_bytes)}</td>'
        f"<td>{text.fixed(100 * choice.overhead, 2)}</td><td>{'yes' if choice in best else 'no'}</td></tr>"
        for choice in choices
    )
    head = ("policy", "kept, GiB", "extra FLOPs, %", "on the frontier")
    return text.table(f"{text.model_label(MODEL)}, S = {LONG:,}, {attention} attention", head, rows)


def _row(choice: Tradeoff) -> str:
    part = choice.policy.name
    swatch = f'<i class="ac-swatch ac-{part}"></i>' if part in ("attention", "ffn") else ""
    return (
        f'<tr><th scope="row">{swatch}<code>{part}</code></th><td>{_gib(choice.saved_bytes)}</td>'
        f"<td>{text.fixed(100 * choice.overhead, 1)}</td><td>{_rate(choice)}</td></tr>"
    )


def _gib(n_bytes: int) -> str:
    return text.fixed(n_bytes / GIB, 2)


def _rate(choice: Tradeoff) -> str:
    return text.fixed(choice.bytes_per_percent / GIB, 2) if choice.overhead else "no FLOPs"
