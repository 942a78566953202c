"""What a file says beside its pixels, from its header alone: nothing is decoded.

How a file was saved often tells which collection it came from. Of what may name a patient (EXIF,
comments) only the presence is kept.
"""

from __future__ import annotations

import io
import math
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clearhead.data.read import HEAD_BYTES, PICTURES, sniff

FILE = np.dtype(
    [
        ("quality", "f4"),  # of JPEG by its luminance table, 1–100; NaN where there is none
        ("quantisation", "u4"),  # checksum of the quantisation tables; 0 where there are none
        ("subsampling", "i1"),  # 0 4:4:4, 1 4:2:2, 2 4:2:0; -1 other, unknown, or no colour
        ("progressive", "?"),
        ("dpi", "f4"),  # NaN where the file doesn't say
        ("exif", "?"),
        ("icc", "?"),
        ("comment", "?"),
    ]
)
"""What is kept of a header."""

SUBSAMPLINGS = {(1, 1): 0, (2, 1): 1, (2, 2): 2}
"""Columns and rows of luminance per sample of colour, and the code in `FILE`."""

INCH_CM = 2.54

LUMINANCE = np.array(
    [
        *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
        *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
        *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
        *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
    ]
)
"""The luminance table of ITU-T T.81, table K.1, row by row: (64,)."""


def _tables() -> NDArray[np.int64]:
    quality = np.arange(1, 101)[:, None]
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    tables: NDArray[np.int64] = np.clip((LUMINANCE * scale + 50) // 100, 1, 255)
    return tables


QUALITIES = _tables()
"""The luminance table of each quality from 1 to 100, (100, 64): IJG `jcparam.c`, whole numbers."""

EMPTY = np.array((math.nan, 0, -1, False, math.nan, False, False, False), dtype=FILE)
EMPTY.setflags(write=False)
"""The header that says nothing."""


def header(data: bytes) -> NDArray[Any]:
    """What the header of a picture's file says, one record () of `FILE`.

    A fact that is broken or absent counts as not said. Of a TIFF with several pages, the first.
    Errors: none, whatever the bytes are.
    """
    record = EMPTY.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _opened(data)
        if image is None:
            return record
        with image:
            for name, fact in FACTS.items():
                value = _tried(fact, image, data)
                if value is not None:
                    record[name] = value
    return record


def quality_of(table: NDArray[np.int64]) -> int:
    """The IJG quality whose luminance table lies nearest to `table` (64,), row by row, 1–100."""
    return 1 + int(np.abs(QUALITIES - table).sum(axis=1).argmin())


def _opened(data: bytes) -> Image.Image | None:
    signature = sniff(data[:HEAD_BYTES])
    if signature is None or signature.format not in PICTURES:
        return None
    try:
        return Image.open(io.BytesIO(data), formats=[signature.format])
    except Exception:  # hostile bytes raise anything; `read` says what is wrong with the file
        return None


Fact = Callable[[Image.Image, bytes], float | int | bool | None]


def _tried(fact: Fact, image: Image.Image, data: bytes) -> float | int | bool | None:
    try:
        return fact(image, data)
    except Exception:  # one broken fact must not hide the others
        return None


# --- Facts ----------------------------------------------------------------------------------


def _quantisation(image: Image.Image) -> dict[int, list[int]]:
    """Quantisation tables by number, row by row; none where the format has none."""
    tables: dict[int, list[int]] = getattr(image, "quantization", {})
    return tables


def _quality(image: Image.Image, data: bytes) -> float | None:
    tables = _quantisation(image)
    return quality_of(np.array(tables[0])) if 0 in tables else None


def _checksum(image: Image.Image, data: bytes) -> int | None:
    """CRC-32 of the tables; a file without any has 0."""
    tables = _quantisation(image)
    numbers = [number for key in sorted(tables) for number in (key, *tables[key])]
    return zlib.crc32(np.array(numbers, "<u2").tobytes()) if numbers else None


def _subsampling(image: Image.Image, data: bytes) -> int | None:
    layers: list[tuple[int, int, int, int]] = getattr(image, "layer", [])
    if len(layers) != 3:
        return None
    (_, across, down, _), blue, red = layers
    if blue[1:3] != red[1:3]:
        return None
    return SUBSAMPLINGS.get((across // blue[1], down // blue[2]))


def _progressive(image: Image.Image, data: bytes) -> bool:
    return bool(image.info.get("progressive"))


def _dpi(image: Image.Image, data: bytes) -> float | None:
    """Dots per inch across, where the file gives them in inches or centimetres."""
    dpi = _jpeg_dpi(image) if image.format == "JPEG" else image.info.get("dpi", (0,))[0]
    value = float(dpi or 0)
    return value if math.isfinite(value) and value > 0 else None


def _jpeg_dpi(image: Image.Image) -> float | None:
    """By JFIF, else by EXIF. Pillow's own figure is 72 for a file whose EXIF doesn't say."""
    unit = image.info.get("jfif_unit", 0)
    if unit in (1, 2):
        density = float(image.info["jfif_density"][0])
        return density * INCH_CM if unit == 2 else density
    exif = image.getexif()
    if 0x011A not in exif:
        return None
    return float(exif[0x011A]) * (INCH_CM if exif.get(0x0128) == 3 else 1.0)


def _exif(image: Image.Image, data: bytes) -> bool:
    if image.format == "PNG":
        return b"eXIf" in set(_chunks(data))
    if image.format == "TIFF":
        return 0x8769 in _tags(image)
    return "exif" in image.info


def _icc(image: Image.Image, data: bytes) -> bool:
    if image.format == "PNG":
        return b"iCCP" in set(_chunks(data))
    return bool(image.info.get("icc_profile"))


def _comment(image: Image.Image, data: bytes) -> bool:
    """Whether there is a comment, a text chunk, or a description."""
    if image.format == "PNG":
        return not {b"tEXt", b"zTXt", b"iTXt"}.isdisjoint(_chunks(data))
    if image.format == "TIFF":
        return 0x010E in _tags(image)
    return "comment" in image.info or "xmp" in image.info


def _tags(image: Image.Image) -> Mapping[int, Any]:
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    return tags


def _chunks(data: bytes) -> Iterator[bytes]:
    """Names of the chunks of a PNG, in their order, also those behind the pixels."""
    place = 8
    while place + 8 <= len(data):
        yield data[place + 4 : place + 8]
        place += 12 + int.from_bytes(data[place : place + 4])


FACTS: dict[str, Fact] = {
    "quality": _quality,
    "quantisation": _checksum,
    "subsampling": _subsampling,
    "progressive": _progressive,
    "dpi": _dpi,
    "exif": _exif,
    "icc": _icc,
    "comment": _comment,
}
"""How each field of `FILE` is read; None where the file doesn't say."""
