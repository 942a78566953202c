"""Explanations and display scales of a run: every method, earlier stages, colour, blank maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clearhead.data.cache import pictures
from clearhead.data.read import read
from clearhead.errors import ReadError, RecipeError
from clearhead.files import read_json, write_json
from clearhead.heat.evidence import evidence
from clearhead.heat.explain import explain, explain_with
from clearhead.heat.methods import METHODS
from clearhead.heat.scale import PERCENTILE, display_scale, learned_scale
from clearhead.model.run import Run
from clearhead.model.train import train
from clearhead.types import Recipe
from oracles import disc_folder
from small_nets import SIDE, small_classifier

QUICK = [name for name in METHODS if name not in ("rise", "occlusion", "integrated_gradients")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("explain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEARHEAD_CACHE", str(root / "cache"))
        manifest = disc_folder(root / "discs", counts=(8, 6, 4))
        return train(
            manifest, Recipe.preset("compact", size_px=48, epochs=1, batch=8), root / "run"
        )


@pytest.fixture(autouse=True)
def _cache_of_the_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARHEAD_CACHE", str(run.folder.parent / "cache"))
    (run.folder / "scale.json").unlink(missing_ok=True)


def images(run: Run, split: str = "test") -> list[Path]:
    rows = run.manifest().part(split)
    return [rows.root / source for source in rows.column("source")]


@pytest.mark.parametrize("method", QUICK)
def test_every_method_lies_on_the_pictures_own_grid(run: Run, method: str) -> None:
    ((scan, found),) = explain(run, images(run)[:1], method=method)
    assert found.heat.shape == scan.pixels.shape
    assert found.method == method
    assert 0 <= found.heat.max() <= found.peak + 1e-4 * max(found.peak, 1)
    assert found.unit == METHODS[method].unit("logit")


def test_the_margin_and_an_earlier_stage_can_be_asked_for(run: Run) -> None:
    file = images(run)[:1]
    ((_, early),) = explain(run, file, stage="stem", score="margin", target="spot")
    assert early.grid == (12, 12)
    assert early.unit == "logit margin"
    with pytest.raises(RecipeError, match="no stage 'conv1': expected stem, body, block1"):
        list(explain(run, file, stage="conv1"))


def test_pictures_are_read_as_the_runs_own_were(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    coloured = tmp_path / "coloured.png"
    Image.fromarray(random.integers(0, 256, (48, 48, 3), np.uint8)).save(coloured)
    with pytest.raises(ReadError):
        list(explain(run, [coloured]))
    ((_, asked),) = explain(run, [coloured], colour="mean")
    manifest = run.manifest().with_notes(index={"colour": "mean"})
    monkeypatch.setattr(Run, "manifest", lambda self: manifest)
    ((_, own),) = explain(run, [coloured])
    np.testing.assert_array_equal(own.heat, asked.heat)
    with pytest.raises(ReadError):
        list(explain(run, [coloured], colour="agree"))


def test_a_classifier_of_ones_own_is_explained_like_a_run(run: Run) -> None:
    scans = [read(file) for file in images(run)]
    ours = explain(run, images(run), target="spot")
    theirs = explain_with(
        run.classifier(), scans, classes=run.classes, fit="canvas", size_px=48, target="spot"
    )
    for (_, one), (_, other) in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.heat, other.heat)
        assert one.prediction.call == other.prediction.call
    with pytest.raises(RecipeError, match="no class is called 'c'"):
        list(
            explain_with(
                small_classifier(), scans, classes=("a",), fit="canvas", size_px=SIDE, target="c"
            )
        )


def peaks_of(run: Run, split: str) -> list[float]:
    rows = run.manifest().part(split)
    drawn = pictures(rows, fit=run.recipe.fit, size_px=run.recipe.size_px)
    maps = evidence(run.classifier(), torch.from_numpy(drawn[:]).unsqueeze(1)).maps
    return [float(each.max()) for each in maps]


def test_a_scale_tells_what_it_was_learned_from(run: Run) -> None:
    scale = learned_scale(run)
    peaks = peaks_of(run, "validation")
    assert (scale.split, scale.pictures) == ("validation", 6)
    assert scale.blank == sum(peak <= 0 for peak in peaks)
    positive = [peak for peak in peaks if peak > 0]
    expected = np.percentile(positive, PERCENTILE) if positive else 1.0
    assert scale.value == pytest.approx(expected, rel=1e-4)
    assert display_scale(run) == scale.value
    assert read_json(run.folder / "scale.json")["grad_cam logit"]["pictures"] == 6


def test_a_scale_is_learned_once_for_each_method_score_and_stage(run: Run) -> None:
    kinds: list[dict[str, Any]] = [
        {},
        {"score": "margin"},
        {"method": "layer_cam"},
        {"stage": "stem"},
    ]
    values = [display_scale(run, **kind) for kind in kinds]
    assert len(read_json(run.folder / "scale.json")) == 4
    assert [display_scale(run, **kind) for kind in kinds] == values


def test_a_run_without_validation_pictures_learns_from_training(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = run.manifest()
    manifest = manifest.take(manifest.column("split") != "validation")
    monkeypatch.setattr(Run, "manifest", lambda self: manifest)
    scale = learned_scale(run)
    assert (scale.split, scale.pictures) == ("train", 8)


def test_blank_maps_are_counted_and_set_no_scale(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = run.classifier()
    with torch.no_grad():
        for value in silent.parameters():
            value.zero_()
    monkeypatch.setattr(Run, "classifier", lambda self, device="cpu": silent)
    scale = learned_scale(run)
    assert (scale.blank, scale.pictures, scale.value) == (6, 6, 1.0)


def test_a_number_that_stands_in_the_file_by_itself_is_kept(run: Run) -> None:
    write_json(run.folder / "scale.json", {"grad_cam logit": 3.5})
    assert display_scale(run) == 3.5
    assert learned_scale(run).pictures == 6
    assert display_scale(run) == 3.5
