"""Pictures from elsewhere that a training has seen: as the same pixels, or altered and mirrored."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from clearhead.data.cache import thumbnails
from clearhead.data.index import index
from clearhead.data.manifest import load_thumbnails
from clearhead.data.phantom import phantom
from clearhead.errors import ManifestError
from clearhead.model.unseen import check_unseen, shown_in
from clearhead.types import Manifest


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    root = tmp_path_factory.mktemp("unseen")
    return index(phantom(root / "known", n=12, seed=1, size_px=160), root / "known.parquet")


@pytest.fixture
def other(known: Manifest, tmp_path: Path) -> Manifest:
    """Six pictures of other heads, then one of the known ones mirrored, turned and re-encoded."""
    folder = phantom(tmp_path / "other", n=6, seed=2, size_px=160)
    taken = Image.open(known.root / known.column("source")[0])
    altered = ImageOps.mirror(taken).rotate(90).resize((120, 120), Image.Resampling.BOX)
    altered.save(folder / "Healthy" / "zz.jpg", quality=70)
    return index(folder, tmp_path / "other.parquet")


def test_altered_copies_are_found_and_refused(known: Manifest, other: Manifest) -> None:
    seen, searched = shown_in(other, known)
    assert searched
    assert other.column("source")[seen].tolist() == ["Healthy/zz.jpg"]
    with pytest.raises(ManifestError, match=r"^1 of 7 pictures are among .* \(Healthy/zz\.jpg…\)"):
        check_unseen(other, [known])
    assert check_unseen(other.take(np.flatnonzero(~seen)), [known])


def test_without_the_files_of_the_training_the_same_pixels_are_found(
    known: Manifest, other: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))  # which knows none of them
    gone = dataclasses.replace(known, root=tmp_path / "gone")
    assert check_unseen(other, [gone]) is False  # nobody looked for copies
    again = tmp_path / "again" / "Healthy"
    again.mkdir(parents=True)
    shutil.copy(known.root / known.column("source")[0], again / "a.png")
    with pytest.raises(ManifestError, match="1 of 1 pictures are among those"):
        check_unseen(index(again.parent, tmp_path / "again.parquet"), [gone])


def test_thumbnails_are_those_that_the_index_keeps(known: Manifest) -> None:
    kept = load_thumbnails(known.root.parent / "known.parquet")
    some = np.array([7, 2, 2])
    assert np.array_equal(thumbnails(known), kept)
    assert np.array_equal(thumbnails(known.take(some)), kept[some])
