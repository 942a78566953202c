"""Intervals of shares: against SciPy, and against the words that quote them."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from clearhead.errors import RecipeError
from clearhead.measure.precision import half_width, pictures_needed, wilson


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("count", [1, 2, 7, 59, 411, 10_000])
def test_the_interval_is_that_of_scipy(count: int, level: float) -> None:
    for hits in {0, 1, count // 3, count - 1, count}:
        known = binomtest(hits, count).proportion_ci(level, method="wilson")
        assert wilson(hits, count, level) == pytest.approx((known.low, known.high), abs=1e-12)


def test_nothing_counted_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert half_width(0) == 0.5


def test_mirrored_shares_have_mirrored_intervals() -> None:
    low, high = wilson(13, 40)
    assert wilson(27, 40) == pytest.approx((1 - high, 1 - low))


def test_half_width_is_half_of_the_interval() -> None:
    known = binomtest(40, 50).proportion_ci(method="wilson")
    assert half_width(50, 0.8) == pytest.approx((known.high - known.low) / 2)
    assert half_width(59, 0.8) == pytest.approx(0.10, abs=0.005)


@pytest.mark.parametrize("reach", [0.02, 0.05, 0.1, 0.3])
@pytest.mark.parametrize("share", [0.5, 0.8, 0.98])
def test_pictures_needed_are_just_enough(reach: float, share: float) -> None:
    count = pictures_needed(reach, share)
    assert half_width(count, share) <= reach < half_width(count - 1, share)


@pytest.mark.parametrize(("hits", "count"), [(3, 2), (-1, 5), (float("nan"), 5)])
def test_impossible_counts_are_refused(hits: float, count: float) -> None:
    with pytest.raises(RecipeError, match="is no share"):
        wilson(hits, count)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(RecipeError, match="level is 95"):
        wilson(1, 2, 95)
    with pytest.raises(RecipeError, match="reach is 0"):
        pictures_needed(0)
