"""Does another training tell the same: maps of runs that differ in their seed alone.

Two nets of the same recipe on the same pictures can call them alike for different reasons. What two
maps of different pictures have in common is the measure of chance. Source: Arun et al., "Assessing
the trustworthiness of saliency maps for localizing abnormalities in medical imaging", Radiology:
Artificial Intelligence 2021 (reproducibility).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from clearhead.audits.exhibits import Exhibits, Heats, Judged, figure, lines_of
from clearhead.audits.phrases import counted, interval, percent_of
from clearhead.audits.section import Cell, Dots, Section, Table
from clearhead.audits.subject import BATCH, predict
from clearhead.errors import RunError
from clearhead.measure.likeness import overlap, spearman
from clearhead.measure.scores import Score
from clearhead.model.run import Run
from clearhead.types import Finding

TITLE = "Does another training tell the same?"


def repeatable(exhibits: Exhibits) -> Judged:
    """Agreement of maps and calls between trainings, beside that of two pictures."""
    if not exhibits.seeds:
        return Judged(Section("repeatable", TITLE, (_no_seeds(),)), {})
    calls, heats = _every_run(exhibits)
    ranks = _pairs(exhibits, heats, spearman)
    tops = _pairs(exhibits, heats, overlap)
    same = _same_calls(calls)
    alike = exhibits.scores_of({name: both[0] for name, both in ranks.items()})
    section = Section(
        "repeatable",
        TITLE,
        (_finding(exhibits, ranks, tops, same),),
        tables=(_table(exhibits, ranks, tops), _by_call(exhibits, ranks, same)),
        dots=(_dots(exhibits, alike, ranks),),
    )
    return Judged(section, {"Alike across seeds": alike})


def check_seeds(run: Run, seeds: Sequence[Run]) -> None:
    """That runs differ from this one in the seed alone, and do differ; else `RunError`."""
    known = {_digest(run): run}
    for other in seeds:
        if other.manifest_id != run.manifest_id:
            raise RunError(
                f"{other.folder} was trained on other rows or splits than {run.folder}: its maps "
                "can't be compared; train it on the same manifest"
            )
        if replace(other.recipe, seed=run.recipe.seed) != run.recipe:
            raise RunError(
                f"{other.folder} differs from {run.folder} in more than its seed: train it with "
                "the same settings and another --seed"
            )
        digest = _digest(other)
        if digest in known:
            raise RunError(
                f"{other.folder} holds the same weights as {known[digest].folder}: nothing to "
                "compare; train it with another --seed"
            )
        known[digest] = other


def _digest(run: Run) -> str:
    path = run.folder / "weights" / f"{run.recipe.weights}.safetensors"
    if not path.exists():
        raise RunError(f"{run.folder} has no weights {path.name}: train it again")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _no_seeds() -> Finding:
    return Finding(
        "repeatable.seeds",
        "info",
        "No other training was given, so it isn't known how far the maps depend on the seed. "
        "`clearhead train MANIFEST RUN --seed 1`, with the other settings of this run, makes one; "
        "name it with --seeds.",
    )


def _every_run(exhibits: Exhibits) -> tuple[list[NDArray[np.int64]], list[Heats]]:
    """Calls (N,) and heats of this run, then of the others; all explain what this one calls."""
    squares = exhibits.subject.squares
    calls, heats = [exhibits.subject.calls], [exhibits.heats]
    for run in exhibits.seeds:
        classifier = run.classifier(exhibits.classifier.mean.device)
        parts = (squares[start : start + BATCH] for start in range(0, len(exhibits), BATCH))
        logits = [predict(classifier, np.ascontiguousarray(part)) for part in parts]
        calls.append(np.concatenate(logits).argmax(1))
        label = f"seed {run.recipe.seed}"
        heats.append(exhibits.heats_of(classifier, squares, label=label))
    return calls, heats


Likeness = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float64]]


def _pairs(
    exhibits: Exhibits, heats: Sequence[Heats], alike: Likeness
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Likeness of the maps of two runs, of one picture and of two (chance), means over pairs."""
    found = {}
    for name in exhibits.names:
        pairs = [(one[name], other[name]) for one, other in combinations(heats, 2)]
        same = np.mean([alike(*pair) for pair in pairs], 0)
        chance = np.mean([alike(one, other[exhibits.strangers]) for one, other in pairs], 0)
        found[name] = same, chance
    return found


def _same_calls(calls: Sequence[NDArray[np.int64]]) -> NDArray[np.bool_]:
    """Which pictures all runs call alike, (N,)."""
    same: NDArray[np.bool_] = np.all([each == calls[0] for each in calls[1:]], 0)
    return same


Pairs = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


def _finding(exhibits: Exhibits, ranks: Pairs, tops: Pairs, same: NDArray[np.bool_]) -> Finding:
    name = exhibits.chosen
    alike, chance = (exhibits.score_of(each) for each in ranks[name])
    excess = exhibits.score_of(ranks[name][0] - ranks[name][1])
    top, top_chance = (exhibits.score_of(each) for each in tops[name])
    above = excess.low is not None and excess.low > 0
    calls = exhibits.score_of(same.astype(np.float64))
    return Finding(
        "repeatable.seeds",
        "info" if above else "warn",
        f"{counted(len(exhibits.seeds) + 1, 'training')} of one recipe call "
        f"{percent_of(calls)} of the pictures alike. Their {name} maps of one picture have a rank "
        f"correlation of {figure(alike)} (of two pictures {figure(chance)}), and their hottest "
        f"tenths share {percent_of(top)} of their area (of two pictures {percent_of(top_chance)})"
        + ("." if above else ": no more than chance. Each training tells another story."),
        alike.value,
        interval(alike),
        figure="seeds",
    )


def _table(exhibits: Exhibits, ranks: Pairs, tops: Pairs) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name in exhibits.names:
        each = (*ranks[name], ranks[name][0] - ranks[name][1], *tops[name])
        told = f"{name} (control)" if name in exhibits.controls else name
        rows.append((told, *(figure(exhibits.score_of(one)) for one in each)))
    return Table(
        "seeds",
        "Maps of trainings that differ in their seed",
        (
            "Method",
            "Rank correlation",
            "Of two pictures (chance)",
            "Difference",
            "Overlap of the hottest tenths",
            "Of two pictures (chance)",
        ),
        tuple(rows),
        note=f"{counted(len(exhibits), 'picture')}, means over all pairs of "
        f"{counted(len(exhibits.seeds) + 1, 'run')}. Controls never see the net, so they are the "
        "same in every run; overlap is intersection over union.",
    )


def _by_call(exhibits: Exhibits, ranks: Pairs, same: NDArray[np.bool_]) -> Table:
    """Likeness of the maps where runs call alike and where they don't, by class called here."""
    subject = exhibits.subject
    rows: list[tuple[Cell, ...]] = []
    for index, label in enumerate(subject.classes):
        for told, keep in (("alike", same), ("differently", ~same)):
            mine = keep & (subject.calls == index)
            each = (np.where(mine, values, np.nan) for values in ranks[exhibits.chosen])
            figures = (figure(exhibits.score_of(values)) for values in each)
            rows.append((f"{label} here, {told}", int(mine.sum()), *figures))
    return Table(
        "by_call",
        f"Rank correlation of {exhibits.chosen} maps by call",
        ("Called", "Pictures", "Rank correlation", "Of two pictures (chance)"),
        tuple(rows),
    )


def _dots(exhibits: Exhibits, alike: Mapping[str, Score], ranks: Pairs) -> Dots:
    chance = exhibits.score_of(ranks[exhibits.chosen][1]).value
    known = () if chance is None else ((f"two pictures, {exhibits.chosen}", chance),)
    return Dots(
        "across_seeds",
        "Rank correlation of maps of one picture across trainings",
        "rank correlation",
        (-0.5, 1.0),
        lines_of(alike, exhibits.controls),
        references=known,
    )
