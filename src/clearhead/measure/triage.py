"""Triage: which classes are ruled out for a picture, so that the true one seldom is.

Class-conditional split-conformal prediction with the group as the unit: a class is ruled out where
its probability is smaller than in all but a promised share of the groups of that class. Of a group
its worst copy counts, so the promise holds for every copy of a new one.

Sources: V. Vovk, *Conditional validity of inductive conformal predictors*, ACML 2012 (a threshold
for each class); M. Sadinle, J. Lei and L. Wasserman, *Least ambiguous set-valued classifiers with
bounded error levels*, JASA 114, 2019; R. Dunn, L. Wasserman and A. Ramdas, *Distribution-free
prediction sets for two-layer hierarchical models*, JASA 118, 2023 (groups are exchangeable).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clearhead.errors import RecipeError
from clearhead.measure.groupwise import mean
from clearhead.measure.scores import Calibration, Level, Outcome, Score, Triage

UNCERTAIN = "uncertain"
"""The verdict on a picture for which not exactly one class is left."""
STRANGER = "unlike the pictures it learnt from"
"""Why a picture is uncertain that the gate turns away."""

LEVELS = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3)
"""Errors promised along the curve."""

SURE = 0.95
"""Chance with which what is ruled out stays within `Outcome.limit`."""

# --- Fitting --------------------------------------------------------------------------------


def thresholds(
    labels: ArrayLike, probabilities: ArrayLike, groups: ArrayLike, error: float
) -> NDArray[np.float64]:
    """For each class the smallest probability at which it is not ruled out, (K,).

    The ⌊(n + 1) · error⌋-th smallest of the worst copies of the class' n groups: the quantile of
    rank ⌈(n + 1)(1 - error)⌉ of how little they look like it. 0, which rules nothing out, where
    there are fewer than `needed` groups. Shapes: labels and groups (N,), probabilities (N, K).
    Errors: `RecipeError` for an error that is no share.
    """
    check_error(error)
    return np.array(
        [_threshold(worst, error) for worst in worst_copies(labels, probabilities, groups)]
    )


def _threshold(worst: NDArray[np.float64], error: float) -> float:
    rank = _rank(len(worst), error)
    return float(np.sort(worst)[rank - 1]) if rank else 0.0


def worst_copies(
    labels: ArrayLike, probabilities: ArrayLike, groups: ArrayLike
) -> list[NDArray[np.float64]]:
    """For each class the least probability of it within each of its groups: K arrays."""
    known, table, names = (np.asarray(each) for each in (labels, probabilities, groups))
    worst = []
    for k in range(table.shape[1]):
        _, place = np.unique(names[known == k], return_inverse=True)
        least = np.ones(int(place.max(initial=-1)) + 1)
        np.minimum.at(least, place, table[known == k, k])
        worst.append(least)
    return worst


def check_error(error: float) -> None:
    """Errors: `RecipeError` for an error that is no share between 0 and 1."""
    if not 0 < error < 1:
        raise RecipeError(f"error is {error}: expected a share between 0 and 1, such as 0.05")


def needed(error: float) -> int:
    """The fewest groups of a class with which it can ever be ruled out: 19 for an error of 5 %."""
    return math.ceil(round(1 / error, 9)) - 1


def _rank(groups: int, error: float) -> int:
    """How many of `groups` fall below the threshold or on it; rounded, for 100 · 0.29 is 28.99…"""
    return math.floor(round((groups + 1) * error, 9))


# --- Verdicts -------------------------------------------------------------------------------


def kept(probabilities: ArrayLike, thresholds: ArrayLike) -> NDArray[np.bool_]:
    """Which classes are not ruled out, (…, K), for probabilities (…, K) and thresholds (K,)."""
    left: NDArray[np.bool_] = np.asarray(probabilities) >= np.asarray(thresholds)
    return left


def decided(left: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The one class that is left, (N,), or -1 where none or several are, for `kept` (N, K)."""
    return np.where(left.sum(1) == 1, left.argmax(1), -1)


def verdict(left: Iterable[bool | np.bool_], classes: Sequence[str]) -> tuple[str, str]:
    """The verdict on one picture and, where it is `uncertain`, the reason."""
    names = [name for name, keeps in zip(classes, left, strict=True) if keeps]
    if len(names) == 1:
        return names[0], ""
    two = len(classes) == 2
    if not names:
        return UNCERTAIN, "unlike either class" if two else "unlike any class"
    return UNCERTAIN, "either is possible" if two else f"possible: {', '.join(names)}"


# --- What becomes of pictures ---------------------------------------------------------------


def triage(
    labels: ArrayLike,
    probabilities: ArrayLike,
    groups: ArrayLike,
    calibration: Calibration,
    *,
    classes: Sequence[str],
    positive: str,
    fitted_on: tuple[ArrayLike, ArrayLike, ArrayLike],
    resamples: int = 1000,
) -> Triage:
    """What a calibration decides of labelled pictures, and what other promises would.

    Shapes: labels and groups (N,), probabilities (N, K); `fitted_on` has the same three of the
    validation rows, for the thresholds along the curve.
    """
    known, table, names = np.asarray(labels), np.asarray(probabilities), np.asarray(groups)
    left = kept(table, calibration.thresholds)
    made = decided(left)

    def share(values: NDArray[np.bool_], among: NDArray[np.bool_] | None = None) -> Score:
        wanted = values if among is None else np.where(among, values, np.nan)
        return mean(wanted, names, resamples=resamples)

    outcomes = {}
    for k, name in enumerate(classes):
        own: NDArray[np.bool_] = known == k
        out = own & np.isin(names, names[own & ~left[:, k]])  # one copy speaks for its group
        count = len(np.unique(names[own]))
        outcomes[name] = Outcome(
            count,
            share(made == k, own),
            share((made != k) & (made >= 0), own),
            share(made < 0, own),
            share(out, own),
            limit(count, calibration.groups[k], calibration.error),
        )
    target = list(classes).index(positive)
    curve = [
        _level(error, kept(table, thresholds(*fitted_on, error)), known, share) for error in LEVELS
    ]
    return Triage(
        calibration,
        outcomes,
        share(made < 0),
        share(left.sum(1) == 0),
        share(made != target, (known == target) & (made >= 0)),
        tuple(curve),
    )


def _level(
    error: float, left: NDArray[np.bool_], known: NDArray[np.int64], share: Callable[..., Score]
) -> Level:
    made = decided(left)
    wrong = (made >= 0) & (made != known)
    return Level(error, share(made < 0), share(left.sum(1) == 0), share(wrong))


def limit(groups: int, behind: int, error: float) -> float:
    """The largest share of `groups` ruled out that chance explains, `SURE` of the time.

    Where new groups are exchangeable with the `behind` that a threshold was fitted on, the number
    ruled out is beta-binomial with parameters r and behind + 1 - r, r = ⌊(behind + 1) · error⌋
    (Vovk 2012: what a threshold covers is a beta variable).
    """
    from scipy.stats import betabinom

    rank = _rank(behind, error)
    if rank == 0 or groups == 0:
        return 0.0
    return float(betabinom.ppf(SURE, groups, rank, behind + 1 - rank)) / groups
