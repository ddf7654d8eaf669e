"""The blocks of the chapter on training memory, and two numbers of it."""

from __future__ import annotations

from markupsafe import Markup

from actckpt import ACCOUNTINGS, OPTIMIZERS, PRESETS
from actckpt.states import States
from book.components.table import table
from book.components.template import code, exact, swatch
from book.quantities import steps
from book.quantities.grid import PARTS, STATES, View, parts_of
from book.quantities.steps import CARD, LABEL, LONG, MODEL, SIZES, step
from book.quantities.text import LABELS, model_label

BYTES_EACH = {part: getattr(States.of(1), f"{part}_bytes") for part in STATES}
EACH = sum(BYTES_EACH.values())

VIEW = View(
    name="breakdown",
    heading="Where does it go?",
    models=(MODEL,),
    # the real block first
    accountings=tuple(reversed(ACCOUNTINGS)),
    policies=("none",),
    lengths=tuple(range(1024, LONG + 1, 1024)),
    opens={"model": MODEL, "accounting": "llama", "policy": "none", "seq_len": 4096, "ranks": 1},
    attentions=("flash",),
    batches=(1, 2, 4, 8, 16, 32, 64),
    optimizers=tuple(OPTIMIZERS),
)


def states() -> Markup:
    """Parameters, gradients and optimizer of three models, as a table."""
    counts = [PRESETS[name].n_parameters for name in SIZES]
    rows = [
        (swatch(part) + LABELS[part], f"{each} N", *(exact(each * n) for n in counts))
        for part, each in BYTES_EACH.items()
    ]
    head = ("float32, Adam", "bytes", *map(model_label, SIZES))
    foot = ("sum", f"{EACH} N", *(exact(EACH * n) for n in counts))
    return table("The training states, on one GPU", head, rows, foot)


def shared() -> Markup:
    """The training states of a rank, over how many ranks share them, as a table."""
    rows = [
        (f"{ranks} {'ranks' if ranks > 1 else 'rank'}", *(_share(steps.states(name, ranks)) for name in SIZES))
        for ranks in (1, 8, 64, 512)
    ]
    caption = f"Training states on each GPU; in bold where an {CARD.label} holds them"
    return table(caption, ("shared by", *map(model_label, SIZES)), rows)


def _share(n_bytes: int) -> Markup:
    return Markup("<b>{}</b>").format(exact(n_bytes)) if n_bytes <= CARD.memory_bytes else exact(n_bytes)


def peak() -> Markup:
    """The peak of a step, part by part, for three policies, as a table."""
    policies = ("none", "ffn", "full")
    # what this table calls a part more precisely
    labels = LABELS | {"norm": "Norms of the blocks", "logits": "Final norm, logits, loss"}
    rows = [
        (swatch(part) + labels[part], *(exact(parts_of(step(policy))[part]) for policy in policies))
        for part in PARTS
        if part not in STATES
    ]
    foot = ("sum", *(exact(step(policy).working_bytes) for policy in policies))
    caption = f"{LABEL}, S = {LONG:,}, flash attention: the peak beside the states"
    return table(caption, ("recomputed", *map(code, policies)), rows, foot)
