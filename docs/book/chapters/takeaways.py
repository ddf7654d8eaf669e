"""The blocks of "Takeaways": the workshop's six and our own, with the verdicts of "Every claim, checked"."""

from __future__ import annotations

from markupsafe import Markup

from book.chapters import claims
from book.claims import SECTIONS
from book.claims.claim import Claim, Verdict, n
from book.components.pictures import lessons
from book.components.template import render


def takeaway(number: int) -> Markup:
    """One of the workshop's six: its picture, what the workshop says, and the verdict."""
    claim = SECTIONS["takeaways"][number - 1]
    anchor = claim.taught.partition("#")[2]
    return _lesson(claim, heading=anchor, picture=lessons.picture(anchor))


def ours() -> Markup:
    """What this site would have you remember, checked in the same way."""
    return Markup().join(map(_lesson, SECTIONS["ours"]))


def tally() -> str:
    """How the six fare, as a sentence."""
    found = claims.verdicts(SECTIONS["takeaways"])
    return (
        f"Of the six, {n(found[Verdict.HOLDS])} hold as they stand, {n(found[Verdict.ONLY_WHEN])} hold under a "
        f"condition, and {n(found[Verdict.FAILS])} do not hold."
    )


def _lesson(claim: Claim, heading: str = "", picture: Markup | None = None) -> Markup:
    # under a heading of the page, or with what it says as its own
    found = claim.finding
    filled = render(
        "lesson", claim=claim, found=found, verdict=claims.said(found), heading=heading, picture=picture or Markup()
    )
    return Markup('<div class="ac-claims">{}</div>').format(filled)
