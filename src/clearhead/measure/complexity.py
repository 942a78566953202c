"""How much of a picture a heatmap speaks of: a few places, or everywhere alike.

Maps are (B, h, w) of heat ≥ 0; a map without heat has no shares, and its figures are NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def entropy(maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """Entropy of the cells' shares of heat over that of even heat, (B,): 0 one cell, 1 even.

    Source: Bhatt et al., "Evaluating and aggregating feature-based model explanations", IJCAI
    2020, definition 3, divided by ln n.
    """
    shares = _shares(maps)
    logs = np.log(np.where(shares > 0, shares, 1.0))
    found: NDArray[np.float64] = -(shares * logs).sum(1) / np.log(max(shares.shape[1], 2))
    return found


def gini(maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """Gini index of the cells' heat, (B,): 0 even, 1 - 1/n one cell.

    Source: Chalasani et al., "Concise explanations of neural networks using adversarial
    training", ICML 2020, section 5.
    """
    shares = np.sort(_shares(maps), axis=1)
    count = shares.shape[1]
    weights = (count - np.arange(1, count + 1) + 0.5) / count
    found: NDArray[np.float64] = 1 - 2 * (shares * weights).sum(1)
    return found


def half_area(maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """Smallest share of the area that holds half of the heat, (B,): 0.5 even.

    Of the cell in which the half is reached, the part counts that is needed.
    """
    shares = -np.sort(-_shares(maps), axis=1)
    before = np.cumsum(shares, axis=1) - shares
    needed = np.clip((0.5 - before) / np.where(shares > 0, shares, 1.0), 0, 1)
    found: NDArray[np.float64] = np.where(shares > 0, needed, 0.0).sum(1) / shares.shape[1]
    return np.where(np.isnan(shares[:, 0]), np.nan, found)


def _shares(maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """Each cell's share of its map's heat, (B, n)."""
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    total = flat.sum(1, keepdims=True)
    shares: NDArray[np.float64] = flat / np.where(total > 0, total, np.nan)
    return shares
