"""Generated heads as teachers: drawn on the square with their masks, once, beside the real ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from clearhead.data.anatomy import anatomy
from clearhead.data.cache import cache_folder
from clearhead.data.canvas import draw, place
from clearhead.data.drawn import draw_mask
from clearhead.data.heads import HEALTHY, TUMOUR, head
from clearhead.files import writing
from clearhead.types import Facts, Progress, Scan, silent

_VERSION = 1
"""Raised whenever heads or their drawing change, so that no stale cache is ever read."""

_TEACHERS = 105
"""What these heads' seeds end with: no other use of generated heads draws the same ones."""


@dataclass(frozen=True)
class Teachers:
    """N generated heads, every other one with a tumour.

    Shapes: `squares` (N, S, S) uint8, `masks` (N, S, S) bool, `ill` (N,) bool.
    """

    squares: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    ill: NDArray[np.bool_]


def teachers(
    count: int, seed: int, *, fit: str, size_px: int, progress: Progress = silent
) -> Teachers:
    """Generated heads as the net sees them; drawn once, then kept in the cache."""
    name = f"{_VERSION}-{count}-{seed}-{fit}-{size_px}.npy"
    path = cache_folder() / "teachers" / name
    if not path.exists():
        with writing(path) as temporary:
            both = np.lib.format.open_memmap(
                temporary, mode="w+", dtype=np.uint8, shape=(count, 2, size_px, size_px)
            )
            rows = _each(both, seed, fit, size_px)
            for _ in progress(rows, total=count, label="generated heads"):
                pass
            both.flush()
    both = np.load(path, mmap_mode="c")
    return Teachers(both[:, 0], both[:, 1].view(bool), np.arange(count) % 2 == 0)


def _each(both: NDArray[np.uint8], seed: int, fit: str, size_px: int) -> Iterator[None]:
    anatomy()  # built or read once, before the workers start

    def one(row: int) -> None:
        made = head((seed, row, _TEACHERS), label=HEALTHY if row % 2 else TUMOUR)
        facts = Facts("PNG", "L", made.pixels.shape[0], made.pixels.shape[1], 0)
        scan = Scan(made.pixels.astype(np.float32), f"head {row}", "", facts)
        placement = place(scan, fit=fit, size_px=size_px)
        both[row, 0] = draw(scan, placement)
        both[row, 1] = draw_mask(made.mask, placement)

    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        try:
            yield from pool.map(one, range(len(both)))
        finally:
            pool.shutdown(cancel_futures=True)
