"""What an evidence audit comes to, in words: headline, paragraph, lines for a terminal.

Built from findings by their ids; a section that didn't run is left out. A heatmap is never called
wrong, only a place implausible for a deep lesion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from clearhead.audits.phrases import listed
from clearhead.deliver.audit_words import MOST_NOTES, WORDS, first_sentence, plain
from clearhead.deliver.verdict import count

if TYPE_CHECKING:
    from clearhead.audits.section import EvidenceAudit
    from clearhead.audits.subject import Subject
    from clearhead.types import Finding

FAULTS = {
    "calls.seen": "some of its pictures were in training",
    "need.brain": "its score survives without the brain",
    "need.outline": "the outline of the head alone is enough for its score",
    "need.rim": "its score depends on scalp and skull",
    "need.background": "its score depends on what is outside the head",
    "need.tumour": "its score hardly depends on the tumour",
    "need.hottest": "its score doesn't depend on the places its heatmaps show",
    "need.level": "part of its score is evidence of no place",
    "need.flip": "its calls change when left and right are swapped",
    "need.blur": "its score depends on sharpness",
    "need.resample": "its score depends on resolution",
    "where.brain": "its heat lies no denser in the brain than if it were spread evenly",
    "where.rim": "its heat gathers in scalp and skull",
    "where.background": "its heat gathers outside the head",
    "lesions.pointing": "its heat points at tumours no better than a map that knows nothing",
    "faithful.deletion": "erasing the hottest places first does no more than erasing at random",
    "faithful.insertion": "showing the hottest places first does no more than showing at random",
    "randomised.model": "heatmaps stay when the net's weights are drawn anew",
    "randomised.labels": "heatmaps stay when it is trained on random labels",
    "repeatable.seeds": "heatmaps change with the seed of training",
    "stable.shift": "heatmaps change when a picture is moved",
    "stable.noise": "heatmaps change with a little noise",
    "stable.encoding": "heatmaps change when a picture is encoded again",
    "agreement.methods": "methods disagree on where the evidence is",
    "maps.exact": "its maps don't add up to its scores",
    "maps.blank": "for many calls no place speaks",
}
"""What a finding that fails or warns says, by its id."""

ALWAYS = ("calls.right", "need.brain", "where.brain", "lesions.pointing")
"""Findings whose first sentence the paragraph tells whatever they say, where they are there."""

STORY = (
    "calls.right",
    "calls.seen",
    "need.brain",
    "need.outline",
    "need.tumour",
    "need.level",
    "where.brain",
    "lesions.pointing",
    "strategies.1",
    "maps.blank",
    "faithful.deletion",
    "faithful.insertion",
    "randomised.model",
    "repeatable.seeds",
)
"""The order of the paragraph; those that aren't told always are told where they fail or warn."""

MOST_FAULTS = 3
"""Faults that the headline names; the rest are counted."""

UNSEEN = {
    "audit": (
        "Whether a single call is right: where its heat lies proves and disproves nothing.",
        "Why a place speaks for a class. Heat says where, not what; and a shortcut that has no "
        "place (blur, resolution, brightness) shows in the causal tests or not at all.",
        "Evidence that the method doesn't pass on: a map is one account of the net, and other "
        "methods may give another. `clearhead bench` asks how good it is.",
        "Tumours without a mask, and what a mask leaves out: oedema, pressed tissue, a second "
        "lesion.",
        "Places in the third dimension. Planes and sides of the body aren't known; left and right "
        "are those of the picture.",
        "Whether these pictures stand for the patients on whom the model would be used.",
    ),
    "bench": (
        "Whether the classifier is right: a faithful map of a bad classifier is faithful.",
        "What happens to pictures unlike these. Erasing and inserting makes pictures that the net "
        "never saw, and part of every effect is that.",
        "Methods and seeds that weren't tried.",
        "Whether a reader is helped by a heatmap.",
    ),
}
"""What each audit is blind to."""

OPENINGS = {
    "audit": "Results of this classifier can't be believed to come from the brain",
    "bench": "These explanations can't be trusted as they are",
}


def headline(audit: EvidenceAudit, name: str = "audit") -> str:
    """The verdict in one sentence, the worst first."""
    levels = Counter(finding.level for finding in audit.findings)
    if not audit.sections:
        return "Nothing was checked."
    if levels["fail"]:
        opening = OPENINGS.get(name, OPENINGS["audit"])
        return _with_faults(opening, _faults(audit, "fail"))
    if levels["warn"]:
        wants = "wants" if levels["warn"] == 1 else "want"
        opening = f"No check failed; {count(levels['warn'], 'finding')} {wants} a look"
        return _with_faults(opening, _faults(audit, "warn"))
    return "No check failed."


def _with_faults(opening: str, faults: list[str]) -> str:
    more = len(faults) - MOST_FAULTS
    named = faults[:MOST_FAULTS] + [f"{more} more"] * (more > 0)
    return f"{opening}: {listed(named)}." if named else f"{opening}."


def _faults(audit: EvidenceAudit, level: str) -> list[str]:
    """What the findings of a level say, once each, in the order of `FAULTS`."""
    found = {finding.check for finding in audit.findings if finding.level == level}
    faults = [words for check, words in FAULTS.items() if check in found]
    elsewhere = any(check.startswith("strategies.") for check in found)
    return faults + ["some of its calls look outside the brain"] * elsewhere


def verdict(audit: EvidenceAudit) -> str:
    """A paragraph of what was found, with its numbers."""
    known: Mapping[str, Finding] = {finding.check: finding for finding in audit.findings}
    told = [
        first_sentence(known[check].message)
        for check in STORY
        if check in known and (check in ALWAYS or known[check].level != "info")
    ]
    return " ".join([*told, "A research tool, not a medical device."])


def subject_words(subject: Subject) -> str:
    """What was looked at: pictures, distinct ones, masks, what the net is."""
    labels = Counter(subject.labels.tolist())
    classes = [f"{name} {labels[index]:,}" for index, name in enumerate(subject.classes)]
    words = [
        f"{count(len(subject), 'picture')} of the {subject.split} split ({', '.join(classes)})"
    ]
    words.append(f"{count(len(set(subject.groups.tolist())), 'distinct picture')}")
    masked = int(subject.drawn.masked.sum())
    words += [f"{count(masked, 'tumour mask')}"] * bool(masked)
    untold = int((~subject.told).sum())
    words += [f"{untold:,} whose regions can't be told"] * bool(untold)
    return ", ".join(words)


def summary(audit: EvidenceAudit, page: object = None, *, name: str = "audit") -> list[str]:
    """The lines for a terminal: headline, pictures, findings worst first, where the page is.

    Of each finding the first sentence; the rest is on the page. None is wrapped, and none holds a
    character that a terminal would act on.
    """
    lines = [headline(audit, name), subject_words(audit.subject), "", *_lines(audit)]
    if page is not None:
        lines += [""] * bool(audit.findings) + [f"Page: {page}"]
    return [plain(line) for line in lines]


def _lines(audit: EvidenceAudit) -> Iterator[str]:
    notes = [each for each in audit.findings if each.level == "info"]
    for finding in audit.findings:
        if finding.level != "info" or finding in notes[:MOST_NOTES]:
            words = first_sentence(finding.message)
            yield f"{WORDS[finding.level]}  {finding.check}: {words}"
    hidden = len(notes) - MOST_NOTES
    if hidden > 0:
        yield f"{WORDS['info']}  and {count(hidden, 'more note')} on the page"
