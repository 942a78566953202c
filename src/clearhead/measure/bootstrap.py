"""Scores of many resamples at once: groups are drawn, and all their files come along.

A resample is told by how often each group was drawn. Every score is a function of a few weighted
counts, and every count is linear in those numbers, so one sparse product per count does the work
of all resamples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

CELLS_AT_ONCE = 2_000_000
"""Upper limit of the values held per resampled count, so memory doesn't grow with the files."""


@dataclass(frozen=True)
class Sample:
    """Labelled predictions and how much each counts.

    Shapes: `labels`, `called`, `groups`, `weights` are (N,); `probabilities` is (N, K); `groups`
    counts from 0 to G - 1 without gaps. `targets` are the classes whose ranking is scored, each
    against the rest.
    """

    labels: NDArray[np.int64]
    called: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    groups: NDArray[np.int64]
    weights: NDArray[np.float64]
    targets: tuple[int, ...]

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which of the K classes some file belongs to."""
        return np.bincount(self.labels, minlength=self.probabilities.shape[1]) > 0

    @property
    def occurring(self) -> NDArray[np.bool_]:
        """Which of the K classes some file belongs to or is called."""
        return self.present | (np.bincount(self.called, minlength=len(self.present)) > 0)

    @property
    def ranked(self) -> list[int]:
        """The targets that have files on both sides."""
        return [k for k in self.targets if self.present[k] and self.present.sum() > 1]


def resample(sample: Sample, resamples: int, seed: int) -> dict[str, NDArray[np.float64]]:
    """Every score in each of `resamples` draws of groups with replacement.

    Returns (B,) for `accuracy`, `balanced_accuracy`, `f1_macro`, `roc_auc`, `pr_auc` and (B, K)
    for `f1`, `sensitivity`, `specificity`, `precision`; NaN where a resample leaves a score
    undefined. An average over classes is defined where it is defined for the same classes as in
    the whole sample, so that all resamples speak of one quantity. Two samples of the same groups
    get the same draws from the same seed.
    """
    n_groups = int(sample.groups.max()) + 1
    at_once = max(1, CELLS_AT_ONCE // len(sample.labels))
    confusion = _confusion_counts(sample, n_groups)
    rankings = [_ranking_counts(sample, target, n_groups) for target in sample.ranked]
    parts = [
        _scores(sample, drawn, confusion, rankings)
        for drawn in draws(n_groups, resamples, seed, at_once)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def draws(
    groups: int, resamples: int, seed: int, at_once: int = 1000
) -> Iterator[NDArray[np.float64]]:
    """How often each group is drawn, (G, b) with b ≤ `at_once`, until `resamples` columns are out.

    Every column sums to G. The numbers depend on the seed alone, not on `at_once`.
    """
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, at_once):
        count = min(at_once, resamples - start)
        picks = rng.integers(0, groups, size=(count, groups), dtype=np.int64)
        cells = picks * count + np.arange(count)[:, None]
        drawn = np.bincount(cells.ravel(), minlength=groups * count)
        yield drawn.reshape(groups, count).astype(np.float64)


def interval(values: NDArray[np.float64], level: float) -> tuple[float, float] | None:
    """The percentile interval of (B,) resampled values, NaN left out.

    None where more than half are NaN, for then the rest is a selection.
    """
    defined = values[~np.isnan(values)]
    if defined.size == 0 or 2 * defined.size < values.size:
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


# --- Weighted counts ------------------------------------------------------------------------


def _counts(
    cells: NDArray[np.int64], sample: Sample, keep: NDArray[np.bool_], shape: tuple[int, int]
) -> sparse.csr_array:
    """Weight of each (cell, group) over the rows to keep."""
    where = (cells[keep], sample.groups[keep])
    return sparse.coo_array((sample.weights[keep], where), shape=shape).tocsr()


def _confusion_counts(sample: Sample, n_groups: int) -> sparse.csr_array:
    classes = sample.probabilities.shape[1]
    cells = sample.labels * classes + sample.called
    return _counts(cells, sample, np.ones(len(cells), bool), (classes * classes, n_groups))


def _ranking_counts(
    sample: Sample, target: int, n_groups: int
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Weights of the target's files and of the rest, per distinct probability, highest first."""
    distinct, ranks = np.unique(-sample.probabilities[:, target], return_inverse=True)
    mine, shape = sample.labels == target, (len(distinct), n_groups)
    return _counts(ranks, sample, mine, shape), _counts(ranks, sample, ~mine, shape)


# --- Scores from counts ---------------------------------------------------------------------


def _scores(
    sample: Sample,
    drawn: NDArray[np.float64],
    confusion: sparse.csr_array,
    rankings: list[tuple[sparse.csr_array, sparse.csr_array]],
) -> dict[str, NDArray[np.float64]]:
    classes = sample.probabilities.shape[1]
    cells = (confusion @ drawn).T.reshape(-1, classes, classes)
    scores = counted_scores(cells)
    ranked = [(mine @ drawn, rest @ drawn) for mine, rest in rankings]
    several = sample.present.sum() > 1
    recalls = scores["sensitivity"][:, sample.present]
    undefined = np.full(drawn.shape[1], np.nan)
    return {
        **scores,
        "balanced_accuracy": recalls.mean(axis=1) if several else undefined,
        "f1_macro": scores["f1"][:, sample.occurring].mean(axis=1),
        "roc_auc": np.mean([roc_auc(*pair) for pair in ranked], axis=0) if ranked else undefined,
        "pr_auc": np.mean([pr_auc(*pair) for pair in ranked], axis=0) if ranked else undefined,
    }


def counted_scores(confusions: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Accuracy (B,) and the scores of each class (B, K) from confusion matrices (B, K, K).

    Rows are true, columns called. 0/0 is NaN. Counts that must vanish are summed from zeros
    instead of subtracted, since weights such as 1/3 leave a remainder.
    """
    other = 1 - np.eye(confusions.shape[1])
    hits = np.diagonal(confusions, axis1=1, axis2=2)
    true, called = confusions.sum(axis=2), confusions.sum(axis=1)
    false_alarms, rest = (confusions * other).sum(axis=1), true @ other
    with np.errstate(invalid="ignore"):
        return {
            "accuracy": hits.sum(axis=1) / true.sum(axis=1),
            "f1": 2 * hits / (true + called),
            "sensitivity": hits / true,
            "specificity": 1 - false_alarms / rest,
            "precision": hits / called,
        }


def roc_auc(mine: NDArray[np.float64], rest: NDArray[np.float64]) -> NDArray[np.float64]:
    """Chance that a file of the class ranks above another, ties counting half, (B,).

    Shapes: weights per distinct probability, highest first, (T, B). NaN where a side is empty.
    """
    above = np.cumsum(mine, axis=0) - mine / 2
    with np.errstate(invalid="ignore"):
        wins = (rest * above).sum(axis=0)
        area: NDArray[np.float64] = wins / (mine.sum(axis=0) * rest.sum(axis=0))
    return area


def pr_auc(mine: NDArray[np.float64], rest: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average precision, Σ (Rₙ - Rₙ₋₁) Pₙ over the distinct probabilities, (B,).

    Shapes as in `roc_auc`. NaN where a side is empty: precision says nothing without a rest.
    """
    hits, alarms = np.cumsum(mine, axis=0), np.cumsum(rest, axis=0)
    both = (mine.sum(axis=0) > 0) & (rest.sum(axis=0) > 0)
    precision = hits / np.where(hits + alarms > 0, hits + alarms, 1)
    steps: NDArray[np.float64] = (mine * precision).sum(axis=0)
    return np.where(both, steps / np.where(both, mine.sum(axis=0), 1), np.nan)
