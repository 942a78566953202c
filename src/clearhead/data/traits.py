"""What each picture shows besides its content: one record per row, measured in one more reading.

The probes of the audit read the label from these; nothing of a tumour should be in most of them.
The records lie beside the manifest and are kept from one check to the next.
"""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, SupportsIndex

import numpy as np
import PIL
from numpy.typing import NDArray

from clearhead.data.cache import colour_of
from clearhead.data.canvas import draw, place
from clearhead.data.header import FILE, header
from clearhead.data.oddness import ODDNESS, colour_share, oddness
from clearhead.data.places import GRID, PLACES, VIEW, look, project, zones_of
from clearhead.data.read import locate, read_page
from clearhead.data.silhouette import head_mask
from clearhead.data.workers import each
from clearhead.errors import ReadError
from clearhead.files import writing
from clearhead.types import Manifest, Progress, Scan, silent

__all__ = ["FILE", "GRID", "PLACES", "TRAITS", "VIEW", "VIEWS", "measure_traits", "traits"]

MEASUREMENT = f"2, Pillow {PIL.__version__}"
"""What measures; records of another are not reused. Count up when any number changes,
those of `oddness` and of the canvas included."""

VIEWS = ("stretch", "canvas")
"""How a picture is drawn before it is looked at: as the report does, and as the nets here do."""

SIDE_PX = {"stretch": 256, "canvas": 160}
"""Side of the square of each view.

As the nets see it: the report's plain resize at 256, and the canvas at the size of the default
recipe. Smaller squares would be cheaper, but would hide what resizing by nearest neighbour to
the report's grid leaves in the fine detail, which is one of the things that give labels away.
"""

TRAITS = np.dtype(
    [
        ("seen", "?"),  # whether the picture is there, is the one that was indexed, and was read
        ("key", "u8"),  # of what was measured, and how; 0 where the index could not read it
        ("file", FILE),
        ("odd", ODDNESS),
        *((view, VIEW) for view in VIEWS),
    ]
)
"""One row: what its file says of itself, what is odd about it, and what its views show."""

BLOCK = 512
"""Records that are read at once where all are gone through."""


def _unknown() -> NDArray[Any]:
    record = np.zeros((), TRAITS)
    record["file"] = header(b"")
    for field in ODDNESS.names or ():
        record["odd"][field] = math.nan
    for view in VIEWS:
        for numbers in PLACES:
            record[view][numbers] = math.nan
    return record


UNKNOWN = _unknown()
UNKNOWN.setflags(write=False)
"""The record of a picture that was not seen."""


# --- Doors ----------------------------------------------------------------------------------


def traits(
    manifest: Manifest, *, workers: int | None = None, progress: Progress = silent
) -> NDArray[Any]:
    """The traits of every row, (N,) of `TRAITS`, memory-mapped from a file that nobody else sees.

    A row that can't be read, or whose file is gone or not the one that was indexed, has `seen`
    False and NaN for every number.
    """
    return _measured_aside(_Rows.of(manifest), None, workers, progress)


def measure_traits(
    manifest: Manifest, path: Path, workers: int | None = None, progress: Progress = silent
) -> NDArray[Any]:
    """As `traits`, kept beside the manifest at `path`: only what isn't there is read again.

    Records are found by what was measured (bytes, page, colour rule), so rows may have been taken
    or reordered. Where nothing can be written beside the manifest, the file is a temporary one.
    """
    rows, kept = _Rows.of(manifest), traits_path(path)
    with ExitStack() as stack:
        earlier = _earlier(kept, stack)
        if earlier is not None and earlier.holds(rows):
            return _mapped(kept.open("rb"), len(rows))
        try:
            temporary = stack.enter_context(writing(kept))
        except OSError:  # a folder that can't be written to
            return _measured_aside(rows, earlier, workers, progress)
        with temporary.open("w+b") as file:
            _measure(rows, earlier, file, workers, progress)
    return _mapped(kept.open("rb"), len(rows))


def traits_path(path: Path) -> Path:
    """Where the traits of the manifest at `path` lie."""
    return path.with_name(f"{path.name}.traits.npy")


# --- One picture ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Item:
    """One picture to measure: where it is, and the digest of the bytes that were indexed."""

    root: Path
    source: str
    sha256: str


def record_of(item: Item, colour: str) -> NDArray[Any]:
    """The traits of one picture, () of `TRAITS`, all but the key."""
    path = locate(item.root, item.source)[0]
    scan = read_page(path, source=item.source, colour=colour)
    if isinstance(scan, ReadError) or scan.sha256 != item.sha256:
        return UNKNOWN
    try:
        data = path.read_bytes()
    except OSError:
        return UNKNOWN
    record = UNKNOWN.copy()
    record["seen"] = True
    record["file"] = header(data)
    record["odd"] = oddness(scan.pixels, scan.depth)
    record["odd"]["colour"] = _colour_share(data)
    for view, numbers in views_of(scan).items():
        record[view] = numbers
    return record


def views_of(scan: Scan) -> dict[str, NDArray[Any]]:
    """What each view of a scan shows, () of `VIEW`."""
    head = head_mask(scan.pixels)
    zones = zones_of(head)
    views = {}
    for view, side in SIDE_PX.items():
        placement = place(scan, fit=view, size_px=side)
        views[view] = look(draw(scan, placement), project(zones, placement), head.found)
    return views


def _colour_share(data: bytes) -> float:
    """NaN where Pillow's shortcuts meet what the whole reading didn't."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return colour_share(data)
        except Exception:  # hostile bytes raise anything
            return math.nan


# --- Rows -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rows:
    """What a manifest says of its files, (N,) each. `keys` are 0 where there is no picture."""

    root: Path
    colour: str
    keys: NDArray[np.uint64]
    sources: NDArray[Any]
    digests: NDArray[Any]
    sizes: NDArray[np.int64]
    times: NDArray[np.int64]

    @classmethod
    def of(cls, manifest: Manifest) -> _Rows:
        colour = colour_of(manifest)
        sources, digests = manifest.column("source"), manifest.column("sha256")
        readable = (manifest.column("error") == None) & (digests != None)  # noqa: E711  elementwise
        keys = np.zeros(len(manifest), np.uint64)
        for row in np.flatnonzero(readable):
            keys[row] = _key(digests[row], sources[row], colour)
        sizes, times = (
            manifest.table.column(name).fill_null(-1).to_numpy() for name in ("bytes", "mtime_ns")
        )
        return cls(manifest.root, colour, keys, sources, digests, sizes, times)

    def __len__(self) -> int:
        return len(self.keys)

    def item(self, row: SupportsIndex) -> Item:
        return Item(self.root, self.sources[row], self.digests[row])

    def is_unchanged(self, row: SupportsIndex) -> bool:
        """Whether the file is the one that was indexed: by size and time, or else by its bytes."""
        path = locate(self.root, self.sources[row])[0]
        try:
            status = path.stat()
            if (status.st_size, status.st_mtime_ns) == (self.sizes[row], self.times[row]):
                return True
            return self.sizes[row] in (-1, status.st_size) and digest_of(path) == self.digests[row]
        except (OSError, ValueError):
            return False


def _key(digest: str, source: str, colour: str) -> int:
    """64 bits of what the traits of a picture depend on; never 0."""
    page = locate(Path(), source)[1]
    what = f"{MEASUREMENT} {digest} {page} {colour}".encode()
    return int.from_bytes(hashlib.blake2b(what, digest_size=8).digest()) or 1


def digest_of(path: Path) -> str:
    """Hex digest of a file's bytes. Errors: `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- Records on disk ------------------------------------------------------------------------


class _Records:
    """Records of `TRAITS` in an open `.npy` file: appended in order, read at any place."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._start = file.tell()

    @classmethod
    def new(cls, file: IO[bytes], count: int) -> _Records:
        """For `count` records in an empty file."""
        kind = np.lib.format.dtype_to_descr(TRAITS)
        np.lib.format.write_array_header_2_0(
            file, {"descr": kind, "fortran_order": False, "shape": (count,)}
        )
        return cls(file)

    @classmethod
    def old(cls, file: IO[bytes]) -> _Records:
        """Of a file as `new` makes it. Errors: `ValueError` where it isn't one."""
        if np.lib.format.read_magic(file) != (2, 0):
            raise ValueError("another version of the format")
        shape, _, kind = np.lib.format.read_array_header_2_0(file)
        records = cls(file)
        if kind != TRAITS or file.seek(0, os.SEEK_END) != records._place(*shape):
            raise ValueError("other records, or not all of them")
        return records

    def _place(self, row: int) -> int:
        return self._start + row * TRAITS.itemsize

    def append(self, record: bytes) -> None:
        self._file.seek(0, os.SEEK_END)
        self._file.write(record)

    def at(self, row: int) -> bytes:
        self._file.seek(self._place(row))
        return self._file.read(TRAITS.itemsize)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """All records in their order, some at a time."""
        self._file.seek(self._start)
        while block := self._file.read(BLOCK * TRAITS.itemsize):
            yield np.frombuffer(block, TRAITS)


@dataclass(frozen=True)
class _Earlier:
    """What was measured before: the records, their keys, and whether each was seen, (M,)."""

    records: _Records
    keys: NDArray[np.uint64]
    seen: NDArray[np.bool_]
    places: dict[int, int]
    """The record of each key that was seen."""

    def holds(self, rows: _Rows) -> bool:
        """Whether the records are those of `rows`, one by one, and nothing is left to read."""
        if not np.array_equal(self.keys, rows.keys) or not np.array_equal(self.seen, rows.keys > 0):
            return False
        return all(rows.is_unchanged(row) for row in np.flatnonzero(rows.keys))


def _earlier(kept: Path, stack: ExitStack) -> _Earlier | None:
    """The records in the file `kept`, open until `stack` closes; None where there are none."""
    try:
        records = _Records.old(stack.enter_context(kept.open("rb")))
    except (OSError, ValueError, EOFError, SyntaxError):  # absent, damaged, of another version
        return None
    columns = [(block["key"].copy(), block["seen"].copy()) for block in records.blocks()]
    keys = np.concatenate([np.zeros(0, np.uint64), *(key for key, _ in columns)])
    seen = np.concatenate([np.zeros(0, bool), *(seen for _, seen in columns)])
    places = {int(keys[place]): int(place) for place in np.flatnonzero(seen)}
    return _Earlier(records, keys, seen, places)


def _measured_aside(
    rows: _Rows, earlier: _Earlier | None, workers: int | None, progress: Progress
) -> NDArray[Any]:
    file = tempfile.TemporaryFile()  # noqa: SIM115  the map holds it open, and with it the bytes
    try:
        _measure(rows, earlier, file, workers, progress)
    except BaseException:
        file.close()
        raise
    return _mapped(file, len(rows))


def _mapped(file: IO[bytes], count: int) -> NDArray[Any]:
    """The records of an open file, memory-mapped, (count,); closes the file."""
    with file:
        file.seek(0)
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_2_0(file)
        if not count:  # nothing can't be mapped
            return np.zeros(0, TRAITS)
        mapped: NDArray[Any] = np.memmap(
            file,
            TRAITS,
            mode="r",
            offset=file.tell(),
            shape=(count,),
        )
        return mapped


def _measure(
    rows: _Rows,
    earlier: _Earlier | None,
    file: IO[bytes],
    workers: int | None,
    progress: Progress,
) -> None:
    """Write the record of every row, in their order, to an open, empty file.

    Of equal pictures one is read; of the others only that they are still what was indexed.
    """
    kept = {} if earlier is None else earlier.places
    fresh = _first_of_each(rows.keys, kept)
    items = [rows.item(row) for row in np.flatnonzero(fresh)]
    records = _Records.new(file, len(rows))
    places: dict[int, int] = {}
    measure = partial(record_of, colour=rows.colour)
    with closing(each(measure, items, workers)) as measured:
        bar = progress(range(len(rows)), total=len(rows), label="Measuring")
        unseen = 0
        for row in bar:
            key = int(rows.keys[row])
            if fresh[row]:
                record = _keyed(next(measured), key)
            elif not key or not rows.is_unchanged(row):
                record = _keyed(UNKNOWN, key)
            elif earlier and key in kept:
                record = earlier.records.at(kept[key])
            elif key in places:
                record = records.at(places[key])
            else:  # the first of its kind could not be read
                record = _keyed(measure(rows.item(row)), key)
            records.append(record)
            if np.frombuffer(record, TRAITS)["seen"][0]:
                places.setdefault(key, row)
            else:
                unseen += 1
                bar.note(f"{unseen} not seen")
    file.flush()


def _first_of_each(keys: NDArray[np.uint64], kept: Mapping[int, int]) -> NDArray[np.bool_]:
    """Which rows are the first of a picture that isn't kept yet, (N,)."""
    first = np.zeros(len(keys), bool)
    first[np.unique(keys, return_index=True)[1]] = True
    known = [int(key) in kept for key in keys]
    fresh: NDArray[np.bool_] = first & (keys > 0) & ~np.array(known, bool)
    return fresh


def _keyed(record: NDArray[Any], key: int) -> bytes:
    keyed = record.copy()
    keyed["key"] = key
    return keyed.tobytes()
