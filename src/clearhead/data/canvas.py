"""From a picture's own grid to the square that a net sees, and exactly back.

A `Placement` is the one description of the geometry: `draw` follows it forwards, `lift` carries a
map of evidence back onto the picture's grid. Coordinates are edges: pixel *i* spans [i, i+1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from clearhead.types import Scan

MARGIN = 0.04
"""Air left around the head, as a share of its longer side."""

_SEARCH_PX = 128
"""The head is looked for in a picture reduced to about this size."""

_SCALP = 9
"""Pixels of the reduced picture that skull and scalp may add around the brain."""


@dataclass(frozen=True)
class Placement:
    """The rectangle of the picture that is drawn, and the rectangle of the square it fills.

    `box` is (top, left, bottom, right) in picture pixels, `target` the same in square pixels;
    outside `target` the square is background (0).
    """

    fit: str
    shape: tuple[int, int]
    size_px: int
    box: tuple[int, int, int, int]
    target: tuple[int, int, int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """Square pixels per picture pixel, down and across."""
        return (
            (self.target[2] - self.target[0]) / (self.box[2] - self.box[0]),
            (self.target[3] - self.target[1]) / (self.box[3] - self.box[1]),
        )


@dataclass(frozen=True)
class Grid:
    """Where the cells of an evidence map lie on the square: centre of cell i = offset + stride·i.

    Both in square pixels, in pixel-centre coordinates (the centre of pixel 0 is 0).
    """

    offset_px: float
    stride_px: float


def place(scan: Scan, *, fit: str, size_px: int) -> Placement:
    """How `scan` meets the square: `canvas` crops to the head and keeps its shape, `stretch` fills.

    The head is the largest bright object; where none stands out, the whole picture is the head.
    """
    height, width = scan.pixels.shape
    whole = (0, 0, height, width)
    if fit == "stretch":
        return Placement(fit, (height, width), size_px, whole, (0, 0, size_px, size_px))
    top, left, bottom, right = _with_margin(find_head(scan.pixels), (height, width))
    scale = size_px / max(bottom - top, right - left)
    rows = max(1, round((bottom - top) * scale))
    columns = max(1, round((right - left) * scale))
    down, across = (size_px - rows) // 2, (size_px - columns) // 2
    return Placement(
        fit,
        (height, width),
        size_px,
        (top, left, bottom, right),
        (down, across, down + rows, across + columns),
    )


def find_head(pixels: NDArray[np.float32]) -> tuple[int, int, int, int]:
    """Bounding box (top, left, bottom, right) of the largest bright object in a (H, W) picture."""
    height, width = pixels.shape
    step = max(1, round(max(height, width) / _SEARCH_PX))
    small = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).reduce(step))
    low, high = np.percentile(small, (2, 98))
    bright = small > low + 0.12 * (high - low)
    solid = ndimage.binary_opening(bright, iterations=2)  # marks and letters are thin
    labels, count = ndimage.label(solid)
    if not count or not high > low:
        return 0, 0, height, width
    brain = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    if np.count_nonzero(brain) < 0.05 * small.size:
        return 0, 0, height, width
    # The scalp is thin too, but lies close around: what is bright there belongs to the head.
    head = bright & ndimage.binary_dilation(brain, iterations=_SCALP)
    rows, columns = ndimage.find_objects(head.astype(np.uint8))[0]
    return (
        rows.start * step,
        columns.start * step,
        min(height, rows.stop * step),
        min(width, columns.stop * step),
    )


def _with_margin(
    box: tuple[int, int, int, int], shape: tuple[int, int]
) -> tuple[int, int, int, int]:
    top, left, bottom, right = box
    margin = round(MARGIN * max(bottom - top, right - left))
    return (
        max(0, top - margin),
        max(0, left - margin),
        min(shape[0], bottom + margin),
        min(shape[1], right + margin),
    )


def draw(scan: Scan, placement: Placement) -> NDArray[np.uint8]:
    """The square that the net sees, (size_px, size_px) uint8.

    `stretch` is the plain resize of the report: nearest neighbour, 8-bit intensities as stored
    (other depths between their own minimum and maximum). `canvas` resamples once with
    anti-aliasing and windows between the 0.5th and 99.5th percentile of what it shows.
    """
    picture = Image.fromarray(np.ascontiguousarray(scan.pixels))
    top, left, bottom, right = placement.target
    above, before, below, after = placement.box
    resample = Image.Resampling.NEAREST if placement.fit == "stretch" else Image.Resampling.BILINEAR
    drawn = np.asarray(
        picture.resize((right - left, bottom - top), resample, box=(before, above, after, below))
    )
    if placement.fit == "stretch":
        low, high = (0.0, 255.0) if scan.depth == 255.0 else _range(scan.pixels, 0, 100)
    else:
        low, high = _range(drawn, 0.5, 99.5)
    square = np.zeros((placement.size_px, placement.size_px), np.uint8)
    square[top:bottom, left:right] = _windowed(drawn, low, high)
    return square


def _range(pixels: NDArray[np.float32], low: float, high: float) -> tuple[float, float]:
    first, last = np.percentile(pixels, (low, high))
    return float(first), float(last)


def _windowed(pixels: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """Intensities between `low` and `high` as 0…255; a flat picture is background."""
    if not high > low:
        return np.zeros(pixels.shape, np.uint8)
    share = np.clip((pixels - low) * (255.0 / (high - low)), 0, 255)
    values: NDArray[np.uint8] = np.rint(share).astype(np.uint8)
    return values


def lift(heat: NDArray[np.float32], grid: Grid, placement: Placement) -> NDArray[np.float32]:
    """A map of evidence (h, w) on the picture's own grid (H, W), bilinear between cell centres.

    Beyond the outermost centres the nearest cell holds; outside the box that was drawn the net
    saw nothing, so the value is 0.
    """
    top, left, bottom, right = placement.box
    lifted = np.zeros(placement.shape, np.float32)
    lifted[top:bottom, left:right] = _between(
        heat, _positions(placement, 0), _positions(placement, 1), grid
    )
    return lifted


def _positions(placement: Placement, axis: int) -> NDArray[Any]:
    """Where the pixels of the box that was drawn lie on the square, along one axis."""
    first, last = placement.box[axis], placement.box[axis + 2]
    pixels: NDArray[Any] = np.arange(first, last) + 0.5 - first
    return pixels * placement.scale[axis] + placement.target[axis] - 0.5


def on_square(maps: NDArray[np.float32], grid: Grid, size_px: int) -> NDArray[np.float32]:
    """Maps of evidence (B, h, w) on their squares, (B, size_px, size_px): `lift`, one step short.

    Bilinear between cell centres; beyond the outermost centres the nearest cell holds.
    """
    pixels = np.arange(size_px)
    return _between(maps, pixels, pixels, grid)


def _between(
    maps: NDArray[np.float32], down: NDArray[Any], across: NDArray[Any], grid: Grid
) -> NDArray[np.float32]:
    """Maps (…, h, w) at positions on the square, in pixels: (…, len(down), len(across)).

    Taken number by number and not as a product of matrices, which adds up in another order from
    row to row: places that are alike must have one value, or ties for the hottest are broken.
    """
    above, below, share = _cells(down, maps.shape[-2], grid)
    rows = maps[..., above, :] * (1 - share[:, None]) + maps[..., below, :] * share[:, None]
    before, after, share = _cells(across, maps.shape[-1], grid)
    found: NDArray[np.float32] = rows[..., before] * (1 - share) + rows[..., after] * share
    return found


def _cells(
    positions: NDArray[Any], cells: int, grid: Grid
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """The cells that positions lie between, and the share of the second in float32, each (P,)."""
    place = np.clip((positions - grid.offset_px) / grid.stride_px, 0, cells - 1)
    first = np.minimum(np.floor(place).astype(np.int64), max(cells - 2, 0))
    return first, np.minimum(first + 1, cells - 1), (place - first).astype(np.float32)
