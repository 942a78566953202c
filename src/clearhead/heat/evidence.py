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
    strangeness: Tensor | None = None
    """(B,) by the classifier's gate, where that came from the same pass through the net."""


class ClassEvidence(NamedTuple):
    """Evidence for every class. Shapes: `maps` (B, K, h, w), unrectified; `logits` (B, K)."""

    maps: Tensor
    logits: Tensor
    grid: Grid
    unit: str
    strangeness: Tensor | None = None


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
    methods = (method,)
    return evidences(classifier, squares, methods, target=target, score=score, stage=stage)[method]


def evidences(
    classifier: Classifier,
    squares: Tensor,
    methods: Iterable[str],
    *,
    target: int | Tensor | None = None,
    score: str = "logit",
    stage: str | None = None,
) -> dict[str, Evidence]:
    """Evidence by each of several methods, see `evidence`; the backbone runs once.

    Class activation maps share the head's gradient besides. A `stage` goes to the methods that look
    at one.
    """

    def asked(logits: Tensor) -> Tensor:
        return _targets(target, logits)

    found, targets = _evidence(classifier, squares, asked, score, tuple(methods), stage)
    return {
        name: Evidence(
            one.maps[:, 0], one.logits, targets[:, 0], one.grid, one.unit, one.strangeness
        )
        for name, one in found.items()
    }


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
    return _evidence(classifier, squares, _every, score, (method,), stage)[0][method]


def _every(logits: Tensor) -> Tensor:
    """Class indices (B, K)."""
    return torch.arange(logits.shape[1], device=logits.device).expand(len(logits), -1)


def _evidence(
    classifier: Classifier,
    squares: Tensor,
    asked: Callable[[Tensor], Tensor],
    score: str,
    names: tuple[str, ...],
    stage: str | None,
) -> tuple[dict[str, ClassEvidence], Tensor]:
    """Evidence (B, T, h, w) by each method for the targets that are asked for; these, (B, T)."""
    _check(score, names, stage)
    place = stage_called(classifier.net, stage)
    graph = any(METHODS[name].graph for name in names)
    found = {}
    # A caller inside inference mode could have no gradient at all.
    with evaluating(classifier), torch.inference_mode(False):
        seen = look(classifier, squares, place, score, asked, graph=graph)
        for name in names:
            with torch.set_grad_enabled(METHODS[name].graph):
                maps, grid = METHODS[name].maps(seen)
            unit = METHODS[name].unit(score)
            found[name] = ClassEvidence(
                maps.detach(), seen.logits.detach(), grid, unit, seen.strangeness
            )
    return found, seen.targets


def _check(score: str, names: tuple[str, ...], stage: str | None) -> None:
    if score not in SCORES:
        raise RecipeError(f"score is {score!r}: expected {', '.join(SCORES)}")
    for name in names:
        if name not in METHODS:
            raise RecipeError(f"method is {name!r}: expected {', '.join(METHODS)}")
    if stage is not None and not any(METHODS[name].staged for name in names):
        raise RecipeError(
            f"{' and '.join(names)} looks at the picture and at no stage: leave stage {stage!r} out"
        )


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
    names = tuple(methods)
    found, _ = _evidence(classifier, squares, _every, score, names, stage)
    groups: list[tuple[Tensor, list[str]]] = []
    for name in names:
        maps = found[name].maps
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
