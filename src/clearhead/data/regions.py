"""Background, rim and brain of a drawn square, by thresholds and shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clearhead.data.silhouette import head_mask, shrunk
from clearhead.types import BACKGROUND, BRAIN, RIM

RIM_SHARE = 0.1
"""Width of scalp and skull, as a share of the head's diameter."""


def classical(squares: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Region of every pixel of squares (B, S, S), and how sure that is, (B,) in 0…1.

    The silhouette of the head, and within it a rim of a stated width.
    """
    found = [_one(square) for square in squares]
    labels = np.stack([labels for labels, _ in found])
    return labels, np.array([sure for _, sure in found], np.float32)


def _one(square: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    outline = head_mask(square.astype(np.float32))
    if not outline.found:
        return np.full(square.shape, BRAIN, np.uint8), 0.0
    width = RIM_SHARE * 2 * np.sqrt(np.count_nonzero(outline.mask) / np.pi)
    inside = shrunk(np.pad(outline.mask, 1), round(width))[1:-1, 1:-1]
    labels = np.where(inside, BRAIN, np.where(outline.mask, RIM, BACKGROUND)).astype(np.uint8)
    size = (square.shape[1], square.shape[0])
    return np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST)), 1.0
