from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import hypergeom

from clearhead.audits.copies import copies, twin_chance
from clearhead.audits.fix import fix
from clearhead.audits.material import Against, Material
from clearhead.audits.phrases import counted, listed, percent
from clearhead.audits.pictures import KINDS
from clearhead.audits.section import Section
from clearhead.data.contrast import turned
from clearhead.data.copies import copy_report, find_copies
from clearhead.data.index import index
from clearhead.data.manifest import load_thumbnails
from clearhead.data.phantom import phantom
from clearhead.data.split import copies_across, split
from clearhead.types import Finding, Manifest
from materials import CLASSES, material_of, rows_of


def _named(section: Section, check: str) -> list[Finding]:
    return [finding for finding in section.findings if finding.check == check]


def _one(section: Section, check: str) -> Finding:
    (finding,) = _named(section, check)
    return finding


def _figures(section: Section) -> set[str]:
    parts = (section.tables, section.dots, section.shares, section.sheets)
    return {figure.name for part in parts for figure in part}


def _shown(section: Section) -> None:
    """Every finding's figure exists in its section."""
    assert {finding.figure for finding in section.findings} - {None} <= _figures(section)


# --- On tables ------------------------------------------------------------------------------


def test_a_set_without_copies_is_left_in_peace() -> None:
    section = copies(material_of(rows_of(40)))
    assert {finding.level for finding in section.findings} == {"info"}
    assert _one(section, "copies.distinct").value == 1.0
    assert _one(section, "copies.across").value == 0.0
    assert not section.sheets
    _shown(section)


def _repeated() -> Manifest:
    """Rows 0–4 show one picture in all the ways there are; 5 and 6 are one picture of bytes."""
    same = rows_of(20)
    sha256, pixels = same.column("sha256").copy(), same.column("pixel_hash").copy()
    sha256[1], pixels[1] = sha256[0], pixels[0]
    pixels[2] = pixels[0]
    sha256[6], pixels[6] = sha256[5], pixels[5]
    copy = np.arange(20)
    copy[:5], copy[6] = 0, 5
    turn = [0, 0, 0, 0, 1, *[0] * 15]
    label = ["healthy"] * 5 + ["tumour"] * 15
    return rows_of(20, sha256=sha256, pixel_hash=pixels, copy=copy, turn=turn, label=label)


def test_every_file_is_of_one_kind() -> None:
    section = copies(material_of(_repeated()))
    (chart,) = section.shares
    assert dict(chart.rows) == {
        KINDS[0]: (1, 14),
        KINDS[1]: (1, 1),
        KINDS[2]: (1, 0),
        KINDS[3]: (1, 0),
        KINDS[4]: (1, 0),
    }
    distinct = _one(section, "copies.distinct")
    assert (distinct.level, distinct.value) == ("warn", 15 / 20)
    assert "20 files show 15 distinct pictures, 1 in 5 files of healthy" in distinct.message
    assert distinct.sources == tuple(f"{row:06d}.png" for row in (1, 2, 3, 4, 6))
    mirrored = _one(section, "copies.mirrored")
    assert (mirrored.value, mirrored.sources) == (1.0, ("000004.png",))
    assert "mirrored left to right" in mirrored.message
    largest = _one(section, "copies.largest")
    assert largest.value == 5.0
    assert len(largest.sources) == 5
    (sheet,) = section.sheets
    assert [tile.row for tile in sheet.strips[0].tiles] == [0, 3, 4, 1, 2]
    assert sheet.strips[0].tiles[2].caption == "healthy, mirrored left to right"
    _shown(section)


def test_pages_of_one_file_are_no_copies_of_its_bytes() -> None:
    manifest = rows_of(3, sha256=["a"] * 3, source=["v.tif#page=1", "v.tif#page=2", "w.tif"])
    manifest = manifest.with_columns(copy=[0, 0, 1])
    (chart,) = copies(material_of(manifest)).shares
    assert dict(chart.rows)[KINDS[1]] == (0, 0)


def test_rows_that_take_no_part_are_counted_nowhere() -> None:
    manifest = _repeated()
    aside = [None] * 4 + ["junk"] + [None] * 15
    error = [None] * 19 + ["broken"]
    section = copies(material_of(manifest.with_columns(aside=aside, error=error)))
    assert "18 files show 14 distinct" in _one(section, "copies.distinct").message
    assert _one(section, "copies.mirrored").value == 0.0


def test_the_order_of_rows_does_not_matter() -> None:
    manifest = split(_grouped(), protocol="report")
    order = np.random.default_rng(1).permutation(len(manifest))
    first = copies(material_of(manifest)).findings
    assert copies(material_of(manifest.take(order))).findings == first


def test_what_is_counted_agrees_with_the_copy_report() -> None:
    manifest = _grouped()
    report = copy_report(manifest)
    section = copies(material_of(manifest))
    assert _one(section, "copies.distinct").value == report.distinct / report.files
    assert _one(section, "copies.largest").value == report.largest
    assert _one(section, "copies.mirrored").value == report.mirrored


# --- Across the splits ----------------------------------------------------------------------


def _grouped(count: int = 600) -> Manifest:
    """Pictures with one to twenty copies, class by class."""
    random = np.random.default_rng(0)
    copy = np.repeat(np.arange(count), np.minimum(1 + random.pareto(1.2, count), 20).astype(int))
    copy = copy[:count]
    _, first = np.unique(copy, return_index=True)
    turn = random.integers(0, 8, count)
    turn[first] = 0  # the first of its group is what the others are turned against
    label = [CLASSES[number % 2] for number in copy]
    return rows_of(count, copy=copy, turn=turn, label=label)


def test_copies_across_a_random_split_fail_and_are_listed() -> None:
    manifest = split(_grouped(), protocol="report")
    findings = _named(copies(material_of(manifest)), "copies.across")
    assert [finding.level for finding in findings] == ["fail"] * 3
    twins, of = copies_across(manifest)
    assert findings[0].message.startswith(f"{twins} of {of} test files")
    assert findings[0].value == twins / of
    source, copy = manifest.column("source"), manifest.column("copy")
    part = manifest.column("split")
    literal = tuple(
        source[row]
        for row in range(len(manifest))
        if part[row] == "test" and any(copy[part == "train"] == copy[row])
    )
    assert findings[0].sources == literal


def test_copies_kept_on_one_side_do_not_fail() -> None:
    section = copies(material_of(split(_grouped())))
    assert _one(section, "copies.across").level == "info"
    (table,) = [table for table in section.tables if table.name == "copies-across"]
    assert [row[:2] for row in table.rows] == [
        ("test", "train"),
        ("validation", "train"),
        ("test", "validation"),
    ]
    assert {row[4] for row in table.rows} == {0}


def test_one_copy_in_another_part_is_enough() -> None:
    manifest = rows_of(30, split=["train"] * 20 + ["test"] * 10)
    copy = np.arange(30)
    copy[25] = 3
    finding = _one(copies(material_of(manifest.with_columns(copy=copy))), "copies.across")
    assert (finding.level, finding.value) == ("fail", 0.1)
    assert finding.sources == ("000025.png",)


def test_without_a_split_the_chance_of_a_random_one_is_told() -> None:
    manifest = _grouped()
    finding = _one(copies(material_of(manifest)), "copies.across")
    assert finding.level == "warn"
    leaks = [
        twins / of
        for seed in range(30)
        for twins, of in [copies_across(split(manifest, protocol="report", seed=seed))]
    ]
    assert finding.value == pytest.approx(np.mean(leaks), abs=0.008)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=12), st.floats(0, 0.9))
@settings(max_examples=50, deadline=None)
def test_the_chance_of_a_twin_is_hypergeometric(groups: list[int], share: float) -> None:
    sizes = np.repeat(groups, groups)
    train = int(share * len(sizes))
    expected = [1 - hypergeom(len(sizes) - 1, size - 1, train).pmf(0) for size in sizes]
    np.testing.assert_allclose(twin_chance(sizes, train), expected, atol=1e-9)


def test_patients_on_both_sides_fail_though_no_picture_is() -> None:
    patient = ["a", "b", None] * 10
    manifest = rows_of(30, patient=patient, split=["train"] * 20 + ["test"] * 10)
    findings = _named(copies(material_of(manifest)), "copies.across")
    assert [finding.level for finding in findings] == ["info", "fail"]
    assert "2 patients of 2" in findings[1].message
    assert len(findings[1].sources) == 20
    kept = manifest.with_columns(patient=["a"] * 20 + ["b"] * 10)
    assert len(_named(copies(material_of(kept)), "copies.across")) == 1


# --- Contradicting labels -------------------------------------------------------------------


def test_contradicting_labels_fail_and_are_shown() -> None:
    copy = np.arange(40)
    copy[[4, 7, 8]] = 4  # healthy, tumour, healthy
    copy[[10, 12]] = 10  # both healthy
    section = copies(material_of(rows_of(40, copy=copy)))
    finding = _one(section, "copies.contradicting")
    assert (finding.level, finding.value) == ("fail", 1.0)
    assert finding.sources == ("000004.png", "000007.png", "000008.png")
    (sheet,) = [sheet for sheet in section.sheets if sheet.name == finding.figure]
    assert {tile.caption for tile in sheet.strips[0].tiles[:2]} == {"healthy", "tumour"}
    assert sheet.strips[0].label == "2 healthy and 1 tumour"
    _shown(section)


# --- Words ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [
        (0, 10, "0 %"),
        (10, 10, "100 %"),
        (999, 1000, "99.9 %"),
        (99_999, 100_000, "99.9 %"),
        (1, 100_000, "0.1 %"),
        (1, 3, "33 %"),
        (0, 0, "0 %"),
    ],
)
def test_percent_says_none_and_all_only_where_it_is_so(part: int, whole: int, words: str) -> None:
    assert percent(part, whole) == words


def test_counts_and_lists_in_words() -> None:
    assert (counted(1, "file"), counted(2087, "file")) == ("1 file", "2,087 files")
    assert [listed(list("abc"[:count])) for count in range(4)] == ["", "a", "a and b", "a, b and c"]


# --- On pictures ----------------------------------------------------------------------------


def _folder(folder: Path, pictures: dict[str, NDArray[np.uint8]]) -> tuple[Manifest, Path]:
    for name, picture in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / name)
    out = folder.with_suffix(".parquet")
    return index(folder, out, workers=1), out


def _material(folder: Path, pictures: dict[str, NDArray[np.uint8]]) -> Material:
    manifest, out = _folder(folder, pictures)
    thumbnails = load_thumbnails(out)
    return material_of(find_copies(manifest, thumbnails), thumbnails=thumbnails)


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Sequence[NDArray[np.uint8]]:
    folder = phantom(tmp_path_factory.mktemp("heads") / "set", n=16)
    return [np.asarray(Image.open(path)) for path in sorted(folder.rglob("*/*.png"))][:16]


def test_planted_copies_are_found_by_name(
    heads: Sequence[NDArray[np.uint8]], tmp_path: Path
) -> None:
    pictures = {f"healthy/{place}.png": head for place, head in enumerate(heads[:8])}
    pictures |= {f"tumour/{place}.png": head for place, head in enumerate(heads[8:])}
    clean = copies(_material(tmp_path / "clean", pictures))
    assert {finding.level for finding in clean.findings} == {"info"}
    planted = {"healthy/x.jpg": turned(heads[0], 1), "tumour/y.tif": heads[1]}
    section = copies(_material(tmp_path / "planted", pictures | planted))
    assert _one(section, "copies.distinct").sources == ("healthy/x.jpg", "tumour/y.tif")
    assert _one(section, "copies.mirrored").sources == ("healthy/x.jpg",)
    assert _one(section, "copies.contradicting").sources == ("healthy/1.png", "tumour/y.tif")


def _other(material: Material, name: str) -> Against:
    return Against(name, material.manifest, material.thumbnails)


def test_a_set_that_holds_all_of_a_class_is_named(
    heads: Sequence[NDArray[np.uint8]], tmp_path: Path
) -> None:
    ours = {f"healthy/{place}.png": head for place, head in enumerate(heads[:6])}
    ours |= {f"tumour/{place}.png": head for place, head in enumerate(heads[6:12])}
    theirs = {
        f"normal/{place}.jpg": turned(head, place % 8) for place, head in enumerate(heads[:6])
    }
    theirs |= {f"glioma/{place}.jpg": head for place, head in enumerate(heads[12:])}
    here = _material(tmp_path / "ours", ours)
    there = _material(tmp_path / "theirs", theirs)
    apart = _material(tmp_path / "apart", {"normal/0.png": heads[15], "normal/1.png": heads[14]})
    material = Material(
        here.manifest,
        here.thumbnails,
        here.traits,
        (_other(there, "theirs"), _other(apart, "apart")),
    )
    section = copies(material)
    shared, none = _named(section, "copies.against")
    assert (shared.level, none.level) == ("fail", "info")
    assert "it holds 50 % (all 6 of healthy) of the distinct pictures here" in shared.message
    assert "They are 60 % (all 6 of normal) of its own" in shared.message
    assert shared.sources == tuple(f"normal/{place}.jpg" for place in range(6))
    (sheet,) = [sheet for sheet in section.sheets if sheet.name == shared.figure]
    assert len(sheet.strips) == 6
    assert all(strip.tiles[1].against == "theirs" for strip in sheet.strips)
    for strip in sheet.strips:
        ours_name = here.manifest.column("source")[strip.tiles[0].row]
        theirs_name = there.manifest.column("source")[strip.tiles[1].row]
        assert Path(ours_name).stem == Path(theirs_name).stem
    _shown(section)
    for keep in ("one", "all"):
        cleaned = fix(material, keep=keep)
        aside = dict(zip(cleaned.column("source"), cleaned.column("aside"), strict=True))
        for place in range(6):
            assert aside[f"healthy/{place}.png"] == f"theirs holds it too: normal/{place}.jpg"
            assert aside[f"tumour/{place}.png"] is None
        assert cleaned.notes["fix"]["set_aside"] == {"shared": 6}


def test_labels_that_differ_between_two_sets_are_told(
    heads: Sequence[NDArray[np.uint8]], tmp_path: Path
) -> None:
    here = _material(tmp_path / "ours", {"healthy/0.png": heads[0], "tumour/1.png": heads[1]})
    there = _material(tmp_path / "theirs", {"tumour/0.jpg": heads[0], "tumour/1.jpg": heads[1]})
    other = (_other(there, "theirs"),)
    section = copies(Material(here.manifest, here.thumbnails, here.traits, other))
    disputed = [one for one in _named(section, "copies.contradicting") if one.level == "warn"]
    assert [one.sources for one in disputed] == [("healthy/0.png",)]


# --- Real data ------------------------------------------------------------------------------


@pytest.mark.realdata
def test_the_kaggle_set_shows_a_third_as_many_pictures_as_files(
    kaggle: tuple[Manifest, NDArray[np.uint8]],
) -> None:
    manifest, thumbnails = split(kaggle[0], protocol="report"), kaggle[1]
    section = copies(material_of(manifest, thumbnails=thumbnails))
    distinct = _one(section, "copies.distinct")
    assert distinct.value is not None
    assert 1350 <= distinct.value * 4600 <= 1390
    assert _one(section, "copies.largest").value == 83
    leaking = _named(section, "copies.across")[0]
    assert leaking.level == "fail"
    assert leaking.value == pytest.approx(0.73, abs=0.03)
