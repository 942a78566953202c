"""Heads drawn over the whole thumbnail, and fitted to each other."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from clearhead.data.contrast import agreement, local_contrast
from clearhead.data.framing import MOST, boxes_of, fitted, framed
from clearhead.data.thumbnail import SIDE


def _textures(count: int, seed: int = 0) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    noise = gaussian_filter(random.normal(size=(count, SIDE, SIDE)), (0, 2, 2))
    noise /= noise.std(axis=(1, 2), keepdims=True)
    textures: NDArray[np.float32] = np.clip(128 + 50 * noise, 0, 255).astype(np.float32)
    return textures


def _moved(
    picture: NDArray[np.float32], scale: tuple[float, float], shift: tuple[float, float]
) -> NDArray[np.float32]:
    """By another library: at `place · scale + shift` down and across, places from -1 to 1."""
    place = np.linspace(-1, 1, SIDE)
    places = [((place * s + t) + 1) * (SIDE - 1) / 2 for s, t in zip(scale, shift, strict=True)]
    grid = np.meshgrid(*places, indexing="ij")
    moved: NDArray[np.float32] = map_coordinates(picture, grid, order=1, mode="nearest")
    return moved.astype(np.float32)


def _oval(rows: tuple[float, float], columns: tuple[float, float]) -> NDArray[np.uint8]:
    """A grey oval with a bright rim that spans these rows and columns, on black."""
    fine = (np.arange(SIDE * 8) + 0.5) / 8 - 0.5
    middles = [(low + high) / 2 for low, high in (rows, columns)]
    halves = [(high - low) / 2 for low, high in (rows, columns)]
    down, across = ((fine - middle) / half for middle, half in zip(middles, halves, strict=True))
    radius = np.hypot(down[:, None], across[None])
    drawn = np.where(radius < 0.9, 90.0, 220.0) * (radius <= 1)
    small = drawn.reshape(SIDE, 8, SIDE, 8).mean(axis=(1, 3))
    oval: NDArray[np.uint8] = small.round().astype(np.uint8)
    return oval


@pytest.mark.parametrize(
    ("rows", "columns"), [((10, 50), (8, 57)), ((4.5, 60.5), (20.25, 51.75)), ((15, 52), (12, 40))]
)
def test_the_box_is_where_the_head_is(
    rows: tuple[float, float], columns: tuple[float, float]
) -> None:
    head = _oval(rows, columns)
    (box,) = boxes_of(head[None])
    np.testing.assert_allclose(box, [rows, columns], atol=1.5)
    mirrored, turned = boxes_of(np.stack([head[:, ::-1], head.T]))
    np.testing.assert_allclose(mirrored[1], SIDE - 1 - box[1][::-1], atol=1e-3)
    np.testing.assert_allclose(turned, box[::-1], atol=1e-3)


def test_letters_beside_a_head_are_no_part_of_it() -> None:
    head = _oval((16, 56), (14, 50))
    lettered = head.copy()
    lettered[2:6, 2:4] = lettered[2:6, 6:8] = 255
    np.testing.assert_array_equal(boxes_of(head[None]), boxes_of(lettered[None]))


def test_a_picture_without_a_head_is_its_own_box() -> None:
    whole = [[0, SIDE - 1], [0, SIDE - 1]]
    for level in (0, 90):
        (box,) = boxes_of(np.full((1, SIDE, SIDE), level, np.uint8))
        np.testing.assert_allclose(box, whole, atol=0.51)


def test_framing_is_linear_interpolation() -> None:
    pictures = _textures(3).round().astype(np.uint8)
    boxes = np.array([[[5.2, 50.1], [0.0, 40.7]], [[-0.5, 63.5], [3, 60]], [[0, 63], [0, 63]]])
    drawn = framed(pictures, boxes.astype(np.float32))
    for picture, box, ours in zip(pictures, boxes, drawn, strict=True):
        places = [np.linspace(low, high, SIDE) for low, high in box.tolist()]
        grid = np.meshgrid(*places, indexing="ij")
        theirs = map_coordinates(picture.astype(float), grid, order=1, mode="nearest")
        np.testing.assert_allclose(ours, theirs, atol=1e-2)
    np.testing.assert_allclose(drawn[2], pictures[2], atol=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_a_small_scale_and_shift_is_undone(seed: int) -> None:
    random = np.random.default_rng(seed)
    pictures = _textures(8, seed)
    scale, shift = random.uniform(0.94, 1.0, (8, 2)), random.uniform(-0.05, 0.05, (8, 2))
    moved = np.stack(
        [_moved(*parts) for parts in zip(pictures, scale.tolist(), shift.tolist(), strict=True)]
    )
    before = agreement(local_contrast(pictures), local_contrast(moved))
    after = fitted(pictures, moved)
    assert (after >= before).all()
    assert after.min() > 0.97
    assert np.median(before) < 0.85


def test_fitting_finds_what_trying_everything_finds() -> None:
    """The oracle tries 11 scales and 11 shifts each way, as a product of both axes' best."""
    picture = _textures(1, 9)[0]
    moved = _moved(picture, (0.97, 0.97), (0.03, 0.03))
    steps = np.linspace(-0.06, 0.06, 11)
    tried = [
        _moved(picture, (1 + scale, 1 + scale), (shift, shift))
        for scale in steps
        for shift in steps
    ]
    aim = local_contrast(moved[None])
    best = max(float(agreement(local_contrast(one[None]), aim)[0]) for one in tried)
    assert float(fitted(picture[None], moved[None])[0]) >= best - 0.02


def test_different_pictures_do_not_come_to_agree() -> None:
    ours, theirs = _textures(40, 1), _textures(40, 2)
    assert fitted(ours, theirs).max() < 0.5


def test_what_is_moved_too_far_is_left() -> None:
    picture = _textures(1, 3)
    moved = np.roll(picture, round(2 * MOST * SIDE), axis=2)
    assert float(fitted(picture, moved)[0]) < 0.6
