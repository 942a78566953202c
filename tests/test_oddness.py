"""Oddness: quiet on heads, each planted mark under its own name, non-heads found."""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from clearhead.data import oddness as module
from clearhead.data.heads import CONTRASTS, HEALTHY, PLANES, TUMOUR, Head, head
from clearhead.data.oddness import (
    CORNERS,
    NOT_HEAD,
    ODDITIES,
    ODDNESS,
    colour_share,
    oddness,
)
from clearhead.data.plant import PLANTS
from clearhead.data.read import read
from clearhead.types import BACKGROUND, BRAIN

Picture = NDArray[Any]
MARKS = ("text", "mark", "frame", "drawing")


@pytest.fixture(scope="module")
def heads() -> list[Head]:
    """216 heads: every plane and contrast, with and without a tumour, of three sizes."""
    kinds = [(plane, contrast) for plane in PLANES for contrast in CONTRASTS]
    return [
        head(
            [71, number],
            label=(TUMOUR, HEALTHY)[number % 2],
            plane=kinds[number % 12][0],
            contrast=kinds[number % 12][1],
            size_px=(128, 192, 256)[number // 12 % 3],
        )
        for number in range(216)
    ]


def records(pictures: list[Picture]) -> NDArray[Any]:
    return np.array([oddness(each.astype(np.float32), 255.0)[()] for each in pictures], ODDNESS)


def odd(found: NDArray[Any], *names: str) -> NDArray[np.bool_]:
    """Which records have any of the named oddities."""
    flags: NDArray[np.bool_] = np.any([ODDITIES[name](found) for name in names], axis=0)
    return flags


def crop(drawn: Head) -> Picture:
    """Cut to the box around the head."""
    inside = drawn.regions != BACKGROUND
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    return drawn.pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def stripped(drawn: Head) -> Picture:
    return np.where(drawn.regions == BRAIN, drawn.pixels, 0)


def on_white(drawn: Head) -> Picture:
    return np.where(drawn.regions == BACKGROUND, 255, drawn.pixels)


# --- Heads ----------------------------------------------------------------------------------


def test_heads_are_quiet(heads: list[Head]) -> None:
    found = records([each.pixels for each in heads])
    assert odd(found, *ODDITIES).mean() <= 0.01


@pytest.mark.parametrize("change", [crop, stripped, on_white])
def test_heads_cropped_stripped_or_on_white_are_heads(
    heads: list[Head], change: Callable[[Head], Picture]
) -> None:
    found = records([change(each) for each in heads[::2]])
    assert odd(found, "blank", *NOT_HEAD).mean() <= 0.01


@pytest.mark.parametrize(
    ("plant", "name"), [("text", "text"), ("corner", "mark"), ("border", "frame")]
)
def test_planted_marks_have_their_own_name(heads: list[Head], plant: str, name: str) -> None:
    pictures = [
        PLANTS[plant](each, np.random.default_rng(number)).pixels
        for number, each in enumerate(heads[::2])
    ]
    found = records(pictures)
    assert odd(found, name).mean() >= 0.95
    assert odd(found, *(other for other in ODDITIES if other != name)).mean() <= 0.01


@pytest.mark.parametrize("plant", ["skull", "scale"])
def test_planted_leaks_that_are_no_marks_are_quiet(heads: list[Head], plant: str) -> None:
    pictures = [PLANTS[plant](each, np.random.default_rng(0)).pixels for each in heads[::6]]
    assert odd(records(pictures), *ODDITIES).mean() <= 0.03


def test_text_is_told_where_it_stands(heads: list[Head]) -> None:
    right = 0
    for number, plain in enumerate(heads[:60]):
        marked = PLANTS["text"](plain, np.random.default_rng(number)).pixels
        rows, columns = np.nonzero(marked != plain.pixels)
        low = rows.mean() > len(marked) / 2
        corner = 2 * int(low) + int(columns.mean() > len(marked) / 2)
        record = records([marked])[0]
        right += int(np.argmax(record["text_corners"])) == corner
        assert record["text_corners"].sum() == pytest.approx(record["text_area"], rel=1e-4)
        assert len(record["text_corners"]) == len(CORNERS)
    assert right >= 54


@pytest.mark.parametrize("shape", ["rectangle", "ellipse"])
def test_boxes_and_circles_over_the_head_are_drawings(heads: list[Head], shape: str) -> None:
    pictures = []
    for plain in heads[::3]:
        image, side = Image.fromarray(plain.pixels), len(plain.pixels)
        box = tuple(round(part * side) for part in (0.4, 0.36, 0.58, 0.55))
        getattr(ImageDraw.Draw(image), shape)(box, outline=255, width=max(1, side // 128))
        pictures.append(np.asarray(image))
    found = records(pictures)
    assert odd(found, "drawing").mean() >= 0.8
    assert odd(found, "text", "mark", "frame", *NOT_HEAD).mean() <= 0.03


# --- Frames ---------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [0, 1, 2, 3])
@pytest.mark.parametrize("width", [1, 5, 40])
def test_a_band_is_measured_on_its_side(heads: list[Head], side: int, width: int) -> None:
    pixels = heads[24].pixels.copy()
    assert len(pixels) == 256
    turned = np.rot90(pixels, side)  # a view: `side` quarter turns bring that side to the top
    turned[:width] = 200
    frame = records([pixels])[0]["frame"]
    assert frame[side] * 256 == pytest.approx(width + 0.5, abs=1)
    assert not np.delete(frame, side).any()


def test_a_dark_margin_is_no_frame(heads: list[Head]) -> None:
    pictures = [np.pad(each.pixels, 20) for each in heads[:40]]
    assert not odd(records(pictures), "frame").any()


# --- What doesn't change the record ---------------------------------------------------------


def test_whole_enlargement_and_depth_change_nothing(heads: list[Head]) -> None:
    pixels = PLANTS["text"](heads[24], np.random.default_rng(0)).pixels.astype(np.float32)
    plain = oddness(pixels, 255.0)
    twice = oddness(pixels.repeat(2, axis=0).repeat(2, axis=1), 255.0)
    assert plain.tobytes() == twice.tobytes()
    deep = oddness(pixels * 257, 65535.0)
    for name in ODDNESS.names or ():
        assert np.allclose(deep[name], plain[name], rtol=1e-3, atol=1e-3, equal_nan=True), name


def test_a_mirrored_picture_has_mirrored_corners_and_sides(heads: list[Head]) -> None:
    for number, plain in enumerate(heads[24:36]):
        pixels = PLANTS["text"](plain, np.random.default_rng(number)).pixels.copy()
        pixels[:, -2:] = 220
        there, back = records([pixels, pixels[:, ::-1]])
        assert np.allclose(there["text_corners"], back["text_corners"][[1, 0, 3, 2]], atol=1e-4)
        assert np.allclose(there["frame"], back["frame"][[0, 3, 2, 1]])


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (15, 15), (17, 16), (2000, 33), (700, 701)])
def test_every_shape_has_a_finite_record(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).normal(100, 30, shape).astype(np.float32)
    record = oddness(pixels, 255.0)
    assert record.shape == ()
    assert record.dtype == ODDNESS
    for name in ODDNESS.names or ():
        assert np.isfinite(record[name]).all() or name == "colour"


def test_values_that_are_not_finite_count_as_zero(heads: list[Head]) -> None:
    pixels = heads[24].pixels.astype(np.float32)
    holed, filled = pixels.copy(), pixels.copy()
    holed[100:110, 90:100], filled[100:110, 90:100] = np.nan, 0
    holed[5, 5], filled[5, 5] = np.inf, 0
    assert oddness(holed, 255.0).tobytes() == oddness(filled, 255.0).tobytes()


# --- Non-heads ------------------------------------------------------------------------------


def page(random: np.random.Generator, dark: bool) -> Picture:
    """Words in lines on white, or on black."""
    image = Image.new("L", (400, 460), 15 if dark else 255)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(int(random.integers(11, 18)))
    for top in range(10, 440, 24):
        words = ["".join(random.choice(list("abcdefghiklmnoprstu"), 6)) for _ in range(6)]
        draw.text((14, top), " ".join(words), font=font, fill=230 if dark else 0)
    return np.asarray(image)


def tomogram(random: np.random.Generator) -> Picture:
    """An ellipse of bone at the top of the range around a dull brain with dark ventricles."""
    rows, columns = np.mgrid[:256, :256] - 128.0
    distance = np.hypot(rows / 108, columns / random.uniform(80, 95))
    pixels = np.where(distance < 1, 95 + random.normal(0, 9, distance.shape), 0)
    for side in (-13, 13):
        pixels[np.hypot((rows + 5) / 30, (columns - side) / 9) < 1] = 45
    pixels[(distance < 0.97) & (distance > random.uniform(0.82, 0.88))] = 255
    return np.clip(pixels, 0, 255)


def sheet(chosen: list[Picture], columns: int) -> Picture:
    """Pictures side by side, `columns` to a row."""
    small = [np.asarray(Image.fromarray(each).resize((120, 120))) for each in chosen]
    return np.block([small[start : start + columns] for start in range(0, len(small), columns)])


def test_blank_pictures_are_blank() -> None:
    speck = np.zeros((200, 200))
    speck[100, 100] = 255
    steps = np.full((150, 160), 90.0)
    steps[::2] += 2
    pictures = [np.zeros((90, 120)), np.full((64, 64), 255.0), speck, steps]
    assert odd(records(pictures), "blank").all()


def test_noise_is_noise() -> None:
    random = np.random.default_rng(3)
    pictures = [random.normal(128, 40, (200, 220)).clip(0, 255) for _ in range(5)]
    pictures += [random.integers(0, 256, (130, 128)) for _ in range(5)]
    found = records(pictures)
    assert odd(found, "noise").all()
    assert not odd(found, "blank", "page", "several", "scene", "ct").any()


@pytest.mark.parametrize("dark", [False, True])
def test_pages_of_text_are_no_heads(dark: bool) -> None:
    random = np.random.default_rng(4)
    found = records([page(random, dark) for _ in range(10)])
    assert odd(found, "page", "noise").mean() >= 0.9


@pytest.mark.parametrize(("count", "columns"), [(2, 2), (4, 2), (9, 3), (3, 3)])
def test_sheets_of_heads_are_several(heads: list[Head], count: int, columns: int) -> None:
    axial = [each.pixels for number, each in enumerate(heads) if number % 12 < 4]
    sheets = [sheet(axial[start : start + count], columns) for start in range(0, 50, 5)]
    assert odd(records(sheets), "several").mean() >= 0.9


def test_tomograms_are_told_from_mri() -> None:
    random = np.random.default_rng(5)
    found = records([tomogram(random) for _ in range(20)])
    assert odd(found, "ct").all()
    assert not odd(found, "text", "mark", "frame", "drawing", "several", "page").any()


def test_records_of_unseen_pictures_have_no_oddity() -> None:
    unseen = np.zeros(3, ODDNESS)
    for name in ODDNESS.names or ():
        unseen[name] = np.nan
    assert not odd(unseen, *ODDITIES).any()


def test_a_head_at_one_side_is_one_head(heads: list[Head]) -> None:
    pictures = []
    for each in heads[:40]:
        side = len(each.pixels)
        pictures.append(np.pad(each.pixels, ((0, 0), (0, side))))
        pictures.append(np.pad(each.pixels, ((side, side), (0, 0))))
    assert not odd(records(pictures), *NOT_HEAD).any()


# --- Colour ---------------------------------------------------------------------------------


def saved(image: Image.Image, format: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, format)
    return file.getvalue()


def photographs() -> Path:
    """Where scikit-learn keeps its sample pictures, without the seconds that importing it takes."""
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "datasets" / "images"


def slow_share(shades: NDArray[np.uint8]) -> float:
    coloured = 0
    for pixel in shades.reshape(-1, 3).tolist():
        coloured += max(pixel) - min(pixel) > 32
    return float(coloured / (shades.shape[0] * shades.shape[1]))


def test_the_share_of_coloured_pixels_as_counted_one_by_one(tmp_path: Path) -> None:
    random = np.random.default_rng(6)
    grey = random.integers(0, 256, (60, 80, 1))
    shades = np.clip(grey + random.integers(-40, 40, (60, 80, 3)), 0, 255).astype(np.uint8)
    data = saved(Image.fromarray(shades))
    assert colour_share(data) == pytest.approx(slow_share(shades))
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    assert colour_share(path) == colour_share(data)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "F"])
def test_grey_pictures_of_every_mode_have_no_colour(heads: list[Head], mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(heads[0].pixels.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(heads[0].pixels).convert(mode)
    assert colour_share(saved(image, "TIFF")) == 0.0


def test_a_coloured_mark_is_an_annotation_and_a_photograph_is_none(heads: list[Head]) -> None:
    marked = Image.fromarray(heads[24].pixels).convert("RGB")
    ImageDraw.Draw(marked).rectangle((100, 100, 140, 140), outline=(255, 0, 0), width=2)
    found = records([heads[24].pixels] * 3)
    found["colour"][0] = colour_share(saved(marked, "JPEG"))
    for place, name in enumerate(("china.jpg", "flower.jpg"), 1):
        found["colour"][place] = colour_share(photographs() / name)
    assert odd(found, "drawing").tolist() == [True, False, False]
    assert odd(found, "coloured").tolist() == [False, True, True]


# --- Parts, against scipy and numpy ---------------------------------------------------------


def masks() -> list[NDArray[np.bool_]]:
    random = np.random.default_rng(7)
    return [random.random((31, 44)) < share for share in (0.0, 0.1, 0.5, 0.6, 0.95, 1.0)]


@pytest.mark.parametrize("reach", [1, 2, 5])
def test_masks_grow_and_shrink_as_scipys(reach: int) -> None:
    square = np.ones((2 * reach + 1, 2 * reach + 1), bool)
    for mask in masks():
        assert np.array_equal(module._grown(mask, reach), ndimage.binary_dilation(mask, square))
        theirs = ndimage.binary_erosion(mask, square, border_value=1)
        assert np.array_equal(module._shrunk(mask, reach), theirs)


def test_holes_are_filled_as_scipys() -> None:
    for mask in masks():
        assert np.array_equal(module._filled(mask), ndimage.binary_fill_holes(mask))


def test_the_range_is_about_the_percentiles() -> None:
    values = np.random.default_rng(8).gamma(2, 30, (200, 150)).astype(np.float32)
    step = (values.max() - values.min()) / 1000
    low, high = np.percentile(values, (1, 99.8))
    found = module._range(values)
    assert abs(found[0] - low) <= 1.5 * step
    assert abs(found[1] - high) <= 1.5 * step


def test_smoothness_is_the_correlation_of_neighbours(heads: list[Head]) -> None:
    pixels = heads[0].pixels
    down = np.corrcoef(pixels[1:].ravel(), pixels[:-1].ravel())[0, 1]
    across = np.corrcoef(pixels[:, 1:].ravel(), pixels[:, :-1].ravel())[0, 1]
    assert module._smoothness(pixels) == pytest.approx(min(down, across), rel=1e-4)


# --- Real pictures --------------------------------------------------------------------------


def real(paths: list[Path]) -> NDArray[Any]:
    scans = [read(path, colour="mean") for path in paths]
    return np.array([oddness(scan.pixels, scan.depth)[()] for scan in scans], ODDNESS)


@pytest.mark.realdata
def test_real_heads_are_quiet(realdata: Path) -> None:
    paths = sorted((realdata / "meningioma708").rglob("images/*.jpg"))[::7]
    assert len(paths) > 90
    assert odd(real(paths), *ODDITIES).mean() <= 0.02


@pytest.mark.realdata
def test_known_tomograms_letters_and_frames_among_real_heads(realdata: Path) -> None:
    found = {path.name: path for path in (realdata / "kaggle4600").rglob("*Cancer*")}
    tomograms = [found[f"Not Cancer  ({number}).jpg"] for number in (111, 120, 127, 133, 210)]
    assert odd(real(tomograms), "ct").all()
    lettered = [found[f"Cancer ({number}).jpg"] for number in (1000, 1045, 1907)]
    assert odd(real(lettered), "text").all()
    framed = [found[f"Cancer ({number}).jpg"] for number in (1064, 2187)]
    assert (real(framed)["frame"] > 0.01).all()
