"""The audit of a run: order, choice, what it says of how it was made, and of another set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import nn

from clearhead.audits.audit import AUDITS, audit, examine
from clearhead.audits.calls import calls
from clearhead.audits.section import EvidenceAudit
from clearhead.audits.subject import subject
from clearhead.data.copies import find_copies
from clearhead.data.index import index
from clearhead.data.manifest import load_thumbnails
from clearhead.data.phantom import phantom
from clearhead.data.split import split
from clearhead.errors import ManifestError, RunError
from clearhead.measure.scores import score
from clearhead.model.classifier import Classifier
from clearhead.model.run import Run
from clearhead.model.train import train
from clearhead.types import Manifest, Recipe
from subjects import LOOKS, LookingNet, disc_regions, planted_subject


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = phantom(tmp_path_factory.mktemp("audit") / "heads", n=60, seed=3, size_px=96)
    path = folder.with_suffix(".parquet")
    return split(find_copies(index(folder, path), load_thumbnails(path)), seed=0)


@pytest.fixture(scope="module")
def run(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = Recipe.preset("compact", size_px=64, epochs=1, batch=16)
    return train(manifest, recipe, tmp_path_factory.mktemp("audit-run") / "first")


@pytest.fixture(scope="module")
def found(run: Run) -> EvidenceAudit:
    return audit(run, resamples=50)


def test_every_check_gives_its_section(found: EvidenceAudit) -> None:
    assert [section.name for section in found.sections] == list(AUDITS)
    assert all(finding.level in ("info", "warn", "fail") for finding in found.findings)


def test_a_figure_named_by_a_finding_is_in_its_section(found: EvidenceAudit) -> None:
    for section in found.sections:
        drawn: list[Any] = [*section.tables, *section.dots, *section.shares, *section.sheets]
        names = {each.name for each in [*drawn, *section.maps, *section.curves]}
        for finding in section.findings:
            assert finding.figure is None or finding.figure in names, finding


def test_what_it_says_is_json_and_names_no_folder(found: EvidenceAudit, run: Run) -> None:
    text = json.dumps(found.to_json(), allow_nan=False)
    assert str(run.folder.parent) not in text
    assert found.made["pictures"] == f"{len(found.subject)} of the test split"


def test_the_same_seed_says_the_same(found: EvidenceAudit) -> None:
    again = examine(found.subject, only=("need", "strategies"))
    first = [each for each in found.sections if each.name in ("need", "strategies")]
    assert [section.findings for section in again.sections] == [each.findings for each in first]


def test_another_name_is_refused_before_the_work(tmp_path: Path, run: Run) -> None:
    with pytest.raises(RunError, match="no check is called 'heat': expected calls, "):
        audit(run, only=["heat"])


def test_calls_are_those_of_an_independent_library(found: EvidenceAudit) -> None:
    told = found.subject
    scores = score(
        told.labels, told.probabilities, told.groups, classes=told.classes, resamples=0
    ).per_group
    auc = roc_auc_score(told.labels == told.positive, told.probabilities[:, told.positive])
    section = calls(told)
    assert section.findings[0].value == scores.accuracy.value
    rows = {row[0]: row[1] for row in section.tables[0].rows}
    assert float(str(rows["ROC-AUC"])) == pytest.approx(auc, abs=5e-4)


def test_training_pictures_are_named_as_seen(run: Run) -> None:
    taught = calls(subject(run, split="train"))
    seen = next(finding for finding in taught.findings if finding.check == "calls.seen")
    assert seen.value == 1.0
    assert len(seen.sources) == len(run.manifest().part("train"))
    held = calls(subject(run))
    assert not any(finding.check == "calls.seen" for finding in held.findings)


# --- Another set ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = phantom(tmp_path_factory.mktemp("other") / "heads", n=40, seed=9, size_px=96)
    (folder / "Brain Tumor").rename(folder / "meningioma")
    (folder / "masks.csv").unlink(missing_ok=True)
    return index(folder)


def test_another_set_is_labelled_with_the_classes_of_the_run(run: Run, other: Manifest) -> None:
    told = subject(run, on=other, named={"meningioma": "Brain Tumor"})
    assert len(told) == 40
    named = {"meningioma": "Brain Tumor", "Healthy": "Healthy"}
    kept = [named[label] for label in other.column("label")]
    assert [told.classes[label] for label in told.labels] == kept


def test_a_label_that_the_run_does_not_know_is_an_error(run: Run, other: Manifest) -> None:
    with pytest.raises(ManifestError, match="say which it stands for with --as 'meningioma'=CLASS"):
        subject(run, on=other)
    with pytest.raises(ManifestError, match="glioma=Brain Tumor names no pair of classes"):
        subject(run, on=other, named={"glioma": "Brain Tumor"})


# --- Three classes --------------------------------------------------------------------------


class ThreeClassNet(LookingNet):
    """As `LookingNet`, with a third class that is never called."""

    def __init__(self, weights: NDArray[np.float32]) -> None:
        super().__init__(weights)
        self.out = nn.Linear(2, 3)
        with torch.no_grad():
            self.out.weight.copy_(torch.tensor([[600.0, 0.0], [0.0, 4.0], [0.0, 4.0]]))
            self.out.bias.copy_(torch.tensor([-0.25, 0.25, 0.2]))


@pytest.mark.parametrize(
    ("looks_at", "failed"), [("tumour", set()), ("background", {"need.brain", "where.background"})]
)
def test_more_than_two_classes_are_audited_alike(looks_at: str, failed: set[str]) -> None:
    weights = np.isin(disc_regions(), LOOKS[looks_at]).astype(np.float32)
    told = planted_subject(
        classes=("tumour", "healthy", "other"),
        classifier=Classifier(ThreeClassNet(weights)).eval(),
        labels=np.arange(60) % 3,
    )
    judged = examine(told)
    assert {each.check for each in judged.findings if each.level == "fail"} == failed
    pointing = next(each for each in judged.findings if each.check == "lesions.pointing")
    assert pointing.value == pytest.approx(1.0 if looks_at == "tumour" else 0.0, abs=0.01)
    by_class = next(each for each in judged.findings if each.check == "calls.right")
    assert by_class.value == pytest.approx(0.6)
