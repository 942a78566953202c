"""Evidence maps of a batch of squares, leaving the classifier as it was found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from clearhead.errors import RecipeError
from clearhead.heat.cams import CAMS, UNITS
from clearhead.model.classifier import Classifier

SCORES = ("logit", "probability")
"""What a map explains: the class's logit, or (the report's variant) its softmax probability."""


@dataclass(frozen=True)
class Evidence:
    """Evidence for one class in each picture of a batch.

    Shapes: `maps` (B, h, w), unrectified, in units of the score (or those that `cams.UNITS` names):
    with `grad_cam`, the mean over the plane is what the maps add to the score of a pooled linear
    head. `logits` (B, K), `targets` (B,).
    """

    maps: Tensor
    logits: Tensor
    targets: Tensor


def evidence(
    classifier: Classifier,
    squares: Tensor,
    *,
    target: int | None = None,
    score: str = "logit",
    method: str = "grad_cam",
) -> Evidence:
    """Evidence for `target` (default: each picture's called class) in squares (B, 1, S, S).

    The backbone runs without autograd and only the head's gradient is taken, so this costs little
    more than a forward pass; no parameter's `.grad`, no mode and no hook of the classifier is
    touched, whatever happens. Each picture's map depends on that picture alone.
    """
    if score not in SCORES:
        raise RecipeError(f"score is {score!r}: expected {' or '.join(SCORES)}")
    if method not in CAMS:
        raise RecipeError(f"method is {method!r}: expected {', '.join(CAMS)}")
    with _evaluating(classifier):
        with torch.no_grad():
            maps = classifier.net.features(classifier.normalise(squares))
        leaf = maps.detach().requires_grad_()
        with torch.enable_grad():
            logits = classifier.net.head(leaf.clone())  # a head may rectify in place
            values = logits if score == "logit" else classifier.probabilities(logits)
            targets = logits.detach().argmax(1) if target is None else _constant(target, logits)
            (gradients,) = torch.autograd.grad(values.gather(1, targets[:, None]).sum(), leaf)
        with torch.no_grad():
            heat = CAMS[method](maps.float(), gradients.float())
            if method not in UNITS:
                heat = heat * (maps.shape[2] * maps.shape[3])
    return Evidence(heat, logits.detach(), targets)


def _constant(target: int, logits: Tensor) -> Tensor:
    return torch.full((len(logits),), target, dtype=torch.long, device=logits.device)


@contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode inside; every part's own mode afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
