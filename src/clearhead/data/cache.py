"""Pictures decoded once: a memory-mapped array that every epoch reads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.data.canvas import draw, place
from clearhead.data.read import locate, read
from clearhead.data.thumbnail import SIDE, thumbnail
from clearhead.files import writing
from clearhead.types import Manifest, Progress, Scan, silent

_VERSION = 2
"""Raised whenever drawing or thumbnails change, so that no stale cache is ever read."""


def cache_folder() -> Path:
    """`CLEARHEAD_CACHE`, or `clearhead` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("CLEARHEAD_CACHE") or Path(home) / "clearhead")


def load_scan(manifest: Manifest, source: str) -> Scan:
    """The scan of one row of a manifest, read with the manifest's own colour rule."""
    path, _ = locate(manifest.root, source)
    return read(path, source=source, colour=colour_of(manifest))


def colour_of(manifest: Manifest) -> str:
    """The colour rule that the manifest was made with."""
    return str(manifest.notes.get("index", {}).get("colour", "agree"))


def pictures(
    manifest: Manifest,
    *,
    fit: str,
    size_px: int,
    workers: int | None = None,
    progress: Progress = silent,
) -> NDArray[np.uint8]:
    """Every row drawn on its square, (N, size_px, size_px) uint8, memory-mapped (copy on write).

    The key holds the files' digests and the drawing's settings, so a changed file is drawn anew
    and the same pictures in another manifest are not. Decoding runs in threads (the codecs release
    the interpreter) straight into the map: memory does not grow with the folder.

    Errors: `ReadError` for a file that no longer decodes.
    """

    def drawn(scan: Scan) -> NDArray[np.uint8]:
        return draw(scan, place(scan, fit=fit, size_px=size_px))

    return _kept("pictures", manifest, drawn, (fit, size_px), workers, progress)


def thumbnails(
    manifest: Manifest, *, workers: int | None = None, progress: Progress = silent
) -> NDArray[np.uint8]:
    """Every row's thumbnail, (N, 64, 64) uint8, memory-mapped, as `index` keeps them.

    For manifests whose own aren't beside them, that of a run for one. Errors: `ReadError` for a
    file that no longer decodes.
    """

    def drawn(scan: Scan) -> NDArray[np.uint8]:
        return thumbnail(scan.pixels)

    return _kept("thumbnails", manifest, drawn, ("thumbnail", SIDE), workers, progress)


def forget(manifest: Manifest, *, fit: str, size_px: int) -> None:
    """Remove what the cache keeps of the rows of a manifest as a whole: they are drawn anew.

    Arrays that are in use stay readable, or, where the system doesn't let them be removed, stay.
    """
    for path in cache_folder().glob(f"*/{picture_key(manifest, fit, size_px)}*.npy"):
        with suppress(OSError):
            path.unlink()


LARGE = 1 << 28
"""Bytes from which on an array is kept on disk."""


def scratch(shape: tuple[int, ...], dtype: type[np.generic] | type[bool]) -> NDArray[Any]:
    """An array of zeros; where it is large, on a nameless file that is gone with the array."""
    if np.prod(shape, dtype=float) * np.dtype(dtype).itemsize < LARGE:
        return np.zeros(shape, dtype)
    cache_folder().mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=cache_folder()) as file:
        return np.memmap(file, dtype, mode="w+", shape=shape)


def picture_key(manifest: Manifest, fit: str, size_px: int) -> str:
    """A name for the drawn rows of a manifest: files' digests and the drawing's settings."""
    digest = hashlib.sha256(f"{_VERSION} {fit} {size_px} {colour_of(manifest)}".encode())
    for sha256, source in zip(manifest.column("sha256"), manifest.column("source"), strict=True):
        page = source.rpartition("#")[2] if "#page=" in source else ""
        digest.update(f"{sha256} {page}\n".encode())
    return digest.hexdigest()[:32]


def _kept(
    folder: str,
    manifest: Manifest,
    drawn: Callable[[Scan], NDArray[np.uint8]],
    how: tuple[str, int],
    workers: int | None,
    progress: Progress,
) -> NDArray[np.uint8]:
    """What is `drawn` of every row, (N, S, S), from the cache; `how` is its name and S."""
    path = cache_folder() / folder / f"{picture_key(manifest, *how)}.npy"
    if not path.exists():
        with writing(path) as temporary:
            _decode(manifest, temporary, drawn, how[1], workers=workers, show=progress)
    found: NDArray[np.uint8] = np.load(path, mmap_mode="c")
    return found


def _decode(
    manifest: Manifest,
    path: Path,
    drawn: Callable[[Scan], NDArray[np.uint8]],
    side: int,
    *,
    workers: int | None,
    show: Progress,
) -> None:
    sources = manifest.column("source")
    array = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.uint8, shape=(len(manifest), side, side)
    )

    def one(row: int) -> None:
        array[row] = drawn(load_scan(manifest, sources[row]))

    for _ in show(
        _each(one, len(manifest), workers or os.cpu_count() or 1),
        total=len(manifest),
        label="decode",
    ):
        pass
    array.flush()


def _each(work: Callable[[int], None], count: int, workers: int) -> Iterator[None]:
    with ThreadPoolExecutor(workers) as pool:
        try:
            yield from pool.map(work, range(count))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
