"""What a change of the pictures does to the scores: before, after, and the difference in pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from clearhead.measure.bootstrap import Sample, counted_scores, interval, resample, roc_auc
from clearhead.measure.scores import Score

MEASURES = ("roc_auc", "balanced_accuracy", "accuracy")
"""The scores that are compared; `roc_auc` ranks by the margin of the positive class."""


@dataclass(frozen=True)
class Change:
    """Scores of the same pictures under two sets of logits, every group counting once.

    `drop` is before − after with an interval from the same draws of groups. All by `MEASURES`.
    """

    pictures: int
    groups: int
    before: Mapping[str, Score]
    after: Mapping[str, Score]
    drop: Mapping[str, Score]


def change(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    *,
    positive: int,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Change:
    """How logits `before` and `after`, (N, K) each, score on `labels` (N,), by `groups` (N,).

    Intervals are percentiles of `resamples` draws of groups, the same draws on both sides. A score
    that is undefined (one class, no pictures) has no value.
    """
    if not len(labels):
        none = dict.fromkeys(MEASURES, Score(None))
        return Change(0, 0, none, none, none)
    sides = [_sample(labels, groups, logits, positive) for logits in (before, after)]
    points = [_points(side) for side in sides]
    several = bool(sides[0].groups.max()) and resamples > 0
    drawn = [resample(side, resamples, seed) if several else {} for side in sides]
    first, second = (
        {name: _score(point[name], draw.get(name), level) for name in MEASURES}
        for point, draw in zip(points, drawn, strict=True)
    )
    drop = {
        name: _score(
            points[0][name] - points[1][name],
            drawn[0][name] - drawn[1][name] if several else None,
            level,
        )
        for name in MEASURES
    }
    return Change(len(labels), int(sides[0].groups.max()) + 1, first, second, drop)


def margins(logits: NDArray[np.float32], targets: NDArray[np.int64] | int) -> NDArray[np.float64]:
    """Log odds of one class against all the others, (N,), from logits (N, K).

    `targets` is a class index or one per row. Of two classes it is the difference of the logits.
    """
    table = np.asarray(logits, np.float64)
    at = np.broadcast_to(np.asarray(targets), (len(table),))[:, None]
    own = np.take_along_axis(table, at, 1)[:, 0]
    others = table.copy()
    np.put_along_axis(others, at, -np.inf, 1)
    odds: NDArray[np.float64] = own - logsumexp(others, axis=1)
    return odds


def telling(auc: Score) -> Score:
    """A ROC-AUC folded at 0.5: how well the classes are told apart, whichever way round.

    A ranking that is the wrong way round in every picture knows the classes as well as the right
    one. The interval is turned with the value: its ends are mirrored where the value is below 0.5.
    """
    if auc.value is None or auc.value >= 0.5:
        return auc
    if auc.low is None or auc.high is None:
        return Score(1 - auc.value)
    return Score(1 - auc.value, 1 - auc.high, 1 - auc.low)


def _sample(
    labels: NDArray[np.int64], groups: NDArray[np.int64], logits: NDArray[np.float32], positive: int
) -> Sample:
    _, numbers = np.unique(groups, return_inverse=True)
    # The margin ranks as the probability does, and doesn't tie where that has run into 0 or 1.
    ranked = np.zeros(logits.shape)
    ranked[:, positive] = margins(logits, positive)
    return Sample(
        labels=np.asarray(labels, np.int64),
        called=logits.argmax(1).astype(np.int64),
        probabilities=ranked,
        groups=numbers.astype(np.int64),
        weights=1 / np.bincount(numbers)[numbers],
        targets=(positive,),
    )


def _points(sample: Sample) -> dict[str, float]:
    """The scores of the sample itself; NaN where undefined."""
    classes = sample.probabilities.shape[1]
    cells = np.zeros((1, classes, classes))
    np.add.at(cells[0], (sample.labels, sample.called), sample.weights)
    scores = counted_scores(cells)
    several = sample.present.sum() > 1
    recalls = scores["sensitivity"][0, sample.present]
    return {
        "roc_auc": _ranked(sample) if sample.ranked else np.nan,
        "balanced_accuracy": float(recalls.mean()) if several else np.nan,
        "accuracy": float(scores["accuracy"][0]),
    }


def _ranked(sample: Sample) -> float:
    (target,) = sample.ranked
    distinct, ranks = np.unique(-sample.probabilities[:, target], return_inverse=True)
    sides = np.zeros((2, len(distinct), 1))
    np.add.at(sides[:, :, 0], ((sample.labels != target).astype(int), ranks), sample.weights)
    return float(roc_auc(sides[0], sides[1])[0])


def _score(value: float, drawn: NDArray[np.float64] | None, level: float) -> Score:
    if np.isnan(value):
        return Score(None)
    return Score(value, *((interval(drawn, level) if drawn is not None else None) or ()))
