"""Confident learning: which given labels out-of-sample probabilities contradict.

Source: Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset
labels", JAIR 70, 2021, section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clearhead.errors import ManifestError

HAIR = 1e-6
"""A probability that misses a threshold by no more reaches it: float32 knows no better."""


@dataclass(frozen=True)
class Doubt:
    """What probabilities say of N given labels.

    Shapes: `contradicted`, `suggested`, `self_confidence` and `margin` are (N,), `thresholds` (K,),
    `joint` (K, K).
    """

    contradicted: NDArray[np.bool_]
    """Whether the picture surely looks like another class than its label's."""
    suggested: NDArray[np.int64]
    """The class that it looks like most."""
    self_confidence: NDArray[np.float64]
    """Probability of the given label."""
    margin: NDArray[np.float64]
    """Probability of the given label less the largest of the others, -1 to 1."""
    thresholds: NDArray[np.float64]
    """Mean probability of each class over the pictures labelled so; infinite without any."""
    joint: NDArray[np.int64]
    """The confident joint: pictures by given label (row) and by the class they surely look like."""

    def ranked(self) -> NDArray[np.int64]:
        """The contradicted rows, least self-confidence first, then least margin."""
        order = np.lexsort((self.margin, self.self_confidence))
        ranked: NDArray[np.int64] = order[self.contradicted[order]]
        return ranked


def doubt(labels: ArrayLike, probabilities: ArrayLike) -> Doubt:
    """Hold out-of-sample probabilities (N, K) against given labels (N,), class indices.

    A picture surely looks like class j where its probability of j reaches the mean over the
    pictures labelled j, and where several classes are reached, like the likeliest of them. A label
    is contradicted where that class is another one and the likeliest class of all is another one
    too. A class that is called with less conviction thereby has a lower bar.

    Errors: `ManifestError` for shapes that don't fit, no rows, or labels that are no classes.
    """
    given, table = np.asarray(labels), np.asarray(probabilities, np.float64)
    _check(given, table)
    rows, classes = np.arange(len(given)), table.shape[1]
    thresholds = np.array(
        [table[given == k, k].mean() if (given == k).any() else np.inf for k in range(classes)]
    )
    reached = table >= thresholds - HAIR
    looks = np.where(reached, table, -np.inf).argmax(1)
    sure = reached.any(1)
    likeliest = table.argmax(1)
    joint = np.zeros((classes, classes), np.int64)
    np.add.at(joint, (given[sure], looks[sure]), 1)
    others = table.copy()
    others[rows, given] = -np.inf
    own = table[rows, given]
    return Doubt(
        contradicted=sure & (looks != given) & (likeliest != given),
        suggested=others.argmax(1) if classes > 1 else given.astype(np.int64),
        self_confidence=own,
        margin=own - (others.max(1) if classes > 1 else 0.0),
        thresholds=thresholds,
        joint=joint,
    )


def _check(given: NDArray[np.int64], table: NDArray[np.float64]) -> None:
    if table.ndim != 2 or given.shape != (len(table),) or not len(table):
        raise ManifestError(
            f"labels have the shape {given.shape} and probabilities {table.shape}: expected a row "
            "per label and a column per class"
        )
    if given.min() < 0 or given.max() >= table.shape[1]:
        raise ManifestError(
            f"labels run from {given.min()} to {given.max()}: expected 0 to {table.shape[1] - 1}"
        )
