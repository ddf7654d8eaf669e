"""Policies: which regions of a block are recomputed in the backward pass, and what a region keeps all the same.

A policy is data. The closed form reads it to know what is saved, `apply` reads it to wrap the block's methods in
`torch.utils.checkpoint`, and the command line, figures and pages read it to list and to describe it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from actckpt.errors import InputError, shown, unknown

# Every region of a block that can be checkpointed, with those around it from the outside in; "forward" is the whole
# block. Each is a method of `LlamaBlock`.
REGIONS: dict[str, tuple[str, ...]] = {
    "forward": (),
    "attention_half": ("forward",),
    "attend": ("forward", "attention_half"),
    "core_attention": ("forward", "attention_half", "attend"),
    "ffn_half": ("forward",),
    "gate_and_up": ("forward", "ffn_half"),
    "swiglu_and_down": ("forward", "ffn_half"),
}

# What a region can keep: projections, the attention op, and the two matmuls of eager attention; each by the names that
# its ops have in `torch.ops`.
KINDS: dict[str, tuple[str, ...]] = {
    "linear": ("aten.mm", "aten.addmm"),
    "flash": ("actckpt.flash_attention",),
    "scores": ("aten.baddbmm",),
    "values": ("aten.bmm",),
}


@dataclass(frozen=True)
class Region:
    """A checkpointed region, and the kinds of op in it whose outputs are kept instead of recomputed.

    Attributes:
        name: A key of `REGIONS`: the method of the block that is checkpointed.
        keeps: Kinds of op: "linear", "flash" (the attention op), "scores" and "values" (the two matmuls of eager
            attention). Empty for a plain checkpoint.

    Raises:
        InputError: The name, or a kind of op, is unknown, or what the region ends with would be kept twice.
    """

    name: str
    keeps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in REGIONS:
            raise unknown("region", self.name, REGIONS)
        if not isinstance(self.keeps, tuple):
            raise InputError(f"region {self.name!r} keeps {shown(self.keeps)}: it must be a tuple, such as ('linear',)")
        for kind in self.keeps:
            if not isinstance(kind, str) or kind not in KINDS:
                raise unknown("kind of op", kind, KINDS)
        if "values" in self.keeps and self.name in ("attend", "core_attention"):
            # the o projection reads a copy of it: there would be two
            raise InputError(
                f"region {self.name!r} ends with 'values', whose output is kept anyway: do not keep it twice"
            )


@dataclass(frozen=True)
class Policy:
    """What a block recomputes in the backward pass instead of keeping it from the forward pass.

    Attributes:
        name: The name by which every part of the package knows it.
        recomputes: What is recomputed, in words.
        regions: The checkpointed regions; none of them overlaps another.
        every: One block of every `every` is checkpointed, the others keep everything.
        strategy: The workshop's letter for it, or "".

    Raises:
        InputError: The name, or another text, is no string, the regions are no tuple of `Region`s, or overlap, or
            `every` is no whole number of at least 1.
    """

    name: str
    recomputes: str
    regions: tuple[Region, ...] = ()
    every: int = 1
    strategy: str = ""

    def __post_init__(self) -> None:
        for text in ("name", "recomputes", "strategy"):
            if not isinstance(getattr(self, text), str):
                raise InputError(f"policy: {text} is {shown(getattr(self, text))}: it must be a string")
        if not isinstance(self.regions, tuple) or not all(isinstance(region, Region) for region in self.regions):
            raise InputError(
                f"policy {self.name!r}: regions is {shown(self.regions)}: "
                "it must be a tuple, such as (Region('ffn_half'),)"
            )
        names = [region.name for region in self.regions]
        # apart, each counts itself and no other
        if sum(names.count(outer) for name in names for outer in (name, *REGIONS[name])) > len(names):
            raise InputError(f"policy {self.name!r}: the regions {', '.join(names)} overlap: leave the inner ones out")
        if not isinstance(self.every, int) or isinstance(self.every, bool) or self.every < 1:
            raise InputError(
                f"policy {self.name!r}: every is {shown(self.every)}: it must be a whole number of at least 1"
            )

    def checkpoints(self, layer: int) -> bool:
        """Whether block number `layer` (from 0) is checkpointed: the last of every `every` blocks."""
        return bool(self.regions) and (layer + 1) % self.every == 0

    def layers(self, n_layers: int) -> list[bool]:
        """Whether each of the blocks is checkpointed."""
        cycle = [self.checkpoints(layer) for layer in range(min(self.every, n_layers))]
        return (cycle * -(-n_layers // self.every))[:n_layers]


_FULL = (Region("forward"),)

POLICIES: dict[str, Policy] = {
    policy.name: policy
    for policy in (
        Policy("none", "nothing"),
        Policy(
            "attention",
            "the attention half of a block, norm 1 to the o projection",
            (Region("attention_half"),),
            strategy="A",
        ),
        Policy(
            "ffn",
            "the FFN half of a block, norm 2 to the down projection",
            (Region("ffn_half"),),
            strategy="B",
        ),
        Policy(
            "both",
            "both halves, each its own checkpoint",
            (Region("attention_half"), Region("ffn_half")),
            strategy="C",
        ),
        Policy("full", "the whole block, one checkpoint", _FULL),
        Policy("core_attention", "only scores, softmax and values", (Region("core_attention"),)),
        Policy(
            "save_attention",
            "the whole block except the attention op, whose output and lse are kept",
            (Region("forward", keeps=("flash", "values")),),
        ),
        Policy(
            "pointwise",
            "only what is cheap: norms, RoPE, the softmax of eager attention, the SwiGLU product",
            (
                Region("attend", keeps=("linear", "flash", "scores")),
                Region("gate_and_up", keeps=("linear",)),
                Region("swiglu_and_down"),
            ),
        ),
        Policy("every_2", "one block in every 2, as a whole", _FULL, every=2),
        Policy("every_3", "one block in every 3, as a whole", _FULL, every=3),
        Policy("every_4", "one block in every 4, as a whole", _FULL, every=4),
    )
}


def get_policy(policy: str | Policy) -> Policy:
    """The policy of that name; `every_N` for any N of at least 2. A `Policy` is handed back as it is.

    Raises:
        InputError: The name is unknown, or its N is below 2.
    """
    if isinstance(policy, Policy):
        return policy
    if not isinstance(policy, str):
        raise InputError(f"the policy is {shown(policy)}: it must be a name or a Policy")
    if policy in POLICIES:
        return POLICIES[policy]
    every = re.fullmatch(r"every_(0|[1-9][0-9]{0,8})", policy)
    if not every:
        raise unknown("policy", policy, [*POLICIES, "every_N"])
    n = int(every[1])
    if n == 0:
        raise InputError(f"policy {policy!r}: N must be at least 2")
    if n == 1:
        raise InputError(f"policy {policy!r} checkpoints every block: its name is 'full'")
    return Policy(policy, f"one block in every {n}, as a whole", _FULL, every=n)
