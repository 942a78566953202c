"""The index: labels from folders and tables, facts against slow oracles, nothing skipped."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from clearhead.data import workers as working
from clearhead.data.facts import compact, intensities, pixel_hash
from clearhead.data.index import index
from clearhead.data.listing import class_depth
from clearhead.data.manifest import load_manifest, load_thumbnails, thumbnails_path
from clearhead.data.read import locate, read
from clearhead.data.thumbnail import phash, thumbnail
from clearhead.errors import ManifestError
from clearhead.types import Bar, Manifest, silent
from oracles import Interrupted

RNG = np.random.default_rng(7)


def picture(path: Path, height: int = 9, width: int = 12) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (height, width), dtype=np.uint8)).save(path)
    return path


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        picture(folder / name)
    return folder


def write_csv(path: Path, *rows: Iterable[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def labels(manifest: Manifest) -> dict[str, str | None]:
    return dict(zip(manifest.column("source"), manifest.column("label"), strict=True))


def rows(manifest: Manifest) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = manifest.table.to_pylist()
    return found


# --- Classes from folders -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (("a/1.png", "b/2.png"), {"a", "b"}),
        (("Set/Set/Brain Tumor/1.png", "Set/Set/Healthy/2.png"), {"Brain Tumor", "Healthy"}),
        (("train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png"), {"a", "b"}),
        (("Training/a/1.png", "Training/b/2.png", "Testing/a/3.png"), {"a", "b"}),
        (("a/p1/1.png", "a/p2/2.png", "b/p3/3.png", "b/p4/4.png"), {"a", "b"}),
        (("a/1/1.png", "a/2/2.png", "b/1/3.png", "b/2/4.png"), {"a", "b"}),
        (("train/0/1.png", "train/1/2.png", "test/0/3.png", "test/1/4.png"), {"0", "1"}),
        (("site1/a/1.png", "site2/b/2.png"), {"site1", "site2"}),
        (("A/a/p1/1.png", "A/b/p2/2.png", "B/a/p3/3.png", "B/b/p4/4.png"), {"a", "b"}),
        (("a/images/1.png", "b/images/2.png"), {"a", "b"}),
        (("a/axial/1.png", "a/coronal/2.png", "b/axial/3.png", "b/coronal/4.png"), {"a", "b"}),
        (("t1/a/1.png", "t1/b/2.png", "t2/a/3.png", "t2/b/4.png"), {"a", "b"}),
        (("a/1.png", "b/more/2.png", "b/3.png"), {"a", "b"}),
        (("a/1.png", "b/more/2.png"), {"a", "b"}),
        (("train/a/1.png", "test/a/2.png"), {"a"}),
        (("a/train/1.png", "a/test/2.png"), {"a"}),
        (("deep/down/a/1.png",), {"a"}),
    ],
)
def test_the_class_level(tmp_path: Path, names: tuple[str, ...], classes: set[str]) -> None:
    manifest = index(fill(tmp_path / "root", *names))
    assert set(manifest.classes) == classes
    assert len(manifest) == len(names)
    for source, label in labels(manifest).items():
        assert label in source.split("/")


@given(
    st.lists(
        st.lists(st.sampled_from("abcd"), min_size=1, max_size=4).map(tuple), min_size=1, max_size=8
    )
)
def test_the_class_level_is_part_of_the_shallowest_path(places: list[tuple[str, ...]]) -> None:
    depth = class_depth(places)
    assert 0 <= depth < max(len(parts) for parts in places)
    assert depth == class_depth(places[::-1])


def test_a_flat_folder_is_one_class(tmp_path: Path) -> None:
    manifest = index(fill(tmp_path / "healthy", "1.png", "2.png"))
    assert manifest.classes == ("healthy",)
    assert "one class alone" in manifest.notes["index"]["remarks"][0]


def test_pictures_beside_the_classes_have_no_label_and_other_files_are_left_out(
    tmp_path: Path,
) -> None:
    fill(tmp_path, "a/1.png", "b/2.png", "loose.png")
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "paper.txt").write_text("about")
    (tmp_path / "a" / "list.txt").write_text("in a class, so it counts")
    manifest = index(tmp_path)
    assert labels(manifest) == {
        "loose.png": None,
        "a/1.png": "a",
        "a/list.txt": "a",
        "b/2.png": "b",
    }
    note = manifest.notes["index"]
    assert sorted(note["left_out"]["examples"]) == ["README.md", "docs/paper.txt"]
    assert note["unlabelled"] == 1


def test_hidden_files_and_litter_are_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "a/1.png", "b/2.png", "a/.ipynb_checkpoints/1-checkpoint.png", ".cache/c/3.png")
    for name in (".DS_Store", "a/.DS_Store", "b/Thumbs.db", "__MACOSX/a/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"litter")
    assert labels(index(tmp_path)) == {"a/1.png": "a", "b/2.png": "b"}


def test_folders_that_are_not_entered_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "in", "a/1.png", "b/2.png")
    fill(tmp_path / "else", "c/3.png")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "else" / "c")
    (tmp_path / "in" / "a" / "circle").symlink_to(tmp_path / "in")
    manifest = index(tmp_path / "in")
    assert set(labels(manifest)) == {"a/1.png", "b/2.png"}
    assert manifest.notes["index"]["not_entered"]["examples"] == ["a/circle", "linked"]
    assert "2 folders are links" in manifest.notes["index"]["remarks"][0]
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "c").symlink_to(tmp_path / "else" / "c")
    with pytest.raises(ManifestError, match="folder c is a link or can't be opened"):
        index(tmp_path / "links")


# --- Facts ----------------------------------------------------------------------------------


def test_facts_against_a_slow_reading(tmp_path: Path) -> None:
    fill(tmp_path, "a/1.png", "a/2.bmp", "b/3.tif", "b/4.jpg")
    Image.fromarray(RNG.integers(0, 65536, (5, 6), dtype=np.uint16)).save(tmp_path / "b" / "5.png")
    shutil.copy(tmp_path / "a" / "1.png", tmp_path / "b" / "copy.png")
    out = tmp_path / "out.parquet"
    manifest = index(tmp_path, out)
    pictures = load_thumbnails(out)
    assert len(manifest) == 6
    for row, small in zip(rows(manifest), pictures, strict=True):
        path, _ = locate(manifest.root, row["source"])
        pixels = read(path).pixels
        assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (row["height"], row["width"]) == pixels.shape
        assert row["bytes"] == path.stat().st_size
        assert row["mtime_ns"] == path.stat().st_mtime_ns
        assert row["mean"] == pytest.approx(pixels.mean(dtype=np.float64), rel=1e-6)
        assert row["std"] == pytest.approx(pixels.std(dtype=np.float64), rel=1e-6)
        expected = np.percentile(pixels, (1, 50, 99))
        np.testing.assert_allclose([row["p01"], row["p50"], row["p99"]], expected, rtol=1e-6)
        np.testing.assert_array_equal(small, thumbnail(pixels))
        assert row["phash"] == phash(small)
        for later in ("copy", "turn", "group", "split", "fold", "patient", "mask", "error"):
            assert row[later] is None
    by_source = {row["source"]: row for row in rows(manifest)}
    assert by_source["a/1.png"]["pixel_hash"] == by_source["b/copy.png"]["pixel_hash"]
    assert by_source["a/1.png"]["sha256"] == by_source["b/copy.png"]["sha256"]
    assert len({row["pixel_hash"] for row in rows(manifest)}) == 5


def test_pixel_hash_is_of_the_picture_not_of_the_file(tmp_path: Path) -> None:
    grey = RNG.integers(0, 256, (6, 8), dtype=np.uint8)
    (tmp_path / "a").mkdir()
    Image.fromarray(grey).save(tmp_path / "a" / "1.png")
    Image.fromarray(grey).save(tmp_path / "a" / "2.bmp")
    Image.fromarray(np.repeat(grey[..., None], 3, axis=2)).save(tmp_path / "a" / "3.tif")
    Image.fromarray(grey.reshape(8, 6)).save(tmp_path / "a" / "4.png")
    one, two, three, reshaped = index(tmp_path).column("pixel_hash")
    assert one == two == three
    assert one != reshaped


@settings(deadline=None, max_examples=60)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.one_of(
            st.integers(0, 65535).map(float), st.integers(0, 3).map(float), st.just(0.5)
        ),
    )
)
def test_intensities_by_counting_equal_numpys(pixels: NDArray[np.float32]) -> None:
    stored = compact(pixels)
    np.testing.assert_array_equal(stored, pixels)
    found = intensities(stored)
    low, middle, high = np.percentile(pixels.astype(np.float64), (1, 50, 99))
    expected = {"p01": low, "p50": middle, "p99": high}
    expected |= {"mean": pixels.mean(dtype=np.float64), "std": pixels.std(dtype=np.float64)}
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_pixel_hash_tells_values_and_shape() -> None:
    pictures = [
        *(np.full((2, 3), value, np.float32) for value in (0, 1, 255, 256, 257, 65536, 0.5, -1)),
        *(np.zeros(shape, np.float32) for shape in ((3, 2), (1, 6), (6, 1), (1, 12))),
    ]
    assert len({pixel_hash(compact(each)) for each in pictures}) == len(pictures)
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert pixel_hash(compact(turned)) == pixel_hash(compact(turned.copy(order="C")))


def test_every_page_is_a_row(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((4, 4), i, np.uint8)) for i in (10, 20, 30)]
    (tmp_path / "a").mkdir()
    frames[0].save(tmp_path / "a" / "x.tif", save_all=True, append_images=frames[1:])
    manifest = index(tmp_path, tmp_path / "m.parquet")
    assert manifest.column("source").tolist() == [f"a/x.tif#page={page}" for page in (1, 2, 3)]
    assert manifest.column("mean").tolist() == [10, 20, 30]
    assert index(tmp_path, tmp_path / "m.parquet").notes["index"]["reused"] == 1


# --- What can't be read ---------------------------------------------------------------------


def broken_folder(folder: Path) -> Path:
    fill(folder, "a/good.png", "b/good.png")
    (folder / "a" / "empty.png").write_bytes(b"")
    (folder / "a" / "text.jpg").write_text("no picture")
    (folder / "b" / "scan.dcm").write_bytes(b"\0" * 128 + b"DICM")
    (folder / "b" / "dangling.png").symlink_to(folder / "nowhere")
    whole = picture(folder / "b" / "cut.png", 60, 60).read_bytes()
    (folder / "b" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "b" / "two\nlines.png").write_bytes(b"x")
    (Path(os.fsdecode(os.fsencode(folder) + b"/b/caf\xe9.png"))).write_bytes(b"x")
    return folder


def test_what_cannot_be_read_is_a_row_with_its_reason(tmp_path: Path) -> None:
    out = tmp_path / "out" / "m.parquet"
    manifest = index(broken_folder(tmp_path / "in"), out)
    errors = {row["source"]: row["error"] for row in rows(manifest)}
    expected = {
        "a/empty.png": "empty",
        "a/good.png": None,
        "a/text.jpg": "not a picture",
        "b/caf\\xe9.png": "not UTF-8",
        "b/cut.png": "PNG",
        "b/dangling.png": "link to a file that is not there",
        "b/good.png": None,
        "b/scan.dcm": "DICOM",
        "b/two\nlines.png": "not a picture",
    }
    assert errors.keys() == expected.keys()
    for source, text in expected.items():
        assert (errors[source] is None) is (text is None)
        assert text is None or text in errors[source]
        assert "\n" not in (errors[source] or "")
    assert manifest.classes == ("a", "b")
    assert all(row["label"] == row["source"][0] for row in rows(manifest))
    assert manifest.notes["index"]["unreadable"]["count"] == 7
    assert len(manifest.readable()) == 2
    pictures = load_thumbnails(out)
    for row, small in zip(rows(manifest), pictures, strict=True):
        assert small.any() == (row["error"] is None)
    assert load_manifest(out).table.equals(manifest.table)


def test_a_colour_picture_is_a_row_that_names_the_way_out(tmp_path: Path) -> None:
    fill(tmp_path, "a/grey.png")
    colours = RNG.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "a" / "colour.png")
    out = tmp_path / "m.parquet"
    refused = index(tmp_path, out)
    assert "--colour mean" in rows(refused)[0]["error"]
    averaged = index(tmp_path, out, colour="mean")
    assert rows(averaged)[0]["error"] is None
    assert averaged.notes["index"]["reused"] == 0, "another policy reads everything again"
    with pytest.raises(ManifestError, match="expected agree or mean"):
        index(tmp_path, colour="red")


def test_nothing_readable_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "in" / "a").mkdir(parents=True)
    out = tmp_path / "m.parquet"
    with pytest.raises(ManifestError, match="there is no picture below"):
        index(tmp_path / "in", out)
    (tmp_path / "in" / "a" / "x.png").write_bytes(b"text")
    with pytest.raises(ManifestError, match=r"none of the 1 files .* a/x.png: not a picture"):
        index(tmp_path / "in", out)
    with pytest.raises(ManifestError, match="there is no folder"):
        index(tmp_path / "nowhere", out)
    with pytest.raises(ManifestError, match="is a file: name the folder"):
        index(tmp_path / "in" / "a" / "x.png", out)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_existing_file_that_is_no_manifest_is_not_overwritten(tmp_path: Path) -> None:
    fill(tmp_path / "in", "a/1.png")
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ManifestError, match="exists and is no manifest"):
        index(tmp_path / "in", tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "mine"
    with pytest.raises(ManifestError, match="is a folder: name the manifest"):
        index(tmp_path / "in", tmp_path)


# --- Again ----------------------------------------------------------------------------------


def same(one: Manifest, other: Manifest) -> bool:
    return one.table.equals(other.table) and one.classes == other.classes


def test_index_again_equals_index_from_scratch(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", *(f"{name}/{i}.png" for name in "ab" for i in range(6)))
    (folder / "a" / "broken.png").write_bytes(b"broken")
    out = tmp_path / "m.parquet"
    first = index(folder, out)
    assert first.notes["index"]["reused"] == 0
    again = index(folder, out)
    assert again.notes["index"]["reused"] == 12, "all but the broken one, which is tried again"
    assert same(first, again)

    picture(folder / "a" / "0.png", 20, 20)  # changed
    (folder / "a" / "1.png").unlink()  # vanished
    picture(folder / "a" / "00.png")  # new, sorts into the middle
    picture(folder / "a" / "broken.png")  # mended
    (folder / "b" / "2.png").rename(folder / "a" / "moved.png")  # of another class now
    later = index(folder, out)
    assert later.notes["index"]["reused"] == 9
    scratch = index(folder, tmp_path / "scratch.parquet")
    assert same(later, scratch)
    np.testing.assert_array_equal(
        load_thumbnails(out), load_thumbnails(tmp_path / "scratch.parquet")
    )


def test_a_change_of_time_alone_is_read_again(tmp_path: Path) -> None:
    path = picture(tmp_path / "in" / "a" / "1.png")
    out = tmp_path / "m.parquet"
    index(tmp_path / "in", out)
    os.utime(path, ns=(1, 1))
    assert index(tmp_path / "in", out).notes["index"]["reused"] == 0
    picture(path, 30, 40)  # other bytes at the same time
    os.utime(path, ns=(1, 1))
    assert index(tmp_path / "in", out).notes["index"]["reused"] == 0
    assert index(tmp_path / "in", out).notes["index"]["reused"] == 1


@pytest.mark.parametrize("damage", ["absent", "short"])
def test_without_sound_thumbnails_all_is_read_again(tmp_path: Path, damage: str) -> None:
    fill(tmp_path / "in", "a/1.png", "a/2.png")
    out = tmp_path / "m.parquet"
    index(tmp_path / "in", out)
    if damage == "absent":
        thumbnails_path(out).unlink()
    else:
        thumbnails_path(out).write_bytes(thumbnails_path(out).read_bytes()[:-100])
    assert index(tmp_path / "in", out).notes["index"]["reused"] == 0
    assert load_thumbnails(out).shape == (2, 64, 64)


def test_pages_chosen_by_a_table_are_not_taken_for_the_whole_file(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((4, 4), i, np.uint8)) for i in (10, 20, 30)]
    (tmp_path / "in" / "a").mkdir(parents=True)
    frames[0].save(tmp_path / "in" / "a" / "x.tif", save_all=True, append_images=frames[1:])
    table = write_csv(tmp_path / "t.csv", ["path", "label"], ["a/x.tif#page=2", "a"])
    out = tmp_path / "m.parquet"
    chosen = index(tmp_path / "in", out, table=table)
    assert (chosen.column("source").tolist(), chosen.column("mean").tolist()) == (
        ["a/x.tif#page=2"],
        [20],
    )
    whole = index(tmp_path / "in", out)
    assert whole.column("mean").tolist() == [10, 20, 30]
    assert index(tmp_path / "in", out, table=table).notes["index"]["reused"] == 1


# --- Many processes -------------------------------------------------------------------------


def test_processes_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "FEW", 1)
    monkeypatch.setattr(working, "CHUNK", 3)
    monkeypatch.setattr(working, "AHEAD", 1)
    folder = fill(tmp_path / "in", *(f"{name}/{i}.png" for name in "ab" for i in range(10)))
    (folder / "a" / "broken.png").write_bytes(b"broken")
    one = index(folder, tmp_path / "one.parquet", workers=1)
    two = index(folder, tmp_path / "two.parquet", workers=2)
    assert same(one, two)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    np.testing.assert_array_equal(
        load_thumbnails(tmp_path / "one.parquet"), load_thumbnails(tmp_path / "two.parquet")
    )
    with pytest.raises(ManifestError, match="workers is 0"):
        index(folder, workers=0)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(working, "FEW", 1)
    monkeypatch.setattr(working, "CHUNK", 2)
    folder = fill(tmp_path / "in", *(f"a/{i}.png" for i in range(12)))
    out = tmp_path / "out" / "m.parquet"
    with pytest.raises(KeyboardInterrupt):
        index(folder, out, workers=workers, progress=Interrupted)
    assert not list(out.parent.iterdir())
    index(folder, out)
    before = {path.name: path.read_bytes() for path in out.parent.iterdir()}
    picture(folder / "a" / "0.png", 30, 30)
    with pytest.raises(KeyboardInterrupt):
        index(folder, out, workers=workers, progress=Interrupted)
    assert {path.name: path.read_bytes() for path in out.parent.iterdir()} == before


def _die(entries: Any, colour: str) -> Any:
    os._exit(9)


def test_a_killed_process_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "FEW", 1)
    monkeypatch.setattr(working, "CHUNK", 2)
    monkeypatch.setattr(working, "_results", _die)
    folder = fill(tmp_path / "in", *(f"a/{i}.png" for i in range(6)))
    with pytest.raises(ManifestError, match="was killed"):
        index(folder, workers=2)


def test_progress_counts_files(tmp_path: Path) -> None:
    seen: list[tuple[str, int | None, int]] = []

    def progress(items: Iterable[Any], *, total: int | None = None, label: str = "") -> Bar[Any]:
        items = list(items)
        seen.append((label, total, len(items)))
        return silent(items)

    index(fill(tmp_path, "a/1.png", "b/2.png"), progress=progress)
    assert seen == [("Indexing", 2, 2)]


# --- Tables ---------------------------------------------------------------------------------


def test_labels_and_patients_from_a_table(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "x/1.png", "x/2.png", "y/3.png", "y/unlisted.png")
    outside = picture(tmp_path / "else" / "4.png")
    table = write_csv(
        tmp_path / "labels" / "t.csv",
        ["who", "path", "label"],
        ["p2", "y/3.png", "tumour"],
        ["p1", "x/1.png", "healthy"],
        ["", "./x/2.png", ""],
        ["p3", str(outside), "tumour"],
        ["p4", "x/gone.png", "healthy"],
        ["p1", "x/1.png", "healthy"],
    )
    manifest = index(folder, table=table, patient_column="who")
    assert labels(manifest) == {
        "y/3.png": "tumour",
        "x/1.png": "healthy",
        "x/2.png": None,
        outside.as_posix(): "tumour",
        "x/gone.png": "healthy",
    }
    assert manifest.column("patient").tolist() == ["p2", "p1", None, "p3", "p4"]
    assert manifest.classes == ("healthy", "tumour")
    assert [error is None for error in manifest.column("error")] == [True] * 4 + [False]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_other_separators_columns_and_folders(tmp_path: Path, separator: str) -> None:
    fill(tmp_path / "images", "1.png", "2.png")
    table = tmp_path / "labels.csv"
    lines = [["image", "class", "mask"], ["images/1.png", "a", ""], ["images/2.png", "b", ""]]
    table.write_text("\n".join(separator.join(line) for line in lines), encoding="utf-8-sig")
    manifest = index(tmp_path / "images", table=table, path_column="image", label_column="class")
    assert labels(manifest) == {"1.png": "a", "2.png": "b"}


def test_tables_that_cannot_be_used(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "1.png")
    header = ["path", "label"]
    (tmp_path / "latin.csv").write_bytes(b"path,label\ncaf\xe9.png,a\n")
    (tmp_path / "empty.csv").write_bytes(b"")
    cases = {
        tmp_path / "none.csv": "there is no table",
        tmp_path / "latin.csv": "not UTF-8",
        tmp_path / "empty.csv": "is empty",
        write_csv(tmp_path / "a.csv", ["file", "label"]): r"no column 'path'; it has file, label",
        write_csv(
            tmp_path / "b.csv", header, ["1.png", "a"], ["1.png", "b"]
        ): "names '1.png' twice",
        write_csv(tmp_path / "c.csv", header, ["", "b"]): "without path",
        write_csv(tmp_path / "d.csv", header): "no picture",
        tmp_path: "can't be read",
    }
    for table, reason in cases.items():
        with pytest.raises(ManifestError, match=reason) as caught:
            index(folder, table=table)
        assert "\n" not in str(caught.value)
    with pytest.raises(ManifestError, match="no column 'who'"):
        index(
            folder,
            table=write_csv(tmp_path / "e.csv", header, ["1.png", "a"]),
            patient_column="who",
        )


# --- Metadata -------------------------------------------------------------------------------


def test_metadata_that_disagrees(tmp_path: Path) -> None:
    fill(tmp_path, "deep/Brain Tumor/1.jpg", "deep/Brain Tumor/2.jpg", "deep/Healthy/3.jpg")
    fill(tmp_path, "deep/Healthy/4.jpg", "deep/Healthy/5.jpg", "deep/Healthy/same.jpg")
    fill(tmp_path, "deep/Brain Tumor/same.jpg")
    Image.new("RGB", (12, 9)).save(tmp_path / "deep" / "Brain Tumor" / "rgb.jpg", format="PNG")
    write_csv(
        tmp_path / "metadata.csv",
        ["", "image", "class", "format", "mode", "shape", "scanner"],
        [0, "1.jpg", "tumor", "JPEG", "L", "(9, 12)", "s1"],
        [1, "2.jpg", "tumor", "jpg", "L", "(9,12)", "s2"],
        [2, "3.jpg", "normal", "PNG", "L", "(9, 12)", "s1"],
        [3, "Healthy/4.jpg", "normal", "JPEG", "RGB", "(12, 9)", "s1"],
        [4, "5.jpg", "tumor", "JPEG", "L", "(9, 12)", ""],
        [5, "rgb.jpg", "tumor", "PNG", "RGB", "(9, 12, 3)", "s1"],
        [6, "gone.jpg", "normal", "JPEG", "L", "(9, 12)", "s1"],
        [7, "same.jpg", "normal", "JPEG", "L", "(9, 12)", "s1"],
    )
    manifest = index(tmp_path, patient_column="scanner")
    note = manifest.notes["metadata"]
    assert note["class"] == {
        "meaning": {"normal": "Healthy", "tumor": "Brain Tumor"},
        "count": 1,
        "examples": [
            {"source": "deep/Healthy/5.jpg", "metadata": "tumor", "file": "Healthy"},
        ],
    }
    assert note["format"]["examples"] == [
        {"source": "deep/Healthy/3.jpg", "metadata": "PNG", "file": "JPEG"}
    ]
    assert note["mode"]["examples"] == [
        {"source": "deep/Healthy/4.jpg", "metadata": "RGB", "file": "L"}
    ]
    assert note["shape"]["examples"] == [
        {"source": "deep/Healthy/4.jpg", "metadata": "(12, 9)", "file": "(9, 12)"}
    ]
    assert (note["rows"], note["matched"]) == (8, 6)
    assert note["rows_without_file"] == {"count": 1, "examples": ["gone.jpg"]}
    assert note["rows_of_several_files"] == {"count": 1, "examples": ["same.jpg"]}
    assert note["remarks"][0] == (
        "metadata.csv disagrees with 1 of 6 files about their class: "
        "deep/Healthy/5.jpg is Healthy, and not tumor"
    )
    assert len(note["remarks"]) == 7
    assert note["files_without_row"]["examples"] == [
        "deep/Brain Tumor/same.jpg",
        "deep/Healthy/same.jpg",
    ]
    patients = dict(zip(manifest.column("source"), manifest.column("patient"), strict=True))
    assert patients["deep/Brain Tumor/2.jpg"] == "s2"
    assert patients["deep/Healthy/5.jpg"] is None
    assert "metadata.csv" not in labels(manifest)
    with pytest.raises(ManifestError, match=r"metadata.csv has no column 'who'; it has .*scanner"):
        index(tmp_path, patient_column="who")
    with pytest.raises(ManifestError, match="no metadata has the patient column 'who'"):
        index(tmp_path / "deep", patient_column="who")


def test_metadata_given_or_beside(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a/1.png", "b/2.png")
    write_csv(folder / "metadata.csv", ["name", "age"], ["1.png", "70"])
    manifest = index(folder)
    assert "metadata" not in manifest.notes, "a table of something else is not joined"
    assert manifest.notes["index"]["left_out"]["examples"] == ["metadata.csv"]
    with pytest.raises(ManifestError, match="no column 'image'"):
        index(folder, metadata=folder / "metadata.csv")


# --- Masks ----------------------------------------------------------------------------------


def masks_of(manifest: Manifest) -> dict[str, str]:
    pairs = zip(manifest.column("source"), manifest.column("mask"), strict=True)
    return {source: mask for source, mask in pairs if mask is not None}


def test_masks_of_a_generated_set(tmp_path: Path) -> None:
    fill(tmp_path, "Brain Tumor/1.png", "Brain Tumor/2.png", "Brain Tumor/3.png", "Healthy/4.png")
    fill(tmp_path, "masks/1.png", "masks/unlisted.png")
    picture(tmp_path / "masks" / "2.png", 5, 5)
    write_csv(
        tmp_path / "masks.csv",
        ["image", "mask"],
        ["Brain Tumor/1.png", "masks/1.png"],
        ["Brain Tumor/2.png", "masks/2.png"],
        ["Brain Tumor/3.png", "masks/3.png"],
        ["Brain Tumor/9.png", "masks/1.png"],
    )
    manifest = index(tmp_path)
    assert manifest.classes == ("Brain Tumor", "Healthy")
    assert len(manifest) == 4
    assert masks_of(manifest) == {"Brain Tumor/1.png": "masks/1.png"}
    note = manifest.notes["masks"]
    assert note["kept"] == 1
    assert note["missing"]["examples"] == [{"source": "Brain Tumor/3.png", "mask": "masks/3.png"}]
    assert note["unfit"]["examples"] == [
        {
            "source": "Brain Tumor/2.png",
            "mask": "masks/2.png",
            "why": "5×5, and the picture is 9×12",
        }
    ]
    assert note["without_picture"] == {"count": 1, "examples": ["Brain Tumor/9.png"]}
    assert note["remarks"][:2] == [
        "1 pictures have a mask from masks.csv",
        "1 masks are not there, masks/3.png for one: left out",
    ]


def test_masks_elsewhere_are_kept_absolute(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "X/X/Tumor/c (1).jpg", "X/X/Tumor/c (1).png", "X/X/No/1.png")
    fill(tmp_path / "m", "masks/c (1).jpg.png", "masks/1.png")
    table = write_csv(
        tmp_path / "m" / "masks.csv",
        ["image", "mask", "annotator"],
        ["Tumor/c (1).jpg", "masks/c (1).jpg.png", "figshare"],
    )
    mask = (tmp_path / "m" / "masks" / "c (1).jpg.png").as_posix()
    assert masks_of(index(folder, masks=table)) == {"X/X/Tumor/c (1).jpg": mask}
    by_name = masks_of(index(folder, masks=tmp_path / "m" / "masks"))
    assert by_name == {
        "X/X/Tumor/c (1).jpg": mask,
        "X/X/No/1.png": (tmp_path / "m" / "masks" / "1.png").as_posix(),
    }


def test_masks_by_name_in_a_folder(tmp_path: Path) -> None:
    fill(tmp_path, "a/1.jpg", "a/1.tif", "a/2.jpg", "b/2.png", "b/3.bmp")
    fill(tmp_path, "masks/1.png", "masks/1.tif.png", "masks/b/2.png", "masks/3.png", "masks/7.png")
    manifest = index(tmp_path)
    assert manifest.classes == ("a", "b")
    assert masks_of(manifest) == {
        "a/1.tif": "masks/1.tif.png",
        "b/2.png": "masks/b/2.png",
        "b/3.bmp": "masks/3.png",
    }
    note = manifest.notes["masks"]
    assert note["without_picture"]["examples"] == ["7.png"]
    assert note["of_several_pictures"]["examples"] == ["1.png"]


def test_masks_beside_their_pictures_are_no_pictures(tmp_path: Path) -> None:
    fill(tmp_path, "deep/a/1.png", "deep/a/1_mask.png", "deep/b/2.png")
    write_csv(tmp_path / "masks.csv", ["image", "mask"], ["a/1.png", "deep/a/1_mask.png"])
    manifest = index(tmp_path)
    assert labels(manifest) == {"deep/a/1.png": "a", "deep/b/2.png": "b"}
    assert masks_of(manifest) == {"deep/a/1.png": "deep/a/1_mask.png"}


def test_masks_that_are_not_there(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a/1.png")
    with pytest.raises(ManifestError, match="there are no masks at"):
        index(folder, masks=tmp_path / "none")
    with pytest.raises(ManifestError, match="no column 'mask'"):
        index(folder, masks=write_csv(tmp_path / "m.csv", ["image", "file"]))


# --- The genuine set ------------------------------------------------------------------------


@pytest.mark.realdata
def test_some_of_the_kaggle_set(realdata: Path, tmp_path: Path) -> None:
    """A part of the files in the genuine layout, with the genuine metadata and masks."""
    genuine = realdata / "kaggle4600"
    files = sorted(path for path in genuine.rglob("*") if path.suffix != ".csv" and path.is_file())
    for path in [*files[::24], *(path for path in files if path.suffix in (".png", ".tif"))]:
        place = tmp_path / path.relative_to(genuine)
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.symlink_to(path)
    (tmp_path / "metadata.csv").symlink_to(genuine / "metadata.csv")
    manifest = index(tmp_path, masks=realdata / "kaggle4600_masks" / "masks.csv")
    assert manifest.classes == ("Brain Tumor", "Healthy")
    assert not [error for error in manifest.column("error") if error]
    note = manifest.notes["metadata"]
    assert note["class"]["meaning"] == {"normal": "Healthy", "tumor": "Brain Tumor"}
    assert [note[name]["count"] for name in ("class", "format", "mode", "shape")] == [0] * 4
    assert note["matched"] == len(manifest)
    assert "agrees with" in note["remarks"][0]
    assert manifest.notes["masks"]["unfit"]["count"] == 0
    assert manifest.notes["masks"]["kept"] > 80
    formats = dict(zip(manifest.column("source"), manifest.column("format"), strict=True))
    assert sum(name.endswith(".tif") for name in formats) == 86
    assert {formats[name] for name in formats if name.endswith(".tif")} == {"TIFF"}
