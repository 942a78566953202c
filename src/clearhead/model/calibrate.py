"""Calibration of a trained classifier: temperature, bias, and which class is ruled out when.

Both live in the weights, so whoever uses the classifier has them. Each file of weights is replaced
as a whole and says itself how it was calibrated; an evaluation made before says so when it is read
(`evaluate.load_evaluation`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clearhead.data.cache import pictures
from clearhead.data.manifest import as_classes
from clearhead.errors import ManifestError
from clearhead.measure.calibration import bias_corrected, specific_bias, temperature
from clearhead.measure.groupwise import group_means
from clearhead.measure.scores import Calibration, absent_class
from clearhead.measure.triage import check_error, thresholds, worst_copies
from clearhead.model.classifier import Classifier
from clearhead.model.evaluate import BATCH, name_of, predict
from clearhead.model.gate import Gate
from clearhead.model.gate_fitting import fit_gate
from clearhead.model.nets import EvidenceNet, Net, level_of
from clearhead.model.run import Run, save_weights
from clearhead.model.unseen import check_unseen
from clearhead.types import Manifest, Progress, Recipe, silent

ERROR = 0.05
"""Promised unless another is asked for: of a new group, the true class is ruled out this seldom."""


def calibrate(
    run: Run,
    *,
    error: float = ERROR,
    on: Manifest | None = None,
    named: Mapping[str, str] | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> Calibration:
    """Fit temperature, bias and thresholds of every weights file of a run; returns the used ones.

    The weights that the run uses get a gate too, where they have none yet. Levelled maps get their
    level, from the validation rows alone.

    They are fitted on the validation rows, or on all usable rows of another labelled manifest `on`,
    of which `named` tells what class of the run a label stands for. Nothing is written before all
    is fitted, and each file is replaced as a whole.

    Errors: `RecipeError` for an error that is no share, `ManifestError` where classes don't fit or
    `on` holds pictures that the run was trained on or copies of them, `ReadError` where a file is
    gone.
    """
    check_error(error)
    manifest = run.manifest()
    if on is None:
        rows = manifest.part("validation")
    else:
        rows = as_classes(on, run.classes, named or {})
        _check_well(run, rows)
        check_unseen(rows, run.learnt(), progress=progress)
    name = "validation" if on is None else name_of(on)
    fitted: dict[Path, tuple[Classifier, Calibration]] = {}
    for path in sorted(run.weights.parent.glob("*.safetensors")):
        classifier = run.classifier(device, weights=path)
        if on is None:
            _level(classifier, run.recipe, rows, progress)
        logits, _ = predict(run, rows, classifier=classifier, device=device, progress=progress)
        found = _fit(classifier, run.recipe, logits, rows, error)
        if path == run.weights and classifier.gate is None:
            classifier.gate = _gate(classifier, run.recipe, manifest, device, progress)
        chose = on is None and (path.stem == "best" or run.recipe.early_stop > 0)  # the epoch
        exact = len(run.classes) == 2 and not chose
        fitted[path] = classifier, dataclasses.replace(found, on=name, exact=exact)
    for path, (classifier, found) in fitted.items():
        save_weights(classifier, path, found)
    return fitted[run.weights][1]


def _check_well(run: Run, rows: Manifest) -> None:
    """Errors: `ManifestError` where the threshold is set by a class that no row is of."""
    absent = absent_class(run.classes)
    if run.recipe.calibration != "specificity" or absent is None:
        return
    if not (rows.labels() == absent).any():
        raise ManifestError(
            f"{rows.root} holds no picture of {run.classes[absent]}, and by those alone this run's "
            "threshold is set (calibration 'specificity'): name a set that has some"
        )


@torch.inference_mode()
def _level(classifier: Classifier, recipe: Recipe, rows: Manifest, progress: Progress) -> None:
    """Where maps are levelled, set where the bulk of each usually lies: the mean over groups."""
    if not recipe.levelled:
        return
    squares = pictures(rows, fit=recipe.fit, size_px=recipe.size_px, progress=progress)
    for net in classifier.modules():  # one, or the members of an ensemble
        if not isinstance(net, EvidenceNet) or net.usual is None:
            continue
        net.usual.fill_(torch.nan)  # maps as the net itself makes them
        net.usual.copy_(torch.from_numpy(usual_level(classifier, net, squares, rows.groups())))


@torch.inference_mode()
def usual_level(
    classifier: Classifier, net: Net, squares: NDArray[np.uint8], groups: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The mean level over the groups (N,) of each map of a net of the classifier's, (F,).

    `squares` (N, S, S) are normalised as the classifier does it.
    """
    levels = []
    for start in range(0, len(squares), BATCH):
        some = torch.from_numpy(squares[start : start + BATCH]).unsqueeze(1)
        maps = net.features(classifier.normalise(some.to(classifier.mean.device)))
        levels.append(level_of(maps.flatten(2)).double().cpu().numpy())
    means = [group_means(each, groups).mean() for each in np.concatenate(levels).T]
    return np.array(means, np.float32)


def _fit(
    classifier: Classifier,
    recipe: Recipe,
    logits: NDArray[np.float32],
    rows: Manifest,
    error: float,
) -> Calibration:
    """Set what calibration sets in a classifier, in single precision as it compares."""
    labels, groups = rows.labels(), rows.groups()
    own = logits - classifier.bias.cpu().numpy()
    if recipe.calibration == "bias_corrected":
        warmth, bias = bias_corrected(own, labels, groups)
    elif recipe.calibration == "specificity":
        absent = absent_class(rows.classes)
        assert absent is not None  # as `check_part` asked before the training
        bias = specific_bias(own, labels, groups, absent, recipe.specificity)
        warmth = temperature(own + bias, labels, groups)
    else:
        warmth, bias = temperature(own, labels, groups), np.zeros(own.shape[1])
    classifier.temperature.fill_(warmth)
    classifier.bias = torch.tensor(bias, dtype=torch.float32, device=classifier.mean.device)
    logits = own + classifier.bias.cpu().numpy()
    there = torch.from_numpy(logits).to(classifier.mean.device)
    probabilities = classifier.probabilities(there).cpu().numpy()
    found = thresholds(labels, probabilities, groups, error)
    classifier.thresholds = torch.tensor(found, dtype=torch.float32, device=there.device)
    return Calibration(
        error,
        float(classifier.temperature),
        tuple(classifier.thresholds.tolist()),
        tuple(len(each) for each in worst_copies(labels, probabilities, groups)),
        bias=tuple(bias.tolist()),
    )


def _gate(
    classifier: Classifier, recipe: Recipe, manifest: Manifest, device: str, progress: Progress
) -> Gate:
    """What turns away pictures that are none of the kind the run learnt from."""

    def drawn(split: str) -> tuple[Tensor, Tensor]:
        rows = manifest.part(split)
        squares = pictures(rows, fit=recipe.fit, size_px=recipe.size_px, progress=progress)
        return torch.from_numpy(squares).to(device), torch.tensor(rows.groups())

    return fit_gate(classifier, *drawn("train"), *drawn("validation"), seed=recipe.seed)
