"""The training loop: one page, every random choice a pure function of (seed, epoch, step).

Because nothing is drawn from a running generator, a resumed run needs no generator's state and
equals one that never stopped; and every process draws the same order and variations, so several
processes compute the gradient of one.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeGuard

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F

from clearhead.data.manifest import load_manifest, save_manifest
from clearhead.errors import RecipeError, RunError
from clearhead.files import read_json, write_json
from clearhead.model.augment import Variation, draw_variation, seed_of
from clearhead.model.calibrate import calibrate
from clearhead.model.classifier import Classifier, build
from clearhead.model.dense import map_loss
from clearhead.model.launch import circumstances, launch, rank, summed
from clearhead.model.lessons import (
    DROPOUT,
    VARIATION,
    Lesson,
    batches,
    check_part,
    cut,
    judges,
    load_part,
    seed_for,
    side_of,
)
from clearhead.model.memory import keep_freed_memory
from clearhead.model.muon import Muon
from clearhead.model.nets import StandardConv2d
from clearhead.model.pretrained import FILE as PRETRAINED
from clearhead.model.pretrained import (
    begun_with,
    check_pretrained,
    keep_pretrained,
    load_pretrained,
)
from clearhead.model.run import (
    Run,
    load_state,
    manifest_id,
    open_run,
    save_state,
    save_weights,
    write_recipe,
    write_run,
)
from clearhead.model.stopping import Interrupted, stop_asked
from clearhead.types import Manifest, Progress, Recipe, silent

CHUNK = 64
"""Pictures per forward and backward pass on a CPU; a batch is the exact sum of its chunks."""

SAVE_SECONDS = 600.0
"""A long epoch is saved this often, besides at its end and on Ctrl-C."""


@dataclass(frozen=True)
class Position:
    """How far a training has come: all that `state.pt` holds besides weights and optimisers."""

    epoch: int = 0
    step: int = 0
    """Steps done within `epoch`."""
    sums: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Loss, correct calls and pictures of this epoch so far, over all processes."""
    history: tuple[dict[str, float], ...] = ()
    seconds: float = 0.0

    def best(self) -> dict[str, float]:
        """The epoch with the lowest validation loss."""
        return min(self.history, key=lambda row: row["validation_loss"])


def train(
    manifest: Manifest,
    recipe: Recipe,
    out: Path,
    *,
    pretrained: Run | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> Run:
    """Train `recipe` on the train rows of a split manifest into the new folder `out`.

    It begins with the weights of the run `pretrained`, or with drawn ones. Under `torchrun` every
    process takes its share of each batch; otherwise one process does all.
    Errors: `ManifestError` without train and validation rows and where the pretrained run has
    learnt from pictures that are held out, or copies of them, `RecipeError` where its weights don't
    fit, `RunError` where `out` is in use, `Interrupted` on Ctrl-C, after the state is saved.
    """
    if rank() == 0 and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out} exists already: name a new folder, or go on with --resume {out}")
    check_part(manifest, recipe)  # refuse before anything is written
    if pretrained is not None and rank() == 0:
        held = manifest.take(np.isin(manifest.column("split"), ("validation", "test")))
        check_pretrained(pretrained, held, recipe, progress=progress)
    fabric = launch(device=device, precision=recipe.precision)
    if fabric.is_global_zero:
        out.mkdir(parents=True, exist_ok=True)
        if pretrained is not None:
            keep_pretrained(pretrained, manifest.classes, out)
        write_recipe(recipe, out)
        save_manifest(manifest, out / "manifest.parquet")  # last: with it a training has begun
    return Training(fabric, manifest, recipe, out, progress).run(Position())


def resume(out: Path, *, device: str = "auto", progress: Progress = silent) -> Run:
    """Go on with the interrupted training in `out`; a finished run is returned as it is."""
    if (out / "run.json").exists():
        return open_run(out)
    begun = (out / "recipe.json").exists() and (out / "manifest.parquet").exists()
    unsaved = begun and not (out / "state.pt").exists()  # stopped before its first step
    state = None if unsaved else load_state(out / "state.pt")
    if state is not None and "optimisers" not in state:
        raise RunError(f"{out} was begun by an older clearhead: train it anew, in a new folder")
    recipe = Recipe.of(read_json(out / "recipe.json"))
    fabric = launch(device=device, precision=recipe.precision)
    manifest = load_manifest(out / "manifest.parquet")
    training = Training(fabric, manifest, recipe, out, progress)
    if state is None:
        return training.run(Position())
    training.classifier.load_state_dict(state["model"])
    for optimiser, kept in zip(training.optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(kept)
    return training.run(Position(**state["position"]))


class Training:
    """What the loop holds on to: model, optimisers, pictures."""

    def __init__(
        self, fabric: Fabric, manifest: Manifest, recipe: Recipe, out: Path, progress: Progress
    ) -> None:
        keep_freed_memory()
        self.fabric, self.recipe, self.out = fabric, recipe, out
        self.progress = progress if fabric.is_global_zero else silent
        self.classes, self.manifest_id = manifest.classes, manifest_id(manifest)
        with fabric.rank_zero_first():  # one process decodes, the others read its cache
            self.parts = {
                split: load_part(
                    manifest, split, recipe, device=fabric.device, progress=self.progress
                )
                for split in ("train", "validation")
            }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(recipe.seed))
            self.classifier = build(recipe, len(self.classes), absent=self.parts["train"].absent)
        self.pretrained = begun_with(out)
        if self.pretrained is not None:
            load_pretrained(self.classifier, out)
        self.model, *self.optimisers = fabric.setup(
            self.classifier, *optimisers(self.classifier, recipe)
        )
        self.model.mark_forward_method("seen")
        self.chunk = CHUNK if fabric.device.type == "cpu" else max(recipe.batch, 256)
        self.judges = judges(self.parts["validation"], recipe)
        self.weight = _class_weights(self.parts["train"].labels, len(self.classes), recipe)

    def run(self, at: Position) -> Run:
        """Train from `at` to the end, saving after every epoch."""
        with stop_asked() as asked, torch.random.fork_rng(devices=[]):
            while at.epoch < self.recipe.epochs and not self._stale(at):
                at = self._epoch(at, asked)
                self._save(at)
        return self._finish(at)

    def _together(self, mine: bool) -> bool:
        """Whether any process says so: all must stop at the same step."""
        if self.fabric.world_size == 1:
            return mine
        return bool(summed(self.fabric, torch.tensor(float(mine), device=self.fabric.device)) > 0)

    def _stale(self, at: Position) -> bool:
        """Whether the validation loss has not improved for `early_stop` epochs."""
        patience = self.recipe.early_stop
        return bool(patience and at.history and at.epoch - at.best()["epoch"] >= patience)

    def _epoch(self, at: Position, asked: threading.Event) -> Position:
        """Train the rest of epoch `at.epoch`, then validate."""
        started = saved = time.monotonic()
        order = batches(self.parts["train"], self.recipe, at.epoch)
        sums = torch.tensor(at.sums, dtype=torch.float64)
        label = f"epoch {at.epoch + 1}/{self.recipe.epochs}"
        bar = self.progress(range(at.step, len(order)), total=len(order) - at.step, label=label)
        self.model.train()
        for number in bar:
            sums += self.step(order[number], epoch=at.epoch, number=number, steps=len(order))
            bar.note(f"loss {sums[0] / sums[2]:.3f} · accuracy {sums[1] / sums[2]:.3f}")
            stop = self._together(asked.is_set())
            now = time.monotonic()
            if stop or now - saved > SAVE_SECONDS:
                loss, correct, count = sums.tolist()
                seconds = at.seconds + now - started
                self._save(
                    replace(at, step=number + 1, sums=(loss, correct, count), seconds=seconds)
                )
                saved = now
            if stop:
                raise Interrupted(
                    f"stopped in {label}, after step {number + 1} of {len(order)}: "
                    f"go on with `clearhead train --resume {self.out}`"
                )
        return self._validated(at, sums, started)

    def step(self, rows: Tensor, *, epoch: int, number: int, steps: int) -> Tensor:
        """One step on the global batch `rows` (M, B), of each member its own.

        Returns loss, correct and count (3,), of members their mean.
        """
        recipe = self.recipe
        rate = learning_rate(recipe, epoch * steps + number, recipe.epochs * steps)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
        place = self.fabric.global_rank
        torch.manual_seed(seed_of(recipe.seed, DROPOUT, epoch, number, place))
        seeds = [seed_for(m, recipe.seed, VARIATION, epoch, number) for m in range(len(rows))]
        varied = [draw_variation(rows.shape[1], s, randomise=recipe.randomise) for s in seeds]
        news = self._gradient(rows, varied, side_of(recipe, epoch))
        for optimiser in self.optimisers:
            optimiser.step()
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        return summed(self.fabric, news)

    def _gradient(self, rows: Tensor, varied: Sequence[Variation], side: int) -> Tensor:
        """Add this process' part of the batch's gradient; returns its loss, correct, count (3,).

        The loss is divided by the weight of the global batch, so chunks and processes add up to
        the gradient of the whole; members add up, since none knows of the others.
        """
        fabric, part = self.fabric, self.parts["train"]
        members, count = rows.shape
        # Of members the mean: their batches differ in weight only where classes are weighed.
        total = self._weight_of(part.labels[rows.flatten().to(fabric.device)]) / members
        mine = torch.arange(fabric.global_rank, count, fabric.world_size)
        chunks = cut(mine, max(1, self.chunk // members)) or [mine]
        news = torch.zeros(3, dtype=torch.float64, device=fabric.device)
        for number, chunk in enumerate(chunks):
            told = Lesson.joined(
                [
                    part.lesson(own[chunk].to(fabric.device), v.take(chunk), self.recipe, side=side)
                    for own, v in zip(rows, varied, strict=True)
                ]
            )
            with fabric.no_backward_sync(self.model, enabled=number + 1 < len(chunks)):
                dense: Tensor | float = 0.0
                if told.shares is None or told.known is None or not self.recipe.mask_weight:
                    logits = self.model(told.squares)
                else:
                    with fabric.autocast():  # which fabric gives to `forward` alone
                        maps, logits = self.model.seen(told.squares)
                    dense = self.recipe.mask_weight * map_loss(
                        maps,
                        told.labels,
                        told.shares,
                        told.known,
                        self.classifier.net.grid,
                        part.absent,
                        told.brains,
                    )
                loss = self._loss(logits, told.labels, smooth=self.recipe.label_smoothing) + dense
                fabric.backward(loss * (fabric.world_size / total))
            news[0] += loss.detach() * (count / total) / members
            news[1] += (logits.detach().argmax(1) == told.labels).sum() / members
            news[2] += len(chunk)
        return news

    def _loss(self, logits: Tensor, labels: Tensor, *, smooth: float = 0.0) -> Tensor:
        """Cross-entropy summed over the pictures, each weighted by its class."""
        return F.cross_entropy(
            logits.float(), labels, self.weight, reduction="sum", label_smoothing=smooth
        )

    def _weight_of(self, labels: Tensor) -> float:
        if self.weight is None:
            return float(len(labels))
        return float(self.weight[labels].sum())

    @torch.no_grad()
    def _validate(self) -> tuple[float, float]:
        """Loss and accuracy on what the training is validated by, shared among the processes."""
        part, fabric = self.parts["validation"], self.fabric
        self.model.eval()
        mine = self.judges[fabric.global_rank :: fabric.world_size]
        sums = torch.zeros(3, dtype=torch.float64, device=fabric.device)
        for chunk in cut(mine, self.chunk):
            rows = chunk.to(fabric.device)
            labels = part.labels[rows]
            logits = self.model(part.squares[rows].unsqueeze(1))
            sums[0] += self._loss(logits, labels)
            sums[1] += (logits.argmax(1) == labels).sum()
            sums[2] += self._weight_of(labels)
        loss, correct, weight = summed(fabric, sums).tolist()
        return loss / weight, correct / len(self.judges)

    def _validated(self, at: Position, sums: Tensor, started: float) -> Position:
        """The position after epoch `at.epoch`, with its line of history; keeps the best weights."""
        seconds = time.monotonic() - started
        loss, accuracy = self._validate()
        row = {
            "epoch": at.epoch + 1,
            "train_loss": float(sums[0] / sums[2]),
            "train_accuracy": float(sums[1] / sums[2]),
            "validation_loss": loss,
            "validation_accuracy": accuracy,
            "learning_rate": float(self.optimisers[0].param_groups[0]["lr"]),
            "seconds": seconds,
        }
        if not all(math.isfinite(value) for value in row.values()):
            raise RecipeError(
                f"the loss of epoch {at.epoch + 1} is not finite: lower learning_rate "
                f"(now {self.recipe.learning_rate})"
            )
        after = Position(
            at.epoch + 1,
            history=(*at.history, row),
            seconds=at.seconds + time.monotonic() - started,
        )
        if after.best() is row and self.fabric.is_global_zero:
            save_weights(self.classifier, self.out / "weights" / "best.safetensors")
        return after

    def _save(self, at: Position) -> None:
        if self.fabric.is_global_zero:
            write_json(self.out / "history.json", list(at.history))
            state = {
                "model": self.classifier.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
                "position": asdict(at),
            }
            save_state(state, self.out / "state.pt")

    def _finish(self, at: Position) -> Run:
        """Write last weights, calibrate all, then write `run.json`; what resuming needed goes."""
        made = {
            **circumstances(self.fabric),
            "seconds": round(at.seconds, 1),
            "epochs": at.epoch,
            "best_epoch": int(at.best()["epoch"]),
            **({} if self.pretrained is None else {"pretrained": self.pretrained}),
        }
        run = Run(self.out, self.recipe, self.classes, self.manifest_id, made)
        if self.fabric.is_global_zero:
            save_weights(self.classifier, self.out / "weights" / "last.safetensors")
            calibrate(run, device=str(self.fabric.device), progress=self.progress)
            write_run(run)
            for needless in ("state.pt", PRETRAINED):
                (self.out / needless).unlink(missing_ok=True)
        self.fabric.barrier()
        return run


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """The rate at a global step of `steps`: linear warm-up, then constant or a half cosine to 0."""
    warmup = round(recipe.warmup * steps)
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    if recipe.schedule == "constant":
        return recipe.learning_rate
    share = (step - warmup) / max(1, steps - warmup)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def optimisers(classifier: Classifier, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Adam with Keras' ε = 1e-7; AdamW whose decay spares biases and gains; or Muon and AdamW.

    Muon takes the standardised filters, each a row of a matrix, and AdamW all else. Its steps are
    as long as AdamW's, so that one learning rate serves both.
    """
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimiser == "adam":
        return [torch.optim.Adam(classifier.parameters(), lr=rate, eps=1e-7, fused=True)]
    filters: list[Tensor] = []
    if recipe.optimiser == "muon":
        filters = [each.weight for each in classifier.modules() if _orthogonal(each)]
    taken = {id(value) for value in filters}
    rest = [value for value in classifier.parameters() if id(value) not in taken]
    groups = [
        {"params": [value for value in rest if value.ndim > 1], "weight_decay": decay},
        {"params": [value for value in rest if value.ndim <= 1], "weight_decay": 0.0},
    ]
    made: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=rate, fused=True)]
    if filters:
        made.append(Muon(filters, lr=rate, weight_decay=decay))
    return made


def _orthogonal(module: nn.Module) -> TypeGuard[StandardConv2d]:
    """Whether the filters of a module are learnt by Muon: all but those that read the picture."""
    return isinstance(module, StandardConv2d) and module.in_channels > 1


def _class_weights(labels: Tensor, classes: int, recipe: Recipe) -> Tensor | None:
    """Weights inverse to the classes' frequency, 1 on average over the pictures; or None."""
    if not recipe.class_weights:
        return None
    counts = torch.bincount(labels, minlength=classes).float()
    return len(labels) / (classes * counts.clamp(min=1))
