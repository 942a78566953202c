"""A run: the folder in which a training leaves everything that is needed to use and judge it.

```
runs/NAME/
├── recipe.json           every setting
├── manifest.parquet      the rows and their splits
├── history.json          one entry per epoch
├── weights/              best.safetensors, last.safetensors, each with its calibration
├── state.pt              what `--resume` needs
├── before/               what the weights that it began with had learnt from, where it did
└── run.json              classes and how it was made: written last, so its presence means complete
```
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from clearhead.data.cache import colour_of
from clearhead.data.manifest import load_manifest
from clearhead.errors import ClearheadError, RunError
from clearhead.files import read_json, write_json, writing
from clearhead.measure.scores import Calibration, absent_class
from clearhead.model.classifier import Classifier, build
from clearhead.model.gate import Gate
from clearhead.types import Manifest, Recipe

FORMAT = 1
"""Version of the run folder; a reader refuses any other."""


BEFORE = "before"
"""Folder, in that of a run, of what the weights that it began with had learnt from."""


@dataclass(frozen=True)
class Run:
    """A finished training."""

    folder: Path
    recipe: Recipe
    classes: tuple[str, ...]
    manifest_id: str
    """Digest of the rows and splits it was trained on."""
    made: Mapping[str, Any]
    """Versions, device, seconds, epochs…"""

    @property
    def listed(self) -> bool:
        """Whether the pictures of this run are known; those of the shipped one are not."""
        return (self.folder / "manifest.parquet").exists()

    def manifest(self) -> Manifest:
        """The rows and splits of this run. Errors: `RunError` where it came without them."""
        if not self.listed:
            raise RunError(
                f"{self.folder.name} came without the list of its pictures: train a run of your "
                "own, or name other pictures"
            )
        return load_manifest(self.folder / "manifest.parquet")

    def learnt(self) -> tuple[Manifest, ...]:
        """The pictures that its weights have learnt from, as far as they are known.

        Its training rows, and those of the weights that it began with.
        """
        own = (self.manifest().part("train"),) if self.listed else ()
        return (*own, *self.learnt_before())

    def learnt_before(self) -> tuple[Manifest, ...]:
        """The pictures that the weights it began with had learnt from."""
        return tuple(map(load_manifest, sorted((self.folder / BEFORE).glob("*.parquet"))))

    @property
    def colour(self) -> str:
        """What is done with coloured pictures: as it was with the run's own."""
        return colour_of(self.manifest()) if self.listed else "agree"

    def history(self) -> list[dict[str, float]]:
        """One entry per epoch: losses, accuracies, learning rate, seconds."""
        rows: list[dict[str, float]] = read_json(self.folder / "history.json")
        return rows

    @property
    def weights(self) -> Path:
        """The weights that the recipe names."""
        return self.folder / "weights" / f"{self.recipe.weights}.safetensors"

    def classifier(
        self, device: torch.device | str = "cpu", *, weights: Path | None = None
    ) -> Classifier:
        """The trained classifier, in evaluation mode, with the weights that the recipe names."""
        with torch.random.fork_rng(devices=[]):  # first weights are drawn, to be replaced
            classifier = build(self.recipe, len(self.classes), absent=absent_class(self.classes))
        load_weights(classifier, weights or self.weights)
        return classifier.to(device).eval()

    def calibration(self) -> Calibration | None:
        """How its weights were calibrated; None for weights made before there were thresholds."""
        try:
            with safe_open(self.weights, "pt") as file:
                told = (file.metadata() or {}).get("calibration")
        except (OSError, SafetensorError) as broken:
            raise _unusable(self.weights, broken) from None
        return None if told is None else Calibration.from_json(json.loads(told))


def open_run(folder: Path) -> Run:
    """The finished run in `folder`.

    Errors: `RunError` where it is no run, is unfinished, or was made by another format.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"{folder} is no run folder: expected what `clearhead train` wrote")
    if not (folder / "run.json").exists():
        hint = (
            f"go on with `clearhead train --resume {folder}`"
            if (folder / "recipe.json").exists()
            else "expected what `clearhead train` wrote"
        )
        raise RunError(f"{folder} holds no finished run: {hint}")
    try:
        facts = read_json(folder / "run.json")
        if facts.get("format") != FORMAT:
            raise RunError(
                f"{folder} has run format {facts.get('format')!r}: this clearhead reads {FORMAT}"
            )
        return Run(
            folder,
            Recipe.of(read_json(folder / "recipe.json")),
            tuple(facts["classes"]),
            facts["manifest_id"],
            facts["made"],
        )
    except (OSError, ValueError, KeyError, AttributeError) as broken:
        raise RunError(
            f"{folder} holds a damaged run ({broken.__class__.__name__}: {broken}): train it again"
        ) from None


def manifest_id(manifest: Manifest) -> str:
    """Digest of what a training depends on: digests, labels and splits, in source order."""
    columns = [manifest.column(name) for name in ("source", "sha256", "label", "split")]
    rows = sorted(zip(*columns, strict=True), key=lambda row: str(row[0]))
    digest = hashlib.sha256()
    for row in rows:
        digest.update("\t".join(map(str, row)).encode() + b"\n")
    return digest.hexdigest()[:32]


def save_weights(
    classifier: torch.nn.Module, path: Path, calibration: Calibration | None = None
) -> None:
    """Write the weights as safetensors, whole or not at all, and in them how they were calibrated.

    One file holds both, so they can't disagree.
    """
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in classifier.state_dict().items()
    }
    told = {"calibration": json.dumps(dataclasses.asdict(calibration))} if calibration else None
    with writing(path) as temporary:
        save_file(tensors, temporary, told)


def load_weights(classifier: Classifier, path: Path) -> None:
    """Read safetensors weights, and the gate among them, into a classifier of the same shape.

    Errors: `RunError` for a missing, damaged or differently shaped file.
    """
    try:
        state = load_file(path)
        gated = "gate.centre" in state  # older runs hold none
        gate = Gate(len(state["gate.centre"])) if gated else None
        classifier.gate = gate if gate is None else gate.to(classifier.mean.device)
        classifier.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError) as broken:
        raise _unusable(path, broken) from None


def _unusable(path: Path, broken: Exception) -> RunError:
    reason = str(broken).splitlines()[0]
    return RunError(f"the weights in {path} can't be used ({reason}): train again")


def save_state(state: Mapping[str, Any], path: Path) -> None:
    """Write what resuming needs, whole or not at all."""
    with writing(path) as temporary:
        torch.save(dict(state), temporary)


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote; only tensors and plain values are accepted.

    Errors: `RunError` where there is nothing to resume or it is damaged.
    """
    if not path.exists():
        raise RunError(
            f"{path.parent} holds no interrupted training: start one with `clearhead train`"
        )
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as broken:
        reason = str(broken).splitlines()[0]
        raise RunError(f"{path} is damaged ({reason}): start the training again") from None
    return state


def write_run(run: Run) -> None:
    """Write `run.json`, the mark of a finished run."""
    if not run.folder.is_dir():
        raise ClearheadError(f"{run.folder} vanished during the training")
    write_json(
        run.folder / "run.json",
        {
            "format": FORMAT,
            "classes": list(run.classes),
            "manifest_id": run.manifest_id,
            "made": dict(run.made),
        },
    )


def write_recipe(recipe: Recipe, folder: Path) -> None:
    """Write `recipe.json`."""
    write_json(folder / "recipe.json", dataclasses.asdict(recipe))
