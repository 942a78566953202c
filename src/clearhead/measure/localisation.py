"""Where heat lies: shares in regions, and how well it points at a tumour mask.

Heats are (B, S, S) ≥ 0, row by row with regions (B, S, S) or masks (B, S, S) bool. A *blank* heat
is 0 everywhere: it has no shares (NaN), and in every game about a mask it finds nothing. An empty
mask leaves every such figure undefined (NaN). Nothing compares one picture with another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from clearhead.measure.bootstrap import CELLS_AT_ONCE, draws, interval
from clearhead.measure.groupwise import group_means
from clearhead.measure.scores import Score

TIE = 1e-6
"""Values that differ by so small a share of the peak are tied: float32 knows no better."""


# --- Regions --------------------------------------------------------------------------------


def heat_shares(
    heats: NDArray[np.float32], regions: NDArray[np.uint8], count: int = 3
) -> NDArray[np.float64]:
    """Share of each picture's heat in each of `count` regions, (B, count); NaN where blank."""
    sums = _per_region(regions, count, heats)
    total = sums.sum(1, keepdims=True)
    return np.where(total > 0, sums / np.where(total > 0, total, 1), np.nan)


def area_shares(regions: NDArray[np.uint8], count: int = 3) -> NDArray[np.float64]:
    """Share of each picture's pixels in each of `count` regions, (B, count)."""
    shares: NDArray[np.float64] = _per_region(regions, count, None) / regions[0].size
    return shares


def densities(
    heats: NDArray[np.float32], regions: NDArray[np.uint8], count: int = 3
) -> NDArray[np.float64]:
    """Share of heat ÷ share of area in each region, (B, count); 1 is chance.

    NaN where the heat is blank or the picture has nothing of the region.
    """
    areas = area_shares(regions, count)
    return heat_shares(heats, regions, count) / np.where(areas > 0, areas, np.nan)


def density(
    shares: NDArray[np.float64],
    areas: NDArray[np.float64],
    groups: NDArray[Any],
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Score:
    """Mean share of heat ÷ mean share of area over pictures (N,), every group counting once.

    A ratio of means: a picture with next to nothing of a region doesn't outweigh the others.
    Pictures with NaN take no part; undefined where no area is left. The interval is that of
    `groupwise.mean`.
    """
    known = ~(np.isnan(shares) | np.isnan(areas))
    heat = group_means(shares[known], groups[known])
    area = group_means(areas[known], groups[known])
    if not area.sum() > 0:
        return Score(None)
    value = float(heat.sum() / area.sum())
    if len(heat) == 1 or not resamples:
        return Score(value)
    at_once = max(1, CELLS_AT_ONCE // len(heat))
    ratios = [
        _ratio(heat @ counts, area @ counts)
        for counts in draws(len(heat), resamples, seed, at_once)
    ]
    return Score(value, *(interval(np.concatenate(ratios), level) or ()))


def _ratio(over: NDArray[np.float64], under: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(under > 0, over / np.where(under > 0, under, 1), np.nan)


def _per_region(
    regions: NDArray[np.uint8], count: int, weights: NDArray[np.float32] | None
) -> NDArray[np.float64]:
    """Sum of the weights (without any, the number of pixels) per picture and region, (B, count)."""
    cells = regions.reshape(len(regions), -1) + count * np.arange(len(regions))[:, None]
    flat = None if weights is None else weights.ravel()
    sums = np.bincount(cells.ravel(), weights=flat, minlength=count * len(regions))
    return sums.reshape(len(regions), count).astype(np.float64)


# --- Pointing -------------------------------------------------------------------------------


def distances(
    masks: NDArray[np.bool_], pixel_sizes: NDArray[np.floating[Any]] | None = None
) -> NDArray[np.float32]:
    """Distance of every pixel to the nearest one of the mask, (B, S, S): 0 inside.

    Between pixel centres, in the unit of `pixel_sizes` (B, 2), height and width of a pixel
    (pixels where left out). Infinite where the mask is empty.
    """
    far = np.full(masks.shape, np.inf, np.float32)
    for row in np.flatnonzero(masks.any((1, 2))):
        size = None if pixel_sizes is None else tuple(pixel_sizes[row].tolist())
        far[row] = ndimage.distance_transform_edt(~masks[row], sampling=size)
    return far


def pointing(
    heats: NDArray[np.float32],
    far: NDArray[np.float32],
    tolerances: NDArray[np.floating[Any]] | None = None,
) -> NDArray[np.float64]:
    """Pointing game: does the hottest pixel lie within a tolerance of the mask? (B, T) in 0…1.

    `far` are the `distances` to the mask and `tolerances` (B, T) in their unit; without any T = 1
    and the pixel must lie inside. Of several pixels tied for the maximum one is drawn at random,
    and the value is the chance that it hits. A blank heat misses; NaN where the mask is empty or
    the tolerance is NaN.
    Source: Zhang et al., "Top-down neural attention by excitation backprop", IJCV 2018.
    """
    allowed = np.zeros((len(heats), 1)) if tolerances is None else tolerances
    found = np.zeros(allowed.shape)
    for row, (heat, away) in enumerate(zip(heats, far, strict=True)):
        peak = heat.max()
        if peak > 0:
            tied = np.sort(away[heat >= peak * (1 - TIE)])
            # A hair's breadth more, as distances are float32.
            near = np.searchsorted(tied, allowed[row] * (1 + TIE), side="right")
            found[row] = near / len(tied)
    found[~np.isfinite(far).any((1, 2))] = np.nan
    found[np.isnan(allowed)] = np.nan
    return found


# --- Overlap --------------------------------------------------------------------------------


def energy(heats: NDArray[np.float32], masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of the heat inside the mask, (B,); NaN where the heat is blank or the mask empty.

    Source: Wang et al., "Score-CAM", CVPR workshops 2020 (energy-based pointing game).
    """
    total = heats.sum((1, 2), dtype=np.float64)
    inside = np.where(masks, heats, 0).sum((1, 2), dtype=np.float64)
    defined = (total > 0) & masks.any((1, 2))
    return np.where(defined, inside / np.where(defined, total, 1), np.nan)


def iou_at_size(heats: NDArray[np.float32], masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Overlap (intersection over union) of the mask and as many of the hottest pixels, (B,).

    Of pixels tied at the end of the list an even share is marked; pixels without heat are never
    marked. 0 where the heat is blank, NaN where the mask is empty.
    """
    return np.array([_iou_at_size(*pair) for pair in zip(heats, masks, strict=True)])


def _iou_at_size(heat: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    size = np.count_nonzero(mask)
    if not size:
        return float("nan")
    last = np.partition(heat, heat.size - size, axis=None)[heat.size - size]
    above, tied = heat > last, (heat == last) & (heat > 0)
    room = size - np.count_nonzero(above) if tied.any() else 0
    share = room / (int(tied.sum()) or 1)
    both = np.count_nonzero(above & mask) + share * np.count_nonzero(tied & mask)
    return float(both / (size + np.count_nonzero(above) + room - both))


def iou_at_level(
    heats: NDArray[np.float32], masks: NDArray[np.bool_], level: float = 0.5
) -> NDArray[np.float64]:
    """Overlap of the mask and the pixels with at least `level` of the picture's peak, (B,).

    0 where the heat is blank, NaN where the mask is empty.
    """
    peaks = heats.max((1, 2), keepdims=True)
    marked = (heats >= level * peaks) & (peaks > 0)
    both = (marked & masks).sum((1, 2))
    either = (marked | masks).sum((1, 2))
    return np.where(masks.any((1, 2)), both / np.where(either > 0, either, 1), np.nan)


def average_precision(heats: NDArray[np.float32], masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Average precision of the heat as a detector of the mask's pixels, (B,).

    Σ (Rₙ - Rₙ₋₁) Pₙ over the distinct values, as scikit-learn's `average_precision_score`: tied
    pixels are found together. A blank heat gets the mask's share of the picture, which is chance;
    NaN where the mask is empty.
    """
    return np.array([_average_precision(*pair) for pair in zip(heats, masks, strict=True)])


def _average_precision(heat: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Mean over the mask's pixels of the precision among all pixels at least as hot."""
    inside, every = np.sort(heat[mask]), np.sort(heat, axis=None)
    if not len(inside):
        return float("nan")
    hits = len(inside) - np.searchsorted(inside, inside)
    found = len(every) - np.searchsorted(every, inside)
    return float((hits / found).mean())


# --- Lesions --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lesions:
    """Size and place of the masked tumour in each of B heads; NaN where mask or head is empty.

    Every array is (B,).
    """

    size: NDArray[np.float64]
    """Area, as a share of the head's."""
    eccentricity: NDArray[np.float64]
    """Distance between the centres of tumour and head, in radii of the head."""
    depth: NDArray[np.float64]
    """Least distance from the tumour to what is not brain, in diameters of the head; 0 where they
    overlap."""
    diameter: NDArray[np.float64]
    """Of the disc as large as the head, in the unit of the pixel sizes."""

    def touches_rim(self, tolerance: float) -> NDArray[np.bool_]:
        """Whether the tumour comes that near to the rim (in diameters), (B,); False where NaN."""
        near: NDArray[np.bool_] = self.depth <= tolerance
        return near


def lesions(
    masks: NDArray[np.bool_],
    heads: NDArray[np.bool_],
    brains: NDArray[np.bool_],
    pixel_sizes: NDArray[np.floating[Any]] | None = None,
) -> Lesions:
    """Size and place of tumours (B, S, S) in heads (rim and brain) and brains (B, S, S)."""
    sizes = np.ones((len(masks), 2)) if pixel_sizes is None else pixel_sizes
    pixels = zip(masks, heads, brains, sizes, strict=True)
    found = np.array([_lesion(*each) for each in pixels]).reshape(-1, 4)
    return Lesions(*found.T)


def _lesion(
    mask: NDArray[np.bool_],
    head: NDArray[np.bool_],
    brain: NDArray[np.bool_],
    pixel: NDArray[np.floating[Any]],
) -> tuple[float, float, float, float]:
    """Size, eccentricity, depth and diameter of one."""
    nothing = float("nan")
    if not head.any():
        return nothing, nothing, nothing, nothing
    diameter = float(2 * np.sqrt(np.count_nonzero(head) * pixel.prod() / np.pi))
    if not mask.any():
        return nothing, nothing, nothing, diameter
    offset = (_centre(mask) - _centre(head)) * pixel
    return (
        np.count_nonzero(mask) / np.count_nonzero(head),
        float(np.hypot(*offset)) / (diameter / 2),
        _depth(mask, brain, pixel) / diameter,
        diameter,
    )


def _centre(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.array([places.mean() for places in np.nonzero(mask)])


def _depth(
    mask: NDArray[np.bool_], brain: NDArray[np.bool_], pixel: NDArray[np.floating[Any]]
) -> float:
    """Least distance between a pixel of the mask and one that isn't brain (edge of the picture
    included)."""
    inside = np.pad(brain, 1)
    away = ndimage.distance_transform_edt(inside, sampling=tuple(pixel.tolist()))
    return float(away[1:-1, 1:-1][mask].min())
