"""What gives the label away where nothing medical is: the score that a model must beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clearhead.audits.leak_figures import dots, shares, tables
from clearhead.audits.material import Material
from clearhead.audits.phrases import interval, percent_of
from clearhead.audits.probes import (
    RARE,
    Columns,
    Reading,
    Rows,
    drawn,
    facts,
    oddities,
    readings,
    sizes,
    usable,
)
from clearhead.audits.section import LEVELS, Section
from clearhead.data.traits import PLACES, VIEWS
from clearhead.measure.telling import Rule, rules
from clearhead.types import Finding

TELLING_SHARE = 0.9
"""A rule fails the set where its class has at least this share of the pictures it holds for…"""
TELLING_LIFT = 0.1
"""… at least so much more than among all pictures…"""
TELLING_PART = 0.05
"""… and it holds for this part of the distinct pictures."""


# --- The section ----------------------------------------------------------------------------


def leaks(material: Material) -> Section:
    """How well the label can be read from each place of `PROBES`, and the most telling facts.

    Probes look at no more than `MOST_GROUPS` distinct pictures, drawn at random. Rows set aside,
    without label or unreadable take no part.
    """
    rows = drawn(material)
    every = readings(rows)
    told = [reading for reading in every if not reading.probe.silent]
    found = _rules(rows)
    return Section(
        name="leaks",
        title="What gives the label away",
        findings=_findings(every, told, found, rows),
        tables=tables(told, found),
        dots=dots(told, rows),
        shares=shares(material),
    )


def _findings(
    every: Sequence[Reading], told: Sequence[Reading], found: Sequence[Rule], rows: Rows
) -> tuple[Finding, ...]:
    """The score to beat first, then the worst first; one word where nothing can be told."""
    if not told:
        why = every[0].probe.silent
        return (Finding("leak.score", "info", f"Can't tell what gives the label away: {why}."),)
    names = dict.fromkeys(reading.name for reading in every)
    findings = [_telling(found, rows), *(_finding(name, every) for name in names)]
    return (_score_to_beat(told), *sorted(findings, key=_badness))


def _badness(finding: Finding) -> tuple[int, float]:
    return LEVELS.index(finding.level), -(finding.value or 0.0)


# --- Findings -------------------------------------------------------------------------------


def _finding(name: str, every: Sequence[Reading]) -> Finding:
    """What one place gives away, in the view in which it gives most."""
    views = [reading for reading in every if reading.name == name]
    told = [reading for reading in views if not reading.probe.silent]
    check = f"leak.{name}"
    if not told:
        why = views[0].probe.silent
        return Finding(
            check, "info", f"Can't tell whether the label is in {views[0].place.words}: {why}."
        )
    worst = min(told, key=lambda reading: (LEVELS.index(reading.level), -reading.auc))
    return Finding(
        check,
        worst.level,
        _message(worst, told),
        value=worst.auc,
        interval=interval(worst.per_group.roc_auc),
        limit=worst.limit,
        figure="leak-auc",
    )


def _score_to_beat(told: Sequence[Reading]) -> Finding:
    """The one number: the most that a place where nothing medical is gives beyond chance."""
    known = told[0].probe
    bare = [reading for reading in told if not reading.place.tissue and reading.p < RARE]
    if not bare:
        return Finding(
            "leak.score",
            "info",
            f"A model must beat {percent_of(known.majority_per_group)} per distinct picture and "
            f"{percent_of(known.majority_per_file)} per file: that is what always calling the "
            "commonest class gives. No place where nothing medical is was shown to give more.",
            value=known.majority_per_group,
        )
    best = max(bare, key=lambda reading: reading.per_group.accuracy.value or 0.0)
    scores = best.per_group
    return Finding(
        "leak.score",
        min((reading.level for reading in bare), key=LEVELS.index),
        f"A model must beat {percent_of(scores.accuracy)} per distinct picture and "
        f"{percent_of(best.per_file.accuracy)} per file: that is what {best.place.words}"
        f"{_in_view(best)} gives, with nothing medical in it. Always calling the commonest class "
        f"gives {percent_of(known.majority_per_group)} and {percent_of(known.majority_per_file)}.",
        value=scores.accuracy.value,
        interval=interval(scores.accuracy),
        limit=known.majority_per_group,
        figure="leak-accuracy",
    )


def _message(worst: Reading, told: Sequence[Reading]) -> str:
    if worst.level == "info":
        said = (
            f"It isn't shown that the label can be read from {worst.place.words}"
            if worst.p >= RARE or worst.low <= 0.5
            else f"The label can hardly be read from {worst.place.words}"
        )
        if worst.place.tissue and worst.p < RARE:
            said = f"{_capital(worst.place.words)} tells no more than the disease itself may"
        return f"{said}: ROC-AUC {worst.per_group.roc_auc} per distinct picture, 0.5 is chance."
    parts = [
        f"The label can be read from {worst.place.words}{_in_view(worst)}: ROC-AUC "
        f"{worst.per_group.roc_auc}{_elsewhere(worst, told)}.",
        f"This alone gives {percent_of(worst.per_group.accuracy)} per distinct picture and "
        f"{percent_of(worst.per_file.accuracy)} per file.",
    ]
    if worst.place.tissue:
        parts.append("Part of it may be the disease, for tissue shows there too.")
    return " ".join([*parts, f"What to do: {worst.place.remedy}."])


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _in_view(reading: Reading) -> str:
    return {"stretch": ", the picture stretched", "canvas": ", on the canvas"}.get(reading.view, "")


def _elsewhere(worst: Reading, told: Sequence[Reading]) -> str:
    """A word on the other view."""
    where = {"stretch": "stretched", "canvas": "on the canvas"}
    others = [reading for reading in told if reading.view != worst.view]
    return "".join(f", {where[other.view]} {other.auc:.3f}" for other in others)


# --- Rules ----------------------------------------------------------------------------------

WORDS = {
    "size": "size",
    "width": "width",
    "height": "height",
    "aspect": "width over height",
    "bytes": "file size in bytes",
    "format": "format",
    "mode": "mode",
    "extension": "extension",
    "quality": "JPEG quality",
    "quantisation": "JPEG quantisation table",
    "subsampling": "colour subsampling",
    "progressive": "progressive JPEG",
    "dpi": "dpi",
    "exif": "EXIF",
    "icc": "colour profile",
    "comment": "comment in the file",
    "text_area": "area of letters",
    "text_components": "number of letters",
    "marks": "number of marks",
    "mark_area": "area of marks",
    "frame_level": "level of the frame",
    "drawing": "area of drawings",
    "colour": "share of coloured pixels",
}
"""How facts are called in a rule, after *with*."""

RULED = ("border", "background", "shape")
"""Places whose numbers may stand in a rule: without tissue, and few enough to name."""


def _rules(rows: Rows) -> tuple[Rule, ...]:
    """The most telling rules over file facts and the numbers of places without tissue."""
    seen = rows.seen()
    columns, words = _rule_columns(seen)
    classes, seed = rows.material.manifest.classes, rows.material.seed
    return rules(columns, words, seen.labels, seen.groups, classes, seed=seed)


def _rule_columns(rows: Rows) -> tuple[Columns, dict[str, str]]:
    """What rules may ask for, (n,) each, and how it is called."""
    columns, words = {"size": sizes(rows), **facts(rows)}, dict(WORDS)
    columns |= {name: odd for name, odd in oddities(rows).items() if odd.ndim == 1}
    for place in RULED:
        looked = rows.trait(VIEWS[0], place)
        for number, name in enumerate(PLACES[place]):
            columns[f"{place} {number}"] = looked[:, number].astype(np.float32)
            words[f"{place} {number}"] = name
    return columns, words


def _telling(found: Sequence[Rule], rows: Rows) -> Finding:
    """What the most telling rule gives away."""
    if not found:
        return Finding("leak.telling", "info", "No single fact of the files tells the label.")
    rule = found[0]
    half = len(np.unique(rows.groups)) / 2  # a rule is counted on half of the pictures
    part = rule.pictures / max(1, half)
    grave = (
        rule.interval[0] >= TELLING_SHARE
        and rule.interval[0] - rule.base >= TELLING_LIFT
        and part >= TELLING_PART
    )
    return Finding(
        "leak.telling",
        "fail" if grave else "warn",
        f"The most telling fact: {rule.sentence}. A model can learn this and nothing of the "
        "disease. What to do: make the files alike in this before training.",
        value=rule.share,
        interval=rule.interval,
        limit=TELLING_SHARE,
        sources=_fulfilling(rule, rows.material),
        figure="leak-rules",
    )


def _fulfilling(rule: Rule, material: Material) -> tuple[str, ...]:
    """Every file for which the rule holds, drawn or not."""
    seen = usable(material).seen()
    columns, _ = _rule_columns(seen)
    held = [condition.holds(columns[condition.column]) for condition in rule.conditions]
    return tuple(seen.column("source")[np.logical_and.reduce(held)].tolist())
