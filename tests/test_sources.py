from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import chi2_contingency
from scipy.stats.contingency import association
from sklearn.metrics import adjusted_rand_score, homogeneity_score

from clearhead.audits.material import Material
from clearhead.audits.section import Section
from clearhead.audits.sources import collections, cramers_v, sources
from clearhead.data.copies import find_copies
from clearhead.data.index import index
from clearhead.data.manifest import load_thumbnails
from clearhead.data.phantom import phantom
from clearhead.data.split import split
from clearhead.data.traits import PLACES, traits
from clearhead.types import Finding, Manifest
from materials import material_of, rows_of


def _one(section: Section, check: str) -> Finding:
    (finding,) = [finding for finding in section.findings if finding.check == check]
    return finding


def _stitched(
    count: int = 300,
    *,
    mixed: bool = True,
    parts: Sequence[float] = (0.5, 0.3, 0.2),
    **columns: Any,
) -> tuple[Material, NDArray[np.int64]]:
    """Files of three archives: even JPEGs, web JPEGs of all sizes, small TIFFs; and the truth.

    `mixed`: the classes are alike in each; otherwise the first two archives hold one class each.
    """
    random = np.random.default_rng(0)
    truth = np.repeat(np.arange(3), (np.array(parts) * count).astype(int))
    web = random.integers(180, 700, (count, 2))
    label = random.integers(0, 2, count)
    if not mixed:
        label = np.where(truth < 2, truth, label)
    manifest = rows_of(
        count,
        format=np.array(["JPEG", "JPEG", "TIFF"])[truth],
        mode=np.where((truth == 1) & (random.random(count) < 0.2), "RGB", "L"),
        width=np.select([truth == 0, truth == 1], [512, web[:, 0]], 256),
        height=np.select([truth == 0, truth == 1], [512, web[:, 1]], 256),
        label=np.array(["healthy", "tumour"])[label],
        **columns,
    )
    quality = np.select([truth == 0, truth == 1], [92, random.choice([70, 75, 75, 80], count)], 0)
    header = [
        {"quality": value or np.nan, "subsampling": 2 if value else -1, "exif": one == 2}
        for value, one in zip(quality.tolist(), truth, strict=True)
    ]
    border = np.select([truth == 0, truth == 1], [1.0, random.choice([0, 5, 100], count)], 30.0)
    return material_of(manifest, header, border=border, permutations=199), truth


# --- Collections ----------------------------------------------------------------------------


def test_planted_archives_are_recovered_counted_and_named() -> None:
    material, truth = _stitched()
    found = collections(material)
    assert found.dtype == np.int16
    assert (found == truth).all()
    section = sources(material)
    finding = _one(section, "sources.collections")
    assert (finding.level, finding.value) == ("warn", 3.0)
    (table,) = section.tables
    assert [row[1] for row in table.rows] == [
        "JPEG, 512×512, grey, quality 92, 4:2:0",
        "JPEG, about 512 px, grey, assorted qualities, 4:2:0",
        "TIFF, 256×256, grey, EXIF",
    ]
    assert [row[2] for row in table.rows] == [150, 90, 60]


def test_labels_are_not_looked_at() -> None:
    material, _ = _stitched(mixed=False)
    swapped = np.array(["tumour", "healthy"])[material.manifest.labels()]
    other = Material(
        material.manifest.with_columns(label=swapped), material.thumbnails, material.traits
    )
    assert (collections(material) == collections(other)).all()


def test_the_order_of_rows_does_not_matter() -> None:
    material, _ = _stitched()
    order = np.random.default_rng(1).permutation(len(material.manifest))
    moved = Material(material.manifest.take(order), material.thumbnails, material.traits[order])
    assert (collections(moved) == collections(material)[order]).all()


def test_copies_of_one_picture_count_once() -> None:
    """Many copies of few pictures in a format of their own are no collection."""
    copy = np.arange(300)
    copy[240:] = 240 + np.arange(60) % 2
    material, truth = _stitched(copy=copy)
    found = collections(material)
    assert set(found[truth < 2]) == {0, 1}
    assert found.max() == 1


def test_patients_count_once() -> None:
    group = np.arange(300)
    group[240:] = 240
    material, _ = _stitched(group=group)
    assert collections(material).max() == 1


def test_rows_that_take_no_part_make_no_collection_and_get_one() -> None:
    material, truth = _stitched()
    aside = ["junk" if one == 2 else None for one in truth]
    manifest = material.manifest.with_columns(aside=aside, error=["broken", *[None] * 299])
    found = collections(Material(manifest, material.thumbnails, material.traits))
    assert found[0] == -1
    assert found.max() == 1
    assert (found[1:] >= 0).all()
    (table,) = sources(Material(manifest, material.thumbnails, material.traits)).tables
    assert sum(row[2] for row in table.rows if isinstance(row[2], int)) == 239


def test_what_the_manifest_says_is_believed() -> None:
    material, truth = _stitched()
    told = [None if row < 5 else 7 - int(one) for row, one in enumerate(truth)]
    manifest = material.manifest.with_columns(collection=told)
    told_material = Material(manifest, material.thumbnails, material.traits)
    assert collections(told_material).tolist() == [-1 if one is None else one for one in told]
    assert [row[0] for row in sources(told_material).tables[0].rows] == [5, 6, 7]


def test_files_whose_traits_are_unknown_are_placed_by_what_is_known() -> None:
    material, truth = _stitched()
    blank = material.traits.copy()
    blank["seen"][::7] = False
    found = collections(Material(material.manifest, material.thumbnails, blank))
    assert adjusted_rand_score(truth, found) > 0.97


# --- Findings -------------------------------------------------------------------------------


def test_a_collection_that_tells_the_class_is_named() -> None:
    material, _ = _stitched(mixed=False)
    finding = _one(sources(material), "sources.mix")
    assert finding.level == "warn"
    assert finding.value is not None
    assert finding.value > 0.85
    assert finding.interval is not None
    assert finding.interval[0] < finding.value < finding.interval[1]
    assert "100 % of the 90 files of collection 1 · JPEG, about 512 px" in finding.message
    assert "are tumour" in finding.message


def test_collections_of_one_mix_are_left_in_peace() -> None:
    material, _ = _stitched()
    assert _one(sources(material), "sources.mix").level == "info"


def test_chance_is_shuffled_by_group() -> None:
    """Five patients of many slices can't prove what three hundred of one slice each prove."""
    group = np.arange(300) // 60
    label = ["healthy", "tumour", "tumour", "healthy", "tumour"]
    material, _ = _stitched(group=group)
    manifest = material.manifest.with_columns(
        label=[label[one] for one in group], collection=[int(one in (1, 2, 4)) for one in group]
    )
    torn = Material(manifest, material.thumbnails, material.traits, permutations=199)
    assert _one(sources(torn), "sources.mix").level == "info"
    alone = manifest.with_columns(group=np.arange(300))
    proven = Material(alone, material.thumbnails, material.traits, permutations=199)
    assert _one(sources(proven), "sources.mix").level == "warn"


def test_a_split_that_mixes_the_collections_is_told_and_one_that_parts_them_too() -> None:
    material, _ = _stitched()
    assert "Not split" in _one(sources(material), "sources.split").message
    numbered = material.manifest.with_columns(collection=collections(material))

    def finding(manifest: Any) -> Finding:
        return _one(
            sources(Material(manifest, material.thumbnails, material.traits)), "sources.split"
        )

    mixed = finding(split(numbered))
    assert mixed.level == "warn"
    assert "--protocol collection" in mixed.message
    apart = finding(split(numbered, protocol="collection", fold=1))
    assert (apart.level, apart.value) == ("info", 1.0)


def test_every_figure_that_a_finding_names_is_there() -> None:
    material, _ = _stitched(mixed=False)
    section = sources(material)
    names = {figure.name for part in (section.tables, section.shares) for figure in part}
    names |= {sheet.name for sheet in section.sheets}
    assert {finding.figure for finding in section.findings} - {None} <= names
    (sheet,) = section.sheets
    assert [len(strip.tiles) for strip in sheet.strips] == [10, 10, 10]
    found = collections(material)
    for number, strip in enumerate(sheet.strips):
        assert {int(found[tile.row]) for tile in strip.tiles} == {number}


@pytest.mark.parametrize("seed", range(5))
def test_cramers_v_is_that_of_scipy(seed: int) -> None:
    table = np.random.default_rng(seed).integers(1, 60, (4, 2 + seed % 2))
    assert cramers_v(table) == pytest.approx(association(table, method="cramer"))
    assert cramers_v(np.vstack([table, np.zeros(table.shape[1])])) == pytest.approx(
        cramers_v(table)
    )
    assert cramers_v(np.diag([5, 9])) == 1.0
    assert cramers_v(np.array([[3, 4]])) == 0.0


def test_the_p_value_is_near_that_of_the_chi_square_test() -> None:
    random = np.random.default_rng(5)
    number = np.repeat([0, 1], 150)
    label = np.where(random.random(300) < np.where(number, 0.57, 0.43), "tumour", "healthy")
    material = material_of(rows_of(300, collection=number, label=label), permutations=4000)
    message = _one(sources(material), "sources.mix").message
    told = float(message.split(", p ")[1].split(")")[0])
    table = [[(label[number == k] == name).sum() for name in ("healthy", "tumour")] for k in (0, 1)]
    expected = chi2_contingency(np.array(table), correction=True).pvalue
    assert told == pytest.approx(expected, rel=0.3, abs=0.005)


# --- On pictures ----------------------------------------------------------------------------


def _indexed(folder: Path) -> Material:
    out = folder.with_suffix(".parquet")
    manifest = index(folder, out, workers=1)
    thumbnails = load_thumbnails(out)
    manifest = find_copies(manifest, thumbnails)
    return Material(manifest, thumbnails, traits(manifest, workers=1), permutations=199)


def test_generated_heads_are_one_collection_until_some_are_saved_otherwise(tmp_path: Path) -> None:
    folder = phantom(tmp_path / "heads", n=60)
    clean = sources(_indexed(folder))
    assert [finding.level for finding in clean.findings] == ["info"]
    assert _one(clean, "sources.collections").value == 1.0
    pictures = sorted((folder / "Healthy").glob("*.png"))
    for path in pictures[::2]:
        with Image.open(path) as picture:
            picture.resize((400, 400)).save(path.with_suffix(".jpg"), quality=80, dpi=(96, 96))
        path.unlink()
    material = _indexed(folder)
    assert (collections(material) == (material.manifest.column("format") == "JPEG")).all()
    assert _one(sources(material), "sources.mix").level == "warn"


def test_the_border_is_found_among_the_traits() -> None:
    """The names that say what the border shows are another module's."""
    named = [name for name in PLACES["border"] if "mean level" in name and "(1 px)" in name]
    assert len(named) == 4
    truth = np.arange(200) % 2
    material = material_of(rows_of(200), border=np.where(truth, 200.0, 0.5))
    assert collections(material).max() == 0  # one attribute is not enough
    both = material_of(
        rows_of(200, mode=np.where(truth, "RGB", "L")), border=np.where(truth, 200.0, 0.5)
    )
    assert adjusted_rand_score(truth, collections(both)) == 1.0


@pytest.mark.realdata
def test_the_parts_of_the_kaggle_set_are_recovered(
    realdata: Path, kaggle: tuple[Manifest, NDArray[np.uint8]]
) -> None:
    """Every twelfth file, and every third TIFF, of which there are but 86."""
    number, tiff = np.arange(len(kaggle[0])), kaggle[0].column("format") == "TIFF"
    chosen = (number % 12 == 0) | tiff & (number % 3 == 0)
    manifest = kaggle[0].take(chosen)
    material = Material(manifest, kaggle[1][chosen], traits(manifest))
    found = collections(material)
    with (realdata / "kaggle4600_masks" / "masks.csv").open(encoding="utf-8") as file:
        annotators = {Path(row["image"]).name: row["annotator"] for row in csv.DictReader(file)}
    truth = np.array(
        [
            annotators.get(Path(source).name, "") if label != "Healthy" else ""
            for source, label in zip(
                manifest.column("source"), manifest.column("label"), strict=True
            )
        ]
    )
    known = np.isin(truth, ("figshare", "br35h_ann"))
    assert homogeneity_score(truth[known], found[known]) > 0.9
    tiff = manifest.column("format") == "TIFF"
    assert len(set(found[tiff])) == 1
    assert (found[~tiff] != found[tiff][0]).all()
    finding = _one(sources(material), "sources.mix")
    assert finding.level == "warn"
