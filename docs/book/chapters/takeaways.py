"""The blocks of "Takeaways": the workshop's six and our own, with the verdicts of "Every claim, checked"."""

from __future__ import annotations

from markupsafe import Markup

from book.chapters import claims
from book.claims import SECTIONS
from book.claims.claim import Verdict, n


def takeaway(number: int) -> Markup:
    """One of the workshop's six, checked."""
    return Markup('<div class="ac-claims">{}</div>').format(claims.card(SECTIONS["takeaways"][number - 1]))


def ours() -> Markup:
    """What this site would have you remember, checked in the same way."""
    return claims.section("ours")


def tally() -> str:
    """How the six fare, as a sentence."""
    found = claims.verdicts(SECTIONS["takeaways"])
    return (
        f"Of the six, {n(found[Verdict.HOLDS])} hold as they stand, {n(found[Verdict.ONLY_WHEN])} hold under a "
        f"condition, and {n(found[Verdict.FAILS])} do not hold."
    )
