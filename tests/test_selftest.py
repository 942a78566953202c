"""The proof of the audit: trials are kept and not done again, faults and alarms are counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clearhead.audits import selftest as module
from clearhead.audits.planted import FAULTS, draw_heads, plant_fault
from clearhead.audits.selftest import SEEN, Trial, selftest
from clearhead.data.index import index
from clearhead.data.read import read
from clearhead.deliver.selftest_words import lines, values
from clearhead.errors import ManifestError

TRIAL = Trial(
    "corner", "report", 0, 600, 1.0, 0.5, {"need.brain": "fail"}, {"leak.border": "fail"}, 80.0
)
CLEAN = Trial("clean", "compact", 0, 600, 0.8, 0.8, {"lesions.missed": "warn"}, {}, 90.0)


def test_a_fault_counts_as_named_by_its_own_findings_alone() -> None:
    assert TRIAL.by_evidence
    assert TRIAL.by_data
    elsewhere = replace(TRIAL, evidence={"lesions.missed": "warn"}, data={})
    assert not elsewhere.by_evidence
    assert not elsewhere.as_expected
    by_data_alone = replace(TRIAL, evidence={})
    assert by_data_alone.as_expected


def test_a_shortcut_that_costs_nothing_was_not_taken() -> None:
    assert TRIAL.taken
    assert not replace(TRIAL, accuracy=0.72, accuracy_clean=0.70).taken


def test_the_clean_twin_is_an_alarm_where_something_fails() -> None:
    assert CLEAN.as_expected
    assert not replace(CLEAN, evidence={"need.brain": "fail"}).as_expected
    assert not replace(CLEAN, data={"leak.facts": "fail"}).as_expected


def test_every_fault_that_a_classifier_sees_says_what_names_it() -> None:
    assert SEEN[0] == "clean"
    assert {"corner", "border", "scale", "text", "skull", "blur"} == set(SEEN[1:])
    assert all(FAULTS[fault].findings for fault in SEEN[1:])


def test_lines_count_trials_and_alarms() -> None:
    said = lines([TRIAL, replace(TRIAL, seed=1, evidence={}), CLEAN])
    corner = next(line for line in said if line.startswith("corner"))
    assert " ".join(corner.split()[:12]) == "corner report 2 2 of 2 1 of 2 2 of 2"
    assert "need.brain 1" in corner
    assert said[-1] == "of 1 clean twins 0 fail; said of them: lesions.missed 1"
    check = next(line.split() for line in said if line.startswith("need.brain "))
    assert check == ["need.brain", "1/2", "1/2", "0/1", "0/1", "corner"]
    warned = replace(CLEAN, evidence={"need.brain": "warn"})
    check = next(line.split() for line in lines([TRIAL, warned]) if line.startswith("need.brain "))
    assert check == ["need.brain", "1/1", "1/1", "1/1", "0/1", "corner"]
    assert values([CLEAN])["trials"][0]["by_evidence"] is False


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"faults": ("copies",)}, "no fault is called 'copies': expected clean, corner"),
        ({"seeds": 0}, "seeds is 0: expected at least 1"),
        ({"n": 20}, "n is 20: expected at least 100 heads"),
    ],
)
def test_impossible_settings(how: dict[str, object], words: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=words):
        selftest(tmp_path / "out", **how)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_trial_is_done_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = {name: replace(each, epochs=1, size_px=64) for name, each in module.RECIPES.items()}
    monkeypatch.setattr(module, "RECIPES", quick)
    monkeypatch.setattr(module, "AUDITED", ("calls", "where"))
    (trial,) = selftest(tmp_path, n=100, faults=("text",), device="cpu")
    assert (trial.fault, trial.net, trial.heads) == ("text", "report", 100)
    assert "leak.text" in trial.data
    monkeypatch.setattr(module, "_trial", None)
    monkeypatch.setattr(module, "draw_heads", None)
    assert selftest(tmp_path, n=100, faults=("text",)) == [trial]


@pytest.mark.parametrize("fault", ["clean", "scale", "blur", "aspect"])
def test_masks_fit_their_pictures_or_are_absent(tmp_path: Path, fault: str) -> None:
    heads = draw_heads(12, seed=5, size_px=96)
    plant_fault(fault, heads, tmp_path / "heads", seed=5, masks=True)
    manifest = index(tmp_path / "heads")
    sick = manifest.column("label") == "Brain Tumor"
    masked = np.array([name is not None for name in manifest.column("mask")])
    assert not (masked & ~sick).any()
    assert masked.sum() == (0 if fault == "aspect" else sick.sum())
    for row in np.flatnonzero(masked):
        place = int(Path(manifest.column("source")[row]).stem)
        mask = read(manifest.root / manifest.column("mask")[row], colour="mean").pixels > 0
        if fault != "scale":
            assert np.array_equal(mask, heads[place].mask)
        else:
            assert 0 < mask.sum() < heads[place].mask.sum()
