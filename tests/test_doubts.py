"""Doubtful labels of a cross-validation: planted flips, copies that differ, table and page."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest
from numpy.typing import NDArray
from PIL import Image

from clearhead.audits.crossval import CrossValidation, Fold, Spread
from clearhead.audits.doubts import CONTRADICTED, MIXED, OTHERWISE, Doubts, doubts, seen
from clearhead.deliver.doubts_page import headline, save_doubts, summary
from clearhead.errors import RunError
from clearhead.files import read_json
from clearhead.measure.scores import score, score_repeats
from clearhead.model.classifier import build
from clearhead.model.run import Run, manifest_id, save_weights, write_recipe, write_run
from clearhead.types import Manifest, Recipe
from oracles import disc_picture, manifest_of
from test_doubt import opinions

CLASSES = ("Brain Tumor", "Healthy")
RECIPE = Recipe.preset("compact", size_px=32)
MADE = {"seconds": 1.0, "finished": "2000-01-01T00:00:00+00:00", "epochs": 1}


def rows_of(root: Path, given: NDArray[np.int64], copies: NDArray[np.int64]) -> Manifest:
    names = [f"{number:04d}.png" for number in range(len(given))]
    return manifest_of(
        root,
        CLASSES,
        source=names,
        label=[CLASSES[label] for label in given],
        sha256=names,
        group=copies.tolist(),
        copy=copies.tolist(),
    )


def crossed(
    rows: Manifest, chances: NDArray[np.float64], runs: tuple[Run, ...] = ()
) -> CrossValidation:
    """A cross-validation of two folds with the given probabilities (R, N, K), nothing trained."""
    labels, groups = rows.labels(), rows.groups()
    halves = [np.flatnonzero(groups % 2 == fold) for fold in (0, 1)]
    one = score(labels, chances[0], groups, classes=CLASSES, resamples=0)
    blank = Run(Path("none"), RECIPE, CLASSES, "", MADE)
    folds = tuple(
        Fold(runs[2 * seed + fold] if runs else blank, seed, seed, fold, halves[fold], one)
        for seed in range(len(chances))
        for fold in (0, 1)
    )
    nothing = {"accuracy": Spread.of([])}
    return CrossValidation(
        rows,
        chances,
        folds,
        tuple(f"seed {seed}" for seed in range(len(chances))),
        score_repeats(labels, chances, groups, classes=CLASSES, resamples=100, split="out-of-fold"),
        (one,) * len(chances),
        nothing,
        nothing,
        None,
    )


@pytest.fixture(scope="module")
def planted() -> tuple[Doubts, set[int], CrossValidation]:
    """300 pictures of two files each; 12 have flipped labels, 3 a flipped label on one file."""
    random = np.random.default_rng(5)
    truth = (np.arange(300) % 4 == 0).astype(int)
    copies = np.repeat(np.arange(300), 2)
    base = opinions(truth, random, clarity=10)
    chances = np.stack([opinions(truth[copies], random, clarity=10) for _ in range(3)])
    chances = (chances + base[copies]) / 2
    flipped = set(random.permutation(297)[:12].tolist())
    given = truth[copies]
    for picture in flipped:
        given[copies == picture] = 1 - truth[picture]
    for picture in (297, 298, 299):
        given[2 * picture] = 1 - truth[picture]
    cross = crossed(rows_of(Path("none"), given, copies), chances)
    return doubts(cross), flipped, cross


def test_flipped_pictures_are_found_and_others_are_not(
    planted: tuple[Doubts, set[int], CrossValidation],
) -> None:
    found, flipped, _ = planted
    named = {each.picture for each in found.doubtful if CONTRADICTED in each.rules}
    assert len(named & flipped) >= 11
    assert len(named - flipped) <= 2
    assert found.pictures == 300
    sick, healthy = (found.of_class(name) for name in CLASSES)
    assert len(sick) + len(healthy) == len(named)
    assert all(each.looks == "Healthy" for each in sick)


def test_copies_with_different_labels_are_named_as_such(
    planted: tuple[Doubts, set[int], CrossValidation],
) -> None:
    found = planted[0]
    assert [each.picture for each in found.mixed] == [297, 298, 299]
    assert all(each.rules == (MIXED,) and len(each.labels) == 2 for each in found.mixed)
    assert found.mixed[0].rows == (594, 595)


def test_doubts_are_ranked_and_say_how_many_seeds_are_against(
    planted: tuple[Doubts, set[int], CrossValidation],
) -> None:
    found, _, cross = planted
    sure = [each.self_confidence for each in found.doubtful if CONTRADICTED in each.rules]
    assert sure == sorted(sure)
    first = found.doubtful[0]
    mine = cross.probabilities[:, first.rows].mean(1)
    given = CLASSES.index(first.labels[0])
    assert first.against == int((mine.argmax(1) != given).sum()) == 3
    assert first.self_confidence == pytest.approx(mine.mean(0)[given])


def test_scores_without_the_doubtful_stand_beside_those_with_all(
    planted: tuple[Doubts, set[int], CrossValidation],
) -> None:
    found, _, cross = planted
    assert found.without is not None
    assert found.without.groups == 300 - len(found.doubtful)
    keep = np.ones(600, bool)
    keep[[row for each in found.doubtful for row in each.rows]] = False
    right = (cross.probabilities.argmax(2) == cross.rows.labels())[:, keep]
    assert found.without.per_file.accuracy.value == pytest.approx(right.mean())
    assert found.without.per_group.accuracy.low is not None
    every = (cross.probabilities.argmax(2) == cross.rows.labels()).mean()
    assert found.found.scores.per_file.accuracy.value == pytest.approx(every)
    assert len(cross.rows) == 600  # nothing is dropped from the cross-validation itself


def test_right_labels_leave_nearly_nothing_to_doubt() -> None:
    random = np.random.default_rng(8)
    truth = (np.arange(400) % 4 == 0).astype(int)
    chances = np.stack([opinions(truth, random, clarity=7) for _ in range(3)])
    found = doubts(crossed(rows_of(Path("none"), truth, np.arange(400)), chances))
    assert len(found.doubtful) <= 2
    assert not found.mixed


def test_timid_calls_are_told_apart_from_doubts() -> None:
    """A picture called otherwise with less than the usual conviction is an error, not a doubt."""
    chances = np.array([[0.95, 0.05]] * 9 + [[0.05, 0.95]] * 9 + [[0.45, 0.55], [0.02, 0.98]])
    given = np.array([0] * 9 + [1] * 9 + [0, 0])
    found = doubts(crossed(rows_of(Path("none"), given, np.arange(20)), chances[None]))
    assert [each.picture for each in found.doubtful] == [19]
    assert [(each.picture, each.rules) for each in found.otherwise] == [(18, (OTHERWISE,))]
    assert found.without is not None
    assert found.without.groups == 19


def test_where_all_copies_differ_nothing_can_be_judged() -> None:
    rows = rows_of(Path("none"), np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1]))
    with pytest.raises(RunError, match="every picture has files with different labels"):
        doubts(crossed(rows, np.full((1, 4, 2), 0.5)))


# --- Table and page -------------------------------------------------------------------------


def untrained(folder: Path, manifest: Manifest, seed: int) -> Run:
    """A run whose weights are what the seed drew."""
    import torch

    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    write_recipe(RECIPE, folder)
    run = Run(folder, RECIPE, CLASSES, manifest_id(manifest), MADE)
    save_weights(build(RECIPE, 2), folder / "weights" / "best.safetensors")
    write_run(run)
    return run


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Doubts, Path]:
    """24 pictures on disk, two of them labelled wrongly and one with copies that differ."""
    root = tmp_path_factory.mktemp("doubts")
    random = np.random.default_rng(0)
    truth = np.arange(24) % 2
    copies = np.arange(24)
    copies[22] = copies[20]
    given = truth.copy()
    given[[3, 8]] = 1 - truth[[3, 8]]
    given[22] = 1
    for number, label in enumerate(truth):
        Image.fromarray(disc_picture(64, label == 0, random)).save(root / f"{number:04d}.png")
    rows = rows_of(root, given, copies)
    runs = tuple(untrained(root / "runs" / f"{each}", rows, each) for each in range(4))
    chances = np.stack([opinions(truth, random, clarity=8) for _ in range(2)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEARHEAD_CACHE", str(root / "cache"))
        found = doubts(crossed(rows, chances, runs))
        save_doubts(found, root / "out")
    return found, root


def test_the_table_names_every_file_of_every_doubtful_picture(
    pictured: tuple[Doubts, Path],
) -> None:
    found, root = pictured
    table = pyarrow.csv.read_csv(root / "out" / "doubts.csv").to_pylist()
    every = (*found.doubtful, *found.otherwise)
    assert [line["source"] for line in table] == [
        f"{row:04d}.png" for each in every for row in each.rows
    ]
    assert not found.otherwise
    assert {line["source"] for line in table} == {
        "0003.png",
        "0008.png",
        "0020.png",
        "0022.png",
    }
    for line in table:
        row = int(line["source"][:4])
        chance = found.found.mean_probabilities()[row, CLASSES.index(line["label"])]
        assert line["probability_of_label"] == pytest.approx(chance)
        assert line["rule"] == (MIXED if row >= 20 else CONTRADICTED)
        assert line["seeds"] == 2


def test_the_page_shows_the_pictures_and_both_scores(pictured: tuple[Doubts, Path]) -> None:
    found, root = pictured
    page = (root / "out" / "doubts.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") >= 2 * len(found.doubtful)
    for words in (
        "Labelled Brain Tumor: 1 distinct picture",
        "Copies differ: 1 distinct picture",
        "raises it whoever is right",
        "Without the doubtful ones",
        "0003.png",
    ):
        assert words in page
    assert str(root) not in page
    value = read_json(root / "out" / "doubts.json")
    assert value["doubtful"] == len(found.doubtful) == 3
    assert value["contradicted"] == {"Brain Tumor": 1, "Healthy": 1}
    assert headline(found) == "3 of 23 distinct pictures (13 %) carry a label to look at."
    assert summary(found, root / "page")[-1].startswith("Page:")


def test_the_evidence_shown_is_the_mean_over_those_that_never_saw_the_picture(
    pictured: tuple[Doubts, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from clearhead.heat.evidence import evidence

    found, root = pictured
    monkeypatch.setenv("CLEARHEAD_CACHE", str(root / "cache"))
    rows = np.array([3, 8])
    shown = seen(found.found, rows)
    for place, row in enumerate(rows):
        fold = row % 2
        maps = []
        for seed in (0, 1):
            classifier = found.found.runs[2 * seed + fold].classifier()
            square = torch.from_numpy(shown.squares[place])[None, None]
            maps.append(evidence(classifier, square, target=0, score="margin").maps[0].numpy())
        np.testing.assert_allclose(shown.evidence[place, 0], np.mean(maps, 0), atol=1e-5)


def test_without_doubts_the_page_says_so(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, np.arange(20) % 2, np.arange(20))
    found = doubts(crossed(rows, np.eye(2)[np.arange(20) % 2][None]))
    assert headline(found) == "No label is contradicted."
    page = save_doubts(found, tmp_path / "out")
    assert "No label is contradicted" in page.read_text(encoding="utf-8")
    assert len(pyarrow.csv.read_csv(tmp_path / "out" / "doubts.csv")) == 0
    gone = dataclasses.replace(found, without=None)
    save_doubts(gone, tmp_path / "out")
    assert "a class is gone" in (tmp_path / "out" / "doubts.html").read_text(encoding="utf-8")
