"""The blocks of "Takeaways": the workshop's six and our own, with the verdicts of "Every claim, checked"."""

from __future__ import annotations

from book.chapters import claims
from book.claims import SECTIONS
from book.claims.claim import Verdict
from book.components.template import mark


def takeaway(number: int) -> str:
    """One of the workshop's six, checked."""
    return f'<div class="ac-claims">{claims.card(SECTIONS["takeaways"][number - 1])}</div>'


def ours() -> str:
    """What this site would have you remember, checked in the same way."""
    return claims.section("ours")


def tally() -> str:
    """How the six fare, as a sentence."""
    found = claims.verdicts(SECTIONS["takeaways"])
    holds, fails = mark(str(found[Verdict.HOLDS])), mark(str(found[Verdict.FAILS]))
    return (
        f"Of the six, {holds} hold as they stand, {mark(str(found[Verdict.ONLY_WHEN]))} hold under a condition, and "
        f"{fails} do not hold."
    )
