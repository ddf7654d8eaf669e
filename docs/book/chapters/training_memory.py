"""The blocks of the chapter on training memory."""

from __future__ import annotations

from collections.abc import Iterable

from actckpt import ACCELERATORS, PRESETS, Step, estimate
from actckpt.hardware import GB
from actckpt.step import ADAM_BYTES, GRADIENT_BYTES, PARAMETER_BYTES, States
from book.components import explorer as explorers
from book.quantities import text
from book.quantities.grid import PARTS, STATES, View, parts_of

MODEL = "llama-3.1-8b"
LABEL = text.model_label(MODEL)
SIZES = ("llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b")
RANKS = (1, 8, 64, 512)
CARD = ACCELERATORS["h100-80gb"]
LONG = 16_384
BYTES_EACH = {"parameters": PARAMETER_BYTES, "gradients": GRADIENT_BYTES, "optimizer": ADAM_BYTES}

# what the table of the peak calls a part more precisely
HERE = {"norm": "Norms of the blocks", "logits": "Final norm, logits, loss"}

VIEW = View(
    name="breakdown",
    heading="Where does it go?",
    models=(MODEL,),
    accountings=("workshop", "paper", "llama"),
    policies=("none",),
    lengths=tuple(range(1024, LONG + 1, 1024)),
    opens={"model": MODEL, "accounting": "workshop", "policy": "none", "seq_len": 4096, "ranks": 1},
    attentions=("flash",),
)


def explorer() -> str:
    """The explorer."""
    return explorers.explorer(VIEW)


def formula() -> str:
    """The training states as multiples of N, as LaTeX."""
    summands = " + ".join(map(str, BYTES_EACH.values()))
    return rf"$$M_P + M_G + M_O = ({summands})\,N \text{{ bytes}}$$"


def states() -> str:
    """Parameters, gradients and optimizer of three models, as a table."""
    counts = {name: PRESETS[name].n_parameters for name in SIZES}
    rows = "".join(
        f'<tr><th scope="row"><i class="ac-swatch ac-{part}"></i>{text.LABELS[part]}</th><td>{each} N</td>'
        f"{_cells(each * n for n in counts.values())}</tr>"
        for part, each in BYTES_EACH.items()
    )
    each = sum(BYTES_EACH.values())
    foot = f'<tr><th scope="row">sum</th><td>{each} N</td>{_cells(each * n for n in counts.values())}</tr>'
    head = ("float32, Adam", "bytes", *(f"{text.model_label(name)}" for name in SIZES))
    return text.table("The training states, on one GPU", head, rows, foot)


def shared() -> str:
    """The training states of a rank, over how many ranks share them, as a table."""
    rows = "".join(
        f'<tr><th scope="row">{ranks} {"ranks" if ranks > 1 else "rank"}</th>'
        + "".join(_share_cell(States.of(PRESETS[name].n_parameters, ranks).bytes) for name in SIZES)
        + "</tr>"
        for ranks in RANKS
    )
    head = ("shared by", *(text.model_label(name) for name in SIZES))
    return text.table(f"Training states on each GPU; in bold where an {CARD.label} holds them", head, rows)


def peak() -> str:
    """The peak of a step, part by part, for three policies, as a table."""
    steps = {policy: _step(policy) for policy in ("none", "ffn", "full")}
    parts = [part for part in PARTS if part not in STATES]
    rows = "".join(
        f'<tr><th scope="row"><i class="ac-swatch ac-{part}"></i>{HERE.get(part, text.LABELS[part])}</th>'
        f"{_cells(parts_of(step)[part] for step in steps.values())}</tr>"
        for part in parts
    )
    foot = f'<tr><th scope="row">sum</th>{_cells(step.working_bytes for step in steps.values())}</tr>'
    head = ("recomputed", *(f"<code>{policy}</code>" for policy in steps))
    return text.table(f"{LABEL}, S = {LONG:,}, flash attention: the peak beside the states", head, rows, foot)


def parameters() -> str:
    """N of the 8B model, in units of 10⁹."""
    return text.fixed(PRESETS[MODEL].n_parameters / 10**9, 2)


def parameters_gb() -> str:
    """Its parameters in GB."""
    return f"{text.fixed(PARAMETER_BYTES * PRESETS[MODEL].n_parameters / GB, 1)} GB"


def parameters_gib() -> str:
    """The same in GiB."""
    return text.gib(PARAMETER_BYTES * PRESETS[MODEL].n_parameters)


def each() -> str:
    """Bytes of state for each parameter."""
    return str(sum(BYTES_EACH.values()))


def logits() -> str:
    """The saved logits at 16K tokens."""
    return text.gib(_step("full").head.ledger["loss.log_probabilities"].bytes)


def checkpoints() -> str:
    """All checkpoints at 16K tokens, one a block."""
    return text.gib(_step("full").total_bytes)


def n_blocks() -> str:
    """The number of blocks."""
    return str(PRESETS[MODEL].n_layers)


def logits_copies() -> str:
    """How many times the logits are held when the loss runs backward, with what is saved of them."""
    step = _step("full")
    kept = step.head.ledger["loss.log_probabilities"].bytes
    return str(1 + round(parts_of(step)["working"] / kept))


def full_peak() -> str:
    """The peak beside the states where whole blocks are recomputed."""
    return text.gib(_step("full").working_bytes)


def _step(policy: str) -> Step:
    return estimate(MODEL, seq_len=LONG, policy=policy)


def _cells(counts: Iterable[int]) -> str:
    return "".join(f"<td>{text.data(n_bytes)}</td>" for n_bytes in counts)


def _share_cell(n_bytes: int) -> str:
    fits = n_bytes <= CARD.memory_bytes
    return f"<td>{'<b>' if fits else ''}{text.data(n_bytes)}{'</b>' if fits else ''}</td>"
