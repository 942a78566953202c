"""What is put in the place of an erased area, in three ways, since a fill can be a cue itself.

No fill depends on the pixels that are erased: they leave nothing behind but the shape of the area.
Nor does it depend on the other pictures of a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

NOISE_SIGMA = 0.01
"""Spread of the smoothing of the noise, as a share of the square's side: about a picture's own."""
FIELDS = 128
"""Fields of noise that are kept: a picture's is the same in every test."""
SWEEPS = 4
"""Relaxations on the picture's own grid; on each coarser grid `MORE` times as many as before."""
MORE = 2
MOST_SWEEPS = 24
INNER = 1e-3
"""Weight of a pixel away from the border of the area, where a coarser grid is made."""
OVER = 1.7
"""Over-relaxation: each step goes further than to the mean of the neighbours."""


@dataclass(frozen=True)
class Hole:
    """Pictures, the area of each that is erased, and the grey level that `mean` and `noise` put in.

    Shapes: `squares` (B, S, S) uint8; `areas` (B, S, S) bool, what is erased; `levels` (B, 2)
    float32, mean and spread of the grey levels, as `levels_of` finds them; `rows` (B,) int64, which
    rows these are: with the seed they decide every random number.
    """

    squares: NDArray[np.uint8]
    areas: NDArray[np.bool_]
    levels: NDArray[np.float32]
    rows: NDArray[np.int64]
    seed: int = 0


def levels_of(squares: NDArray[np.uint8], kept: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Mean and standard deviation of the kept pixels of squares (B, S, S): (B, 2) float32.

    Where nothing is kept, those of the whole picture.
    """
    some = np.count_nonzero(kept, axis=(1, 2))
    kept = kept | (some == 0)[:, None, None]
    count = kept.sum(axis=(1, 2))
    grey = np.where(kept, squares, 0).astype(np.float32)
    centre = grey.sum(axis=(1, 2), dtype=np.float64) / count
    squared = np.square(grey, out=grey).sum(axis=(1, 2), dtype=np.float64) / count
    spread = np.sqrt(np.maximum(squared - centre**2, 0))
    return np.stack([centre, spread], axis=1).astype(np.float32)


def mean(hole: Hole) -> NDArray[np.uint8]:
    """One grey: the mean level. Shape (B, S, S)."""
    return _filled(hole, hole.levels[:, 0, None, None])


def noise(hole: Hole) -> NDArray[np.uint8]:
    """Smooth noise with the mean and the spread of the levels. Shape (B, S, S)."""
    centre, spread = hole.levels.T[..., None, None]
    field = smooth_noise(hole.rows, hole.squares.shape[1], sigma=NOISE_SIGMA, seed=hole.seed)
    return _filled(hole, centre + spread * field)


def inpaint(hole: Hole) -> NDArray[np.uint8]:
    """The border of the area, continued smoothly: Laplace's equation. Shape (B, S, S)."""
    return _filled(hole, harmonic(hole.squares.astype(np.float32), hole.areas))


FILLS: dict[str, Callable[[Hole], NDArray[np.uint8]]] = {
    "inpaint": inpaint,
    "noise": noise,
    "mean": mean,
}
"""Each gives squares (B, S, S) uint8 that differ from the hole's inside its areas alone."""


def _filled(hole: Hole, values: NDArray[np.float32]) -> NDArray[np.uint8]:
    grey = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    return np.where(hole.areas, grey, hole.squares)


def smooth_noise(
    rows: NDArray[np.int64], side: int, *, sigma: float, seed: int
) -> NDArray[np.float32]:
    """White noise smoothed by a Gaussian of `sigma` × side, mean 0, spread 1: (B, side, side).

    Each field depends on its row and the seed alone.
    """
    return np.stack([_field(int(row), seed, side, sigma * side) for row in rows])


@lru_cache(maxsize=FIELDS)
def _field(row: int, seed: int, side: int, sigma_px: float) -> NDArray[np.float32]:
    white = np.random.default_rng((seed, row)).standard_normal((side, side), np.float32)
    smooth: NDArray[np.float32] = ndimage.gaussian_filter(white, sigma_px, mode="wrap")
    field: NDArray[np.float32] = (smooth - smooth.mean()) / smooth.std()
    field.flags.writeable = False  # it is shared by all who ask for it
    return field


# --- Laplace's equation ---------------------------------------------------------------------


def harmonic(values: NDArray[np.float32], areas: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Pictures (B, H, W) with what is in `areas` replaced by the harmonic continuation of the rest.

    Each erased pixel tends to the mean of its four neighbours; across the edge of the picture
    nothing changes (Neumann). Solved from coarse to fine: a grid of half the size gives the first
    guess, a few sweeps of red-black over-relaxation correct it (cascadic multigrid, Bornemann and
    Deuflhard 1996). Where a whole picture is erased it becomes 0.
    """
    return _solved(np.where(areas, np.float32(0), values), areas, SWEEPS)


def _solved(
    values: NDArray[np.float32], areas: NDArray[np.bool_], sweeps: int
) -> NDArray[np.float32]:
    _, height, width = values.shape
    at = np.flatnonzero(areas)
    if not at.size or height * width == 1:
        return values
    coarse, unknown = _halved(values, areas)
    guess = _solved(coarse, unknown, min(MORE * sweeps, MOST_SWEEPS))
    place, column = np.divmod(at, width)
    picture, row = np.divmod(place, height)
    values = values.copy()
    flat = values.reshape(-1)
    flat[at] = _between(guess, picture, row, column)
    _relax(flat, at, row, column, (height, width), sweeps)
    return values


def _halved(
    values: NDArray[np.float32], areas: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Means of what is known in each 2×2 pixels, and where nothing is; values are 0 in areas.

    Pixels at the border of the area count nearly alone: they are what is continued.
    """
    _, height, width = values.shape
    odd = ((0, 0), (0, height % 2), (0, width % 2))
    if height % 2 or width % 2:
        values, areas = np.pad(values, odd), np.pad(areas, odd, constant_values=True)
    weights = np.where(_beside(areas), np.float32(1), np.float32(INNER)) * ~areas
    total = _sums(weights)
    unknown = total == 0
    total[unknown] = 1
    return _sums(values * weights) / total, unknown


def _beside(areas: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The areas (B, H, W) and the pixels above, below, left and right of them."""
    near = areas.copy()
    near[:, 1:] |= areas[:, :-1]
    near[:, :-1] |= areas[:, 1:]
    near[:, :, 1:] |= areas[:, :, :-1]
    near[:, :, :-1] |= areas[:, :, 1:]
    return near


def _sums(values: NDArray[np.float32]) -> NDArray[np.float32]:
    rows = values[:, ::2] + values[:, 1::2]
    return rows[:, :, ::2] + rows[:, :, 1::2]


def _between(
    coarse: NDArray[np.float32],
    picture: NDArray[np.intp],
    row: NDArray[np.intp],
    column: NDArray[np.intp],
) -> NDArray[np.float32]:
    """The coarse grid at pixels of the fine one, bilinear between centres of cells."""
    _, height, width = coarse.shape
    up, left = row >> 1, column >> 1
    # A fine pixel's centre lies a quarter of a coarse cell from its parent's, on the side of:
    down = np.clip(up + 2 * (row & 1) - 1, 0, height - 1)
    right = np.clip(left + 2 * (column & 1) - 1, 0, width - 1)
    flat = coarse.reshape(-1)
    near, far = (picture * height + up) * width, (picture * height + down) * width
    above = 0.75 * flat[near + left] + 0.25 * flat[near + right]
    below = 0.75 * flat[far + left] + 0.25 * flat[far + right]
    found: NDArray[np.float32] = (0.75 * above + 0.25 * below).astype(np.float32)
    return found


def _relax(
    flat: NDArray[np.float32],
    at: NDArray[np.intp],
    row: NDArray[np.intp],
    column: NDArray[np.intp],
    shape: tuple[int, int],
    sweeps: int,
) -> None:
    """Sweeps of red-black over-relaxation over the pixels `at` of `flat`, in place."""
    height, width = shape
    red = (row + column) % 2 == 0
    colours = []
    for keep in (red, ~red):
        own, down, across = at[keep], row[keep], column[keep]
        beside = (
            own - width * (down > 0),
            own + width * (down < height - 1),
            own - (across > 0),
            own + (across < width - 1),
        )
        colours.append((own, beside))
    quarter, over = np.float32(OVER / 4), np.float32(1 - OVER)
    for _ in range(sweeps):
        for own, (above, below, before, after) in colours:
            total = flat[above] + flat[below] + flat[before] + flat[after]
            flat[own] = quarter * total + over * flat[own]
