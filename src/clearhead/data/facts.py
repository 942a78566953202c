"""What a manifest keeps of each picture: computed from one reading of the file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.data.listing import Entry
from clearhead.data.read import read_page, read_pages
from clearhead.data.thumbnail import SIDE, phash, thumbnail
from clearhead.errors import ReadError
from clearhead.types import Scan

Row = dict[str, Any]
"""One row of a manifest: column name to value; columns left out are null."""

Page = tuple[Row, NDArray[np.uint8]]
"""Row and thumbnail, (64, 64), of one picture."""

PERCENTILES = (1, 50, 99)

BLANK = np.zeros((SIDE, SIDE), dtype=np.uint8)
BLANK.setflags(write=False)
"""The thumbnail of what could not be read."""


def rows_of(entry: Entry, colour: str) -> list[Page]:
    """Row and thumbnail of every page of a file; where it can't be read, one row that says why."""
    if entry.error is not None:
        return [({"source": entry.source, "error": entry.error, **_size(entry.path)}, BLANK)]
    size = _size(entry.path)
    return [_row(name, result, size) for name, result in _results(entry, colour)]


def _results(entry: Entry, colour: str) -> Iterator[tuple[str, Scan | ReadError]]:
    if entry.page:
        yield entry.source, read_page(entry.path, source=entry.source, colour=colour)
    else:
        yield from read_pages(entry.path, source=entry.source, colour=colour)


def _row(source: str, result: Scan | ReadError, size: dict[str, int]) -> Page:
    if isinstance(result, ReadError):
        return {"source": source, "error": str(result), **size}, BLANK
    small = thumbnail(result.pixels)
    row = {
        "source": source,
        "sha256": result.sha256,
        "pixel_hash": pixel_hash(result.pixels),
        "phash": phash(small),
        "format": result.facts.format,
        "mode": result.facts.mode,
        "height": result.facts.height,
        "width": result.facts.width,
        **size,
        "bytes": result.facts.bytes,
        **intensities(result.pixels),
    }
    return row, small


def pixel_hash(pixels: NDArray[np.float32]) -> str:
    """Hex digest of the shape and the grey values, (H, W) float32: equal for equal pictures."""
    digest = hashlib.sha256(f"{pixels.shape[0]}×{pixels.shape[1]}".encode())
    digest.update(np.ascontiguousarray(pixels, dtype="<f4").data)
    return digest.hexdigest()


def intensities(pixels: NDArray[np.float32]) -> dict[str, float]:
    """Mean, standard deviation and percentiles of (H, W), in stored units."""
    counted = _count(pixels)
    if counted is None:
        low, middle, high = np.percentile(pixels, PERCENTILES)
        mean, std = float(pixels.mean(dtype=np.float64)), float(pixels.std(dtype=np.float64))
    else:
        values, counts = counted
        mean = float(values @ counts) / pixels.size
        std = math.sqrt(float((values - mean) ** 2 @ counts) / pixels.size)
        low, middle, high = _percentiles(values, counts)
    return {"mean": mean, "std": std, "p01": float(low), "p50": float(middle), "p99": float(high)}


def _count(pixels: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Values and how often each occurs, where all are whole numbers of 16 bits; else None.

    Counting is ten times faster than the sorting that percentiles need otherwise.
    """
    if not (pixels.min() >= 0 and pixels.max() < 1 << 16):
        return None
    whole = pixels.astype(np.uint16)
    if not np.array_equal(whole, pixels):
        return None
    counts = np.bincount(whole.ravel())
    values = np.flatnonzero(counts)
    return values, counts[values]


def _percentiles(values: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """As `np.percentile`: between two neighbours in sorted order, linearly."""
    last = np.cumsum(counts) - 1  # place in sorted order of the last of each value
    place = np.array(PERCENTILES) / 100 * last[-1]
    lower = values[np.searchsorted(last, np.floor(place))]
    upper = values[np.searchsorted(last, np.ceil(place))]
    between: NDArray[np.float64] = lower + (upper - lower) * (place - np.floor(place))
    return between


def _size(path: Path) -> dict[str, int]:
    """Bytes and time of change, where the file is there."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return {}
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
