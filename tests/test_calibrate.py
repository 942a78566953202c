"""Calibration of a run: in both weights files, whole or not at all, told wherever it matters."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from clearhead.data.cache import pictures
from clearhead.deliver.gallery import save_explanations
from clearhead.deliver.triage_words import calibrated, statements
from clearhead.errors import ManifestError, RecipeError, RunError
from clearhead.heat.explain import explain, explain_with
from clearhead.measure.calibration import temperature
from clearhead.measure.scores import Calibration
from clearhead.measure.triage import UNCERTAIN, decided, kept, thresholds
from clearhead.model import calibrate as calibrating
from clearhead.model.calibrate import calibrate
from clearhead.model.evaluate import evaluate, load_evaluation, load_predictions, predict
from clearhead.model.nets import EvidenceNet, level_of
from clearhead.model.run import Run, open_run
from clearhead.model.train import train
from clearhead.types import Manifest, Recipe
from oracles import disc_folder
from small_nets import small_classifier

ROWS = (24, 48, 20)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("calibrate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEARHEAD_CACHE", str(root / "cache"))
        recipe = Recipe.preset("compact", size_px=48, epochs=3, batch=8)
        return train(disc_folder(root / "discs", counts=ROWS), recipe, root / "run")


@pytest.fixture
def run(trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A copy of the run, to do with as a test likes."""
    monkeypatch.setenv("CLEARHEAD_CACHE", str(trained.folder.parent / "cache"))
    shutil.copytree(trained.folder, tmp_path / "run")
    return open_run(tmp_path / "run")


def files(run: Run) -> list[Path]:
    return sorted(run.weights.parent.iterdir())


def images(run: Run) -> list[Path]:
    rows = run.manifest().part("test")
    return [rows.root / source for source in rows.column("source")]


def uncalibrated(run: Run) -> Run:
    """The run as it was made before there were thresholds."""
    for path in files(run):
        weights = load_file(path)
        weights.pop("thresholds")
        save_file(weights, path)
    return run


def test_a_training_ends_calibrated_in_both_files(run: Run) -> None:
    rows = run.manifest().part("validation")
    assert [path.stem for path in files(run)] == ["best", "last"]
    for path in files(run):
        classifier = run.classifier(weights=path)
        logits, probabilities = predict(run, rows, classifier=classifier)
        warmth = temperature(logits, rows.labels(), rows.groups())
        assert float(classifier.temperature) == pytest.approx(warmth)
        expected = thresholds(rows.labels(), probabilities, rows.groups(), 0.05)
        assert classifier.thresholds.tolist() == pytest.approx(expected)
        assert (expected > 0).all()
    told = run.calibration()
    assert told is not None
    assert (told.error, told.on, told.groups) == (0.05, "validation", (24, 24))
    assert [run.recipe.weights, told.exact] == ["best", False]  # these rows chose the epoch
    with_last = dataclasses.replace(run, recipe=dataclasses.replace(run.recipe, weights="last"))
    last = with_last.calibration()
    assert last is not None
    assert last.exact
    assert told.thresholds == tuple(run.classifier().thresholds.tolist())
    assert told.temperature == float(run.classifier().temperature)


def test_another_level_changes_thresholds_alone(run: Run) -> None:
    before, old = load_file(run.weights), run.calibration()
    found = calibrate(run, error=0.3)
    after = load_file(run.weights)
    assert found == run.calibration() != old
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed == ["thresholds"]
    assert (after["thresholds"] > before["thresholds"]).all()
    assert calibrate(run) == old
    with pytest.raises(RecipeError, match="error is 2: expected a share"):
        calibrate(run, error=2)


def test_too_few_groups_are_told_and_rule_nothing_out(run: Run) -> None:
    found = calibrate(run, error=0.03)
    assert found.thresholds == (0.0, 0.0)
    lines = [line.replace("\u00a0", " ") for line in calibrated(found, run.classes)]
    assert lines[1:] == [
        f"{name} is never ruled out: 24 distinct pictures are too few to promise 3.0 %, which "
        "takes 33"
        for name in run.classes
    ]
    scores = evaluate(run, resamples=20)
    assert scores.triage is not None
    assert scores.triage.uncertain.value == 1.0
    said = " ".join(each.text for each in statements(scores) if each.tone == "doubt")
    assert said.count("never ruled out") == 2


def test_nothing_is_written_before_all_is_fitted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [path.read_bytes() for path in files(run)]
    calls = []

    def failing(*given: Any, **how: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return predict(*given, **how)

    monkeypatch.setattr(calibrating, "predict", failing)
    with pytest.raises(KeyboardInterrupt):
        calibrate(run, error=0.2)
    assert [path.read_bytes() for path in files(run)] == before
    assert len(calls) == 2


def test_an_evaluation_of_the_former_calibration_is_refused(run: Run) -> None:
    scores = evaluate(run, resamples=20)
    assert load_evaluation(run) == scores
    load_predictions(run)
    calibrate(run, error=0.2)
    for load in (load_evaluation, load_predictions):
        with pytest.raises(RunError, match="calibrated anew after it was evaluated on test"):
            load(run)
    assert evaluate(run, resamples=20) == load_evaluation(run) != scores


def test_every_table_tells_the_same_verdict(run: Run, tmp_path: Path) -> None:
    calibrate(run, error=0.2)
    evaluate(run, resamples=20)
    rows = run.manifest().part("test")
    _, probabilities = predict(run, rows)
    made = decided(kept(probabilities, run.classifier().thresholds.numpy()))
    expected = [UNCERTAIN if place < 0 else run.classes[place] for place in made]
    assert len(set(expected)) > 1
    assert load_predictions(run)["triage"].to_pylist() == expected
    told = list(save_explanations(explain(run, images(run)), tmp_path / "maps", scale=1.0))
    assert [row["triage"] for row in told] == expected
    assert all(bool(row["reason"]) == (row["triage"] == UNCERTAIN) for row in told)
    with np.load(tmp_path / "maps" / f"{told[0]['file']}.npz") as saved:
        assert str(saved["triage"]) == expected[0]


def test_weights_made_before_thresholds_work_and_have_no_triage(run: Run) -> None:
    uncalibrated(run)
    assert run.calibration() is None
    assert run.classifier().thresholds.shape == (0,)
    scores = evaluate(run, resamples=20)
    assert scores.triage is None
    assert scores.reliability is not None
    assert load_evaluation(run) == scores
    assert set(load_predictions(run)["triage"].to_pylist()) == {""}
    ((_, found),) = explain(run, images(run)[:1])
    assert (found.prediction.triage, found.prediction.reason) == ("", "")
    calibrate(run)
    with pytest.raises(RunError, match="calibrated anew"):
        load_evaluation(run)


def test_a_net_of_ones_own_has_no_triage_until_it_gets_thresholds(run: Run) -> None:
    from clearhead.data.read import read

    classifier = small_classifier()
    how: dict[str, Any] = {"classes": ("a", "b", "c"), "fit": "canvas", "size_px": 24}
    scan = read(images(run)[0])
    ((_, found),) = explain_with(classifier, [scan], **how)
    assert found.prediction.triage == ""
    classifier.thresholds = torch.zeros(3)
    ((_, found),) = explain_with(classifier, [scan], **how)
    assert (found.prediction.triage, found.prediction.reason) == (UNCERTAIN, "possible: a, b, c")
    again = small_classifier()
    again.load_state_dict(classifier.state_dict())
    assert again.thresholds.tolist() == [0, 0, 0]


def elsewhere(folder: Path, *, seed: int = 9) -> Manifest:
    """Pictures of another place, of which none is in training, under other names."""
    manifest = disc_folder(folder / "ours", counts=(40, 20, 20), seed=seed)
    names = {"plain": "normal", "spot": "spot"}
    labels = [names[label] for label in manifest.column("label")]
    return dataclasses.replace(manifest.with_columns(label=labels), classes=("normal", "spot"))


def test_it_can_be_fitted_on_pictures_of_ones_own(run: Run, tmp_path: Path) -> None:
    ours = elsewhere(tmp_path)
    with pytest.raises(ManifestError, match="say which it stands for with --as 'normal'=CLASS"):
        calibrate(run, on=ours)
    found = calibrate(run, on=ours, named={"normal": "plain"})
    assert (found.on, found.groups, found.exact) == ("ours", (40, 40), True)
    labels = (ours.column("label") == "spot").astype(int)
    _, probabilities = predict(run, ours)
    assert found.thresholds == pytest.approx(
        thresholds(labels, probabilities, ours.groups(), 0.05).tolist()
    )
    scores = evaluate(run, resamples=20)
    assert scores.triage is not None
    assert scores.triage.calibration == run.calibration() == found
    assert not any("not exactly" in each.text for each in statements(scores))


def test_maps_are_levelled_to_the_validation_pictures(tmp_path: Path) -> None:
    recipe = Recipe.preset(
        "evidence", size_px=48, epochs=1, batch=8, levelled=True, progressive=0.0, weights="best"
    )
    run = train(disc_folder(tmp_path / "discs", counts=(16, 8, 4)), recipe, tmp_path / "run")
    rows = run.manifest().part("validation")
    squares = torch.from_numpy(pictures(rows, fit="canvas", size_px=48)).unsqueeze(1)
    for path in files(run):
        classifier = run.classifier(weights=path)
        assert isinstance(classifier.net, EvidenceNet)
        assert classifier.net.usual is not None
        usual = classifier.net.usual.clone()
        with torch.inference_mode():
            levels = level_of(classifier.seen(squares)[0].flatten(2))
            assert levels.flatten().tolist() == pytest.approx([float(usual)] * 8, abs=1e-4)
            classifier.net.usual.fill_(torch.nan)
            own = level_of(classifier.seen(squares)[0].flatten(2))
        assert float(usual) == pytest.approx(float(own.mean()), abs=1e-5)
        assert float(own.std()) > 1e-3
    before = [file.read_bytes() for file in files(run)]
    calibrate(run)  # again: the level is found of maps that aren't levelled
    assert [file.read_bytes() for file in files(run)] == before
    calibrate(run, on=elsewhere(tmp_path), named={"normal": "plain"})
    assert isinstance(net := run.classifier().net, EvidenceNet)
    assert net.usual is not None
    assert torch.equal(net.usual, load_file(files(run)[0])["_net.usual"])


def test_the_bias_of_a_run_can_keep_what_is_well(tmp_path: Path) -> None:
    discs = disc_folder(tmp_path / "discs", counts=(16, 48, 20))  # 24 validation groups a class
    recipe = Recipe.preset("compact", size_px=48, epochs=1, batch=8, calibration="specificity")
    plain = dataclasses.replace(
        discs.with_columns(label=[("healthy", "spot")[x] for x in discs.labels()]),
        classes=("healthy", "spot"),
    )
    run = train(plain, recipe, tmp_path / "run")
    rows = run.manifest().part("validation")
    _, chances = predict(run, rows)
    well = rows.column("label") == "healthy"
    assert (chances.argmax(1)[well] == 0).sum() == 24  # the ⌈0.95·25⌉-th of 24 is the last
    asked = dataclasses.replace(run, recipe=dataclasses.replace(recipe, specificity=0.5))
    before = [file.read_bytes() for file in files(run)]
    calibrate(asked)
    _, chances = predict(run, rows)
    # The ⌈0.5·25⌉-th and all below it; of so young a net the next lies within 1e-4 of it.
    assert 13 <= (chances.argmax(1)[well] == 0).sum() <= 14
    calibrate(run)
    assert [file.read_bytes() for file in files(run)] == before
    ours = disc_folder(tmp_path / "ours", seed=9)
    before = [file.read_bytes() for file in files(run)]
    with pytest.raises(ManifestError, match="holds no picture of healthy, and by those alone"):
        calibrate(run, on=ours.take(np.flatnonzero(ours.labels())), named={"plain": "healthy"})
    assert [file.read_bytes() for file in files(run)] == before
    three = [("healthy", "spot", "dot")[number % 3] for number in range(len(plain))]
    classes = ("dot", "healthy", "spot")
    other = dataclasses.replace(plain.with_columns(label=three), classes=classes)
    with pytest.raises(RecipeError, match="needs two classes of which one means that nothing"):
        train(other, recipe, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_share_that_nothing_asks_for_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"specificity is 0.9 and calibration 'temperature', wh"):
        Recipe(specificity=0.9)
    with pytest.raises(RecipeError, match=r"specificity is 1.0: expected a share between 0 and 1"):
        Recipe(specificity=1.0, calibration="specificity")


def test_only_maps_of_evidence_are_levelled() -> None:
    with pytest.raises(RecipeError, match="levelled is on and net 'compact': only the evidence"):
        Recipe(levelled=True)


def test_pictures_that_it_was_trained_on_are_refused(run: Run) -> None:
    before = run.calibration()
    with pytest.raises(ManifestError, match=r"24 of 92 pictures are among those .* trained on"):
        calibrate(run, on=run.manifest())
    assert run.calibration() == before


def test_a_broken_promise_is_said_and_a_kept_one_too(run: Run) -> None:
    scores = evaluate(run, resamples=50)
    assert scores.triage is not None

    def tones(calibration: Calibration, limit: float) -> list[str]:
        assert scores.triage is not None
        classes = {
            name: dataclasses.replace(each, limit=limit, ruled_out=scores.per_file.accuracy)
            for name, each in scores.triage.classes.items()
        }
        found = dataclasses.replace(scores.triage, classes=classes, calibration=calibration)
        return [each.tone for each in statements(dataclasses.replace(scores, triage=found))][-2:]

    assert tones(scores.triage.calibration, 0.0) == ["bad", "bad"]
    assert tones(scores.triage.calibration, 1.0) == ["good", "good"]
    few = dataclasses.replace(scores.triage.calibration, groups=(5, 50))
    assert tones(few, 1.0) == ["doubt", "good"]


def test_pictures_that_it_was_fitted_on_are_no_test(run: Run) -> None:
    said = [each.text for each in statements(evaluate(run, split="validation", resamples=20))]
    assert any("fitted on these very pictures" in text for text in said)
    said = [each.text for each in statements(evaluate(run, resamples=20))]
    assert any("holds nearly, not exactly" in text for text in said)
    assert not any("fitted on these very pictures" in text for text in said)
