"""The outline of the head: which pixels of a slice are head, skull and scalp included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

SEARCH_PX = 128
"""Longer side of the grid on which the outline is found."""
CONTRAST = 0.12
"""A pixel stands out where it is above the darkest by this share of the range."""
THIN = 2
"""Letters are not thicker than twice these pixels of the grid."""
SCALP = 9
"""Pixels of the grid that skull and scalp may add around the brain."""
GAP = 4
"""A gap in the scalp is closed up to twice these pixels of the grid."""
FRAME = 5
"""A frame is thinner than this, pixels of the grid."""
SMALLEST = 0.05
"""Share of the picture below which an object is no head."""


@dataclass(frozen=True)
class Silhouette:
    """Which pixels are head. Shape: `mask` (h, w) bool on a grid of at most `SEARCH_PX`.

    The grid spans the whole picture. Where no head stands out, `found` is False and all is mask.
    """

    mask: NDArray[np.bool_]
    found: bool


def head_mask(pixels: NDArray[np.float32]) -> Silhouette:
    """The silhouette of the head in a slice (H, W), without holes: one object, scalp included.

    Found on the picture reduced by area averages, its proportions kept; any plane and contrast.
    A picture in which nothing stands out from a darker background has no head to find.
    """
    small = reduced(pixels)
    bright = _bright(small)
    head = None if bright is None else _head(bright)
    if head is None:
        return Silhouette(np.ones(small.shape, bool), False)
    return Silhouette(head, True)


def reduced(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The picture (H, W) by area averages, its longer side `SEARCH_PX` or less, (h, w)."""
    height, width = pixels.shape
    share = min(1.0, SEARCH_PX / max(height, width))
    size = max(1, round(width * share)), max(1, round(height * share))
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(picture.resize(size, Image.Resampling.BOX))


def _bright(small: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    low, high = np.percentile(small, (2, 98))
    bright: NDArray[np.bool_] = small > low + CONTRAST * (high - low)
    return _without_frame(bright) if high > low else None


def _without_frame(bright: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without lines along the edges of the picture that end short of what lies inside.

    A head that the picture cuts off goes on inwards; a frame doesn't.
    """
    bright = bright.copy()
    for lines in (bright, bright[::-1], bright.T, bright.T[::-1]):
        share = lines[: FRAME + 3].mean(axis=1)
        framed = (share[:FRAME] >= 0.8) & (share[-1] < 0.6)
        if framed.any():
            lines[: np.flatnonzero(framed)[-1] + 1] = False
    return bright


def _head(bright: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    solid = shrunk(bright, THIN)  # letters are thin
    # Skull base and air part a head into several solid pieces; what lies close belongs together.
    core = largest(grown(solid, THIN + GAP))
    if core is None:
        return None
    # The scalp is thin too, but lies close around: what is bright there belongs to the head.
    near = bright & grown(core, SCALP - GAP)
    closed = _closed(near, GAP)
    head = largest(grown(shrunk(_without_holes(closed), THIN), THIN))
    if head is None or np.count_nonzero(head) < SMALLEST * head.size:
        return None
    return head


def _closed(mask: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    """Gaps and bays narrower than twice `steps` filled; the picture's edge closes nothing."""
    wide = np.pad(mask, steps)
    return shrunk(grown(wide, steps), steps)[steps:-steps, steps:-steps]


def _without_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask (h, w) and all that it encloses."""
    labels, _ = ndimage.label(~np.pad(mask, 1))
    filled: NDArray[np.bool_] = labels[1:-1, 1:-1] != labels[0, 0]
    return filled


def largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """The largest connected object of a mask (h, w); None where the mask is empty."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask if count else None
    sizes = np.bincount(labels.ravel())
    object_: NDArray[np.bool_] = labels == 1 + sizes[1:].argmax()
    return object_


def grown(mask: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    """The mask (h, w) widened by `steps` pixels, about evenly all around (an octagon).

    Steps to four and to eight neighbours take turns, by shifted copies: ten times as fast as a
    general dilation.
    """
    for step in range(steps):
        across = mask.copy()
        across[:, 1:] |= mask[:, :-1]
        across[:, :-1] |= mask[:, 1:]
        along = across if step % 2 else mask
        mask = across.copy()
        mask[1:] |= along[:-1]
        mask[:-1] |= along[1:]
    return mask


def shrunk(mask: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    """The mask (h, w) made narrower by `steps` pixels; beyond the edge lies mask."""
    return ~grown(~mask, steps)
