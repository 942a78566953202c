"""Averages by group, against a slow literal version."""

from __future__ import annotations

import numpy as np
import pytest

from clearhead.measure.groupwise import group_means, mean


def test_every_group_counts_once() -> None:
    values = np.array([1.0, 0.0, 0.0, 1.0, np.nan, 0.5])
    groups = np.array([7, 7, 7, 3, 3, 9])
    assert group_means(values, groups) == pytest.approx([1.0, 1 / 3, 0.5])
    assert mean(values, groups).value == pytest.approx((1.0 + 1 / 3 + 0.5) / 3)


def test_the_interval_is_that_of_drawn_groups() -> None:
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 60, 400)
    values = rng.random(400) + groups / 60
    found = mean(values, groups, resamples=4000, seed=3)
    each = [values[groups == group].mean() for group in np.unique(groups)]
    literal = [np.mean(rng.choice(each, len(each))) for _ in range(4000)]
    low, high = np.quantile(literal, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.01)
    assert found.high == pytest.approx(high, abs=0.01)


def test_nothing_and_one_group() -> None:
    assert mean(np.array([np.nan]), np.array([1])).value is None
    assert mean(np.array([]), np.array([])).value is None
    one = mean(np.array([0.25, 0.75]), np.array([1, 1]))
    assert (one.value, one.low) == (0.5, None)


def test_a_difference_is_paired() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=200) * 10
    found = mean((noise + 0.1) - noise, np.arange(200))
    assert found.low == pytest.approx(0.1)
    assert found.high == pytest.approx(0.1)
