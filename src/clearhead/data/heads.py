"""Generated heads: slices of a real template brain, in a head built around it, with tumours.

`head` makes one picture with its tumour mask and its map of regions, in memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clearhead.data.anatomy import DISTANCE_MM_PER_STEP, SELLA_MM, Anatomy, anatomy
from clearhead.errors import ManifestError
from clearhead.types import BACKGROUND, BRAIN, RIM

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

TUMOUR, HEALTHY = "Brain Tumor", "Healthy"
"""The two classes, named as in the Kaggle folder."""

KINDS = {"ring": 0.38, "meningioma": 0.28, "pituitary": 0.1, "infiltrating": 0.24}
"""Kinds of tumour and how often each is drawn."""

PLANES = {"axial": 0.7, "coronal": 0.16, "sagittal": 0.14}
"""Planes of the slice and how often each is drawn."""

CONTRASTS = {"T1": 0.1, "T1-CE": 0.48, "T2": 0.2, "FLAIR": 0.22}
"""Contrasts and how often each is drawn; T1-CE is T1 with a contrast agent."""

SMALLEST_TUMOUR_PX = 24
"""Fewest mask pixels at 256×256; a smaller tumour is drawn again elsewhere."""


@dataclass(frozen=True)
class Head:
    """One generated slice with everything that is known of it.

    Shapes: `pixels` (H, W) uint8, `mask` (H, W) bool (tumour: core and solid part, no oedema),
    `regions` (H, W) uint8 of `BACKGROUND`, `RIM`, `BRAIN`.
    """

    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    regions: NDArray[np.uint8]
    label: str
    kind: str
    """The tumour's kind; in a healthy head, the one its tumour would have had."""
    plane: str
    contrast: str
    slice_mm: float
    """Place of the slice along its axis, MNI millimetres."""
    spacing_mm: float
    """Side of a pixel."""
    seed: tuple[int, ...]


# --- Chance ---------------------------------------------------------------------------------


def _stream(seed: Sequence[int], stage: int) -> Generator:
    """Random numbers of one stage, so that a change in one stage leaves the others alone."""
    return np.random.default_rng([*seed, 1 + stage])  # numpy reads trailing zeros as nothing


def _pick(rng: Generator, table: dict[str, float]) -> str:
    return str(rng.choice(list(table), p=np.array(list(table.values()))))


@functools.lru_cache(maxsize=64)
def _spline(size: int, knots: int) -> Floats:
    """Matrix (size, knots) that draws a cubic B-spline through random knots at variance 1."""
    place = np.linspace(1, knots - 2, size)[:, None] - np.arange(knots)[None]
    t = np.abs(place)
    inner, outer = (4 - 6 * t**2 + 3 * t**3) / 6, np.clip(2 - t, 0, None) ** 3 / 6
    weight = np.where(t < 1, inner, outer)
    return np.asarray(weight / np.sqrt((weight**2).sum(1).mean()), np.float32)


def _field(rng: Generator, size: int, knots: int) -> Floats:
    """A smooth random field of variance about 1: (size, size), about `knots` bumps across."""
    matrix = _spline(size, knots + 2)
    low = rng.standard_normal((knots + 2, knots + 2), np.float32)
    return _apply(matrix, low)


def _apply(matrix: Floats, image: Floats) -> Floats:
    """`matrix` along both axes of a square image."""
    return np.asarray(matrix @ image @ matrix.T, np.float32)


@functools.lru_cache(maxsize=64)
def _linear(size: int, small: int) -> Floats:
    """Matrix (size, small) of linear interpolation between pixel centres."""
    place = np.clip((np.arange(size) + 0.5) * small / size - 0.5, 0, small - 1)
    low = np.minimum(place.astype(int), small - 2)
    matrix = np.zeros((size, small), np.float32)
    matrix[np.arange(size), low] = 1 - (place - low)
    matrix[np.arange(size), low + 1] = place - low
    return matrix


def _ramp(values: Floats, start: float, end: float) -> Floats:
    """0 below `start`, 1 above `end`, straight between (or falling where `end` < `start`)."""
    return np.asarray(
        np.clip((values - np.float32(start)) / np.float32(end - start), 0, 1), np.float32
    )


def _blend(below: Floats, above: Floats | float, share: Floats) -> Floats:
    return np.asarray(below + (above - below) * share, np.float32)


# --- The cut --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """The anatomy on the picture's grid.

    Shapes: `points` (3, H, W) mm; the rest (H, W): `outward` mm outside the skull's inner surface,
    `inward` mm below the skin, `ventricle` mm to the ventricles, the others shares in 0–1.
    """

    points: Floats
    outward: Floats
    inward: Floats
    air: Floats
    fat: Floats
    fluid: Floats
    bone: Floats
    ventricle: Floats
    mucosa: Floats


@dataclass(frozen=True)
class View:
    """Where and how the head is cut; shapes: `points` (3, H, W) mm before deformation."""

    plane: str
    slice_mm: float
    spacing_mm: float
    points: Floats


_AXES = {
    # normal, to the right of the picture, down the picture, centre, range of slices (mm)
    "axial": ((0, 0, 1), (1, 0, 0), (0, -1, 0), (0, -18), (-26, 62)),
    "coronal": ((0, 1, 0), (1, 0, 0), (0, 0, -1), (0, -6), (-78, 46)),
    "sagittal": ((1, 0, 0), (0, -1, 0), (0, 0, -1), (-12, -8), (-56, 56)),
}
_SELLA_SLICES = {"axial": (-35, -22), "coronal": (-3, 8), "sagittal": (-7, 7)}


def _view(rng: Generator, kind: str, plane: str, size_px: int, zoom: float) -> View:
    normal, right, down, middle, slices = _AXES[plane]
    low, high = _SELLA_SLICES[plane] if kind == "pituitary" else slices
    slice_mm = float(rng.uniform(low, high))
    width_mm = float(np.clip(rng.normal(228, 17), 190, 280)) * zoom
    spacing_mm = width_mm / size_px
    axes = np.array([normal, right, down], np.float64)
    turn = _rotation(rng.normal(0, np.radians([5, 5, 4])))
    axes = axes @ turn.T
    axes[1] *= rng.choice([-1, 1]) if plane == "sagittal" else 1
    across = np.array([right, down])
    centre = np.array(normal) * slice_mm
    centre = centre + np.abs(across).T @ (np.array(middle) + rng.normal(0, 6, 2))
    steps = ((np.arange(size_px) + 0.5) * spacing_mm - width_mm / 2).astype(np.float32)
    # Heads differ in length, breadth and height.
    build = (1 + rng.normal(0, 0.035, 3)).clip(0.9, 1.1)[:, None, None]
    axes[2] *= rng.normal(1, 0.03)
    right_mm, down_mm = (axes[1:, :, None, None] * build).astype(np.float32)
    points = right_mm * steps[None, None, :] + down_mm * steps[None, :, None]
    return View(plane, slice_mm, spacing_mm, points + centre[:, None, None].astype(np.float32))


def _rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation about x, then y, then z by `angles` in radians."""
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        one, other = [i for i in range(3) if i != axis]
        step = np.eye(3)
        step[one, one] = step[other, other] = np.cos(angle)
        step[one, other], step[other, one] = -np.sin(angle), np.sin(angle)
        turn = step @ turn
    return turn


def _cut(rng: Generator, view: View, model: Anatomy) -> Cut:
    """The head's channels along `view`, bent by a smooth random deformation."""
    size = view.points.shape[1]
    bend = np.stack([_field(rng, size, 3) for _ in range(3)]) * np.float32(rng.uniform(1.5, 4.5))
    points = view.points + bend
    # Skull and scalp are smooth: half the pixels do, at a quarter of the time.
    small = (size + 1) // 2
    shrink = _linear(small, size)
    coarse = np.stack([_apply(shrink, part) for part in points])
    channels = model.head.sample(coarse.reshape(3, -1)).reshape(-1, small, small)
    grow = _linear(size, small)
    outward, inward, air, fat, fluid, bone, ventricle, mucosa = (
        _apply(grow, part) for part in channels
    )
    mm, half = np.float32(DISTANCE_MM_PER_STEP), np.float32(1 / 255)
    scalp = _field(rng, size, 3) * np.float32(0.6) + np.float32(rng.normal(0, 1.2))
    return Cut(
        points,
        (outward - 128) * mm,
        (inward - 128) * mm + scalp,
        air * half,
        fat * half,
        fluid * half,
        bone * half,
        (ventricle - 128) * mm,
        mucosa * half,
    )


# --- Tumours --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tumour:
    """A tumour's shape: `depth` (H, W) is mm below its surface, negative outside."""

    kind: str
    row: float
    column: float
    radius_mm: float
    depth: Floats
    push: float
    """How far it pushes the brain aside, as a share of its radius."""


def _tumour(rng: Generator, kind: str, cut: Cut, spacing_mm: float) -> Tumour:
    """A tumour at a place where its kind grows, large enough to be seen."""
    size = cut.outward.shape[0]
    least = SMALLEST_TUMOUR_PX * (size / 256) ** 2
    for attempt in range(12):
        row, column = _PLACES[kind](rng, cut)
        low, high = _RADII_MM[kind]
        radius = float(low * (high / low) ** rng.beta(1.3, 1.3)) + 0.5 * attempt
        depth = _shape(rng, kind, cut, spacing_mm, (row, column), radius)
        found = Tumour(kind, row, column, radius, depth, float(rng.uniform(0.15, 0.6)))
        if (depth > 0).sum() >= least:
            break
    return found


_RADII_MM = {
    "ring": (11.0, 40.0),
    "meningioma": (13.0, 42.0),
    "pituitary": (6.5, 20.0),
    "infiltrating": (12.0, 42.0),
}


def _anywhere(rng: Generator, cut: Cut, low_mm: float, high_mm: float) -> tuple[float, float]:
    """A pixel in the cranium whose depth below the skull lies between two bounds."""
    depth = -cut.outward
    size = depth.shape[0]
    frame = max(2, size // 20)
    fits = (depth > low_mm) & (depth < high_mm) & (cut.points[2] > -50)
    fits[:frame] = fits[-frame:] = False
    fits[:, :frame] = fits[:, -frame:] = False
    spots = np.flatnonzero(fits)
    spot = int(rng.choice(spots)) if len(spots) else int(depth.argmax())
    return float(spot // size), float(spot % size)


def _in_brain(rng: Generator, cut: Cut) -> tuple[float, float]:
    return _anywhere(rng, cut, 6.0, 60.0)


def _at_dura(rng: Generator, cut: Cut) -> tuple[float, float]:
    return _anywhere(rng, cut, 0.5, 3.0)


def _at_sella(rng: Generator, cut: Cut) -> tuple[float, float]:
    gap = cut.points - np.array(SELLA_MM, np.float32)[:, None, None]
    spot = int((gap * gap).sum(0).argmin())
    size = cut.outward.shape[0]
    return float(spot // size), float(spot % size)


_PLACES: dict[str, Callable[[Generator, Cut], tuple[float, float]]] = {
    "ring": _in_brain,
    "meningioma": _at_dura,
    "pituitary": _at_sella,
    "infiltrating": _in_brain,
}


def _shape(
    rng: Generator,
    kind: str,
    cut: Cut,
    spacing_mm: float,
    centre: tuple[float, float],
    radius_mm: float,
) -> Floats:
    """Depth (H, W) in mm below the tumour's surface: a warped ellipse kept inside the skull."""
    size = cut.outward.shape[0]
    rows = (np.arange(size, dtype=np.float32)[:, None] - np.float32(centre[0])) * spacing_mm
    columns = (np.arange(size, dtype=np.float32)[None] - np.float32(centre[1])) * spacing_mm
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.45) ** 0.5
    along = (rows * np.cos(angle) + columns * np.sin(angle)) / stretch
    across = (columns * np.cos(angle) - rows * np.sin(angle)) * stretch
    rough = {"ring": 0.20, "meningioma": 0.10, "pituitary": 0.10, "infiltrating": 0.22}[kind]
    bumps = max(4, round(size * spacing_mm / (radius_mm * rng.uniform(0.9, 1.5))))
    wave = _field(rng, size, bumps) + 0.4 * _field(rng, size, 2 * bumps)
    reach = np.sqrt(along**2 + across**2, dtype=np.float32)
    depth = radius_mm - reach * (1 + np.float32(rough) * np.clip(wave, -2.5, 2.5))
    roof = {"ring": 2.0, "meningioma": 0.3, "pituitary": -2.5, "infiltrating": 2.0}[kind]
    return np.asarray(np.minimum(depth, -cut.outward - roof), np.float32)


def _pushed(points: Floats, tumour: Tumour, cut: Cut, spacing_mm: float) -> Floats:
    """Where the brain at each pixel came from before the tumour pushed it aside: (3, H, W)."""
    size = points.shape[1]
    rows = np.arange(size, dtype=np.float32)[:, None] - np.float32(tumour.row)
    columns = np.arange(size, dtype=np.float32)[None] - np.float32(tumour.column)
    reach = (rows**2 + columns**2) * np.float32(spacing_mm**2 / (2 * (1.3 * tumour.radius_mm) ** 2))
    # No push at the skull, which does not give way.
    share = tumour.push * np.exp(-reach) * _ramp(-cut.outward, 0, 10)
    across, down = points[:, 0, 1] - points[:, 0, 0], points[:, 1, 0] - points[:, 0, 0]
    shift = columns * share * across[:, None, None] + rows * share * down[:, None, None]
    return np.asarray(points - shift, np.float32)


# --- Contrasts ------------------------------------------------------------------------------

TISSUES: dict[str, dict[str, float]] = {
    "T1": {
        "white": 0.66, "grey": 0.46, "csf": 0.13, "vessel": 0.22, "gland": 0.55, "dura": 0.30,
        "cortical": 0.05, "marrow": 0.50, "fat": 0.98, "skin": 0.55, "muscle": 0.36, "air": 0.02,
        "vitreous": 0.13, "mucosa": 0.42, "solid": 0.36, "core": 0.20, "oedema": 0.33,
        "diffuse": 0.28, "spot": 0.46, "benign": 0.14,
    },
    "T1-CE": {
        "white": 0.52, "grey": 0.42, "csf": 0.11, "vessel": 0.92, "gland": 0.88, "dura": 0.62,
        "cortical": 0.05, "marrow": 0.46, "fat": 0.95, "skin": 0.60, "muscle": 0.40, "air": 0.02,
        "vitreous": 0.11, "mucosa": 0.80, "solid": 0.95, "core": 0.22, "oedema": 0.34,
        "diffuse": 0.25, "spot": 0.40, "benign": 0.12,
    },
    "T2": {
        "white": 0.30, "grey": 0.46, "csf": 0.95, "vessel": 0.06, "gland": 0.42, "dura": 0.15,
        "cortical": 0.04, "marrow": 0.34, "fat": 0.62, "skin": 0.34, "muscle": 0.17, "air": 0.02,
        "vitreous": 0.98, "mucosa": 0.75, "solid": 0.66, "core": 0.88, "oedema": 0.76,
        "diffuse": 0.80, "spot": 0.72, "benign": 0.95,
    },
    "FLAIR": {
        "white": 0.40, "grey": 0.52, "csf": 0.08, "vessel": 0.08, "gland": 0.52, "dura": 0.25,
        "cortical": 0.04, "marrow": 0.38, "fat": 0.66, "skin": 0.40, "muscle": 0.28, "air": 0.02,
        "vitreous": 0.08, "mucosa": 0.70, "solid": 0.78, "core": 0.46, "oedema": 0.88,
        "diffuse": 0.84, "spot": 0.82, "benign": 0.09,
    },
}  # fmt: skip
"""Signal of each tissue in each contrast, 1 the brightest; jittered from head to head."""


def _signals(rng: Generator, contrast: str) -> dict[str, float]:
    """The contrast's signals, as another scanner and sequence would give them."""
    table = dict(TISSUES[contrast])
    jitter = dict(zip(table, rng.normal(0, 0.07, len(table)), strict=True))
    table = {name: value * float(np.exp(jitter[name])) for name, value in table.items()}
    flat = float(rng.uniform(0.55, 1.25))
    middle = (table["white"] + table["grey"]) / 2
    for name in ("white", "grey"):
        table[name] = middle + (table[name] - middle) * flat
    if rng.random() < 0.22:  # fat suppression
        for name in ("fat", "marrow"):
            table[name] *= float(rng.uniform(0.25, 0.6))
    return table


# --- Painting -------------------------------------------------------------------------------


def _paint_rim(rng: Generator, cut: Cut, signal: dict[str, float]) -> Floats:
    """Everything outside the skull's inner surface, and the skull itself: (H, W) signal."""
    size = cut.outward.shape[0]
    streaks = _field(rng, size, 40)
    fibres = _ramp(streaks + 0.5 * _field(rng, size, 14), 0.9, 1.6)
    muscle = np.float32(signal["muscle"]) * (1 + 0.12 * streaks)
    image = _blend(muscle, signal["fat"] * 0.8, fibres * np.float32(rng.uniform(0.2, 0.8)))
    image = _blend(image, signal["fat"] * 0.9, cut.fat)
    image = _blend(image, signal["cortical"], 0.7 * _ramp(cut.bone, 0.3, 0.5))
    image = _blend(image, signal["marrow"], _ramp(cut.bone, 0.5, 0.7))
    layer = np.float32(rng.uniform(3.0, 6.0)) * (1 + 0.25 * _field(rng, size, 5))
    fat = signal["fat"] * (1 + 0.06 * _field(rng, size, 30))
    image = _blend(image, fat, _ramp(layer - cut.inward, -0.6, 0.6))
    image = _blend(image, signal["skin"], _ramp(cut.inward, 2.0, 1.2))
    image = _paint_skull(rng, image, cut, signal)
    image = _blend(image, signal["mucosa"], cut.mucosa * np.float32(rng.uniform(0.2, 0.9)))
    image = _blend(image, signal["air"], cut.air)
    image = _blend(image, signal["dura"], _ramp(cut.fluid, 0.05, 0.4))
    return _blend(image, signal["vitreous"], _ramp(cut.fluid, 0.5, 0.9))


def _paint_skull(rng: Generator, image: Floats, cut: Cut, signal: dict[str, float]) -> Floats:
    """Inner table, marrow and outer table of the skull over `image`."""
    size = image.shape[0]
    thick = np.float32(rng.uniform(4.5, 8.0)) * (1 + 0.2 * _field(rng, size, 5))
    # Thin over the orbits, the ear and the base.
    thick = thick * (0.45 + 0.55 * _ramp(cut.points[2], -45, 0))
    place = cut.outward / np.maximum(thick, 1.5)
    edge = 0.16
    image = _blend(image, signal["cortical"], _ramp(place, 1 + edge, 1 - edge))
    marrow = _ramp(place, 0.3, 0.45) * _ramp(place, 0.75, 0.6) * _ramp(thick, 3.5, 6)
    grain = 0.8 + 0.25 * _field(rng, size, 34)
    return _blend(image, signal["marrow"] * grain, marrow * np.clip(grain, 0, 1))


def _paint_brain(
    rng: Generator, cut: Cut, channels: Floats, signal: dict[str, float]
) -> tuple[Floats, Floats]:
    """The inside of the skull, (H, W) signal, and the share of white matter there."""
    size = cut.outward.shape[0]
    white, grey, vessel, gland = channels
    fluid = np.clip(1 - white - grey, 0, 1) * np.float32(np.exp(rng.normal(0.4, 0.45)))
    sharp = np.float32(rng.uniform(1.3, 2.4))
    parts = [part**sharp for part in (white + 1e-4, grey + 1e-4, fluid)]
    total = parts[0] + parts[1] + parts[2]
    image = (
        sum(
            part * np.float32(signal[name])
            for part, name in zip(parts, ("white", "grey", "csf"), strict=True)
        )
        / total
    )
    image = image * (1 + 0.025 * _field(rng, size, 36))
    image = _paint_vessels(rng, image, parts[2] / total, vessel, signal)
    image = _blend(image, signal["gland"], gland * np.float32(rng.uniform(0.5, 1)))
    image = _blend(image, signal["dura"], _ramp(cut.outward, -1.2, -0.3) * np.float32(0.8))
    return image, parts[0] / total


def _paint_vessels(
    rng: Generator, image: Floats, fluid: Floats, vessel: Floats, signal: dict[str, float]
) -> Floats:
    """The large vessels and the falx, and small vessels that run in the sulci."""
    size = image.shape[0]
    image = _blend(image, signal["vessel"], vessel * np.float32(rng.uniform(0.55, 1)))
    dots = _ramp(_field(rng, size, 60) + 0.4 * _field(rng, size, 20), 1.5, 2.1)
    share = dots * _ramp(fluid, 0.15, 0.5) * np.float32(rng.uniform(0, 0.7))
    return _blend(image, signal["vessel"], share)


def _paint_spots(
    rng: Generator, image: Floats, cut: Cut, white: Floats, signal: dict[str, float]
) -> Floats:
    """What healthy heads have too: white-matter spots, caps at the ventricles, a benign cyst."""
    size = image.shape[0]
    age = float(rng.beta(1.1, 2.6))
    threshold = 3.2 - 1.9 * age
    spots = _ramp(_field(rng, size, int(rng.integers(16, 44))), threshold, threshold + 0.5)
    deep = _ramp(white, 0.6, 0.95) * _ramp(-cut.outward, 8, 16)
    image = _blend(image, signal["spot"], spots * deep * np.float32(0.85))
    caps = _ramp(cut.ventricle + 1.5 * _field(rng, size, 12), 6 * age + 0.5, 0) * deep
    image = _blend(image, signal["spot"], caps * np.float32(min(1, 1.3 * age)))
    if rng.random() < 0.08:
        row, column = _anywhere(rng, cut, 1.0, 25.0)
        cyst = _disc(rng, size, row, column, size * float(rng.uniform(0.012, 0.05)))
        image = _blend(image, signal["benign"], cyst * _ramp(-cut.outward, 0, 2))
    return image


def _disc(rng: Generator, size: int, row: float, column: float, radius_px: float) -> Floats:
    """A dented disc with a soft edge."""
    rows = np.arange(size, dtype=np.float32)[:, None] - np.float32(row)
    columns = np.arange(size, dtype=np.float32)[None] - np.float32(column)
    reach = np.hypot(rows, columns * np.float32(rng.uniform(0.6, 1.6)))
    reach = reach * (1 + 0.2 * _field(rng, size, max(4, round(size / (2 * radius_px)))))
    return _ramp(reach, radius_px + 1.5, radius_px - 1.5)


def _paint_tumour(
    rng: Generator,
    image: Floats,
    tumour: Tumour,
    cut: Cut,
    white: Floats,
    signal: dict[str, float],
    contrast: str,
) -> Floats:
    """The tumour, its core and its oedema over `image`."""
    size = image.shape[0]
    grain = 1 + np.float32(rng.uniform(0.03, 0.14)) * _field(rng, size, int(rng.integers(24, 60)))
    strength = np.float32(0.4 + 0.6 * rng.beta(2.2, 1.0))
    depth = tumour.depth
    halo = float(rng.uniform(2, 16)) * (tumour.kind == "ring" or rng.random() < 0.3)
    if tumour.kind in ("ring", "meningioma") and halo:
        reach = halo * (0.25 + 0.95 * white) * (1 + 0.35 * _field(rng, size, 14))
        oedema = _ramp(depth + reach, 0, 4) * _ramp(-cut.outward, 2, 5)
        image = _blend(image, signal["oedema"], oedema * strength)
    if tumour.kind == "infiltrating":
        soft = float(rng.uniform(1.5, 5))
        share = _ramp(depth, -soft, soft) * _ramp(-cut.outward, 1, 4)
        return _blend(image, signal["diffuse"] * grain, share * (0.25 + 0.75 * strength))
    edge = _ramp(depth, -0.6, 0.8)
    image = _blend(image, signal["solid"] * grain, edge * (0.3 + 0.7 * strength))
    if tumour.kind == "ring":
        wall = tumour.radius_mm * rng.uniform(0.12, 0.5) * (1 + 0.45 * _field(rng, size, 24))
        core = _ramp(depth - np.maximum(wall, 1.2), -0.8, 0.8)
        image = _blend(image, signal["core"] * (1 + 0.08 * _field(rng, size, 30)), core)
    elif tumour.kind == "meningioma" and contrast == "T1-CE":
        near = _ramp(depth, -14, -2) * _ramp(-cut.outward, 2.2, 1.0) * _ramp(-cut.outward, -0.5, 0)
        image = _blend(image, signal["solid"], near * np.float32(0.8))
    return image


# --- Camera ---------------------------------------------------------------------------------


def _camera(rng: Generator, image: Floats, inside: Floats) -> NDArray[np.uint8]:
    """The picture a scanner and a viewer would make of the signal: (H, W) uint8."""
    size = image.shape[0]
    bias = np.exp(np.float32(rng.uniform(0.02, 0.16)) * _field(rng, size, 2))
    image = _resolution(rng, image * bias)
    image = _ghost(rng, image)
    sigma = np.float32(np.exp(rng.uniform(np.log(0.008), np.log(0.055))))
    noise = rng.standard_normal((2, size, size), np.float32) * sigma
    image = np.sqrt((image + noise[0]) ** 2 + noise[1] ** 2)
    if rng.random() < 0.45:  # a viewer or an archive that blackens the background
        image = image * _ramp(inside, -2.5, -1.0)
    return _window(rng, image)


def _resolution(rng: Generator, image: Floats) -> Floats:
    """Blur of the acquisition, a coarser matrix for some, sharpening for some."""
    from scipy.ndimage import gaussian_filter

    size = image.shape[0]
    scale = size / 256
    image = gaussian_filter(image, float(rng.uniform(0.35, 1.0)) * scale)
    if rng.random() < 0.35:
        small = round(size * float(rng.uniform(0.55, 0.85)))
        shrink, grow = _linear(small, size), _linear(size, small)
        image = _apply(grow, _apply(shrink, image))
    if rng.random() < 0.4:
        soft = gaussian_filter(image, 1.2 * scale)
        image = np.maximum(image + float(rng.uniform(0.4, 1.8)) * (image - soft), 0)
    return np.asarray(image, np.float32)


def _ghost(rng: Generator, image: Floats) -> Floats:
    """Faint copies along one axis, as motion leaves them."""
    if rng.random() > 0.3:
        return image
    axis, shift = int(rng.integers(2)), int(image.shape[0] * rng.uniform(0.03, 0.5))
    share = np.float32(rng.uniform(0.01, 0.07))
    return image + share * (np.roll(image, shift, axis) + np.roll(image, -shift, axis))


def _window(rng: Generator, image: Floats) -> NDArray[np.uint8]:
    """Window, gamma and rounding to a byte; the window knows nothing of a tumour."""
    top, low = float(rng.uniform(0.75, 1.5)), float(rng.uniform(0.0, 0.05))
    gamma = np.float32(np.exp(rng.normal(0, 0.17)))
    shown = _ramp(image, low, top) ** gamma
    return np.asarray(shown * 255 + 0.5, np.uint8)


# --- One head -------------------------------------------------------------------------------


def head(
    seed: Sequence[int],
    *,
    label: str = TUMOUR,
    kind: str | None = None,
    plane: str | None = None,
    contrast: str | None = None,
    size_px: int = 256,
    zoom: float = 1.0,
) -> Head:
    """One generated head; the same seed with the other label is its twin.

    What isn't named is drawn by chance. `zoom` widens the field of view. A healthy twin has the
    same anatomy, slice, contrast and noise, with the tumour and its mass effect left out.

    Errors: `ManifestError` for a label, kind, plane or contrast that doesn't exist.
    """
    rng = _stream(seed, 0)
    drawn = [_pick(rng, table) for table in (KINDS, PLANES, CONTRASTS)]
    kind, plane, contrast = (
        given or chance for given, chance in zip((kind, plane, contrast), drawn, strict=True)
    )
    _check(label, kind, plane, contrast)
    view = _view(rng, kind, plane, size_px, zoom)
    model = anatomy()
    cut = _cut(_stream(seed, 1), view, model)
    tumour = _tumour(_stream(seed, 2), kind, cut, view.spacing_mm) if label == TUMOUR else None
    image = _signal(seed, view, cut, model, tumour, contrast)
    inside = cut.inward
    pixels = _camera(_stream(seed, 6), image, inside)
    empty = np.zeros(pixels.shape, bool)
    mask = tumour.depth > 0 if tumour else empty
    regions = np.where(cut.outward < 0, BRAIN, np.where(inside > 0, RIM, BACKGROUND))
    regions[mask] = BRAIN
    facts = (label, kind, plane, contrast, view.slice_mm, view.spacing_mm, tuple(seed))
    return Head(pixels, mask, regions.astype(np.uint8), *facts)


def _check(label: str, kind: str, plane: str, contrast: str) -> None:
    allowed = ((TUMOUR, HEALTHY), KINDS, PLANES, CONTRASTS)
    for value, names in zip((label, kind, plane, contrast), allowed, strict=True):
        if value not in names:
            raise ManifestError(f"no generated head is {value!r}: expected {', '.join(names)}")


def _signal(
    seed: Sequence[int], view: View, cut: Cut, model: Anatomy, tumour: Tumour | None, contrast: str
) -> Floats:
    """The head's signal before the camera: (H, W)."""
    signal = _signals(_stream(seed, 3), contrast)
    channels = _brain_channels(_stream(seed, 4), view, cut, model, tumour)
    rng = _stream(seed, 5)
    outside = _paint_rim(rng, cut, signal)
    inside, white = _paint_brain(rng, cut, channels, signal)
    inside = _paint_spots(rng, inside, cut, white, signal)
    if tumour:
        paint = _stream(seed, 7)
        inside = _paint_tumour(paint, inside, tumour, cut, white, signal, contrast)
    image = _blend(outside, inside, _ramp(cut.outward, 0.5, -0.5))
    if tumour and tumour.kind == "pituitary":
        image = np.where(tumour.depth > 0, inside, image)
    return np.asarray(image * _ramp(cut.inward, -0.7, 0.7), np.float32)


def _brain_channels(
    rng: Generator, view: View, cut: Cut, model: Anatomy, tumour: Tumour | None
) -> Floats:
    """Shares of white matter, grey matter, vessel and gland: (4, H, W) in 0–1."""
    size = cut.outward.shape[0]
    fine = np.stack([_field(rng, size, 12) for _ in range(3)]) * np.float32(rng.uniform(0.5, 1.5))
    points = cut.points + fine * _ramp(-cut.outward, 0, 10)
    points = _wide_ventricles(points, float(rng.normal(0.08, 0.18)))
    if tumour:
        points = _pushed(points, tumour, cut, view.spacing_mm)
    near = (cut.outward < 1.5).ravel()
    near |= False if tumour is None else (tumour.depth > -1).ravel()
    channels = np.zeros((4, size * size), np.float32)
    channels[:, near] = model.brain.sample(points.reshape(3, -1)[:, near]) * np.float32(1 / 255)
    return channels.reshape(4, size, size)


def _wide_ventricles(points: Floats, amount: float) -> Floats:
    """Points drawn towards the ventricles' centres, which widens (or narrows) the ventricles."""
    amount = float(np.clip(amount, -0.25, 0.5))
    moved = points.copy()
    centre = np.array([14.0, -18.0, 14.0], np.float32)[:, None, None]
    side = np.where(points[0] < 0, np.float32(-1), np.float32(1))
    gap = points - np.stack([side * centre[0], *np.broadcast_to(centre[1:], points[1:].shape)])
    reach = (gap[0] / 12) ** 2 + (gap[1] / 32) ** 2 + (gap[2] / 18) ** 2
    moved -= gap * (np.float32(amount) * np.exp(-reach / 2))
    return moved
