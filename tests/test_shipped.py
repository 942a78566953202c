"""The classifier in the package: packed from a run, opened without one, honest about its limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clearhead.audits.subject import subject
from clearhead.data.heads import HEALTHY, TUMOUR, head
from clearhead.errors import RunError
from clearhead.heat.explain import explain
from clearhead.heat.scale import display_scale
from clearhead.model.evaluate import predict
from clearhead.model.run import Run, open_run
from clearhead.model.shipped import FOLDER, NAME, pack, run_at, shipped
from clearhead.model.train import train
from clearhead.types import Recipe
from oracles import disc_folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("shipped")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLEARHEAD_CACHE", str(root / "cache"))
        recipe = Recipe.preset("evidence", size_px=48, epochs=2, batch=8)
        return train(disc_folder(root / "discs"), recipe, root / "run")


@pytest.fixture
def packed(trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("CLEARHEAD_CACHE", str(trained.folder.parent / "cache"))
    pack(trained, tmp_path / "packed")
    return open_run(tmp_path / "packed")


def test_a_packed_run_says_nearly_what_the_run_says(trained: Run, packed: Run) -> None:
    rows = trained.manifest().part("test")
    before, _ = predict(trained, rows)
    after, _ = predict(packed, rows)
    assert after == pytest.approx(before, abs=0.02 * float(np.abs(before).max()))
    assert packed.weights.stat().st_size < 0.6 * trained.weights.stat().st_size
    assert packed.calibration() == trained.calibration()


def test_a_packed_run_holds_nothing_of_its_pictures(trained: Run, packed: Run) -> None:
    names = {path.name for path in packed.folder.rglob("*") if path.is_file()}
    assert names == {"run.json", "recipe.json", "last.safetensors"}
    assert not packed.listed
    told = "".join((packed.folder / name).read_text() for name in ("run.json", "recipe.json"))
    assert str(trained.manifest().root) not in told
    with pytest.raises(RunError, match="packed came without the list of its pictures"):
        packed.manifest()


def test_it_explains_and_is_audited_on_other_pictures(trained: Run, packed: Run) -> None:
    rows = trained.manifest().part("test")
    files = [rows.root / source for source in rows.column("source")[:3]]
    assert len(list(explain(packed, files))) == 3
    found = subject(packed, on=rows, resamples=20)
    assert found.known is None
    assert len(found) == len(rows)
    with pytest.raises(RunError, match="display scale for nothing, not for grad_cam logit"):
        display_scale(packed)


def test_its_name_stands_for_it_unless_a_run_has_that_name(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_at(NAME).folder == FOLDER
    (tmp_path / "shipped" / "explanations").mkdir(parents=True)
    assert run_at(NAME).folder == FOLDER
    pack(trained, tmp_path / "shipped")
    assert run_at(NAME).folder == NAME


def test_the_shipped_one_tells_generated_tumours_and_points_at_them(tmp_path: Path) -> None:
    """Heads of seeds that no training drew; it must do well on what it was made for."""
    run = shipped()
    right, hits, ill = 0, 0, 0
    for row in range(24):
        label = TUMOUR if row % 2 else HEALTHY
        made = head((907, row), label=label, contrast="T1-CE")
        Image.fromarray(made.pixels).save(tmp_path / "head.png")
        ((_, told),) = explain(run, [tmp_path / "head.png"], target="Brain Tumor")
        called = told.prediction.call == "Brain Tumor"
        right += called == (label == TUMOUR)
        if label == TUMOUR and called:
            ill += 1
            hits += bool(made.mask[np.unravel_index(told.heat.argmax(), told.heat.shape)])
    assert right >= 18
    assert hits >= 0.6 * ill


def test_the_shipped_one_is_small_and_has_a_card_and_scales() -> None:
    assert (FOLDER / "CARD.md").exists()
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 4e6
    for score in ("logit", "margin", "probability"):
        assert display_scale(shipped(), score=score) > 0
    assert shipped().calibration() is not None
