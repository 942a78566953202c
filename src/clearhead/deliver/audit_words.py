"""What a data audit comes to, in words: one headline for page and terminal, and the terminal lines.

The headline names what failed and no more. Where nothing failed it says so, which isn't the same
as "the data is fine": the checks see only what they look for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from clearhead.audits.phrases import listed
from clearhead.deliver.verdict import count

if TYPE_CHECKING:
    from clearhead.audits.section import DataAudit
    from clearhead.types import Finding, Manifest

WORDS = {"fail": "FAIL", "warn": "warn", "info": "info"}
"""The level of a finding at the start of its line: told by letters, never by colour alone."""
SENTENCE = re.compile(r"(?<=[^.\s][.!?])\s+(?=[^\W\d_a-z])")
"""Where a sentence ends: a stop, then a capital letter."""
MOST_NOTES = 4
"""Findings of level `info` on the terminal; the rest are counted."""
MOST_PLACES = 3
"""Places that the headline names; the rest are counted."""
MOST_FAULTS = 3
"""Faults that the headline names; the rest are counted."""

PLACES = {
    "leak.facts": "file facts",
    "leak.border": "the outer border",
    "leak.background": "the background",
    "leak.rim": "scalp and skull",
    "leak.intensity": "overall brightness",
    "leak.sharpness": "sharpness",
    "leak.shape": "the shape of the head",
    "leak.silhouette": "the outline of the head",
    "leak.thumbnail": "a 16×16 thumbnail",
    "leak.text": "burned-in text",
}
"""Where a probe read the label, by the id of its check."""

FAULTS = {
    "copies.across": "pictures of one split have copies in another",
    "copies.contradicting": "copies of one picture carry different labels",
    "copies.against": "the other set holds pictures of this one",
    "copies.largest": "a few pictures make up much of it",
    "copies.distinct": "most files are copies",
    "split.shuffle": "under its split even random labels can be learnt",
    "sources.split": "its split mixes up where the files come from",
    "junk.unreadable": "files can't be read",
    "junk.changed": "files have changed since they were indexed",
    "junk.names": "file names aren't unique",
    "junk.metadata": "its metadata contradicts the files",
    "junk.not-head": "files show no head",
    "balance.test": "its test set is too small to tell",
}
"""What is wrong, by the id of the check that failed."""


# --- Headline -------------------------------------------------------------------------------


def headline(audit: DataAudit) -> str:
    """The verdict in one sentence, the worst first."""
    levels = Counter(finding.level for finding in audit.findings)
    if not audit.sections:
        return "Nothing was checked."
    if levels["fail"]:
        return _faults([each.check for each in audit.findings if each.level == "fail"])
    if levels["warn"]:
        wants = "wants" if levels["warn"] == 1 else "want"
        return f"No check failed; {count(levels['warn'], 'finding')} {wants} a look."
    return "No check failed."


def _faults(checks: Sequence[str]) -> str:
    """What failed, said once each, in the order of `checks` (worst first)."""
    places = list(dict.fromkeys(PLACES[check] for check in checks if check in PLACES))
    leaks = any(check.startswith("leak.") for check in checks)
    faults = [_reading(places)] if places else []
    faults += dict.fromkeys(_fault(check) for check in checks if not check.startswith("leak."))
    opening = (
        "This data set gives its label away"
        if leaks
        else "This data set can't be believed as it is"
    )
    more = len(faults) - MOST_FAULTS
    if more > 0:
        faults = [*faults[:MOST_FAULTS], f"{more} more {'fault' if more == 1 else 'faults'}"]
    return f"{opening}: {'; '.join(faults)}." if faults else f"{opening}."


def _reading(places: Sequence[str]) -> str:
    more = len(places) - MOST_PLACES
    named = list(places[:MOST_PLACES])
    if more > 0:
        named.append(f"{more} more {'place' if more == 1 else 'places'}")
    return f"it can be read from {listed(named)}"


def _fault(check: str) -> str:
    return FAULTS.get(check, f"the check {check} failed")


def data_words(manifest: Manifest) -> str:
    """What was audited: files, classes, distinct pictures, patients, what takes no part.

    Pictures and patients are those of the files that take part, as in the findings.
    """
    labels = Counter(manifest.column("label").tolist())
    classes = [f"{name} {labels[name]:,}" for name in manifest.classes]
    classes += [f"no label {labels[None]:,}"] * bool(labels[None])
    words = [f"{count(len(manifest), 'file')} ({', '.join(classes)})"]
    part = manifest.take(manifest.usable())
    if not manifest.table.column("copy").null_count:
        words.append(count(len(set(part.column("copy").tolist())), "distinct picture"))
    patients = {patient for patient in part.column("patient").tolist() if patient is not None}
    words += [count(len(patients), "patient")] * bool(patients)
    unreadable = len(manifest) - manifest.table.column("error").null_count
    aside = len(manifest) - manifest.table.column("aside").null_count
    words += [f"{unreadable:,} unreadable"] * bool(unreadable)
    words += [f"{aside:,} set aside"] * bool(aside)
    return ", ".join(words)


# --- Terminal -------------------------------------------------------------------------------


def summary(audit: DataAudit, page: object = None) -> list[str]:
    """The lines for a terminal: headline, data, findings worst first, where the page is.

    Of each finding the first sentence; the rest is on the page.

    `page` is what the last line names (a path); None leaves it out. No line is wrapped, and none
    holds a character that a terminal would act on.
    """
    findings = audit.findings
    notes = [each for each in findings if each.level not in ("fail", "warn")]
    loud = [each for each in findings if each.level in ("fail", "warn")]
    lines = [headline(audit), data_words(audit.manifest), ""]
    lines += [_line(each) for each in (*loud, *notes[:MOST_NOTES])]
    hidden = len(notes) - MOST_NOTES
    if hidden > 0:
        lines.append(f"{WORDS['info']}  and {count(hidden, 'more note')} on the page")
    if page is not None:
        lines += [""] * bool(findings) + [f"Page: {page}"]
    return [plain(line) for line in lines]


def _line(finding: Finding) -> str:
    word = WORDS.get(finding.level, finding.level)
    return f"{word}  {finding.check}: {first_sentence(finding.message)}"


def first_sentence(message: str) -> str:
    """What stands before the first stop that a capital letter follows; a stop in a name is none."""
    return SENTENCE.split(message, maxsplit=1)[0]


def plain(text: str) -> str:
    """`text` on one line, with escapes for what a terminal would act on."""
    return "".join(
        each if each.isprintable() or each == "\u00a0" else ascii(each)[1:-1] for each in text
    )
