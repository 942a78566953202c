"""The page of a cross-validation, its table of out-of-fold predictions, and its lines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from clearhead.audits.beside import CONTROL_WORDS
from clearhead.audits.crossval import CrossValidation, Elsewhere, Located, Spread
from clearhead.audits.phrases import counted, interval, percent_of, ranged
from clearhead.audits.section import Cell, Dots, Line, Mark, PooledAudit, Section, Table
from clearhead.deliver import verdict
from clearhead.deliver.audit_page import FOOTER, Cover, render
from clearhead.deliver.audit_words import plain
from clearhead.files import write_json, write_text, writing
from clearhead.measure.scores import Score, Scores
from clearhead.types import Finding

LEVELS = {"good": "info", "plain": "info", "doubt": "warn", "bad": "warn"}
"""The level of a finding, by the tone of a statement."""

UNSEEN = (
    "Patients, where the manifest names none: slices of one patient may then be in training and "
    "test, and intervals come out too narrow.",
    "A shortcut that is in every fold: each classifier is tested on the collection that it learnt "
    "from. Sets that nothing was trained on say more (`--also`).",
    "Settings that were chosen by looking at these folds: their score is then too high, and no "
    "interval tells by how much.",
    "One classifier to use. A cross-validation judges a recipe; each of its runs has seen only "
    "part of the pictures.",
    "Wrong labels: calls are compared with the labels given. `clearhead doubts` lists those that "
    "the classifiers contradict.",
)
"""What a cross-validation is blind to."""


def save_crossval(found: CrossValidation, folder: Path) -> Path:
    """Write `predictions.csv`, `crossval.html` and, last, `crossval.json`; the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_predictions(found, folder / "predictions.csv")
    write_text(folder / "crossval.html", render_crossval(found))
    value = found.to_json()
    for one, run in zip(value["runs"], found.runs, strict=True):
        one["folder"] = Path(os.path.relpath(run.folder.resolve(), folder.resolve())).as_posix()
    write_json(folder / "crossval.json", value)
    return folder / "crossval.html"


def _write_predictions(found: CrossValidation, path: Path) -> None:
    """A line per seed and file: what the classifier said that never saw it."""
    rows, count = found.rows, len(found.rows)
    calls = found.probabilities.argmax(2).ravel()
    folds = np.array([fold.fold for fold in found.folds])[found.places()]
    columns = {
        "source": pa.array(np.tile(rows.column("source"), len(found.seeds))),
        "label": pa.array(np.tile(rows.column("label"), len(found.seeds))),
        "group": pa.array(np.tile(rows.groups(), len(found.seeds))),
        "seed": pa.array(np.repeat([fold.seed for fold in found.folds[:: found.of]], count)),
        "fold": pa.array(folds.ravel()),
        "call": pa.array([rows.classes[call] for call in calls]),
    }
    for index, name in enumerate(rows.classes):
        columns[f"probability {name}"] = pa.array(found.probabilities[:, :, index].ravel())
    with writing(path) as temporary:
        csv.write_csv(pa.table(columns), temporary)


def render_crossval(found: CrossValidation) -> str:
    """The page as one HTML document; the same runs give the same text."""
    cover = Cover(
        title=f"Cross-validation on {found.rows.root.name or found.rows.root}",
        headline=verdict.headline(found.scores),
        about=_about(found),
        calm="That is no proof that the calls rest on the brain",
        unseen=UNSEEN,
        footer=FOOTER,
    )
    return render(PooledAudit(_sections(found), found.made()), cover, ())


def summary(found: CrossValidation, page: Path) -> list[str]:
    """The lines for a terminal: headline, findings, where the page is."""
    said = [finding.message for section in _sections(found) for finding in section.findings]
    lines = [verdict.headline(found.scores), _about(found), "", *said, "", f"Page: {page}"]
    return [plain(line) for line in lines]


def _about(found: CrossValidation) -> str:
    names = ", ".join(f"{name} {_count(found, name):,}" for name in found.rows.classes)
    return (
        f"{counted(len(found.rows), 'file')} ({names}), "
        f"{counted(found.scores.groups, 'distinct picture')}; {_trainings(found)}, "
        "each picture called by classifiers that saw neither it nor a copy of it"
    )


def _count(found: CrossValidation, name: str) -> int:
    return int((found.rows.column("label") == name).sum())


def _trainings(found: CrossValidation) -> str:
    return f"{found.of} folds × {counted(len(found.seeds), 'seed')}"


def _sections(found: CrossValidation) -> tuple[Section, ...]:
    sections = [_scores(found)]
    if found.located is not None:
        sections.append(_where(found, found.located))
    if found.elsewhere:
        sections.append(_elsewhere(found))
    return tuple(sections)


# --- Scores ---------------------------------------------------------------------------------


def _scores(found: CrossValidation) -> Section:
    said = [
        Finding(f"crossval.{number}", LEVELS[line.tone], line.text)
        for number, line in enumerate(verdict.statements(found.scores), 1)
    ]
    return Section(
        "scores",
        "What is called right, out of fold",
        (_right(found), *said),
        tables=(_table(found), _runs(found)),
        dots=(_chart(found),),
    )


def _right(found: CrossValidation) -> Finding:
    scores = found.scores.per_group
    each = ", ".join(
        f"{ranged(score)} of {name}"
        for name, score in scores.sensitivity.items()
        if score.value is not None
    )
    return Finding(
        "crossval.right",
        "info",
        f"Every distinct picture counting once, {ranged(scores.accuracy)} are called as they are "
        f"labelled: {each}. {_between_seeds(found)} Intervals are over distinct pictures.",
        scores.accuracy.value,
        interval(scores.accuracy),
        figure="crossval-scores",
    )


def _between_seeds(found: CrossValidation) -> str:
    spread = found.over_seeds["accuracy"]
    if len(found.seeds) == 1:
        return "One seed: how far another training would differ is not known."
    return (
        f"From seed to seed the accuracy is {percent_of(spread.least)} to "
        f"{percent_of(spread.largest)}."
    )


def _table(found: CrossValidation) -> Table:
    mine = found.scores.per_group
    known = found.scores.baseline
    theirs = None if known is None else known.per_group
    names = {
        "accuracy": "Accuracy",
        "balanced_accuracy": "Balanced accuracy",
        "roc_auc": "ROC-AUC of the pooled probabilities",
    } | {f"sensitivity {name}": f"Called right of {name}" for name in found.rows.classes}
    rows = [
        (
            words,
            _figure(_of(mine, name)),
            _ends(_of(mine, name)),
            _range(found.over_seeds[name]),
            _deviation(found.over_folds[name]),
            "–" if theirs is None else _figure(_of(theirs, name)),
        )
        for name, words in names.items()
    ]
    return Table(
        "crossval-scores",
        "Scores, every distinct picture counting once",
        (
            "Score",
            "All seeds",
            "95 % interval",
            "Seed to seed",
            "Mean over folds ± deviation",
            "File facts alone",
        ),
        tuple(rows),
        note="Folds are pooled before they are scored; seeds are averaged after. The interval "
        "draws distinct pictures, all files and seeds of one together: training again doesn't make "
        "it narrower. Single folds are smaller and are told for comparison with others' tables; "
        "their deviation is no interval, as folds share their training pictures.",
    )


def _of(scores: Scores, name: str) -> Score:
    kind, _, label = name.partition(" ")
    if label:
        return scores.sensitivity[label]
    found: Score = getattr(scores, kind)
    return found


def _runs(found: CrossValidation) -> Table:
    classes = found.rows.classes
    rows: list[tuple[Cell, ...]] = [
        (
            fold.run.folder.resolve().name,
            fold.scores.groups,
            _figure(fold.scores.per_group.accuracy),
            *(_figure(fold.scores.per_group.sensitivity[name]) for name in classes),
            _figure(fold.scores.per_group.roc_auc),
        )
        for fold in found.folds
    ]
    return Table(
        "crossval-runs",
        "Run by run",
        (
            "Run",
            "Distinct pictures",
            "Accuracy",
            *(f"Right of {name}" for name in classes),
            "ROC-AUC",
        ),
        tuple(rows),
    )


def _chart(found: CrossValidation) -> Dots:
    """Accuracy of each seed and of each fold, beside the score to beat."""
    every = found.scores.per_group.accuracy
    lines = [Line("all seeds", (Mark.of("pooled", every),))] if len(found.seeds) > 1 else []
    for seed, scores in zip(found.seeds, found.each, strict=True):
        lines.append(Line(seed, (Mark.of("pooled", scores.per_group.accuracy),)))
    for number in range(found.of):
        same = found.folds[number :: found.of]
        mean = Spread.of([fold.scores.per_group.accuracy.value for fold in same])
        words = "mean over seeds" if len(found.seeds) > 1 else ""
        mark = Mark("single folds", 100 * (mean.mean or 0.0))
        lines.append(Line(f"fold {number}", (mark,), remark=words))
    known = found.scores.baseline
    beat = known.per_group.accuracy.value if known is not None else None
    always = known.majority_per_group.value if known is not None else None
    references = [
        (words, 100 * value)
        for words, value in (("file facts alone", beat), ("always one class", always))
        if value is not None
    ]
    values = [mark.low or mark.value for line in lines for mark in line.marks]
    values += [value for _, value in references]
    return Dots(
        "crossval-accuracy",
        "Accuracy by seed and by fold",
        "accuracy per distinct picture, %",
        (max(0.0, 10 * np.floor(min(values) / 10)), 100.0),
        tuple(lines),
        tuple(references),
        note="Folds of different seeds are different pictures.",
        series=("pooled", "single folds"),
    )


def _figure(score: Score) -> str:
    return "–" if score.value is None else f"{score.value:.3f}"


def _ends(score: Score) -> str:
    ends = interval(score)
    return "–" if ends is None else f"{ends[0]:.3f}–{ends[1]:.3f}"


def _range(spread: Spread) -> str:
    if spread.least is None or spread.largest is None or spread.deviation is None:
        return "–"
    return f"{spread.least:.3f}–{spread.largest:.3f}"


def _deviation(spread: Spread) -> str:
    if spread.mean is None:
        return "–"
    return f"{spread.mean:.3f}" + ("" if spread.deviation is None else f" ± {spread.deviation:.3f}")


# --- Where ----------------------------------------------------------------------------------


def _where(found: CrossValidation, located: Located) -> Section:
    finding = Finding(
        "crossval.pointing",
        "info" if _above(located) else "warn",
        f"In {_tumours(located, found.positive)}, the hottest place of the evidence lies on the "
        f"tumour in {ranged(located.pointing)}, and {ranged(located.inside)} of the heat lies "
        f"inside it. {_control(located)}",
        located.pointing.value,
        interval(located.pointing),
        located.best_pointing[1].value,
        figure="crossval-located",
    )
    return Section(
        "where", "Is the evidence on the tumour", (finding,), tables=(_located(located, "seed"),)
    )


def _above(located: Located) -> bool:
    low, chance = located.pointing.low, located.best_pointing[1].high
    return low is not None and chance is not None and low > chance


def _tumours(located: Located, name: str) -> str:
    return (
        f"{counted(located.groups, 'distinct picture')} with a tumour mask that "
        f"{'is' if located.groups == 1 else 'are'} called {name}"
    )


def _control(located: Located) -> str:
    name, score = located.best_pointing
    return (
        "The best of the controls that know nothing of the classifier points at it in "
        f"{percent_of(score)} ({CONTROL_WORDS[name]})."
    )


def _located(located: Located, unit: str) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for words, score, spread, (name, best) in (
        (
            "hottest place on the tumour",
            located.pointing,
            located.pointing_spread,
            located.best_pointing,
        ),
        ("heat inside the tumour", located.inside, located.inside_spread, located.best_inside),
    ):
        control = f"{percent_of(best)}, {CONTROL_WORDS[name]}"
        rows.append((words, _figure(score), _ends(score), _range(spread), control))
    return Table(
        "crossval-located",
        "Heat of the evidence and tumour masks",
        ("Measure", "All", "95 % interval", f"From {unit} to {unit}", "Best control"),
        tuple(rows),
        note="Masked tumours that are called, every distinct picture counting once; a map without "
        "positive evidence misses and has no heat inside. `clearhead audit` has more controls and "
        "more measures of single runs.",
    )


# --- Elsewhere ------------------------------------------------------------------------------


def _elsewhere(found: CrossValidation) -> Section:
    findings = [said for other in found.elsewhere for said in _said_elsewhere(found, other)]
    tables = [_elsewhere_table(found.elsewhere, found.rows.classes, len(found.runs))]
    for other in found.elsewhere:
        if other.located is not None:
            name = f"crossval-located-{other.name}"
            words = f"Heat of the evidence and tumour masks: {other.name}"
            made = _located(other.located, "run")
            tables.append(Table(name, words, made.columns, made.rows, made.note))
    return Section(
        "elsewhere", "On sets that nothing was trained on", tuple(findings), tuple(tables)
    )


def _said_elsewhere(found: CrossValidation, other: Elsewhere) -> Iterator[Finding]:
    scores = other.scores.per_group
    each = ", ".join(
        f"{ranged(score)} of {name}"
        for name, score in scores.sensitivity.items()
        if score.value is not None
    )
    heat = ""
    if other.located is not None:
        heat = (
            f" In {_tumours(other.located, found.positive)} the hottest place lies on the tumour "
            f"in {ranged(other.located.pointing)}."
        )
    spread = other.spread["accuracy"]
    yield Finding(
        f"crossval.elsewhere.{other.name}",
        "info",
        f"Of {counted(other.scores.groups, 'distinct picture')} of {other.name} "
        f"({counted(other.scores.files, 'file')}) a run calls as labelled: {each}, mean over "
        f"{counted(len(found.runs), 'run')} ({percent_of(spread.least)} to "
        f"{percent_of(spread.largest)} from run to run).{heat}",
        scores.accuracy.value,
        interval(scores.accuracy),
        figure="crossval-elsewhere",
    )
    if other.in_training:
        yield Finding(
            f"crossval.seen.{other.name}",
            "warn",
            f"{counted(other.in_training, 'file')} of {other.name} "
            f"{'shows a picture' if other.in_training == 1 else 'show pictures'} of the folds: for "
            "most runs that is no test. `clearhead check --against --fix` sets them aside.",
            float(other.in_training),
        )


def _elsewhere_table(others: Sequence[Elsewhere], classes: tuple[str, ...], runs: int) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for other in others:
        scores: Mapping[str, Score] = {
            f"Called right of {name}": found
            for name, found in other.scores.per_group.sensitivity.items()
        } | {"ROC-AUC": other.scores.per_group.roc_auc}
        spreads = [other.spread[f"sensitivity {name}"] for name in classes]
        for (words, score), spread in zip(
            scores.items(), [*spreads, other.spread["roc_auc"]], strict=True
        ):
            if score.value is not None:
                rows.append((other.name, words, _figure(score), _ends(score), _range(spread)))
    return Table(
        "crossval-elsewhere",
        f"Scores on other sets, mean over {counted(runs, 'run')}",
        ("Set", "Score", "Mean", "95 % interval", "Run to run"),
        tuple(rows),
        note="Every distinct picture counts once; its runs are averaged before pictures are drawn.",
    )
