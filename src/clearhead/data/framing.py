"""Thumbnails of what a picture shows, whatever room it leaves around it.

A copy with its border cut off, or with one added, squeezes into another thumbnail. So the head is
looked for in each thumbnail and drawn over the whole of it, and two of those are compared under
the small scale and shift in which they agree best.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clearhead.data.contrast import agreement, local_contrast
from clearhead.data.silhouette import head_mask
from clearhead.data.thumbnail import SIDE

BRIGHT_PX = 8
"""Brightest pixels of a line across the picture whose mean says whether the head reaches it."""

REACHED = 0.25
"""A line is of the head where that mean is above this share of what most of its lines have."""

STEPS = 8
"""Steps in which scale and shift are found."""

MOST = 0.15
"""Largest change of scale, and largest shift as a share of half a side."""

RIM_PX = 3
"""Pixels at the edge that don't decide about scale and shift: what they show may be cut off."""


def boxes_of(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """First and last row, first and last column of the head in each thumbnail, (n, 2, 2).

    Between pixels too, in pixel-centre coordinates; (n, 64, 64) →. What stands apart from the head,
    as letters do, is no part of it; where no head stands out, the whole thumbnail is the head.
    """
    boxes = np.empty((len(thumbnails), 2, 2), dtype=np.float32)
    for place, thumbnail in enumerate(thumbnails.astype(np.float32)):
        head = np.where(head_mask(thumbnail).mask, thumbnail, 0.0)
        boxes[place] = _reach(head), _reach(head.T)
    return boxes


def framed(thumbnails: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Thumbnails (n, 64, 64) with what lies in their boxes (n, 2, 2) drawn over the whole."""
    share = np.linspace(0, 1, SIDE, dtype=np.float32)
    places = boxes[:, :, :1] + (boxes[:, :, 1:] - boxes[:, :, :1]) * share
    return _drawn(thumbnails.astype(np.float32), places[:, 0], places[:, 1])


def fitted(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Best correlation of local contrast, (n,), of pairs of pictures (n, 64, 64) of 0…255.

    The first of each pair is moved by the small scale and shift, down and across, at which the two
    agree best, found by Gauss-Newton steps on their local contrast.
    Source: Lucas and Kanade, "An iterative image registration technique with an application to
    stereo vision", IJCAI 1981.
    """
    place = np.linspace(-1, 1, SIDE, dtype=np.float32)
    half = (SIDE - 1) / 2
    aim = local_contrast(second)
    moves = np.zeros((len(first), 4), dtype=np.float32)
    best = np.full(len(first), -1, dtype=np.float32)
    for _ in range(STEPS):
        scale, shift = 1 + moves[:, :2, None], moves[:, 2:, None]
        places = ((place * scale + shift + 1) * half).astype(np.float32)
        seen = local_contrast(_drawn(first, places[:, 0], places[:, 1]))
        best = np.maximum(best, agreement(seen, aim))
        moves = (moves + _step(seen, aim, place, half)).clip(-MOST, MOST)
    return best


def _step(
    seen: NDArray[np.float32], aim: NDArray[np.float32], place: NDArray[np.float32], half: float
) -> NDArray[np.float32]:
    """What brings `seen` (n, 64, 64) closer to `aim`: scales and shifts, down and across, (n, 4).

    Least squares of the difference, linear in both, and in the strength of the contrast.
    """
    inner = slice(RIM_PX, -RIM_PX)
    down, across = (
        np.gradient(seen, axis=axis)[:, inner, inner] * np.float32(half) for axis in (1, 2)
    )
    place, seen, aim = place[inner], seen[:, inner, inner], aim[:, inner, inner]
    slopes = np.stack([down * place[:, None], across * place, down, across, seen], axis=-1)
    slopes = slopes.reshape(len(seen), -1, 5)
    squares = slopes.swapaxes(1, 2) @ slopes + 1e-4 * np.eye(5, dtype=np.float32)
    rest = slopes.swapaxes(1, 2) @ (aim - seen).reshape(len(seen), -1, 1)
    found: NDArray[np.float32] = np.linalg.solve(squares, rest)[:, :4, 0].astype(np.float32)
    return found


def _reach(head: NDArray[np.float32]) -> tuple[float, float]:
    """Where the head begins and ends down a picture (64, 64), in pixels."""
    profile = np.sort(head, axis=1)[:, -BRIGHT_PX:].mean(axis=1)
    level = REACHED * float(np.percentile(profile, 75))
    reached = np.flatnonzero(profile > level)
    if len(reached) < 2:
        return 0.0, SIDE - 1.0
    # At the edge of the picture the head may go on.
    padded = np.concatenate([profile[:1], profile, profile[-1:]])

    def crossing(inside: int, outside: int) -> float:
        within, beyond = float(padded[inside + 1]), float(padded[outside + 1])
        share = (within - level) / (within - beyond) if within > beyond else 0.5
        return inside + (outside - inside) * share

    first, last = int(reached[0]), int(reached[-1])
    return crossing(first, first - 1), crossing(last, last + 1)


def _drawn(
    pictures: NDArray[np.float32], rows: NDArray[np.float32], columns: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Pictures (n, 64, 64) at rows and columns (n, 64) between their pixels, linear between."""
    drawn = _between(rows) @ pictures @ _between(columns).swapaxes(1, 2)
    return drawn.astype(np.float32, copy=False)


def _between(places: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights of the pixels, (n, 64, 64), at places (n, 64); beyond the edge is the edge."""
    pixel = np.arange(SIDE, dtype=np.float32)
    inside = np.clip(places, 0, SIDE - 1)
    weights: NDArray[np.float32] = np.maximum(1 - np.abs(inside[:, :, None] - pixel), np.float32(0))
    return weights
