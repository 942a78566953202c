from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.fft import dctn

from clearhead.data.thumbnail import SIDE, cosines, phash, thumbnail


def _picture(height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    waves = np.sin(rows / height * 9) + np.cos(columns / width * 7) + random.random((height, width))
    picture: NDArray[np.float32] = (waves * 40).astype(np.float32)
    return picture


def _area_average(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Every cell's mean over the exact rectangle it covers, pixel by pixel."""
    height, width = pixels.shape
    out = np.zeros((SIDE, SIDE))
    for r in range(SIDE):
        top, bottom = r * height / SIDE, (r + 1) * height / SIDE
        for c in range(SIDE):
            left, right = c * width / SIDE, (c + 1) * width / SIDE
            total = 0.0
            for i in range(math.floor(top), min(math.ceil(bottom), height)):
                for j in range(math.floor(left), min(math.ceil(right), width)):
                    share = (min(bottom, i + 1) - max(top, i)) * (min(right, j + 1) - max(left, j))
                    total += share * float(pixels[i, j])
            out[r, c] = total / ((bottom - top) * (right - left))
    return out


@pytest.mark.parametrize("shape", [(64, 64), (90, 130), (200, 70), (33, 41), (1, 5)])
def test_thumbnail_is_the_exact_area_average(shape: tuple[int, int]) -> None:
    pixels = _picture(*shape)
    expected = _area_average(pixels)
    expected = (expected - expected.min()) * 255 / np.ptp(expected)
    assert np.abs(thumbnail(pixels) - expected).max() <= 0.5 + 1e-6


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 999))
def test_flips_and_turns_commute_with_it(height: int, width: int, seed: int) -> None:
    pixels = _picture(height, width, seed)
    small = thumbnail(pixels).astype(int)
    for there, back in (
        (pixels[:, ::-1], small[:, ::-1]),
        (pixels[::-1], small[::-1]),
        (pixels.T, small.T),
        (np.rot90(pixels), np.rot90(small)),
    ):
        # Sums in another order may round a half the other way.
        assert np.abs(thumbnail(there).astype(int) - back).max() <= 1


def test_a_stretched_copy_has_the_same_thumbnail() -> None:
    pixels = _picture(96, 80)
    stretched = np.repeat(np.repeat(pixels, 2, axis=0), 3, axis=1)
    assert np.abs(thumbnail(stretched).astype(int) - thumbnail(pixels).astype(int)).max() <= 1


@pytest.mark.parametrize("factor", [1e-30, 1.0, 257.0, 1e30])
def test_scale_and_offset_do_not_matter(factor: float) -> None:
    pixels = _picture(100, 100)
    assert np.abs(thumbnail(pixels * np.float32(factor)).astype(int) - thumbnail(pixels)).max() <= 1
    assert thumbnail(pixels).min() == 0
    assert thumbnail(pixels).max() == 255


@pytest.mark.parametrize("value", [0.0, 0.1, 255.0, -7.3, 3e38, np.nan, np.inf])
def test_a_constant_picture_gives_zeros(value: float) -> None:
    small = thumbnail(np.full((77, 131), value, dtype=np.float32))
    assert not small.any()
    assert phash(small) == 0


def test_values_that_are_not_finite_count_as_the_smallest() -> None:
    pixels = _picture(128, 128)
    holes = pixels.copy()
    holes[:20, :20] = (np.nan, np.inf, -np.inf, np.nan) * 5
    filled = pixels.copy()
    filled[:20, :20] = pixels[20:].min(initial=pixels[:20, 20:].min())
    assert (thumbnail(holes) == thumbnail(filled)).all()


def test_the_full_range_of_floats_does_not_overflow() -> None:
    edge = np.finfo(np.float32).max
    small = thumbnail(np.array([[-edge, edge]], dtype=np.float32))
    assert small[0, 0] == 0
    assert small[0, -1] == 255


def test_the_argument_is_left_alone() -> None:
    pixels = _picture(70, 70)
    pixels[0, 0] = np.nan
    before = pixels.copy()
    thumbnail(pixels)
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("side", [1, 2, 8, 64])
def test_cosines_are_the_orthonormal_transform(side: int) -> None:
    values = np.random.default_rng(0).normal(size=(side, side))
    expected = dctn(values, norm="ortho")
    np.testing.assert_allclose(cosines(side) @ values @ cosines(side).T, expected, atol=1e-12)


def test_phash_is_the_sign_of_low_frequencies_about_their_median() -> None:
    small = thumbnail(_picture(200, 180, seed=3))
    low = dctn(small.astype(np.float64), norm="ortho")[:8, :8].ravel()
    bits = [int(value > np.median(low[1:])) for value in low]
    assert phash(small) == int("".join(map(str, bits)), 2)
    assert 0 <= phash(small) < 2**64


def test_phash_stays_near_under_contrast_and_far_for_others() -> None:
    def distance(first: NDArray[np.float32], second: NDArray[np.float32]) -> int:
        return (phash(thumbnail(first)) ^ phash(thumbnail(second))).bit_count()

    random = np.random.default_rng(0)
    pictures = [
        np.kron(random.random((9, 9)), np.ones((16, 16))).astype(np.float32) for _ in range(6)
    ]
    for place, picture in enumerate(pictures):
        assert distance(picture, picture**1.2 * 50 + 3) <= 6
        for other in pictures[:place]:
            assert distance(picture, other) > 12
