from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.model_selection import KFold, train_test_split

from clearhead.data.copies import copy_groups, copy_report
from clearhead.data.split import copies_across, split
from clearhead.errors import ManifestError
from clearhead.files import sha256
from clearhead.types import SPLITS, Manifest
from oracles import manifest_of

CLASSES = ("healthy", "tumour")


def _rows(
    label: Sequence[str | None], group: NDArray[np.int64] | None, **columns: Sequence[Any]
) -> Manifest:
    count = len(label)
    known: dict[str, Sequence[Any]] = {
        "source": [f"{place:06d}.png" for place in range(count)],
        "label": label,
        "pixel_hash": [sha256(str(place).encode()) for place in range(count)],
    }
    if group is not None:
        known |= {"group": group.tolist(), "copy": group.tolist()}
    return manifest_of(Path(), CLASSES, **{**known, **columns})


@cache
def _like_kaggle() -> Manifest:
    """4600 rows in groups as skewed as those of the real folder: up to 83 files."""
    random = np.random.default_rng(0)
    label: list[str] = []
    group: list[int] = []
    for name, files, tail in (("tumour", 2513, 1.35), ("healthy", 2087, 0.95)):
        while files:
            size = min(int(1 + random.pareto(tail)), 83, files)
            number = group[-1] + 1 if group else 0
            label += [name] * size
            group += [number] * size
            files -= size
    order = random.permutation(4600)
    return _rows(np.array(label, dtype=object)[order].tolist(), np.array(group)[order])


def _sizes(manifest: Manifest) -> dict[str, int]:
    return {part: int((manifest.column("split") == part).sum()) for part in SPLITS}


def _share_by_class(manifest: Manifest, part: str) -> dict[str, float]:
    chosen, label = manifest.column("split") == part, manifest.column("label")
    return {name: float(chosen[label == name].mean()) for name in CLASSES}


# --- Whole groups ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_whole_and_classes_keep_their_shares(seed: int) -> None:
    divided = split(_like_kaggle(), seed=seed)
    sizes, group = _sizes(divided), divided.column("group")
    assert sum(sizes.values()) == 4600
    for number in np.unique(group):
        assert len(set(divided.column("split")[group == number])) == 1
    for part, share in {"train": 0.595, "validation": 0.105, "test": 0.30}.items():
        # 3 files of each class, of 2087 at least
        for value in _share_by_class(divided, part).values():
            assert value == pytest.approx(share, abs=3 / 2087)
        for name in CLASSES:
            of_class = divided.column("label") == name
            held = np.unique(group[of_class & (divided.column("split") == part)])
            assert len(held) / len(np.unique(group[of_class])) == pytest.approx(share, abs=0.03)
    assert copies_across(divided) == (0, sizes["test"])


def test_a_large_group_falls_into_every_part_in_its_turn() -> None:
    group = np.array([0] * 40 + list(range(1, 61)))
    manifest = _rows(["tumour"] * 100, group)
    where = [split(manifest, seed=seed).column("split")[0] for seed in range(100)]
    assert where.count("train") == pytest.approx(59.5, abs=20)
    assert where.count("test") == pytest.approx(30, abs=20)
    assert where.count("validation") == pytest.approx(10.5, abs=10)


def test_another_seed_gives_another_split_and_the_same_seed_the_same() -> None:
    manifest = _like_kaggle()
    assert split(manifest, seed=3).table.equals(split(manifest, seed=3).table)
    first, second = (split(manifest, seed=seed).column("split") for seed in (0, 1))
    assert (first == second).mean() < 0.7


@pytest.mark.parametrize("protocol", ["group", "report"])
@pytest.mark.parametrize("folds", [None, 4])
def test_the_order_of_rows_does_not_matter(protocol: str, folds: int | None) -> None:
    manifest = _like_kaggle()
    order = np.random.default_rng(1).permutation(len(manifest))
    divided = split(manifest, protocol=protocol, folds=folds)
    again = split(manifest.take(order), protocol=protocol, folds=folds)
    assert again.table.equals(divided.table.take(order))


def test_the_numbers_of_groups_do_not_matter() -> None:
    manifest = _like_kaggle()
    renumbered = manifest.with_columns(group=10_000 - manifest.column("group"))
    assert (split(renumbered).column("split") == split(manifest).column("split")).all()


def test_rows_that_are_added_move_few_others() -> None:
    manifest = _like_kaggle()
    fewer = manifest.take(manifest.column("group") % 50 != 7)
    before = dict(zip(fewer.column("source"), split(fewer).column("split"), strict=True))
    after = dict(zip(manifest.column("source"), split(manifest).column("split"), strict=True))
    assert np.mean([after[source] == part for source, part in before.items()]) > 0.6


def test_a_group_of_both_classes_stays_whole() -> None:
    label = ["tumour"] * 30 + ["healthy"] * 30
    group = np.arange(60)
    group[:3] = group[30:32] = 0
    divided = split(_rows(label, group))
    assert len(set(divided.column("split")[group == 0])) == 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=12, max_size=60), st.integers(0, 99), st.booleans())
def test_any_sizes_of_groups_are_dealt_out(sizes: list[int], seed: int, folded: bool) -> None:
    group = np.repeat(np.arange(len(sizes)), sizes)
    label = [CLASSES[number % 2] for number in group]
    divided = split(_rows(label, group), seed=seed, folds=4 if folded else None)
    parts = divided.column("split")
    for name in CLASSES:
        inside = np.array(label) == name
        assert set(parts[inside]) == set(SPLITS)
        if not folded:
            off = (parts[inside] == "test").mean() * inside.sum() - 0.3 * inside.sum()
            assert abs(off) <= 2 * max(sizes)


# --- Folds ----------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["group", "report"])
def test_every_row_is_tested_in_exactly_one_fold(protocol: str) -> None:
    manifest = _like_kaggle()
    divided = [split(manifest, protocol=protocol, folds=5, fold=fold) for fold in range(5)]
    tested = np.stack([part.column("split") == "test" for part in divided])
    assert (tested.sum(axis=0) == 1).all()
    for number, part in enumerate(divided):
        assert (part.column("fold") == divided[0].column("fold")).all()
        assert ((part.column("fold") == number) == tested[number]).all()
        assert _sizes(part) == pytest.approx({"train": 3128, "validation": 552, "test": 920}, abs=6)
        assert part.notes["split"]["folds"] == 5
        assert part.notes["split"]["fold"] == number
        if protocol == "group":
            assert copies_across(part)[0] == copies_across(part, "validation")[0] == 0
            assert _share_by_class(part, "test") == pytest.approx(
                {"healthy": 0.2, "tumour": 0.2}, abs=0.003
            )


def test_without_folds_no_fold_is_recorded() -> None:
    divided = split(_like_kaggle())
    assert divided.table.column("fold").null_count == 4600
    assert divided.notes["split"] == {
        "protocol": "group",
        "seed": 0,
        "test": 0.30,
        "validation": 0.15,
        "folds": None,
        "fold": None,
    }


# --- The report's protocol ------------------------------------------------------------------


def test_report_has_the_reports_sizes_and_draw() -> None:
    manifest = _like_kaggle()
    divided = split(manifest, protocol="report", seed=7)
    assert _sizes(divided) == {"train": 2737, "validation": 483, "test": 1380}
    train, test = train_test_split(np.arange(4600), test_size=0.30, random_state=7)
    assert set(np.flatnonzero(divided.column("split") == "test")) == set(test)
    kept, validation = train_test_split(np.sort(train), test_size=0.15, random_state=7)
    assert set(np.flatnonzero(divided.column("split") == "validation")) == set(validation)
    assert set(np.flatnonzero(divided.column("split") == "train")) == set(kept)


@pytest.mark.parametrize("folds", [2, 3, 10])
def test_report_folds_are_scikit_learns(folds: int) -> None:
    manifest = _like_kaggle()
    expected = KFold(folds, shuffle=True, random_state=1).split(np.arange(4600))
    column = split(manifest, protocol="report", seed=1, folds=folds).column("fold")
    for number, (_, test) in enumerate(expected):
        assert set(np.flatnonzero(column == number)) == set(test)


def test_copies_across_counts_files_as_a_loop_does() -> None:
    divided = split(_like_kaggle(), protocol="report")
    copy, part = divided.column("copy"), divided.column("split")
    train = set(copy[part == "train"])
    expected = sum(number in train for number in copy[part == "test"])
    assert copies_across(divided) == (expected, 1380)
    assert 0 < copies_across(divided, "validation", "test")[0] < 483
    assert copies_across(split(_like_kaggle(), test=0)) == (0, 0)
    with pytest.raises(ManifestError, match="no split is called 'dev'"):
        copies_across(divided, "dev")


def test_report_needs_no_search_for_copies() -> None:
    label = [CLASSES[place % 2] for place in range(40)]
    divided = split(_rows(label, None), protocol="report")
    assert _sizes(divided) == {"train": 23, "validation": 5, "test": 12}
    with pytest.raises(ManifestError, match="not searched"):
        copies_across(divided)


# --- What is left out, and errors -----------------------------------------------------------


@pytest.mark.parametrize("protocol", ["group", "report"])
@pytest.mark.parametrize("folds", [None, 3])
def test_rows_without_label_or_picture_belong_to_no_split(protocol: str, folds: int | None) -> None:
    label = [CLASSES[place % 2] if place % 5 else None for place in range(100)]
    error = ["broken" if place % 7 == 0 else None for place in range(100)]
    divided = split(_rows(label, np.arange(100), error=error), protocol=protocol, folds=folds)
    out = np.array([a is None or b is not None for a, b in zip(label, error, strict=True)])
    assert (divided.column("split")[out] == None).all()  # noqa: E711  elementwise on objects
    assert set(divided.column("split")[~out]) == set(SPLITS)
    fold = divided.column("fold").astype(float)
    assert np.isnan(fold[out]).all()
    assert np.isnan(fold[~out]).any() == (folds is None)


def test_no_validation_or_no_test_may_be_asked_for() -> None:
    for protocol in ("group", "report"):
        assert _sizes(split(_like_kaggle(), protocol=protocol, validation=0)) == {
            "train": 3220,
            "validation": 0,
            "test": 1380,
        }
        assert _sizes(split(_like_kaggle(), protocol=protocol, test=0))["test"] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"protocol": "random"}, "expected group, report, collection"),
        ({"test": 1.0}, "test is 1.0"),
        ({"validation": -0.1}, "validation is -0.1"),
        ({"test": float("nan")}, "test is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"folds": 1}, "folds is 1"),
        ({"folds": 500}, "folds is 500"),
        ({"fold": 1}, "no folds"),
        ({"folds": 3, "fold": 3}, "from 0 to 2"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ManifestError, match=says):
        split(_like_kaggle(), **arguments)


def test_a_class_of_too_few_groups_is_named() -> None:
    label = ["tumour"] * 40 + ["healthy"] * 20
    group = np.arange(60)
    group[40:] = 40  # all healthy files show one picture
    with pytest.raises(ManifestError, match="class 'healthy' has 1 group\\(s\\)"):
        split(_rows(label, group))
    group[40:50] = 41
    with pytest.raises(ManifestError, match="class 'healthy' has 2 group\\(s\\)"):
        split(_rows(label, group))
    group[40:45] = 42
    assert set(split(_rows(label, group)).column("split")[40:]) == set(SPLITS)


def test_no_usable_rows_and_too_few_rows_are_errors() -> None:
    for protocol in ("group", "report"):
        with pytest.raises(ManifestError, match="no row"):
            split(_rows([None] * 5, np.arange(5)), protocol=protocol)
        with pytest.raises(ManifestError):
            split(_rows(["tumour", "healthy"], np.arange(2)), protocol=protocol)


def test_groups_need_a_search_for_copies() -> None:
    with pytest.raises(ManifestError, match="not searched"):
        split(_rows(["tumour"] * 9 + ["healthy"] * 9, None))


# --- The real images ------------------------------------------------------------------------


@pytest.mark.realdata
def test_copies_of_the_kaggle_folder(kaggle: tuple[Manifest, NDArray[np.uint8]]) -> None:
    """Other measurements of the same folder, borders and all: 1400 pictures or more, 83 files of
    the largest. By eye: seven pictures are in both classes, as a TIFF file cut off around the head
    with a tumour and, whole, among the healthy ones.
    """
    manifest, _ = kaggle
    report = copy_report(manifest)
    assert (report.files, report.unreadable) == (4600, 0)
    assert 1350 <= report.distinct <= 1390
    assert 1800 <= report.mirrored <= 2100
    assert report.contradicting == 7
    assert 75 <= report.largest <= 90
    sources = {
        tuple(Path(source).name for source in group.sources) for group in copy_groups(manifest)
    }
    assert any({"Not Cancer  (1).png", "Not Cancer  (977).jpg"} <= set(names) for names in sources)
    assert any({"Cancer (18).tif", "Not Cancer  (554).jpg"} <= set(names) for names in sources)
    disputed = [group for group in copy_groups(manifest) if group.contradicting]
    assert all(
        [
            Path(source).suffix
            for source, label in zip(group.sources, group.labels, strict=True)
            if label == "Brain Tumor"
        ]
        == [".tif"]
        for group in disputed
    )


@pytest.mark.realdata
def test_splits_of_the_kaggle_folder(kaggle: tuple[Manifest, NDArray[np.uint8]]) -> None:
    manifest, _ = kaggle
    plain = split(manifest, protocol="report")
    assert _sizes(plain) == {"train": 2737, "validation": 483, "test": 1380}
    twins, tested = copies_across(plain)
    assert 0.68 <= twins / tested <= 0.80  # about 75 % by another measurement
    honest = split(manifest)
    assert _sizes(honest) == pytest.approx({"train": 2737, "validation": 483, "test": 1380}, abs=6)
    assert copies_across(honest)[0] == 0


# --- One collection left out ----------------------------------------------------------------


def _collected() -> Manifest:
    """Like the real folder, in four collections; every ninth group has a picture in two."""
    manifest = _like_kaggle()
    group = manifest.column("group")
    collection = group % 4
    collection[(group % 9 == 0) & (np.arange(len(group)) % 3 == 0)] = 1
    return manifest.with_columns(collection=collection)


@pytest.mark.parametrize("fold", range(4))
def test_the_tested_collection_takes_its_whole_groups_along(fold: int) -> None:
    divided = split(_collected(), protocol="collection", fold=fold)
    group, part = divided.column("group"), divided.column("split")
    inside = divided.column("collection") == fold
    tested = set(group[inside].tolist())
    expected = np.array([number in tested for number in group.tolist()])
    assert ((part == "test") == expected).all()
    assert (expected & ~inside).any()
    for number in np.unique(group):
        assert len(set(part[group == number])) == 1
    rest = ~expected
    assert (part[rest] == "validation").mean() == pytest.approx(0.15, abs=0.01)
    assert (divided.column("fold") == divided.column("collection")).all()
    note = divided.notes["split"]
    assert (note["protocol"], note["fold"], note["folds"]) == ("collection", fold, 4)
    assert f"{(expected & ~inside).sum()} test files are of other collections" in note["remarks"][0]


def test_a_split_by_collection_depends_on_seed_and_pictures_alone() -> None:
    manifest = _collected()
    order = np.random.default_rng(1).permutation(len(manifest))
    divided = split(manifest, protocol="collection", fold=2)
    again = split(manifest.take(order), protocol="collection", fold=2)
    assert again.table.equals(divided.table.take(order))
    other = split(manifest, protocol="collection", fold=2, seed=1)
    assert (other.column("split") != divided.column("split")).any()
    assert ((other.column("split") == "test") == (divided.column("split") == "test")).all()


def test_a_collection_of_one_class_may_be_the_test_and_says_so() -> None:
    label = ["tumour", "healthy"] * 50 + ["tumour"] * 20
    manifest = _rows(label, np.arange(120), collection=[0] * 100 + [1] * 20)
    divided = split(manifest, protocol="collection", fold=1)
    assert _sizes(divided)["test"] == 20
    assert "the test holds 'tumour' alone" in divided.notes["split"]["remarks"][0]


def test_rows_that_take_no_part_need_no_collection() -> None:
    manifest = _rows(
        ["tumour", "healthy"] * 20,
        np.arange(40),
        collection=[None, *[0] * 19, *[1] * 20],
        error=["broken", *[None] * 39],
    )
    divided = split(manifest, protocol="collection", fold=0)
    assert divided.column("split")[0] is None
    assert _sizes(divided)["test"] == 19


@pytest.mark.parametrize(
    ("collection", "arguments", "says"),
    [
        ([None] * 40, {}, "40 of 40 rows have no collection"),
        ([0] * 39 + [None], {}, "1 of 40 rows have no collection"),
        ([0] * 20 + [3] * 20, {"fold": 1}, "no row belongs to the collection 1: expected 0, 3"),
        ([0] * 40, {}, "nothing is left to train on"),
        ([0] * 20 + [200] * 20, {}, "expected at most 127"),
        ([0, 1] * 20, {"fold": 0}, "only 'healthy' is left to train on"),
        ([0] * 20 + [1] * 20, {"folds": 2}, "leave it out"),
        ([0] * 20 + [1] * 20, {"fold": -1}, "fold is -1"),
    ],
)
def test_impossible_collections_are_refused(
    collection: list[int | None], arguments: dict[str, Any], says: str
) -> None:
    manifest = _rows(["tumour", "healthy"] * 20, np.arange(40), collection=collection)
    with pytest.raises(ManifestError, match=says):
        split(manifest, protocol="collection", **arguments)


def test_a_split_by_collection_needs_a_search_for_copies() -> None:
    manifest = _rows(["tumour", "healthy"] * 20, None, collection=[0] * 20 + [1] * 20)
    with pytest.raises(ManifestError, match="not searched"):
        split(manifest, protocol="collection")
