"""How well the class can be read from a table of numbers that should know nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clearhead.errors import ManifestError, RecipeError
from clearhead.measure.baseline import Tabulated, tabulated
from clearhead.measure.scores import Scores, score

FEWEST_GROUPS = 10
"""Groups that every class must have for a probe to say anything."""
MOST_GROUPS = 4000
"""Groups that a probe looks at; of more, so many are drawn."""
MOST_COPIES = 4
"""Files of one group that a probe learns from: a picture with 80 copies has little more to say."""
ROUNDS = 60
"""Rounds of boosting: trees per class."""
LEAVES = 8
"""Most leaves of a boosted tree."""
BINS = 255
"""Values of a number told apart; as many categories as `baseline.MOST_CATEGORIES` fit in."""
TREES = 32
"""Trees of a forest; twice as many read hardly more (AUC 0.949 and 0.944) at twice the cost."""
FOREST_LEAF = 2
"""Fewest files behind a decision of a forest."""


# --- The noun -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Probe:
    """How well the class can be read, on pictures whose copies were kept out of training.

    `files` and `groups` say how many were looked at. `per_file` counts every file once,
    `per_group` every group once; `majority_per_file`, `majority_per_group` are the accuracies of
    calling the most frequent class every time. `p` is the chance of reading the class as well
    from pictures that know nothing of it. Where it can't be told, `silent` says why, and scores
    and `p` are None.
    """

    files: int
    groups: int
    per_file: Scores | None = None
    per_group: Scores | None = None
    majority_per_file: float | None = None
    majority_per_group: float | None = None
    p: float | None = None
    silent: str = ""


@dataclass(frozen=True)
class _Rows:
    """The rows looked at: class index, group number without gaps and fold of each; (N,)."""

    columns: dict[str, NDArray[Any]]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    folds: NDArray[np.int64]
    group_labels: NDArray[np.int64]
    """Class of most files of each group, (G,)."""
    group_folds: NDArray[np.int64]
    """Fold of each group, (G,)."""

    def side(self, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return {name: column[rows] for name, column in self.columns.items()}


# --- Probing --------------------------------------------------------------------------------


def probe(
    columns: Mapping[str, NDArray[Any]],
    labels: ArrayLike,
    groups: ArrayLike,
    *,
    classes: Sequence[str],
    learner: str = "trees",
    folds: int = 5,
    resamples: int = 1000,
    permutations: int = 1000,
    seed: int = 0,
    most_groups: int = MOST_GROUPS,
) -> Probe:
    """How well a learner of `LEARNERS` reads the class from `columns`.

    Shapes: columns are (N,) numbers or categories, or (N, d) numbers; `labels` (N,) class indices,
    `groups` (N,) any values. Folds hold whole groups, and their share of each class; in training
    every group weighs 1. Scores as in `scores.score`, on the fold that was held out; intervals
    come from drawing groups, with the learnt functions as they are.

    `p` tests that, given what is seen, the classes of the groups of a fold could be exchanged. The
    predictions of cross-validation won't do for that: each fold's labels trained the functions
    that read the others, so their AUC varies more under chance than shuffling the labels
    beside fixed predictions shows (half of the variance is missed; for accuracies see Noirhomme
    et al., *NeuroImage: Clinical* 2014). So each fold after the first is read by a function learnt
    from the folds before it alone. Its labels had no part in that function, so shuffling them
    there gives an exact p-value without learning again; those of the folds, which share out the
    `permutations`, are independent of each other and are joined by Stouffer's sum.

    Errors: `ManifestError` for no rows or columns that don't fit, `RecipeError` for an unknown
    learner or impossible numbers.
    """
    _check(columns, np.asarray(labels), np.asarray(groups), learner, folds, permutations)
    rows = _rows(columns, np.asarray(labels), np.asarray(groups), folds, most_groups, seed)
    files, counts = len(rows.labels), np.bincount(rows.group_labels, minlength=len(classes))
    present = np.flatnonzero(counts)
    fewest = max(FEWEST_GROUPS, folds)
    if len(present) < 2 or counts[present].min() < fewest:
        return Probe(files, int(counts.sum()), silent=_why_silent(counts, classes, fewest))
    learn = LEARNERS[learner]
    held = _held_out(rows, learn, len(classes), folds, seed)
    evaluation = score(
        rows.labels, held, rows.groups, classes=classes, resamples=resamples, seed=seed
    )
    weights = _weights(rows.groups)
    return Probe(
        files=files,
        groups=int(counts.sum()),
        per_file=evaluation.per_file,
        per_group=evaluation.per_group,
        majority_per_file=float(np.bincount(rows.labels).max() / files),
        majority_per_group=float(np.bincount(rows.labels, weights).max() / weights.sum()),
        p=_chance(rows, learn, held, folds, permutations, seed),
    )


def _why_silent(counts: NDArray[np.int64], classes: Sequence[str], fewest: int) -> str:
    present = np.flatnonzero(counts)
    if len(present) == 0:
        return "there are no labelled pictures"
    if len(present) == 1:
        return f"all pictures are {classes[present[0]]}"
    least = present[counts[present].argmin()]
    noun = "picture" if counts[least] == 1 else "pictures"
    return (
        f"{classes[least]} has {counts[least]} distinct {noun}, and {fewest} of every class are "
        "needed"
    )


def _check(
    columns: Mapping[str, NDArray[Any]],
    labels: NDArray[Any],
    groups: NDArray[Any],
    learner: str,
    folds: int,
    permutations: int,
) -> None:
    if learner not in LEARNERS:
        raise RecipeError(f"no learner is called {learner!r}: expected {', '.join(LEARNERS)}")
    if folds < 2 or permutations < 1:
        raise RecipeError(
            f"folds is {folds} and permutations {permutations}: expected at least 2 and 1"
        )
    if not columns:
        raise ManifestError("there is nothing to read the class from: no columns were given")
    for name, column in {**columns, "groups": groups}.items():
        if len(column) != len(labels):
            raise ManifestError(
                f"{name} has {len(column)} rows: expected {len(labels)}, one per label"
            )


# --- Rows and folds -------------------------------------------------------------------------


def _rows(
    columns: Mapping[str, NDArray[Any]],
    labels: NDArray[np.int64],
    groups: NDArray[Any],
    folds: int,
    most_groups: int,
    seed: int,
) -> _Rows:
    """The rows of at most `most_groups` groups, each group dealt to a fold."""
    rng = np.random.default_rng([seed, 1])
    _, member = np.unique(groups, return_inverse=True)
    total = int(member.max(initial=-1)) + 1
    if total > most_groups:
        chosen = np.zeros(total, dtype=bool)
        chosen[rng.permutation(total)[:most_groups]] = True
        rows = np.flatnonzero(chosen[member])
    else:
        rows = np.arange(len(member))
    _, member = np.unique(member[rows], return_inverse=True)
    own = np.asarray(labels[rows], dtype=np.int64)
    of_group = _majorities(own, member)
    dealt = _dealt(of_group, folds, rng)
    table = {name: np.asarray(column[rows]) for name, column in columns.items()}
    return _Rows(table, own, member, dealt[member], of_group, dealt)


def _majorities(labels: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Class of most files of each group, the first in a tie, (G,)."""
    if not len(labels):
        return np.zeros(0, dtype=np.int64)
    table = np.zeros((int(groups.max()) + 1, int(labels.max()) + 1), dtype=np.int64)
    np.add.at(table, (groups, labels), 1)
    majorities: NDArray[np.int64] = table.argmax(axis=1)
    return majorities


def _dealt(labels: NDArray[np.int64], folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Fold of each group, (G,): at random, each class spread evenly over the folds."""
    dealt = np.empty(len(labels), dtype=np.int64)
    start = 0
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        dealt[members] = (start + np.arange(len(members))) % folds
        start += len(members)  # so that the first folds don't get every class's remainder
    return dealt


def _weights(groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """1 / files of its group for each row, (N,)."""
    weights: NDArray[np.float64] = 1.0 / np.bincount(groups)[groups]
    return weights


def _few_copies(groups: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions of at most `MOST_COPIES` rows of each group, drawn at random, in order."""
    order = rng.permutation(len(groups))
    order = order[np.argsort(groups[order], kind="stable")]
    ordered = groups[order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    place = np.arange(len(ordered)) - np.repeat(first, np.diff(np.r_[first, len(ordered)]))
    return np.sort(order[place < MOST_COPIES])


# --- Learning -------------------------------------------------------------------------------

Learner = Callable[[Tabulated, NDArray[np.int64], NDArray[np.float64], int], NDArray[np.float64]]
"""From a table, labels (n,) and weights (n,) of its training side and a seed to probabilities of
the classes in training, in order, of the test side."""


def trees(
    table: Tabulated, labels: NDArray[np.int64], weights: NDArray[np.float64], seed: int
) -> NDArray[np.float64]:
    """Gradient-boosted trees: finds thresholds and categories, in few or many columns."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    learnt = HistGradientBoostingClassifier(
        categorical_features=list(table.categorical),
        max_iter=ROUNDS,
        max_leaf_nodes=LEAVES,
        max_bins=BINS,
        min_samples_leaf=int(np.clip(len(labels) // 20, 1, 20)),
        early_stopping=False,
        random_state=seed,
    ).fit(table.train, labels, sample_weight=weights)
    probabilities: NDArray[np.float64] = learnt.predict_proba(table.test)
    return probabilities


def forest(
    table: Tabulated, labels: NDArray[np.int64], weights: NDArray[np.float64], seed: int
) -> NDArray[np.float64]:
    """Extremely randomised trees: for many columns of one kind, such as a coarse picture.

    Source: Geurts, Ernst and Wehenkel, *Extremely randomized trees* (2006). On coarse pictures
    they read more than boosted trees at a quarter of the cost, and far more than a linear model.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    known = table.train[np.isfinite(table.train)]
    unknown = known.min(initial=0.0) - 1.0  # a value of its own, as for boosted trees
    train, test = (np.where(np.isnan(side), unknown, side) for side in (table.train, table.test))
    learnt = ExtraTreesClassifier(
        TREES, min_samples_leaf=FOREST_LEAF, n_jobs=1, random_state=seed
    ).fit(train, labels, sample_weight=weights)
    probabilities: NDArray[np.float64] = learnt.predict_proba(test)
    return probabilities


LEARNERS: dict[str, Learner] = {"trees": trees, "forest": forest}
"""What reads the class."""


def _read(
    rows: _Rows,
    train: NDArray[np.bool_],
    test: NDArray[np.bool_],
    learn: Learner,
    classes: int,
    seed: int,
) -> NDArray[np.float64]:
    """Probabilities of the test rows, (M, K), by a function learnt from the training rows."""
    places = np.flatnonzero(train)
    places = places[_few_copies(rows.groups[places], np.random.default_rng([seed, 2]))]
    labels, weights = rows.labels[places], _group_weights(rows.groups[places])
    probabilities = np.zeros((int(test.sum()), classes))
    table = tabulated(rows.side(places), rows.side(test))
    seen = np.unique(labels)
    if len(seen) == 1 or not table.categorical:
        shares = np.bincount(labels, weights, minlength=classes)
        probabilities[:] = shares / shares.sum()
    else:
        probabilities[:, seen] = learn(table, labels, weights, seed)
    return probabilities


def _group_weights(groups: NDArray[np.int64]) -> NDArray[np.float64]:
    _, numbers = np.unique(groups, return_inverse=True)
    return _weights(numbers)


def _held_out(
    rows: _Rows, learn: Learner, classes: int, folds: int, seed: int
) -> NDArray[np.float64]:
    """Probabilities of every row by a function that saw nothing of its fold, (N, K)."""
    held = np.empty((len(rows.labels), classes))
    for fold in range(folds):
        test = rows.folds == fold
        held[test] = _read(rows, ~test, test, learn, classes, seed)
    return held


# --- Chance ---------------------------------------------------------------------------------


def _chance(
    rows: _Rows,
    learn: Learner,
    held: NDArray[np.float64],
    folds: int,
    permutations: int,
    seed: int,
) -> float:
    """The p-value described in `probe`."""
    pieces, shuffles = [], -(-permutations // (folds - 1))
    for fold in range(1, folds):
        test = rows.folds == fold
        if fold == folds - 1:
            table = held[test]  # all the folds before the last are all the folds but the last
        else:
            table = _read(rows, rows.folds < fold, test, learn, held.shape[1], seed)
        groups = np.flatnonzero(rows.group_folds == fold)
        means = _group_means(table, np.searchsorted(groups, rows.groups[test]), len(groups))
        rng = np.random.default_rng([seed, 3, fold])
        pieces.append(permuted_p(means, rows.group_labels[groups], shuffles, rng))
    return stouffer(pieces)


def _group_means(
    table: NDArray[np.float64], groups: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    sums = np.stack([np.bincount(groups, column, minlength=count) for column in table.T], axis=1)
    means: NDArray[np.float64] = sums / np.bincount(groups, minlength=count)[:, None]
    return means


def permuted_p(
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    permutations: int,
    rng: np.random.Generator,
) -> float:
    """Share of shuffles of the labels whose AUC is as high as that of the labels as they are.

    Shapes: `probabilities` (n, K), `labels` (n,). The AUC is the mean over the classes present,
    each against the rest. The labels as they are count as one more shuffle, and equals count half
    (the mid-p value), so that p has the mean 0.5 under chance; 0.5 where nothing can be ranked.
    """
    from scipy.stats import rankdata

    classes = np.unique(labels)
    if len(classes) < 2:
        return 0.5
    ranks = rankdata(probabilities[:, classes], axis=0)
    shuffled = rng.permuted(np.tile(labels, (permutations, 1)), axis=1)
    drawn = _mean_auc(shuffled, ranks, classes)
    real = _mean_auc(labels[None, :], ranks, classes)[0]
    equal = np.abs(drawn - real) < 1e-12
    return float(((drawn > real + 1e-12).sum() + (equal.sum() + 1) / 2) / (permutations + 1))


def _mean_auc(
    labels: NDArray[np.int64], ranks: NDArray[np.float64], classes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mean AUC under each row of labels (P, n), by the sum of ranks (Mann and Whitney), (P,)."""
    count = labels.shape[1]
    areas = []
    for column, label in enumerate(classes):
        mine = labels == label
        own = int(mine[0].sum())
        above = mine.astype(np.float64) @ ranks[:, column] - own * (own + 1) / 2
        areas.append(above / (own * (count - own)))
    mean: NDArray[np.float64] = np.mean(areas, axis=0)
    return mean


def stouffer(pieces: Sequence[float]) -> float:
    """One p-value of several independent ones: the normal tail of their summed quantiles."""
    from scipy.stats import norm

    return float(norm.sf(norm.isf(np.asarray(pieces)).sum() / np.sqrt(len(pieces))))


def holm(pieces: Sequence[float]) -> list[float]:
    """Each p-value, adjusted so that one false alarm among all is as rare as it says.

    Source: S. Holm, *A simple sequentially rejective multiple test procedure* (1979).
    """
    count = len(pieces)
    adjusted, least = [0.0] * count, 0.0
    for rank, place in enumerate(np.argsort(pieces, kind="stable").tolist()):
        least = max(least, min(1.0, (count - rank) * pieces[place]))
        adjusted[place] = least
    return adjusted
