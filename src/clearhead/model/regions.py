"""Where background, rim and brain lie in a slice: the makers and the one that is used."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from clearhead.data.regions import classical
from clearhead.errors import RecipeError

Maker = Callable[[NDArray[np.uint8]], tuple[NDArray[np.uint8], NDArray[np.float32]]]

MAKERS: dict[str, Maker] = {"classical": classical}
"""Each gives the regions of squares (B, S, S), and how sure it is of each square, (B,) in 0…1."""

DEFAULT = "classical"

SURE = 0.5
"""Regions less sure than this are not used: the slice counts as one that can't be told."""


def region_maps(
    squares: NDArray[np.uint8], *, maker: str = DEFAULT
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Regions (B, S, S) of squares (B, S, S) as the net sees them, and confidences (B,) in 0…1.

    Values are those of `types.REGIONS`. Errors: `RecipeError` for an unknown maker.
    """
    if maker not in MAKERS:
        raise RecipeError(f"no maker of regions is called {maker!r}: expected {', '.join(MAKERS)}")
    return MAKERS[maker](squares)
