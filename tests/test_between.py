from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from clearhead.data.between import Between, copies_between
from clearhead.data.contrast import TURNS, turned
from clearhead.data.copies import find_copies
from clearhead.data.index import index
from clearhead.data.manifest import load_thumbnails
from clearhead.data.thumbnail import thumbnail
from clearhead.errors import ManifestError
from clearhead.files import sha256
from clearhead.types import Manifest
from oracles import manifest_of

Picture = NDArray[np.uint8]


def _head(seed: int, side: int = 96) -> Picture:
    """An oval with folds of its own within a bright rim, on black."""
    random = np.random.default_rng(seed)
    texture = sum(gaussian_filter(random.normal(size=(side, side)), px) * px for px in (10, 4, 1.5))
    rows, columns = np.mgrid[:side, :side] / side - 0.5
    radius = np.hypot(rows / 0.44, columns / 0.40)
    drawn = (radius < 0.9) * (95 + 26 * texture / np.std(texture)) + 130 * np.exp(
        -np.square((radius - 0.97) / 0.04)
    )
    picture: Picture = np.clip(drawn, 0, 255).astype(np.uint8)
    return picture


def _rows(pictures: Sequence[Picture], name: str) -> tuple[Manifest, NDArray[np.uint8]]:
    manifest = manifest_of(
        Path(name),
        ("healthy", "tumour"),
        source=[f"{name}{place:03d}.png" for place in range(len(pictures))],
        label=["healthy"] * len(pictures),
        pixel_hash=[sha256(picture.tobytes()) for picture in pictures],
        mode=["L"] * len(pictures),
        std=[float(picture.std()) for picture in pictures],
    )
    thumbs = np.stack([thumbnail(picture.astype(np.float32)) for picture in pictures])
    return manifest, thumbs


def _between(first: Sequence[Picture], second: Sequence[Picture]) -> Between:
    return copies_between(*_rows(first, "a"), *_rows(second, "b"))


def _jpeg(picture: Picture) -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=40)
    return np.asarray(Image.open(buffer))


def test_copies_of_every_kind_are_found_between_two_sets() -> None:
    heads = [_head(seed) for seed in range(12)]
    brighter = np.clip(heads[2] * 1.3 + 10, 0, 255).astype(np.uint8)
    small = np.asarray(Image.fromarray(heads[3]).resize((61, 70)))
    other = [_head(99), _jpeg(heads[1]), brighter, small, heads[0], heads[4][:, ::-1]]
    found = _between(heads, other)
    assert found.partner[:5].tolist() == [4, 1, 2, 3, 5]
    assert (found.partner[5:] == -1).all()
    assert found.shared.sum() == 5
    assert found.other_shared.tolist() == [False, True, True, True, True, True]
    assert found.exact.tolist() == [True, *[False] * 11]
    assert found.turn[:5].tolist() == [0, 0, 0, 0, 1]
    assert found.rows_of(1).tolist() == [1]
    assert found.rows_of(11).tolist() == []


@pytest.mark.parametrize("turn", range(TURNS))
@pytest.mark.parametrize("own", [0, 1, 5])
def test_the_turn_maps_a_row_onto_its_partner(turn: int, own: int) -> None:
    head = _head(7)
    # A first copy decides what counts as unturned: it must not matter which.
    first = [_head(1), turned(head, own).copy(), head]
    found = _between(first, [turned(head, turn).copy()])
    for row in (1, 2):
        assert found.partner[row] == 0
        assert (turned(first[row], int(found.turn[row])) == turned(head, turn)).all()


def test_a_partner_in_the_same_turn_is_preferred() -> None:
    head = _head(3)
    found = _between([head], [_jpeg(head[:, ::-1]), _jpeg(head)])
    assert (found.partner[0], found.turn[0]) == (1, 0)
    assert found.rows_of(0).tolist() == [0, 1]


def test_next_slices_are_no_copies() -> None:
    """Anatomy changes slowly from slice to slice, fine texture does not."""
    random = np.random.default_rng(0)
    coarse = gaussian_filter(random.normal(size=(12, 96, 96)), (2.5, 8, 8))
    fine = gaussian_filter(random.normal(size=(12, 96, 96)), (0.6, 1.5, 1.5))
    rim = _head(0).astype(np.float64) > 200
    slices = [
        np.clip(110 + 30 * low / coarse.std() + 20 * high / fine.std() + 100 * rim, 0, 255)
        for low, high in zip(coarse, fine, strict=True)
    ]
    drawn: list[Picture] = [one.astype(np.uint8) for one in slices]
    assert not _between(drawn[::2], drawn[1::2]).shared.any()
    assert _between(drawn[::2], [_jpeg(one) for one in drawn[:4]]).shared.sum() == 2


def test_two_sets_are_searched_as_one_would_be() -> None:
    heads = [_head(seed) for seed in range(20)]
    first, second = heads[:12], [turned(head, 3).copy() for head in heads[6:18]]
    found = _between(first, second)
    whole = find_copies(*_rows([*first, *second], "c")).column("copy")
    together = np.concatenate([found.picture, found.other_picture])
    assert ((together[:, None] == together) == (whole[:, None] == whole)).all()
    assert found.shared.tolist() == np.isin(whole[:12], whole[12:]).tolist()


def test_it_is_the_same_the_other_way_round() -> None:
    heads = [_head(seed) for seed in range(10)]
    mirrored = [head[:, ::-1].copy() for head in heads[4:]]
    there, back = _between(heads, mirrored), _between(mirrored, heads)
    assert there.shared.tolist() == back.other_shared.tolist()
    assert there.other_shared.tolist() == back.shared.tolist()


def test_what_can_not_be_read_is_shared_with_nothing() -> None:
    manifest, thumbs = _rows([_head(1), _head(2)], "a")
    manifest = manifest.with_columns(error=["broken", None])
    found = copies_between(manifest, thumbs, manifest, thumbs)
    assert found.shared.tolist() == [False, True]
    assert found.exact.tolist() == [False, True]


def test_an_empty_other_shares_nothing() -> None:
    manifest, thumbs = _rows([_head(1), _head(2)], "a")
    found = copies_between(manifest, thumbs, manifest.take([]), thumbs[:0])
    assert not found.shared.any()
    assert found.other_shared.shape == (0,)


def test_patients_of_one_name_are_no_copies() -> None:
    first, second = _rows([_head(1)], "a"), _rows([_head(2)], "b")
    named = (first[0].with_columns(patient=["1"]), second[0].with_columns(patient=["1"]))
    assert not copies_between(named[0], first[1], named[1], second[1]).shared.any()


def test_thumbnails_of_another_set_are_refused() -> None:
    manifest, thumbs = _rows([_head(1), _head(2)], "a")
    with pytest.raises(ManifestError, match="expected \\(2, 64, 64\\) uint8"):
        copies_between(manifest, thumbs, manifest, thumbs[:1])


def _indexed(folder: Path, pictures: dict[str, Picture]) -> tuple[Manifest, NDArray[np.uint8]]:
    (folder / "healthy").mkdir(parents=True)
    for name, picture in pictures.items():
        Image.fromarray(picture).save(folder / "healthy" / name)
    out = folder.with_suffix(".parquet")
    return index(folder, out), load_thumbnails(out)


def test_files_of_two_folders_under_any_name_and_format(tmp_path: Path) -> None:
    heads = [_head(seed) for seed in range(6)]
    here = _indexed(tmp_path / "here", {f"{place}.png": head for place, head in enumerate(heads)})
    there = _indexed(
        tmp_path / "there",
        {"0.png": _head(50), "x.jpg": heads[2], "y.tif": heads[5][::-1], "z.bmp": heads[1]},
    )
    found = copies_between(*here, *there)
    partners = {
        Path(here[0].column("source")[row]).name: Path(there[0].column("source")[partner]).name
        for row, partner in enumerate(found.partner)
        if partner >= 0
    }
    assert partners == {"1.png": "z.bmp", "2.png": "x.jpg", "5.png": "y.tif"}


@pytest.mark.realdata
def test_the_external_healthy_set_holds_none_of_the_kaggle_pictures(
    realdata: Path, tmp_path: Path
) -> None:
    """Of every third of ours."""
    for path in sorted((realdata / "meningioma708" / "images").glob("*.jpg"))[::3]:
        (tmp_path / "ours").mkdir(exist_ok=True)
        (tmp_path / "ours" / path.name).symlink_to(path)
    ours = index(tmp_path / "ours", tmp_path / "m.parquet")
    assert len(ours) > 200
    thumbs = load_thumbnails(tmp_path / "m.parquet")
    theirs = index(realdata / "no_tumor_external", tmp_path / "n.parquet")
    found = copies_between(ours, thumbs, theirs, load_thumbnails(tmp_path / "n.parquet"))
    assert not found.shared.any()
