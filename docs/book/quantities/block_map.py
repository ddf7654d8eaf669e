"""A Llama block under each policy: its tensors in the order of the forward pass, and which of them are kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import groupby

from actckpt.policy import POLICIES
from actckpt.terms import Term
from book.quantities.steps import LONG, block_at, step

CHOICES = tuple(name for name, policy in POLICIES.items() if policy.every == 1)
OPENS = "full"


@dataclass(frozen=True)
class Row:
    """The tensors that stand beside one another, and the op that makes them from those above.

    Attributes:
        op: What runs before.
        label: What the row is called; "" where its boxes are wide enough for a name each.
        tensors: By the names that the ledger has.
        on_stream: Whether the row is the residual stream itself.
    """

    op: str
    label: str
    tensors: tuple[str, ...]
    on_stream: bool = False


# what each row is called, and the op above it
LABELS = {
    "": "input",
    "norm 1": "normed, rstd",
    "q, k, v projections": "q, k, v",
    "RoPE": "q, k turned",
    "flash attention": "output, lse",
    "o projection, + input": "residual",
    "norm 2": "normed, rstd",
    "gate and up projections": "",
    "SwiGLU": "product",
    "down projection, + residual": "output: the next block's input",
}


def _rows() -> tuple[Row, ...]:
    """The input, and a row for what the block's stages write; those that read the same stand beside one another."""
    made: list[tuple[tuple[str, ...], bool]] = [(("input",), True)]
    for _, beside in groupby(block_at(LONG).stages, key=lambda stage: stage.reads):
        stages = list(beside)
        writes = tuple(name for stage in stages for name in stage.writes)
        if stages[0].kind == "add":
            # the sum takes the place of what it adds to the stream
            made[-1] = (writes, True)
        else:
            made.append((writes, False))
    # the last sum is the next block's, as its input
    made[-1] = ((), True)
    return tuple(Row(*words, *tensors) for words, tensors in zip(LABELS.items(), made, strict=True))


ROWS = _rows()


@cache
def everything() -> dict[str, Term[int]]:
    """Every tensor on the map, with its size; its component is the one under which nothing recomputed counts it."""
    tensors = block_at(LONG).tensors
    return {name: tensors[name] for row in ROWS for name in row.tensors}


def kept(policy: str) -> dict[str, Term[int]]:
    """What a block keeps under a policy."""
    return {term.name: term for term in step(policy).block}


def policies_where(tensor: str, component: str | None) -> tuple[str, ...]:
    """The policies under which a tensor is kept as a component; or, with None, those under which it is not kept."""
    found = ((policy, kept(policy).get(tensor)) for policy in CHOICES)
    return tuple(policy for policy, term in found if (term.component if term else None) == component)
