"""Reading: every format and mode against numpy, every broken file one clear line."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from clearhead.data import read as reading
from clearhead.data.read import (
    COLOUR_SHARE,
    PICTURES,
    locate,
    picture_size,
    read,
    read_pages,
    read_scans,
)
from clearhead.errors import ReadError

HEIGHT, WIDTH = 11, 17
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (HEIGHT, WIDTH), dtype=np.uint16)
ALPHA = RNG.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
SMOOTH = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)).astype(np.uint8) * 5
RAMP = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (32, 1))


def grey_rgb(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(grey[..., None], 3, axis=2)


def over_black(grey: NDArray[Any], alpha: NDArray[Any]) -> NDArray[np.float32]:
    laid: NDArray[np.float32] = (grey.astype(np.float64) * alpha / 255).astype(np.float32)
    return laid


def image(mode: str) -> Image.Image:
    """A picture of that mode, and in `expected` what reading it must give."""
    pictures: dict[str, Callable[[], Image.Image]] = {
        "1": lambda: Image.fromarray(GREY > 127),
        "L": lambda: Image.fromarray(GREY),
        "LA": lambda: Image.fromarray(np.dstack([GREY, ALPHA]), "LA"),
        "P": grey_palette,
        "RGB": lambda: Image.fromarray(grey_rgb(GREY)),
        "RGBA": lambda: Image.fromarray(np.dstack([grey_rgb(GREY), ALPHA])),
        "CMYK": lambda: Image.fromarray(grey_rgb(GREY)).convert("CMYK"),
        "I;16": lambda: Image.fromarray(DEEP),
        "I": lambda: Image.fromarray(DEEP.astype(np.int32) * 200 - 500_000),
        "F": lambda: Image.fromarray(DEEP.astype(np.float32) / 7 - 100),
    }
    return pictures[mode]()


def grey_palette() -> Image.Image:
    """Palette in another order than the grey values."""
    picture = Image.fromarray(255 - GREY, "P")
    picture.putpalette(np.repeat(np.arange(255, -1, -1, dtype=np.uint8), 3).tobytes())
    return picture


EXPECTED: dict[str, tuple[NDArray[Any], float]] = {
    "1": ((GREY > 127).astype(np.float32), 1),
    "L": (GREY.astype(np.float32), 255),
    "LA": (over_black(GREY, ALPHA), 255),
    "P": (GREY.astype(np.float32), 255),
    "RGB": (GREY.astype(np.float32), 255),
    "RGBA": (over_black(GREY, ALPHA), 255),
    "CMYK": (GREY.astype(np.float32), 255),
    "I;16": (DEEP.astype(np.float32), 65535),
    "I": (DEEP.astype(np.float32) * 200 - 500_000, float(DEEP.max()) * 200 - 500_000),
    "F": (DEEP.astype(np.float32) / 7 - 100, float(np.float32(DEEP.max() / 7 - 100))),
}

LOSSLESS = [
    *(("png", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    *(("tiff", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F")),
    *(("bmp", mode) for mode in ("1", "L", "P", "RGB")),
    *(("webp", mode) for mode in ("RGB", "RGBA")),
]


def save(picture: Image.Image, path: Path, format: str, **options: Any) -> Path:
    if format == "webp":
        options = {"lossless": True, "exact": True, **options}
    picture.save(path, format=format, **options)
    return path


# --- What comes out -------------------------------------------------------------------------


@pytest.mark.parametrize(("format", "mode"), LOSSLESS)
def test_round_trip_of_every_lossless_format_and_mode(
    tmp_path: Path, format: str, mode: str
) -> None:
    path = save(image(mode), tmp_path / "x", format)
    scan = read(path, source="x")
    expected, depth = EXPECTED[mode]
    assert scan.pixels.dtype == np.float32
    assert scan.pixels.flags.c_contiguous
    np.testing.assert_allclose(scan.pixels, expected, rtol=1e-6, atol=1e-4)
    assert scan.depth == pytest.approx(depth)
    assert scan.facts.format == format.upper()
    assert (scan.facts.height, scan.facts.width) == (HEIGHT, WIDTH)
    assert scan.facts.bytes == path.stat().st_size
    if (format, mode) not in {("bmp", "P"), ("bmp", "1"), ("webp", "RGB")}:
        assert scan.facts.mode == mode


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["1", "L", "RGB", "I;16", "F"])
def test_compressed_tiff(tmp_path: Path, compression: str, mode: str) -> None:
    path = save(image(mode), tmp_path / "x.tif", "tiff", compression=compression)
    np.testing.assert_allclose(read(path).pixels, EXPECTED[mode][0], rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_is_close(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(SMOOTH) if mode == "L" else Image.fromarray(grey_rgb(SMOOTH))
    path = save(picture.convert(mode), tmp_path / "x.jpg", "jpeg", quality=95)
    scan = read(path)
    assert scan.facts.mode == mode
    assert np.abs(scan.pixels - SMOOTH).max() <= 6


def test_grey_values_are_the_decoders(tmp_path: Path) -> None:
    path = save(Image.fromarray(GREY), tmp_path / "x.jpg", "jpeg")
    with Image.open(path) as picture:
        expected = np.asarray(picture)
    np.testing.assert_array_equal(read(path).pixels, expected)


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_tiff_written_by_hand(tmp_path: Path, byte_order: str, white_is_zero: bool) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(tiff(DEEP, byte_order, 0 if white_is_zero else 1))
    if byte_order == ">" and white_is_zero:  # no variant that the decoder knows
        with pytest.raises(ReadError, match="rare variant"):
            read(path)
        return
    expected = 65535.0 - DEEP if white_is_zero else DEEP
    np.testing.assert_array_equal(read(path).pixels, expected)


def tiff(pixels: NDArray[Any], byte_order: str, photometric: int, samples: int = 1) -> bytes:
    """An uncompressed TIFF of one strip, straight from the TIFF 6.0 specification."""
    data = pixels.astype(pixels.dtype.newbyteorder("<" if byte_order == "<" else ">")).tobytes()
    bits = pixels.dtype.itemsize * 8
    tags = [
        *[(256, 4, pixels.shape[1]), (257, 4, pixels.shape[0]), (258, 3, bits), (259, 3, 1)],
        *[(262, 3, photometric), (273, 4, 8), (277, 3, samples), (278, 4, pixels.shape[0])],
        (279, 4, len(data)),
    ]
    head = (b"II" if byte_order == "<" else b"MM") + struct.pack(
        byte_order + "HI", 42, 8 + len(data)
    )
    directory = struct.pack(byte_order + "H", len(tags))
    for tag, kind, value in tags:
        directory += struct.pack(byte_order + "HHI", tag, kind, 1)
        field = byte_order + ("HH" if kind == 3 else "I")
        directory += struct.pack(field, *((value, 0) if kind == 3 else (value,)))
    return head + data + directory + b"\0\0\0\0"


def test_big_endian_sixteen_bit_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(tiff(DEEP, ">", 1))
    assert read(path).facts.mode == "I;16B"


def test_low_bit_depths_are_widened(tmp_path: Path) -> None:
    """Grey PNG of 2 bits: 0–3 become 0–255, as the PNG specification has it."""
    rows = b"".join(b"\0" + bytes([0b00011011]) for _ in range(3))
    path = tmp_path / "x.png"
    path.write_bytes(png(4, 3, 2, 0, rows))
    np.testing.assert_array_equal(read(path).pixels, [[0, 85, 170, 255]] * 3)


def png(width: int, height: int, bits: int, colour_type: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG straight from the specification; `more` are chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


def chunk(name: bytes, data: bytes) -> bytes:
    check = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bit_colour_png_is_never_cut_to_eight_in_silence(
    tmp_path: Path, colour_type: int, channels: int
) -> None:
    rows = (b"\0" + b"\x12\x34" * channels * 4) * 3
    path = tmp_path / "x.png"
    path.write_bytes(png(4, 3, 16, colour_type, rows))
    with pytest.raises(ReadError, match="16 bits per channel"):
        read(path)


def test_transparent_value_of_grey_png_is_black(tmp_path: Path) -> None:
    path = save(Image.fromarray(GREY), tmp_path / "x.png", "png", transparency=int(GREY[0, 0]))
    expected = np.where(GREY[0, 0] == GREY, 0, GREY)
    np.testing.assert_array_equal(read(path).pixels, expected)
    deep = tmp_path / "deep.png"
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in DEEP)
    clear = chunk(b"tRNS", struct.pack(">H", int(DEEP[0, 0])))
    deep.write_bytes(png(WIDTH, HEIGHT, 16, 0, rows, clear))
    np.testing.assert_array_equal(read(deep).pixels, np.where(DEEP[0, 0] == DEEP, 0, DEEP))


def test_palette_with_transparency_lies_over_black(tmp_path: Path) -> None:
    alpha = bytes(range(256))
    path = save(grey_palette(), tmp_path / "x.png", "png", transparency=alpha)
    np.testing.assert_allclose(read(path).pixels, over_black(GREY, 255 - GREY), rtol=1e-6)


TURN: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(np.transpose(x), 2),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["png", "tiff", "webp", "jpeg"])
def test_orientation(tmp_path: Path, format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(grey_rgb(SMOOTH))
    path = save(picture, tmp_path / "x", format, exif=exif)
    scan = read(path)
    expected = TURN[orientation](SMOOTH)
    assert scan.pixels.shape == expected.shape
    assert (scan.facts.height, scan.facts.width) == expected.shape == picture_size(path)
    assert np.abs(scan.pixels - expected).max() <= (12 if format == "jpeg" else 0)


def test_format_is_told_by_signature_not_by_name(tmp_path: Path) -> None:
    path = save(Image.fromarray(GREY), tmp_path / "x.jpg", "png")
    assert read(path).facts.format == "PNG"
    assert read(path).pixels.tolist() == GREY.tolist()


# --- Colour ---------------------------------------------------------------------------------


def test_colour_is_refused_or_averaged(tmp_path: Path) -> None:
    colours = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    path = save(Image.fromarray(colours), tmp_path / "x.png", "png")
    with pytest.raises(ReadError, match="--colour mean"):
        read(path)
    averaged = read(path, colour="mean").pixels
    np.testing.assert_allclose(averaged, colours.mean(axis=2), rtol=1e-6)


@pytest.mark.parametrize(("tint", "kept"), [(2, True), (31, True), (33, False), (120, False)])
def test_tint_up_to_the_tolerance_agrees(tmp_path: Path, tint: int, kept: bool) -> None:
    tinted = grey_rgb(np.full((20, 20), 100, np.uint8))
    tinted[..., 2] += tint
    path = save(Image.fromarray(tinted), tmp_path / "x.png", "png")
    if kept:
        np.testing.assert_allclose(read(path).pixels, 100 + tint / 3, rtol=1e-6)
    else:
        with pytest.raises(ReadError, match="colour"):
            read(path)


@pytest.mark.parametrize(("rows", "kept"), [(4, True), (6, False)])
def test_a_coloured_mark_is_kept_and_a_coloured_region_is_not(
    tmp_path: Path, rows: int, kept: bool
) -> None:
    marked = grey_rgb(np.full((100, 10), 60, np.uint8))
    marked[:rows] = (255, 0, 0)
    assert (rows / 100 <= COLOUR_SHARE) is kept
    path = save(Image.fromarray(marked), tmp_path / "x.png", "png")
    if kept:
        assert read(path).pixels[0, 0] == 85
    else:
        with pytest.raises(ReadError, match=r"6% of its pixels"):
            read(path)


def test_colour_under_full_transparency_does_not_count(tmp_path: Path) -> None:
    colours = RNG.integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    colours[..., 3] = 0
    path = save(Image.fromarray(colours), tmp_path / "x.png", "png")
    assert not read(path).pixels.any()


def test_colour_policy_is_checked(tmp_path: Path) -> None:
    path = save(Image.fromarray(GREY), tmp_path / "x.png", "png")
    with pytest.raises(ReadError, match="expected agree or mean"):
        read(path, colour="luma")


# --- Pages ----------------------------------------------------------------------------------


def pages(path: Path, count: int, side: int = 4) -> Path:
    frames = [
        Image.fromarray(np.full((side, side + i % 3), i % 250, np.uint8)) for i in range(count)
    ]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


def test_every_page_is_a_scan(tmp_path: Path) -> None:
    path = pages(tmp_path / "x.tif", 3)
    scans = list(read_scans(path, source="case7/x.tif"))
    assert [scan.source for scan in scans] == [f"case7/x.tif#page={page}" for page in (1, 2, 3)]
    assert [scan.pixels.mean() for scan in scans] == [0, 1, 2]
    assert [scan.facts.width for scan in scans] == [4, 5, 6]
    for scan in scans:
        file, page = locate(tmp_path, scan.source.removeprefix("case7/"))
        assert (file, f"#page={page}") == (path, scan.source[-7:])
        again = read(file, source=scan.source)
        assert again.pixels.tolist() == scan.pixels.tolist()
        assert again.sha256 == scan.sha256


def test_one_page_needs_no_name_and_several_do(tmp_path: Path) -> None:
    single = save(Image.fromarray(GREY), tmp_path / "x.tif", "tiff")
    assert [scan.source for scan in read_scans(single, source="x.tif")] == ["x.tif"]
    several = pages(tmp_path / "y.tif", 3)
    with pytest.raises(ReadError, match=r"y.tif: has 3 pages: name one, as in y.tif#page=1"):
        read(several, source="y.tif")
    with pytest.raises(ReadError, match="no page 4"):
        read(several, source="y.tif#page=4")
    with pytest.raises(ReadError, match="has 1 page, so there is no page 2"):
        read(single, source="x.tif#page=2")


def test_a_name_like_a_page_is_found_again(tmp_path: Path) -> None:
    path = save(Image.fromarray(GREY), tmp_path / "x.png#page=2", "png")
    (scan,) = read_scans(path, source=path.name)
    assert scan.source == "x.png#page=2#page=1"
    assert locate(tmp_path, scan.source) == (path, 1)


def test_a_broken_page_leaves_the_others(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((4, 4), value, np.float32)) for value in (1, np.nan, 3)]
    frames[0].save(tmp_path / "x.tif", save_all=True, append_images=frames[1:])
    results = dict(read_pages(tmp_path / "x.tif", source="x"))
    assert isinstance(results["x#page=2"], ReadError)
    assert "NaN" in str(results["x#page=2"])
    assert not isinstance(results["x#page=1"], ReadError)
    assert not isinstance(results["x#page=3"], ReadError)
    with pytest.raises(ReadError, match="x#page=2: holds NaN"):
        list(read_scans(tmp_path / "x.tif", source="x"))


def test_too_many_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_PAGES", 5)
    assert len(list(read_scans(pages(tmp_path / "five.tif", 5)))) == 5
    with pytest.raises(ReadError, match="more than 5 pages"):
        read(pages(tmp_path / "six.tif", 6))


def test_pages_that_point_in_a_circle_end(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    data = tiff(GREY, "<", 1)
    start = struct.unpack("<I", data[4:8])[0]
    path.write_bytes(data[:-4] + struct.pack("<I", start))
    assert len(list(read_scans(path))) >= 1


# --- What can't be read ---------------------------------------------------------------------


def one_line(error: BaseException, name: str) -> str:
    text = str(error)
    assert "\n" not in text
    assert text.startswith(f"{name}: ")
    return text


FOREIGN = {
    "DICOM": (b"\0" * 128 + b"DICM" + b"PatientName^Secret", "DICOM, which this version does not"),
    "NIfTI": (b"\x5c\x01\0\0" + b"\0" * 340 + b"n+1\0", "NIfTI, which this version does not"),
    "NIfTI pair": (b"\x5c\x01\0\0" + b"\0" * 340 + b"ni1\0", "NIfTI"),
    "NIfTI-2": (b"\x1c\x02\0\0n+2\0\r\n\x1a\n" + b"\0" * 600, "NIfTI"),
    "gzip": (b"\x1f\x8b\x08" + b"\0" * 90, "gzip"),
    "PDF": (b"%PDF-1.7\n Secret", "PDF, not a picture"),
    "ZIP": (b"PK\3\4" + b"\0" * 90, "ZIP, not a picture"),
    "GIF": (b"GIF89a" + b"\0" * 90, "GIF, which clearhead does not read"),
    "text": (b"Secret: see attached report\n", "not a picture by its first bytes"),
    "empty": (b"", "empty file"),
    "one byte": (b"\x89", "not a picture by its first bytes"),
    "PNG head": (b"\x89PNG\r\n\x1a\n", "PNG"),
    "JPEG head": (b"\xff\xd8\xff\xe0", "JPEG"),
    "TIFF head": (b"II*\0", "TIFF"),
    "BMP by chance": (b"BMI Secret of the patient: 23\n", "BMP"),
    "WebP head": (b"RIFF\0\0\0\0WEBPVP8 ", "WEBP"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_files_are_one_clear_line(tmp_path: Path, kind: str) -> None:
    data, expected = FOREIGN[kind]
    path = tmp_path / "x.png"
    path.write_bytes(data)
    with pytest.raises(ReadError) as caught:
        read(path, source="x.png")
    assert expected in one_line(caught.value, "x.png")
    assert "Secret" not in str(caught.value)


def test_folders_links_pipes_and_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    expected = {
        "folder": "a folder",
        "link": "a link to a file that is not there",
        "pipe": "not a regular file",
        "nothing": "no such file",
        "nul\0": "not a possible file name",
        "x" * 300: "the system can't read it",
    }
    for name, text in expected.items():
        with pytest.raises(ReadError, match=text):
            read(tmp_path / name)


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(Image.fromarray(GREY), tmp_path / "x.png", "png")

    def deny(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", deny)
    with pytest.raises(ReadError, match=r"x.png: permission to read it is denied"):
        read(path)


def test_a_name_with_a_newline_stays_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "two\nlines é\udcff.png"
    path.write_bytes(b"text")
    with pytest.raises(ReadError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    str(caught.value).encode("utf-8")


@pytest.mark.parametrize("limit", ["pixels", "bytes"])
def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    path = save(Image.fromarray(GREY), tmp_path / "x.png", "png")
    monkeypatch.setattr(reading, f"MAX_{limit.upper()}", 20)
    with pytest.raises(ReadError, match="the limit is 20"):
        read(path)


@pytest.mark.parametrize("side", [9_000, 12_000, 100_000])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    """Above Pillow's own limits too, which would warn (9,500²) and raise (13,400²)."""
    path = tmp_path / "x.png"
    path.write_bytes(png(side, side, 8, 0, b"\0"))
    with pytest.raises(ReadError, match=r"the limit (is|of) 64,000,000"):
        read(path)


@pytest.mark.parametrize("format", ["png", "webp"])
def test_animated_pictures_are_refused(tmp_path: Path, format: str) -> None:
    frames = [Image.fromarray(grey_rgb(np.roll(GREY, i))) for i in range(3)]
    path = tmp_path / "x"
    frames[0].save(path, format=format, save_all=True, append_images=frames[1:])
    with pytest.raises(ReadError, match="animated"):
        read(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_floats_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    floats = np.ones((4, 4), np.float32)
    floats[1, 2] = value
    path = save(Image.fromarray(floats), tmp_path / "x.tif", "tiff")
    with pytest.raises(ReadError, match="NaN or infinite"):
        read(path)


def test_integers_that_float32_would_round(tmp_path: Path) -> None:
    path = save(Image.fromarray(np.full((3, 3), 2**24 + 1, np.int32)), tmp_path / "x.tif", "tiff")
    with pytest.raises(ReadError, match="float32 would round"):
        read(path)


def test_modes_without_grey_meaning_are_refused(tmp_path: Path) -> None:
    path = save(Image.fromarray(grey_rgb(GREY), "LAB"), tmp_path / "x.tif", "tiff")
    with pytest.raises(ReadError, match="mode LAB"):
        read(path)


# --- Hostile bytes --------------------------------------------------------------------------

SAMPLES: list[bytes] = []
for _format, _mode in [*LOSSLESS, ("jpeg", "L"), ("jpeg", "RGB"), ("jpeg", "CMYK")]:
    _buffer = io.BytesIO()
    image(_mode).save(_buffer, format=_format)
    SAMPLES.append(_buffer.getvalue())
MAGIC = [each.magic for each in reading.SIGNATURES if not each.refusal]

hostile = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def read_or_reason(path: Path, data: bytes) -> None:
    """Nothing but scans and one-line reasons come out."""
    path.write_bytes(data)
    for name, result in read_pages(path, source="x"):
        assert name.startswith("x")
        if isinstance(result, ReadError):
            assert "\n" not in str(result)
        else:
            assert np.isfinite(result.pixels).all()


@hostile
@given(st.binary(max_size=600), st.sampled_from([b"", *MAGIC]))
def test_random_bytes(tmp_path: Path, data: bytes, magic: bytes) -> None:
    head = b"RIFF\0\0\0\0WEBP" if magic == b"WEBP" else magic
    read_or_reason(tmp_path / "x", head + data)


@hostile
@given(st.sampled_from(SAMPLES), st.floats(0, 1))
def test_truncated_files(tmp_path: Path, data: bytes, share: float) -> None:
    read_or_reason(tmp_path / "x", data[: int(len(data) * share)])


@hostile
@given(st.sampled_from(SAMPLES), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255))))
def test_damaged_files(tmp_path: Path, data: bytes, wounds: list[tuple[float, int]]) -> None:
    damaged = bytearray(data)
    for place, value in wounds:
        damaged[int(place * (len(damaged) - 1))] = value
    read_or_reason(tmp_path / "x", bytes(damaged))


@pytest.mark.parametrize("format", ["png", "jpeg", "tiff", "bmp", "webp"])
def test_half_a_file_is_an_error(tmp_path: Path, format: str) -> None:
    path = save(Image.fromarray(grey_rgb(RAMP)), tmp_path / "x", format)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ReadError) as caught:
        read(path, source="x")
    assert format.upper() in one_line(caught.value, "x")


def test_every_format_has_a_signature() -> None:
    assert {each.format for each in reading.SIGNATURES if not each.refusal} == set(PICTURES)
