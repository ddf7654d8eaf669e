"""Accountings: each a block, what comes after the blocks, and the policies and kinds of attention that it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

from actckpt.algebra import Form
from actckpt.blocks.block import Block, FlopRules
from actckpt.blocks.gpt import gpt_block, gpt_head
from actckpt.blocks.llama import llama_block, llama_head
from actckpt.blocks.weights import Traits
from actckpt.errors import InputError, unknown
from actckpt.formulas.saved import checkpointed_ledger, published_ledger
from actckpt.policy import POLICIES, Policy, get_policy
from actckpt.terms import ITEM_BYTES, Ledger, ledger_of_forms


@dataclass(frozen=True)
class Accounting:
    """One way to count what a training step keeps and computes.

    Attributes:
        name: The key in `ACCOUNTINGS`.
        description: What it counts, in words.
        block: Its block, from the model's traits, the kind of attention and the rules for FLOPs.
        head: What comes after the blocks saves and computes.
        ledger: What a block keeps under a policy.
        attentions: The kinds of attention that it has; the first is the default.
        policies: The names of its policies; `every_N` stands for any N of at least 2.
        models: The kinds of block that a model may have, as `ModelConfig.block` says it.
        rules: How FLOPs are counted, if that is fixed.
        has_peak: Whether the gradients and the block that is rebuilt are counted at the peak, in addition to what is
            saved. It then has any policy that is made of its block's regions.
    """

    name: str
    description: str
    block: Callable[[Traits, str, FlopRules], Block[Form]]
    head: Callable[[], tuple[Ledger[Form], Form]]
    ledger: Callable[[Block[Form], Policy], Ledger[Form]]
    attentions: tuple[str, ...]
    policies: tuple[str, ...]
    models: tuple[str, ...]
    rules: FlopRules | None = None
    has_peak: bool = False

    def check(self, policy: Policy) -> None:
        """Refuse a policy that the accounting does not have.

        Raises:
            InputError: It has none of that name, or another one.
        """
        name = "every_N" if policy.every > 1 else policy.name
        # a block that is known stage by stage has any policy that is made of its regions
        if not self.has_peak and (name not in self.policies or get_policy(policy.name) != policy):
            have = ", ".join(self.policies)
            raise InputError(f"the {self.name} accounting has no policy {name!r}: its policies are {have}")


@lru_cache(maxsize=256)
def workshop_block(traits: Traits, attention: str, rules: FlopRules) -> Block[Form]:
    """The paper's block as the workshop reads it: each byte an element of two bytes."""
    block = gpt_block(traits, attention, rules)
    doubled = {
        name: replace(term, shape=(Form.of(ITEM_BYTES[term.dtype]), *term.shape), dtype="bfloat16")
        for name, term in block.tensors.items()
    }
    return replace(block, tensors=MappingProxyType(doubled))


# nothing stops early, and all pairs count
_PUBLISHED_RULES = FlopRules(causal=False, flash_backward=False, early_stop=False)

ACCOUNTINGS: dict[str, Accounting] = {
    accounting.name: accounting
    for accounting in (
        Accounting(
            "workshop",
            "the workshop as published: 34 SBH + 5nS²B elements of two bytes",
            block=workshop_block,
            head=lambda: (ledger_of_forms(()), Form.of(0)),
            ledger=published_ledger,
            attentions=("eager",),
            policies=("none", "attention", "ffn", "both"),
            models=("llama", "gpt"),
            rules=_PUBLISHED_RULES,
        ),
        Accounting(
            "paper",
            "Korthikanti et al.: the same terms as bytes",
            block=gpt_block,
            head=gpt_head,
            ledger=published_ledger,
            attentions=("eager",),
            policies=("none", "attention", "ffn", "both", "full", "core_attention", "every_N"),
            models=("llama", "gpt"),
            rules=_PUBLISHED_RULES,
        ),
        Accounting(
            "llama",
            "the real Llama block, tensor by tensor, as PyTorch saves it",
            block=llama_block,
            head=llama_head,
            ledger=checkpointed_ledger,
            attentions=("flash", "eager"),
            policies=(*(name for name, policy in POLICIES.items() if policy.every == 1), "every_N"),
            models=("llama",),
            has_peak=True,
        ),
    )
}


def get_accounting(accounting: str) -> Accounting:
    """The accounting of that name.

    Raises:
        InputError: The name is unknown.
    """
    if not isinstance(accounting, str) or accounting not in ACCOUNTINGS:
        raise unknown("accounting", accounting, ACCOUNTINGS)
    return ACCOUNTINGS[accounting]


def accounting_policies(accounting: str) -> tuple[str, ...]:
    """The names of the policies that an accounting has; `every_N` stands for any N of at least 2.

    Raises:
        InputError: The accounting is unknown.
    """
    return get_accounting(accounting).policies
