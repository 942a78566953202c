"""AUROC, FPR95 and the line, against literal counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clearhead.errors import RecipeError
from clearhead.measure.strangers import PASSED, line, told_apart


def by_counting(
    real: NDArray[np.float64],
    strange: NDArray[np.float64],
    weight: NDArray[np.float64],
    other: NDArray[np.float64],
) -> tuple[float, float]:
    """The same, straight from the definitions: every pair, then every possible line."""
    won = total = 0.0
    for a, wa in zip(real, weight, strict=True):
        for b, wb in zip(strange, other, strict=True):
            won += wa * wb * (1.0 if b > a else 0.5 if b == a else 0.0)
            total += wa * wb
    for at in np.unique(np.concatenate([real, strange])):  # the lowest line that passes 95 %
        if weight[real <= at].sum() >= PASSED * weight.sum() - 1e-9:
            return won / total, other[strange <= at].sum() / other.sum()
    raise AssertionError


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_both_figures_are_what_counting_gives(seed: int) -> None:
    random = np.random.default_rng(seed)
    real = random.integers(0, 12, random.integers(1, 40)).astype(float)
    strange = random.integers(4, 16, random.integers(1, 30)).astype(float)
    groups, others = random.integers(0, 9, len(real)), random.integers(0, 5, len(strange))
    weight = np.array([1 / np.count_nonzero(groups == group) for group in groups])
    other = np.array([1 / np.count_nonzero(others == group) for group in others])
    expected = by_counting(real, strange, weight, other)
    assert told_apart(real, strange, groups, others) == pytest.approx(expected)


def test_strangers_that_all_lie_above_are_told_without_a_fault() -> None:
    assert told_apart([0.1, 0.2, 0.3], [0.4, 0.5], [0, 1, 2], [0, 1]) == (1.0, 0.0)
    assert told_apart([0.4, 0.5], [0.1, 0.2], [0, 1], [0, 1]) == (0.0, 1.0)


def test_copies_of_a_picture_change_nothing() -> None:
    real, strange = np.array([0.1, 0.6, 0.3, 0.9]), np.array([0.5, 0.7])
    once = told_apart(real, strange, np.arange(4), np.arange(2))
    often = np.repeat(np.arange(4), (1, 30, 2, 5))
    assert told_apart(real[often], strange, often, np.arange(2)) == pytest.approx(once)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 0.99))
def test_the_line_is_the_lowest_that_keeps_to_the_share(seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    scores = random.integers(0, 20, random.integers(1, 60)).astype(float)
    groups = random.integers(0, 12, len(scores))
    weight = np.array([1 / np.count_nonzero(groups == group) for group in groups])
    weight /= weight.sum()
    found = line(scores, groups, share)
    assert weight[scores > found].sum() <= share + 1e-9
    lower = scores[scores < found]
    if len(lower):
        assert weight[scores > lower.max()].sum() > share


def test_a_share_below_one_group_turns_no_picture_away() -> None:
    scores = np.arange(50.0)
    assert line(scores, np.arange(50), 0.01) == 49.0
    assert line(scores, np.arange(50), 0.02) == 48.0


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_can_not_be_is_refused(share: float) -> None:
    with pytest.raises(RecipeError, match="expected from 0 to below 1"):
        line([1.0], [0], share)


def test_nothing_to_rank_is_said() -> None:
    with pytest.raises(RecipeError, match="validation pictures"):
        line([], [], 0.01)
    with pytest.raises(RecipeError, match="0 real"):
        told_apart([], [1.0], [], [0])
    with pytest.raises(RecipeError, match="finite"):
        told_apart([np.nan], [1.0], [0], [0])
