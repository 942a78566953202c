"""What a run says of pictures, and whether its heat lies on their tumours: kept beside the run.

Pooling many runs needs this of each of them, again and again; it is found once, and found anew
where weights, pictures or labels are no longer the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clearhead.audits.beside import HEAT
from clearhead.data.cache import pictures
from clearhead.data.canvas import on_square
from clearhead.data.drawn import drawn
from clearhead.files import sha256, writing
from clearhead.heat.controls import CONTROLS, Ground
from clearhead.heat.evidence import class_evidence
from clearhead.measure.baseline import FACTS, fact_probabilities
from clearhead.measure.localisation import distances, energy, pointing
from clearhead.measure.scores import positive_class
from clearhead.model.memory import keep_freed_memory
from clearhead.model.run import Run
from clearhead.types import Manifest, Progress, silent

VERSION = "1"
"""Raised whenever something else is kept."""
BATCH = 32
"""Pictures per forward pass."""
METHOD, SCORE = "grad_cam", "margin"
"""How heat for the positive class is made: evidence for it less that for the others."""
BESIDE = ("uniform", "centre", "edges", "blobs")
"""The controls that need neither regions nor another picture's heat."""


@dataclass(frozen=True)
class Said:
    """What a run says of N pictures.

    Shapes: `probabilities` (N, K), `facts` (N, K) or None, each array of `pointing` and `inside`
    (N,), by the name of the heat's maker (`HEAT` or one of `BESIDE`).
    """

    probabilities: NDArray[np.float64]
    pointing: dict[str, NDArray[np.float64]]
    """Chance that the hottest pixel for the positive class lies on the tumour; NaN without mask."""
    inside: dict[str, NDArray[np.float64]]
    """Share of the heat inside the tumour; NaN without mask or heat."""
    facts: NDArray[np.float64] | None = None
    """Probabilities from file facts alone, learnt on the same training rows; None where the
    pictures aren't of the run's own data set."""


def said(
    run: Run,
    rows: Manifest,
    name: str,
    *,
    own: bool = True,
    positive: str | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> Said:
    """What the run says of `rows`, labelled with its classes; kept in its `evaluation/NAME/`.

    `own` tells that the rows are of the data set that it was trained on: then file facts are asked
    too. Errors: `ReadError` where a file is gone.
    """
    path = run.folder / "evaluation" / name / "said.npz"
    named = positive_class(run.classes, positive)
    key = _key(run, rows, named, own)
    known = _load(path, key)
    if known is not None:
        return known
    found = _find(run, rows, run.classes.index(named), device, progress)
    if own:
        found["facts"] = _facts(run, rows)
    with contextlib.suppress(OSError):  # a run that can't be written to still speaks
        _save(path, key, found)
    return _said(found)


def _key(run: Run, rows: Manifest, positive: str, own: bool) -> str:
    """Digest of all that the answer depends on."""
    weights = run.folder / "weights" / f"{run.recipe.weights}.safetensors"
    words = (VERSION, sha256(weights.read_bytes()), run.manifest_id, positive, METHOD, SCORE, own)
    digest = hashlib.sha256(" ".join(map(str, words)).encode())
    columns = [rows.column(name) for name in ("source", "sha256", "label", "mask")]
    for row in zip(*columns, strict=True):
        digest.update("\t".join(map(str, row)).encode() + b"\n")
    return digest.hexdigest()


def _load(path: Path, key: str) -> Said | None:
    try:
        with np.load(path) as kept:
            found = {name: kept[name] for name in kept.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None  # absent or damaged: it is found anew
    return _said(found) if str(found.pop("key", "")) == key else None


def _save(path: Path, key: str, found: dict[str, NDArray[Any]]) -> None:
    with writing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, key=np.array(key), **found)


def _said(found: dict[str, NDArray[Any]]) -> Said:
    makers = (HEAT, *BESIDE)
    return Said(
        found["probabilities"],
        {maker: found[f"pointing {maker}"] for maker in makers},
        {maker: found[f"inside {maker}"] for maker in makers},
        found.get("facts"),
    )


def _facts(run: Run, rows: Manifest) -> NDArray[np.float64]:
    known = run.manifest().part("train")
    return fact_probabilities(
        {name: known.column(name) for name in FACTS},
        known.labels(),
        {name: rows.column(name) for name in FACTS},
        len(run.classes),
    )


def _find(
    run: Run, rows: Manifest, target: int, device: str, progress: Progress
) -> dict[str, NDArray[Any]]:
    keep_freed_memory()
    recipe = run.recipe
    classifier = run.classifier(device)
    squares = pictures(rows, fit=recipe.fit, size_px=recipe.size_px, progress=progress)
    truth = drawn(rows, fit=recipe.fit, size_px=recipe.size_px, progress=progress)
    shown = truth.masked & (rows.labels() == target)
    found: dict[str, NDArray[Any]] = {"probabilities": np.zeros((len(rows), len(run.classes)))}
    for maker in (HEAT, *BESIDE):
        for measure in ("pointing", "inside"):
            found[f"{measure} {maker}"] = np.full(len(rows), np.nan)
    starts = range(0, len(rows), BATCH)
    for start in progress(starts, total=len(starts), label="predictions and heat"):
        part = np.arange(start, min(start + BATCH, len(rows)))
        there = torch.from_numpy(squares[part]).unsqueeze(1).to(device)
        seen = class_evidence(classifier, there, method=METHOD, score=SCORE)
        chances = classifier.probabilities(seen.logits.float())
        found["probabilities"][part] = chances.double().cpu().numpy()
        masked = shown[part]
        if masked.any():
            maps = np.maximum(seen.maps[:, target].float().cpu().numpy()[masked], 0)
            heats = on_square(maps, seen.grid, recipe.size_px)
            _locate(found, part[masked], heats, squares, truth.masks[part[masked]])
    return found


def _locate(
    found: dict[str, NDArray[Any]],
    rows: NDArray[np.int64],
    heats: NDArray[np.float32],
    squares: NDArray[np.uint8],
    masks: NDArray[np.bool_],
) -> None:
    """Fill in where the heat of masked pictures lies, and that of the controls."""
    nothing = np.zeros(masks.shape, np.uint8)
    ground = Ground(squares[rows], nothing, heats, rows)
    far = distances(masks)
    made = {HEAT: heats} | {name: CONTROLS[name](ground) for name in BESIDE}
    for maker, each in made.items():
        found[f"pointing {maker}"][rows] = pointing(each, far)[:, 0]
        found[f"inside {maker}"][rows] = energy(each, masks)
