"""Cross-validation: every group tested once, pooled as a literal version pools, resumable."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pytest
from click.testing import CliRunner
from sklearn import metrics

from clearhead.app.cli import cli
from clearhead.audits import crossval as module
from clearhead.audits import said as said_module
from clearhead.audits.crossval import CrossValidation, Spread, crossval, pool, runs_of
from clearhead.audits.said import said
from clearhead.data.cache import picture_key
from clearhead.data.canvas import on_square
from clearhead.data.copies import find_copies
from clearhead.data.drawn import drawn
from clearhead.data.index import index
from clearhead.data.manifest import load_thumbnails, save_manifest
from clearhead.data.phantom import phantom
from clearhead.deliver.crossval_page import render_crossval, save_crossval
from clearhead.errors import ManifestError, RunError
from clearhead.files import read_json, write_json
from clearhead.heat.evidence import evidence
from clearhead.measure.groupwise import mean_of_repeats
from clearhead.measure.scores import score, score_repeats
from clearhead.model import folds as folds_module
from clearhead.model.evaluate import load_predictions, predict
from clearhead.model.run import open_run
from clearhead.model.stopping import Interrupted
from clearhead.types import Manifest, Recipe
from oracles import manifest_of

RECIPE = Recipe.preset("compact", size_px=64, epochs=2, batch=16)
FOLDS, SEEDS = 3, 2


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("crossval")


@pytest.fixture(autouse=True)
def _one_cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARHEAD_CACHE", str(home / "cache"))


def heads_in(folder: Path, n: int, seed: int) -> Manifest:
    """Generated heads; the first two pictures of a class make a group, the others one each."""
    phantom(folder, n=n, seed=seed, size_px=96)
    manifest = index(folder, folder.with_suffix(".parquet"))
    manifest = find_copies(manifest, load_thumbnails(folder.with_suffix(".parquet")))
    groups = manifest.groups().copy()
    labels = manifest.labels()
    for label in np.unique(labels):
        first, second = np.flatnonzero(labels == label)[:2]
        groups[second] = groups[first]
    return manifest.with_columns(group=groups)


@pytest.fixture(scope="module")
def heads(home: Path) -> Manifest:
    return heads_in(home / "heads", 42, 5)


@pytest.fixture(scope="module")
def other(home: Path) -> Manifest:
    return heads_in(home / "other", 10, 99)


@pytest.fixture(scope="module")
def cv(home: Path, heads: Manifest, other: Manifest) -> CrossValidation:
    """Three folds of two seeds on generated heads, in `home/cv`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEARHEAD_CACHE", str(home / "cache"))
        found = crossval(
            heads,
            RECIPE,
            home / "cv",
            folds=FOLDS,
            seeds=SEEDS,
            also={"other": other},
            resamples=100,
        )
        save_crossval(found, home / "cv")
    return found


def test_the_cache_holds_no_copy_of_the_set_for_every_fold(cv: CrossValidation, home: Path) -> None:
    kept = {path.stem for path in (home / "cache" / "pictures").iterdir()}
    for run in cv.runs:
        parts = {
            split: picture_key(run.manifest().part(split), RECIPE.fit, RECIPE.size_px) in kept
            for split in ("train", "validation", "test")
        }
        assert parts == {"train": False, "validation": True, "test": True}


def copied(home: Path, to: Path) -> list[Path]:
    """The runs alone, as they come from another machine."""
    folders = sorted((home / "cv").glob("seed*-fold*"))
    return [Path(shutil.copytree(folder, to / folder.name)) for folder in folders]


# --- What is tested -------------------------------------------------------------------------


def test_every_group_is_tested_once_per_seed_and_never_trained_on_then(
    cv: CrossValidation, heads: Manifest
) -> None:
    assert [fold.run.folder.name for fold in cv.folds] == [
        f"seed{seed}-fold{fold}" for seed in range(SEEDS) for fold in range(FOLDS)
    ]
    for start in range(0, len(cv.folds), FOLDS):
        tested: list[int] = []
        for run in cv.runs[start : start + FOLDS]:
            manifest = run.manifest()
            groups = set(manifest.part("test").groups().tolist())
            tested += groups
            for learnt in ("train", "validation"):
                assert not groups & set(manifest.part(learnt).groups().tolist())
        assert sorted(tested) == sorted(set(heads.groups().tolist()))
    assert np.isfinite(cv.probabilities).all()


def test_seeds_draw_their_own_folds_and_train_with_their_own_seed(cv: CrossValidation) -> None:
    assert [run.recipe.seed for run in cv.runs] == [0] * FOLDS + [1] * FOLDS
    places = cv.places()
    assert (places[0] < FOLDS).all()
    assert (places[1] >= FOLDS).all()
    assert (places[0] != places[1] - FOLDS).any()


# --- What is pooled -------------------------------------------------------------------------


def test_pooled_scores_are_scikit_learns_on_the_concatenated_predictions(
    cv: CrossValidation,
) -> None:
    accuracies, areas = [], []
    for start in range(0, len(cv.runs), FOLDS):
        tables = [load_predictions(run).to_pylist() for run in cv.runs[start : start + FOLDS]]
        lines = [line for table in tables for line in table]
        sizes = {line["group"]: 0 for line in lines}
        for line in lines:
            sizes[line["group"]] += 1
        weights = [1 / sizes[line["group"]] for line in lines]
        truth = [line["label"] for line in lines]
        call = [line["call"] for line in lines]
        chance = [line[f"probability {cv.positive}"] for line in lines]
        accuracies.append(metrics.accuracy_score(truth, call, sample_weight=weights))
        areas.append(
            metrics.roc_auc_score(
                [name == cv.positive for name in truth], chance, sample_weight=weights
            )
        )
        per_file = metrics.accuracy_score(truth, call)
        mine = cv.each[start // FOLDS]
        assert mine.per_group.accuracy.value == pytest.approx(accuracies[-1])
        assert mine.per_group.roc_auc.value == pytest.approx(areas[-1], abs=1e-6)
        assert mine.per_file.accuracy.value == pytest.approx(per_file)
    assert cv.scores.per_group.accuracy.value == pytest.approx(np.mean(accuracies))
    assert cv.scores.per_group.roc_auc.value == pytest.approx(np.mean(areas), abs=1e-6)
    assert cv.over_seeds["accuracy"].least == pytest.approx(min(accuracies))
    assert cv.scores.groups == len(set(cv.rows.groups().tolist()))


def test_folds_are_told_beside_the_pool(cv: CrossValidation) -> None:
    own = []
    for fold in cv.folds:
        table = load_predictions(fold.run)
        right = np.array(table["label"].to_pylist()) == np.array(table["call"].to_pylist())
        _, place = np.unique(table["group"].to_numpy(), return_inverse=True)
        means = np.bincount(place, right) / np.bincount(place)
        own.append(means.mean())
        assert fold.scores.per_group.accuracy.value == pytest.approx(means.mean())
    assert cv.over_folds["accuracy"].mean == pytest.approx(np.mean(own))
    assert cv.over_folds["accuracy"].deviation == pytest.approx(np.std(own, ddof=1))


def test_the_score_to_beat_is_pooled_too(cv: CrossValidation) -> None:
    known = cv.scores.baseline
    assert known is not None
    always = np.bincount(cv.rows.labels()).max() / len(cv.rows)
    assert known.majority_per_file.value == pytest.approx(always, abs=0.2)
    assert cv.scores.copies_in_training == (0, SEEDS * len(cv.rows))


def test_repeating_the_same_classifier_changes_neither_score_nor_interval() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 60)
    chances = random.dirichlet((1, 1), 60)
    groups = np.arange(60) // 2
    one = score(labels, chances, groups, classes=("tumour", "healthy"), resamples=200)
    three = score_repeats(
        labels, np.stack([chances] * 3), groups, classes=("tumour", "healthy"), resamples=200
    )
    assert three.per_group.accuracy.low == pytest.approx(one.per_group.accuracy.low)
    assert three.per_group.accuracy.high == pytest.approx(one.per_group.accuracy.high)
    assert three.per_file.roc_auc.high == pytest.approx(one.per_file.roc_auc.high)
    np.testing.assert_allclose(three.per_group.confusion, one.per_group.confusion)


def test_the_interval_is_one_over_groups_with_seeds_averaged_in_each() -> None:
    """A slow literal version: draw groups, average each group's seeds and files, take the mean."""
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, 40)
    tables = random.dirichlet((1, 1), (3, 40))
    groups = random.integers(0, 15, 40)
    found = score_repeats(
        labels, tables, groups, classes=("tumour", "healthy"), resamples=300, seed=7
    )
    right = (tables.argmax(2) == labels).mean(0)
    names = np.unique(groups)
    each = np.array([right[groups == name].mean() for name in names])
    picks = np.random.default_rng(7).integers(0, len(names), (300, len(names)), dtype=np.int64)
    low, high = np.quantile(each[picks].mean(1), (0.025, 0.975))
    accuracy = found.per_group.accuracy
    assert accuracy.value == pytest.approx(each.mean())
    assert accuracy.low == pytest.approx(low)
    assert accuracy.high == pytest.approx(high)


def test_a_group_counts_once_however_many_seeds_speak_of_it() -> None:
    first = (np.array([1.0, 0.0, np.nan]), np.array([0, 1, 2]))
    second = (np.array([0.0, np.nan, 1.0, 0.5]), np.array([0, 1, 2, 2]))
    found = mean_of_repeats([first, second], resamples=50)
    assert found.value == pytest.approx((0.5 + 0.0 + 0.75) / 3)
    assert mean_of_repeats([], resamples=50).value is None


def test_a_spread_of_nothing_is_none() -> None:
    assert Spread.of([None]) == Spread(None, None, None, None)
    assert Spread.of([0.5, None]) == Spread(0.5, None, 0.5, 0.5)
    assert Spread.of([0.2, 0.4]).deviation == pytest.approx(np.sqrt(0.02))


# --- Where the heat lies --------------------------------------------------------------------


def test_what_a_run_says_is_what_a_literal_version_finds(cv: CrossValidation) -> None:
    run = cv.runs[1]
    rows = run.manifest().part("test")
    told = said(run, rows, "again")
    np.testing.assert_allclose(told.probabilities, predict(run, rows)[1], atol=1e-6)
    truth = drawn(rows, fit=RECIPE.fit, size_px=RECIPE.size_px)
    classifier = run.classifier()
    from clearhead.data.cache import pictures

    squares = pictures(rows, fit=RECIPE.fit, size_px=RECIPE.size_px)
    import torch

    for row in range(len(rows)):
        if rows.column("mask")[row] is None:
            assert np.isnan(told.pointing["heat"][row])
            continue
        one = torch.from_numpy(squares[row])[None, None]
        found = evidence(classifier, one, target=0, score="margin")
        heat = on_square(np.maximum(found.maps.numpy(), 0), found.grid, RECIPE.size_px)[0]
        mask = truth.masks[row]
        if heat.max() > 0:
            share = heat[mask].sum() / heat.sum()
            assert told.inside["heat"][row] == pytest.approx(share, abs=1e-5)
            hit = mask.flat[heat.argmax()]
            assert abs(told.pointing["heat"][row] - hit) < 1
        else:
            assert told.pointing["heat"][row] == 0
        assert told.inside["uniform"][row] == pytest.approx(mask.mean(), abs=1e-6)


def test_what_was_said_is_found_anew_where_weights_or_labels_change(
    cv: CrossValidation, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(home, tmp_path)[0]
    run = open_run(folder)
    rows = run.manifest().part("test")
    before = said(run, rows, "test")
    monkeypatch.setattr(said_module, "_find", None)  # it would be called in vain
    np.testing.assert_array_equal(said(run, rows, "test").probabilities, before.probabilities)
    with pytest.raises(TypeError):
        said(run, rows.take(np.arange(len(rows) - 1)), "test")
    shutil.copy(folder / "weights" / "best.safetensors", folder / "weights" / "kept")
    shutil.copy(
        home / "cv" / "seed0-fold1" / "weights" / "best.safetensors",
        folder / "weights" / "best.safetensors",
    )
    with pytest.raises(TypeError):
        said(run, rows, "test")
    shutil.copy(folder / "weights" / "kept", folder / "weights" / "best.safetensors")
    (folder / "evaluation" / "test" / "said.npz").write_bytes(b"PK broken")
    with pytest.raises(TypeError):
        said(run, rows, "test")


def test_located_counts_called_tumours_by_group_and_seed() -> None:
    """Two seeds, three groups: hits of called masked tumours, by hand."""
    labels = np.array([0, 0, 0, 0, 1, 0])
    groups = np.array([7, 7, 8, 9, 10, 11])
    nan = np.nan
    hits = np.array([[1, 0, 1, 1, nan, nan], [1, 1, 0, 1, nan, nan]], float)
    calls = np.array([[0, 0, 0, 1, 1, 0], [0, 1, 0, 1, 0, 0]])

    def found(seed: int) -> module._Found:
        none = np.where(np.isnan(hits[seed]), nan, 0.0)
        measured = {
            (measure, maker): hits[seed] if maker == "heat" else none
            for measure in module.MEASURES
            for maker in ("heat", *said_module.BESIDE)
        }
        return module._Found(calls[seed], measured, labels, groups, 0)

    located = module._located([found(0), found(1)], 50)
    assert located is not None
    # Group 7: half, then all; group 8: hit, then missed; group 9 is never called.
    assert located.pointing.value == pytest.approx(((0.5 + 1) / 2 + (1 + 0) / 2) / 2)
    assert (located.pictures, located.groups) == (3, 2)
    assert located.pointing_spread.least == pytest.approx((1 + 0) / 2)
    assert located.pointing_spread.largest == pytest.approx((0.5 + 1) / 2)
    assert located.best_pointing[1].value == 0
    blind = dataclasses.replace(found(0), calls=np.ones(6, int))
    nothing = module._located([blind], 50)
    assert nothing is not None
    assert nothing.pointing.value is None


# --- Other sets -----------------------------------------------------------------------------


def test_a_set_that_nothing_was_trained_on_is_scored_by_every_run(
    cv: CrossValidation, other: Manifest
) -> None:
    (found,) = cv.elsewhere
    rows = other.take(other.usable())
    right = [predict(run, rows)[1].argmax(1) == rows.labels() for run in cv.runs]
    groups = rows.groups()
    each = [np.mean(right, 0)[groups == name].mean() for name in np.unique(groups)]
    assert found.scores.per_group.accuracy.value == pytest.approx(np.mean(each))
    assert found.spread["accuracy"].largest is not None
    assert found.in_training == 0


def test_a_set_that_was_trained_on_is_named(cv: CrossValidation, heads: Manifest) -> None:
    found = pool(cv.runs, also={"twice": heads.take(np.arange(5))}, resamples=20)
    assert found.elsewhere[0].in_training == 5
    assert "5 files of twice show pictures of the folds" in render_crossval(found)


def test_labels_of_other_sets_are_named_once_for_all(cv: CrossValidation, other: Manifest) -> None:
    renamed = dataclasses.replace(
        other.with_columns(
            label=["lesion" if label == "Brain Tumor" else label for label in other.column("label")]
        ),
        classes=("lesion", "Healthy"),
    )
    sets = {"renamed": renamed, "other": other}
    found = pool(cv.runs, also=sets, named={"lesion": "Brain Tumor"}, resamples=20)
    one, two = (each.scores.per_group.accuracy.value for each in found.elsewhere)
    assert one == two
    with pytest.raises(ManifestError, match="no other set has the label 'leison'"):
        pool(cv.runs, also=sets, named={"leison": "Brain Tumor"})
    with pytest.raises(ManifestError, match="pictures labelled 'lesion'"):
        pool(cv.runs, also=sets)
    with pytest.raises(ManifestError, match="a set is called 'test'"):
        pool(cv.runs, also={"test": other})


# --- Once, and on where it stopped ----------------------------------------------------------


def test_a_rerun_trains_nothing_and_says_the_same(
    cv: CrossValidation,
    home: Path,
    heads: Manifest,
    other: Manifest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ("crossval.json", "crossval.html", "predictions.csv")
    before = {name: (home / "cv" / name).read_bytes() for name in names}
    for name in ("train", "resume", "evaluate"):
        monkeypatch.setattr(folds_module, name, None)
    monkeypatch.setattr(said_module, "_find", None)
    again = crossval(
        heads, RECIPE, home / "cv", folds=FOLDS, seeds=SEEDS, also={"other": other}, resamples=100
    )
    save_crossval(again, home / "cv")
    assert {name: (home / "cv" / name).read_bytes() for name in names} == before


def test_an_interrupted_training_goes_on_and_the_done_ones_stay(
    cv: CrossValidation, home: Path, heads: Manifest, tmp_path: Path
) -> None:
    """Stopped in the second run of three: what comes out equals never having stopped."""
    seen: list[str] = []

    class Stop:
        """A progress at which somebody presses Ctrl-C, in the second epoch of the second run."""

        def __init__(
            self, items: Iterable[Any], *, total: int | None = None, label: str = ""
        ) -> None:
            self.items, self.label = items, label

        def __iter__(self) -> Iterator[Any]:
            seen.append(self.label)
            if self.label == "seed0-fold1 epoch 2/2":
                os.kill(os.getpid(), signal.SIGINT)
            yield from self.items

        def note(self, text: str) -> None:
            return None

    with pytest.raises(Interrupted, match="the same command goes on"):
        crossval(heads, RECIPE, tmp_path, folds=FOLDS, seeds=1, progress=Stop)
    assert (tmp_path / "seed0-fold0" / "run.json").exists()
    assert (tmp_path / "seed0-fold1" / "state.pt").exists()
    assert not (tmp_path / "seed0-fold2").exists()
    assert not (tmp_path / "crossval.json").exists()
    found = crossval(heads, RECIPE, tmp_path, folds=FOLDS, seeds=1, resamples=20)
    np.testing.assert_array_equal(found.probabilities[0], cv.probabilities[0])


def test_a_training_that_was_killed_before_it_began_begins(
    cv: CrossValidation, home: Path, heads: Manifest, tmp_path: Path
) -> None:
    folders = copied(home, tmp_path)
    shutil.rmtree(folders[2])
    folders[2].mkdir()
    shutil.copy(folders[1] / "recipe.json", folders[2])
    found = crossval(heads, RECIPE, tmp_path, folds=FOLDS, seeds=1, resamples=20)
    np.testing.assert_array_equal(found.probabilities[0], cv.probabilities[0])


def test_side_by_side_ctrl_c_saves_and_the_same_command_goes_on(
    heads: Manifest, tmp_path: Path
) -> None:
    """Two processes as a user starts them; Ctrl-C once, then the same command again."""
    save_manifest(heads, tmp_path / "heads.parquet")
    flags = ["--folds", str(FOLDS), "--seeds", "1", "--size-px", "64", "--batch", "16"]
    words = ["crossval", "heads.parquet", "cv", *flags, "--epochs", "2", "--jobs", "2", "--json"]
    command = [sys.executable, "-m", "clearhead", *words, "--quiet", "--resamples", "20"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=pipe, stderr=pipe, text=True
    )
    deadline = time.monotonic() + 600
    while process.poll() is None and time.monotonic() < deadline:
        if list(tmp_path.glob("cv/*/state.pt")):
            process.send_signal(signal.SIGINT)
            break
        time.sleep(0.05)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 130, errors
    assert errors.strip() == "clearhead: stopped: the same command goes on where it was"
    assert not (tmp_path / "cv" / "crossval.json").exists()
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [run["run"] for run in told["runs"]] == [f"seed0-fold{fold}" for fold in range(FOLDS)]
    assert all(open_run(tmp_path / "cv" / run["run"]).made["threads"] == 1 for run in told["runs"])


def test_a_failing_process_is_one_line(heads: Manifest, tmp_path: Path) -> None:
    steep = dataclasses.replace(RECIPE, learning_rate=1e30)
    with pytest.raises(RunError, match=r"^seed0-fold[01] failed: the loss of epoch 1 is not f"):
        crossval(heads, steep, tmp_path / "cv", folds=FOLDS, seeds=1, jobs=2)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"folds": FOLDS, "seeds": 0}, "seeds is 0: expected at least 1"),
        ({"folds": FOLDS, "jobs": 0}, "jobs is 0: expected at least 1"),
    ],
)
def test_impossible_numbers(
    how: dict[str, int], words: str, heads: Manifest, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=words):
        crossval(heads, RECIPE, tmp_path / "cv", **how)  # type: ignore[arg-type]


def test_another_recipe_or_manifest_is_refused_before_anything_is_done(
    cv: CrossValidation, home: Path, heads: Manifest
) -> None:
    longer = dataclasses.replace(RECIPE, epochs=3)
    with pytest.raises(RunError, match="begun with epochs 2, not 3: name a new folder"):
        crossval(heads, longer, home / "cv", folds=FOLDS, seeds=SEEDS)
    with pytest.raises(RunError, match="begun with other pictures or another split"):
        crossval(heads, RECIPE, home / "cv", folds=FOLDS + 1, seeds=SEEDS)
    with pytest.raises(RunError, match=r"other pictures or another split|another manifest"):
        crossval(
            heads.take(np.arange(len(heads) - 3)), RECIPE, home / "cv", folds=FOLDS, seeds=SEEDS
        )


# --- Pooling what exists --------------------------------------------------------------------


def test_pooling_runs_from_elsewhere_gives_the_same(
    cv: CrossValidation, home: Path, tmp_path: Path
) -> None:
    runs = [open_run(folder) for folder in reversed(copied(home, tmp_path))]
    found = pool(runs, resamples=100)
    assert found.scores == cv.scores
    np.testing.assert_array_equal(found.probabilities, cv.probabilities)
    save_crossval(found, tmp_path / "pooled")
    assert [run.folder.resolve() for run in runs_of(tmp_path / "pooled")] == [
        run.folder.resolve() for run in found.runs
    ]


def test_pool_and_doubts_as_commands(cv: CrossValidation, home: Path, tmp_path: Path) -> None:
    folders = [str(folder) for folder in copied(home, tmp_path)]
    quick = ["--resamples", "20", "--json", "--quiet"]
    out = tmp_path / "pooled"
    done = CliRunner().invoke(cli, ["pool", str(out), *folders, *quick], catch_exceptions=False)
    told = json.loads(done.stdout)
    assert told["scores"]["per_group"]["accuracy"]["value"] == pytest.approx(
        cv.scores.per_group.accuracy.value
    )
    done = CliRunner().invoke(cli, ["doubts", str(out), *quick], catch_exceptions=False)
    found = json.loads(done.stdout)
    assert found["pictures"] == len(cv.rows)
    assert sum(found["pictures_per_class"].values()) == len(cv.rows)
    names = {path.name for path in (out / "doubts").iterdir()}
    assert names == {"doubts.csv", "doubts.html", "doubts.json"}
    twice = ["pool", str(out), *folders, "--also", "a/x.parquet", "--also", "b/x.parquet"]
    assert "have one name" in str(CliRunner().invoke(cli, twice).output)


def test_what_is_no_cross_validation_is_refused(
    cv: CrossValidation, home: Path, tmp_path: Path
) -> None:
    folders = copied(home, tmp_path)
    runs = [open_run(folder) for folder in folders]
    with pytest.raises(RunError, match="there are no runs"):
        pool([])
    with pytest.raises(RunError, match=r"of seed 1 no run tests fold 1 \(there are 3\)"):
        pool([run for run in runs if run.folder.name != "seed1-fold1"])
    again = open_run(Path(shutil.copytree(folders[0], tmp_path / "again")))
    with pytest.raises(RunError, match="test the same fold 0 of seed 0: leave one out"):
        pool([*runs, again])
    recipe = read_json(folders[1] / "recipe.json")
    write_json(folders[1] / "recipe.json", {**recipe, "epochs": 9})
    with pytest.raises(RunError, match=r"differ in epochs \(9, 2\): pool runs of one recipe"):
        pool([open_run(folder) for folder in folders])
    write_json(folders[1] / "recipe.json", recipe)
    manifest = runs[1].manifest()
    save_manifest(manifest.take(np.arange(len(manifest) - 1)), folders[1] / "manifest.parquet")
    with pytest.raises(RunError, match="other pictures, labels or groups than"):
        pool([open_run(folder) for folder in folders])
    save_manifest(manifest.with_notes(split={"folds": None}), folders[1] / "manifest.parquet")
    with pytest.raises(RunError, match="not trained on one of several folds"):
        pool([open_run(folder) for folder in folders])
    plan = dict(manifest.notes["split"])
    save_manifest(
        manifest.with_notes(split={**plan, "validation": 0.3}), folders[1] / "manifest.parquet"
    )
    with pytest.raises(RunError, match=r"split with other validation \(0.3, 0.15\)"):
        pool([open_run(folder) for folder in folders])
    parts = manifest.column("split").copy()
    groups, tested = manifest.groups(), np.flatnonzero(parts == "test")
    lonely = next(row for row in tested if (groups == groups[row]).sum() == 1)
    parts[lonely] = "train"
    save_manifest(manifest.with_columns(split=parts), folders[1] / "manifest.parquet")
    with pytest.raises(RunError, match="of seed 0 test 41 of 42 pictures"):
        pool([open_run(folder) for folder in folders])
    parts[next(row for row in np.flatnonzero(parts == "train") if row != lonely)] = "test"
    save_manifest(manifest.with_columns(split=parts), folders[1] / "manifest.parquet")
    with pytest.raises(RunError, match="the folds overlap, split by group"):
        pool([open_run(folder) for folder in folders])


def test_a_folder_without_a_result_holds_no_cross_validation(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no cross-validation"):
        runs_of(tmp_path)
    write_json(tmp_path / "crossval.json", {"format": 99})
    with pytest.raises(RunError, match="has format 99"):
        runs_of(tmp_path)


# --- What is left ---------------------------------------------------------------------------


def test_the_table_holds_every_prediction(cv: CrossValidation, home: Path) -> None:
    table = pyarrow.csv.read_csv(home / "cv" / "predictions.csv")
    assert len(table) == SEEDS * len(cv.rows)
    by_source = {
        (line["seed"], line["source"]): line["probability Brain Tumor"]
        for line in table.to_pylist()
    }
    for fold in cv.folds:
        for line in load_predictions(fold.run).to_pylist():
            kept = by_source[fold.seed, line["source"]]
            assert kept == pytest.approx(line["probability Brain Tumor"], abs=1e-6)


def test_json_and_page_tell_scores_intervals_and_spreads(cv: CrossValidation, home: Path) -> None:
    value = read_json(home / "cv" / "crossval.json")
    assert value["scores"]["per_group"]["accuracy"]["low"] is not None
    assert len(value["each_seed"]) == SEEDS
    assert value["spread_over_folds"]["accuracy"]["deviation"] is not None
    assert [run["folder"] for run in value["runs"]] == [run["run"] for run in value["runs"]]
    assert "seed" not in value["recipe"]
    page = (home / "cv" / "crossval.html").read_text(encoding="utf-8")
    for words in ("Seed to seed", "File facts alone", "On sets that nothing was trained on"):
        assert words in page
    assert "http://" not in page
    assert str(home) not in page


def test_a_manifest_whose_copies_were_not_searched_is_refused(tmp_path: Path) -> None:
    bare = manifest_of(tmp_path, ("a", "b"), source=["1", "2"], label=["a", "b"])
    with pytest.raises(ManifestError, match="copies were not searched"):
        crossval(bare, RECIPE, tmp_path / "cv")
    assert not (tmp_path / "cv").exists()
    assert module.FORMAT == 1
