"""Charts and tables of what gives the label away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.audits.material import Material
from clearhead.audits.phrases import interval
from clearhead.audits.probes import SLIGHT, Reading, Rows, sizes, usable
from clearhead.audits.section import LEVELS, Cell, Dots, Line, Mark, Shares, Table
from clearhead.measure.scores import Score
from clearhead.measure.telling import Rule

ROWS = 12
"""Most rows of a chart of shares; the rest is one row more."""
SAID = {"": "as stored", "stretch": "stretched", "canvas": "canvas"}
"""How a view is called in charts; probes of files have none."""


# --- Dots -----------------------------------------------------------------------------------


def dots(told: Sequence[Reading], rows: Rows) -> tuple[Dots, ...]:
    """ROC-AUC and accuracy of each place, the worst first; nothing where no probe could tell."""
    return (_aucs(told, rows), _accuracies(told)) if told else ()


def _aucs(told: Sequence[Reading], rows: Rows) -> Dots:
    lines = []
    for name in _ordered(told):
        views = [reading for reading in told if reading.name == name]
        marks = tuple(
            Mark(SAID[reading.view], reading.auc, *(interval(reading.per_group.roc_auc) or ()))
            for reading in views
        )
        lines.append(Line(views[0].place.words, marks, f"leak.{name}", _tone(views)))
    return Dots(
        "leak-auc",
        "How well the label can be read from each place",
        "ROC-AUC per distinct picture",
        (0.5, 1.0),
        tuple(lines),
        (("chance", 0.5),),
        " ".join([_asked(rows), *_removed(told)]),
        tuple(SAID.values()),
    )


def _ordered(told: Sequence[Reading]) -> list[str]:
    """Names of the places, the worst first."""
    best = {reading.name: 0.0 for reading in told}
    for reading in told:
        best[reading.name] = max(best[reading.name], reading.auc)
    return sorted(best, key=lambda name: -best[name])


def _tone(views: Sequence[Reading]) -> str:
    return min((reading.level for reading in views), key=LEVELS.index)


def _asked(rows: Rows) -> str:
    count = len(np.unique(rows.groups))
    manifest = rows.material.manifest
    total = len(np.unique(manifest.groups()[manifest.usable()]))
    drawn = f", drawn from {total:,}" if count < total else ""
    return (
        f"{count:,} distinct pictures{drawn}; copies never on both sides of a fold; each distinct "
        "picture counts once; intervals of 95 % by drawing distinct pictures."
    )


def _removed(told: Sequence[Reading]) -> list[str]:
    """How much of what can be read above chance the canvas takes away."""
    reads = {(reading.name, reading.view): reading.auc - 0.5 for reading in told}
    kept = {
        name: max(0.0, reads[name, "canvas"]) / reads[name, "stretch"]
        for name in _ordered(told)
        if reads.get((name, "stretch"), 0.0) > SLIGHT - 0.5 and (name, "canvas") in reads
    }
    if not kept:
        return []
    each = ", ".join(f"{name} {100 * (1 - share):.0f} %" for name, share in kept.items())
    return [f"Of the AUC above chance, the canvas removes: {each}."]


def _accuracies(told: Sequence[Reading]) -> Dots:
    """Accuracy in the view in which each place gives most away."""
    lines = []
    for name in _ordered(told):
        views = [reading for reading in told if reading.name == name]
        best = max(views, key=lambda reading: reading.auc)
        marks = (
            Mark.of("per distinct picture", best.per_group.accuracy),
            Mark.of("per file", best.per_file.accuracy),
        )
        lines.append(Line(best.place.words, marks, SAID[best.view], _tone(views)))
    first = told[0].probe
    references = (
        ("majority, distinct pictures", 100 * (first.majority_per_group or 0)),
        ("majority, files", 100 * (first.majority_per_file or 0)),
    )
    least = min(mark.low or mark.value for line in lines for mark in line.marks)
    start = float(np.floor(min(least, *(at for _, at in references)) / 10) * 10)
    return Dots(
        "leak-accuracy",
        "The score to beat",
        "accuracy, %",
        (start, 100.0),
        tuple(lines),
        references=references,
        note="In the view of each place that gives most away.",
    )


# --- Tables ---------------------------------------------------------------------------------


def tables(told: Sequence[Reading], found: Sequence[Rule]) -> tuple[Table, ...]:
    """Every probe that could tell, the worst place first, and the rules `found`."""
    return (*([_scores(told)] if told else []), *([_rules(found)] if found else []))


def _scores(told: Sequence[Reading]) -> Table:
    order = _ordered(told)
    ranked = sorted(told, key=lambda reading: (order.index(reading.name), reading.view))
    return Table(
        "leak-scores",
        "Every probe",
        (
            "place",
            "drawn",
            "ROC-AUC",
            "interval",
            "accuracy per distinct picture, %",
            "accuracy per file, %",
            "balanced accuracy per distinct picture, %",
            "p, adjusted",
            "fails from",
        ),
        tuple(_score_row(reading) for reading in ranked),
    )


def _rules(found: Sequence[Rule]) -> Table:
    return Table(
        "leak-rules",
        "The most telling facts",
        (
            "distinct pictures with",
            "are",
            "share, %",
            "interval, %",
            "of distinct pictures",
            "share of files, %",
            "share among all, %",
        ),
        tuple(_rule_row(rule) for rule in found),
        "Found on one half of the distinct pictures, counted on the other. Sizes are height×width.",
    )


def _score_row(reading: Reading) -> tuple[Cell, ...]:
    ends = interval(reading.per_group.roc_auc)
    return (
        reading.name,
        SAID[reading.view],
        round(reading.auc, 3),
        f"{ends[0]:.3f}–{ends[1]:.3f}" if ends else None,
        _rounded(reading.per_group.accuracy),
        _rounded(reading.per_file.accuracy),
        _rounded(reading.per_group.balanced_accuracy),
        float(f"{reading.p:.2g}"),
        reading.limit,
    )


def _rounded(score: Score) -> float | None:
    return None if score.value is None else round(100 * score.value, 1)


def _rule_row(rule: Rule) -> tuple[Cell, ...]:
    low, high = rule.interval
    return (
        rule.words,
        rule.label,
        round(100 * rule.share, 1),
        f"{100 * low:.0f}–{100 * high:.0f}",
        rule.pictures,
        round(100 * rule.files_right / rule.files, 1),
        round(100 * rule.base, 1),
    )


# --- Shares ---------------------------------------------------------------------------------


def shares(material: Material) -> tuple[Shares, ...]:
    """Sizes, formats and modes by class, over all usable files, the most frequent first."""
    rows = usable(material)
    if not len(rows.at):
        return ()
    charts = (
        ("leak-sizes", "Sizes (height×width) by class", sizes(rows)),
        ("leak-formats", "Formats by class", rows.column("format")),
        ("leak-modes", "Modes by class", rows.column("mode")),
    )
    return tuple(_chart(*chart, rows.labels, material.manifest.classes) for chart in charts)


def _chart(
    name: str,
    title: str,
    values: NDArray[Any],
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
) -> Shares:
    names = np.array([str(value) for value in values])
    kinds, member = np.unique(names, return_inverse=True)
    table = np.zeros((len(kinds), len(classes)), dtype=np.int64)
    np.add.at(table, (member, labels), 1)
    order = np.argsort(-table.sum(axis=1), kind="stable")
    rows = [(str(kinds[kind]), tuple(table[kind].tolist())) for kind in order[:ROWS]]
    rest = table[order[ROWS:]].sum(axis=0)
    if rest.any():
        rows.append((f"{len(kinds) - ROWS} others", tuple(rest.tolist())))
    return Shares(name, title, classes, tuple(rows))
