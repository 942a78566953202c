"""Where background, rim and brain lie in a slice: the makers and the one that is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clearhead.data.canvas import draw, place
from clearhead.data.regions import classical, on_picture
from clearhead.errors import RecipeError
from clearhead.model.region_net import unet
from clearhead.types import Scan

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
