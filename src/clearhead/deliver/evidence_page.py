"""The page of an evidence audit: where a classifier looks, and whether it needs what it sees.

The same page as that of a data audit; its tiles are what the net sees, with heat and tumour masks.
"""

from __future__ import annotations

from pathlib import Path

from clearhead.audits.section import EvidenceAudit
from clearhead.deliver import evidence_tiles, evidence_words
from clearhead.deliver.audit_page import FOOTER, Cover, render
from clearhead.deliver.evidence_words import summary
from clearhead.files import write_json, write_text
from clearhead.types import Progress, silent

__all__ = ["render_evidence_audit", "save_evidence_audit", "summary"]

TITLES = {"audit": "Evidence audit", "bench": "Benchmark of the explanations"}

CALM = {
    "audit": "That is no proof that it looks where a reader would",
    "bench": "That is no proof that a heatmap tells why",
}


def save_evidence_audit(
    audit: EvidenceAudit, folder: Path, *, name: str = "audit", progress: Progress = silent
) -> Path:
    """Write `findings.json` and `NAME.html` in `folder`; the path of the page.

    `name` is `audit` or `bench`: what the page calls itself.
    """
    page = render_evidence_audit(audit, name=name, progress=progress)
    write_json(folder / "findings.json", audit.to_json())
    write_text(folder / f"{name}.html", page)
    return folder / f"{name}.html"


def render_evidence_audit(
    audit: EvidenceAudit, *, name: str = "audit", progress: Progress = silent
) -> str:
    """The page as one HTML document; the same audit gives the same text."""
    subject = audit.subject
    sheets = [sheet for section in audit.sections for sheet in section.sheets]
    scale = evidence_tiles.scale_of(subject) if sheets else 1.0
    what = subject.rows.root.name if subject.run is None else subject.run.folder.resolve().name
    cover = Cover(
        title=f"{TITLES.get(name, TITLES['audit'])} of {what}",
        headline=evidence_words.headline(audit, name),
        about=evidence_words.subject_words(subject),
        calm=CALM.get(name, CALM["audit"]),
        unseen=evidence_words.UNSEEN.get(name, evidence_words.UNSEEN["audit"]),
        footer=FOOTER,
        verdict=evidence_words.verdict(audit) if audit.sections else "",
        key=evidence_tiles.key_of(subject, scale) if sheets else None,
    )
    strips = evidence_tiles.draw_sheets(sheets, subject, scale, progress=progress)
    return render(audit, cover, strips)
