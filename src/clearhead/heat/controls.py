"""Heatmaps that know nothing of the classifier: what every figure of a method stands beside.

A method whose share of heat in the brain is that of a Gaussian in the middle of the square has
shown nothing about the classifier. Each control takes a `Ground` and gives heat ≥ 0, (B, S, S)
float32, that depends on nothing but the row itself and the seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from clearhead.types import BACKGROUND

CENTRE_SIGMA = 1 / 6
"""Spread of `centre` as a share of the square's side: nearly all lies within half the side."""

BLOB_SIGMA = 1 / 16
"""Spread of the smoothing behind `blobs` as a share of the square's side."""


_SLOPE, _SMOOTH = (-0.5, 0.0, 0.5), (0.25, 0.5, 0.25)
"""Sobel's operator: the slope along one axis, smoothed along the other."""


@dataclass(frozen=True)
class Ground:
    """The pictures that controls are made for.

    Shapes: `squares` (B, S, S) uint8, `regions` (B, S, S) uint8 of `types.REGIONS`, `others`
    (B, S, S) float32, for each row the heat ≥ 0 of another picture, `rows` (B,) int64.
    """

    squares: NDArray[np.uint8]
    regions: NDArray[np.uint8]
    others: NDArray[np.float32]
    rows: NDArray[np.int64]
    """Which rows these are; with the seed they decide every random number."""
    seed: int = 0


def uniform(ground: Ground) -> NDArray[np.float32]:
    """1 everywhere: any share of its heat is the share of the area."""
    return np.ones(ground.squares.shape, np.float32)


def centre(ground: Ground) -> NDArray[np.float32]:
    """A Gaussian in the middle of the square, `CENTRE_SIGMA` of its side wide; 1 at its top."""
    count, side, _ = ground.squares.shape
    away = (np.arange(side) - (side - 1) / 2) / (CENTRE_SIGMA * side)
    bell = np.exp(-0.5 * away**2).astype(np.float32)
    return np.repeat(np.outer(bell, bell)[None], count, 0)


def edges(ground: Ground) -> NDArray[np.float32]:
    """Length of the picture's gradient by Sobel's operator, in grey levels per pixel."""
    grey = ground.squares.astype(np.float32)
    # One 3-D Sobel would smooth from picture to picture: each axis gets its two passes by hand.
    down = _along(_along(grey, _SLOPE, 1), _SMOOTH, 2)
    across = _along(_along(grey, _SLOPE, 2), _SMOOTH, 1)
    length: NDArray[np.float32] = np.hypot(down, across)
    return length


def _along(grey: NDArray[np.float32], kernel: tuple[float, ...], axis: int) -> NDArray[np.float32]:
    found: NDArray[np.float32] = ndimage.correlate1d(grey, kernel, axis, mode="nearest")
    return found


def blobs(ground: Ground) -> NDArray[np.float32]:
    """White noise smoothed by a Gaussian of `BLOB_SIGMA`, what is below 0 cut off; per row."""
    side = ground.squares.shape[1]
    draws = [np.random.default_rng((ground.seed, int(row))) for row in ground.rows]
    noise = [random.standard_normal((side, side), np.float32) for random in draws]
    shape = (len(draws), side, side)
    sigma = (0.0, BLOB_SIGMA * side, BLOB_SIGMA * side)
    smooth: NDArray[np.float32] = ndimage.gaussian_filter(
        np.array(noise, np.float32).reshape(shape), sigma, mode="wrap"
    )
    above: NDArray[np.float32] = np.maximum(smooth, 0)
    return above


def head(ground: Ground) -> NDArray[np.float32]:
    """1 on rim and brain, 0 on background: knows where the head is and nothing more."""
    inside: NDArray[np.float32] = np.not_equal(ground.regions, BACKGROUND).astype(np.float32)
    return inside


def other(ground: Ground) -> NDArray[np.float32]:
    """The heat of another picture: knows the method's habits and nothing of this picture."""
    return np.maximum(ground.others, 0).astype(np.float32)


CONTROLS: dict[str, Callable[[Ground], NDArray[np.float32]]] = {
    "uniform": uniform,
    "centre": centre,
    "edges": edges,
    "blobs": blobs,
    "head": head,
    "other": other,
}
"""Every control by its name."""
