"""Verdicts: what a chapter's experiment says of a claim, shown on the page and stored for the claims page.

The cell that asserts a claim ends in `verdict(...)`. Its output holds the box a reader sees and, beside it,
the same facts as data (`MIME`), so the claims page is generated from what the chapters stored, never typed.
"""

import html
from collections.abc import Sequence

MIME = "application/vnd.dlbook.claim+json"
VERDICTS = ("holds", "holds with conditions", "does not hold here")


class Verdict:
    """A verdict that a notebook displays as a box and stores as data."""

    def __init__(self, facts: dict) -> None:
        self.facts = facts

    def __repr__(self) -> str:
        return "\n".join(f"{key}: {value}" for key, value in self.facts.items())

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return {"text/plain": repr(self), "text/html": self._box(), MIME: self.facts}

    def _box(self) -> str:
        fact = {key: html.escape(str(value)) for key, value in self.facts.items()}
        kind = VERDICTS.index(self.facts["verdict"])
        return (
            f'<div class="dlbook-verdict dlbook-verdict-{kind}" id="claim-{fact["name"]}">'
            f"<p><strong>Verdict: {fact['verdict']}.</strong> {fact['effect']}</p>"
            f'<p class="dlbook-verdict-note">Claim: “{fact["claim"]}” Evidence: {fact["evidence"]}</p></div>'
        )


def verdict(
    name: str,
    verdict: str,
    *,
    claim: str,
    effect: str,
    evidence: str,
    figure: str,
    literature: Sequence[str] = (),
) -> Verdict:
    """The outcome of one experiment on one claim.

    `name` is the claim's word, such as "batch-norm-wider-range"; `verdict` is one of `VERDICTS`; `claim` the
    lecture's statement; `effect` what was measured, with its spread; `evidence` the seeds and the setting;
    `figure` the label of the figure; `literature` keys of references.bib.
    """
    if verdict not in VERDICTS:
        raise ValueError(f"verdict must be one of {', '.join(map(repr, VERDICTS))}, got {verdict!r}")
    facts = dict(name=name, verdict=verdict, claim=claim, effect=effect, evidence=evidence, figure=figure)
    return Verdict({**facts, "literature": ", ".join(literature)})
