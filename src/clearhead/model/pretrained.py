"""Weights that a training begins with: those of a finished run, instead of drawn ones.

What they have learnt from, they know; so no picture of theirs may be held out from the training.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from clearhead.data.manifest import save_manifest
from clearhead.errors import RecipeError, RunError
from clearhead.files import sha256, writing
from clearhead.measure.scores import absent_class
from clearhead.model.classifier import Classifier
from clearhead.model.run import BEFORE, Run, manifest_id, open_run
from clearhead.model.unseen import check_unseen
from clearhead.types import Manifest, Progress, Recipe, silent

FILE = "pretrained.safetensors"
"""The weights that a run begins with, in its folder until it is finished."""

SHAPES = ("net", "norm", "members")
"""Settings that must be the same, or weights fit nowhere; of the report's net its size too."""

TAKEN = (*SHAPES, "fit", "size_px", "pooling", "optimiser")
"""Settings that are taken over where nothing else is asked for."""


def recipe_after(run: Run, *, preset: str | None = None, **changes: Any) -> Recipe:
    """A recipe for a training that begins with the weights of a run: the preset of its net (or one
    that is named), the run's settings of what shapes a net, then the changes.

    Errors: `RecipeError` for a preset of another net.
    """
    net = run.recipe.net
    named = net if preset is None else preset
    if Recipe.preset(named).net != net:
        raise RecipeError(
            f"preset is {named!r} and {run.folder.name} has the net {net!r}: leave the preset out"
        )
    taken = {name: getattr(run.recipe, name) for name in TAKEN}
    return Recipe.preset(named, **{**taken, **changes})


def check_pretrained(
    run: Run, held: Manifest, recipe: Recipe, *, progress: Progress = silent
) -> None:
    """That a training of `recipe` can begin with the weights of a run, and that these have learnt
    from none of the pictures that are `held` out from it, nor from a copy.

    What a run has learnt from that came without the list of its pictures isn't known.
    Errors: `RecipeError` for a net of another shape, `RunError` for weights that can't be read,
    `ManifestError` for pictures it has seen.
    """
    shapes = (*SHAPES, "size_px") if recipe.net == "report" else SHAPES
    other = [name for name in shapes if getattr(recipe, name) != getattr(run.recipe, name)]
    if other:
        told = ", ".join(
            f"{name} {getattr(run.recipe, name)}, not {getattr(recipe, name)}" for name in other
        )
        raise RecipeError(
            f"{run.folder.name} has {told}: its weights don't fit, leave these settings out"
        )
    _read(run.weights)
    remedy = "split as it did, or begin with a run that never saw them"
    check_unseen(held, run.learnt(), run=run.folder.name, remedy=remedy, progress=progress)


def keep_pretrained(run: Run, classes: tuple[str, ...], out: Path) -> None:
    """Keep in the folder `out` the weights that a training there begins with, and what they know.

    The last layer goes along where it says the same: of the same classes, or where each has one
    map of something that was found. Elsewhere it is drawn.
    """
    every, _ = _read(run.weights)
    own = {name: value.float() for name, value in every.items() if _learnt(name)}
    if not _same_words(run, classes):
        own = {name: value for name, value in own.items() if ".out." not in name}
    with writing(out / FILE) as temporary:
        save_file(own, temporary, {"run": words_of(run)})
    different = {manifest_id(rows): rows for rows in run.learnt()}
    for number, known in enumerate(different.values()):
        path = out / BEFORE / f"{number}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_manifest(known, path)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Weights, and what their file tells of them. Errors: `RunError` where it is damaged."""
    try:
        with safe_open(path, "pt") as file:
            told: dict[str, str] = file.metadata() or {}
        return load_file(path), told
    except (OSError, SafetensorError) as broken:
        raise RunError(f"the weights in {path} can't be used ({broken}): train anew") from None


def _learnt(name: str) -> bool:
    """Whether a tensor of a classifier is learnt; what is fitted afterwards is fitted anew."""
    return name.startswith("_net.") and not name.endswith(".usual")


def _same_words(run: Run, classes: tuple[str, ...]) -> bool:
    """Whether the last layer of a run speaks of these classes."""
    if run.classes == classes:
        return True
    absent = [absent_class(each) for each in (run.classes, classes)]
    maps = len(run.classes) == len(classes) == 2 and None not in absent
    return run.recipe.net == "evidence" and maps


def forget_pretrained(out: Path) -> None:
    """Undo `keep_pretrained`, in the folder of a training that didn't begin."""
    (out / FILE).unlink(missing_ok=True)
    shutil.rmtree(out / BEFORE, ignore_errors=True)


def words_of(run: Run) -> str:
    """What a run that begins with the weights of this one says of them.

    Of weights whose pictures aren't known nobody can check that the test holds none of those.
    """
    unknown = "" if run.listed else ", whose pictures aren't listed"
    return f"{run.folder.resolve().name} ({sha256(run.weights.read_bytes())[:16]}){unknown}"


def begun_with(folder: Path) -> str | None:
    """What the training in a folder, finished or not, says of the weights that it began with."""
    if (folder / FILE).exists():
        return _read(folder / FILE)[1].get("run")
    if (folder / "run.json").exists():
        words: str | None = open_run(folder).made.get("pretrained")
        return words
    return None


def load_pretrained(classifier: Classifier, folder: Path) -> None:
    """Put the weights that are kept in a run's folder into its classifier.

    Errors: `RunError` where they are damaged or of another shape.
    """
    state, (kept, _) = classifier.state_dict(), _read(folder / FILE)
    try:
        classifier.load_state_dict({**state, **kept})
    except RuntimeError as broken:
        reason = str(broken).splitlines()[-1].strip()
        raise RunError(f"{folder / FILE} holds weights of another net ({reason})") from None
