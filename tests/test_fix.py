from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.audits.fix import fix
from clearhead.audits.material import Material
from clearhead.data.manifest import load_manifest, save_manifest
from clearhead.data.split import split
from clearhead.errors import ManifestError
from clearhead.types import Manifest
from materials import CLASSES, material_of, rows_of


def _again(material: Material, manifest: Manifest) -> Material:
    return dataclasses.replace(material, manifest=manifest)


def _kept(manifest: Manifest) -> list[int]:
    return np.flatnonzero(manifest.table.column("aside").is_null().to_numpy()).tolist()


# --- What holds for any set -----------------------------------------------------------------


@st.composite
def _materials(draw: st.DrawFn) -> tuple[Material, dict[int, str]]:
    count = draw(st.integers(1, 30))
    some = st.lists(st.integers(0, 9), min_size=count, max_size=count)
    copy = draw(some)
    odd = np.array(draw(some))
    kind = np.array(draw(some))
    label = [CLASSES[number % 2] for number in copy]
    label = [name if one else "tumour" for name, one in zip(label, odd, strict=True)]
    manifest = rows_of(
        count,
        copy=copy,
        label=[None if one == 1 else name for name, one in zip(label, kind, strict=True)],
        error=["broken" if one == 2 else None for one in kind],
        aside=["earlier" if one == 3 else None for one in kind],
        mask=["m.png" if one == 4 else None for one in kind],
        turn=draw(st.lists(st.integers(0, 7), min_size=count, max_size=count)),
        width=[100 + one for one in draw(some)],
        format=["JPEG" if one % 2 else "PNG" for one in odd],
        split=[("train", "test", None)[one % 3] for one in odd],
    )
    junk = {row: "a hand" for row in range(count) if odd[row] == 9}
    return material_of(manifest, [{"quality": 10.0 * one} for one in odd]), junk


@settings(max_examples=150, deadline=None)
@given(_materials(), st.sampled_from(["one", "all"]))
def test_every_row_is_kept_or_has_a_reason(
    drawn: tuple[Material, dict[int, str]], keep: str
) -> None:
    material, junk = drawn
    before = material.manifest
    fixed = fix(material, keep=keep, junk=junk)
    kept = _kept(fixed)
    copy, label = before.column("copy"), before.column("label")
    aside = fixed.column("aside")
    assert all(reason is None or reason.strip() for reason in aside)
    assert (fixed.usable() == [row in kept for row in range(len(before))]).all()
    # No contradiction is left, and with one file per picture no copy.
    pairs = {(copy[row], label[row]) for row in kept}
    assert len(pairs) == len({number for number, _ in pairs})
    if keep == "one":
        assert len({copy[row] for row in kept}) == len(kept)
    # Nothing is lost: a picture that isn't junk and has one label keeps a file.
    sound = [row for row in np.flatnonzero(before.usable()) if row not in junk]
    for number in {copy[row] for row in sound}:
        labels = {label[row] for row in sound if copy[row] == number}
        left = [row for row in kept if copy[row] == number]
        assert bool(left) == (len(labels) == 1)
    # What was set aside before keeps its reason; nothing else of the rows changes.
    earlier = before.column("aside")
    assert all(aside[row] == reason for row, reason in enumerate(earlier) if reason is not None)
    same = [name for name in before.table.column_names if name not in CHANGED]
    assert fixed.table.select(same).equals(before.table.select(same))
    part, was = fixed.column("split"), before.column("split")
    assert all(part[row] == (was[row] if row in kept else None) for row in range(len(before)))
    assert sum(fixed.notes["fix"]["set_aside"].values()) == len(before) - len(kept)


CHANGED = ("aside", "collection", "split", "fold")


@settings(max_examples=60, deadline=None)
@given(_materials(), st.sampled_from(["one", "all"]))
def test_fixing_twice_changes_nothing(drawn: tuple[Material, dict[int, str]], keep: str) -> None:
    material, junk = drawn
    first = fix(material, keep=keep, junk=junk)
    second = fix(_again(material, first), keep=keep, junk=junk)
    assert second.table.equals(first.table)


def test_the_manifest_given_is_not_touched() -> None:
    material = material_of(rows_of(6, copy=[0, 0, 1, 2, 3, 4]))
    before = material.manifest.table.to_pydict()
    fix(material)
    assert material.manifest.table.to_pydict() == before
    assert "fix" not in material.manifest.notes


# --- Which file stays -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "quality", "best"),
    [
        ({}, [50, 50, 50], 0),
        ({"source": ["c", "a", "b"]}, [50, 50, 50], 1),
        ({}, [50, 60, 70], 2),
        ({"format": ["JPEG", "PNG", "JPEG"]}, [99, np.nan, 100], 1),
        ({"width": [100, 90, 110]}, [99, 98, 50], 2),
        ({"turn": [1, 0, 3], "width": [100, 90, 110]}, [99, 50, 50], 1),
        ({"mask": [None, None, "m"], "turn": [0, 0, 1], "width": [200, 200, 90]}, [99, 99, 9], 2),
        ({"mask": ["m", None, None], "error": ["broken", None, None]}, [99, 9, 8], 1),
    ],
)
def test_the_best_file_of_a_picture_stays(
    columns: dict[str, Any], quality: list[float], best: int
) -> None:
    known: dict[str, Any] = {"copy": [0, 0, 0], "label": ["tumour"] * 3, "format": ["JPEG"] * 3}
    known |= columns
    material = material_of(rows_of(3, **known), [{"quality": value} for value in quality])
    assert _kept(fix(material)) == [best]


def test_reasons_name_the_file_that_stays_and_how_the_copy_differs() -> None:
    hashes = ["p", "p", "p", "q", "r"]
    manifest = rows_of(
        5,
        copy=[0] * 5,
        label=["tumour"] * 5,
        sha256=["a", "a", "b", "c", "d"],
        pixel_hash=hashes,
        turn=[0, 0, 0, 0, 1],
    )
    assert fix(material_of(manifest)).column("aside").tolist() == [
        None,
        "copy of 000000.png, same bytes",
        "copy of 000000.png, same pixels",
        "copy of 000000.png, re-encoded, rescaled, with other contrast or border",
        "copy of 000000.png, mirrored left to right",
    ]


def test_contradicting_labels_are_set_aside_with_all_their_files() -> None:
    manifest = rows_of(
        6, copy=[0, 0, 0, 1, 1, 2], label=["tumour", "healthy", "tumour", *["healthy"] * 3]
    )
    reason = "copies of this picture carry contradicting labels: healthy and tumour"
    fixed = fix(material_of(manifest), keep="all")
    assert fixed.column("aside").tolist() == [reason] * 3 + [None] * 3
    # A file that is junk contradicts nobody.
    fixed = fix(material_of(manifest), keep="all", junk={1: "a chest"})
    assert fixed.column("aside").tolist() == [None, "a chest", None, None, None, None]


def test_notes_count_what_was_set_aside_and_why() -> None:
    manifest = rows_of(
        9,
        copy=[0, 0, 1, 1, 2, 3, 4, 5, 6],
        label=[
            "tumour",
            "healthy",
            "tumour",
            "tumour",
            "healthy",
            "healthy",
            None,
            "tumour",
            "tumour",
        ],
        error=[None] * 7 + ["broken", None],
        aside=[None] * 8 + ["not ours"],
        split=["train"] * 9,
    )
    fixed = fix(material_of(manifest), junk={4: "a hand"})
    assert fixed.notes["fix"]["set_aside"] == {
        "earlier": 1,
        "unreadable": 1,
        "unlabelled": 1,
        "junk": 1,
        "contradicting": 2,
        "copies": 1,
    }
    assert fixed.notes["fix"]["kept"] == 2
    assert "2 rows that stay keep the split" in fixed.notes["fix"]["remarks"][0]
    assert fixed.column("aside")[7] == "can't be read: broken"


# --- The collections ------------------------------------------------------------------------


def _two_collections(tmp: int = 60) -> Material:
    old = np.arange(tmp) < tmp // 2
    manifest = rows_of(
        tmp,
        format=np.where(old, "JPEG", "PNG"),
        width=np.where(old, 512, 240),
        height=np.where(old, 512, 300),
        error=["broken", *[None] * (tmp - 1)],
    )
    return material_of(manifest, [{"quality": 90.0 if one else np.nan} for one in old])


def test_collections_are_written_and_can_be_split_by(tmp_path: Any) -> None:
    fixed = fix(_two_collections())
    save_manifest(fixed, tmp_path / "x.parquet")
    fixed = load_manifest(tmp_path / "x.parquet")
    assert fixed.table.column("collection").to_pylist() == [None] + [1] * 29 + [0] * 30
    divided = split(fixed, protocol="collection", fold=1)
    assert ((divided.column("split") == "test") == (fixed.column("format") == "JPEG"))[1:].all()


def test_collections_that_are_known_stay_as_they_are() -> None:
    material = _two_collections()
    told = material.manifest.with_columns(collection=[0, 1, 2] * 20)
    fixed = fix(_again(material, told))
    assert fixed.table.column("collection").equals(told.table.column("collection"))


# --- What can't be --------------------------------------------------------------------------


def test_impossible_arguments_are_refused() -> None:
    material = material_of(rows_of(4))
    with pytest.raises(ManifestError, match="keep is 'two': expected one or all"):
        fix(material, keep="two")
    with pytest.raises(ManifestError, match="junk names the row 4: expected 0 to 3"):
        fix(material, junk={4: "a hand"})
    with pytest.raises(ManifestError, match="no reason for the row 1"):
        fix(material, junk={1: " "})
