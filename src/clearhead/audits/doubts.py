"""Labels that the classifiers of a cross-validation contradict, or that copies contradict.

A doubt is a reason to look, never a verdict: a classifier that is wrong about a right label looks
just like one that is right about a wrong label. Nothing is left out of any score because of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clearhead.audits.crossval import CrossValidation
from clearhead.audits.said import BATCH, METHOD, SCORE
from clearhead.audits.subject import Subject
from clearhead.data.cache import pictures
from clearhead.data.drawn import drawn
from clearhead.errors import RunError
from clearhead.heat.evidence import class_evidence
from clearhead.measure.doubt import Doubt, doubt
from clearhead.measure.scores import Evaluation, score_repeats
from clearhead.types import Progress, silent

CONTRADICTED = "contradicted out of fold"
"""The classifiers that never saw the picture surely see another class."""
MIXED = "copies differ"
"""Files of one picture carry different labels."""
OTHERWISE = "called otherwise"
"""Another class is likelier than the label's, but not surely: no doubt, and worth a look."""


@dataclass(frozen=True)
class Doubtful:
    """A distinct picture whose label is in doubt."""

    picture: int
    """Its number among the copies, as in the manifest."""
    rows: tuple[int, ...]
    """Its files, as rows of the cross-validation; the first is the one to show."""
    labels: tuple[str, ...]
    """The labels given; several where copies differ."""
    looks: str
    """The likeliest other class; of several labels, the likeliest class."""
    rules: tuple[str, ...]
    self_confidence: float
    """Out-of-fold probability of the label given; of several labels, that of the least likely."""
    margin: float
    """The same less that of the likeliest other class."""
    against: int
    """Seeds whose classifier calls another class than the label."""


@dataclass(frozen=True)
class Doubts:
    """What a cross-validation says of the labels that it was given.

    `judged` holds the rule's thresholds and the confident joint of the pictures with one label;
    `without` are the scores that are left when doubtful pictures take no part, None where that
    leaves none of a class.
    """

    found: CrossValidation
    pictures: int
    """Distinct pictures that were looked at."""
    per_class: tuple[int, ...]
    """Of them, those of each class; one of several labels counts as its first."""
    judged: Doubt
    doubtful: tuple[Doubtful, ...]
    """Contradicted ones first, least self-confidence first."""
    otherwise: tuple[Doubtful, ...]
    """Pictures with one label that are called otherwise, but not surely; not among the doubtful."""
    without: Evaluation | None

    def of_class(self, name: str) -> tuple[Doubtful, ...]:
        """Those of one label that the classifiers contradict."""
        return tuple(
            each for each in self.doubtful if CONTRADICTED in each.rules and each.labels == (name,)
        )

    @property
    def mixed(self) -> tuple[Doubtful, ...]:
        """Those whose copies differ."""
        return tuple(each for each in self.doubtful if MIXED in each.rules)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON; the files are in the table."""
        classes = self.found.rows.classes
        return {
            "made": dict(self.found.made()),
            "pictures": self.pictures,
            "doubtful": len(self.doubtful),
            "contradicted": {name: len(self.of_class(name)) for name in classes},
            "pictures_per_class": dict(zip(classes, self.per_class, strict=True)),
            "copies_differ": len(self.mixed),
            "called_otherwise": len(self.otherwise),
            "thresholds": {
                name: float(value) if np.isfinite(value) else None
                for name, value in zip(classes, self.judged.thresholds, strict=True)
            },
            "confident_joint": self.judged.joint.tolist(),
            "scores": self.found.scores.to_json(),
            "scores_without": None if self.without is None else self.without.to_json(),
        }


def doubts(found: CrossValidation) -> Doubts:
    """Distinct pictures whose label the out-of-fold classifiers or their own copies contradict.

    The unit is the distinct picture: probabilities are averaged over its files and over seeds, and
    held against its label by confident learning (`measure.doubt`). A picture whose files carry
    different labels is doubtful by itself and takes no part in the thresholds.

    Errors: `RunError` where every picture has several labels.
    """
    rows = found.rows
    copies = rows.groups() if rows.table.column("copy").null_count else rows.column("copy")
    names, member = np.unique(copies, return_inverse=True)
    sizes = np.bincount(member)
    labels = rows.labels()
    chances = np.stack(
        [np.bincount(member, weights=column) / sizes for column in found.mean_probabilities().T], 1
    )
    given = np.full(len(names), -1)
    given[member[::-1]] = labels[::-1]  # the label of the first file
    mixed = np.zeros(len(names), bool)
    mixed[member[labels != given[member]]] = True
    if mixed.all():
        raise RunError("every picture has files with different labels: nothing to hold labels to")
    clear = np.flatnonzero(~mixed)
    judged = doubt(given[clear], chances[clear])
    against = _against(found, member, len(names), given)
    doubtful = [
        _contradicted(found, names, member, clear[place], judged, place, against)
        for place in judged.ranked().tolist()
    ]
    called = judged.margin < 0
    rest = np.flatnonzero(called & ~judged.contradicted)
    otherwise = [
        _contradicted(found, names, member, clear[place], judged, place, against, OTHERWISE)
        for place in rest[np.argsort(judged.self_confidence[rest], kind="stable")].tolist()
    ]
    doubtful += [
        _mixed(found, names, member, place, chances[place])
        for place in np.flatnonzero(mixed).tolist()
    ]
    counts = np.bincount(given, minlength=len(rows.classes))
    return Doubts(
        found,
        len(names),
        tuple(int(count) for count in counts),
        judged,
        tuple(doubtful),
        tuple(otherwise),
        _without(found, doubtful),
    )


def _against(
    found: CrossValidation, member: NDArray[np.int64], count: int, given: NDArray[np.int64]
) -> NDArray[np.int64]:
    """In how many seeds the mean over a picture's files calls another class, (P,)."""
    sizes = np.bincount(member)
    against = np.zeros(count, np.int64)
    for table in found.probabilities:
        chances = np.stack([np.bincount(member, weights=each) / sizes for each in table.T], 1)
        against += chances.argmax(1) != given
    return against


def _contradicted(
    found: CrossValidation,
    names: NDArray[Any],
    member: NDArray[np.int64],
    picture: int,
    judged: Doubt,
    place: int,
    against: NDArray[np.int64],
    rule: str = CONTRADICTED,
) -> Doubtful:
    files = tuple(np.flatnonzero(member == picture).tolist())
    classes = found.rows.classes
    return Doubtful(
        int(names[picture]),
        files,
        (str(found.rows.column("label")[files[0]]),),
        classes[judged.suggested[place]],
        (rule,),
        float(judged.self_confidence[place]),
        float(judged.margin[place]),
        int(against[picture]),
    )


def _mixed(
    found: CrossValidation,
    names: NDArray[Any],
    member: NDArray[np.int64],
    picture: int,
    chances: NDArray[np.float64],
) -> Doubtful:
    files = tuple(np.flatnonzero(member == picture).tolist())
    labels = sorted({int(found.rows.labels()[row]) for row in files})
    least = min(labels, key=lambda label: chances[label])
    others = np.delete(chances, least)
    classes = found.rows.classes
    calls = found.probabilities[:, files].mean(1).argmax(1)
    return Doubtful(
        int(names[picture]),
        files,
        tuple(classes[label] for label in labels),
        classes[int(chances.argmax())],
        (MIXED,),
        float(chances[least]),
        float(chances[least] - others.max()),
        int((calls != least).sum()),
    )


def _without(found: CrossValidation, doubtful: list[Doubtful]) -> Evaluation | None:
    """The pooled scores of the other pictures; None where a class is gone."""
    keep = np.ones(len(found.rows), bool)
    keep[[row for each in doubtful for row in each.rows]] = False
    rows = found.rows.take(keep)
    if not keep.any() or set(rows.column("label")) != set(found.rows.column("label")):
        return None
    return score_repeats(
        rows.labels(),
        found.probabilities[:, keep],
        rows.groups(),
        classes=rows.classes,
        positive=found.positive,
        resamples=found.scores.resamples,
        split="out-of-fold",
    )


# --- What the classifiers see ---------------------------------------------------------------


def seen(found: CrossValidation, rows: NDArray[np.int64], progress: Progress = silent) -> Subject:
    """Some rows with the evidence of the classifiers that never saw them, mean over seeds.

    A subject for drawing: regions are not told.
    """
    shown = found.rows.take(rows)
    recipe = found.runs[0].recipe
    squares = pictures(shown, fit=recipe.fit, size_px=recipe.size_px, progress=progress)
    truth = drawn(shown, fit=recipe.fit, size_px=recipe.size_px, progress=progress)
    places = found.places()[:, rows]
    maps: NDArray[np.float32] = np.zeros(0, np.float32)
    wanted = np.unique(places)
    bar = progress(wanted.tolist(), total=len(wanted), label="evidence")
    for place in bar:
        classifier = found.runs[place].classifier()
        mine = np.flatnonzero((places == place).any(0))
        for start in range(0, len(mine), BATCH):
            part = mine[start : start + BATCH]
            there = torch.from_numpy(squares[part]).unsqueeze(1)
            evidence = class_evidence(classifier, there, method=METHOD, score=SCORE)
            own = evidence.maps.float().cpu().numpy() / len(places)
            if not maps.size:
                maps = np.zeros((len(rows), *own.shape[1:]), np.float32)
            maps[part] += own
    chances = found.mean_probabilities()[rows]
    return Subject(
        classifier,
        found.rows.classes,
        found.rows.classes.index(found.positive),
        shown,
        squares,
        truth,
        np.zeros(squares.shape, np.uint8),
        np.zeros(len(rows), bool),
        maps,
        evidence.grid,
        np.log(np.maximum(chances, 1e-9)).astype(np.float32),
        chances.astype(np.float32),
        METHOD,
        evidence.unit,
        "out-of-fold",
    )
