"""What an earlier index says of files that have not changed since."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clearhead.data.facts import Page, Row
from clearhead.data.listing import Entry
from clearhead.data.manifest import is_manifest, load_manifest, load_thumbnails
from clearhead.data.read import PAGE
from clearhead.errors import ManifestError

FACTS = (
    *("source", "sha256", "pixel_hash", "phash", "format", "mode", "height", "width", "bytes"),
    *("mtime_ns", "mean", "std", "p01", "p50", "p99"),
)
"""Columns that depend on the file alone."""

BLOCK = 1024
"""Rows that are taken from the table at once."""


@dataclass(frozen=True)
class Earlier:
    """Rows and thumbnails of an earlier index, by file. Shape: `thumbnails` (N, 64, 64) uint8."""

    table: pa.Table
    thumbnails: NDArray[np.uint8]
    places: Mapping[str, list[int]]
    """Rows of each source, or of all pages of a file; only of files that could be read."""
    bytes: NDArray[np.int64]
    mtime_ns: NDArray[np.int64]
    blocks: dict[int, list[Row]] = field(default_factory=dict)
    """The rows taken from the table last."""

    def find(self, entry: Entry) -> list[int] | None:
        """The rows of a file that has not changed; None where it must be read."""
        places = self.places.get(entry.source)
        if places is None or entry.error is not None:
            return None
        try:
            status = entry.path.stat()
        except (OSError, ValueError):
            return None
        size, time = self.bytes[places], self.mtime_ns[places]
        same = (size == status.st_size).all() and (time == status.st_mtime_ns).all()
        return places if same else None

    def pages(self, places: list[int]) -> list[Page]:
        """Rows, with the facts alone, and thumbnails."""
        return [
            (self._block(place // BLOCK)[place % BLOCK], self.thumbnails[place]) for place in places
        ]

    def _block(self, number: int) -> list[Row]:
        """Rows come out of Arrow many at a time; files are asked for in almost the same order."""
        if number not in self.blocks:
            self.blocks.clear()
            self.blocks[number] = self.table.slice(number * BLOCK, BLOCK).to_pylist()
        return self.blocks[number]


def load_earlier(out: Path | None, reader: str, colour: str) -> Earlier | None:
    """The index at `out`, if there is one of the same `reader` and rule of `colour`.

    Errors: `ManifestError` where `out` is a file of another kind, which must not be overwritten.
    """
    if out is None or not out.exists():
        return None
    if not is_manifest(out):
        raise ManifestError(f"{out} exists and is no manifest: name another file")
    try:
        manifest, thumbnails = load_manifest(out), load_thumbnails(out)
    except ManifestError:  # damaged or of another version: made anew
        return None
    note = manifest.notes.get("index", {})
    if (note.get("reader"), note.get("colour")) != (reader, colour):
        return None
    table = manifest.table.select(list(FACTS))
    return Earlier(
        table,
        thumbnails,
        _places(manifest.column("source"), manifest.column("error"), note.get("pages_named", True)),
        table.column("bytes").fill_null(-1).to_numpy(),
        table.column("mtime_ns").fill_null(-1).to_numpy(),
    )


def _places(
    sources: NDArray[np.object_], errors: NDArray[np.object_], pages_named: bool
) -> dict[str, list[int]]:
    """Rows by source, and by file where the rows are all its pages and all could be read.

    Unreadable files are tried again each time: rights and links change without a trace in them.
    """
    places: dict[str, list[int]] = defaultdict(list)
    broken = set()
    for place, (source, error) in enumerate(zip(sources, errors, strict=True)):
        named = PAGE.fullmatch(source)
        keys = {source} | ({named["file"]} if named and not pages_named else set())
        for key in keys:
            places[key].append(place)
        if error is not None:
            broken |= keys
    return {key: found for key, found in places.items() if key not in broken}
