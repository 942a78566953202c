"""One display scale for a run: the evidence that is shown in full colour."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clearhead.data.cache import pictures
from clearhead.errors import ClearheadError, ManifestError, RunError
from clearhead.files import read_json, write_json
from clearhead.heat.cams import CAMS
from clearhead.heat.evidence import evidence
from clearhead.model.run import Run
from clearhead.types import Manifest, Progress, silent

PERCENTILE = 90
"""Of the peaks of pictures that have evidence: so much is shown in full colour."""

MOST, FEW = 256, 32
"""Pictures looked at, spread evenly over the split; few where a method needs many passes each."""

BATCH = 32


@dataclass(frozen=True)
class Scale:
    """What a run's pictures tell of how strong its evidence gets."""

    value: float
    """Evidence shown in full colour, in the unit of the method."""
    split: str
    """Where the pictures were taken from: `validation`, or `train` where there are none."""
    pictures: int
    """Pictures looked at."""
    blank: int
    """Of these, how many have no positive evidence for the class that they are called."""


def display_scale(
    run: Run,
    *,
    score: str = "logit",
    method: str = "grad_cam",
    stage: str | None = None,
    progress: Progress = silent,
) -> float:
    """Evidence shown in full colour in every picture of the run, in the unit of the method.

    See `learned_scale`; a number that stands in the run's `scale.json` by itself is taken as it is.
    """
    stored = _stored(run).get(_key(score, method, stage))
    if isinstance(stored, int | float):
        return float(stored)
    return learned_scale(run, score=score, method=method, stage=stage, progress=progress).value


def learned_scale(
    run: Run,
    *,
    score: str = "logit",
    method: str = "grad_cam",
    stage: str | None = None,
    progress: Progress = silent,
) -> Scale:
    """The display scale of a run with what it was learned from, found once and kept.

    It is the `PERCENTILE`th percentile of the peaks for the called class over pictures that weights
    were not fitted to (validation; training pictures where a run has no others), so two patients
    can be compared; blank maps are counted and take no part. With no evidence anywhere it is 1.

    Errors: `RunError` where it isn't in the run's `scale.json` yet and the pictures are gone.
    """
    known, key = _stored(run), _key(score, method, stage)
    if isinstance(known.get(key), dict):
        return Scale(**known[key])
    if not run.listed:
        raise RunError(
            f"{run.folder.name} has a display scale for {', '.join(known) or 'nothing'}, not for "
            f"{key}: give one with --scale"
        )
    split, rows = _rows(run)
    peaks = _peaks(run, rows, score, method, stage, progress)
    scale = Scale(_percentile(peaks), split, len(peaks), int(np.count_nonzero(peaks <= 0)))
    if key not in known:
        with contextlib.suppress(OSError):  # a run that can't be written to still explains
            write_json(run.folder / "scale.json", {**known, key: dataclasses.asdict(scale)})
    return scale


def _stored(run: Run) -> dict[str, Any]:
    path = run.folder / "scale.json"
    found: dict[str, Any] = read_json(path) if path.exists() else {}
    return found


def _key(score: str, method: str, stage: str | None) -> str:
    return f"{method} {score}" if stage is None else f"{method} {score} {stage}"


def _rows(run: Run) -> tuple[str, Manifest]:
    manifest = run.manifest()
    try:
        return "validation", manifest.part("validation")
    except ManifestError:
        return "train", manifest.part("train")


def _peaks(
    run: Run, rows: Manifest, score: str, method: str, stage: str | None, progress: Progress
) -> NDArray[np.float64]:
    """The largest evidence of each row that is looked at; 0 or below for none."""
    try:
        drawn = pictures(rows, fit=run.recipe.fit, size_px=run.recipe.size_px)
    except ClearheadError as gone:
        raise RunError(
            f"{run.folder} has no display scale yet, and the pictures to learn it from can't be "
            f"read ({gone}): give one with --scale"
        ) from None
    count = MOST if method in CAMS else FEW
    chosen = np.unique(np.linspace(0, len(rows) - 1, count).round().astype(np.int64))
    classifier = run.classifier()
    peaks = []
    starts = range(0, len(chosen), BATCH)
    for start in progress(starts, total=len(starts), label="display scale"):
        squares = torch.from_numpy(drawn[chosen[start : start + BATCH]]).unsqueeze(1)
        found = evidence(classifier, squares, score=score, method=method, stage=stage)
        peaks += found.maps.amax((1, 2)).tolist()
    return np.array(peaks)


def _percentile(peaks: NDArray[np.float64]) -> float:
    positive = peaks[peaks > 0]
    return float(np.percentile(positive, PERCENTILE)) if len(positive) else 1.0
