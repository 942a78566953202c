"""Outlines against generated heads whose regions are known, and against literal morphology."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from clearhead.data.heads import Head, head
from clearhead.data.plant import PLANTS
from clearhead.data.read import read
from clearhead.data.silhouette import SEARCH_PX, grown, head_mask, largest, reduced, shrunk

RNG = np.random.default_rng(3)
CASES = [
    (plane, contrast, seed)
    for seed, (plane, contrast) in enumerate(
        (plane, contrast)
        for plane in ("axial", "coronal", "sagittal")
        for contrast in ("T1", "T1-CE", "T2", "FLAIR")
    )
]


@cache
def drawn(plane: str, contrast: str, seed: int) -> Head:
    return head((31, seed), plane=plane, contrast=contrast)


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def mask_of(pixels: NDArray[Any]) -> NDArray[np.bool_]:
    found = head_mask(pixels.astype(np.float32))
    assert found.found
    return found.mask


def truth(regions: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The head by the generator's own map, on the grid of a mask."""
    whole = Image.fromarray((regions > 0).astype(np.float32))
    return np.asarray(whole.resize((shape[1], shape[0]), Image.Resampling.BOX)) > 0.5


@pytest.mark.parametrize(("plane", "contrast", "seed"), CASES)
def test_the_outline_is_that_of_the_head(plane: str, contrast: str, seed: int) -> None:
    picture = drawn(plane, contrast, seed)
    mask = mask_of(picture.pixels)
    assert (
        dice(mask, truth(picture.regions, mask.shape)) > 0.9
    )  # very dark tissue under a narrow window may be lost


def test_outlines_are_right_on_average() -> None:
    masks = [(mask_of(drawn(*case).pixels), drawn(*case).regions) for case in CASES]
    assert np.mean([dice(mask, truth(regions, mask.shape)) for mask, regions in masks]) > 0.98


@pytest.mark.parametrize("plant", ["corner", "border", "text"])
def test_marks_beside_the_head_are_not_head(plant: str) -> None:
    plain = drawn(*CASES[1])
    marked = PLANTS[plant](plain, np.random.default_rng(5))
    assert (marked.pixels != plain.pixels).any()
    assert dice(mask_of(plain.pixels), mask_of(marked.pixels)) > 0.99


@pytest.mark.parametrize("shape", [(256, 256), (128, 128), (211, 160), (90, 301), (37, 51)])
def test_a_mirrored_picture_has_a_mirrored_outline(shape: tuple[int, int]) -> None:
    pixels = np.asarray(Image.fromarray(drawn(*CASES[2]).pixels).resize(shape[::-1]))
    mask = mask_of(pixels)
    np.testing.assert_array_equal(mask_of(pixels[:, ::-1]), mask[:, ::-1])
    np.testing.assert_array_equal(mask_of(pixels[::-1]), mask[::-1])
    share = min(1, SEARCH_PX / max(shape))
    assert mask.shape == tuple(round(side * share) for side in shape)


@pytest.mark.parametrize("case", CASES[::5])
def test_one_object_without_holes(case: tuple[str, str, int]) -> None:
    mask = mask_of(drawn(*case).pixels)
    assert ndimage.label(mask)[1] == 1
    np.testing.assert_array_equal(ndimage.binary_fill_holes(mask), mask)


def test_units_do_not_matter() -> None:
    pixels = drawn(*CASES[3]).pixels.astype(np.float32)
    np.testing.assert_array_equal(mask_of(pixels), mask_of(pixels * 256 + 1024))


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((60, 80)),
        np.full((300, 200), 17.0),
        np.pad(np.full((6, 6), 255.0), 60),  # a speck
        np.zeros((1, 1)),
        np.arange(3.0)[None],
    ],
)
def test_where_nothing_stands_out_the_whole_picture_counts(pixels: NDArray[np.float64]) -> None:
    found = head_mask(pixels.astype(np.float32))
    assert not found.found
    assert found.mask.all()


def test_letters_alone_are_no_head() -> None:
    pixels = np.zeros((256, 256), np.float32)
    for row in range(8, 250, 24):
        pixels[row : row + 3, 20:230] = 200
    assert not head_mask(pixels).found


@pytest.mark.parametrize("shape", [(2000, 1), (1, 2000), (3, 500), (129, 127)])
def test_odd_shapes_are_no_trouble(shape: tuple[int, int]) -> None:
    assert min(head_mask(RNG.random(shape, np.float32)).mask.shape) >= 1
    assert max(reduced(np.zeros(shape, np.float32)).shape) <= SEARCH_PX


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_growing_is_alternate_dilation(steps: int) -> None:
    mask = RNG.random((31, 44)) < 0.02
    before = mask.copy()
    cross, square = (ndimage.generate_binary_structure(2, kind) for kind in (1, 2))
    slow = mask
    for step in range(steps):
        slow = ndimage.binary_dilation(slow, square if step % 2 else cross)
    np.testing.assert_array_equal(grown(mask, steps), slow)
    np.testing.assert_array_equal(shrunk(~mask, steps), ~slow)
    np.testing.assert_array_equal(mask, before)


def test_the_largest_object() -> None:
    mask = np.zeros((9, 9), bool)
    mask[1:3, 1:3] = mask[5:8, 4:8] = True
    found = largest(mask)
    assert found is not None
    assert found.sum() == 12
    assert found[5:8, 4:8].all()
    assert largest(np.zeros((4, 4), bool)) is None


@pytest.mark.realdata
def test_real_heads_stand_out(realdata: Path) -> None:
    pictures = sorted((realdata / "meningioma708" / "images").glob("*.jpg"))[::40]
    found = [head_mask(read(path, colour="mean").pixels) for path in pictures]
    assert len(found) > 8
    assert np.mean([each.found and 0.2 < each.mask.mean() < 0.9 for each in found]) > 0.9
