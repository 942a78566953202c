"""Contact sheets: real pictures of a data set, small, in their own shape, as data URIs.

A picture keeps its aspect ratio: stretching would hide the very thing that gives a label away.
The file is read, reduced and let go, one per thread: memory doesn't grow with the sheets.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clearhead.audits.section import Sheet, Strip, Tile
from clearhead.data.read import locate, read
from clearhead.errors import ReadError
from clearhead.types import Manifest, Progress, Scan, silent

SIDE_PX = 112
"""Longest side of a tile."""
MOST_TILES = 600
"""Tiles of a page; where sheets ask for more, the longest strips are cut first."""
TILE_BYTES = 6000
"""Largest tile: 600 of them, as text, are 4.8 MB."""
QUALITIES = (82, 70, 55, 40, 25, 12, 5)
"""JPEG qualities, tried in this order until a tile is small enough."""
NARROW = 64
"""An 8-bit picture whose grey values span less than this is drawn brighter…"""
FLAT = 4
"""…unless they span less than this: there is nothing to see but noise."""
PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class Picture:
    """A tile ready for the page; `uri` is None where the picture can't be shown."""

    source: str
    caption: str
    uri: str | None
    width: int = SIDE_PX
    height: int = SIDE_PX
    trouble: str = ""
    """Why it can't be shown."""
    alt: str = ""
    """What a reader who can't see it should know; the source where empty."""
    badge: str = ""
    """A few words that are written on the picture."""


@dataclass(frozen=True)
class Row:
    """A strip ready for the page, and how many of its tiles are left out."""

    label: str
    pictures: tuple[Picture, ...]
    hidden: int


# --- Which tiles ----------------------------------------------------------------------------


def cut(sheets: Sequence[Sheet], most: int = MOST_TILES) -> list[list[tuple[Strip, int]]]:
    """The strips of each sheet, and how many of the first tiles of each are shown.

    At most `most` over all sheets: the longest strips are cut to one common length, and beyond
    `most` strips the last ones show nothing.
    """
    lengths = [len(strip.tiles) for sheet in sheets for strip in sheet.strips]
    limit = _limit(lengths, most)
    left = most
    shown = []
    for sheet in sheets:
        strips = []
        for strip in sheet.strips:
            kept = min(len(strip.tiles), max(limit, 1), left)
            left -= kept
            strips.append((strip, kept))
        shown.append(strips)
    return shown


def _limit(lengths: Sequence[int], most: int) -> int:
    """The largest common length under which all strips together hold at most `most` tiles."""
    low, high = 0, max(lengths, default=0)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(length, middle) for length in lengths) <= most:
            low = middle
        else:
            high = middle - 1
    return low


def draw_sheets(
    sheets: Sequence[Sheet],
    manifest: Manifest,
    against: Mapping[str, Manifest] | None = None,
    *,
    most: int = MOST_TILES,
    progress: Progress = silent,
) -> list[tuple[Row, ...]]:
    """The strips of every sheet, drawn; a picture that can't be read is a placeholder."""
    shown = cut(sheets, most)
    tiles = [tile for strips in shown for strip, kept in strips for tile in strip.tiles[:kept]]
    drawn = iter(_draw(tiles, manifest, against or {}, progress))
    return [
        tuple(
            Row(strip.label, tuple(next(drawn) for _ in range(kept)), len(strip.tiles) - kept)
            for strip, kept in strips
        )
        for strips in shown
    ]


def _draw(
    tiles: Sequence[Tile], manifest: Manifest, against: Mapping[str, Manifest], show: Progress
) -> list[Picture]:
    places: dict[str | None, Manifest] = {None: manifest}
    places.update(against)
    sources = {name: place.column("source") for name, place in places.items()}

    def one(tile: Tile) -> Picture:
        source = str(sources[tile.against][tile.row])
        path, _ = locate(places[tile.against].root, source)
        try:
            # Colour as grey: a colour photograph that the index refused is worth a look here.
            scan = read(path, source=source, colour="mean")
        except ReadError as error:
            return Picture(source, tile.caption, None, trouble=str(error))
        return picture(scan, tile.caption)

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return list(_shown(pool.map(one, tiles), len(tiles), show))


def _shown(drawn: Iterable[Picture], total: int, show: Progress) -> Iterable[Picture]:
    return show(drawn, total=total, label="draw sheets") if total else drawn


# --- One tile -------------------------------------------------------------------------------


def picture(scan: Scan, caption: str = "") -> Picture:
    """The tile of one scan, in its own shape and never enlarged."""
    shades = tile(scan)
    height, width = shades.shape
    data = base64.b64encode(_encoded(shades)).decode("ascii")
    return Picture(scan.source, caption, f"data:image/jpeg;base64,{data}", width, height)


def tile(scan: Scan) -> NDArray[np.uint8]:
    """The scan reduced to at most `SIDE_PX` a side, (h, w) uint8, in its own aspect ratio."""
    height, width = scan.pixels.shape
    scale = min(1.0, SIDE_PX / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    pixels = Image.fromarray(np.nan_to_num(np.ascontiguousarray(scan.pixels)))
    small = np.asarray(pixels.resize(size, Image.Resampling.BOX))
    low, high = _window(small, scan.depth)
    shares = np.clip((small - low) / (high - low), 0, 1)
    shades: NDArray[np.uint8] = np.rint(255 * shares).astype(np.uint8)
    return shades


def _window(pixels: NDArray[np.float32], depth: float) -> tuple[float, float]:
    """Stored values shown black and white.

    8-bit pictures are shown as they are stored, since their brightness may be what tells them
    apart; other depths between percentiles, since nothing could be seen of most otherwise.
    """
    low, high = (float(value) for value in np.percentile(pixels, PERCENTILES))
    as_stored = depth == 255.0 and not FLAT <= high - low < NARROW
    return (0.0, depth) if as_stored or not high > low else (low, high)


def _encoded(shades: NDArray[np.uint8]) -> bytes:
    image = Image.fromarray(shades)
    data = b""
    for quality in QUALITIES:
        stream = io.BytesIO()
        image.save(stream, format="JPEG", quality=quality, optimize=True)
        data = stream.getvalue()
        if len(data) <= TILE_BYTES:
            break
    return data
