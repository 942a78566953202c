"""The anatomy behind generated heads: a template brain, with a head built around it.

The brain is real: grey- and white-matter maps of the MNI152 (ICBM 2009a symmetric) template,
which nilearn carries inside its package. The template is brain only, so meninges, skull, scalp,
face and neck are built around it from distance maps and simple solids at their anatomical places.
All coordinates are MNI millimetres: x to the right, y to the front, z up.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clearhead.errors import ReadError
from clearhead.files import writing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

TEMPLATE = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
TEMPLATE_ORIGIN_MM = (-98.0, -134.0, -72.0)

BRAIN = ("wm", "gm", "vessel", "gland")
"""Channels of the 1 mm brain volume: shares of a voxel in 0–1. `gland` is what enhances without
a tumour: pituitary, choroid plexus, pineal."""

HEAD = ("outward", "inward", "air", "fat", "fluid", "bone", "ventricle", "sinus_wall")
"""Channels of the 2 mm head volume. `outward`: mm outside the inner skull surface (negative
within); `inward`: mm below the skin (negative outside); `ventricle`: mm to the nearest lateral or
third ventricle; the rest shares in 0–1."""

DISTANCE_MM_PER_STEP = 0.5
"""Resolution at which the volumes store a distance; ±63 mm fit in a byte."""

SELLA_MM = (0.0, 3.0, -33.0)
"""Where the pituitary lies."""

_BRAIN_BOX = ((-77.0, 77.0), (-112.0, 80.0), (-72.0, 86.0))
_HEAD_BOX = ((-100.0, 100.0), (-130.0, 126.0), (-142.0, 110.0))


@dataclass(frozen=True)
class Volume:
    """Some channels on one regular grid, as bytes packed together so that one look-up gets all.

    Shapes: `voxels` is (X, Y, Z) of an unsigned integer with one byte per channel.
    """

    voxels: NDArray[Any]
    origin_mm: tuple[float, float, float]
    spacing_mm: float

    def sample(self, points_mm: Floats) -> Floats:
        """Channels at `points_mm`, trilinear, the nearest voxel beyond the edge.

        Shapes: (3, N) float32 in, (C, N) float32 out, in bytes (0–255).
        """
        shape = self.voxels.shape
        corner, share = [], []
        for axis in range(3):
            place = (points_mm[axis] - np.float32(self.origin_mm[axis])) / np.float32(
                self.spacing_mm
            )
            np.clip(place, 0, np.float32(shape[axis] - 1), out=place)
            low = np.minimum(place.astype(np.int32), shape[axis] - 2)
            corner.append(low)
            share.append(place - low)
        return self._mix((corner[0] * shape[1] + corner[1]) * shape[2] + corner[2], share)

    def _mix(self, first: NDArray[np.int32], share: Sequence[Floats]) -> Floats:
        _, rows, columns = self.voxels.shape
        flat = self.voxels.reshape(-1)
        total = np.zeros((len(first), self.voxels.dtype.itemsize), np.float32)
        for step in np.ndindex(2, 2, 2):
            weight = np.ones(len(first), np.float32)
            for axis in range(3):
                weight *= share[axis] if step[axis] else 1 - share[axis]
            offset = (step[0] * rows + step[1]) * columns + step[2]
            corner = flat.take(first + offset).view(np.uint8).reshape(total.shape)
            total += corner * weight[:, None]
        return np.ascontiguousarray(total.T)


@dataclass(frozen=True)
class Anatomy:
    """A head without a tumour, ready to be cut: channels `BRAIN` at 1 mm and `HEAD` at 2 mm."""

    brain: Volume
    head: Volume


@functools.cache
def anatomy() -> Anatomy:
    """The head to cut: read from the user's cache, or built (seconds) and kept there.

    Errors: `ReadError` where nilearn's template files are missing.
    """
    brain = _cached("brain", lambda: _brain_volume(), len(BRAIN))
    head = _cached("head", lambda: _head_volume(), len(HEAD))
    return Anatomy(
        Volume(brain, (_BRAIN_BOX[0][0], _BRAIN_BOX[1][0], _BRAIN_BOX[2][0]), 1.0),
        Volume(head, (_HEAD_BOX[0][0], _HEAD_BOX[1][0], _HEAD_BOX[2][0]), 2.0),
    )


def _cached(name: str, build: Any, channels: int) -> NDArray[Any]:
    path = _cache_folder() / f"anatomy-{name}-{_edition()}.npy"
    kind = {4: np.uint32, 8: np.uint64}[channels]
    if not path.is_file():
        packed = np.ascontiguousarray(build()).view(kind)[..., 0]
        try:
            with writing(path) as temporary, temporary.open("wb") as file:
                np.save(file, packed)
        except OSError:  # a cache that can't be written costs time, nothing else
            return packed
    found: NDArray[Any] = np.load(path, mmap_mode="r")
    return found


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clearhead"


def _edition() -> str:
    """A digest of this file: a cache made by another edition is never read."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]


def _template(name: str) -> Floats:
    """The template map `name` (`gm`, `wm` or `t1`) in 0–1: (197, 233, 189), 1 mm."""
    spec = importlib.util.find_spec("nilearn")  # found, not imported: that takes a second
    folders = list(spec.submodule_search_locations or ()) if spec else []
    path = Path(folders[0] if folders else ".") / "datasets" / "data" / TEMPLATE.format(name)
    if not path.is_file():
        raise ReadError(f"nilearn's template {path.name} is missing: reinstall nilearn")
    import nibabel

    return np.asarray(np.asarray(nibabel.load(path).dataobj) / 255, np.float32)


def _brain_volume() -> NDArray[np.uint8]:
    """Channels `BRAIN` as bytes: (X, Y, Z, 4)."""
    box = tuple(
        slice(int(low - origin), int(high - origin) + 1)
        for (low, high), origin in zip(_BRAIN_BOX, TEMPLATE_ORIGIN_MM, strict=True)
    )
    grey, white, t1 = (_template(name)[box] for name in ("gm", "wm", "t1"))
    # The maps leave narrow sulci grey; the template's own intensity shows the fluid in them.
    fluid = np.clip((0.70 - t1) / 0.40, 0, 1) * (grey + white < 0.999)
    grey, white = (np.clip(part * (1 - 0.6 * fluid), 0, 1) for part in (grey, white))
    vessel = _tubes(_VESSELS, grey.shape)
    vessel = np.maximum(vessel, _falx(grey, white))
    return _bytes(white, grey, vessel, _tubes(_GLANDS, grey.shape))


_VESSELS: tuple[tuple[float, tuple[tuple[float, float, float], ...]], ...] = (
    # (radius in mm, the line it follows); mirrored where it leaves the midline
    (1.3, ((0, 8, -17), (0, 22, -14), (0, 38, 2), (0, 34, 18), (0, 15, 28), (0, -12, 30))),
    (1.4, ((13, 4, -26), (12, 5, -19), (26, 4, -18), (40, 6, -16), (44, -4, -6), (46, -24, 8))),
    (2.2, ((13, 12, -32), (14, 2, -34), (13, -4, -38), (22, -10, -48), (24, -12, -72))),
    (1.6, ((0, -13, -16), (0, -17, -30), (2, -22, -46), (8, -30, -62), (12, -34, -72))),
    (1.2, ((0, -14, -16), (16, -20, -14), (24, -36, -8), (20, -58, -2))),
    (2.0, ((0, -32, 12), (0, -44, 10), (0, -64, 2), (0, -90, -8))),
    (3.0, ((0, -98, -4), (24, -96, -12), (50, -80, -20), (60, -58, -28), (56, -44, -42))),
    (3.0, ((56, -44, -42), (42, -42, -56), (34, -34, -66))),
    (3.2, ((0, 62, 28), (0, 46, 56), (0, 20, 74), (0, -10, 80), (0, -40, 78), (0, -68, 62))),
    (3.4, ((0, -68, 62), (0, -90, 38), (0, -102, 14), (0, -100, -4))),
    (1.0, ((12, -8, 4), (8, -30, 12), (0, -42, 10))),
)
_GLANDS: tuple[tuple[float, tuple[tuple[float, float, float], ...]], ...] = (
    (3.4, ((0, 3, -33), (3.5, 3, -33))),
    (1.2, ((0, 1, -30), (0, -1, -22))),
    (2.6, ((22, -40, 6), (25, -40, 0), (27, -34, -6))),
    (1.4, ((22, -40, 8), (16, -30, 14), (8, -14, 14))),
    (2.6, ((0, -33, 3), (0, -35, 2))),
)


def _tubes(
    lines: Sequence[tuple[float, Sequence[tuple[float, float, float]]]], shape: tuple[int, ...]
) -> Floats:
    """Share of each 1 mm voxel inside tubes around `lines`, on both sides of the midline."""
    total = np.zeros(shape, np.float32)
    for radius, line in lines:
        for start, end in itertools.pairwise(line):
            for side in (1, -1):
                flip = np.array([side, 1, 1], np.float32)
                _add_tube(total, radius, np.array(start) * flip, np.array(end) * flip)
    return total


def _add_tube(total: Floats, radius: float, start: Floats, end: Floats) -> None:
    origin = np.array([low for low, _ in _BRAIN_BOX])
    low = np.floor(np.minimum(start, end) - origin - radius - 2).astype(int).clip(0)
    high = np.ceil(np.maximum(start, end) - origin + radius + 3).astype(int)
    box = tuple(slice(a, max(a, min(b, n))) for a, b, n in zip(low, high, total.shape, strict=True))
    axes = [np.arange(part.start, part.stop) + origin[i] for i, part in enumerate(box)]
    place = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    way = end - start
    along = np.clip(((place - start) @ way) / (way @ way), 0, 1)
    distance = np.linalg.norm(place - start - along[..., None] * way, axis=-1)
    inside = np.clip(radius - distance + 0.5, 0, 1).astype(np.float32)
    np.maximum(total[box], inside, out=total[box])


def _falx(grey: Floats, white: Floats) -> Floats:
    """The membrane between the hemispheres: a sheet at x = 0 above the corpus callosum."""
    x, y, z = (
        np.arange(n, dtype=np.float32) + low
        for n, (low, _) in zip(grey.shape, _BRAIN_BOX, strict=True)
    )
    sheet = np.clip(1.3 - np.abs(x), 0, 1)[:, None, None]
    # An ellipse a little larger than corpus callosum and thalami, which the falx stays clear of.
    core = ((y[:, None] + 14) / 54) ** 2 + ((z[None, :] - 4) / 30) ** 2 > 1
    above = core & (z[None, :] > -18)
    room = np.clip(0.9 - white - 0.9 * grey, 0, 1)
    return np.asarray(sheet * above[None] * room, np.float32)


def _grid() -> tuple[Floats, Floats, Floats]:
    """Coordinates of the 2 mm voxels, ready to broadcast: (X, 1, 1), (1, Y, 1), (1, 1, Z)."""
    x, y, z = (np.arange(low, high + 1, 2, dtype=np.float32) for low, high in _HEAD_BOX)
    return x[:, None, None], y[None, :, None], z[None, None, :]


def _head_volume() -> NDArray[np.uint8]:
    """Channels `HEAD` as bytes: (X, Y, Z, 8)."""
    from scipy.ndimage import gaussian_filter

    tissue = _tissue_2mm()
    outward = _distance(_cavity(tissue))
    outward = gaussian_filter(outward, 1.0)
    inward = gaussian_filter(-_distance(_skin(outward)), 0.8)
    ventricle = np.clip(_distance(_ventricles(tissue)), 0, 60)
    solids = [_soften(part) for part in (_air(), _fat(), _eyes(), _bone())]
    steps = [
        np.clip(128 + part / DISTANCE_MM_PER_STEP, 0, 255) / 255
        for part in (outward, inward, ventricle)
    ]
    wall = _soften(_around(_air()))
    return _bytes(steps[0], steps[1], *solids, steps[2], wall)


def _tissue_2mm() -> Floats:
    """Share of brain tissue on the 2 mm grid; below the template the brain stem goes on."""
    full = _template("gm") + _template("wm")
    picks = []
    for (low, high), origin, n in zip(_HEAD_BOX, TEMPLATE_ORIGIN_MM, full.shape, strict=True):
        picks.append(np.clip(np.arange(low, high + 1, 2) - origin, 0, n - 1).astype(int))
    return np.asarray(np.clip(full[np.ix_(*picks)], 0, 1), np.float32)


def _distance(inside: NDArray[np.bool_]) -> Floats:
    """Signed distance to the edge of `inside` in mm, positive outside."""
    return np.asarray(_reach(~inside) - _reach(inside), np.float32)


def _cavity(tissue: Floats) -> NDArray[np.bool_]:
    """Inside of the skull: the brain with its sulci and cisterns closed, and the sella."""
    x, y, z = _grid()
    # The vault is smooth; the base follows the brain into its hollows.
    base = _closed(tissue > 0.3, 11, 10)
    vault = _closed(tissue > 0.3, 24, 23.5) & (z > -24 + 0.25 * np.clip(y, 0, 60))
    sella = _ellipsoid(x, y, z, SELLA_MM, (8, 6, 6))
    return np.asarray(base | vault | (sella > 0))


def _closed(inside: NDArray[np.bool_], out_mm: float, back_mm: float) -> NDArray[np.bool_]:
    """`inside` grown by `out_mm` and shrunk by `back_mm`: narrow gaps are filled."""
    room = int(out_mm // 2) + 2  # what grows past the edge of the grid must shrink again
    grown = _reach(~np.pad(inside, room)) < out_mm
    core = (slice(room, -room),) * 3
    return np.asarray(_reach(grown)[core] > back_mm)


def _reach(inside: NDArray[np.bool_]) -> Floats:
    """Distance in mm from each voxel of `inside` to the nearest one outside of it."""
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(inside, sampling=2), np.float32)


def _ellipsoid(
    x: Floats,
    y: Floats,
    z: Floats,
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
) -> Floats:
    """About the distance in mm below the surface of an ellipsoid, negative outside."""
    place = zip((x, y, z), centre, radii, strict=True)
    reach = np.sqrt(sum(((axis - c) / r) ** 2 for axis, c, r in place))
    return np.asarray((1 - reach) * min(radii), np.float32)


def _both(
    centre: tuple[float, float, float], radii: tuple[float, float, float], x: Floats, *rest: Floats
) -> Floats:
    """The same ellipsoid on both sides of the midline."""
    return _ellipsoid(np.abs(x), rest[0], rest[1], centre, radii)


def _skin(outward: Floats) -> NDArray[np.bool_]:
    """Inside of the whole head: what lies near the skull, face, nose, ears and neck."""
    x, y, z = _grid()
    # The scalp bridges the furrows that the skull's inside may have.
    near = 13.0 - _distance(_closed(outward < 0, 30, 30))
    face = _ellipsoid(x, y, z, (0, 24, -64), (66, 66, 74))
    chin = _ellipsoid(x, y, z, (0, 52, -108), (38, 38, 26))
    nose = np.maximum(
        _ellipsoid(x, y, z, (0, 92, -66), (13, 20, 15)),
        _ellipsoid(x, y, z, (0, 84, -52), (9, 14, 22)),
    )
    ear = _both((82, -26, -42), (8, 17, 30), x, y, z)
    neck = 58 - np.sqrt((x / 1.02) ** 2 + ((y + 34) / 1.0) ** 2) + 0 * z
    neck = np.minimum(neck, -30 - z)
    temple = _both((58, 24, -18), (18, 34, 36), x, y, z)
    parts = [near, face, chin, nose, ear, neck, temple]
    return np.asarray(_smooth_union(parts, 5.0) > 0)


def _smooth_union(parts: Sequence[Floats], width_mm: float) -> Floats:
    """Union of solids given by depth, its creases rounded over `width_mm`."""
    total = parts[0]
    for part in parts[1:]:
        gap = np.clip(width_mm - np.abs(total - part), 0, None) / width_mm
        total = np.maximum(total, part) + gap * gap * width_mm / 4
    return np.asarray(total, np.float32)


def _union(*parts: Floats) -> Floats:
    """Union of solids given by depth."""
    return functools.reduce(np.maximum, parts)


def _air() -> Floats:
    """Nose, sinuses, mastoid cells, ear canals and pharynx, as depth in mm."""
    x, y, z = _grid()
    septum = np.abs(x) - 1.5
    nose = np.minimum(_ellipsoid(x, y, z, (0, 66, -60), (12, 32, 16)), septum)
    ethmoid = np.minimum(_ellipsoid(x, y, z, (0, 54, -40), (11, 22, 11)), septum)
    # Cells with thin walls: a standing wave cuts the solid into chambers.
    cells = 3 * np.cos(x * 0.55) * np.cos(y * 0.5 + 1) * np.cos(z * 0.6) + 2
    mastoid = np.minimum(_both((54, -42, -46), (11, 15, 15), x, y, z), cells)
    return _union(
        nose,
        np.minimum(ethmoid, cells + 1),
        np.minimum(_ellipsoid(x, y, z, (0, 22, -43), (13, 12, 7)), septum),
        _both((29, 54, -66), (14, 18, 17), x, y, z),
        _both((11, 80, -14), (10, 5, 9), x, y, z),
        mastoid,
        _both((70, -22, -44), (14, 3.5, 3.5), x, y, z),
        _ellipsoid(x, y, z, (0, 6, -72), (9, 8, 16)),
        _ellipsoid(x, y, z, (0, -2, -112), (8, 6, 46)),
    )


def _around(solid: Floats) -> Floats:
    """A shell of about 3 mm around a solid given by depth: the mucosa."""
    return np.asarray(1.2 - np.abs(solid + 1.5), np.float32)


def _fat() -> Floats:
    """Fat behind the eyes, in the cheeks and between the muscles of the neck, as depth in mm."""
    x, y, z = _grid()
    orbit = _both((30, 48, -37), (16, 24, 15), x, y, z)
    nerve = _both_line((30, 52, -36), (8, 12, -24), 2.6, x, y, z)
    recti = _union(
        _both((17, 48, -37), (3, 16, 5), x, y, z),
        _both((42, 48, -37), (3, 16, 5), x, y, z),
        _both((30, 46, -26), (5, 16, 2.5), x, y, z),
        _both((30, 46, -48), (5, 16, 2.5), x, y, z),
    )
    cheek = _both((48, 44, -80), (9, 20, 20), x, y, z)
    turn = 0.9 * np.sin(0.07 * z + 2 * np.arctan2(x, y + 41)) + 0.8 * np.cos(0.11 * z)
    planes = 1.2 - np.abs(np.sin(0.12 * np.hypot(x, y + 40) + turn)) * 8
    nape = np.minimum(planes, np.minimum(-58 - z, -y - 10))
    return _union(np.minimum(orbit, -_union(nerve, recti)), cheek, nape)


def _both_line(
    start: tuple[float, float, float],
    end: tuple[float, float, float],
    radius: float,
    x: Floats,
    y: Floats,
    z: Floats,
) -> Floats:
    """A straight tube on both sides of the midline, as depth in mm."""
    way = np.subtract(end, start)
    offset = [np.abs(x) - start[0], y - start[1], z - start[2]]
    along = sum(o * w for o, w in zip(offset, way, strict=True)) / float(way @ way)
    along = np.clip(along, 0, 1)
    square = sum((o - along * w) ** 2 for o, w in zip(offset, way, strict=True))
    return np.asarray(radius - np.sqrt(square), np.float32)


def _eyes() -> Floats:
    """The eyeballs, as depth in mm."""
    x, y, z = _grid()
    return _both((31, 63, -37), (12.0, 12.0, 12.0), x, y, z)


def _bone() -> Floats:
    """Skull base, jaws and vertebrae, as depth in mm; marrow where it is deep."""
    x, y, z = _grid()
    clivus = _both_line((0, 0, -42), (0, -12, -62), 7.0, x, y, z)
    petrous = _both_line((14, -14, -46), (54, -34, -44), 8.0, x, y, z)
    wing = _both_line((22, 22, -34), (50, 34, -24), 4.0, x, y, z)
    palate = _ellipsoid(x, y, z, (0, 54, -82), (24, 36, 4))
    jaw = _jaw(x, y, z)
    disc = 1.5 * np.cos((z + 74) * 2 * np.pi / 18) + 1.0
    body = np.minimum(11 - np.hypot(x, (y + 22) * 1.2), np.minimum(disc * 3, -70 - z))
    spine = np.minimum(7 - np.hypot(x * 0.8, (y + 76) * 0.5), np.minimum(disc * 3, -76 - z))
    return _union(clivus, petrous, wing, palate, jaw, body, spine)


def _jaw(x: Floats, y: Floats, z: Floats) -> Floats:
    """The mandible: an arch open to the back, and its two upright branches."""
    arch = 5 - np.abs(np.hypot(x, (y - 34) * 0.85) - 40)
    arch = np.minimum(arch, np.minimum(12 - np.abs(z + 112), y - 18))
    return _union(np.asarray(arch, np.float32), _both((47, 16, -82), (5, 13, 30), x, y, z))


def _ventricles(tissue: Floats) -> NDArray[np.bool_]:
    """Fluid well inside the brain: lateral and third ventricles."""
    x, y, z = _grid()
    near = _ellipsoid(x, y, z, (0, -14, 12), (42, 66, 36)) > 0
    deep = _reach(_reach(tissue <= 0.3) < 7) > 16
    found = near & deep & (tissue < 0.5)
    return found | (_ellipsoid(x, y, z, (0, -10, 12), (6, 10, 4)) > 0)


def _soften(depth: Floats) -> Floats:
    """Share of a voxel inside a solid given by depth: an edge of about one voxel."""
    return np.asarray(np.clip(depth / 2.5 + 0.5, 0, 1), np.float32)


def _bytes(*channels: Floats) -> NDArray[np.uint8]:
    """Channels in 0–1 as bytes, packed along a last axis."""
    shape = np.broadcast_shapes(*(part.shape for part in channels))
    full = [np.broadcast_to(np.clip(part, 0, 1) * 255 + 0.5, shape) for part in channels]
    return np.stack(full, -1).astype(np.uint8)
