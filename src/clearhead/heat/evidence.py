"""Evidence maps of a batch of squares, leaving the classifier as it was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from clearhead.data.canvas import Grid
from clearhead.errors import RecipeError
from clearhead.heat.cams import CAMS
from clearhead.heat.methods import METHODS
from clearhead.heat.seen import SCORES, evaluating, look, stage_called
from clearhead.model.classifier import Classifier

SAME = 1e-4
"""Maps that differ by no more than this share of their largest value are one map."""


@dataclass(frozen=True)
class Evidence:
    """Evidence for one class in each picture of a batch.

    Shapes: `maps` (B, h, w), unrectified, in `unit`: with `grad_cam`, the mean over the plane is
    what the maps add to the score of a pooled linear head. `logits` (B, K), `targets` (B,).
    """

    maps: Tensor
    logits: Tensor
    targets: Tensor
    grid: Grid
    """Where the cells of the maps lie on the square."""
    unit: str


class ClassEvidence(NamedTuple):
    """Evidence for every class. Shapes: `maps` (B, K, h, w), unrectified; `logits` (B, K)."""

    maps: Tensor
    logits: Tensor
    grid: Grid
    unit: str


def evidence(
    classifier: Classifier,
    squares: Tensor,
    *,
    target: int | Tensor | None = None,
    score: str = "logit",
    method: str = "grad_cam",
    stage: str | None = None,
) -> Evidence:
    """Evidence for a class of each picture in squares (B, 1, S, S).

    `target` is one class index for all, or (B,) of them; default is the class called. `stage` is
    the place in the net whose maps are looked at (default: the last). No parameter's `.grad`, no
    mode and no hook of the classifier is touched, whatever happens, and each picture's map depends
    on that picture alone. With class activation maps the backbone runs without autograd and only
    the head's gradient is taken: they cost little more than a forward pass.

    Errors: `RecipeError` for an unknown score, method, stage or class and for a net without a seam,
    `MissingExtra`.
    """

    def asked(logits: Tensor) -> Tensor:
        return _targets(target, logits)

    found, targets = _evidence(classifier, squares, asked, score, method, stage)
    return Evidence(found.maps[:, 0], found.logits, targets[:, 0], found.grid, found.unit)


def _targets(target: int | Tensor | None, logits: Tensor) -> Tensor:
    """Class indices (B, 1)."""
    batch, classes = logits.shape
    if target is None:
        return logits.argmax(1, keepdim=True)
    wanted = torch.as_tensor(target, dtype=torch.long, device=logits.device)
    if wanted.numel() and not 0 <= int(wanted.min()) <= int(wanted.max()) < classes:
        raise RecipeError(f"target is {target}: expected classes from 0 to {classes - 1}")
    return wanted.expand(batch)[:, None]


def class_evidence(
    classifier: Classifier,
    squares: Tensor,
    *,
    score: str = "logit",
    method: str = "grad_cam",
    stage: str | None = None,
) -> ClassEvidence:
    """Evidence for every class in squares (B, 1, S, S); the backbone runs once. See `evidence`."""

    def every(logits: Tensor) -> Tensor:
        classes = torch.arange(logits.shape[1], device=logits.device)
        return classes.expand(len(logits), -1)

    return _evidence(classifier, squares, every, score, method, stage)[0]


def _evidence(
    classifier: Classifier,
    squares: Tensor,
    asked: Callable[[Tensor], Tensor],
    score: str,
    name: str,
    stage: str | None,
) -> tuple[ClassEvidence, Tensor]:
    """Evidence (B, T, h, w) for the targets that are asked for, and these, (B, T)."""
    if score not in SCORES:
        raise RecipeError(f"score is {score!r}: expected {', '.join(SCORES)}")
    if name not in METHODS:
        raise RecipeError(f"method is {name!r}: expected {', '.join(METHODS)}")
    method = METHODS[name]
    if stage is not None and not method.staged:
        raise RecipeError(f"{name} looks at the picture and at no stage: leave stage {stage!r} out")
    place = stage_called(classifier.net, stage)
    # A caller inside inference mode could have no gradient at all.
    with evaluating(classifier), torch.inference_mode(False), torch.set_grad_enabled(method.graph):
        seen = look(classifier, squares, place, score, asked, graph=method.graph)
        maps, grid = method.maps(seen)
    found = ClassEvidence(maps.detach(), seen.logits.detach(), grid, method.unit(score))
    return found, seen.targets


def coincide(
    classifier: Classifier,
    squares: Tensor,
    methods: Iterable[str] = tuple(CAMS),
    *,
    score: str = "logit",
    stage: str | None = None,
) -> tuple[tuple[str, ...], ...]:
    """The methods in groups whose maps are the same, for every class of every one of `squares`.

    The same is: up to `SAME` of the largest value. Methods of one group are one witness: that they
    agree says something of the net's head and nothing of where the evidence lies. Groups and their
    members stand in the order given.
    """
    groups: list[tuple[Tensor, list[str]]] = []
    for name in methods:
        maps = class_evidence(classifier, squares, score=score, method=name, stage=stage).maps
        for known, members in groups:
            if _same(known, maps):
                members.append(name)
                break
        else:
            groups.append((maps, [name]))
    return tuple(tuple(members) for _, members in groups)


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    largest = torch.maximum(one.abs(), other.abs()).amax((2, 3), keepdim=True)
    return bool(((one - other).abs() <= SAME * largest).all())
