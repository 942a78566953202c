"""The score to beat: what the facts of a file give away before anyone looks at the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from clearhead.errors import ManifestError
from clearhead.measure.scores import Baseline, score

FACTS = ("format", "mode", "width", "height")
"""The facts that a report's score to beat is made of."""
MOST_CATEGORIES = 200
"""Values of a fact told apart (the learner takes 255); rarer ones count as unknown."""
LEAF = 20
"""Fewest training files behind a decision, where there are plenty."""


def score_to_beat(
    train_facts: Mapping[str, NDArray[Any]],
    train_labels: ArrayLike,
    test_facts: Mapping[str, NDArray[Any]],
    test_labels: ArrayLike,
    test_groups: ArrayLike,
    *,
    classes: Sequence[str],
    positive: str | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Baseline:
    """What gradient-boosted trees get from file facts alone on the same split, and the majority.

    Facts are columns of one length: numbers are taken as numbers, everything else as categories;
    NaN, None and values unseen in training are unknown, which the trees treat as a value of its
    own. Scores and intervals as in `scores.score`, from the same draws for the same seed.

    Errors: `ManifestError` for no training files, no facts or columns that don't fit.
    """
    labels = np.asarray(train_labels)
    if labels.size == 0:
        raise ManifestError("there is no score to beat: no training files; split the manifest")
    _check_columns(train_facts, test_facts, len(labels), len(np.asarray(test_labels)))

    def scored(probabilities: NDArray[np.float64]) -> Any:
        return score(
            test_labels,
            probabilities,
            test_groups,
            classes=classes,
            positive=positive,
            resamples=resamples,
            level=level,
            seed=seed,
        )

    majority = int(np.bincount(labels, minlength=len(classes)).argmax())
    known = scored(fact_probabilities(train_facts, labels, test_facts, len(classes), seed=seed))
    always = scored(np.tile(np.eye(len(classes))[majority], (known.files, 1)))
    return Baseline(
        facts=tuple(train_facts),
        per_file=known.per_file,
        per_group=known.per_group,
        majority=classes[majority],
        majority_per_file=always.per_file.accuracy,
        majority_per_group=always.per_group.accuracy,
    )


def fact_probabilities(
    train_facts: Mapping[str, NDArray[Any]],
    train_labels: NDArray[np.int64],
    test_facts: Mapping[str, NDArray[Any]],
    classes: int,
    *,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Probability of each class given a file's facts, (N, K); 0 for classes unseen in training.

    Where training holds one class or knows no fact, these are the shares of the classes in it.
    """
    seen = np.unique(train_labels)
    table = tabulated(train_facts, test_facts)
    probabilities = np.zeros((len(table.test), classes))
    if len(seen) == 1 or not table.categorical:
        probabilities[:] = np.bincount(train_labels, minlength=classes) / len(train_labels)
        return probabilities
    trees = HistGradientBoostingClassifier(
        categorical_features=list(table.categorical),
        min_samples_leaf=int(np.clip(len(table.train) // 20, 1, LEAF)),
        early_stopping=False,  # it would hold files back, of which a small set has none to spare
        random_state=seed,
    )
    probabilities[:, seen] = trees.fit(table.train, train_labels).predict_proba(table.test)
    return probabilities


@dataclass(frozen=True)
class Tabulated:
    """Training and test columns as numbers, NaN where unknown, and which of them are categories.

    Shapes: `train` (N, D), `test` (M, D), `categorical` D flags. Columns of which training knows
    nothing are left out, so D may be 0.
    """

    train: NDArray[np.float64]
    test: NDArray[np.float64]
    categorical: tuple[bool, ...]


def tabulated(train: Mapping[str, NDArray[Any]], test: Mapping[str, NDArray[Any]]) -> Tabulated:
    """Columns as a table for trees: numbers as they are, categories numbered by frequency.

    Each column is (N,) or, where several numbers belong together, (N, d). Categories are those of
    training; rarer ones than the `MOST_CATEGORIES` most frequent, and unseen ones, are unknown.
    """
    encoded = [_encode(np.asarray(train[name]), np.asarray(test[name])) for name in train]
    sides = [
        np.column_stack([np.empty((len(next(iter(columns.values()))), 0)), *own])
        for columns, own in (
            (train, [column for column, _, _ in encoded]),
            (test, [column for _, column, _ in encoded]),
        )
    ]
    finite = [np.where(np.isfinite(side), side, np.nan) for side in sides]
    kinds = np.repeat([kind for _, _, kind in encoded], [_width(own) for own, _, _ in encoded])
    told = ~np.isnan(finite[0]).all(axis=0)
    return Tabulated(finite[0][:, told], finite[1][:, told], tuple(kinds[told].tolist()))


def _width(column: NDArray[Any]) -> int:
    return 1 if column.ndim == 1 else int(column.shape[1])


def _encode(
    train: NDArray[Any], test: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
    """Both columns as numbers, NaN where unknown, and whether they are categories."""
    if all(np.issubdtype(column.dtype, np.number) for column in (train, test)):
        return np.asarray(train, dtype=np.float64), np.asarray(test, dtype=np.float64), False
    names = np.array([str(value) for value in train if _known(value)], dtype=object)
    values, counts = np.unique(names, return_counts=True)
    frequent = values[np.argsort(-counts, kind="stable")][:MOST_CATEGORIES]
    place = {value: float(index) for index, value in enumerate(frequent)}
    return _placed(train, place), _placed(test, place), True


def _placed(column: NDArray[Any], place: Mapping[str, float]) -> NDArray[np.float64]:
    return np.array(
        [place.get(str(value), np.nan) if _known(value) else np.nan for value in column],
        dtype=np.float64,
    )


def _known(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and np.isnan(value))


def _check_columns(
    train: Mapping[str, NDArray[Any]], test: Mapping[str, NDArray[Any]], n_train: int, n_test: int
) -> None:
    if not train:
        raise ManifestError(f"no facts were given: expected columns such as {', '.join(FACTS)}")
    for name, column in train.items():
        if name not in test:
            raise ManifestError(f"the test files lack the fact {name!r} that training has")
        if len(column) != n_train or len(test[name]) != n_test:
            raise ManifestError(
                f"the fact {name!r} has {len(column)} training and {len(test[name])} test values: "
                f"expected {n_train} and {n_test}, one per label"
            )
