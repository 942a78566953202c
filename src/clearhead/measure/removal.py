"""Deletion and insertion: in which order cells go, and the area under the score meanwhile."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def places_in_order(
    heats: NDArray[np.float32], rows: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    """The place of every cell of maps (B, h, w) in the order of heat, (B, h, w): 0 is the hottest.

    Cells as hot as each other go in random order, drawn for each of `rows` from the seed: a map
    that is the same everywhere is a random order.
    """
    flat = heats.reshape(len(heats), -1)
    places = np.empty(flat.shape, np.int64)
    for number, row in enumerate(rows):
        lot = np.random.default_rng((seed, int(row))).permutation(flat.shape[1])
        order = np.lexsort((lot, -flat[number]))
        places[number, order] = np.arange(flat.shape[1])
    return places.reshape(heats.shape)


def area_under(shares: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area under curves (B, T) over shares (T,) that rise from 0 to 1, by trapezoids, (B,).

    Source: Petsiuk et al., "RISE", BMVC 2018, section 4.2.
    """
    widths = np.diff(shares)
    area: NDArray[np.float64] = ((scores[:, 1:] + scores[:, :-1]) / 2) @ widths
    return area
