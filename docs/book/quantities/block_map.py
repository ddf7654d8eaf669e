"""A Llama block under each policy: its tensors in the order of the forward pass, and which of them are kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from actckpt.ledger import Term
from actckpt.policy import POLICIES
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


ROWS = (
    Row("", "input", ("input",), on_stream=True),
    Row("norm 1", "normed, rstd", ("norm_1.output", "norm_1.rstd")),
    Row("q, k, v projections", "q, k, v", ("q_proj", "k_proj", "v_proj")),
    Row("RoPE", "q, k turned", ("rope.q", "rope.k")),
    Row("flash attention", "output, lse", ("attention.output", "attention.lse")),
    Row("o projection, + input", "residual", ("residual",), on_stream=True),
    Row("norm 2", "normed, rstd", ("norm_2.output", "norm_2.rstd")),
    Row("gate and up projections", "", ("gate_proj", "up_proj")),
    Row("SwiGLU", "product", ("swiglu.product",)),
    Row("down projection, + residual", "output: the next block's input", (), on_stream=True),
)


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
