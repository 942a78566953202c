"""One display scale for a run: the evidence that is shown in full colour."""

from __future__ import annotations

import contextlib

import numpy as np
import torch

from clearhead.data.cache import pictures
from clearhead.errors import ClearheadError, RunError
from clearhead.files import read_json, write_json
from clearhead.heat.evidence import evidence
from clearhead.model.run import Run

PERCENTILE = 90
"""Of the peaks of validation pictures that have evidence: so much is shown in full colour."""

MOST = 256
"""Validation pictures looked at, spread evenly over the split."""

BATCH = 32


def display_scale(run: Run, *, score: str = "logit", method: str = "grad_cam") -> float:
    """Evidence shown in full colour in every picture of the run, in the unit of the score.

    It is the `PERCENTILE`th percentile of the peaks for the called class over the validation
    split, found once and kept in the run's `scale.json`. Errors: `RunError` where it isn't there
    yet and the validation pictures are gone.
    """
    path = run.folder / "scale.json"
    key = f"{method} {score}"
    known: dict[str, float] = read_json(path) if path.exists() else {}
    if key not in known:
        known[key] = _percentile(_peaks(run, score, method))
        with contextlib.suppress(OSError):  # a run that can't be written to still explains
            write_json(path, known)
    return known[key]


def _peaks(run: Run, score: str, method: str) -> list[float]:
    rows = run.manifest().part("validation")
    try:
        drawn = pictures(rows, fit=run.recipe.fit, size_px=run.recipe.size_px)
    except ClearheadError as gone:
        raise RunError(
            f"{run.folder} has no display scale yet, and its validation pictures can't be read "
            f"({gone}): give one with --scale"
        ) from None
    chosen = np.unique(np.linspace(0, len(rows) - 1, MOST).round().astype(np.int64))
    classifier = run.classifier()
    peaks: list[float] = []
    for start in range(0, len(chosen), BATCH):
        squares = torch.from_numpy(drawn[chosen[start : start + BATCH]]).unsqueeze(1)
        found = evidence(classifier, squares, score=score, method=method)
        peaks += found.maps.amax((1, 2)).tolist()
    return peaks


def _percentile(peaks: list[float]) -> float:
    positive = [peak for peak in peaks if peak > 0]
    return float(np.percentile(positive, PERCENTILE)) if positive else 1.0
