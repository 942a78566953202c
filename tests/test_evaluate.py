"""A run judged and explained: scores, tables, pictures and the page, on a folder of discs."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn import metrics

from clearhead.data.cache import load_scan
from clearhead.deliver.gallery import safe_name, save_explanations
from clearhead.deliver.layers import layers_of
from clearhead.deliver.report import choose_cases, report
from clearhead.deliver.verdict import statements
from clearhead.errors import ManifestError, ReadError, RecipeError, RunError
from clearhead.files import read_json, write_json
from clearhead.heat.evidence import evidence
from clearhead.heat.explain import explain, explain_scans
from clearhead.heat.scale import display_scale
from clearhead.model.evaluate import evaluate, load_evaluation, load_predictions, predict
from clearhead.model.run import Run, open_run, save_state
from clearhead.model.train import train
from clearhead.types import Recipe
from oracles import disc_folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEARHEAD_CACHE", str(root / "cache"))
        manifest = disc_folder(root / "discs", counts=(32, 16, 20))
        manifest = manifest.with_columns(group=[row // 2 for row in range(len(manifest))])
        recipe = Recipe.preset("compact", size_px=64, epochs=6, batch=8)
        return train(manifest, recipe, root / "run")


@pytest.fixture(autouse=True)
def _cache_of_the_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARHEAD_CACHE", str(run.folder.parent / "cache"))


def images(run: Run) -> list[Path]:
    rows = run.manifest().part("test")
    return [rows.root / source for source in rows.column("source")]


def test_another_set_is_scored_as_its_own_classes_say(run: Run, tmp_path: Path) -> None:
    other = disc_folder(tmp_path / "elsewhere", counts=(4, 4, 8), seed=9)
    first, second = other.classes
    renamed = dataclasses.replace(
        other.with_columns(label=[{first: "a", second: "b"}[x] for x in other.column("label")]),
        classes=("a", "b"),
    )
    with pytest.raises(ManifestError, match="say which it stands for with --as 'a'=CLASS"):
        evaluate(run, on=renamed)
    found = evaluate(run, on=renamed, named={"a": first, "b": second}, resamples=50)
    _, chances = predict(run, other)
    assert found.split == "elsewhere"
    assert found.files == len(other)  # all rows, whatever their split
    assert found.per_file.accuracy.value == pytest.approx(
        np.mean(chances.argmax(1) == other.labels())
    )
    assert found.baseline is not None
    assert found.copies_in_training == (0, len(other))
    told = " ".join(line.text for line in statements(found))
    assert "No elsewhere file has a copy in training" in told
    kept = load_predictions(run, "elsewhere")
    assert kept["source"].to_pylist() == other.column("source").tolist()
    assert not (run.folder / "evaluation" / "train").exists()


def test_another_set_has_a_page_of_its_own(run: Run, tmp_path: Path) -> None:
    other = disc_folder(tmp_path / "abroad", counts=(4, 4, 8), seed=9)
    with pytest.raises(RunError, match=r"not evaluated on abroad yet.*--on MANIFEST"):
        report(run, on=other)
    evaluate(run, on=other, resamples=50)
    page = report(run, on=other)
    html = page.read_text(encoding="utf-8")
    assert page == run.folder / "report-abroad.html"
    assert not (run.folder / "report.html").exists()
    assert "Accuracy on the abroad set" in html
    assert "The abroad set." in html
    assert "abroad split" not in html
    assert html.count("data:image/png;base64,") == 8
    assert (run.folder / "figures" / "abroad" / "confusion.png").exists()
    strange = disc_folder(tmp_path / "again" / "abroad", counts=(1, 1, 1), seed=8)
    renamed = strange.with_columns(source=[f"x{row}.png" for row in range(len(strange))])
    with pytest.raises(RunError, match="another set called abroad"):
        report(run, on=renamed)


def test_of_a_set_of_one_class_no_score_to_beat_is_told(run: Run, tmp_path: Path) -> None:
    other = disc_folder(tmp_path / "test", counts=(0, 0, 8), seed=9)
    alone = other.take(np.flatnonzero(other.labels() == 0))
    found = evaluate(run, on=alone, resamples=50)
    assert found.split == "other test"  # no name of a split
    assert found.baseline is None
    told = " ".join(line.text for line in statements(found))
    assert f"None of them is “{run.classes[1]}”" in told
    assert f"None of them is “{run.classes[1]}”" in report(run, on=alone).read_text()


def test_pictures_that_were_learnt_from_are_no_other_set(run: Run) -> None:
    before = {path: path.read_bytes() for path in run.folder.rglob("*.json")}
    with pytest.raises(ManifestError, match="32 of 68 pictures are among those"):
        evaluate(run, on=run.manifest())
    assert before == {path: path.read_bytes() for path in run.folder.rglob("*.json")}


def test_scores_are_those_of_the_saved_predictions(run: Run) -> None:
    scores = evaluate(run, resamples=200)
    table = load_predictions(run)
    truth, call = table["label"].to_pylist(), table["call"].to_pylist()
    assert scores.files == len(truth) == 20
    assert scores.groups == 10
    assert scores.per_file.accuracy.value == pytest.approx(metrics.accuracy_score(truth, call))
    chance = table["probability spot"].to_numpy()
    positive = scores.positive
    if positive == "plain":
        chance = 1 - chance
    auc = metrics.roc_auc_score([name == positive for name in truth], chance)
    assert scores.per_file.roc_auc.value == pytest.approx(auc)
    assert scores.baseline is not None
    assert scores.copies_in_training == (0, 20)
    assert load_evaluation(run) == scores


def test_predictions_are_the_classifiers_own(run: Run) -> None:
    rows = run.manifest().part("test")
    logits, probabilities = predict(run, rows)
    classifier = run.classifier()
    from clearhead.data.cache import pictures

    drawn = pictures(rows, fit=run.recipe.fit, size_px=run.recipe.size_px)
    with torch.no_grad():
        one = classifier(torch.from_numpy(drawn[3])[None, None])
    np.testing.assert_allclose(logits[3], one[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)


def test_an_explanation_lies_on_the_pictures_own_grid(run: Run) -> None:
    for scan, explanation in explain(run, images(run)[:3]):
        assert explanation.heat.shape == scan.pixels.shape
        assert explanation.heat.dtype == np.float32
        assert explanation.target == explanation.prediction.call
        assert 0 <= explanation.heat.max() <= explanation.peak + 1e-5
        assert explanation.blank == (explanation.peak == 0)
        assert explanation.unit == "logit"


def test_explanations_do_not_depend_on_the_batch(run: Run) -> None:
    files = images(run)[:5]
    together = [one.heat for _, one in explain(run, files, batch=64, target="spot")]
    alone = [one.heat for _, one in explain(run, files, batch=1, target="spot")]
    for ours, theirs in zip(together, alone, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * max(1.0, float(ours.max())))


def test_prediction_and_explanation_agree(run: Run) -> None:
    rows = run.manifest().part("test")
    logits, _ = predict(run, rows)
    for row, (_, explanation) in enumerate(explain(run, images(run))):
        np.testing.assert_allclose(explanation.prediction.logits, logits[row], atol=1e-4)


def test_the_reports_variant_explains_the_probability(run: Run) -> None:
    _, logit = next(iter(explain(run, images(run)[:1], target="spot")))
    _, chance = next(iter(explain(run, images(run)[:1], target="spot", score="probability")))
    assert (logit.unit, chance.unit) == ("logit", "probability")
    assert chance.peak < logit.peak  # the slope of a softmax of two is at most a quarter


def test_folders_are_walked_and_unreadable_files_told(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    good = images(run)[0]
    (folder / "a.png").write_bytes(good.read_bytes())
    (folder / "b.png").write_bytes(b"broken")
    (folder / ".hidden.png").write_bytes(b"broken")
    refused: list[Path] = []
    done = list(explain(run, [folder], on_error=lambda path, _: refused.append(path)))
    assert [Path(scan.source).name for scan, _ in done] == ["a.png"]
    assert [path.name for path in refused] == ["b.png"]
    with pytest.raises(ReadError):
        list(explain(run, [folder]))
    with pytest.raises(RecipeError, match="no class is called 'x'"):
        list(explain(run, [good], target="x"))


def test_saved_explanations_hold_what_was_found(run: Run, tmp_path: Path) -> None:
    explained = list(explain(run, images(run)[:2]))
    rows = list(save_explanations(explained, tmp_path / "out", scale=2.0))
    assert len({row["file"] for row in rows}) == 2
    for (_, explanation), row in zip(explained, rows, strict=True):
        with np.load(tmp_path / "out" / f"{row['file']}.npz", allow_pickle=False) as saved:
            np.testing.assert_array_equal(saved["heat"], explanation.heat)
            assert str(saved["call"]) == explanation.prediction.call
            assert float(saved["peak"]) == pytest.approx(explanation.peak)
            assert str(saved["unit"]) == "logit"
        for kind in ("overlay", "triptych"):
            assert (tmp_path / "out" / f"{row['file']}.{kind}.png").stat().st_size > 0
    with (tmp_path / "out" / "explanations.csv").open() as file:
        assert [row["source"] for row in csv.DictReader(file)] == [row["source"] for row in rows]


def test_file_names_are_safe_and_distinct(run: Run) -> None:
    import dataclasses

    scan = load_scan(run.manifest(), run.manifest().column("source")[0])
    names = [
        safe_name(dataclasses.replace(scan, source=source))
        for source in ("../../etc/passwd", "a/scan.png", "b/scan.png", "<b>\n.png", "x.tif#page=2")
    ]
    assert len(set(names)) == 5
    assert all(name.replace("-", "").isalnum() for name in names)


def test_display_scale_is_kept_and_is_the_percentile_of_peaks(run: Run) -> None:
    scale = display_scale(run)
    from clearhead.data.cache import pictures

    rows = run.manifest().part("validation")
    drawn = pictures(rows, fit=run.recipe.fit, size_px=run.recipe.size_px)
    maps = evidence(run.classifier(), torch.from_numpy(drawn[:]).unsqueeze(1)).maps
    peaks = maps.amax((1, 2)).numpy()
    assert scale == pytest.approx(float(np.percentile(peaks[peaks > 0], 90)), rel=1e-4)
    write_json(run.folder / "scale.json", {"grad_cam logit": 3.5})
    assert display_scale(run) == 3.5
    write_json(run.folder / "scale.json", {"grad_cam logit": scale})


def test_the_page_shows_everything_and_stands_alone(run: Run) -> None:
    evaluate(run, resamples=100)
    page = report(run)
    html = page.read_text(encoding="utf-8")
    assert html.count("data:image/png;base64,") == 8
    drawn = (
        "curves",
        "scores",
        "confusion",
        "roc",
        "reliability",
        "triage",
        "contact-sheet",
        "net",
    )
    for name in drawn:
        assert (run.folder / "figures" / f"{name}.png").stat().st_size > 5000
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "not a medical device" in html


def test_cases_follow_the_rule() -> None:
    table = pa.table(
        {
            "source": [str(row) for row in range(9)],
            "label": ["a"] * 6 + ["b"] * 3,
            "call": ["a"] * 5 + ["b"] + ["b", "a", "a"],
            "group": [0, 0, 1, 2, 3, 4, 5, 6, 6],
            "probability a": [0.99, 0.98, 0.90, 0.70, 0.60, 0.30, 0.20, 0.80, 0.95],
            "probability b": [0.01, 0.02, 0.10, 0.30, 0.40, 0.70, 0.80, 0.20, 0.05],
        }
    )
    chosen = choose_cases(table, ("a", "b"), most=2)
    # right a: median 0.90 is row 2; next nearest are rows 0 and 1 (0.08, 0.09), of one group
    assert chosen == [2, 1, 5, 6, 8]


@pytest.mark.parametrize(
    ("preset", "parameters"), [("report", 14_839_234), ("compact", None), ("evidence", None)]
)
def test_the_diagram_counts_every_parameter(preset: str, parameters: int | None) -> None:
    recipe = Recipe.preset(preset)
    layers = layers_of(recipe, 2)
    from clearhead.model.classifier import build

    all_of_them = sum(value.numel() for value in build(recipe, 2).parameters())
    assert sum(layer.parameters for layer in layers) == all_of_them
    assert parameters in (None, all_of_them)
    assert layers[0].shape == (1, recipe.size_px, recipe.size_px)
    assert layers[-1].shape[0] == 2


def test_damaged_runs_are_told_from_missing_ones(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        open_run(tmp_path / "nowhere")
    with pytest.raises(RunError, match="no finished run"):
        open_run(tmp_path)
    broken = tmp_path / "broken"
    (broken / "weights").mkdir(parents=True)
    for name in ("run.json", "recipe.json", "manifest.parquet", "history.json"):
        (broken / name).write_bytes((run.folder / name).read_bytes())
    (broken / "weights" / "best.safetensors").write_bytes(b"not weights")
    with pytest.raises(RunError, match="train again"):
        open_run(broken).classifier()
    facts = read_json(broken / "run.json")
    write_json(broken / "run.json", {**facts, "format": 99})
    with pytest.raises(RunError, match="run format 99"):
        open_run(broken)
    (broken / "run.json").write_text("{")
    with pytest.raises(RunError, match="damaged"):
        open_run(broken)
    with pytest.raises(RunError, match="not evaluated on train"):
        load_evaluation(run, "train")


def test_states_hold_plain_values_only(tmp_path: Path) -> None:
    from clearhead.model.run import load_state

    save_state({"bad": print}, tmp_path / "state.pt")
    with pytest.raises(RunError, match="damaged"):
        load_state(tmp_path / "state.pt")


def test_scans_in_memory_are_explained_too(run: Run) -> None:
    scan = load_scan(run.manifest(), run.manifest().part("test").column("source")[0])
    ((same, explanation),) = explain_scans(run, [scan])
    assert same is scan
    assert explanation.prediction.source == scan.source
