"""Averages in which every group counts once, with intervals from drawing groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.measure.bootstrap import CELLS_AT_ONCE, draws, interval
from clearhead.measure.scores import Score


def mean(
    values: NDArray[Any],
    groups: NDArray[Any],
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Score:
    """The mean of `values` (N,) over groups: first within each group, then over the groups.

    NaN values are left out; with none left the score is undefined, with one group its interval is.
    The interval is the percentile interval of `resamples` draws of groups with replacement. Of
    differences of two figures of the same pictures it makes a paired interval.
    """
    each = group_means(values, groups)
    if not len(each):
        return Score(None)
    if len(each) == 1 or not resamples:
        return Score(float(each.mean()))
    at_once = max(1, CELLS_AT_ONCE // len(each))
    drawn = [each @ counts / len(each) for counts in draws(len(each), resamples, seed, at_once)]
    return Score(float(each.mean()), *(interval(np.concatenate(drawn), level) or ()))


def mean_of_repeats(
    repeats: Sequence[tuple[NDArray[Any], NDArray[Any]]],
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Score:
    """The mean over groups of what several classifiers found, each as (values, groups).

    First within each group and classifier, then over the classifiers that found something in the
    group, then over the groups, which alone are drawn for the interval.
    """
    means, names = [], []
    for values, groups in repeats:
        means.append(group_means(values, groups))
        names.append(np.unique(np.asarray(groups)[~np.isnan(np.asarray(values, np.float64))]))
    if not means:
        return Score(None)
    every, own = np.concatenate(means), np.concatenate(names)
    return mean(every, own, resamples=resamples, seed=seed, level=level)


def group_means(values: NDArray[Any], groups: NDArray[Any]) -> NDArray[np.float64]:
    """The mean of each group that has a value which isn't NaN, in the order of the groups."""
    values = np.asarray(values, np.float64)
    defined = ~np.isnan(values)
    _, place = np.unique(np.asarray(groups)[defined], return_inverse=True)
    sums = np.bincount(place, weights=values[defined])
    return sums / np.maximum(np.bincount(place), 1)


def weights(groups: NDArray[Any]) -> NDArray[np.float64]:
    """One over the size of each row's group, (N,): every group counts once."""
    _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    each: NDArray[np.float64] = 1.0 / sizes[place]
    return each
