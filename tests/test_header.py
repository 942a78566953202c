"""Headers against what Pillow was told to write, and against broken bytes."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from clearhead.data.header import EMPTY, FILE, LUMINANCE, header, quality_of
from clearhead.data.read import read
from clearhead.errors import ReadError

RNG = np.random.default_rng(11)
GREY = Image.fromarray(RNG.integers(0, 256, (40, 56), dtype=np.uint8))
COLOUR = GREY.convert("RGB")
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")


def saved(image: Image.Image, format: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **settings)
    return file.getvalue()


def ijg_table(quality: int) -> list[int]:
    """`jpeg_quality_scaling` and `jpeg_add_quant_table`, number by number."""
    scale = 5000 // quality if quality < 50 else 200 - quality * 2
    return [min(max((int(base) * scale + 50) // 100, 1), 255) for base in LUMINANCE]


@pytest.mark.parametrize("image", [GREY, COLOUR])
@pytest.mark.parametrize("quality", [2, 10, 35, 49, 50, 75, 90, 95, 99, 100])
def test_quality_is_what_was_asked_for(image: Image.Image, quality: int) -> None:
    assert header(saved(image, "JPEG", quality=quality))["quality"] == quality


def test_each_table_of_the_formula_is_told_apart() -> None:
    tables = {quality: tuple(ijg_table(quality)) for quality in range(1, 101)}
    for quality, table in tables.items():
        first = min(other for other, same in tables.items() if same == table)
        assert quality_of(np.array(table)) == first
        assert abs(first - quality) <= 1


def test_a_table_of_another_maker_gets_the_nearest_quality() -> None:
    table = np.array(ijg_table(80))
    table[5:9] += 1
    assert quality_of(table) == 80


def test_checksum_belongs_to_the_tables_alone() -> None:
    other = Image.fromarray(RNG.integers(0, 256, (64, 64), dtype=np.uint8))
    same, again, coarse, colour = (
        header(saved(image, "JPEG", quality=quality))["quantisation"]
        for image, quality in ((GREY, 80), (other, 80), (GREY, 79), (COLOUR, 80))
    )
    assert same == again
    assert len({int(same), int(coarse), int(colour)}) == 3
    literal = np.array([0, *ijg_table(80)], "<u2").tobytes()
    assert same == zlib.crc32(literal)


@pytest.mark.parametrize(
    ("settings", "code"),
    [({"subsampling": 0}, 0), ({"subsampling": 1}, 1), ({"subsampling": 2}, 2)],
)
def test_subsampling(settings: dict[str, Any], code: int) -> None:
    assert header(saved(COLOUR, "JPEG", **settings))["subsampling"] == code
    assert header(saved(GREY, "JPEG", **settings))["subsampling"] == -1


def test_progressive() -> None:
    assert header(saved(GREY, "JPEG", progressive=True))["progressive"]
    assert not header(saved(GREY, "JPEG"))["progressive"]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "BMP"])
def test_dpi_as_written(format: str) -> None:
    found = header(saved(GREY, format, dpi=(200, 200)))["dpi"]
    assert found == pytest.approx(200, abs=0.1)  # PNG and BMP round to dots per metre


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_dpi_that_is_not_said_is_unknown(format: str) -> None:
    assert np.isnan(header(saved(GREY, format))["dpi"])


def test_dpi_in_centimetres() -> None:
    data = bytearray(saved(GREY, "JPEG", dpi=(100, 100)))
    assert data[6:11] == b"JFIF\0"
    assert data[13] == 1
    data[13] = 2
    assert header(bytes(data))["dpi"] == pytest.approx(254)


def test_exif_without_a_resolution_says_none() -> None:
    """Pillow itself would say 72."""
    exif = Image.Exif()
    exif[0x0131] = "a program"
    record = header(saved(GREY, "JPEG", exif=exif))
    assert record["exif"]
    assert np.isnan(record["dpi"])
    exif[0x011A], exif[0x011B], exif[0x0128] = 150, 150, 2
    assert header(saved(GREY, "JPEG", exif=exif))["dpi"] == 150


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_presence_of_exif_and_profile(format: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0131] = "a program"
    assert not header(saved(COLOUR, format))["exif"]
    assert not header(saved(COLOUR, format))["icc"]
    assert header(saved(COLOUR, format, exif=exif))["exif"]
    assert header(saved(COLOUR, format, icc_profile=profile))["icc"]


def test_presence_of_comments() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "anyone")
    written = {
        "JPEG": saved(GREY, "JPEG", comment=b"anyone"),
        "PNG": saved(GREY, "PNG", pnginfo=text),
        "TIFF": saved(GREY, "TIFF", description="anyone"),
    }
    for format, data in written.items():
        assert header(data)["comment"], format
        assert not header(saved(GREY, format))["comment"], format


def test_a_text_chunk_behind_the_pixels_is_seen() -> None:
    data = saved(GREY, "PNG")
    body = b"tEXtComment\0anyone"
    chunk = (len(body) - 4).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)
    assert header(data[:-12] + chunk + data[-12:])["comment"]


def test_what_may_name_a_patient_is_not_kept() -> None:
    """Numbers and truths alone: a name has no place to go."""
    assert FILE.names is not None
    assert {FILE[name].kind for name in FILE.names} <= set("fuib")
    exif = Image.Exif()
    exif[0x013B] = "A PATIENT"
    one = header(saved(GREY, "JPEG", exif=exif, comment=b"A PATIENT"))
    exif[0x013B] = "B OTHERWISE"
    assert one.tobytes() == header(saved(GREY, "JPEG", exif=exif, comment=b"B")).tobytes()


@pytest.mark.parametrize("format", FORMATS)
def test_broken_bytes_never_raise(format: str) -> None:
    whole = saved(COLOUR, format, **({"comment": b"x"} if format == "JPEG" else {}))
    for end in range(0, len(whole), max(1, len(whole) // 60)):
        assert header(whole[:end]).dtype == FILE
    for _ in range(60):
        data = np.frombuffer(whole, np.uint8).copy()
        data[RNG.integers(4, min(len(data), 700), 6)] = RNG.integers(0, 256, 6)
        assert header(data.tobytes()).dtype == FILE


def test_no_picture_says_nothing() -> None:
    for data in (b"", b"\xff\xd8\xff", b"GIF89a", b"text", bytes(400)):
        assert header(data).tobytes() == EMPTY.tobytes()
    assert header(saved(GREY, "PNG"))["quantisation"] == 0


@pytest.mark.realdata
def test_real_files_have_headers(realdata: Path) -> None:
    files = sorted((realdata / "kaggle4600").rglob("*.[jJpPtT]*"))[::97]
    jpeg = 0
    for path in files:
        try:
            scan = read(path, colour="mean")
        except ReadError:
            continue
        record = header(path.read_bytes())
        jpeg += scan.facts.format == "JPEG"
        assert (scan.facts.format == "JPEG") == np.isfinite(record["quality"])
        assert (scan.facts.format == "JPEG") == (record["quantisation"] > 0)
    assert jpeg > 20
