"""The classifier that comes with the package: a run folder without the list of its pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from clearhead.files import writing
from clearhead.model.run import Run, open_run, write_recipe, write_run

FOLDER = Path(__file__).with_name("shipped")
"""Weights, recipe, display scales and `CARD.md`, which says what it was trained on."""


NAME = Path("shipped")
"""What stands for it where a run folder is asked for."""


def shipped() -> Run:
    """The classifier in the package; what it is good for and where it fails stands in its card."""
    return open_run(FOLDER)


def run_at(path: Path) -> Run:
    """The finished run in a folder, or the shipped one where `path` is its name.

    Errors: `RunError` as `open_run`.
    """
    return shipped() if path == NAME and not (path / "run.json").exists() else open_run(path)


def pack(run: Run, folder: Path) -> Run:
    """The run with weights in half precision and without its manifest, in `folder`.

    Rounding a weight to 11 bits moves logits by about a thousandth of their size.
    """
    kept = dataclasses.replace(run, folder=folder)
    write_recipe(run.recipe, folder)
    with safe_open(run.weights, "pt") as file:
        told, names = file.metadata(), file.keys()
        tensors = {name: _halved(file.get_tensor(name)) for name in names}
    with writing(kept.weights) as temporary:
        save_file(tensors, temporary, told)
    write_run(kept)
    return kept


def _halved(value: Tensor) -> Tensor:
    """Matrices in half precision; biases, gains and what calibration fitted stay as they are."""
    return value.half() if value.ndim > 1 else value
