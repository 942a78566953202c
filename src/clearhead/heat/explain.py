"""Explanations of pictures: probability, call, and where the evidence lies, on their own grid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from clearhead.data.canvas import Placement, draw, lift, place
from clearhead.data.read import read_scans
from clearhead.errors import ReadError, RecipeError
from clearhead.files import walk
from clearhead.heat.evidence import Evidence, evidence
from clearhead.measure.triage import STRANGER, UNCERTAIN, kept, verdict
from clearhead.model.classifier import Classifier
from clearhead.model.memory import keep_freed_memory
from clearhead.model.run import Run
from clearhead.types import Explanation, Prediction, Progress, Scan, silent

BATCH = 32
"""Pictures per forward pass."""


def explain(
    run: Run,
    images: Iterable[Path],
    *,
    target: str | None = None,
    score: str = "logit",
    method: str = "grad_cam",
    stage: str | None = None,
    colour: str | None = None,
    batch: int = BATCH,
    device: str = "cpu",
    on_error: Callable[[Path, ReadError], None] | None = None,
    progress: Progress = silent,
) -> Iterator[tuple[Scan, Explanation]]:
    """Scan and explanation of every picture in `images` (files or folders), as they get ready.

    `target` is the class whose evidence is sought (default: the class called), `score` one of
    `seen.SCORES`, `method` of `methods.METHODS`, `stage` a place in the net (default: its last
    maps), `colour` what to do with coloured pictures: `agree` or `mean` (default: as the run's own
    pictures were read).

    Errors: `RecipeError` for an unknown class, score, method or stage; `ReadError` for a file that
    can't be read, unless `on_error` takes it.
    """
    if target is not None and target not in run.classes:
        raise RecipeError(f"no class is called {target!r}: expected {', '.join(run.classes)}")
    colour = colour or run.colour
    files = list(_files(images))
    scans = _scans(progress(files, total=len(files), label="explain"), colour, on_error)
    yield from explain_scans(
        run,
        scans,
        target=target,
        score=score,
        method=method,
        stage=stage,
        batch=batch,
        device=device,
    )


def explain_scans(
    run: Run,
    scans: Iterable[Scan],
    *,
    target: str | None = None,
    score: str = "logit",
    method: str = "grad_cam",
    stage: str | None = None,
    batch: int = BATCH,
    device: str = "cpu",
) -> Iterator[tuple[Scan, Explanation]]:
    """Scan and explanation of every scan by the classifier of a run, `batch` at a time."""
    return explain_with(
        run.classifier(device),
        scans,
        classes=run.classes,
        fit=run.recipe.fit,
        size_px=run.recipe.size_px,
        target=target,
        score=score,
        method=method,
        stage=stage,
        batch=batch,
    )


def explain_with(
    classifier: Classifier,
    scans: Iterable[Scan],
    *,
    classes: tuple[str, ...],
    fit: str,
    size_px: int,
    target: str | None = None,
    score: str = "logit",
    method: str = "grad_cam",
    stage: str | None = None,
    batch: int = BATCH,
) -> Iterator[tuple[Scan, Explanation]]:
    """Scan and explanation of every scan by any classifier; the net may be your own.

    `fit` and `size_px` say how a scan meets the square, as in a recipe. Errors: `RecipeError` for
    an unknown class, score, method or stage.
    """
    keep_freed_memory()
    if target is not None and target not in classes:
        raise RecipeError(f"no class is called {target!r}: expected {', '.join(classes)}")
    index = None if target is None else classes.index(target)
    scans = iter(scans)
    with ThreadPoolExecutor() as pool:
        while some := list(islice(scans, batch)):
            placements = [place(scan, fit=fit, size_px=size_px) for scan in some]
            squares = torch.from_numpy(np.stack(list(pool.map(draw, some, placements))))
            found = evidence(
                classifier,
                squares.unsqueeze(1).to(classifier.mean.device),
                target=index,
                score=score,
                method=method,
                stage=stage,
            )
            told = _explanations(classifier, classes, some, placements, found, method)
            told = _gated(classifier, squares, found.strangeness, told)
            yield from zip(some, told, strict=True)


def _explanations(
    classifier: Classifier,
    classes: tuple[str, ...],
    scans: list[Scan],
    placements: list[Placement],
    found: Evidence,
    method: str,
) -> Iterator[Explanation]:
    """The evidence for each scan of a batch, on the scan's own grid."""
    heats = found.maps.clamp(min=0).cpu().numpy()
    logits = found.logits.float().cpu().numpy()
    probabilities = classifier.probabilities(found.logits.float()).cpu().numpy()
    limits = classifier.thresholds.cpu().numpy()
    for row, (scan, placement) in enumerate(zip(scans, placements, strict=True)):
        call = classes[int(probabilities[row].argmax())]
        told = verdict(kept(probabilities[row], limits), classes) if len(limits) else ()
        yield Explanation(
            Prediction(scan.source, classes, logits[row], probabilities[row], call, *told),
            method,
            classes[int(found.targets[row])],
            lift(heats[row], found.grid, placement),
            peak=float(heats[row].max()),
            grid=(heats.shape[1], heats.shape[2]),
            unit=found.unit,
        )


@torch.inference_mode()
def _gated(
    classifier: Classifier,
    squares: Tensor,
    strangeness: Tensor | None,
    told: Iterator[Explanation],
) -> Iterator[Explanation]:
    """Explanations that also say how strange their pictures (B, S, S) are to the classifier.

    Another pass through the net finds it out where it isn't known.
    """
    gate = classifier.gate
    if gate is None:
        yield from told
        return
    if strangeness is None:
        _, strangeness = classifier.judged(squares.unsqueeze(1).to(classifier.mean.device))
    away = cast(Tensor, strangeness)
    turned = gate.turns_away(away).tolist()
    for one, strange, flag in zip(told, away.tolist(), turned, strict=True):
        said = replace(one.prediction, strangeness=strange, stranger=flag)
        if flag and said.triage:
            said = replace(said, triage=UNCERTAIN, reason=STRANGER)
        yield replace(one, prediction=said)


def _files(images: Iterable[Path]) -> Iterator[Path]:
    for path in images:
        if path.is_dir():
            yield from walk(path)
        else:
            yield path


def _scans(
    files: Iterable[Path], colour: str, on_error: Callable[[Path, ReadError], None] | None
) -> Iterator[Scan]:
    for path in files:
        try:
            yield from read_scans(path, colour=colour)
        except ReadError as error:
            if on_error is None:
                raise
            on_error(path, error)
