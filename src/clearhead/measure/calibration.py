"""Calibration: whether 80 % means 80 %, and the temperature that makes it so.

Every group counts once: a picture with 80 copies says no more than one without.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 10
"""Bins of equal width in which said and true shares are compared."""

PRIOR = 1.0
"""Spread of the log of a temperature that is believed before any picture is seen.

Hardly felt with a hundred groups; with few, or where all calls are right, it keeps the temperature
from running to 0.
"""

LIMITS = (0.05, 20.0)


def temperature(logits: ArrayLike, labels: ArrayLike, groups: ArrayLike) -> float:
    """The temperature by which logits (N, K) fit labels (N,) best: the divisor of the logits.

    Minimises the cross-entropy, each group counting once. Source: Guo et al., "On calibration of
    modern neural networks", ICML 2017, section 4.2. It changes no call. 1 where there is one class.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    values, known = np.asarray(logits, np.float64), np.asarray(labels)
    if len(np.unique(known)) < 2:
        return 1.0
    weights = once_a_group(groups)

    def loss(log: float) -> float:
        said = log_softmax(values / np.exp(log), axis=1)[np.arange(len(known)), known]
        return float(-(weights * said).sum() + 0.5 * (log / PRIOR) ** 2)

    found = minimize_scalar(loss, bounds=tuple(np.log(LIMITS)), method="bounded")
    return float(np.exp(found.x))


def once_a_group(groups: ArrayLike) -> NDArray[np.float64]:
    """One over the size of each row's group, (N,)."""
    _, place, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    each: NDArray[np.float64] = 1.0 / sizes[place]
    return each


@dataclass(frozen=True)
class Reliability:
    """What was said against what was true, in bins of the probability of one class.

    Shapes: `said`, `true` and `weight` (M,), of the M bins that hold any picture: mean probability,
    share of the class, and sum of weights.
    """

    said: NDArray[np.float64]
    true: NDArray[np.float64]
    weight: NDArray[np.float64]

    @property
    def error(self) -> float:
        """Expected calibration error: the mean distance of said and true, by weight."""
        return float(np.average(np.abs(self.said - self.true), weights=self.weight))


def reliability(probabilities: ArrayLike, true: ArrayLike, groups: ArrayLike) -> Reliability:
    """Reliability of probabilities (N,) of a class, of which `true` (N,) says who has it.

    Source: Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", AAAI
    2015.
    """
    said, has = np.asarray(probabilities, np.float64), np.asarray(true, np.float64)
    weights = once_a_group(groups)
    place = np.minimum((said * BINS).astype(int), BINS - 1)
    weight = np.bincount(place, weights, BINS).astype(np.float64)
    some = weight > 0
    return Reliability(
        np.bincount(place, weights * said, BINS)[some] / weight[some],
        np.bincount(place, weights * has, BINS)[some] / weight[some],
        weight[some],
    )


def brier(probabilities: ArrayLike, true: ArrayLike, groups: ArrayLike) -> float:
    """The mean squared distance of the probability of a class (N,) from the truth.

    0 is perfect, 0.25 what always saying one half gets.
    """
    wrong = np.asarray(probabilities, np.float64) - np.asarray(true, np.float64)
    return float(np.average(wrong**2, weights=once_a_group(groups)))
