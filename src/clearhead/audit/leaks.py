"""What gives the label away where nothing medical is: the score that a model must beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.audit.material import Material
from clearhead.audit.section import Cell, Dots, Line, Mark, Section, Shares, Table
from clearhead.data.traits import PLACES, VIEWS
from clearhead.measure.probe import MOST_GROUPS, Probe, holm, probe
from clearhead.measure.scores import Score, Scores
from clearhead.measure.telling import Rule, rules
from clearhead.types import Finding

Columns = dict[str, NDArray[Any]]

RARE = 0.01
"""Adjusted p-value from which a label counts as readable."""
SLIGHT = 0.55
"""AUC that the interval must begin above for a warning of a place without tissue."""
TELLING_SHARE = 0.9
"""A rule fails the set where its class has at least this share of the pictures it holds for…"""
TELLING_LIFT = 0.1
"""… at least so much more than among all pictures…"""
TELLING_PART = 0.05
"""… and it holds for this part of the distinct pictures."""
ROWS = 12
"""Sizes shown; the rest is one row."""

LEVELS = ("fail", "warn", "info")
SAID = {"": "as stored", "stretch": "stretched", "canvas": "canvas"}
"""How a view is called in charts; probes of files have none."""


# --- What is probed -------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where the label is looked for.

    `limit` is the AUC that the interval must begin above for the place to fail, `slight` for it
    to warn; on the canvas both are `raised`. `tissue` places show the brain as well, so the
    disease itself may be what is read.
    """

    words: str
    columns: Callable[[_Rows, str], Columns]
    remedy: str
    limit: float = 0.60
    slight: float = SLIGHT
    raised: float = 0.0
    """The canvas shows brightness relative to the picture's own range, which a tumour shifts."""
    views: tuple[str, ...] = VIEWS
    learner: str = "forest"
    tissue: bool = False


@dataclass(frozen=True)
class _Rows:
    """Rows that are looked at."""

    material: Material
    at: NDArray[np.int64]
    """Their places in the manifest."""
    labels: NDArray[np.int64]
    groups: NDArray[Any]

    def column(self, name: str) -> NDArray[Any]:
        values: NDArray[Any] = self.material.manifest.column(name)[self.at]
        return values

    def trait(self, *path: str) -> NDArray[Any]:
        values = self.material.traits
        for name in path:
            values = values[name]
        return np.asarray(values[self.at])

    def seen(self) -> _Rows:
        """Those whose picture could be looked at."""
        return self.take(self.trait("seen"))

    def take(self, keep: NDArray[np.bool_]) -> _Rows:
        return _Rows(self.material, self.at[keep], self.labels[keep], self.groups[keep])


def _looked(name: str) -> Callable[[_Rows, str], Columns]:
    return lambda rows, view: {name: rows.trait(view, name)}


def _facts(rows: _Rows, view: str = "") -> Columns:
    """What a file says before anyone looks at the picture."""
    width, height = (rows.column(name).astype(np.float64) for name in ("width", "height"))
    return {
        "format": rows.column("format"),
        "mode": rows.column("mode"),
        "extension": _extensions(rows),
        "width": width,
        "height": height,
        "aspect": width / height,
        "bytes": rows.column("bytes").astype(np.float64),
        **_header(rows),
    }


def _header(rows: _Rows) -> Columns:
    kept = rows.trait("file")
    codes = {name: _named(kept[name]) for name in ("quantisation", "subsampling")}
    numbers = {name: kept[name].astype(np.float64) for name in ("quality", "dpi")}
    flags = {name: kept[name] for name in ("progressive", "exif", "icc", "comment")}
    return {**codes, **numbers, **flags}


def _named(codes: NDArray[Any]) -> NDArray[Any]:
    """Codes as names, for their order means nothing."""
    return np.array([str(code) for code in codes.tolist()], dtype=object)


def _extensions(rows: _Rows) -> NDArray[Any]:
    sources = rows.column("source")
    return np.array(
        [PurePosixPath(source.split("#")[0]).suffix.lower() for source in sources], dtype=object
    )


ODD = (
    "text_area",
    "text_components",
    "text_corners",
    "marks",
    "mark_area",
    "frame",
    "frame_level",
    "drawing",
    "colour",
)
"""What of a picture's oddness was put there by hand or by a machine's screen."""


def _text(rows: _Rows, view: str = "") -> Columns:
    odd = rows.trait("odd")
    return {name: odd[name].astype(np.float64) for name in ODD}


REDRAW = "draw every picture on the canvas, crop to the head, or vary the background in training"
RECODE = "write all pictures in one format, mode and size before training, and give no fact to it"
RESCAN = "look at the pictures side by side, and take both classes from the same sources"

PROBES: dict[str, Place] = {
    "facts": Place(
        "file facts alone (format, size, compression, header)",
        _facts,
        RECODE,
        views=("",),
        learner="trees",
    ),
    "border": Place("the outer edge of the picture alone", _looked("border"), REDRAW),
    "background": Place("the background around the head", _looked("background"), REDRAW),
    "text": Place(
        "burned-in letters, marks, frames and drawings",
        _text,
        "paint them over, or set such pictures aside",
        views=("",),
    ),
    "shape": Place("the size and place of the head in the picture", _looked("shape"), REDRAW),
    "silhouette": Place(
        "the outline of the head, without its content",
        _looked("silhouette"),
        REDRAW,
    ),
    "rim": Place(
        "the brightness of scalp and skull",
        _looked("rim"),
        RESCAN,
        limit=0.60,
        slight=0.55,
        raised=0.15,
        tissue=True,
    ),
    "intensity": Place(
        "how bright the picture is as a whole",
        _looked("intensity"),
        RESCAN,
        limit=0.85,
        slight=0.75,
        tissue=True,
    ),
    "sharpness": Place(
        "how sharp the picture is",
        _looked("sharpness"),
        RESCAN,
        limit=0.85,
        slight=0.75,
        tissue=True,
    ),
    "thumbnail": Place(
        "a thumbnail of 16×16 cells",
        _looked("thumbnail"),
        RESCAN,
        limit=0.90,
        slight=0.80,
        tissue=True,
    ),
}
"""Where the label is looked for.

Limits were set on generated heads. In ten clean sets of 300, the interval of a place without
tissue began at an AUC of 0.55 at most; of the rim at 0.48 (0.63 on the canvas), of intensity,
sharpness and thumbnail at 0.63 at most (0.63 in a set of 1500), for a tumour does show there.
With a mark planted at strength 0.6, that of the place which holds the mark began at 0.64 or more.
"""


@dataclass(frozen=True)
class _Reading:
    """What one probe read in one view."""

    name: str
    view: str
    probe: Probe
    p: float
    """Adjusted for the number of probes; 1 where it can't be told."""

    @property
    def place(self) -> Place:
        return PROBES[self.name]

    @property
    def per_group(self) -> Scores:
        assert self.probe.per_group is not None
        return self.probe.per_group

    @property
    def per_file(self) -> Scores:
        assert self.probe.per_file is not None
        return self.probe.per_file

    @property
    def auc(self) -> float:
        return self.per_group.roc_auc.value or 0.5

    @property
    def low(self) -> float:
        low = self.per_group.roc_auc.low
        return 0.0 if low is None else low

    @property
    def limit(self) -> float:
        return self.place.limit + self.place.raised * (self.view == "canvas")

    @property
    def level(self) -> str:
        slight = self.limit - self.place.limit + self.place.slight
        if self.probe.silent or self.p >= RARE or self.low <= slight:
            return "info"
        return "fail" if self.low > self.limit else "warn"


# --- The section ----------------------------------------------------------------------------


def leaks(material: Material) -> Section:
    """How well the label can be read from each place of `PROBES`, and the most telling facts.

    Probes look at no more than `MOST_GROUPS` distinct pictures, drawn at random. Rows set aside,
    without label or unreadable take no part.
    """
    rows = _drawn(material)
    readings = _readings(rows)
    told = [reading for reading in readings if not reading.probe.silent]
    found = _rules(rows)
    findings = [_telling(found, rows), *(_finding(name, readings) for name in PROBES)]
    return Section(
        name="leaks",
        title="What gives the label away",
        findings=(*_score_to_beat(told), *sorted(findings, key=_badness)),
        tables=(*_tables(told, found),),
        dots=(_aucs(told, rows), _accuracies(told, rows)) if told else (),
        shares=_shares(material),
    )


def _badness(finding: Finding) -> tuple[int, float]:
    return LEVELS.index(finding.level), -(finding.value or 0.0)


def _usable(material: Material) -> _Rows:
    at = np.flatnonzero(material.manifest.usable())
    manifest = material.manifest.take(at)
    return _Rows(material, at, manifest.labels(), manifest.groups())


def _drawn(material: Material) -> _Rows:
    """The rows of at most `MOST_GROUPS` groups."""
    rows = _usable(material)
    distinct, member = np.unique(rows.groups, return_inverse=True)
    order = np.random.default_rng([material.seed, 11]).permutation(len(distinct))
    return rows.take(np.isin(member, order[:MOST_GROUPS]))


def _readings(rows: _Rows) -> list[_Reading]:
    """Every probe in each of its views, p-values adjusted over all of them."""
    seen = rows.seen()
    jobs = [(name, view) for name, place in PROBES.items() for view in place.views]
    bar = rows.material.progress(jobs, total=len(jobs), label="Probing")
    probes = []
    for name, view in bar:
        bar.note(f"{name} {view}".strip())
        probes.append(_probe(rows if name == "facts" else seen, PROBES[name], view))
    adjusted = iter(holm([known.p for known in probes if known.p is not None]))
    return [
        _Reading(name, view, known, 1.0 if known.p is None else next(adjusted))
        for (name, view), known in zip(jobs, probes, strict=True)
    ]


def _probe(rows: _Rows, place: Place, view: str) -> Probe:
    return probe(
        place.columns(rows, view),
        rows.labels,
        rows.groups,
        classes=rows.material.manifest.classes,
        learner=place.learner,
        resamples=rows.material.resamples,
        permutations=rows.material.permutations,
        seed=rows.material.seed,
    )


# --- Findings -------------------------------------------------------------------------------


def _finding(name: str, readings: Sequence[_Reading]) -> Finding:
    """What one place gives away, in the view in which it gives most."""
    views = [reading for reading in readings if reading.name == name]
    told = [reading for reading in views if not reading.probe.silent]
    check = f"leak.{name}"
    if not told:
        why = views[0].probe.silent
        return Finding(check, "info", f"Can't tell whether {_place(name)} gives it away: {why}.")
    worst = min(told, key=lambda reading: (LEVELS.index(reading.level), -reading.auc))
    return Finding(
        check,
        worst.level,
        _message(worst, told),
        value=worst.auc,
        interval=_interval(worst.per_group.roc_auc),
        limit=worst.limit,
        figure="leak-auc",
    )


def _score_to_beat(told: Sequence[_Reading]) -> tuple[Finding, ...]:
    """The one number: the most that a place where nothing medical is gives."""
    bare = [reading for reading in told if not reading.place.tissue]
    if not bare:
        return ()
    best = max(bare, key=lambda reading: reading.per_group.accuracy.value or 0.0)
    level = min((reading.level for reading in bare), key=LEVELS.index)
    scores, known = best.per_group, best.probe
    finding = Finding(
        "leak.score",
        level,
        f"A model must beat {_percent(scores.accuracy)} per distinct picture and "
        f"{_percent(best.per_file.accuracy)} per file: that is what {best.place.words}"
        f"{_in_view(best)} gives, with nothing medical in it. Always calling the commonest class "
        f"gives {_percent(known.majority_per_group)} and {_percent(known.majority_per_file)}.",
        value=scores.accuracy.value,
        interval=_interval(scores.accuracy),
        limit=known.majority_per_group,
        figure="leak-accuracy",
    )
    return (finding,)


def _place(name: str) -> str:
    return PROBES[name].words


def _message(worst: _Reading, told: Sequence[_Reading]) -> str:
    if worst.level == "info":
        said = (
            f"The label can't be read from {worst.place.words}"
            if worst.p >= RARE or worst.low <= 0.5
            else f"The label can hardly be read from {worst.place.words}"
        )
        if worst.place.tissue and worst.p < RARE:
            said = f"{_capital(worst.place.words)} tells no more than the disease itself may"
        return f"{said}: ROC-AUC {worst.per_group.roc_auc} per distinct picture, 0.5 is chance."
    parts = [
        f"The label can be read from {worst.place.words}{_in_view(worst)}: ROC-AUC "
        f"{worst.per_group.roc_auc}{_elsewhere(worst, told)}.",
        f"This alone gives {_percent(worst.per_group.accuracy)} per distinct picture and "
        f"{_percent(worst.per_file.accuracy)} per file.",
    ]
    if worst.place.tissue:
        parts.append("Part of it may be the disease, for tissue shows there too.")
    return " ".join([*parts, f"What to do: {worst.place.remedy}."])


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _in_view(reading: _Reading) -> str:
    return {"stretch": ", the picture stretched", "canvas": ", on the canvas"}.get(reading.view, "")


def _elsewhere(worst: _Reading, told: Sequence[_Reading]) -> str:
    """A word on the other view."""
    where = {"stretch": "stretched", "canvas": "on the canvas"}
    others = [reading for reading in told if reading.view != worst.view]
    return "".join(f", {where[other.view]} {other.auc:.3f}" for other in others)


def _percent(share: Score | float | None) -> str:
    value = share.value if isinstance(share, Score) else share
    return "?" if value is None else f"{100 * value:.1f} %"


def _interval(score: Score) -> tuple[float, float] | None:
    return None if score.low is None or score.high is None else (score.low, score.high)


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


def _rules(rows: _Rows) -> tuple[Rule, ...]:
    """The most telling rules over file facts and the numbers of places without tissue."""
    seen = rows.seen()
    columns, words = _rule_columns(seen)
    classes, seed = rows.material.manifest.classes, rows.material.seed
    return rules(columns, words, seen.labels, seen.groups, classes, seed=seed)


def _rule_columns(rows: _Rows) -> tuple[Columns, dict[str, str]]:
    sizes = zip(rows.column("height"), rows.column("width"), strict=True)
    size = np.array([f"{int(height)}×{int(width)}" for height, width in sizes], dtype=object)
    columns, words = {"size": size, **_facts(rows)}, dict(WORDS)
    columns |= {name: odd for name, odd in _text(rows).items() if odd.ndim == 1}
    for place in RULED:
        looked = rows.trait(VIEWS[0], place)
        for number, name in enumerate(PLACES[place]):
            columns[f"{place} {number}"] = looked[:, number].astype(np.float32)
            words[f"{place} {number}"] = name
    return columns, words


def _telling(found: Sequence[Rule], rows: _Rows) -> Finding:
    if not found:
        return Finding("leak.telling", "info", "No single fact of the files tells the label.")
    rule = found[0]
    part = rule.pictures / max(1, len(np.unique(rows.groups)) / 2)
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
    seen = _usable(material).seen()
    columns, _ = _rule_columns(seen)
    held = [condition.holds(columns[condition.column]) for condition in rule.conditions]
    return tuple(seen.column("source")[np.logical_and.reduce(held)].tolist())


# --- Figures --------------------------------------------------------------------------------


def _aucs(told: Sequence[_Reading], rows: _Rows) -> Dots:
    lines = []
    for name in _ordered(told):
        views = [reading for reading in told if reading.name == name]
        marks = tuple(
            Mark(SAID[reading.view], reading.auc, *(_interval(reading.per_group.roc_auc) or ()))
            for reading in views
        )
        lines.append(Line(PROBES[name].words, marks, f"leak.{name}", _tone(views)))
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


def _ordered(told: Sequence[_Reading]) -> list[str]:
    """Names of the places, the worst first."""
    best = {reading.name: 0.0 for reading in told}
    for reading in told:
        best[reading.name] = max(best[reading.name], reading.auc)
    return sorted(best, key=lambda name: -best[name])


def _tone(views: Sequence[_Reading]) -> str:
    return min((reading.level for reading in views), key=LEVELS.index)


def _asked(rows: _Rows) -> str:
    count = len(np.unique(rows.groups))
    manifest = rows.material.manifest
    total = len(np.unique(manifest.groups()[manifest.usable()]))
    drawn = f", drawn from {total:,}" if count < total else ""
    return (
        f"{count:,} distinct pictures{drawn}; copies never on both sides of a fold; each distinct "
        "picture counts once; intervals of 95 % by drawing distinct pictures."
    )


def _removed(told: Sequence[_Reading]) -> list[str]:
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


def _accuracies(told: Sequence[_Reading], rows: _Rows) -> Dots:
    """Accuracy in the view in which each place gives most away."""
    lines = []
    for name in _ordered(told):
        views = [reading for reading in told if reading.name == name]
        best = max(views, key=lambda reading: reading.auc)
        marks = (
            _share_mark("per distinct picture", best.per_group.accuracy),
            _share_mark("per file", best.per_file.accuracy),
        )
        lines.append(Line(PROBES[name].words, marks, SAID[best.view], _tone(views)))
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


def _share_mark(series: str, score: Score) -> Mark:
    ends = _interval(score)
    value = 100 * (score.value or 0.0)
    return Mark(series, value, *(100 * end for end in ends)) if ends else Mark(series, value)


def _tables(told: Sequence[_Reading], found: Sequence[Rule]) -> list[Table]:
    order = _ordered(told)
    ranked = sorted(told, key=lambda reading: (order.index(reading.name), reading.view))
    tables = []
    if told:
        tables.append(
            Table(
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
        )
    if found:
        tables.append(
            Table(
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
                "Found on one half of the distinct pictures, counted on the other. Sizes are "
                "height×width.",
            )
        )
    return tables


def _score_row(reading: _Reading) -> tuple[Cell, ...]:
    ends = _interval(reading.per_group.roc_auc)
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


def _shares(material: Material) -> tuple[Shares, ...]:
    """Sizes, formats and modes by class, over all usable files."""
    manifest = material.manifest.take(material.manifest.usable())
    if not len(manifest):
        return ()
    heights, widths = manifest.column("height"), manifest.column("width")
    sizes = np.array(
        [f"{int(height)}×{int(width)}" for height, width in zip(heights, widths, strict=True)],
        dtype=object,
    )
    charts = (
        ("leak-sizes", "Sizes (height×width) by class", sizes),
        ("leak-formats", "Formats by class", manifest.column("format")),
        ("leak-modes", "Modes by class", manifest.column("mode")),
    )
    return tuple(_chart(*chart, manifest.labels(), manifest.classes) for chart in charts)


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
