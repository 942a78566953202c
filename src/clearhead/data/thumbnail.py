"""A picture in 64×64 bytes, and the 64-bit hash of how it looks."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SIDE = 64
"""Rows and columns of a thumbnail."""

HASH_SIDE = 8
"""Frequencies per axis in the perceptual hash: 8·8 = 64 bits."""


def thumbnail(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The whole picture squeezed to a square by exact area averages, its range made 0–255.

    Each thumbnail pixel is the mean over the (fractional) rectangle of the picture that it covers,
    so a stretched copy gets the same thumbnail, and flips and quarter turns commute with it.

    Shapes: (H, W) of any range, H, W ≥ 1 → (64, 64) uint8. Values that are not finite count as the
    smallest finite one; a constant picture gives zeros.
    """
    small = _overlap(pixels.shape[0]) @ _finite(pixels) @ _overlap(pixels.shape[1]).T
    low, high = float(small.min()), float(small.max())
    # Averages of a constant differ in their last bits; that is no contrast.
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        return np.zeros((SIDE, SIDE), dtype=np.uint8)
    scaled: NDArray[np.uint8] = np.rint((small - low) * (255.0 / (high - low))).astype(np.uint8)
    return scaled


def phash(thumb: NDArray[np.uint8]) -> int:
    """The perceptual hash of a thumbnail: signs of its 64 lowest frequencies about their median.

    Shapes: (64, 64) uint8 → an integer of 64 bits, row by row, the highest bit first. The constant
    term takes no part in the median. A mirrored picture has another hash. Source: C. Zauner,
    *Implementation and Benchmarking of Perceptual Image Hash Functions* (2010), section 3.2.1.
    """
    basis = cosines(SIDE)[:HASH_SIDE]
    low = (basis @ thumb.astype(np.float64) @ basis.T).ravel()
    bits = low > np.median(low[1:])
    # Sums of equal terms differ in their last bits: what should be 0 must not become a 1.
    bits &= np.abs(low) > 1e-6
    return int("".join("1" if bit else "0" for bit in bits), 2)


@lru_cache(maxsize=8)
def cosines(side: int) -> NDArray[np.float64]:
    """The orthonormal type-II cosine transform as a matrix, (side, side): rows are frequencies."""
    frequency = np.arange(side)[:, None]
    place = np.arange(side)[None, :]
    angle = np.pi * frequency * (2 * place + 1) / (2 * side)
    matrix: NDArray[np.float64] = np.sqrt(2.0 / side) * np.cos(angle)
    matrix[0] /= np.sqrt(2.0)
    matrix.setflags(write=False)
    return matrix


@lru_cache(maxsize=256)
def _overlap(length: int) -> NDArray[np.float64]:
    """Share of each of `length` pixels in each of the 64 cells along one axis, (64, length)."""
    edges = np.arange(SIDE + 1) * (length / SIDE)
    pixel = np.arange(length)
    first = np.maximum(edges[:-1, None], pixel)
    last = np.minimum(edges[1:, None], pixel + 1)
    shares: NDArray[np.float64] = np.clip(last - first, 0.0, None) * (SIDE / length)
    shares.setflags(write=False)
    return shares


def _finite(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    values = pixels.astype(np.float64)
    finite = np.isfinite(values)
    if finite.all():
        return values
    smallest = values[finite].min() if finite.any() else 0.0
    return np.where(finite, values, smallest)
