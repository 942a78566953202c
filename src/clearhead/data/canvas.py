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
    rows = _weights(heat.shape[0], grid, placement, axis=0)
    columns = _weights(heat.shape[1], grid, placement, axis=1)
    return (rows @ heat @ columns.T).astype(np.float32)


def _weights(cells: int, grid: Grid, placement: Placement, *, axis: int) -> NDArray[np.float32]:
    """Linear interpolation along one axis as a matrix (pixels, cells)."""
    first, last = placement.box[axis], placement.box[axis + 2]
    pixels = np.arange(first, last)
    positions = (pixels + 0.5 - first) * placement.scale[axis] + placement.target[axis] - 0.5
    weights = np.zeros((placement.shape[axis], cells), np.float32)
    weights[pixels] = _between(positions, cells, grid)
    return weights


def on_square(maps: NDArray[np.float32], grid: Grid, size_px: int) -> NDArray[np.float32]:
    """Maps of evidence (B, h, w) on their squares, (B, size_px, size_px): `lift`, one step short.

    Bilinear between cell centres; beyond the outermost centres the nearest cell holds.
    """
    down = _between(np.arange(size_px), maps.shape[1], grid)
    across = _between(np.arange(size_px), maps.shape[2], grid)
    return (down @ maps @ across.T).astype(np.float32)


def _between(positions: NDArray[Any], cells: int, grid: Grid) -> NDArray[np.float32]:
    """Weights (P, cells) of linear interpolation at positions on the square, in pixels."""
    place_in_map = np.clip((positions - grid.offset_px) / grid.stride_px, 0, cells - 1)
    below = np.minimum(np.floor(place_in_map).astype(int), max(cells - 2, 0))
    share = place_in_map - below
    weights = np.zeros((len(positions), cells), np.float32)
    rows = np.arange(len(positions))
    weights[rows, below] = 1 - share
    weights[rows, np.minimum(below + 1, cells - 1)] += share.astype(np.float32)
    return weights
