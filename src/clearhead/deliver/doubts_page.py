"""The page of doubtful labels and their table: pictures to look at, label by label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from clearhead.audits.doubts import CONTRADICTED, Doubtful, Doubts, seen
from clearhead.audits.phrases import counted, listed, percent, ranged
from clearhead.audits.section import Cell, PooledAudit, Section, Sheet, Strip, Table, Tile
from clearhead.deliver import evidence_tiles, tiles
from clearhead.deliver.audit_page import FOOTER, Cover, render
from clearhead.deliver.audit_words import plain
from clearhead.files import write_json, write_text, writing
from clearhead.measure.scores import Evaluation, Score
from clearhead.types import Finding, Progress, silent

MOST = 60
"""Pictures of a strip; the table has all."""

UNSEEN = (
    "Whether a label is wrong. A classifier that errs about a right label looks just like one that "
    "is right about a wrong label: a reader must decide, picture by picture.",
    "Labels that are wrong in the same way everywhere: classifiers learn those, and contradict "
    "nothing.",
    "What a picture can't show: a diagnosis may rest on other slices, other sequences or on "
    "histology.",
    "How good the score would be with the right labels. Without the doubtful pictures it rises "
    "whoever is right, as those that classifiers get wrong are left out.",
)
"""What the search is blind to."""


def save_doubts(found: Doubts, folder: Path, *, progress: Progress = silent) -> Path:
    """Write `doubts.csv`, `doubts.html` and, last, `doubts.json`; the path of the page."""
    page = render_doubts(found, progress=progress)
    folder.mkdir(parents=True, exist_ok=True)
    _write_table(found, folder / "doubts.csv")
    write_text(folder / "doubts.html", page)
    write_json(folder / "doubts.json", found.to_json())
    return folder / "doubts.html"


def _write_table(found: Doubts, path: Path) -> None:
    """A line per file of every doubtful picture, then of those that are called otherwise."""
    rows, chances = found.found.rows, found.found.mean_probabilities()
    every = (*found.doubtful, *found.otherwise)
    pairs = [(each, row) for each in every for row in each.rows]
    places = np.array([row for _, row in pairs], np.int64)
    labels = rows.labels()[places]
    columns = {
        "source": pa.array(rows.column("source")[places], pa.string()),
        "label": pa.array(rows.column("label")[places], pa.string()),
        "group": pa.array(rows.groups()[places], pa.int64()),
        "picture": pa.array([each.picture for each, _ in pairs], pa.int64()),
        "looks_like": pa.array([each.looks for each, _ in pairs], pa.string()),
        "probability_of_label": pa.array(chances[places, labels], pa.float64()),
        "picture_self_confidence": pa.array([each.self_confidence for each, _ in pairs]),
        "picture_margin": pa.array([each.margin for each, _ in pairs], pa.float64()),
        "seeds_against": pa.array([each.against for each, _ in pairs], pa.int64()),
        "seeds": pa.array([len(found.found.seeds)] * len(pairs), pa.int64()),
        "rule": pa.array([", ".join(each.rules) for each, _ in pairs], pa.string()),
    }
    with writing(path) as temporary:
        csv.write_csv(pa.table(columns), temporary)


def render_doubts(found: Doubts, *, progress: Progress = silent) -> str:
    """The page as one HTML document; the same doubts give the same text."""
    strips = list(_strips(found))
    shown = [tile for _, some in strips for tile in some]
    sheets: list[Sheet] = []
    drawn: list[tuple[tiles.Row, ...]] = []
    key = None
    if shown:
        rows = np.array([each.rows[0] for each in shown], np.int64)
        subject = seen(found.found, rows, progress)
        target = subject.positive
        scale = evidence_tiles.scale_of(subject, target)
        key = evidence_tiles.key_of(subject, scale, target)
        plainly = _as_stored(strips)
        heated = _sheet(strips, found.found.positive, len(found.found.seeds))
        drawn = tiles.draw_sheets([plainly], found.found.rows, progress=progress)
        drawn += evidence_tiles.draw_sheets(
            [heated], subject, scale, target=target, progress=progress
        )
        sheets = [plainly, heated]
    audit = PooledAudit(
        (
            Section(
                "doubts",
                "Labels to look at",
                (*_findings(found), _left(found)),
                tables=(_counts(found), _scores(found), _joint(found)),
                sheets=tuple(sheets),
            ),
        ),
        found.found.made(),
    )
    cover = Cover(
        title=f"Doubtful labels of {found.found.rows.root.name or found.found.rows.root}",
        headline=headline(found),
        about=_about(found),
        calm="No label is changed and no picture is left out anywhere because of this page",
        unseen=UNSEEN,
        footer=FOOTER,
        key=key,
    )
    return render(audit, cover, drawn)


# --- Words ----------------------------------------------------------------------------------


def headline(found: Doubts) -> str:
    """How many labels are in doubt, in one sentence."""
    if not found.doubtful:
        return "No label is contradicted."
    share = percent(len(found.doubtful), found.pictures)
    return (
        f"{len(found.doubtful):,} of {counted(found.pictures, 'distinct picture')} ({share}) carry "
        "a label to look at."
    )


def summary(found: Doubts, page: Path) -> list[str]:
    """The lines for a terminal."""
    said = [finding.message for finding in (*_findings(found), _left(found))]
    return [
        plain(line) for line in (headline(found), _about(found), "", *said, "", f"Page: {page}")
    ]


def _about(found: Doubts) -> str:
    cross = found.found
    return (
        f"{counted(found.pictures, 'distinct picture')} ({counted(len(cross.rows), 'file')}), held "
        f"against the out-of-fold probabilities of {cross.of} folds × "
        f"{counted(len(cross.seeds), 'seed')}"
    )


def _findings(found: Doubts) -> Iterator[Finding]:
    cross = found.found
    for name, count in zip(cross.rows.classes, found.per_class, strict=True):
        mine = found.of_class(name)
        every = sum(each.against == len(cross.seeds) for each in mine)
        agreed = f", {every:,} in every seed" if mine and len(cross.seeds) > 1 else ""
        looks = listed(sorted({each.looks for each in mine})) or "another class"
        yield Finding(
            f"doubts.{name}",
            "warn" if mine else "info",
            f"{len(mine):,} of {counted(count, 'distinct picture')} labelled {name} "
            f"({percent(len(mine), count)}) surely {'looks' if len(mine) == 1 else 'look'} like "
            f"{looks} to the classifiers that never saw {'it' if len(mine) == 1 else 'them'}"
            f"{agreed}.",
            len(mine) / count if count else None,
            sources=_sources(found, mine),
            figure="doubts-stored",
        )
    rest = found.otherwise
    yield Finding(
        "doubts.otherwise",
        "info",
        f"{counted(len(rest), 'more distinct picture')} {'is' if len(rest) == 1 else 'are'} called "
        "otherwise than labelled, but not surely: they count as errors of the classifiers and not "
        "as doubtful labels, and are shown last.",
        float(len(rest)),
        sources=_sources(found, rest),
        figure="doubts-stored" if rest else None,
    )
    mixed = found.mixed
    yield Finding(
        "doubts.copies",
        "warn" if mixed else "info",
        f"{counted(len(mixed), 'distinct picture')} "
        f"{'has' if len(mixed) == 1 else 'have'} files with different labels.",
        float(len(mixed)),
        sources=_sources(found, mixed),
        figure="doubts-stored" if mixed else None,
    )


def _sources(found: Doubts, some: Sequence[Doubtful]) -> tuple[str, ...]:
    names = found.found.rows.column("source")
    return tuple(str(names[row]) for each in some for row in each.rows)


def _left(found: Doubts) -> Finding:
    """The score with and without the doubtful pictures."""
    every = found.found.scores.per_group.accuracy
    if found.without is None:
        said = f"The accuracy is {ranged(every)}; without the doubtful pictures a class is gone."
        return Finding("doubts.scores", "info", said, every.value)
    return Finding(
        "doubts.scores",
        "info",
        f"With every picture the accuracy is {ranged(every)}, without the doubtful ones "
        f"{ranged(found.without.per_group.accuracy)}. The second is no score of the classifier: "
        "leaving out what it gets wrong raises it whoever is right.",
        every.value,
        figure="doubts-scores",
    )


# --- Tables ---------------------------------------------------------------------------------


def _counts(found: Doubts) -> Table:
    rows: list[tuple[Cell, ...]] = []
    classes = found.found.rows.classes
    for place, (name, count) in enumerate(zip(classes, found.per_class, strict=True)):
        mine = found.of_class(name)
        bar = found.judged.thresholds[place]
        rows.append(
            (
                name,
                count,
                len(mine),
                percent(len(mine), count),
                f"{bar:.3f}" if np.isfinite(bar) else "–",
            )
        )
    return Table(
        "doubts-counts",
        "Doubtful labels by class",
        ("Label", "Distinct pictures", CONTRADICTED, "Share", "Threshold of the class"),
        tuple(rows),
        note="A picture surely looks like a class where its out-of-fold probability, mean over "
        "files and seeds, reaches the mean over the pictures labelled so, which is the threshold "
        "(confident learning: Northcutt, Jiang and Chuang 2021). The bar of a class that is called "
        "with less conviction is lower.",
    )


def _joint(found: Doubts) -> Table:
    classes = found.found.rows.classes
    sure = found.judged.joint
    rows: list[tuple[Cell, ...]] = [
        (name, *map(int, row)) for name, row in zip(classes, sure, strict=True)
    ]
    return Table(
        "doubts-joint",
        "Confident joint: what the pictures of each label surely look like",
        ("Label", *(f"looks like {name}" for name in classes)),
        tuple(rows),
        note=f"{counted(int(sure.sum()), 'distinct picture')} of {found.pictures:,}; the others "
        "reach no threshold.",
    )


def _scores(found: Doubts) -> Table:
    without = found.without
    every = found.found.scores
    names = {"Distinct pictures": None, "Accuracy": "accuracy", "ROC-AUC": "roc_auc"}
    rows: list[tuple[Cell, ...]] = []
    for words, name in names.items():
        if name is None:
            rows.append((words, every.groups, "–" if without is None else without.groups))
        else:
            rows.append((words, _told(every, name), _told(without, name)))
    for label in every.classes:
        mine = every.per_group.sensitivity[label]
        other = None if without is None else without.per_group.sensitivity[label]
        rows.append((f"Called right of {label}", _words(mine), _words(other)))
    return Table(
        "doubts-scores",
        "Pooled scores with and without the doubtful pictures",
        ("Score", "With every picture", "Without the doubtful ones"),
        tuple(rows),
        note="95 % intervals over distinct pictures, seeds averaged. The score of the classifier "
        "is the first; the second is biased upwards, since the rule leaves out what the "
        "classifiers get wrong.",
    )


def _told(scores: Evaluation | None, name: str) -> str:
    return "–" if scores is None else _words(getattr(scores.per_group, name))


def _words(score: Score | None) -> str:
    return "–" if score is None else str(score)


# --- Pictures -------------------------------------------------------------------------------


def _strips(found: Doubts) -> Iterator[tuple[str, tuple[Doubtful, ...]]]:
    """What each strip shows, and of which pictures."""
    for name in found.found.rows.classes:
        mine = found.of_class(name)
        if mine:
            head = f"Labelled {name}: {counted(len(mine), 'distinct picture')}"
            yield _cut(head, len(mine)), mine[:MOST]
    if found.mixed:
        head = f"Copies differ: {counted(len(found.mixed), 'distinct picture')}"
        yield _cut(head, len(found.mixed)), found.mixed[:MOST]
    for name in found.found.rows.classes:
        mine = tuple(each for each in found.otherwise if each.labels == (name,))
        if mine:
            head = f"Labelled {name}, called otherwise but not surely: {len(mine):,}"
            yield _cut(head, len(mine)), mine[:MOST]


def _cut(head: str, count: int) -> str:
    return head if count <= MOST else f"{head}, the {MOST} of least self-confidence"


def _sheet(strips: Sequence[tuple[str, tuple[Doubtful, ...]]], positive: str, seeds: int) -> Sheet:
    """The pictures under their heat; tiles count through the strips."""
    made, row = [], 0
    for head, some in strips:
        row_tiles = []
        for each in some:
            row_tiles.append(Tile(row, _caption(each, seeds)))
            row += 1
        made.append(Strip(head, tuple(row_tiles)))
    return Sheet(
        "doubts-pictures",
        f"The same pictures, with the evidence for {positive}",
        tuple(made),
        "In the same order. The evidence is the mean over the classifiers that never saw the "
        "picture.",
    )


def _caption(each: Doubtful, seeds: int) -> str:
    votes = f", {each.against} of {seeds} seeds against" if seeds > 1 else ""
    files = f", {len(each.rows)} files" if len(each.rows) > 1 else ""
    label = " / ".join(each.labels)
    return f"{label} {percent(each.self_confidence)}{votes}{files}"


def _as_stored(strips: Sequence[tuple[str, tuple[Doubtful, ...]]]) -> Sheet:
    return Sheet(
        "doubts-stored",
        "The pictures as they are stored",
        tuple(
            Strip(head, tuple(Tile(each.rows[0], f"picture {each.picture}") for each in some))
            for head, some in strips
        ),
        "One file of each distinct picture, least self-confidence first; all files are in "
        "`doubts.csv`. Look here first, before the heat decides for you.",
        plain=True,
    )
