"""One batch that went through the net, as every method of explanation meets it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from clearhead.data.canvas import Grid
from clearhead.errors import RecipeError
from clearhead.model.classifier import Classifier
from clearhead.model.gate import watched
from clearhead.model.nets import Net, Stage, stages_of

SCORES = ("logit", "probability", "margin")
"""What a map explains, of a class c with logit y_c.

`logit` is y_c. `probability` is its softmax, the report's variant: its gradient vanishes where the
softmax saturates. `margin` is y_c less the mean of the other classes' logits: adding one number to
every logit changes no probability, so what training leaves of a single logit is in part arbitrary,
and so is the evidence for it. The margin's is not.
"""

AT_ONCE = 32
"""Changed pictures in one forward pass of a method that needs many of each picture."""


@dataclass(frozen=True)
class Seen:
    """Squares, what a stage of the net made of them, and the classes that are asked for.

    Shapes: `x` (B, 1, S, S), the net's input; `maps` (B, C, h, w) of the stage; `logits` and
    `scores` (B, K); `targets` (B, T) class indices. Methods don't change these in place; a net may
    rectify what it is given in place, so it is always given values of its own.
    """

    classifier: Classifier
    stage: Stage
    score: str
    x: Tensor
    maps: Tensor
    logits: Tensor
    targets: Tensor
    strangeness: Tensor | None = None
    """(B,) by the classifier's gate, where that came from the same pass."""

    @property
    def size_px(self) -> int:
        return self.x.shape[-1]

    @property
    def black(self) -> Tensor:
        """What the net sees in a black pixel, a number in a tensor."""
        return self.classifier.normalise(self.x.new_zeros(1, 1, 1, 1)).reshape(())

    @property
    def scores(self) -> Tensor:
        return scores_of(self.classifier, self.logits, self.score)

    def scores_of_inputs(self, x: Tensor) -> Tensor:
        """Scores (B, K) of inputs (B, 1, S, S), the whole net once."""
        # A copy with the strides of channels-last, see `Classifier.normalise`.
        fresh = x.to(self.x.dtype).permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)
        return self.scores_of_maps(self.stage.features(fresh.permute(0, 3, 1, 2)))

    def scores_of_maps(self, maps: Tensor) -> Tensor:
        """Scores (B, K) of maps (B, C, h, w), the rest of the net once."""
        logits = self.stage.head(maps.clone()) + self.classifier.bias
        return scores_of(self.classifier, logits, self.score)

    def gradient(self, place: int) -> Tensor:
        """Gradient (B, C, h, w) of each picture's score for target `place` by the stage's maps.

        The last one is kept: methods that weigh the same maps share it.
        """
        if place not in self._kept:
            self._kept.clear()
            (found,) = torch.autograd.grad(
                self._values[:, place].sum(), self.maps, retain_graph=True
            )
            self._kept[place] = found
        return self._kept[place]

    @cached_property
    def _kept(self) -> dict[int, Tensor]:
        return {}

    @cached_property
    def _values(self) -> Tensor:
        return self.asked(self.scores)

    def asked(self, every: Tensor) -> Tensor:
        """Of values (B, K, …) for every class those for the targets, (B, T, …)."""
        rows = torch.arange(len(every), device=every.device)[:, None]
        return every[rows, self.targets]


def scores_of(classifier: Classifier, logits: Tensor, score: str) -> Tensor:
    """Logits (B, K) as scores of the kind that `SCORES` names, (B, K)."""
    if score == "probability":
        return classifier.probabilities(logits)
    if score == "margin":
        classes = logits.shape[1]
        others = (logits.sum(1, keepdim=True) - logits) / max(classes - 1, 1)
        return logits - others
    return logits


def look(
    classifier: Classifier,
    squares: Tensor,
    stage: Stage,
    score: str,
    asked: Callable[[Tensor], Tensor],
    *,
    graph: bool,
) -> Seen:
    """Squares (B, 1, S, S) gone through the net once; `asked` makes targets from logits.

    With `graph`, the scores can be differentiated by the maps; never by what comes before them.
    """
    with torch.no_grad():
        x = classifier.normalise(squares)
        maps, strangeness = _passed(classifier, squares, x, stage)
    with torch.set_grad_enabled(graph):
        maps = maps.requires_grad_(graph)
        logits = stage.head(maps.clone()) + classifier.bias
    return Seen(classifier, stage, score, x, maps, logits, asked(logits.detach()), strangeness)


def _passed(
    classifier: Classifier, squares: Tensor, x: Tensor, stage: Stage
) -> tuple[Tensor, Tensor | None]:
    """The stage's maps of inputs `x` and, where the gate's maps are on the way, strangeness."""
    gate, last = classifier.gate, stages_of(classifier.net)[-1]
    if gate is not None and stage.name == last.name:
        early = watched(classifier.net)
        if early.name == last.name:
            maps = stage.features(x.clone()).detach()
            return maps, gate(squares, maps)
        if early.seam is not None:
            maps = early.features(x.clone())
            return early.seam(maps).detach(), gate(squares, maps)
    return stage.features(x.clone()).detach(), None


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode inside; every part's own mode afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def stage_called(net: Net, name: str | None) -> Stage:
    """The stage of that name, or the last one; `RecipeError` names those there are."""
    for part in ("features", "head", "grid"):
        if not hasattr(net, part):
            raise RecipeError(
                f"{type(net).__name__} has no {part!r}: expected a net with features(x), "
                "head(maps) and a grid, wrap it in one"
            )
    stages = stages_of(net)
    if name is None:
        return Stage(stages[-1].name, net.features, net.head, net.grid)
    for stage in stages:
        if stage.name == name:
            return stage
    there = ", ".join(stage.name for stage in stages)
    raise RecipeError(f"the net has no stage {name!r}: expected {there}")


def spread(cells: int, grid: Grid, size_px: int, *, like: Tensor) -> Tensor:
    """Linear interpolation between cell centres along one axis as a matrix (size_px, cells).

    Beyond the outermost centres the nearest cell holds, as in `canvas.on_square`.
    """
    pixels = torch.arange(size_px, dtype=torch.float32, device=like.device)
    place = ((pixels - grid.offset_px) / grid.stride_px).clamp(0, cells - 1)
    cell = torch.arange(cells, dtype=torch.float32, device=like.device)
    return (1 - (place[:, None] - cell).abs()).clamp(min=0)
