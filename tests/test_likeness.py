"""Likeness, complexity and removal: against scipy, slow literal versions and known cases."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from clearhead.measure.complexity import entropy, gini, half_area
from clearhead.measure.likeness import hottest, overlap, spearman, ssim
from clearhead.measure.removal import area_under, places_in_order


@pytest.fixture
def pair() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two stacks of maps that are partly alike, with cells of no heat (ties)."""
    random = np.random.default_rng(0)
    one = random.normal(size=(6, 11, 9))
    other = one + random.normal(size=one.shape)
    return np.maximum(one, 0).astype(np.float32), np.maximum(other, 0).astype(np.float32)


def test_spearman_is_that_of_scipy_with_ties(
    pair: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    one, other = pair
    for found, x, y in zip(spearman(one, other), one, other, strict=True):
        assert found == pytest.approx(stats.spearmanr(x.ravel(), y.ravel()).statistic)


def test_a_map_that_is_the_same_everywhere_is_like_nothing(
    pair: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    one, _ = pair
    even = np.full_like(one, 2.0)
    assert np.isnan(spearman(one, even)).all()
    assert np.isnan(overlap(one, even)).all()
    assert np.isnan(ssim(one, np.zeros_like(one))).all()


def test_hottest_takes_the_share_and_all_ties_but_never_cold_cells() -> None:
    maps = np.arange(20, dtype=np.float32).reshape(1, 4, 5)
    assert np.flatnonzero(hottest(maps, 0.2)).tolist() == [16, 17, 18, 19]
    tied = np.minimum(maps, 15)
    assert hottest(tied, 0.1).sum() == 5
    lonely = np.zeros((1, 4, 5), np.float32)
    lonely[0, 1, 2] = 1
    assert hottest(lonely, 0.5).sum() == 1


def test_overlap_is_intersection_over_union(
    pair: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    one, other = pair
    for found, x, y in zip(overlap(one, other), one, other, strict=True):
        count = round(0.1 * x.size)
        first = set(np.argsort(-x.ravel())[:count].tolist())
        second = set(np.argsort(-y.ravel())[:count].tolist())
        assert found == pytest.approx(len(first & second) / len(first | second))
    assert overlap(one, one) == pytest.approx(np.ones(len(one)))


def _literal_ssim(x: NDArray[np.float64], y: NDArray[np.float64], window: int) -> float:
    x, y = x / x.max(), y / y.max()
    found = []
    for row in range(x.shape[0] - window + 1):
        for column in range(x.shape[1] - window + 1):
            a = x[row : row + window, column : column + window]
            b = y[row : row + window, column : column + window]
            common = ((a - a.mean()) * (b - b.mean())).mean()
            over = (2 * a.mean() * b.mean() + 1e-4) * (2 * common + 9e-4)
            found.append(
                over / ((a.mean() ** 2 + b.mean() ** 2 + 1e-4) * (a.var() + b.var() + 9e-4))
            )
    return float(np.mean(found))


def test_ssim_is_the_equation_window_by_window(
    pair: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    one, other = pair
    for found, x, y in zip(ssim(one, other), one, other, strict=True):
        assert found == pytest.approx(_literal_ssim(x.astype(float), y.astype(float), 7), abs=1e-6)
    assert ssim(one, 3 * one) == pytest.approx(np.ones(len(one)))
    assert np.isnan(ssim(one[:, :5], other[:, :5])).all()  # smaller than a window


def test_complexity_of_even_heat_and_of_one_cell() -> None:
    maps = np.ones((2, 5, 8), np.float32)
    maps[1] = 0
    maps[1, 2, 3] = 7
    assert entropy(maps) == pytest.approx([1, 0])
    assert gini(maps) == pytest.approx([0, 1 - 1 / 40])
    assert half_area(maps) == pytest.approx([0.5, 0.5 / 40])
    cold = np.zeros((1, 5, 8), np.float32)
    assert np.isnan([entropy(cold)[0], gini(cold)[0], half_area(cold)[0]]).all()


def test_complexity_against_literal_definitions(
    pair: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    for maps in pair:
        flat = maps.reshape(len(maps), -1).astype(float)
        for row, heat in enumerate(flat):
            apart = np.abs(heat[:, None] - heat[None]).mean() / (2 * heat.mean())
            assert gini(maps)[row] == pytest.approx(apart)
            assert entropy(maps)[row] == pytest.approx(stats.entropy(heat) / np.log(heat.size))
            held, count = 0.0, 0
            for value in sorted(heat, reverse=True):
                if held + value > heat.sum() / 2:
                    break
                held, count = held + value, count + 1
            area = half_area(maps)[row] * heat.size
            assert count <= area <= count + 1


def test_places_follow_the_heat_and_ties_follow_the_seed() -> None:
    heats = np.array([[[3, 1], [2, 9]], [[0, 0], [0, 5]]], np.float32)
    rows = np.array([4, 8])
    places = places_in_order(heats, rows, seed=1)
    assert places[0].tolist() == [[1, 3], [2, 0]]
    assert places[1, 1, 1] == 0
    assert sorted(places[1].ravel().tolist()) == [0, 1, 2, 3]
    even = np.ones((2, 10, 10), np.float32)
    drawn = places_in_order(even, rows, seed=1)
    assert not np.array_equal(drawn[0], drawn[1])
    assert np.array_equal(drawn[1:], places_in_order(even[1:], rows[1:], seed=1))
    assert not np.array_equal(drawn, places_in_order(even, rows, seed=2))


def test_the_area_under_a_straight_line() -> None:
    shares = np.array([0.0, 0.1, 0.4, 1.0])
    scores = np.stack([1 - shares, np.full(4, 0.3)])
    assert area_under(shares, scores) == pytest.approx([0.5, 0.3])
