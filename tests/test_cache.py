"""The cache of drawn pictures: the same as drawing, read once, anew when a file changes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clearhead.data import cache as module
from clearhead.data.cache import cache_folder, forget, load_scan, pictures, scratch
from clearhead.data.canvas import draw, place
from clearhead.errors import ReadError
from clearhead.files import sha256
from clearhead.types import Manifest
from oracles import disc_folder


@pytest.fixture
def discs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))
    return disc_folder(tmp_path / "discs", counts=(6, 2, 2))


@pytest.mark.parametrize("fit", ["canvas", "stretch"])
def test_rows_are_the_drawings_in_order(discs: Manifest, fit: str) -> None:
    drawn = pictures(discs, fit=fit, size_px=48)
    for row, source in enumerate(discs.column("source")):
        scan = load_scan(discs, source)
        assert np.array_equal(drawn[row], draw(scan, place(scan, fit=fit, size_px=48)))


def test_what_is_forgotten_is_drawn_anew_and_stays_readable(discs: Manifest) -> None:
    first, other = (pictures(discs, fit=fit, size_px=48) for fit in ("canvas", "stretch"))
    before = first.copy()
    forget(discs, fit="canvas", size_px=48)
    assert np.array_equal(first, before)
    assert len(list((cache_folder() / "pictures").iterdir())) == 1
    assert np.array_equal(pictures(discs, fit="canvas", size_px=48), before)
    assert np.array_equal(pictures(discs, fit="stretch", size_px=48), other)


def test_a_second_call_reads_no_file(discs: Manifest) -> None:
    first = np.array(pictures(discs, fit="canvas", size_px=48))
    for source in discs.column("source"):
        (discs.root / source).unlink()
    assert np.array_equal(first, pictures(discs, fit="canvas", size_px=48))


def test_settings_and_contents_make_the_key(discs: Manifest) -> None:
    pictures(discs, fit="canvas", size_px=48)
    pictures(discs, fit="stretch", size_px=48)
    pictures(discs, fit="canvas", size_px=64)
    path = discs.root / discs.column("source")[0]
    Image.fromarray(np.full((64, 64), 9, np.uint8)).save(path)
    digests = [sha256(path.read_bytes()), *discs.column("sha256")[1:]]
    changed = pictures(discs.with_columns(sha256=digests), fit="canvas", size_px=48)
    assert not changed[0].any()  # a flat picture is drawn as background
    assert len(list((cache_folder() / "pictures").iterdir())) == 4


def test_a_broken_file_leaves_nothing_behind(discs: Manifest) -> None:
    (discs.root / discs.column("source")[3]).write_bytes(b"no picture")
    with pytest.raises(ReadError):
        pictures(discs, fit="canvas", size_px=48)
    assert not list((cache_folder() / "pictures").iterdir())


def test_another_colour_rule_is_another_cache(discs: Manifest) -> None:
    pictures(discs, fit="canvas", size_px=48)
    mean = dataclasses.replace(discs, notes={"index": {"colour": "mean"}})
    pictures(mean, fit="canvas", size_px=48)
    assert len(list((cache_folder() / "pictures").iterdir())) == 2


@pytest.mark.parametrize("large", [1, 1 << 20])
def test_scratch_is_zeros_that_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "LARGE", large)
    array = scratch((3, 4), np.float32)
    assert isinstance(array, np.memmap) == (large == 1)
    assert not array.any()
    array[1] = 2.5
    assert array.sum() == 10
    assert not list(tmp_path.rglob("*.npy"))
