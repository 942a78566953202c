"""What a classifier calls the pictures of an audit: the figures that the rest explains."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from clearhead.audits.phrases import counted, interval, percent_of
from clearhead.audits.section import Section, Table
from clearhead.audits.subject import Subject
from clearhead.measure.baseline import FACTS, score_to_beat
from clearhead.measure.scores import Baseline, Evaluation, Score, score
from clearhead.model.unseen import seen_in, shown_in
from clearhead.types import Finding, Manifest


def calls(subject: Subject) -> Section:
    """Accuracy, sensitivity of each class and ROC-AUC by group, beside the score to beat."""
    scores = score(
        subject.labels,
        subject.probabilities,
        subject.groups,
        classes=subject.classes,
        positive=subject.classes[subject.positive],
        resamples=subject.resamples,
        seed=subject.seed,
        split=subject.split,
    )
    return Section(
        "calls",
        "What it calls",
        (_right(scores), *_seen(subject)),
        tables=(_table(scores, _baseline(subject)),),
    )


def _baseline(subject: Subject) -> Baseline | None:
    if subject.known is None:
        return None
    return score_to_beat(
        {name: subject.known.column(name) for name in FACTS},
        subject.known.labels(),
        {name: subject.rows.column(name) for name in FACTS},
        subject.labels,
        subject.groups,
        classes=subject.classes,
        positive=subject.classes[subject.positive],
        resamples=subject.resamples,
        seed=subject.seed,
    )


def _right(scores: Evaluation) -> Finding:
    accuracy = scores.per_group.accuracy
    each = ", ".join(
        f"{percent_of(found)} of {name}"
        for name, found in scores.per_group.sensitivity.items()
        if found.value is not None
    )
    return Finding(
        "calls.right",
        "info",
        f"Of {counted(scores.groups, 'distinct picture')} ({counted(scores.files, 'file')}) it "
        f"calls {percent_of(accuracy)} as they are labelled: {each}.",
        accuracy.value,
        interval(accuracy),
        figure="calls",
    )


def _seen(subject: Subject) -> Iterator[Finding]:
    """Pictures that the classifier was trained on, or copies of them."""
    if subject.known is None:
        return
    seen = _shown(subject, subject.known)
    if subject.run is not None and not subject.own:  # a training refuses to be tested on these
        before = subject.run.learnt_before()
        seen = seen | seen_in(subject.rows, before, progress=subject.progress)
    if seen.any():
        yield Finding(
            "calls.seen",
            "warn",
            f"{counted(int(seen.sum()), 'picture')} of {len(seen):,} are in the training set as "
            "well, or a copy is: what is said of them is no test. Split by group, or set them "
            "aside with `clearhead check --against --fix`.",
            float(seen.mean()),
            sources=tuple(subject.rows.column("source")[seen]),
        )


def _shown(subject: Subject, known: Manifest) -> NDArray[np.bool_]:
    """Which rows show a picture of the training `known`, (N,)."""
    rows = subject.rows
    if subject.own and not known.table.column("copy").null_count:
        shown: NDArray[np.bool_] = np.isin(rows.column("copy"), known.column("copy"))
        return shown
    return shown_in(rows, known, progress=subject.progress)[0]


def _table(scores: Evaluation, known: Baseline | None) -> Table:
    mine = scores.per_group
    rows = [("Accuracy", mine.accuracy, None if known is None else known.per_group.accuracy)]
    rows += [
        (f"Called right of {name}", found, None if known is None else theirs.get(name))
        for theirs in [{} if known is None else known.per_group.sensitivity]
        for name, found in mine.sensitivity.items()
    ]
    rows += [
        (
            "Balanced accuracy",
            mine.balanced_accuracy,
            None if known is None else known.per_group.balanced_accuracy,
        ),
        ("ROC-AUC", mine.roc_auc, None if known is None else known.per_group.roc_auc),
    ]
    return Table(
        "calls",
        "Scores, every distinct picture counting once",
        ("Score", "This classifier", "95 % interval", "File facts alone"),
        tuple((name, _figure(found), _ends(found), _figure(other)) for name, found, other in rows),
        note="File facts are format, mode, width and height: what is called without the picture.",
    )


def _figure(found: Score | None) -> str:
    return "–" if found is None or found.value is None else f"{found.value:.3f}"


def _ends(found: Score) -> str:
    ends = interval(found)
    return "–" if ends is None else f"{ends[0]:.3f}–{ends[1]:.3f}"
