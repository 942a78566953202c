"""How alike two maps of heat are: ranks, structure, and where both are hottest.

Maps come as (B, h, w) and are compared row by row. A map that is the same everywhere has no order:
what it is compared by is NaN, and averages leave it out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

HOTTEST = 0.1
"""Share of the cells that counts as the hottest part of a map."""

WINDOW = 7
"""Side of the window of `ssim`, in cells, as in the reference implementation for small windows."""


def spearman(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """Spearman's rank correlation of each pair of maps (B, h, w), (B,) in -1…1; ties share ranks.

    NaN where a map is the same everywhere.
    """
    found: NDArray[np.float64] = np.einsum("bn,bn->b", unit_ranks(one), unit_ranks(other))
    return found


def unit_ranks(maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """Ranks of each map's cells, centred and of length 1, (B, n): their products correlate maps.

    NaN where a map is the same everywhere.
    """
    flat = maps.reshape(len(maps), -1)
    ranks = stats.rankdata(flat, axis=1) - (flat.shape[1] + 1) / 2
    length = np.linalg.norm(ranks, axis=1, keepdims=True)
    found: NDArray[np.float64] = ranks / np.where(length > 0, length, np.nan)
    return found


def overlap(
    one: NDArray[np.float32], other: NDArray[np.float32], share: float = HOTTEST
) -> NDArray[np.float64]:
    """Intersection over union of the hottest parts of two maps (B, h, w), (B,) in 0…1.

    NaN where a map is the same everywhere.
    """
    first, second = hottest(one, share), hottest(other, share)
    union = (first | second).sum((1, 2))
    found = (first & second).sum((1, 2)) / np.maximum(union, 1)
    return np.where(_flat(one) | _flat(other), np.nan, found)


def hottest(maps: NDArray[np.float32], share: float = HOTTEST) -> NDArray[np.bool_]:
    """The hottest `share` of each map's cells, (B, h, w).

    Cells as hot as the last one taken belong to it, so no order of the cells decides; cells
    without heat never do.
    """
    flat = maps.reshape(len(maps), -1)
    count = max(1, round(share * flat.shape[1]))
    least = -np.partition(-flat, count - 1, axis=1)[:, count - 1]
    found: NDArray[np.bool_] = (maps >= least[:, None, None]) & (maps > 0)
    return found


def ssim(
    one: NDArray[np.float32], other: NDArray[np.float32], window: int = WINDOW
) -> NDArray[np.float64]:
    """Structural similarity of each pair of maps (B, h, w), each scaled to a maximum of 1, (B,).

    The mean over all windows that lie inside; NaN where a map has no heat or is smaller than a
    window. Source: Wang et al., "Image quality assessment", IEEE Transactions on Image Processing
    2004, equation 13, with a square window, K1 = 0.01 and K2 = 0.03.
    """
    if min(one.shape[1:]) < window:
        return np.full(len(one), np.nan)
    x, y = _to_one(one), _to_one(other)
    mean_x, mean_y = _means(x, window), _means(y, window)
    spread_x = _means(x * x, window) - mean_x**2
    spread_y = _means(y * y, window) - mean_y**2
    common = _means(x * y, window) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    like = (2 * mean_x * mean_y + c1) * (2 * common + c2)
    like /= (mean_x**2 + mean_y**2 + c1) * (spread_x + spread_y + c2)
    found: NDArray[np.float64] = like.mean((1, 2))
    return found


def _flat(maps: NDArray[np.float32]) -> NDArray[np.bool_]:
    flat: NDArray[np.bool_] = maps.max((1, 2)) == maps.min((1, 2))
    return flat


def _to_one(maps: NDArray[np.float32]) -> NDArray[np.float64]:
    peak = maps.max((1, 2), keepdims=True).astype(np.float64)
    scaled: NDArray[np.float64] = maps / np.where(peak > 0, peak, np.nan)
    return scaled


def _means(maps: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Means over the windows that lie inside each map, (B, h - window + 1, w - window + 1)."""
    kernel = np.full(window, 1 / window)
    along = ndimage.correlate1d(ndimage.correlate1d(maps, kernel, 1), kernel, 2)
    edge = window // 2
    inside: NDArray[np.float64] = along[:, edge : -edge or None, edge : -edge or None]
    return inside
