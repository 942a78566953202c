"""Table, chart and examples of the causal tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clearhead.audits.phrases import counted, interval
from clearhead.audits.reactions import WORDS, Chance, Reactions, Test, example
from clearhead.audits.section import Cell, Dots, Line, Maps, Mark, Panel, Table
from clearhead.data.fills import FILLS
from clearhead.measure.change import Change
from clearhead.measure.scores import Score
from clearhead.types import Finding

WHOLE = "whole picture changed"
"""The series of tests that erase nothing."""

SHOWN: tuple[Test, ...] = (
    *(("brain", fill) for fill in FILLS),
    ("rim", "inpaint"),
    ("background", "noise"),
    ("tumour", "inpaint"),
    ("elsewhere", "inpaint"),
    ("hottest", "inpaint"),
    ("blobs", "inpaint"),
    ("outline", ""),
    ("blur-2", ""),
    ("quarter", ""),
)
"""The tests that the examples show."""

# --- Chart ----------------------------------------------------------------------------------


def charts(reactions: Reactions, known: Chance, findings: Sequence[Finding]) -> tuple[Dots, ...]:
    """ROC-AUC after each test; nothing where it is undefined, as with one class."""
    if reactions.unchanged.before["roc_auc"].value is None:
        return ()
    return (_aucs(reactions, known, findings),)


def _aucs(reactions: Reactions, known: Chance, findings: Sequence[Finding]) -> Dots:
    tones = {finding.check: finding.level for finding in findings}
    names = [name for name in WORDS if any(_auc(reactions, test) for test in reactions.tests(name))]
    lines = tuple(
        Line(WORDS[name], tuple(_marks(reactions, name)), tone=tones.get(finding_of(name), ""))
        for name in names
    )
    ends = [mark.value if mark.low is None else mark.low for line in lines for mark in line.marks]
    facts = known.facts["roc_auc"].value if known.facts else None
    own = reactions.unchanged.before["roc_auc"].value
    return Dots(
        "need-auc",
        "What is left of the score when something is taken away",
        f"ROC-AUC of {_positive(reactions)} per distinct picture",
        (float(np.floor(10 * min([0.4, *ends])) / 10), 1.0),
        lines,
        (
            ("chance", 0.5),
            *([("unchanged", own)] if own is not None else []),
            *([("file facts alone", facts)] if facts is not None else []),
        ),
        f"{asked(reactions)} Below 0.5 the ranking is turned round, which is no ignorance.",
        (*FILLS, WHOLE),
    )


def finding_of(name: str) -> str:
    """The finding that a test belongs to."""
    own = {
        "tumour": "tumour",
        "elsewhere": "",
        "blobs": "",
        "coolest": "",
        "swapped": "flip",
        "blur-1": "blur",
        "blur-2": "",
        "half": "resample",
        "quarter": "",
    }
    return f"need.{own.get(name, name)}"


def _marks(reactions: Reactions, name: str) -> list[Mark]:
    found = [(fill, _auc(reactions, (name, fill))) for _, fill in reactions.tests(name)]
    return [
        Mark(fill or WHOLE, auc.value, *(interval(auc) or ()))
        for fill, auc in found
        if auc is not None and auc.value is not None
    ]


def _auc(reactions: Reactions, test: Test) -> Score | None:
    auc = reactions.changes[test].after["roc_auc"]
    return None if auc.value is None else auc


def _positive(reactions: Reactions) -> str:
    return reactions.subject.classes[reactions.subject.positive]


def asked(reactions: Reactions) -> str:
    """How many pictures were changed, and how they count."""
    count, total = len(reactions.rows), len(reactions.subject)
    drawn = f", drawn from {total:,} evenly over the groups" if count < total else ""
    groups = counted(len(np.unique(reactions.groups)), "distinct picture")
    untold = int(np.count_nonzero(~reactions.subject.told[reactions.rows]))
    left = f" {counted(untold, 'picture')} whose regions can't be told are left out of tests that "
    words = f"{counted(count, 'file')} of {groups}{drawn}; each distinct picture counts once."
    return words + (f"{left}need them." if untold else "")


# --- Table ----------------------------------------------------------------------------------


def tables(reactions: Reactions, known: Chance) -> tuple[Table, ...]:
    """Every test with every fill, below the pictures as they are and what needs no picture."""
    classes = reactions.subject.classes
    positive = _positive(reactions)
    rows = [
        _row(reactions, "nothing", "", reactions.unchanged, None),
        *_baselines(known, len(classes)),
        *(
            _row(reactions, WORDS[test[0]], test[1], change, test)
            for test, change in reactions.changes.items()
        ),
    ]
    columns = (
        "changed",
        "filled with",
        "files",
        "distinct pictures",
        "ROC-AUC",
        "same pictures unchanged",
        "drop in ROC-AUC",
        "balanced accuracy",
        "accuracy",
        "calls changed, %",
        *(f"margin of {positive}, change in {name}, logits" for name in classes),
    )
    note = (
        f"{asked(reactions)} Intervals of 95 % by drawing distinct pictures; drops are paired. "
        "Under a strong change a classifier may call one class throughout: its accuracy is then "
        "the share of that class, so look at ROC-AUC and balanced accuracy."
    )
    return (Table("need-tests", "Every change and what it does", columns, tuple(rows), note),)


def _row(
    reactions: Reactions, words: str, fill: str, change: Change, test: Test | None
) -> tuple[Cell, ...]:
    positive = reactions.subject.positive
    moved = None if test is None else -reactions.fell(test, positive)
    return (
        words,
        fill,
        change.pictures,
        change.groups,
        _words(change.after["roc_auc"]),
        _words(change.before["roc_auc"]),
        _words(change.drop["roc_auc"]) if test else None,
        _words(change.after["balanced_accuracy"]),
        _words(change.after["accuracy"]),
        _percent(reactions.mean(reactions.flipped(test))) if test else None,
        *(
            None if moved is None else _margin(reactions, moved, label)
            for label in range(len(reactions.subject.classes))
        ),
    )


def _words(score: Score) -> str | None:
    return None if score.value is None else str(score)


def _percent(score: Score) -> float | None:
    return None if score.value is None else round(100 * score.value, 1)


def _margin(reactions: Reactions, moved: NDArray[np.float64], label: int) -> float | None:
    """Mean change of the positive class's margin over pictures of one true class."""
    found = reactions.mean(np.where(reactions.labels == label, moved, np.nan))
    return None if found.value is None else round(found.value, 2)


def _baselines(known: Chance, classes: int) -> list[tuple[Cell, ...]]:
    blank: tuple[Cell, ...] = (None,) * (1 + classes)
    always = f"no picture: always {known.majority}"
    rows: list[tuple[Cell, ...]] = [
        (always, "", None, None, "0.500", None, None, None, _words(known.always), *blank)
    ]
    if known.facts:
        facts = known.facts
        scores = (_words(facts["balanced_accuracy"]), _words(facts["accuracy"]))
        auc = _words(facts["roc_auc"])
        rows.append(
            ("no picture: file facts alone", "", None, None, auc, None, None, *scores, *blank)
        )
    return rows


# --- Examples -------------------------------------------------------------------------------


def examples(reactions: Reactions) -> tuple[Maps, ...]:
    """One rightly called picture of each class (up to two) and what the tests make of it."""
    rows = [_example_row(reactions, ill) for ill in (True, False)]
    if not reactions.ill.any():
        labels = [reactions.labels == label for label in np.unique(reactions.labels)[:2]]
        rows = [_first(reactions, keep) for keep in labels]
    return tuple(
        _panels(reactions, row, number)
        for number, row in enumerate(row for row in rows if row is not None)
    )


def _example_row(reactions: Reactions, ill: bool) -> int | None:
    return _first(reactions, reactions.ill == ill)


def _first(reactions: Reactions, keep: NDArray[np.bool_]) -> int | None:
    """The first of the rows to keep: one that is called right and takes part in most tests."""
    if not keep.any():
        return None
    part = sum((~np.isnan(logits[:, 0])).astype(int) for logits in reactions.after.values())
    right = reactions.before.argmax(1) == reactions.labels
    return int(reactions.rows[np.argmax(np.where(keep, part + 100 * right, -1))])


def _panels(reactions: Reactions, row: int, number: int) -> Maps:
    made = dict(example(reactions, row))
    own = reactions.subject
    mask = own.drawn.masks[row]
    outline = mask if mask.any() else None
    panels = [Panel("as it is", own.squares[row].astype(np.float32), outline)]
    for test in SHOWN:
        if test in made:
            name, fill = test
            caption = f"{WORDS[name]}: {fill}" if fill else WORDS[name]
            panels.append(Panel(caption, made[test].astype(np.float32)))
    return Maps(
        f"need-example-{number + 1}",
        f"What the tests make of a picture of {own.classes[own.labels[row]]}",
        tuple(panels),
        255.0,
        "grey level",
        "Pictures as the classifier sees them.",
        grey=True,
    )
