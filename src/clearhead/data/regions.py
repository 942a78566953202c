"""Background, rim and brain of a drawn square, by thresholds and shape: no weights needed.

The head is the silhouette; the brain is what a closed line around the head's middle encloses, laid
where the picture darkens outwards (or, in CT, brightens), about a skull's width below the skin.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from clearhead.data.canvas import Placement
from clearhead.data.silhouette import head_mask, reduced
from clearhead.types import BACKGROUND, BRAIN, RIM

Floats = NDArray[np.float32]

ANGLES = 72
"""Rays from the middle of the head."""
RADII = np.linspace(0.45, 1.75, 66).astype(np.float32)
"""Where on a ray the line may run, as shares of the largest circle that fits into the head."""
EDGE = 3
"""Steps of a ray over which inside and outside of the line are compared."""
SKULL = 0.21
"""Usual width of scalp and skull, as a share of that circle's radius."""
LOOSE = 0.08
"""How far the line may stray from the usual width, as a share of that circle's radius."""
STRANGE = 2.5
"""Farther off than the root of this many times `LOOSE` the usual width says nothing any more."""
PULL = 11.0
"""What a step of grey by the head's whole range is worth against straying."""
THINNEST = 0.1
"""Scalp and skull are no thinner than this: the line does not run along the skin."""
FARTHEST = 1.3
"""The brain's usual reach: beyond it face and neck begin."""
CRUMB = 0.05
"""Pieces smaller than this share of the largest are crumbs."""


def classical(squares: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Region of every pixel of squares (B, S, S), and how sure that is, (B,) in 0…1."""
    found = [_one(square) for square in squares]
    labels = np.stack([labels for labels, _ in found])
    return labels, np.array([sure for _, sure in found], np.float32)


def tidied(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Labels (S, S) of one head: no crumbs beside it, no holes in it, none of both in the brain.

    What is much smaller than the largest piece is a crumb: beside the head it becomes background,
    in the head it becomes rim. What the head encloses is at least rim, what the brain encloses is
    brain: ventricles, tumours and flow voids lie inside.
    """
    head = _whole(labels != BACKGROUND)
    brain = _whole(labels == BRAIN) & head
    return np.where(brain, BRAIN, np.where(head, RIM, BACKGROUND)).astype(np.uint8)


def _whole(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask (S, S) without pieces under `CRUMB` of the largest, and without holes."""
    pieces, count = ndimage.label(mask)
    if count > 1:
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        mask = (sizes >= CRUMB * sizes.max())[pieces]
    # Holes are the pieces of the rest that don't touch the edge of the picture.
    rest, _ = ndimage.label(np.pad(~mask, 1, constant_values=True))
    whole: NDArray[np.bool_] = rest[1:-1, 1:-1] != rest[0, 0]
    return whole


def on_picture(labels: NDArray[np.uint8], placement: Placement) -> NDArray[np.uint8]:
    """Labels of a square (S, S) on the picture's own grid (H, W), by nearest neighbour.

    Each pixel of the box that was drawn takes the label at its centre; outside lies background.
    """
    top, left, bottom, right = placement.box
    rows, columns = _nearest(placement, 0), _nearest(placement, 1)
    whole = np.full(placement.shape, BACKGROUND, np.uint8)
    whole[top:bottom, left:right] = labels[rows[:, None], columns[None]]
    return whole


def _nearest(placement: Placement, axis: int) -> NDArray[np.int64]:
    """The square's row (or column) in which the centre of each row of the box lies."""
    first, last = placement.box[axis], placement.box[axis + 2]
    low, high = placement.target[axis], placement.target[axis + 2]
    places = (np.arange(last - first) + 0.5) * placement.scale[axis]
    cells: NDArray[np.int64] = np.clip(low + np.floor(places).astype(np.int64), low, high - 1)
    return cells


def _one(square: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    pixels = square.astype(np.float32)
    outline = head_mask(pixels)
    if not outline.found:
        return np.full(square.shape, BACKGROUND, np.uint8), 0.0
    rays = _rays(reduced(pixels), outline.mask)
    line, strength = _line(rays)
    labels = np.where(_within(rays, line, outline.mask), BRAIN, RIM)
    labels = np.where(outline.mask, labels, BACKGROUND).astype(np.uint8)
    size = (square.shape[1], square.shape[0])
    whole = np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
    return whole, _sure(outline.mask, rays, strength)


# --- Rays -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rays:
    """The picture along rays from the middle of the head: (ANGLES, RADII) grey, (ANGLES,) skin."""

    row: float
    column: float
    radius: float
    """Radius of the largest circle that fits into the head, pixels."""
    grey: Floats
    skin: Floats
    """Where the ray leaves the head, as a share of `radius`."""


def _rays(small: Floats, head: NDArray[np.bool_]) -> Rays:
    depth = ndimage.distance_transform_edt(np.pad(head, 1))[1:-1, 1:-1]
    radius = float(depth.max())
    # A long head has a row of middles: the one in their midst.
    row, column = np.argwhere(depth > 0.97 * radius).mean(0)
    smooth = ndimage.uniform_filter(small, 3)
    places = np.stack([np.full((ANGLES, len(RADII)), middle) for middle in (row, column)])
    places += _directions()[:, :, None] * (RADII * radius)
    nearest = np.rint(places).astype(int)
    bounds = np.array(head.shape).reshape(2, 1, 1) - 1
    there = np.clip(nearest, 0, bounds)
    inside = head[there[0], there[1]] & (nearest == there).all(0)
    grey = smooth[there[0], there[1]]
    leaves = np.where(inside.all(1), len(RADII) - 1, np.argmin(inside, 1))
    return Rays(float(row), float(column), radius, grey, RADII[leaves])


@functools.cache
def _directions() -> NDArray[np.float64]:
    """Unit steps down and across along each ray, (2, ANGLES)."""
    turns = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    return np.stack([np.sin(turns), np.cos(turns)])


# --- The line -------------------------------------------------------------------------------


def _line(rays: Rays) -> tuple[NDArray[np.int64], float]:
    """Which of `RADII` the line crosses on each ray, and the mean step of grey across it, 0…1."""
    steps = _steps(rays.grey)
    usual = np.minimum(rays.skin - SKULL, FARTHEST)
    stray = (RADII[None] - usual[:, None]) / LOOSE
    cost = np.minimum(stray**2, STRANGE) - PULL * steps
    cost[RADII[None] > rays.skin[:, None] - THINNEST] += 20.0
    line = _closed_path(cost.astype(np.float32))
    return line, float(steps[np.arange(ANGLES), line].mean())


def _steps(grey: Floats) -> Floats:
    """How much brighter each place is inwards than outwards, in −1…1 of the head's own range."""
    scale = max(1.0, float(np.percentile(grey, 90)))
    sums = np.cumsum(np.pad(grey, ((0, 0), (EDGE + 1, EDGE)), mode="edge"), 1)
    means = (sums[:, EDGE:] - sums[:, :-EDGE]) / EDGE
    drop = (means[:, : len(RADII)] - means[:, EDGE : EDGE + len(RADII)]) / scale
    # In CT the skull is the brightest thing: the line runs where the picture brightens outwards.
    bright = np.percentile(grey, 97) > 2.2 * max(1.0, float(np.median(grey[:, :20])))
    return np.clip(-drop if bright else drop, -0.3, 0.3).astype(np.float32)


def _closed_path(cost: Floats) -> NDArray[np.int64]:
    """The cheapest way round (ANGLES,) through cost (ANGLES, RADII), a step in or out per ray.

    Dynamic programming over one round and a half, of which the settled middle is kept.
    """
    half = ANGLES // 4
    order = np.arange(-half, ANGLES + half) % ANGLES
    total = cost[order[0]].copy()
    came = np.zeros((len(order), cost.shape[1]), np.int64)
    for place, ray in enumerate(order[1:], start=1):
        wide = np.pad(total, 1, constant_values=np.inf)
        ways = np.stack([wide[1:-1], wide[:-2] + 0.15, wide[2:] + 0.15])
        came[place] = ways.argmin(0)
        total = ways.min(0) + cost[ray]
    path = np.empty(len(order), np.int64)
    path[-1] = total.argmin()
    for place in range(len(order) - 1, 0, -1):
        now = path[place]
        path[place - 1] = now + (0, -1, 1)[came[place, now]]
    return path[half : half + ANGLES]


def _within(rays: Rays, line: NDArray[np.int64], head: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which pixels of the head (h, w) the line encloses."""
    down = np.arange(head.shape[0])[:, None] - rays.row
    across = np.arange(head.shape[1])[None] - rays.column
    turn = np.arctan2(down, across) * (ANGLES / (2 * np.pi)) % ANGLES
    before = turn.astype(int) % ANGLES
    share = turn - np.floor(turn)
    reach = RADII[line] * rays.radius
    limit = reach[before] * (1 - share) + reach[(before + 1) % ANGLES] * share
    inside: NDArray[np.bool_] = head & (down**2 + across**2 < limit**2)
    return inside


def _sure(head: NDArray[np.bool_], rays: Rays, strength: float) -> float:
    """0…1: whether this has a head's shape and a skull that shows."""
    # A head is compact: the circle that fits into it takes a good part of it.
    compact = np.pi * rays.radius**2 / max(1, int(np.count_nonzero(head)))
    cut = np.mean([side.mean() for side in (head[0], head[-1], head[:, 0], head[:, -1])])
    shape = np.clip((compact - 0.3) / 0.2, 0, 1) * np.clip((0.65 - cut) / 0.2, 0, 1)
    return float(shape * np.clip(0.5 + 4 * strength, 0, 1))
