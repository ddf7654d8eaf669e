"""Every claim, in the order of the workshop."""

from __future__ import annotations

from functools import cache

from book.claims import compute, first, flash, gpu, memory, overheads, recomputation, takeaways, training
from book.claims.claim import Claim, Finding

SECTIONS: dict[str, tuple[Claim, ...]] = {
    "block": memory.CLAIMS,
    "step": training.CLAIMS,
    "recomputation": recomputation.CLAIMS,
    "compute": (*compute.CLAIMS, *overheads.CLAIMS),
    "first": first.CLAIMS,
    "gpu": gpu.CLAIMS,
    "flash": flash.CLAIMS,
    "takeaways": takeaways.WORKSHOPS,
    "ours": takeaways.OURS,
}
CLAIMS: tuple[Claim, ...] = tuple(claim for claims in SECTIONS.values() for claim in claims)


@cache
def finding(claim: Claim) -> Finding:
    """What a claim's check finds, computed once a build."""
    return claim.check()
