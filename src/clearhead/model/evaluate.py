"""The held-out split, scored: a table of predictions and the scores beside the score to beat."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from pyarrow import csv

from clearhead.data.cache import pictures
from clearhead.data.manifest import as_classes
from clearhead.data.split import copies_across
from clearhead.errors import RunError
from clearhead.files import read_json, write_json, writing
from clearhead.measure.baseline import FACTS, score_to_beat
from clearhead.measure.calibration import reliability
from clearhead.measure.scores import Baseline, Calibration, Evaluation, score
from clearhead.measure.triage import kept, triage, verdict
from clearhead.model.classifier import Classifier
from clearhead.model.memory import keep_freed_memory
from clearhead.model.run import Run
from clearhead.model.unseen import check_unseen
from clearhead.types import SPLITS, Manifest, Progress, silent

BATCH = 32
"""Pictures per forward pass."""


def evaluate(
    run: Run,
    *,
    split: str = "test",
    on: Manifest | None = None,
    named: Mapping[str, str] | None = None,
    positive: str | None = None,
    resamples: int = 1000,
    device: str = "cpu",
    progress: Progress = silent,
) -> Evaluation:
    """Score the run on one of its splits, and leave scores and predictions in the run's folder.

    Or on all usable rows of another labelled manifest `on`, of which `named` tells what class of
    the run a label stands for; its folder's name then stands for that of a split.

    Writes `evaluation/SPLIT/scores.json` and `predictions.csv` (source, label, call, triage, group
    and one probability and logit per class). Errors: `ManifestError` where the split is empty,
    classes don't fit or `on` holds pictures that the run was trained on or copies of them,
    `ReadError` where files are gone.
    """
    manifest = run.manifest()
    if on is None:
        rows, searched = manifest.part(split), not manifest.table.column("copy").null_count
        copies = copies_across(manifest, split, "train") if searched else None
    else:
        rows = as_classes(on, run.classes, named or {})
        searched = check_unseen(rows, run.learnt(), progress=progress)
        copies = (0, len(rows)) if searched else None
        split = name_of(on)
    logits, probabilities = predict(run, rows, device=device, progress=progress)
    told = (rows.labels(), probabilities, rows.groups())
    scores = score(*told, classes=run.classes, positive=positive, resamples=resamples, split=split)
    how: dict[str, Any] = {
        "classes": run.classes,
        "positive": scores.positive,
        "resamples": resamples,
    }
    calibration = run.calibration()
    several = len(np.unique(rows.labels())) > 1  # of one class alone any constant is always right
    scores = dataclasses.replace(
        scores,
        baseline=_baseline(manifest.part("train"), rows, how) if several else None,
        copies_in_training=copies,
        reliability=reliability(*told, **how),
    )
    if calibration is not None:
        other = manifest.part("validation")
        _, chances = predict(run, other, device=device, progress=progress)
        fitted_on = (other.labels(), chances, other.groups())
        found = triage(*told, calibration, fitted_on=fitted_on, **how)
        scores = dataclasses.replace(scores, triage=found)
    folder = evaluation_folder(run, split)
    _write_predictions(
        rows, run.classes, logits, probabilities, calibration, folder / "predictions.csv"
    )
    write_json(folder / "scores.json", scores.to_json())
    return scores


def name_of(on: Manifest) -> str:
    """What another set is called beside the splits: as its folder is."""
    name = on.root.resolve().name
    return f"other {name}".strip() if name in ("", *SPLITS) else name


def _baseline(known: Manifest, rows: Manifest, how: dict[str, Any]) -> Baseline:
    """What file facts alone achieve: learnt from the rows of training, scored on these."""
    return score_to_beat(
        {name: known.column(name) for name in FACTS},
        known.labels(),
        {name: rows.column(name) for name in FACTS},
        rows.labels(),
        rows.groups(),
        **how,
    )


def predict(
    run: Run,
    rows: Manifest,
    *,
    classifier: Classifier | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits and probabilities of every row, both (N, K), in the rows' order.

    `classifier` is that of the run, unless it is given (with other weights, say).
    """
    keep_freed_memory()
    classifier = classifier or run.classifier(device)
    drawn = pictures(rows, fit=run.recipe.fit, size_px=run.recipe.size_px, progress=progress)
    starts = range(0, len(rows), BATCH)
    found = []
    with torch.inference_mode():
        for start in progress(starts, total=len(starts), label="predict"):
            squares = torch.from_numpy(drawn[start : start + BATCH]).unsqueeze(1).to(device)
            found.append(classifier(squares).float())
        logits = torch.cat(found)
        return logits.cpu().numpy(), classifier.probabilities(logits).cpu().numpy()


def evaluation_folder(run: Run, split: str) -> Path:
    """Where the evaluation of a split is kept."""
    return run.folder / "evaluation" / split


def load_evaluation(run: Run, split: str = "test") -> Evaluation:
    """The scores that `evaluate` left.

    Errors: `RunError` where there are none, or the run was calibrated anew since.
    """
    path = evaluation_folder(run, split) / "scores.json"
    if not path.exists():
        raise RunError(
            f"{run.folder} is not evaluated on {split} yet: `{evaluate_command(run, split)}`"
        )
    found = Evaluation.from_json(read_json(path))
    if (found.triage and found.triage.calibration) != run.calibration():
        raise RunError(
            f"{run.folder} was calibrated anew after it was evaluated on {split}: "
            f"`{evaluate_command(run, split)}`"
        )
    return found


def evaluate_command(run: Run, split: str) -> str:
    """What to type so that a split, or another set of that name, is evaluated."""
    if split in SPLITS:
        return f"clearhead evaluate {run.folder}" + ("" if split == "test" else f" --split {split}")
    return f"clearhead evaluate {run.folder} --on MANIFEST"


def load_predictions(run: Run, split: str = "test") -> pa.Table:
    """The table of predictions that `evaluate` left; errors as those of `load_evaluation`."""
    load_evaluation(run, split)
    path = evaluation_folder(run, split) / "predictions.csv"
    text = {name: pa.string() for name in ("source", "label", "call", "triage")}
    return csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=text))


def _write_predictions(
    rows: Manifest,
    classes: tuple[str, ...],
    logits: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    calibration: Calibration | None,
    path: Path,
) -> None:
    called = [classes[index] for index in probabilities.argmax(1)]
    left = None if calibration is None else kept(probabilities, calibration.thresholds)
    verdicts = [""] * len(rows) if left is None else [verdict(each, classes)[0] for each in left]
    columns = {
        "source": pa.array(rows.column("source")),
        "label": pa.array(rows.column("label")),
        "call": pa.array(called),
        "triage": pa.array(verdicts),
        "group": pa.array(rows.groups()),
    }
    for index, name in enumerate(classes):
        columns[f"probability {name}"] = pa.array(probabilities[:, index])
        columns[f"logit {name}"] = pa.array(logits[:, index])
    table = pa.table(columns)
    with writing(path) as temporary:
        csv.write_csv(table, temporary)
