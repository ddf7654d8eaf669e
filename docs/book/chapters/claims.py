"""The blocks of "Every claim, checked": the counts, the filter, the index, and each claim with its finding."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from markupsafe import Markup

from book.chapters.sources import ROOT, title
from book.claims import CLAIMS, SECTIONS
from book.claims.claim import Claim, Finding, Verdict, n
from book.components.pictures import opening as picture
from book.components.pictures.opening import Mark, marks
from book.components.template import html, render

# what a row of the picture is called: short, beside its marks
NAMES = {
    "block": "a block",
    "step": "a step",
    "recomputation": "recomputation",
    "compute": "what it costs",
    "first": "attention first?",
    "gpu": "a GPU’s memories",
    "flash": "flash attention",
    "takeaways": "takeaways",
    "ours": "this site’s own",
}
HEADING = re.compile(r"^## (.+) \{ #(\w+) \}$", re.MULTILINE)


def verdicts(claims: Iterable[Claim]) -> Counter[Verdict]:
    """How many claims come to each verdict."""
    return Counter(claim.finding.verdict for claim in claims)


def summary() -> Markup:
    """How the workshop's claims and our own fare, as a paragraph."""
    theirs = [claim for claim in CLAIMS if claim.element]
    counts = verdicts(theirs)
    return html(
        "<p>Of {{ n(theirs | length) }} statements of the workshop, <strong>{{ n(counts.holds) }} hold</strong> as "
        "they stand, <strong>{{ n(counts.only_when) }} hold under a condition</strong> that they do not name, and "
        "<strong>{{ n(counts.fails) }} do not hold</strong>. {{ n(counts.cited) }} are about other people's code or "
        "about hardware: nothing here can compute those, so they have a source and no verdict. Of our own "
        "{{ n(ours | length) }} statements, {{ n(ours_hold) }} hold.</p>",
        n=n,
        theirs=theirs,
        counts={verdict.name.lower(): counts[verdict] for verdict in Verdict},
        ours=SECTIONS["ours"],
        ours_hold=verdicts(SECTIONS["ours"])[Verdict.HOLDS],
    )


def opening() -> Markup:
    """A mark for each claim, by section."""
    rows = [
        (NAMES[name], [Mark("", claim.finding.verdict.sign, claim.finding.verdict) for claim in each])
        for name, each in SECTIONS.items()
    ]
    return picture.opening(
        marks(rows),
        name="all-claims",
        title="Every claim at a glance",
        description="A square for each claim, in a row for each section of this page, with the sign and the colour of "
        "its verdict.",
        caption=", ".join(f"{verdict.sign} {verdict.label}" for verdict in Verdict) + ". A square is one claim.",
        made_by="book.claims.SECTIONS",
        assumes="The verdicts of the checks, as they came out when this page was built.",
        test="test_openings::test_a_mark_for_each_claim",
    )


def choices() -> Markup:
    """The filter by verdict; without it, and without style sheets, the list is whole."""
    counts = verdicts(CLAIMS)
    options = [(verdict.value, f"{verdict.sign} {verdict.label}", counts[verdict]) for verdict in Verdict]
    return render("verdicts", options=[("all", "all", len(CLAIMS)), *options])


def index() -> Markup:
    """Every claim on a line with its verdict, under the headings of the page."""
    headings = HEADING.findall((ROOT / "docs/evidence/claims.md").read_text(encoding="utf-8"))
    return render("claims_index", sections=[(heading, SECTIONS[name]) for heading, name in headings])


def section(name: str) -> Markup:
    none = Markup('<p class="ac-claims__none">None of this kind.</p>')
    return Markup('<div class="ac-claims">{}{}</div>').format(Markup().join(map(card, SECTIONS[name])), none)


def card(claim: Claim) -> Markup:
    """One claim: what it says, what is computed, the verdict, and where to look."""
    found = claim.finding
    chapter = title(ROOT / f"docs/{claim.taught.partition('/#')[0].rstrip('/')}.md")
    return render("claim", claim=claim, found=found, verdict=said(found), chapter=chapter)


def said(found: Finding) -> str:
    """A verdict before its condition, which goes on with the sentence where it is one."""
    return "Holds only when" if found.verdict is Verdict.ONLY_WHEN else f"{found.verdict.label.capitalize()}."
