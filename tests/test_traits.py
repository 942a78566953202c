"""Traits: invariances, planted marks in the right place, and what is read again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clearhead.data import traits as measuring
from clearhead.data import workers as working
from clearhead.data.heads import Head, head
from clearhead.data.index import index
from clearhead.data.manifest import load_manifest
from clearhead.data.oddness import ODDNESS
from clearhead.data.places import PLACES
from clearhead.data.plant import PLANTS
from clearhead.data.traits import (
    TRAITS,
    VIEWS,
    Item,
    measure_traits,
    record_of,
    traits,
    traits_path,
    views_of,
)
from clearhead.files import sha256
from clearhead.types import Bar, Facts, Manifest, Scan, silent
from oracles import Interrupted

RNG = np.random.default_rng(2)
Keep = pytest.MonkeyPatch


@cache
def plain() -> Head:
    return head((51, 0), plane="axial", contrast="T1", size_px=256)


def scan_of(pixels: NDArray[Any]) -> Scan:
    facts = Facts("PNG", "L", len(pixels), pixels.shape[1], pixels.size)
    return Scan(pixels.astype(np.float32), "x.png", sha256(pixels.tobytes()), facts)


def flat(record: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    return {f"{view} {where}": record[view][where] for view in VIEWS for where in PLACES}


# --- One picture ----------------------------------------------------------------------------


def test_a_mirrored_picture_has_a_mirrored_silhouette_and_thumbnail() -> None:
    pixels = plain().pixels
    view, mirrored = (views_of(scan_of(p))["stretch"] for p in (pixels, pixels[:, ::-1]))
    for where in ("silhouette", "thumbnail"):
        turned = mirrored[where].reshape(16, 16)[:, ::-1].ravel()
        np.testing.assert_allclose(view[where], turned, rtol=1e-6)
    np.testing.assert_allclose(view["rim"], mirrored["rim"], rtol=1e-4)
    np.testing.assert_allclose(view["intensity"], mirrored["intensity"], rtol=1e-4)
    tilt = [list(PLACES["shape"]).index(name) for name in PLACES["shape"] if "tilt" in name]
    np.testing.assert_allclose(view["shape"][tilt], -mirrored["shape"][tilt], atol=1e-3)


def test_lossless_copies_have_the_same_traits(tmp_path: Path) -> None:
    image = Image.fromarray(plain().pixels)
    records = []
    for name in ("a.png", "b.tif", "c.bmp"):
        image.save(tmp_path / name)
        digest = sha256((tmp_path / name).read_bytes())
        records.append(record_of(Item(tmp_path, name, digest), "agree"))
    image.convert("RGB").save(tmp_path / "d.png")
    digest = sha256((tmp_path / "d.png").read_bytes())
    records.append(record_of(Item(tmp_path, "d.png", digest), "agree"))
    for record in records:
        assert record["seen"]
        for view in VIEWS:
            assert record[view].tobytes() == records[0][view].tobytes()
        assert record["odd"]["colour"] == 0


def changed(plant: str) -> dict[str, float]:
    """How far a planted mark moves the numbers of each place of the plain resize, in spreads."""
    spread = {}
    marked = PLANTS[plant](plain(), np.random.default_rng(4))
    before, after = (views_of(scan_of(each.pixels))["stretch"] for each in (plain(), marked))
    for where in PLACES:
        both = np.stack([before[where], after[where]])
        known = np.isfinite(both).all(axis=0)
        size = np.abs(both[0, known]) + 1
        spread[where] = float((np.abs(both[1, known] - both[0, known]) / size).max())
    return spread


def test_a_corner_mark_shows_in_border_and_background_alone() -> None:
    moved = changed("corner")
    assert moved["border"] > 2
    assert moved["background"] > 2
    assert moved["thumbnail"] > 0.5
    for where in ("rim", "shape", "silhouette"):
        assert moved[where] < 0.02, where


def test_a_frame_shows_in_the_border_and_leaves_the_head() -> None:
    moved = changed("border")
    assert moved["border"] > 10
    for where in ("rim", "shape", "silhouette"):
        assert moved[where] < 0.1, where


def test_a_bright_skull_shows_in_the_rim_and_not_outside() -> None:
    moved = changed("skull")
    assert moved["rim"] > 0.2
    for where in ("border", "background", "silhouette"):
        assert moved[where] < 0.1, where


def test_a_wider_field_shows_in_the_plain_resize_and_not_on_the_canvas() -> None:
    wide = PLANTS["scale"](plain(), np.random.default_rng(4))
    one, other = (views_of(scan_of(each.pixels)) for each in (plain(), wide))
    area = PLACES["shape"].index("area of the head (share of the picture)")
    assert other["stretch"]["shape"][area] < 0.7 * one["stretch"]["shape"][area]
    kept = other["canvas"]["shape"][area] / one["canvas"]["shape"][area]
    assert kept == pytest.approx(1, abs=0.12)


# --- Folders --------------------------------------------------------------------------------


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[:48, :40] - 22.0
    noise = np.random.default_rng(seed).integers(0, 40, (48, 40))
    ball = np.where(np.hypot(rows, columns) < 15, 120 + noise, noise // 20)
    Image.fromarray(ball.astype(np.uint8)).save(path)


def folder(tmp_path: Path, count: int = 6) -> Manifest:
    for number in range(count):
        picture(tmp_path / "in" / "ab"[number % 2] / f"{number}.png", number)
    return index(tmp_path / "in", tmp_path / "m.parquet")


def counted(keep: Keep) -> list[str]:
    """The sources that are measured from now on (in this process)."""
    read: list[str] = []
    real = measuring.record_of

    def counting(item: Item, colour: str) -> NDArray[Any]:
        read.append(item.source)
        return real(item, colour)

    keep.setattr(measuring, "record_of", counting)
    return read


def same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.tobytes() == other.tobytes()


def test_records_are_those_of_the_pictures_one_by_one(tmp_path: Path) -> None:
    manifest = folder(tmp_path)
    found = traits(manifest)
    assert found.dtype == TRAITS
    assert found["seen"].all()
    assert len(set(found["key"].tolist())) == len(manifest)
    digests = manifest.column("sha256")
    for row, source in enumerate(manifest.column("source")):
        record = record_of(Item(manifest.root, source, digests[row]), "agree")
        record["key"] = found["key"][row]
        assert record.tobytes() == found[row].tobytes()
    assert not [path for path in tmp_path.iterdir() if "traits" in path.name]


def test_a_second_call_reads_nothing(tmp_path: Path, monkeypatch: Keep) -> None:
    manifest = folder(tmp_path)
    read = counted(monkeypatch)
    first = measure_traits(manifest, tmp_path / "m.parquet")
    assert sorted(read) == sorted(manifest.column("source"))
    file = traits_path(tmp_path / "m.parquet")
    before = file.stat().st_mtime_ns
    assert same(measure_traits(manifest, tmp_path / "m.parquet"), first)
    assert len(read) == len(manifest)
    assert file.stat().st_mtime_ns == before
    np.testing.assert_array_equal(np.load(file, mmap_mode="r")["key"], first["key"])


def test_only_what_changed_is_read_again(tmp_path: Path, monkeypatch: Keep) -> None:
    first = measure_traits(folder(tmp_path), tmp_path / "m.parquet").copy()
    picture(tmp_path / "in" / "a" / "2.png", 99)
    picture(tmp_path / "in" / "b" / "new.png", 98)
    manifest = index(tmp_path / "in", tmp_path / "m.parquet")
    read = counted(monkeypatch)
    second = measure_traits(manifest, tmp_path / "m.parquet")
    assert sorted(read) == ["a/2.png", "b/new.png"]
    assert second["seen"].all()
    assert same(second, traits(manifest))
    assert len(set(first["key"]) & set(second["key"])) == 5


def test_rows_may_be_reordered_and_taken(tmp_path: Path, monkeypatch: Keep) -> None:
    manifest = folder(tmp_path)
    first = measure_traits(manifest, tmp_path / "m.parquet").copy()
    read = counted(monkeypatch)
    order = [4, 0, 5, 2]
    assert same(measure_traits(manifest.take(order), tmp_path / "m.parquet"), first[order])
    assert not read
    assert same(measure_traits(manifest, tmp_path / "m.parquet"), first)
    assert sorted(read) == sorted(manifest.column("source")[[1, 3]])


def test_equal_files_are_read_once(tmp_path: Path, monkeypatch: Keep) -> None:
    folder(tmp_path)
    for name in ("b/copy.png", "a/zopy.png"):
        (tmp_path / "in" / name).write_bytes((tmp_path / "in" / "a" / "0.png").read_bytes())
    manifest = index(tmp_path / "in", tmp_path / "m.parquet")
    read = counted(monkeypatch)
    found = traits(manifest)
    assert len(read) == 6
    sources = manifest.column("source").tolist()
    one, *others = (found[sources.index(n)] for n in ("a/0.png", "b/copy.png", "a/zopy.png"))
    assert all(other.tobytes() == one.tobytes() for other in others)
    # Where the first of them can't be read, the next is.
    (tmp_path / "in" / "a" / "0.png").unlink()
    found = traits(manifest)
    assert found["seen"].tolist() == [source != "a/0.png" for source in sources]
    assert found[sources.index("b/copy.png")].tobytes() == one.tobytes()


def test_files_that_are_gone_or_changed_are_not_seen(tmp_path: Path) -> None:
    manifest = folder(tmp_path)
    kept = tmp_path / "m.parquet"
    first = measure_traits(manifest, kept).copy()
    sources = manifest.column("source").tolist()
    gone, new = tmp_path / "in" / "a" / "0.png", tmp_path / "in" / "b" / "1.png"
    data = gone.read_bytes()
    gone.unlink()
    picture(new, 77)
    expected = [source not in ("a/0.png", "b/1.png") for source in sources]
    for found in (measure_traits(manifest, kept), traits(manifest), measure_traits(manifest, kept)):
        assert found["seen"].tolist() == expected
        np.testing.assert_array_equal(found["key"], first["key"])
        unseen = found[~found["seen"]]
        for view in VIEWS:
            assert all(np.isnan(unseen[view][where]).all() for where in PLACES)
        assert all(np.isnan(unseen["odd"][name]).all() for name in ODDNESS.names or ())
    gone.write_bytes(data)  # the same bytes at another time
    assert measure_traits(manifest, kept)["seen"][sources.index("a/0.png")]


def test_a_touched_file_is_the_same_file(tmp_path: Path, monkeypatch: Keep) -> None:
    manifest = folder(tmp_path)
    first = measure_traits(manifest, tmp_path / "m.parquet").copy()
    for path in (tmp_path / "in").rglob("*.png"):
        os.utime(path, (1, 1))
    read = counted(monkeypatch)
    assert same(measure_traits(manifest, tmp_path / "m.parquet"), first)
    assert not read


def test_rows_that_the_index_could_not_read(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "in" / "a" / "broken.png").write_bytes(b"broken")
    manifest = index(tmp_path / "in", tmp_path / "m.parquet")
    found = measure_traits(manifest, tmp_path / "m.parquet")
    broken = manifest.column("source") == "a/broken.png"
    np.testing.assert_array_equal(found["seen"], ~broken)
    assert found["key"][broken] == 0


def test_pages_and_colour_rules_are_told_apart(tmp_path: Path) -> None:
    folder(tmp_path, 1)
    pages = [Image.fromarray(RNG.integers(0, 99, (30, 30), dtype=np.uint8)) for _ in range(2)]
    pages[0].save(tmp_path / "in" / "a" / "t.tif", save_all=True, append_images=pages[1:])
    manifest = index(tmp_path / "in")
    found = traits(manifest)
    assert len(set(found["key"].tolist())) == len(found) == 3
    assert found["seen"].all()
    other = traits(index(tmp_path / "in", colour="mean"))
    assert not set(other["key"].tolist()) & set(found["key"].tolist())


@pytest.mark.parametrize("harm", ["cut", "empty", "text", "dtype", "objects"])
def test_a_damaged_file_is_made_anew(tmp_path: Path, harm: str) -> None:
    manifest = folder(tmp_path)
    first = measure_traits(manifest, tmp_path / "m.parquet").copy()
    file = traits_path(tmp_path / "m.parquet")
    if harm == "dtype":
        np.save(file, np.zeros(6, np.dtype([("seen", "?"), ("key", "u8")])))
    elif harm == "objects":
        np.save(file, np.array([{}], object), allow_pickle=True)
    else:
        data = file.read_bytes()
        file.write_bytes({"cut": data[:-9], "empty": b"", "text": b"text" * 99}[harm])
    assert same(measure_traits(manifest, tmp_path / "m.parquet"), first)
    assert same(np.load(file), first)


def test_another_measurement_is_not_reused(tmp_path: Path, monkeypatch: Keep) -> None:
    manifest = folder(tmp_path)
    measure_traits(manifest, tmp_path / "m.parquet")
    monkeypatch.setattr(measuring, "MEASUREMENT", "another")
    read = counted(monkeypatch)
    measure_traits(manifest, tmp_path / "m.parquet")
    assert len(read) == len(manifest)


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: Keep) -> None:
    manifest = folder(tmp_path)

    def refused(path: Path) -> Iterator[Path]:
        raise PermissionError(13, "read-only", str(path))

    expected = traits(manifest).copy()
    monkeypatch.setattr(measuring, "writing", refused)
    assert same(measure_traits(manifest, tmp_path / "m.parquet"), expected)
    assert not traits_path(tmp_path / "m.parquet").exists()


def test_no_rows(tmp_path: Path) -> None:
    manifest = folder(tmp_path, 2).take([])
    assert len(traits(manifest)) == 0
    for _ in range(2):
        assert measure_traits(manifest, tmp_path / "m.parquet").shape == (0,)


def test_processes_change_nothing(tmp_path: Path, monkeypatch: Keep) -> None:
    monkeypatch.setattr(working, "FEW", 1)
    monkeypatch.setattr(working, "CHUNK", 2)
    manifest = folder(tmp_path, 8)
    assert same(traits(manifest, workers=2), traits(manifest, workers=1))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: Keep, workers: int
) -> None:
    monkeypatch.setattr(working, "FEW", 1)
    monkeypatch.setattr(working, "CHUNK", 2)
    manifest = folder(tmp_path, 8)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        measure_traits(manifest, tmp_path / "m.parquet", workers, Interrupted)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    measure_traits(manifest, tmp_path / "m.parquet")
    kept = traits_path(tmp_path / "m.parquet").read_bytes()
    picture(tmp_path / "in" / "a" / "0.png", 60)
    manifest = index(tmp_path / "in", tmp_path / "m.parquet")
    with pytest.raises(KeyboardInterrupt):
        measure_traits(manifest, tmp_path / "m.parquet", workers, Interrupted)
    assert traits_path(tmp_path / "m.parquet").read_bytes() == kept


def test_progress_counts_rows(tmp_path: Path) -> None:
    shown: list[tuple[str, int | None, int]] = []

    def progress(items: Iterable[Any], *, total: int | None = None, label: str = "") -> Bar[Any]:
        items = list(items)
        shown.append((label, total, len(items)))
        return silent(items)

    traits(folder(tmp_path), progress=progress)
    assert shown == [("Measuring", 6, 6)]


def test_a_manifest_from_disk_has_the_same_traits(tmp_path: Path) -> None:
    first = measure_traits(folder(tmp_path), tmp_path / "m.parquet").copy()
    assert same(
        measure_traits(load_manifest(tmp_path / "m.parquet"), tmp_path / "m.parquet"), first
    )
