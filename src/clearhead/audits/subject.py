"""A classifier under audit: what it says of held-out pictures, and where its evidence lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from clearhead.data.cache import pictures, scratch
from clearhead.data.canvas import Grid, on_square
from clearhead.data.drawn import Drawn, drawn
from clearhead.data.manifest import as_classes
from clearhead.errors import ManifestError
from clearhead.heat.evidence import class_evidence
from clearhead.measure.scores import positive_class
from clearhead.model.classifier import Classifier
from clearhead.model.memory import keep_freed_memory
from clearhead.model.regions import DEFAULT, SURE, region_maps
from clearhead.model.run import Run
from clearhead.types import Manifest, Progress, silent

BATCH = 32
"""Pictures per forward pass."""


@dataclass(frozen=True)
class Subject:
    """A classifier, N pictures that it never saw, and what is known and found of each.

    Shapes, row by row as `rows`: `squares` (N, S, S) uint8, what the net sees; `regions` (N, S, S)
    uint8 of `types.REGIONS`; `told` (N,) bool, False where regions can't be told; `evidence`
    (N, K, h, w) float32, for each class, unrectified, in `unit`; `logits` and `probabilities`
    (N, K); `labels` and `calls` (N,) class indices; `groups` (N,), the unit of every average.
    """

    classifier: Classifier
    classes: tuple[str, ...]
    positive: int
    """The class whose detection counts: the tumour."""
    rows: Manifest
    squares: NDArray[np.uint8]
    drawn: Drawn
    """Placements and tumour masks."""
    regions: NDArray[np.uint8]
    told: NDArray[np.bool_]
    evidence: NDArray[np.float32]
    grid: Grid
    """Where the cells of the evidence lie on the square."""
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    method: str = "grad_cam"
    unit: str = "logit"
    split: str = "test"
    resamples: int = 1000
    """Bootstrap draws of groups behind each interval."""
    seed: int = 0
    progress: Progress = silent
    known: Manifest | None = None
    """The training rows, where there are some: for the score to beat."""
    run: Run | None = None
    """The run that is audited; None for a classifier of the caller's own."""
    own: bool = False
    """Whether the rows are one of the run's own splits."""

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        return self.rows.labels()

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        return self.rows.groups()

    @cached_property
    def calls(self) -> NDArray[np.int64]:
        calls: NDArray[np.int64] = self.probabilities.argmax(1)
        return calls

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Which calls are right, (N,)."""
        right: NDArray[np.bool_] = self.calls == self.labels
        return right

    def heat(self, rows: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.float32]:
        """Evidence ≥ 0 for one class in each of some rows, on its square: (B, S, S).

        `targets` (B,) are class indices. All 0 where no place speaks for the class.
        """
        maps = np.maximum(self.evidence[rows, targets], 0)
        return on_square(maps, self.grid, self.squares.shape[1])

    def batches(self, rows: NDArray[np.int64], label: str) -> Iterator[NDArray[np.int64]]:
        """Row numbers in batches of `BATCH`, with progress."""
        starts = range(0, len(rows), BATCH)
        for start in self.progress(starts, total=len(starts), label=label):
            yield rows[start : start + BATCH]

    def predict(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits (B, K) of squares (B, S, S): of changed pictures, say."""
        return predict(self.classifier, squares)


def predict(classifier: Classifier, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits (B, K) of squares (B, S, S), in one forward pass."""
    with torch.inference_mode():
        there = torch.from_numpy(squares).unsqueeze(1).to(classifier.mean.device)
        logits: NDArray[np.float32] = classifier(there).float().cpu().numpy()
    return logits


def subject(
    run: Run,
    *,
    split: str = "test",
    on: Manifest | None = None,
    named: Mapping[str, str] | None = None,
    method: str = "grad_cam",
    score: str = "logit",
    positive: str | None = None,
    maker: str = DEFAULT,
    resamples: int = 1000,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = silent,
) -> Subject:
    """The classifier of a run, with everything that an audit of one of its splits needs.

    `on` is another data set to audit it on, all of its usable rows; `named` tells which class of
    the run a label of that set stands for (`{"meningioma": "Brain Tumor"}`).

    Errors: `ManifestError` where the split is empty or a label of `on` is none of the run's
    classes, `RecipeError` for an unknown method, score, class or maker of regions, `ReadError`
    where a file is gone.
    """
    rows = run.manifest().part(split) if on is None else as_classes(on, run.classes, named or {})
    return subject_of(
        run.classifier(device),
        rows,
        classes=run.classes,
        fit=run.recipe.fit,
        size_px=run.recipe.size_px,
        method=method,
        score=score,
        positive=positive,
        maker=maker,
        resamples=resamples,
        seed=seed,
        progress=progress,
        split=split if on is None else on.root.name,
        known=run.manifest().part("train") if run.listed else None,
        run=run,
        own=on is None,
    )


def subject_of(
    classifier: Classifier,
    rows: Manifest,
    *,
    classes: tuple[str, ...],
    fit: str,
    size_px: int,
    method: str = "grad_cam",
    score: str = "logit",
    positive: str | None = None,
    maker: str = DEFAULT,
    resamples: int = 1000,
    seed: int = 0,
    progress: Progress = silent,
    split: str = "test",
    known: Manifest | None = None,
    run: Run | None = None,
    own: bool = False,
) -> Subject:
    """Any classifier with everything that an audit on `rows` needs; the net may be your own."""
    if not len(rows):
        raise ManifestError("there are no rows: nothing to audit the classifier on")
    keep_freed_memory()
    named = classes.index(positive_class(classes, positive))
    squares = pictures(rows, fit=fit, size_px=size_px, progress=progress)
    truth = drawn(rows, fit=fit, size_px=size_px, progress=progress)
    regions = scratch(squares.shape, np.uint8)
    told = np.zeros(len(rows), bool)
    said = np.zeros((len(rows), len(classes)), np.float32)
    maps = scratch((0,), np.float32)
    starts = range(0, len(rows), BATCH)
    for start in progress(starts, total=len(starts), label="evidence"):
        part = slice(start, start + BATCH)
        regions[part], sure = region_maps(squares[part], maker=maker)
        told[part] = sure >= SURE
        there = torch.from_numpy(squares[part]).unsqueeze(1).to(classifier.mean.device)
        found = class_evidence(classifier, there, method=method, score=score)
        said[part] = found.logits.float().cpu().numpy()
        if not start:  # the first batch tells the shape of the maps
            maps = scratch((len(rows), *found.maps.shape[1:]), np.float32)
        maps[part] = found.maps.cpu().numpy()
    return Subject(
        classifier,
        classes,
        named,
        rows,
        squares,
        truth,
        regions,
        told,
        maps,
        found.grid,
        said,
        classifier.probabilities(torch.from_numpy(said)).numpy(),
        method,
        found.unit,
        split,
        resamples,
        seed,
        progress,
        known,
        run,
        own,
    )
