"""How each picture of a manifest meets its square, and its tumour mask drawn there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clearhead.data.cache import load_scan, scratch
from clearhead.data.canvas import Placement, place
from clearhead.data.read import read
from clearhead.errors import ReadError
from clearhead.types import Manifest, Progress, silent


@dataclass(frozen=True)
class Drawn:
    """Geometry and truth of N pictures on squares of side S.

    Shapes: `masks` (N, S, S) bool, False where a picture has no mask; `masked` (N,) tells which
    have one; `spacing_mm` (N, 2) millimetres per picture pixel, NaN where unknown.
    """

    placements: tuple[Placement, ...]
    masks: NDArray[np.bool_]
    masked: NDArray[np.bool_]
    spacing_mm: NDArray[np.float32]


def drawn(manifest: Manifest, *, fit: str, size_px: int, progress: Progress = silent) -> Drawn:
    """Placements of every row, and its tumour mask as the net would see it.

    Errors: `ReadError` for a picture or mask that no longer decodes.
    """
    sources, names = manifest.column("source"), manifest.column("mask")
    masks = scratch((len(manifest), size_px, size_px), bool)

    def one(row: int) -> tuple[Placement, tuple[float, float] | None]:
        scan = load_scan(manifest, sources[row])
        placement = place(scan, fit=fit, size_px=size_px)
        if names[row] is not None:
            masks[row] = draw_mask(_mask(manifest, names[row], placement), placement)
        return placement, scan.spacing_mm

    with ThreadPoolExecutor() as pool:
        rows = range(len(manifest))
        found = list(progress(pool.map(one, rows), total=len(manifest), label="geometry"))
    unknown = (np.nan, np.nan)
    return Drawn(
        tuple(placement for placement, _ in found),
        masks,
        np.array([name is not None for name in names]),
        np.array([spacing or unknown for _, spacing in found], np.float32).reshape(-1, 2),
    )


def _mask(manifest: Manifest, name: str, placement: Placement) -> NDArray[np.bool_]:
    pixels = read(manifest.root / name, colour="mean").pixels
    if pixels.shape != placement.shape:
        raise ReadError(
            f"{name} is a mask of {pixels.shape[0]}×{pixels.shape[1]} pixels, and its picture has "
            f"{placement.shape[0]}×{placement.shape[1]}: make the manifest again"
        )
    marked: NDArray[np.bool_] = pixels > 0
    return marked


def draw_mask(mask: NDArray[np.bool_], placement: Placement) -> NDArray[np.bool_]:
    """The mask (H, W) on the square: True where at least half of a pixel's area is marked.

    A mask that is too small to fill half of any pixel keeps the one that it fills most.
    """
    top, left, bottom, right = placement.target
    above, before, below, after = placement.box
    picture = Image.fromarray(mask.astype(np.float32))
    shares = np.asarray(
        picture.resize(
            (right - left, bottom - top), Image.Resampling.BOX, box=(before, above, after, below)
        )
    )
    square = np.zeros((placement.size_px, placement.size_px), bool)
    most = shares.max(initial=0.0)
    if most > 0:
        square[top:bottom, left:right] = shares >= min(0.5, most)
    return square
