"""Contact sheets: pictures in their own shape, as they are, bounded, and never a crash."""

from __future__ import annotations

import base64
import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from clearhead.audits.section import Sheet, Strip, Tile
from clearhead.deliver.tiles import FLAT, SIDE_PX, TILE_BYTES, cut, draw_sheets, picture, tile
from clearhead.types import Facts, Scan
from oracles import manifest_of

CLASSES = ("a", "b")


def scan(pixels: NDArray[Any], depth: float = 255.0) -> Scan:
    height, width = pixels.shape
    facts = Facts("PNG", "L", height, width, 1)
    return Scan(pixels.astype(np.float32), "x.png", "", facts, depth)


def ramp(height: int, width: int, top: float = 255.0) -> NDArray[np.float32]:
    """Bright towards the lower right: no flip or turn of it is itself."""
    down, across = np.mgrid[0:height, 0:width].astype(np.float32)
    rising = 2 * down / max(height - 1, 1) + across / max(width - 1, 1)
    return np.asarray(top * rising / 3, np.float32)


def decoded(uri: str | None) -> NDArray[np.uint8]:
    assert uri is not None
    assert uri.startswith("data:image/jpeg;base64,")
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
        assert image.mode == "L"
        return np.asarray(image)


def sheet(*strips: int) -> Sheet:
    return Sheet("s", "S", tuple(Strip(str(n), tuple(Tile(0) for _ in range(n))) for n in strips))


# --- One tile -------------------------------------------------------------------------------


@given(height=st.integers(1, 900), width=st.integers(1, 900))
def test_a_tile_keeps_the_shape_of_its_picture(height: int, width: int) -> None:
    small = tile(scan(np.zeros((height, width))))
    assert max(small.shape) == min(SIDE_PX, max(height, width))
    scale = max(small.shape) / max(height, width)
    assert small.shape[0] == pytest.approx(max(1, height * scale), abs=0.5001)
    assert small.shape[1] == pytest.approx(max(1, width * scale), abs=0.5001)


def test_stored_size_and_drawn_size_agree() -> None:
    drawn = picture(scan(ramp(300, 150)), "half as wide")
    assert (drawn.width, drawn.height) == (SIDE_PX // 2, SIDE_PX)
    assert decoded(drawn.uri).shape == (SIDE_PX, SIDE_PX // 2)
    assert drawn.caption == "half as wide"


def test_mirrored_copies_are_shown_as_they_are() -> None:
    first, second = (decoded(picture(scan(each)).uri) for each in (ramp(90, 70), ramp(90, 70).T))
    for shown, stored in ((first, ramp(90, 70)), (second, ramp(90, 70).T)):
        assert np.abs(shown.astype(float) - stored).max() < 12  # JPEG
    flipped = decoded(picture(scan(ramp(90, 70)[:, ::-1])).uri)
    assert np.abs(flipped[:, ::-1].astype(float) - first).max() < 12


def test_eight_bit_brightness_is_kept_since_it_may_be_what_leaks() -> None:
    dark, bright = tile(scan(ramp(50, 50, 100))), tile(scan(ramp(50, 50, 250)))
    assert abs(int(dark.max()) - 100) <= 1
    assert abs(int(bright.max()) - 250) <= 1


def test_what_could_not_be_seen_is_drawn_brighter() -> None:
    assert tile(scan(ramp(50, 50, 40))).max() == 255
    assert tile(scan(ramp(50, 50, 900), 65535.0)).max() == 255


def test_a_blank_picture_stays_blank() -> None:
    noise = np.random.default_rng(0).uniform(10, 10 + FLAT - 1, (60, 60))
    assert np.ptp(tile(scan(noise))) < FLAT
    for value, depth in ((0, 255.0), (200, 255.0), (700, 65535.0), (1, 1.0)):
        assert np.ptp(tile(scan(np.full((9, 9), value), depth))) == 0


def test_pixels_that_are_no_number_do_no_harm() -> None:
    pixels = ramp(40, 40, 3.0)
    pixels[0, :2] = np.nan, np.inf
    assert tile(scan(pixels, 3.0)).shape == (40, 40)


def test_a_tile_of_pure_noise_is_bounded() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX))
    uri = picture(scan(noise)).uri
    assert uri is not None
    assert len(base64.b64decode(uri.partition(",")[2])) <= TILE_BYTES


# --- Which tiles ----------------------------------------------------------------------------


@given(
    lengths=st.lists(st.lists(st.integers(0, 60), max_size=5), max_size=4),
    most=st.integers(0, 120),
)
def test_the_longest_strips_are_cut_first(lengths: list[list[int]], most: int) -> None:
    shown = cut([sheet(*each) for each in lengths], most)
    kept = [kept for strips in shown for _, kept in strips]
    wanted = [length for each in lengths for length in each]
    assert [len(strip.tiles) for strips in shown for strip, _ in strips] == wanted
    assert sum(kept) <= most
    assert all(few <= all_ for few, all_ in zip(kept, wanted, strict=True))
    if sum(wanted) <= most:
        assert kept == wanted
    cut_ones: list[int] = [few for few, all_ in zip(kept, wanted, strict=True) if few < all_]
    if cut_ones and 0 not in cut_ones:
        assert len(set(cut_ones)) == 1
        assert max(kept) == cut_ones[0]
        assert sum(min(length, cut_ones[0] + 1) for length in wanted) > most


# --- From disk ------------------------------------------------------------------------------


def save(folder: Path, name: str, pixels: NDArray[Any]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
    return name


def test_a_file_that_is_gone_or_broken_is_a_placeholder(tmp_path: Path) -> None:
    good = save(tmp_path, "good.png", ramp(30, 20))
    (tmp_path / "broken.png").write_bytes((tmp_path / good).read_bytes()[:60])
    (tmp_path / "words.txt").write_text("no picture")
    sources = [good, "gone.png", "broken.png", "words.txt"]
    manifest = manifest_of(tmp_path, CLASSES, source=sources, label=["a"] * 4)
    strip = Strip("all", tuple(Tile(row, f"row {row}") for row in range(4)))
    ((row,),) = draw_sheets([Sheet("s", "S", (strip,))], manifest)
    assert [each.source for each in row.pictures] == sources
    assert [each.caption for each in row.pictures] == [f"row {row}" for row in range(4)]
    assert [each.uri is None for each in row.pictures] == [False, True, True, True]
    assert all(each.trouble for each in row.pictures[1:])
    assert not any(str(tmp_path) in each.trouble for each in row.pictures)


def test_colour_that_the_index_refuses_is_shown_in_grey(tmp_path: Path) -> None:
    colour = np.zeros((20, 30, 3))
    colour[..., 0], colour[:, :15, 2] = 240, 240
    manifest = manifest_of(tmp_path, CLASSES, source=[save(tmp_path, "c.png", colour)], label=["a"])
    ((row,),) = draw_sheets([sheet(1)], manifest)
    shown = decoded(row.pictures[0].uri)
    assert shown[:, :12].mean() > 1.5 * shown[:, 18:].mean()


def test_tiles_of_another_set_come_from_its_own_folder(tmp_path: Path) -> None:
    here = manifest_of(
        tmp_path / "here",
        CLASSES,
        source=[save(tmp_path / "here", "1.png", np.full((10, 10), 50))],
        label=["a"],
    )
    there = manifest_of(
        tmp_path / "there",
        CLASSES,
        source=[save(tmp_path / "there", "1.png", np.full((10, 10), 200))],
        label=["a"],
    )
    pair = Sheet("s", "S", (Strip("pair", (Tile(0), Tile(0, against="there"))),))
    ((row,),) = draw_sheets([pair], here, {"there": there})
    assert [round(decoded(each.uri).mean()) for each in row.pictures] == [50, 200]


def test_sheets_strips_and_tiles_keep_their_order(tmp_path: Path) -> None:
    sources = [save(tmp_path, f"{n}.png", np.full((8, 8), 20 * n)) for n in range(9)]
    manifest = manifest_of(tmp_path, CLASSES, source=sources, label=["a"] * 9)
    rows = [[[8, 1], [3]], [[5, 5, 0]]]
    sheets = [
        Sheet("s", "S", tuple(Strip("", tuple(Tile(row) for row in strip)) for strip in strips))
        for strips in rows
    ]
    drawn = draw_sheets(sheets, manifest)
    found = [
        [[round(decoded(each.uri).mean() / 20) for each in strip.pictures] for strip in strips]
        for strips in drawn
    ]
    assert found == rows


def test_memory_does_not_grow_with_the_sheets(tmp_path: Path) -> None:
    name = save(tmp_path, "1.png", np.zeros((800, 800)))
    manifest = manifest_of(tmp_path, CLASSES, source=[name], label=["a"])
    tracemalloc.start()
    try:
        ((row,),) = draw_sheets([sheet(60)], manifest)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(row.pictures) == 60
    assert peak < 60 * 4 * 800 * 800 / 3  # float32 pixels of a third of them


@pytest.mark.realdata
def test_real_pictures_keep_their_shape(realdata: Path) -> None:
    root = realdata / "kaggle4600"
    sources = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.jpg"))[::400]
    manifest = manifest_of(root, CLASSES, source=sources, label=["a"] * len(sources))
    strip = Strip("", tuple(Tile(row) for row in range(len(sources))))
    ((row,),) = draw_sheets([Sheet("s", "S", (strip,))], manifest)
    for shown in row.pictures:
        with Image.open(root / shown.source) as image:
            width, height = image.size
        assert shown.width / shown.height == pytest.approx(width / height, rel=0.02)
