"""Every claim, in the order of the workshop."""

from __future__ import annotations

from book.claims import block, compute, first, flash, gpu, ours, recomputation, step, takeaways
from book.claims.claim import REGISTRY, Claim

SECTIONS: dict[str, tuple[Claim, ...]] = {
    module.__name__.rpartition(".")[2]: tuple(claim for claim in REGISTRY if claim.check.__module__ == module.__name__)
    for module in (block, step, recomputation, compute, first, gpu, flash, takeaways, ours)
}
"""The claims of each section of the page, by the name of the module that checks them."""
CLAIMS: tuple[Claim, ...] = tuple(claim for claims in SECTIONS.values() for claim in claims)
