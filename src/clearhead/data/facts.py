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

Compact = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]
"""Grey values in the smallest type that holds them."""

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
    stored = compact(result.pixels)
    row = {
        "source": source,
        "sha256": result.sha256,
        "pixel_hash": pixel_hash(stored),
        "phash": phash(small),
        "format": result.facts.format,
        "mode": result.facts.mode,
        "height": result.facts.height,
        "width": result.facts.width,
        **size,
        "bytes": result.facts.bytes,
        **intensities(stored),
    }
    return row, small


def compact(pixels: NDArray[np.float32]) -> Compact:
    """The same values in the smallest of uint8, uint16 and float32 that holds them all."""
    low, high = pixels.min(), pixels.max()
    if low >= 0 and high < 1 << 16:
        whole: Compact = pixels.astype(np.uint8) if high < 1 << 8 else pixels.astype(np.uint16)
        if np.array_equal(whole, pixels):
            return whole
    return pixels


def pixel_hash(stored: Compact) -> str:
    """Hex digest of shape and values of a compact (H, W): equal for equal pictures alone."""
    digest = hashlib.sha256(f"{stored.shape[0]}×{stored.shape[1]}".encode())
    digest.update(np.ascontiguousarray(stored, dtype=stored.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def intensities(stored: Compact) -> dict[str, float]:
    """Mean, standard deviation and percentiles of a compact (H, W), in stored units.

    Whole numbers are counted, which is ten times faster than the sorting that percentiles need.
    """
    if stored.dtype.kind == "u":
        counts = np.bincount(stored.ravel())
        values = np.flatnonzero(counts)
        counts = counts[values]
        mean = float(values @ counts) / stored.size
        std = math.sqrt(float((values - mean) ** 2 @ counts) / stored.size)
        low, middle, high = _percentiles(values, counts)
    else:
        mean, std = float(stored.mean(dtype=np.float64)), float(stored.std(dtype=np.float64))
        low, middle, high = np.percentile(stored, PERCENTILES)
    return {"mean": mean, "std": std, "p01": float(low), "p50": float(middle), "p99": float(high)}


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
