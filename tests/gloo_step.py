"""Not a test: one step's gradient, alone or among processes that meet in a file, written out.

Usage: gloo_step.py MANIFEST RECIPE.json OUT.pt [MEETING]
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from clearhead.data.manifest import load_manifest
from clearhead.model.launch import launch
from clearhead.model.lessons import batches
from clearhead.model.train import Training
from clearhead.types import Recipe, silent


def main(manifest: Path, recipe_path: Path, out: Path, meeting: Path | None = None) -> None:
    if meeting is not None:
        torch.distributed.init_process_group(
            "gloo",
            init_method=f"file://{meeting}",
            rank=int(os.environ["RANK"]),
            world_size=int(os.environ["WORLD_SIZE"]),
        )
    recipe = Recipe.of(json.loads(recipe_path.read_text()))
    fabric = launch(device="cpu")
    training = Training(fabric, load_manifest(manifest), recipe, out.parent, silent)
    gradients: dict[str, torch.Tensor] = {}

    def keep() -> None:
        for name, value in training.classifier.named_parameters():
            assert value.grad is not None
            gradients[name] = value.grad.clone()

    for optimiser in training.optimisers:
        optimiser.step = keep
    rows = batches(training.parts["train"], recipe, 0)[0]
    news = training.step(rows, epoch=0, number=0, steps=1)
    if fabric.is_global_zero:
        torch.save({"gradients": gradients, "news": news}, out)
    if meeting is not None:  # or the one that leaves first ends the other's last conversation
        fabric.barrier()
        torch.distributed.destroy_process_group()
        # Once in some hundred runs a thread of torch is still there when the interpreter tears
        # all down, and aborts it. What is tested is the step, which is written by now.
        os._exit(0)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
