"""What a manifest keeps of each picture: computed from one reading of the file."""

from __future__ import annotations

import hashlib
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
        **_intensities(result.pixels),
    }
    return row, small


def pixel_hash(pixels: NDArray[np.float32]) -> str:
    """Hex digest of the shape and the grey values, (H, W) float32: equal for equal pictures."""
    digest = hashlib.sha256(f"{pixels.shape[0]}×{pixels.shape[1]}".encode())
    digest.update(np.ascontiguousarray(pixels, dtype="<f4").data)
    return digest.hexdigest()


def _intensities(pixels: NDArray[np.float32]) -> dict[str, float]:
    """Mean, standard deviation and percentiles, in stored units."""
    low, middle, high = np.percentile(pixels, (1, 50, 99))
    return {
        "mean": float(pixels.mean(dtype=np.float64)),
        "std": float(pixels.std(dtype=np.float64)),
        "p01": float(low),
        "p50": float(middle),
        "p99": float(high),
    }


def _size(path: Path) -> dict[str, int]:
    """Bytes and time of change, where the file is there."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return {}
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
