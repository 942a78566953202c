"""Manifests on disk: what was saved is loaded, and what is no manifest is told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clearhead.data.manifest import (
    ADDED,
    KEY,
    SCHEMA,
    carry_thumbnails,
    load_manifest,
    load_thumbnails,
    save_manifest,
    thumbnails_path,
)
from clearhead.errors import ManifestError
from clearhead.types import COLUMNS, Manifest

NOTES: dict[str, Any] = {"protocol": "group", "seed": 0, "nested": {"é": [1, 2.5, None, True]}}


def manifest(root: Path, **columns: list[Any]) -> Manifest:
    rows: dict[str, list[Any]] = {
        "source": ["a/1.png", "b/two\nlines.png", "b/é.tif#page=2"],
        "label": ["a", "b", None],
        "error": [None, "empty", None],
        "phash": [2**64 - 1, None, 0],
        "bytes": [1 << 40, None, 3],
        "mean": [0.5, None, 2.0],
        **columns,
    }
    full = {name: rows.get(name, [None] * 3) for name in COLUMNS}
    return Manifest(root, ("a", "b"), pa.table(full, schema=SCHEMA), NOTES)


def test_round_trip(tmp_path: Path) -> None:
    saved = manifest(tmp_path)
    save_manifest(saved, tmp_path / "deep" / "m.parquet")
    loaded = load_manifest(tmp_path / "deep" / "m.parquet")
    assert loaded.table.equals(saved.table)
    assert loaded.classes == saved.classes
    assert loaded.notes == NOTES
    assert loaded.root == tmp_path
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["m.parquet"]


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    save_manifest(manifest(tmp_path), path)
    first = path.read_bytes()
    save_manifest(load_manifest(path), path)
    assert path.read_bytes() == first


def test_slices_and_chunks_are_saved_whole(tmp_path: Path) -> None:
    whole = manifest(tmp_path)
    save_manifest(whole.take([2, 0]), tmp_path / "m.parquet")
    assert load_manifest(tmp_path / "m.parquet").column("source").tolist() == [
        "b/é.tif#page=2",
        "a/1.png",
    ]


def test_pictures_and_manifest_can_be_moved_together(tmp_path: Path) -> None:
    (tmp_path / "old" / "pictures").mkdir(parents=True)
    path = tmp_path / "old" / "runs" / "m.parquet"
    save_manifest(manifest(tmp_path / "old" / "pictures"), path)
    (tmp_path / "old").rename(tmp_path / "new")
    moved = load_manifest(tmp_path / "new" / "runs" / "m.parquet")
    assert moved.root == tmp_path / "new" / "pictures"


def test_a_manifest_moved_alone_finds_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    save_manifest(manifest(tmp_path / "pictures"), tmp_path / "m.parquet")
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "m.parquet").rename(tmp_path / "far" / "away" / "m.parquet")
    assert load_manifest(tmp_path / "far" / "away" / "m.parquet").root == tmp_path / "pictures"


def test_pictures_that_are_gone_leave_the_stored_root(tmp_path: Path) -> None:
    save_manifest(manifest(tmp_path / "gone"), tmp_path / "m.parquet")
    assert load_manifest(tmp_path / "m.parquet").root == tmp_path / "gone"


def test_a_relative_root_is_kept_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pictures").mkdir()
    monkeypatch.chdir(tmp_path)
    save_manifest(manifest(Path("pictures")), Path("m.parquet"))
    monkeypatch.chdir("/")
    assert load_manifest(tmp_path / "m.parquet").root == tmp_path / "pictures"


def write_head(path: Path, head: object, table: pa.Table | None = None) -> Path:
    table = pa.table({"x": [1]}) if table is None else table
    metadata = {KEY: json.dumps(head).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def test_other_files_are_refused_each_with_its_reason(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("path,label\n")
    plain = tmp_path / "plain"
    pq.write_table(pa.table({"x": [1]}), plain)
    later = write_head(tmp_path / "later", {"version": 99})
    lacking = write_head(tmp_path / "lacking", {"version": 1})
    cases = {
        tmp_path / "none": "there is no manifest",
        tmp_path: "is a folder",
        text: "not a Parquet file",
        plain: "a Parquet file but not a manifest",
        later: "of version 99, and this clearhead reads 1",
        lacking: "other columns than a manifest",
        write_head(tmp_path / "list", [1]): "not a manifest",
    }
    for path, reason in cases.items():
        with pytest.raises(ManifestError, match=reason) as caught:
            load_manifest(path)
        assert "\n" not in str(caught.value)


def test_a_truncated_manifest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    save_manifest(manifest(tmp_path), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ManifestError, match="not a Parquet file"):
        load_manifest(path)


def test_notes_must_be_plain_values_and_nothing_is_left_behind(tmp_path: Path) -> None:
    for note in (float("nan"), {1, 2}, tmp_path):
        with pytest.raises(ManifestError, match="can't be kept as JSON"):
            save_manifest(manifest(tmp_path).with_notes(bad=note), tmp_path / "m.parquet")
    assert not list(tmp_path.iterdir())


def test_thumbnails_are_mapped_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    save_manifest(manifest(tmp_path), path)
    with pytest.raises(ManifestError, match="are not there"):
        load_thumbnails(path)
    assert thumbnails_path(path) == tmp_path / "m.parquet.thumbs.npy"
    pictures = np.random.default_rng(0).integers(0, 256, (3, 64, 64), dtype=np.uint8)
    np.save(thumbnails_path(path), pictures)
    loaded = load_thumbnails(path)
    assert isinstance(loaded, np.memmap)
    np.testing.assert_array_equal(loaded, pictures)
    for wrong in (pictures[:2], pictures.astype(np.float32), pictures[..., :32]):
        np.save(thumbnails_path(path), wrong)
        with pytest.raises(ManifestError, match="and the manifest has 3 rows"):
            load_thumbnails(path)
    thumbnails_path(path).write_bytes(b"text")
    with pytest.raises(ManifestError, match="are damaged"):
        load_thumbnails(path)


def test_thumbnails_are_carried_to_a_manifest_of_the_same_rows(tmp_path: Path) -> None:
    thumbnails = np.arange(3 * 64 * 64, dtype=np.uint8).reshape(3, 64, 64)
    first, second = tmp_path / "a.parquet", tmp_path / "sub" / "b.parquet"
    carry_thumbnails(first, second)  # none there: nothing happens
    assert not thumbnails_path(second).exists()
    np.save(thumbnails_path(first), thumbnails)
    carry_thumbnails(first, second)
    carry_thumbnails(first, first)
    for path in (first, second):
        np.testing.assert_array_equal(np.load(thumbnails_path(path)), thumbnails)


def test_a_manifest_from_before_the_added_columns_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.parquet"
    save_manifest(manifest(tmp_path), path)
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(list(ADDED)), path)
    old = load_manifest(path)
    assert list(old.table.column_names) == list(COLUMNS)
    assert all(old.table.column(name).null_count == len(old) for name in ADDED)
