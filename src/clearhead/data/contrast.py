"""What of a picture stays under another brightness, contrast or gamma, and its flips and turns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.data.thumbnail import SIDE

WINDOW_PX = 2.0
"""Standard deviation of the Gaussian neighbourhood, in thumbnail pixels."""

FLOOR = 12.0
"""Added to the local spread, in thumbnail levels, so that the noise of empty places stays small."""

TURNS = 8
"""Flips and quarter turns of a square, see `turned`."""

UNDONE = (0, 1, 2, 3, 4, 6, 5, 7)
"""The turn that undoes each: a quarter turn goes back, the rest undo themselves."""


def turned(pictures: NDArray[Any], turn: int) -> NDArray[Any]:
    """Pictures (…, H, W) under one of the 8 flips and quarter turns, as a view.

    Bit 4 of `turn` transposes first, bit 1 then mirrors left and right, bit 2 top and bottom. So
    0 is the picture itself, 1 and 2 its mirrors, 3 half a turn, 5 and 6 a quarter turn clockwise
    and anticlockwise, 4 and 7 the mirrors about the two diagonals.
    """
    if turn & 4:
        pictures = pictures.swapaxes(-1, -2)
    if turn & 1:
        pictures = pictures[..., ::-1]
    if turn & 2:
        pictures = pictures[..., ::-1, :]
    return pictures


def local_contrast(thumbnails: NDArray[Any]) -> NDArray[np.float32]:
    """Each pixel minus its neighbourhood's mean, over the neighbourhood's spread; unit length.

    Shapes: (n, 64, 64) of 0…255 → (n, 64, 64) float32 with mean 0 and sum of squares 1 (0 where the
    thumbnail is constant), so that a dot product is a normalised correlation. Flips and quarter
    turns commute with it.
    """
    values = thumbnails.astype(np.float32)
    mean = _blurred(values)
    spread = np.sqrt(np.maximum(_blurred(values * values) - mean * mean, 0.0))
    contrast = (values - mean) / (spread + np.float32(FLOOR))
    contrast -= contrast.mean(axis=(1, 2), keepdims=True)
    length = np.sqrt(np.square(contrast).sum(axis=(1, 2), keepdims=True))
    unit: NDArray[np.float32] = contrast / np.maximum(length, 1e-1)
    return unit


def agreement(
    first: NDArray[np.float32], second: NDArray[np.float32], turn: int = 0
) -> NDArray[np.float32]:
    """Normalised correlation, (n,), of local contrasts (n, 64, 64), the first of them turned."""
    found: NDArray[np.float32] = np.einsum("nij,nij->n", turned(first, turn), second)
    return found


def _blurred(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    place = np.arange(SIDE)
    weights = np.exp(-np.square(place[:, None] - place[None, :]) / (2 * WINDOW_PX**2))
    weights /= weights.sum(axis=1, keepdims=True)  # at the edge, of what is inside alone
    kernel = weights.astype(np.float32)
    blurred: NDArray[np.float32] = kernel @ pictures @ kernel.T
    return blurred
