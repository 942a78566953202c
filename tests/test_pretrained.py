"""Trainings that begin with the weights of a run: exactly those, tested on nothing they know."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from clearhead.app.cli import cli
from clearhead.audits.audit import examine
from clearhead.audits.crossval import crossval, pool
from clearhead.audits.subject import subject
from clearhead.data.manifest import save_manifest
from clearhead.data.split import split
from clearhead.errors import ManifestError, RecipeError, RunError
from clearhead.files import read_json, write_json
from clearhead.model.classifier import build
from clearhead.model.evaluate import evaluate
from clearhead.model.folds import Job, fold_run
from clearhead.model.pretrained import (
    FILE,
    begun_with,
    keep_pretrained,
    load_pretrained,
    recipe_after,
    words_of,
)
from clearhead.model.run import Run, open_run, write_recipe
from clearhead.model.shipped import shipped
from clearhead.model.train import resume, train
from clearhead.types import Manifest, Recipe
from oracles import disc_folder

STILL: dict[str, Any] = {"learning_rate": 0.0, "epochs": 1}
"""A training that leaves its weights as they are."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pretrained")


@pytest.fixture(autouse=True)
def _one_cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARHEAD_CACHE", str(home / "cache"))


def small(preset: str = "compact", **changes: object) -> Recipe:
    return Recipe.preset(preset, **{"size_px": 64, "epochs": 2, "batch": 8, **changes})


@pytest.fixture(scope="module")
def theirs(home: Path) -> Manifest:
    return disc_folder(home / "theirs", seed=1)


@pytest.fixture(scope="module")
def ours(home: Path) -> Manifest:
    return disc_folder(home / "ours", seed=2)


@pytest.fixture(scope="module")
def before(theirs: Manifest, home: Path) -> Run:
    """A run that learnt from other pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEARHEAD_CACHE", str(home / "cache"))
        return train(theirs, small("evidence"), home / "before")


def learnt(run: Run) -> dict[str, torch.Tensor]:
    """The weights of a run's net."""
    return {k: v for k, v in load_file(run.weights).items() if k.startswith("_net.")}


def named(manifest: Manifest, *classes: str) -> Manifest:
    """The same pictures under other names of their classes."""
    labels = [classes[at] for at in manifest.labels()]
    return dataclasses.replace(manifest, classes=classes).with_columns(label=labels)


# --- What it begins with --------------------------------------------------------------------


def test_it_begins_with_exactly_those_weights(before: Run, ours: Manifest, tmp_path: Path) -> None:
    run = train(ours, small("evidence", **STILL), tmp_path / "run", pretrained=before)
    known, found = learnt(before), learnt(run)
    assert known.keys() == found.keys()
    assert all(torch.equal(known[name], found[name]) for name in known)
    assert run.made["pretrained"] == words_of(before)
    assert begun_with(run.folder) == words_of(before)
    assert not (run.folder / FILE).exists()  # done: it has weights of its own
    # What was fitted on the validation pictures is fitted on its own.
    mine, other = (load_file(each.weights) for each in (run, before))
    assert not torch.equal(mine["bias"], other["bias"])


def test_drawn_weights_are_told_of_by_nobody(before: Run) -> None:
    assert "pretrained" not in before.made
    assert begun_with(before.folder) is None
    assert before.learnt_before() == ()


@pytest.mark.parametrize(
    ("net", "classes", "taken"),
    [
        ("evidence", ("normal", "tumour"), True),  # a map of what was found, whatever its name
        ("evidence", ("plain", "spot"), True),
        ("compact", ("plain", "spot"), True),
        ("compact", ("normal", "tumour"), False),
    ],
)
def test_the_last_layer_goes_along_where_it_says_the_same(
    theirs: Manifest,
    ours: Manifest,
    tmp_path: Path,
    net: str,
    classes: tuple[str, ...],
    taken: bool,
) -> None:
    first = train(theirs, small(net, **STILL), tmp_path / "first")
    other = small(net, **STILL, seed=1)  # whose drawn weights are others
    run = train(named(ours, *classes), other, tmp_path / "run", pretrained=first)
    known, found = learnt(first), learnt(run)
    same = {name: torch.equal(known[name], found[name]) for name in known}
    assert same["_net.out.weight"] is taken
    assert all(value for name, value in same.items() if ".out." not in name)


def test_the_classifier_in_the_package_can_be_begun_with(ours: Manifest, tmp_path: Path) -> None:
    recipe = recipe_after(shipped(), size_px=64, **STILL)
    assert (recipe.net, recipe.norm, recipe.pooling, recipe.fit) == (
        "evidence",
        "group",
        "exponential",
        "canvas",
    )
    assert recipe.levelled is False  # of how it is used nothing is taken over
    assert recipe.sampling == "pictures"
    run = train(ours, recipe, tmp_path / "run", pretrained=shipped())
    known, found = learnt(shipped()), learnt(run)
    assert all(torch.equal(known[name].float(), found[name]) for name in found)
    assert not (run.folder / "before").exists()  # nobody knows its pictures


def test_what_shapes_the_net_is_taken_over(before: Run) -> None:
    assert recipe_after(before) == Recipe.preset("evidence", size_px=64)
    assert recipe_after(before, preset="evidence", epochs=3).epochs == 3
    with pytest.raises(RecipeError, match="preset is 'report' and before has the net 'evidence'"):
        recipe_after(before, preset="report")
    with pytest.raises(RecipeError, match="no preset is called 'x'"):
        recipe_after(before, preset="x")


# --- Stopped --------------------------------------------------------------------------------


def test_one_that_was_stopped_before_its_first_step_begins_with_them_too(
    before: Run, ours: Manifest, tmp_path: Path
) -> None:
    recipe = small("evidence", epochs=1)
    whole = train(ours, recipe, tmp_path / "whole", pretrained=before)
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    keep_pretrained(before, ours.classes, stopped)
    write_recipe(recipe, stopped)
    save_manifest(ours, stopped / "manifest.parquet")
    assert begun_with(stopped) == words_of(before)
    again = resume(stopped)
    assert all(torch.equal(value, learnt(whole)[name]) for name, value in learnt(again).items())
    assert again.made["pretrained"] == whole.made["pretrained"]
    drawn = train(ours, recipe, tmp_path / "drawn")
    assert not torch.equal(learnt(drawn)["_net.out.weight"], learnt(again)["_net.out.weight"])


# --- What it knows --------------------------------------------------------------------------


def test_what_is_held_out_must_be_news_to_those_weights(
    before: Run, theirs: Manifest, ours: Manifest, tmp_path: Path
) -> None:
    parts = np.array(theirs.column("split"))
    other = theirs.with_columns(split=np.roll(parts, 8))
    words = r"^8 of 16 pictures are among those that before was trained on, .* split as it did"
    with pytest.raises(ManifestError, match=words):
        train(other, small("evidence"), tmp_path / "run", pretrained=before)
    assert not (tmp_path / "run").exists()
    recipe = small("evidence", epochs=1)
    second = train(theirs, recipe, tmp_path / "second", pretrained=before)  # its own split is well
    # And what those weights had learnt from is known two trainings later.
    third = train(ours, recipe, tmp_path / "third", pretrained=second)
    assert [len(rows) for rows in third.learnt()] == [24, 24]  # two trainings on the same rows
    assert {str(rows.root) for rows in third.learnt_before()} == {str(theirs.root)}
    with pytest.raises(ManifestError, match=r"8 of 16 pictures are among those that third was"):
        train(other, recipe, tmp_path / "fourth", pretrained=third)
    with pytest.raises(ManifestError, match=r"24 of 40 pictures are among those that this run was"):
        evaluate(third, on=theirs)
    some = theirs.take(np.arange(20, 28))  # four to learn from, four held out
    told = {one.check: one for one in examine(subject(third, on=some), only=("calls",)).findings}
    assert told["calls.seen"].value == pytest.approx(4 / 8)


def test_weights_that_do_not_fit_are_refused_before_anything_is_written(
    before: Run, ours: Manifest, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(
        RecipeError, match=r"^before has net evidence, not compact, norm weight, not"
    ):
        train(ours, small(), out, pretrained=before)
    with pytest.raises(RecipeError, match=r"before has members 1, not 2: its weights don't fit"):
        train(ours, small("evidence", members=2), out, pretrained=before)
    report = train(ours, small("report", epochs=1), tmp_path / "report")
    with pytest.raises(RecipeError, match="report has size_px 64, not 72"):
        train(ours, small("report", size_px=72), out, pretrained=report)
    assert not out.exists()


def test_damaged_weights_are_one_line(before: Run, ours: Manifest, tmp_path: Path) -> None:
    broken = open_run(Path(shutil.copytree(before.folder, tmp_path / "broken")))
    broken.weights.write_bytes(b"nothing")
    with pytest.raises(RunError, match=r"^the weights in .* can't be used"):
        train(ours, small("evidence"), tmp_path / "run", pretrained=broken)
    assert not (tmp_path / "run").exists()
    begun = tmp_path / "begun"
    keep_pretrained(before, ours.classes, begun)
    with pytest.raises(RunError, match=r"holds weights of another net \(size mismatch for _net"):
        load_pretrained(build(small("compact"), 2), begun)
    (begun / FILE).write_bytes(b"nothing")
    with pytest.raises(RunError, match=r"^the weights in .* can't be used"):
        begun_with(begun)


# --- Over folds -----------------------------------------------------------------------------


def test_every_fold_begins_with_them(before: Run, ours: Manifest, tmp_path: Path) -> None:
    recipe, out = small("evidence", **STILL), tmp_path / "cv"
    how: dict[str, Any] = {"folds": 2, "seeds": 1, "resamples": 20}
    also = {"theirs": before.manifest().take(np.arange(20, 28))}
    found = crossval(ours, recipe, out, pretrained=before, also=also, **how)
    assert found.elsewhere[0].in_training == 4
    for run in found.runs:
        assert all(torch.equal(learnt(run)[name], value) for name, value in learnt(before).items())
    with pytest.raises(RunError, match=r"was begun with the weights of before \(\w+\), not drawn"):
        crossval(ours, recipe, out, **how)
    values = read_json(found.runs[0].folder / "run.json")
    del values["made"]["pretrained"]
    write_json(found.runs[0].folder / "run.json", values)
    with pytest.raises(RunError, match="differ in pretrained"):
        pool([open_run(run.folder) for run in found.runs])


def test_a_fold_that_was_killed_before_it_began_begins_with_them(
    before: Run, ours: Manifest, tmp_path: Path
) -> None:
    recipe, out = small("evidence", **STILL), tmp_path / "cv"
    keep_pretrained(before, ours.classes, out / "seed0-fold0")
    job = Job(out, recipe, 2, 0, resamples=20, pretrained=before.folder)
    found = fold_run(job, ours)
    assert found.made["pretrained"] == words_of(before)
    assert len(found.learnt_before()) == 1


def test_no_fold_tests_what_they_know(before: Run, theirs: Manifest, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="24 of 40 pictures are among those that before was"):
        crossval(theirs, small("evidence"), tmp_path / "cv", folds=2, pretrained=before)
    assert not (tmp_path / "cv").exists()


def test_a_job_tells_a_process_where_they_are(before: Run, tmp_path: Path) -> None:
    job = Job(tmp_path, small(), 2, 0, pretrained=before.folder)
    assert Job.from_json(job.to_json()) == job
    assert Job.from_json(Job(tmp_path, small(), 2, 0).to_json()).pretrained is None


# --- As a command ---------------------------------------------------------------------------


def test_what_cannot_be_checked_is_said(ours: Manifest, tmp_path: Path) -> None:
    save_manifest(ours, tmp_path / "ours.parquet")
    words = ["train", str(tmp_path / "ours.parquet"), str(tmp_path / "run"), "--quiet"]
    quick = ["--pretrained", "shipped", "--size-px", "64", "--epochs", "1"]
    done = CliRunner().invoke(cli, [*words, *quick], catch_exceptions=False)
    assert "it began with the weights of shipped (" in done.output
    assert "), whose pictures aren't listed\n" in done.output


def test_as_a_command(before: Run, ours: Manifest, tmp_path: Path) -> None:
    save_manifest(split(ours, seed=0), tmp_path / "ours.parquet")
    words = ["train", str(tmp_path / "ours.parquet"), str(tmp_path / "run"), "--epochs", "1"]
    begin = ["--pretrained", str(before.folder), "--quiet"]
    done = CliRunner().invoke(cli, [*words, *begin], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert f"it began with the weights of {words_of(before)}\n" in done.output
    assert open_run(tmp_path / "run").recipe.net == "evidence"
    again = CliRunner().invoke(cli, ["train", "--resume", str(tmp_path / "run"), *begin])
    assert again.exit_code == 2
    assert "--resume takes no manifest and no settings" in again.output
