"""Where a drawn picture is looked at, and the numbers that are taken there.

Units: a level is an intensity of the view, 0–255; lengths and areas are shares of the view. NaN
stands for what can't be said: background where the head fills the picture, shape where no head
stands out. Nothing here looks for a tumour.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft
from scipy.spatial import ConvexHull

from clearhead.data.canvas import Placement
from clearhead.data.silhouette import Silhouette, grown, shrunk

Picture = NDArray[np.uint8]
Counts = NDArray[np.int64]

GRID = 16
"""Rows and columns of the coarse pictures."""
EDGE = 0.03
"""Width of the wider border ring, as a share of the view."""
CORNER = 1 / 8
"""Side of a corner square, as a share of the view."""
BRIGHT = 40
"""A background pixel above this level is bright: neither air nor its noise."""
AIR = 0.03
"""Around the head this much, as a share of the picture, counts neither as head nor background."""
BAND = 0.06
"""Width of scalp and skull, as a share of the geometric mean of the head's height and width."""
FEWEST = 0.002
"""Share of the view below which a part of it is too small to speak of."""
BANDS = (0.0, 0.02, 0.04, 0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.71)
"""Edges of the frequency bands, cycles per pixel."""
FINE = 0.25
"""Cycles per pixel from which detail is fine."""
FLOOR_DB = -120.0
"""Power below this share of the whole counts as this."""

SIDES = ("top", "bottom", "left", "right")
CORNERS = ("top left", "top right", "bottom left", "bottom right")
"""Also the quarters of the view, in this order."""
RINGS = ("1 px", "3 %")
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
BACKGROUND_PERCENTILES = (5, 50, 95, 99)
RIM_PERCENTILES = (5, 25, 50, 75, 95)

CELLS = tuple(
    f"cell (row {row}, column {column} of {GRID})"
    for row in range(1, GRID + 1)
    for column in range(1, GRID + 1)
)


def _th(percent: int) -> str:
    return f"{percent}{'st' if percent == 1 else 'th'}"


PLACES: dict[str, tuple[str, ...]] = {
    "border": (
        *(
            f"{what} in the {side} edge ({ring})"
            for ring in RINGS
            for side in SIDES
            for what in ("mean level", "spread of levels", "highest level")
        ),
        "lowest level in the outermost ring of pixels",
        *(
            f"{what} in the {corner} corner"
            for corner in CORNERS
            for what in ("mean level", "highest level")
        ),
    ),
    "background": (
        "mean level outside the head",
        "spread of levels outside the head",
        *(f"{_th(at)} percentile of levels outside the head" for at in BACKGROUND_PERCENTILES),
        "highest level outside the head",
        "share of pixels of level 0 outside the head",
        f"share of pixels above level {BRIGHT} outside the head",
        *(f"mean level outside the head, {corner} quarter" for corner in CORNERS),
        *(
            f"share of pixels above level {BRIGHT} outside the head, {corner} quarter"
            for corner in CORNERS
        ),
    ),
    "rim": (
        "mean level of scalp and skull",
        "spread of levels in scalp and skull",
        *(f"{_th(at)} percentile of levels in scalp and skull" for at in RIM_PERCENTILES),
        "mean level of scalp and skull over that inside",
        "95th percentile of scalp and skull over the median inside",
    ),
    "intensity": (
        "mean level",
        "spread of levels",
        *(f"{_th(at)} percentile of levels" for at in PERCENTILES),
        "share of pixels of level 0",
        "share of pixels of level 255",
        "entropy of levels (bits)",
    ),
    "sharpness": (
        *(
            f"power at {low:.2f}–{high:.2f} cycles per pixel (dB of all power)"
            for low, high in pairwise(BANDS)
        ),
        "fine detail across over fine detail down (dB)",
        "energy of the Laplacian over the variance of levels",
        "noise in the head (levels)",
        "share of the head's pixels that equal their right neighbour",
        "share of the head's pixels that equal their lower neighbour",
    ),
    "shape": (
        "sign that a head stands out (1) or not (0)",
        "width of the head (share of the picture)",
        "height of the head (share of the picture)",
        "width of the head over its height",
        "area of the head (share of the picture)",
        "top of the head (share of the picture's height)",
        "left of the head (share of the picture's width)",
        "bottom of the head (share of the picture's height)",
        "right of the head (share of the picture's width)",
        "solidity of the head (area over convex area)",
        "offset of the head's centre, downwards (share of the picture's height)",
        "offset of the head's centre, to the right (share of the picture's width)",
        "distance of the head's centre from the picture's (share of its side)",
        "eccentricity of the head (0 round, 1 flat)",
        "tilt of the head's long axis to the right (degrees from upright)",
    ),
    "silhouette": tuple(f"share of head in {cell}" for cell in CELLS),
    "thumbnail": tuple(f"mean level of {cell}" for cell in CELLS),
}
"""Where a view is looked at, and what each number says of it."""

VIEW = np.dtype([(place, "f4", (len(names),)) for place, names in PLACES.items()])
"""The numbers of one view."""


def look(picture: Picture, zones: Picture, found: bool) -> NDArray[Any]:
    """The numbers of one view, () of `VIEW`.

    Shapes: `picture` (S, S) and `zones` (S, S) uint8 of `OUTSIDE`, `AROUND`, `RIM`, `INSIDE`, S a
    multiple of 16. `found` is whether a head stands out.
    """
    counts = _counts(picture, zones)
    head, fewest = zones >= RIM, FEWEST * picture.size
    record = np.zeros((), VIEW)
    record["border"] = list(_border(picture))
    record["background"] = list(_background(counts[:, OUTSIDE], fewest))
    record["rim"] = list(_rim(counts[:, RIM].sum(axis=0), counts[:, INSIDE].sum(axis=0), fewest))
    record["intensity"] = list(_intensity(counts.sum(axis=(0, 1))))
    record["sharpness"] = list(_sharpness(picture, head, record["intensity"][1] ** 2))
    record["shape"] = list(_shape(head)) if found else _no_shape()
    record["silhouette"] = cells(head).ravel() if found else math.nan
    record["thumbnail"] = cells(picture).ravel()
    return record


def cells(picture: Picture | NDArray[np.bool_]) -> NDArray[np.float32]:
    """Means of the 16×16 cells of a view (S, S), S a multiple of 16."""
    side = len(picture) // GRID
    rows = picture.reshape(GRID, side, -1).sum(axis=1, dtype=np.float32)
    total: NDArray[np.float32] = rows.reshape(GRID, GRID, side).sum(axis=2)
    return total / np.float32(side * side)


# --- Zones ----------------------------------------------------------------------------------

OUTSIDE, AROUND, RIM, INSIDE = range(4)
"""Background; the air next to the head, which is neither; scalp and skull; what they hold."""


def zones_of(head: Silhouette) -> Picture:
    """The zone of each pixel of the silhouette's grid, (h, w) uint8."""
    mask = head.mask
    if not head.found:
        return np.full(mask.shape, INSIDE, np.uint8)
    rows, columns = (np.count_nonzero(mask.any(axis=axis)) for axis in (1, 0))
    band = max(1, round(BAND * math.sqrt(rows * columns)))
    air = max(1, round(AIR * max(mask.shape)))
    zones: Picture = grown(mask, air).astype(np.uint8) * AROUND
    zones[mask] = RIM
    # Where the picture cuts the head off, there is no scalp: beyond its edge counts as head.
    zones[shrunk(mask, band)] = INSIDE
    return zones


def project(zones: Picture, placement: Placement) -> Picture:
    """Zones of a picture (h, w) on the square that the placement draws, (S, S)."""
    down, across = (size / whole for size, whole in zip(zones.shape, placement.shape, strict=True))
    above, before, below, after = placement.box
    top, left, bottom, right = placement.target
    drawn = Image.fromarray(zones).resize(
        (right - left, bottom - top),
        Image.Resampling.NEAREST,
        box=(before * across, above * down, after * across, below * down),
    )
    square = np.full((placement.size_px, placement.size_px), OUTSIDE, np.uint8)
    square[top:bottom, left:right] = np.asarray(drawn)
    return square


def _counts(picture: Picture, zones: Picture) -> Counts:
    """How many pixels of each level lie in each quarter and zone, (4, 4, 256)."""
    code = zones.astype(np.uint16) << 8
    middle = len(code) // 2
    code[:middle, middle:] += 1 << 10
    code[middle:, :middle] += 2 << 10
    code[middle:, middle:] += 3 << 10
    code += picture
    return np.bincount(code.ravel(), minlength=4096).reshape(4, 4, 256)


# --- Levels ---------------------------------------------------------------------------------

LEVELS = np.arange(256)


def mean_and_spread(counts: Counts) -> tuple[float, float]:
    """Mean and standard deviation of levels counted in (256,); NaN where there are none."""
    total = int(counts.sum())
    if not total:
        return math.nan, math.nan
    mean = float(counts @ LEVELS) / total
    return mean, math.sqrt(max(0.0, float(counts @ (LEVELS - mean) ** 2) / total))


def percentiles(counts: Counts, percents: tuple[int, ...]) -> NDArray[np.float64]:
    """Percentiles of levels counted in (256,), between neighbours linearly, as numpy's."""
    last = np.cumsum(counts) - 1  # place in sorted order of the last pixel of each level
    at = np.array(percents) / 100 * last[-1]
    lower = np.searchsorted(last, np.floor(at))
    upper = np.searchsorted(last, np.ceil(at))
    between: NDArray[np.float64] = lower + (upper - lower) * (at - np.floor(at))
    return between


def _border(picture: Picture) -> Iterator[float]:
    for wide in (1, max(2, round(EDGE * len(picture)))):
        for edge in (picture[:wide], picture[-wide:], picture[:, :wide], picture[:, -wide:]):
            yield float(edge.mean())
            yield float(edge.std())
            yield float(edge.max())
    yield float(
        min(edge.min() for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1]))
    )
    side = round(CORNER * len(picture))
    for rows in (picture[:side], picture[-side:]):
        for corner in (rows[:, :side], rows[:, -side:]):
            yield float(corner.mean())
            yield float(corner.max())


def _background(quarters: Counts, fewest: float) -> Iterator[float]:
    """Of the levels counted outside the head in each quarter, (4, 256)."""
    counts = quarters.sum(axis=0)
    total = int(counts.sum())
    if total < fewest:
        yield from [math.nan] * len(PLACES["background"])
        return
    yield from mean_and_spread(counts)
    yield from percentiles(counts, BACKGROUND_PERCENTILES)
    yield float(np.flatnonzero(counts)[-1])
    yield counts[0] / total
    yield counts[BRIGHT + 1 :].sum() / total
    here = np.where(quarters.any(axis=1), quarters.sum(axis=1), math.nan)
    yield from quarters @ LEVELS / here
    yield from quarters[:, BRIGHT + 1 :].sum(axis=1) / here


def _rim(rim: Counts, inside: Counts, fewest: float) -> Iterator[float]:
    """Of the levels counted in scalp and skull, and of those inside, (256,) each."""
    if rim.sum() < fewest or inside.sum() < fewest:
        yield from [math.nan] * len(PLACES["rim"])
        return
    mean, spread = mean_and_spread(rim)
    levels = percentiles(rim, RIM_PERCENTILES)
    yield from (mean, spread, *levels)
    yield _ratio(mean, mean_and_spread(inside)[0])
    yield _ratio(levels[-1], percentiles(inside, (50,))[0])


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below > 0 else math.nan


def _intensity(counts: Counts) -> Iterator[float]:
    total = counts.sum()
    yield from mean_and_spread(counts)
    yield from percentiles(counts, PERCENTILES)
    yield counts[0] / total
    yield counts[-1] / total
    share = counts[counts > 0] / total
    yield float(-share @ np.log2(share))


# --- Sharpness ------------------------------------------------------------------------------


def _sharpness(picture: Picture, head: NDArray[np.bool_], variance: float) -> Iterator[float]:
    where = head if head.any() else np.ones_like(head)
    yield from _spectrum(picture)
    stored = picture.astype(np.int16)
    down = _bend(stored)
    laplacian = (down[:, 1:-1] + _bend(stored.T).T[1:-1]).astype(np.float32).ravel()
    yield _ratio(float(laplacian @ laplacian) / len(laplacian), variance)
    yield _noise(np.abs(_bend(down.T).T), where[1:-1, 1:-1])
    yield _share_equal(picture[:, :-1], picture[:, 1:], where[:, :-1])
    yield _share_equal(picture[:-1], picture[1:], where[:-1])


def _bend(stored: NDArray[np.int16]) -> NDArray[np.int16]:
    """Second differences from row to row: (h, w) → (h − 2, w)."""
    step = stored[1:] - stored[:-1]
    bend: NDArray[np.int16] = step[1:] - step[:-1]
    return bend


def _noise(bends: NDArray[np.int16], where: NDArray[np.bool_]) -> float:
    """Standard deviation of noise, from magnitudes of second differences both ways, over `where`.

    Source: J. Immerkær, *Fast Noise Variance Estimation*, CVIU 64 (1996), equation 2.
    """
    pixels = np.count_nonzero(where)
    if not pixels:
        return math.nan
    return math.sqrt(math.pi / 2) / 6 * int((bends * where).sum(dtype=np.int64)) / pixels


def _share_equal(one: Picture, other: Picture, where: NDArray[np.bool_]) -> float:
    pixels = np.count_nonzero(where)
    return np.count_nonzero((one == other) & where) / pixels if pixels else math.nan


def _spectrum(picture: Picture) -> Iterator[float]:
    """Power in each band of `BANDS`, dB of all power, and fine detail across over down, dB.

    Under a Hann window, without the mean; power is independent of brightness and contrast.
    """
    window = _window(len(picture))
    level = np.float32((picture * window).sum() / window.sum())
    waves = fft.rfft2((picture - level) * window)
    power = np.square(waves.real) + np.square(waves.imag)
    power *= _twice(len(picture))
    sums = np.bincount(_sectors(len(picture)), power.ravel(), minlength=3 * len(BANDS))
    sectors = sums.reshape(3, len(BANDS))[:, :-1]
    whole = sectors.sum()
    if not whole > 1e-3:  # a picture of one level, but for rounding
        yield from [math.nan] * len(BANDS)
        return
    yield from (_db(band / whole) for band in sectors.sum(axis=0))
    across, down = sectors[:2, BANDS.index(FINE) :].sum(axis=1)
    yield _db(across / whole) - _db(down / whole)


def _db(share: float) -> float:
    return max(FLOOR_DB, 10 * math.log10(share)) if share > 0 else FLOOR_DB


@lru_cache(maxsize=8)
def _window(side: int) -> NDArray[np.float32]:
    """The Hann window, (side, side)."""
    wave = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    window = np.outer(wave, wave).astype(np.float32)
    window.setflags(write=False)
    return window


@lru_cache(maxsize=8)
def _twice(side: int) -> NDArray[np.float32]:
    """How often each column of a real transform stands for one of the whole, (side // 2 + 1,)."""
    columns = np.full(side // 2 + 1, 2, np.float32)
    columns[0] = 1
    if side % 2 == 0:
        columns[-1] = 1
    return columns


@lru_cache(maxsize=8)
def _sectors(side: int) -> NDArray[np.intp]:
    """Band of each frequency of a real transform, one run per sector (across, down, between).

    Across: at least twice as fast from left to right as from top to bottom. Frequencies beyond
    the last band have the place after it. Shape: (side · (side // 2 + 1),).
    """
    down, across = np.abs(np.fft.fftfreq(side))[:, None], np.fft.rfftfreq(side)[None, :]
    band = np.searchsorted(BANDS, np.hypot(down, across), side="right") - 1
    sector = np.where(across >= 2 * down, 0, np.where(down >= 2 * across, 1, 2))
    places: NDArray[np.intp] = (sector * len(BANDS) + band).ravel()
    places.setflags(write=False)
    return places


# --- Shape ----------------------------------------------------------------------------------


def _shape(head: NDArray[np.bool_]) -> Iterator[float]:
    """Of the head's pixels on the view, (S, S)."""
    side = len(head)
    filled = head.astype(np.float32)
    down, across = (filled.sum(axis=axis).astype(np.float64) for axis in (1, 0))
    area = down.sum()
    if not area:
        yield from _no_shape()
        return
    top, bottom = _ends(down)
    left, right = _ends(across)
    yield 1.0
    yield (right - left) / side
    yield (bottom - top) / side
    yield (right - left) / (bottom - top)
    yield area / side**2
    yield from (top / side, left / side, bottom / side, right / side)
    yield area / _convex_area(head, top, bottom)
    places = np.arange(side) + 0.5
    row, column = down @ places / area, across @ places / area
    yield row / side - 0.5
    yield column / side - 0.5
    yield math.hypot(row / side - 0.5, column / side - 0.5)
    both = (places - row) @ (filled @ (places - column).astype(np.float32)) / area
    yield from _ellipse(
        down @ (places - row) ** 2 / area, across @ (places - column) ** 2 / area, both
    )


def _no_shape() -> list[float]:
    return [0.0, *([math.nan] * (len(PLACES["shape"]) - 1))]


def _ends(sums: NDArray[np.float64]) -> tuple[int, int]:
    """First place of a projection that is not empty, and the one after the last."""
    filled = np.flatnonzero(sums)
    return int(filled[0]), int(filled[-1]) + 1


def _convex_area(head: NDArray[np.bool_], top: int, bottom: int) -> float:
    """Area of the convex hull of the head's pixels, as squares of side 1."""
    rows = np.arange(top, bottom)
    first = head[top:bottom].argmax(axis=1)
    last = head.shape[1] - head[top:bottom, ::-1].argmax(axis=1)
    filled = head[rows, first]
    rows, first, last = rows[filled], first[filled], last[filled]
    corners = [(first, rows), (first, rows + 1), (last, rows), (last, rows + 1)]
    points = np.concatenate([np.stack(corner, axis=1) for corner in corners])
    return float(ConvexHull(points).volume)  # of two dimensions, the area


def _ellipse(down: float, across: float, both: float) -> tuple[float, float]:
    """Eccentricity and tilt of the ellipse with these second moments; the tilt from −90 to 90."""
    middle, half = (down + across) / 2, math.hypot((down - across) / 2, both)
    if half <= 1e-9 * middle:
        return 0.0, 0.0
    tilt = math.degrees(math.atan2(-2 * both, down - across)) / 2
    return math.sqrt(1 - (middle - half) / (middle + half)), tilt
