"""The blocks of "Every claim, checked": the counts, the filter, and each claim with its finding."""

from __future__ import annotations

from collections import Counter
from html import escape

from book.claims import CLAIMS, SECTIONS, finding
from book.claims.claim import Claim, Finding, Verdict
from book.components.template import mark

SIGNS = {Verdict.HOLDS: "✓", Verdict.ONLY_WHEN: "◐", Verdict.FAILS: "✗", Verdict.CITED: "§"}
CHAPTERS = {
    "workshop/activations/": "What activations are",
    "workshop/training-memory/": "Training memory",
    "workshop/recomputation/": "Recomputation",
    "workshop/memory-over-sequence-length/": "Memory over sequence length",
    "workshop/compute-cost/": "Compute cost",
    "workshop/attention-first/": "Attention first?",
    "workshop/flash-attention/": "Flash attention",
    "workshop/takeaways/": "Takeaways",
    "evidence/formula-against-measurement/": "Formula against measurement",
}


def verdicts(claims: tuple[Claim, ...]) -> Counter[Verdict]:
    """How many claims come to each verdict."""
    return Counter(finding(claim).verdict for claim in claims)


def summary() -> str:
    """How the workshop's claims and our own fare, as a paragraph."""
    theirs = tuple(claim for claim in CLAIMS if claim.element)
    counts, ours = verdicts(theirs), verdicts(SECTIONS["ours"])
    return (
        f"<p>Of {mark(str(len(theirs)))} statements of the workshop, "
        f"<strong>{mark(str(counts[Verdict.HOLDS]))} hold</strong> as they stand, "
        f"<strong>{mark(str(counts[Verdict.ONLY_WHEN]))} hold under a condition</strong> that they do not name, and "
        f"<strong>{mark(str(counts[Verdict.FAILS]))} do not hold</strong>. {mark(str(counts[Verdict.CITED]))} are "
        "about other people's code or about hardware: nothing here can compute those, so they have a source and no "
        "verdict. Of our own "
        f"{mark(str(len(SECTIONS['ours'])))} statements, {mark(str(ours[Verdict.HOLDS]))} hold.</p>"
    )


def choices() -> str:
    """The filter by verdict; without it, and without style sheets, the list is whole."""
    counts = verdicts(CLAIMS)
    options = [("all", "all", len(CLAIMS)), *((v.value, f"{SIGNS[v]} {v.label}", counts[v]) for v in Verdict)]
    inputs = "".join(
        f'<label><input type="radio" name="verdict" id="verdict-{name}" value="{name}"'
        f"{' checked' if name == 'all' else ''}><span>{label} <data value='{count}'>{count}</data></span></label>"
        for name, label, count in options
    )
    return f'<fieldset class="ac-verdicts"><legend>Show what…</legend>{inputs}</fieldset>'


def section(name: str) -> str:
    """The claims of one section."""
    cards = "".join(card(claim) for claim in SECTIONS[name])
    return f'<div class="ac-claims">{cards}<p class="ac-claims__none">None of this kind.</p></div>'


def card(claim: Claim) -> str:
    """One claim: what it says, what is computed, the verdict, and where to look."""
    found = finding(claim)
    return (
        f'<article class="ac-claim" id="claim-{claim.id}" data-verdict="{found.verdict}" '
        f'aria-labelledby="claim-{claim.id}-says">'
        f'<p class="ac-claim__says" id="claim-{claim.id}-says">{claim.says}</p>'
        f'<p class="ac-claim__computed">{found.computed}</p>'
        f"{_verdict(found)}"
        f'<p class="ac-claim__more">{_taught(claim)} · {claim.source} · <code>{_breakable(claim.test)}</code></p>'
        "</article>"
    )


def _verdict(found: Finding) -> str:
    label = {Verdict.ONLY_WHEN: "Holds only when"}.get(found.verdict, found.verdict.label.capitalize())
    # an article ends where another sentence begins
    stop = "" if found.verdict is Verdict.ONLY_WHEN else "."
    return (
        f'<p class="ac-claim__verdict"><span class="ac-verdict"><span aria-hidden="true">{SIGNS[found.verdict]}</span> '
        f"{label}{stop}</span> {found.condition}</p>"
    )


def _taught(claim: Claim) -> str:
    page, _, _anchor = claim.taught.partition("#")
    element = f"{claim.element}, " if claim.element else ""
    return f'{element}<a href="@/{claim.taught}">{escape(CHAPTERS[page])}</a>'


def _breakable(test: str) -> str:
    # a long name may break after its underscores
    return escape(test).replace("_", "_<wbr>")
