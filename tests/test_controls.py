"""Controls against literal versions: what they know, and that no row depends on another."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from clearhead.heat.controls import BLOB_SIGMA, CENTRE_SIGMA, CONTROLS, Ground
from clearhead.types import BACKGROUND, BRAIN, RIM

SIDE = 24


def ground_of(count: int = 4, seed: int = 0) -> Ground:
    random = np.random.default_rng(7)
    return Ground(
        random.integers(0, 256, (count, SIDE, SIDE), np.uint8),
        random.choice(np.array([BACKGROUND, RIM, BRAIN], np.uint8), (count, SIDE, SIDE)),
        random.exponential(1, (count, SIDE, SIDE)).astype(np.float32),
        np.arange(10, 10 + count),
        seed,
    )


def only(ground: Ground, chosen: list[int]) -> Ground:
    return Ground(
        ground.squares[chosen],
        ground.regions[chosen],
        ground.others[chosen],
        ground.rows[chosen],
        ground.seed,
    )


@pytest.mark.parametrize("name", list(CONTROLS))
def test_heat_is_never_negative_and_a_row_depends_on_itself_alone(name: str) -> None:
    ground = ground_of()
    heat = CONTROLS[name](ground)
    assert heat.shape == ground.squares.shape
    assert heat.dtype == np.float32
    assert np.isfinite(heat).all()
    assert heat.min() >= 0
    assert (heat.max((1, 2)) > 0).all()
    np.testing.assert_array_equal(CONTROLS[name](only(ground, [3, 1])), heat[[3, 1]])


@pytest.mark.parametrize("name", list(CONTROLS))
def test_no_rows_give_no_heat(name: str) -> None:
    assert CONTROLS[name](only(ground_of(), [])).shape == (0, SIDE, SIDE)


def test_uniform_head_and_other_are_what_they_say() -> None:
    ground = ground_of()
    assert (CONTROLS["uniform"](ground) == 1).all()
    np.testing.assert_array_equal(CONTROLS["head"](ground), ground.regions > 0)
    np.testing.assert_array_equal(CONTROLS["other"](ground), ground.others)


def test_the_centre_is_a_gaussian_in_the_middle() -> None:
    heat, sigma, middle = CONTROLS["centre"](ground_of(1))[0], CENTRE_SIGMA * SIDE, (SIDE - 1) / 2
    for (row, column), value in np.ndenumerate(heat):
        away = (row - middle) ** 2 + (column - middle) ** 2
        assert value == pytest.approx(math.exp(-away / (2 * sigma**2)), rel=1e-5)


def literal_sobel(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """Both 3×3 kernels in four loops; the border repeats."""
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    wide = np.pad(grey, 1, mode="edge")
    length = np.zeros(grey.shape)
    for row, column in np.ndindex(grey.shape):
        patch = wide[row : row + 3, column : column + 3]
        length[row, column] = math.hypot((patch * kernel).sum(), (patch * kernel.T).sum())
    return length


def test_edges_are_sobels() -> None:
    ground = ground_of(2)
    for heat, square in zip(CONTROLS["edges"](ground), ground.squares, strict=True):
        np.testing.assert_allclose(heat, literal_sobel(square.astype(float)), atol=1e-3)
    flat = dataclasses.replace(ground, squares=np.full_like(ground.squares, 90))
    assert (CONTROLS["edges"](flat) == 0).all()


def test_blobs_are_smoothed_noise_above_zero() -> None:
    ground = ground_of(2, seed=3)
    heat = CONTROLS["blobs"](ground)
    for row, found in zip(ground.rows, heat, strict=True):
        noise = np.random.default_rng((3, row)).standard_normal((SIDE, SIDE), np.float32)
        smooth = ndimage.gaussian_filter(noise, BLOB_SIGMA * SIDE, mode="wrap")
        np.testing.assert_allclose(found, np.maximum(smooth, 0), atol=1e-6)
    another = CONTROLS["blobs"](dataclasses.replace(ground, seed=4))
    assert not np.array_equal(another, heat)
    many = CONTROLS["blobs"](
        dataclasses.replace(
            ground, squares=np.zeros((200, SIDE, SIDE), np.uint8), rows=np.arange(200)
        )
    )
    assert 0.4 < (many > 0).mean() < 0.6  # half of the plane, wherever it lies
    assert (many > 0).mean(0).std() < 0.06  # and no place more often than another
