"""Calibration: temperature and bias with which 80 % means 80 %, and how nearly it does.

Every group counts once: a picture with 80 copies says no more than one without.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clearhead.measure.bootstrap import CELLS_AT_ONCE
from clearhead.measure.groupwise import mean, weights
from clearhead.measure.precision import wilson
from clearhead.measure.scores import Bin, Reliability, Score

PRIOR = 1.0
"""Spread of the log of a temperature, and of a bias, believed before any picture is seen.

Hardly felt with a hundred groups; with few, or where all calls are right, it keeps the temperature
from running to 0, and the bias from going far.
"""

LIMITS = (0.05, 20.0)

BINS = 10
"""Most bins of a reliability diagram; each holds the same number of groups."""
LEAST = 10
"""Fewest groups in a bin."""


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
    each = weights(np.asarray(groups))

    def loss(log: float) -> float:
        said = log_softmax(values / np.exp(log), axis=1)[np.arange(len(known)), known]
        return float(-(each * said).sum() + 0.5 * (log / PRIOR) ** 2)

    found = minimize_scalar(loss, bounds=tuple(np.log(LIMITS)), method="bounded")
    return float(np.exp(found.x))


def bias_corrected(
    logits: ArrayLike, labels: ArrayLike, groups: ArrayLike
) -> tuple[float, NDArray[np.float64]]:
    """Temperature T and bias b (K,), summing to 0, with which softmax((z + b) / T) fits best.

    The bias takes back what a training that saw the classes alike often says of how often each is.
    Shapes and weights as for `temperature`. Source: Alexandari, Kundaje and Shrikumar, "Maximum
    likelihood with bias-corrected calibration is hard-to-beat at label shift adaptation", ICML
    2020. 1 and zeros where there is one class.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    values, known = np.asarray(logits, np.float64), np.asarray(labels)
    classes = values.shape[1]
    if len(np.unique(known)) < 2:
        return 1.0, np.zeros(classes)
    each = weights(np.asarray(groups))

    def told(free: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        bias = np.append(free[1:], -free[1:].sum())
        return float(np.exp(free[0])), bias

    def loss(free: NDArray[np.float64]) -> float:
        warmth, bias = told(free)
        said = log_softmax(values / warmth + bias, axis=1)[np.arange(len(known)), known]
        held = (free[0] / PRIOR) ** 2 + ((bias / PRIOR) ** 2).sum()
        return float(-(each * said).sum() + 0.5 * held)

    limits = [tuple(np.log(LIMITS)), *[(-10.0, 10.0)] * (classes - 1)]
    warmth, bias = told(minimize(loss, np.zeros(classes), method="L-BFGS-B", bounds=limits).x)
    return warmth, warmth * bias


def specific_bias(
    logits: ArrayLike, labels: ArrayLike, groups: ArrayLike, absent: int, share: float = 0.95
) -> NDArray[np.float64]:
    """What to add to logits (N, 2) so that a new group of class `absent` is called so.

    By `share`, the chance of that. Known is how pictures without a finding look; what there is to
    find may look otherwise elsewhere, and takes no part. Of a group its worst copy counts, and of n
    groups the ⌈share · (n + 1)⌉-th, which keeps the promise for a group of the same kind (with too
    few, 19 for 0.95, the worst, which is less). Zeros where no group is of that class.
    Source: Tong, Feng and Li, "Neyman-Pearson classification algorithms and NP receiver operating
    characteristics", Science Advances 4, 2018.
    """
    values, well = np.asarray(logits, np.float64), np.asarray(labels) == absent
    if not well.any():
        return np.zeros(2)
    margins = (values[:, 1 - absent] - values[:, absent])[well]
    _, place = np.unique(np.asarray(groups)[well], return_inverse=True)
    worst = np.full(place.max() + 1, -np.inf)
    np.maximum.at(worst, place, margins)
    count = len(worst)
    rank = min(count, int(np.ceil(round(share * (count + 1), 9))))
    limit = float(np.sort(worst)[rank - 1]) + 1e-4  # what lies on it is called absent
    bias = np.full(2, -limit / 2)
    bias[absent] = limit / 2
    return bias


def reliability(
    labels: ArrayLike,
    probabilities: ArrayLike,
    groups: ArrayLike,
    *,
    classes: tuple[str, ...],
    positive: str,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Reliability:
    """How nearly probabilities (N, K) are true of labels (N,), each group counting once.

    The Brier score is half the squared distance between the probabilities and the truth, for two
    classes (p - y)². The expected calibration error is the mean over bins of |told - true|, by
    their weight. Bins are of equal mass: of the probability of `positive` for two classes, of the
    class called for more. The interval of a bin is Wilson's, its groups being the witnesses, so
    that it has a width where all came true; that of the Brier score comes from drawing groups.

    The error has no interval, for drawing groups again adds to it: it is beside what it would be
    were all probabilities true. For that the labels are drawn from them, one draw a group so that
    copies go together (J. Bröcker and L. A. Smith, *Increasing the reliability of reliability
    diagrams*, Weather and Forecasting 22, 2007; here the probabilities stay). Shapes: groups (N,).
    """
    table, known = np.asarray(probabilities, np.float64), np.asarray(labels)
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    each = weights(member)
    two = len(classes) == 2
    target = np.full(len(known), classes.index(positive)) if two else table.argmax(1)
    told, true = table[np.arange(len(known)), target], known == target
    bins = binned(told, each)
    off = ((table - np.eye(len(classes))[known]) ** 2).sum(1) / 2
    return Reliability(
        positive if two else None,
        mean(off, member, resamples=resamples, seed=seed, level=level),
        float(_error(bins, each, told, true[:, None])[0]),
        _by_chance(bins, member, told, resamples, level, seed),
        tuple(_bin(bins == place, each, told, true, level) for place in np.unique(bins)),
    )


def binned(values: NDArray[np.float64], each: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number of the bin of equal mass that each value falls in, (N,); equal values share one.

    `each` (N,) is what a value weighs. There are up to `BINS`, and no more than leave `LEAST` in
    each; one may be empty where many values are equal.
    """
    _, place = np.unique(values, return_inverse=True)
    mass = np.bincount(place, weights=each)
    middle = (np.cumsum(mass) - mass / 2) / mass.sum()
    count = max(1, min(BINS, int(round(mass.sum(), 6) // LEAST)))
    bins: NDArray[np.int64] = np.floor(middle * count).astype(np.int64)
    return bins[place]


def _bin(
    inside: NDArray[np.bool_],
    each: NDArray[np.float64],
    told: NDArray[np.float64],
    true: NDArray[np.bool_],
    level: float,
) -> Bin:
    count = float(each[inside].sum())
    hits = min(float(each[inside & true].sum()), count)
    mean_told = float(np.average(told[inside], weights=each[inside]))
    return Bin(mean_told, Score(hits / count, *wilson(hits, count, level)), count)


def _error(
    bins: NDArray[np.int64],
    each: NDArray[np.float64],
    told: NDArray[np.float64],
    happened: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """The expected calibration error of each of B outcomes (N, B): (B,)."""
    inside = (np.arange(bins.max() + 1)[:, None] == bins) * each
    gaps: NDArray[np.float64] = np.abs(inside @ (told[:, None] - happened)).sum(0) / each.sum()
    return gaps


def _by_chance(
    bins: NDArray[np.int64],
    member: NDArray[np.int64],
    told: NDArray[np.float64],
    resamples: int,
    level: float,
    seed: int,
) -> Score:
    """The calibration error where all probabilities are true: mean, and ends that hold `level`."""
    if not resamples:
        return Score(None)
    random, errors = np.random.default_rng(seed), np.empty(resamples)
    at_once = max(1, CELLS_AT_ONCE // len(told))
    for start in range(0, resamples, at_once):
        some = errors[start : start + at_once]
        lots = random.random((len(some), member.max() + 1)).T[member]
        some[:] = _error(bins, weights(member), told, lots < told[:, None])
    low, high = np.quantile(errors, [(1 - level) / 2, (1 + level) / 2])
    return Score(float(errors.mean()), float(low), float(high))
