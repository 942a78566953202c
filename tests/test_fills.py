"""Fills against the equation solved exactly, and what no fill may do."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg

from clearhead.data.fills import FILLS, Hole, harmonic, levels_of, smooth_noise
from clearhead.data.heads import Head, head
from clearhead.types import BACKGROUND, BRAIN, RIM

SIDE = 72


@cache
def heads(count: int) -> tuple[Head, ...]:
    return tuple(head((3, number), size_px=SIDE) for number in range(count))


def regions(count: int) -> NDArray[np.uint8]:
    return np.stack([each.regions for each in heads(count)])


@pytest.fixture(scope="module")
def hole() -> Hole:
    """Five generated heads without their brain; grey levels come from the rim."""
    squares = np.stack([each.pixels for each in heads(5)])
    levels = levels_of(squares, regions(5) == RIM)
    return Hole(squares, regions(5) == BRAIN, levels, np.arange(5), seed=4)


def disc(radius: float, row: float = 30, column: float = 40) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    near: NDArray[np.bool_] = np.hypot(rows - row, columns - column) < radius
    return near


def exactly(values: NDArray[np.float64], area: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Laplace's equation on one picture as a sparse system, one equation per erased pixel."""
    places = [tuple(place) for place in np.argwhere(area)]
    number = {place: at for at, place in enumerate(places)}
    matrix = sparse.lil_matrix((len(places), len(places)))
    known = np.zeros(len(places))
    for at, (row, column) in enumerate(places):
        for beside in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
            if not (0 <= beside[0] < area.shape[0] and 0 <= beside[1] < area.shape[1]):
                continue
            matrix[at, at] += 1
            if area[beside]:
                matrix[at, number[beside]] -= 1
            else:
                known[at] += values[beside]
    filled = values.copy()
    filled[area] = linalg.spsolve(matrix.tocsr(), known)
    return filled


# --- Inpainting -----------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [1.5, 6.0, 25.0])
def test_a_ramp_is_continued(radius: float) -> None:
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    ramp = 2 * columns + rows
    filled = harmonic(ramp[None], disc(radius)[None])[0]
    assert np.abs(filled - ramp).max() < 1.5  # of the 150 levels that the disc spans


def test_a_saddle_is_continued() -> None:
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    saddle = ((rows - 30) ** 2 - (columns - 40) ** 2) / 8  # harmonic, on the grid as well
    filled = harmonic(saddle[None], disc(22)[None])[0]
    assert np.abs(filled - saddle).max() < 0.05 * np.ptp(saddle[disc(22)])


@pytest.mark.parametrize("level", [0, 1, 77, 255])
def test_a_constant_is_continued_exactly(level: int) -> None:
    squares = np.full((2, SIDE, SIDE), level, np.uint8)
    area = np.stack([disc(20), ~disc(20)])
    for fill in FILLS.values():
        filled = fill(Hole(squares, area, levels_of(squares, ~area), np.arange(2)))
        assert np.array_equal(filled, squares)


def test_inpainting_solves_the_equation(hole: Hole) -> None:
    grey = hole.squares.astype(np.float32)
    filled = harmonic(grey, hole.areas)
    for found, values, area in zip(filled, grey, hole.areas, strict=True):
        truth = exactly(values.astype(np.float64), area)
        away = np.abs(found - truth)[area]
        assert away.mean() < 2.5
        assert away.max() < 15
        assert np.corrcoef(found[area], truth[area])[0, 1] > 0.93


def test_nothing_flows_across_the_edge_of_the_picture() -> None:
    """An area at the edge, where only the side towards the picture is known."""
    random = np.random.default_rng(0)
    values = random.uniform(0, 255, (SIDE, SIDE))
    area = np.zeros((SIDE, SIDE), bool)
    area[20:50, :14] = True
    found = harmonic(values[None].astype(np.float32), area[None])[0]
    away = np.abs(found - exactly(values, area))[area]
    assert away.mean() < 6  # of pure noise, which no guess from a coarser grid resolves
    assert found[area].min() >= values.min()
    assert found[area].max() <= values.max()


def test_pictures_of_any_shape_are_filled() -> None:
    rows, columns = np.mgrid[:37, :53].astype(np.float32)
    ramp = 3 * rows - columns
    area = np.hypot(rows - 18, columns - 26) < 11
    filled = harmonic(ramp[None], area[None])[0]
    assert np.abs(filled - ramp).max() < 1.5
    assert np.array_equal(filled[~area], ramp[~area])


def test_a_picture_that_is_all_erased_becomes_black() -> None:
    everything = np.ones((1, 9, 9), bool)
    assert not harmonic(np.full((1, 9, 9), 200, np.float32), everything).any()


# --- Levels ---------------------------------------------------------------------------------


def test_the_mean_is_that_of_the_kept_pixels(hole: Hole) -> None:
    filled = FILLS["mean"](hole)
    rims = regions(5) == RIM
    for found, square, area, rim in zip(filled, hole.squares, hole.areas, rims, strict=True):
        assert set(found[area].tolist()) == {round(float(square[rim].mean()))}


def test_noise_has_the_mean_and_spread_of_the_kept_pixels() -> None:
    random = np.random.default_rng(1)
    squares = np.clip(random.normal(120, 20, (3, 128, 128)), 0, 255).astype(np.uint8)
    area = np.zeros(squares.shape, bool)
    area[:, :100] = True
    filled = FILLS["noise"](Hole(squares, area, levels_of(squares, ~area), np.arange(3)))
    for found, square, own in zip(filled, squares, area, strict=True):
        assert found[own].mean() == pytest.approx(square[~own].mean(), abs=3)
        assert found[own].std() == pytest.approx(square[~own].std(), rel=0.1)


def test_noise_is_smooth() -> None:
    field = smooth_noise(np.array([3]), 200, sigma=0.02, seed=0)[0]
    assert field.mean() == pytest.approx(0, abs=1e-4)
    assert field.std() == pytest.approx(1, abs=1e-3)
    # Of white noise smoothed by σ the correlation at distance d is exp(−d² / 4σ²).
    beside = np.mean(field * np.roll(field, 4, 0))
    assert beside == pytest.approx(np.exp(-1 / 4), abs=0.06)


def test_levels_are_those_of_the_kept_pixels() -> None:
    random = np.random.default_rng(2)
    squares = random.integers(0, 256, (4, 30, 30)).astype(np.uint8)
    kept = random.random(squares.shape) < 0.3
    kept[2] = False  # where nothing is kept, the whole picture is
    found = levels_of(squares, kept)
    for at, (square, keep) in enumerate(zip(squares, kept, strict=True)):
        own = square[keep] if keep.any() else square
        assert found[at] == pytest.approx([own.mean(), own.std()], rel=1e-5)


# --- What no fill may do --------------------------------------------------------------------


@pytest.mark.parametrize("name", FILLS)
def test_nothing_outside_the_area_changes(hole: Hole, name: str) -> None:
    before = hole.squares.copy()
    filled = FILLS[name](hole)
    assert filled.dtype == np.uint8
    assert np.array_equal(filled[~hole.areas], hole.squares[~hole.areas])
    assert np.array_equal(hole.squares, before)
    assert not np.array_equal(filled, hole.squares)


@pytest.mark.parametrize("name", FILLS)
def test_what_is_erased_leaves_no_trace(hole: Hole, name: str) -> None:
    other = np.where(hole.areas, 255 - hole.squares, hole.squares)
    twin = Hole(other, hole.areas, hole.levels, hole.rows, hole.seed)
    assert np.array_equal(FILLS[name](hole), FILLS[name](twin))


@pytest.mark.parametrize("name", FILLS)
def test_a_picture_is_filled_the_same_alone(hole: Hole, name: str) -> None:
    together = FILLS[name](hole)
    for at in range(len(hole.rows)):
        one = slice(at, at + 1)
        alone = Hole(
            hole.squares[one], hole.areas[one], hole.levels[one], hole.rows[one], hole.seed
        )
        assert np.array_equal(FILLS[name](alone)[0], together[at])


def test_seed_and_row_decide_the_noise(hole: Hole) -> None:
    def noise(rows: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
        return FILLS["noise"](Hole(hole.squares, hole.areas, hole.levels, rows, seed))

    first = noise(hole.rows, 4)
    assert np.array_equal(first, noise(hole.rows, 4))
    assert not np.array_equal(first, noise(hole.rows, 5))
    assert not np.array_equal(first, noise(hole.rows + 1, 4))


def test_fills_differ_from_each_other(hole: Hole) -> None:
    filled = [fill(hole)[hole.areas].astype(float) for fill in FILLS.values()]
    for at, one in enumerate(filled):
        for other in filled[at + 1 :]:
            assert np.abs(one - other).mean() > 3


def test_the_background_is_filled_with_more_than_black(hole: Hole) -> None:
    around = regions(5) == BACKGROUND
    for fill in FILLS.values():
        filled = fill(Hole(hole.squares, around, hole.levels, hole.rows))
        assert (filled[around].reshape(-1) > 5).mean() > 0.7
