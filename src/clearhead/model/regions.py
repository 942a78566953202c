"""Where background, rim and brain lie in a slice: the makers and the one that is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clearhead.data.cache import cache_folder, picture_key, pictures
from clearhead.data.canvas import draw, place
from clearhead.data.regions import classical, on_picture
from clearhead.errors import RecipeError
from clearhead.files import writing
from clearhead.model.region_net import unet
from clearhead.types import BRAIN, Manifest, Progress, Scan, silent

_VERSION = 1
"""Raised whenever the regions change, so that no stale cache is ever read."""

BATCH = 32

Maker = Callable[[NDArray[np.uint8]], tuple[NDArray[np.uint8], NDArray[np.float32]]]

MAKERS: dict[str, Maker] = {"unet": unet, "classical": classical}
"""Each gives the regions of squares (B, S, S), and how sure it is of each square, (B,) in 0…1.

`unet` was trained on generated heads and expects a Dice; `classical` judges shape and edges.
"""

DEFAULT = "unet"

SURE = 0.6
"""Regions less sure than this are not used: the slice counts as one that can't be told."""

SCAN_PX = 192
"""Side of the square on which `regions` looks at a scan."""


@dataclass(frozen=True)
class Regions:
    """Where background, rim and brain lie in one picture.

    Shapes: `labels` (H, W) uint8 of `types.REGIONS` on the scan's own grid.
    """

    labels: NDArray[np.uint8]
    confidence: float
    """0…1; for `unet` the Dice that the net expects of its regions."""
    told: bool
    """Whether the confidence reaches `SURE`; where it does not, the labels are a guess."""


def regions(scan: Scan, *, maker: str = DEFAULT) -> Regions:
    """Background, rim and brain of a slice of any contrast and plane.

    The head is drawn on a square, the labels come back by nearest neighbour; what lies outside of
    the part that was drawn is background. Errors: `RecipeError` for an unknown maker.
    """
    placement = place(scan, fit="canvas", size_px=SCAN_PX)
    labels, sure = region_maps(draw(scan, placement)[None], maker=maker)
    confidence = float(sure[0])
    return Regions(on_picture(labels[0], placement), confidence, confidence >= SURE)


def region_maps(
    squares: NDArray[np.uint8], *, maker: str = DEFAULT
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Regions (B, S, S) of squares (B, S, S) as the net sees them, and confidences (B,) in 0…1.

    Values are those of `types.REGIONS`. Errors: `RecipeError` for an unknown maker.
    """
    if maker not in MAKERS:
        raise RecipeError(f"no maker of regions is called {maker!r}: expected {', '.join(MAKERS)}")
    return MAKERS[maker](squares)


def brains(
    manifest: Manifest, *, fit: str, size_px: int, progress: Progress = silent
) -> NDArray[np.bool_]:
    """The brain in every row drawn on its square, (N, S, S); found once, then kept in the cache.

    Nothing where it can't be told.
    """
    name = f"{picture_key(manifest, fit, size_px)}-{_VERSION}.npy"
    path = cache_folder() / "brains" / name
    if not path.exists():
        squares = pictures(manifest, fit=fit, size_px=size_px, progress=progress)
        starts = range(0, len(squares), BATCH)
        with writing(path) as temporary:
            found = np.lib.format.open_memmap(temporary, mode="w+", dtype=bool, shape=squares.shape)
            for start in progress(starts, total=len(starts), label="regions"):
                labels, sure = region_maps(np.ascontiguousarray(squares[start : start + BATCH]))
                found[start : start + BATCH] = (labels == BRAIN) & (sure >= SURE)[:, None, None]
            found.flush()
    kept: NDArray[np.bool_] = np.load(path, mmap_mode="c")
    return kept
