"""Subjects of an evidence audit with a known truth: no files, no training.

Every picture is a disc (head) around an inner disc (brain). A picture of class 0, `tumour`, carries
three bright cues: a spot in the brain (its tumour, with a mask), a patch in the rim and a mark in
the background. The net reads those cues alone that lie where it looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clearhead.audits.subject import Subject
from clearhead.data.canvas import Grid, Placement
from clearhead.data.drawn import Drawn
from clearhead.heat.evidence import evidence as evidence_of
from clearhead.model.classifier import Classifier
from clearhead.types import BACKGROUND, BRAIN, RIM, Manifest
from oracles import manifest_of

SIDE = 48
CLASSES = ("tumour", "healthy")
STRIDE = 4
HEAD, INNER, SPOT = 0.45, 0.34, 0.07
"""Radii of head, brain and tumour, as shares of the side."""
BRIGHT = 0.7
"""Brightness (0…1) above which a pixel is a cue."""
LEVELS = {BACKGROUND: 20, RIM: 130, BRAIN: 90}
CUE = 230

LOOKS = {
    "tumour": (BRAIN,),
    "rim": (RIM,),
    "background": (BACKGROUND,),
    "everything": (BACKGROUND, RIM, BRAIN),
}
"""The regions that a net reads, by the name of what it looks at."""


class LookingNet(nn.Module):
    """Two maps: brightness above `BRIGHT`, and brightness up to it, each where `weights` look.

    Pooled by mean and linear: the logit of class 0 is 600 times the mean of the first map, that of
    class 1 four times that of the second, so a cue's 1 % of a picture decides. `features` average
    over cells of `STRIDE` pixels.
    """

    def __init__(self, weights: NDArray[np.float32]) -> None:
        super().__init__()
        self.register_buffer("weights", torch.from_numpy(weights))
        self.out = nn.Linear(2, 2)
        with torch.no_grad():
            self.out.weight.copy_(torch.tensor([[600.0, 0.0], [0.0, 4.0]]))
            self.out.bias.copy_(torch.tensor([-0.25, 0.25]))
        self.grid = Grid(offset_px=(STRIDE - 1) / 2, stride_px=float(STRIDE))

    def features(self, x: Tensor) -> Tensor:
        weights = cast(Tensor, self.weights)
        cue = torch.relu(x - BRIGHT) * weights
        rest = x.clamp(max=BRIGHT) * weights
        return nn.functional.avg_pool2d(torch.cat([cue, rest], 1), STRIDE)

    def head(self, maps: Tensor) -> Tensor:
        return cast(Tensor, self.out(maps.mean((2, 3))))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


@dataclass(frozen=True)
class Scene:
    """Pictures with their truth: squares, regions (N, S, S) uint8, masks (N, S, S) bool."""

    squares: NDArray[np.uint8]
    regions: NDArray[np.uint8]
    masks: NDArray[np.bool_]


def looking(looks_at: str = "tumour", *, side: int = SIDE) -> Classifier:
    """The classifier that reads the cues in what `LOOKS` names, and nothing else."""
    weights = np.isin(disc_regions(side), LOOKS[looks_at]).astype(np.float32)
    return Classifier(LookingNet(weights)).eval()


def disc_regions(side: int = SIDE) -> NDArray[np.uint8]:
    """Background, rim and brain of the head that every picture shows, (S, S)."""
    away = _away((side - 1) / 2, (side - 1) / 2, side)
    inside = np.where(away < INNER * side, BRAIN, RIM)
    labels: NDArray[np.uint8] = np.where(away < HEAD * side, inside, BACKGROUND).astype(np.uint8)
    return labels


def scene(labels: NDArray[np.int64], *, odd: int = 2, side: int = SIDE, seed: int = 0) -> Scene:
    """One picture per label; the first `odd` of each class carry the cues of the other.

    An odd tumour is as dark as the brain (it has its mask all the same): it will be missed. An odd
    healthy picture has bright spots and no mask: a false alarm.
    """
    random = np.random.default_rng(seed)
    regions = disc_regions(side)
    ground = np.select([regions == k for k in LEVELS], list(LEVELS.values()))
    squares, masks = [], []
    for label, number in zip(labels, _number_in_class(labels), strict=True):
        spot = _tumour(side, random)
        bright = (label == 0) != (number < odd)
        picture = ground + random.integers(-5, 6, (side, side))
        if bright:
            picture[spot | _rim_patch(side, random) | _corner(side, random)] = CUE
        squares.append(picture.astype(np.uint8))
        masks.append(spot if label == 0 else np.zeros_like(spot))
    return Scene(np.stack(squares), np.repeat(regions[None], len(labels), 0), np.stack(masks))


def planted_subject(
    *,
    looks_at: str = "tumour",
    count: int = 40,
    odd: int = 2,
    side: int = SIDE,
    seed: int = 0,
    root: Path = Path("planted"),
    classes: tuple[str, ...] = CLASSES,
    classifier: Classifier | None = None,
    labels: Sequence[int] | NDArray[np.int64] | None = None,
    groups: Sequence[int] | NDArray[np.int64] | None = None,
    squares: NDArray[np.uint8] | None = None,
    regions: NDArray[np.uint8] | None = None,
    told: NDArray[np.bool_] | None = None,
    masks: NDArray[np.bool_] | None = None,
    masked: NDArray[np.bool_] | None = None,
    spacing_mm: tuple[float, float] = (np.nan, np.nan),
    evidence: NDArray[np.float32] | None = None,
    logits: NDArray[np.float32] | None = None,
    grid: Grid | None = None,
    unit: str = "logit",
    resamples: int = 200,
) -> Subject:
    """A subject whose arrays are those given, and else those of a `scene` and a `LookingNet`.

    By default labels alternate (half tumours), two pictures of one class make a group, every
    tumour has a mask, every picture's regions are told. Evidence and logits that aren't given are
    what the classifier says of the squares.
    """
    labels = np.arange(count) % 2 if labels is None else np.asarray(labels, np.int64)
    groups = _pairs(labels) if groups is None else np.asarray(groups, np.int64)
    shown = scene(labels, odd=odd, side=side, seed=seed)
    squares = shown.squares if squares is None else squares
    masks = shown.masks if masks is None else masks
    has_mask: NDArray[np.bool_] = np.any(masks, (1, 2)) if masked is None else masked
    judge = classifier or looking(looks_at, side=side)
    maps, said = explained(judge, squares, len(classes))
    said = said if logits is None else logits
    return Subject(
        classifier=judge,
        classes=classes,
        positive=0,
        rows=_rows(root, classes, labels, groups, has_mask, side, "test"),
        squares=squares,
        drawn=Drawn(
            (_whole(side),) * len(labels),
            masks,
            has_mask,
            np.tile(np.array(spacing_mm, np.float32), (len(labels), 1)),
        ),
        regions=shown.regions if regions is None else regions,
        told=np.ones(len(labels), bool) if told is None else told,
        evidence=maps if evidence is None else evidence,
        grid=judge.net.grid if grid is None else grid,
        logits=said,
        probabilities=judge.probabilities(torch.from_numpy(said)).numpy(),
        unit=unit,
        resamples=resamples,
        seed=seed,
        known=_rows(root, classes, labels, groups + 10_000, has_mask, side, "train"),
    )


def explained(
    classifier: Classifier, squares: NDArray[np.uint8], classes: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Evidence (N, K, h, w) of Grad-CAM and logits (N, K) of a classifier."""
    there = torch.from_numpy(squares).unsqueeze(1)
    found = [evidence_of(classifier, there, target=k) for k in range(classes)]
    return torch.stack([each.maps for each in found], 1).numpy(), found[0].logits.numpy()


def _whole(side: int) -> Placement:
    return Placement("stretch", (side, side), side, (0, 0, side, side), (0, 0, side, side))


def _pairs(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Groups of two consecutive pictures of one class."""
    return _number_in_class(labels) // 2 * (int(labels.max()) + 1) + labels


def _number_in_class(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    numbers = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        numbers[labels == label] = np.arange(np.count_nonzero(labels == label))
    return numbers


def _away(row: float, column: float, side: int) -> NDArray[np.float64]:
    rows, columns = np.mgrid[:side, :side]
    away: NDArray[np.float64] = np.hypot(rows - row, columns - column)
    return away


def _tumour(side: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """A spot that lies within the brain."""
    centre, angle = (side - 1) / 2, random.uniform(0, 2 * np.pi)
    reach = random.uniform(0.05, INNER - SPOT - 0.03) * side
    near = _away(centre + reach * np.sin(angle), centre + reach * np.cos(angle), side)
    spot: NDArray[np.bool_] = near < SPOT * side
    return spot


def _rim_patch(side: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """A spot cut to the rim."""
    centre, angle = (side - 1) / 2, random.uniform(0, 2 * np.pi)
    reach = (HEAD + INNER) / 2 * side
    near = _away(centre + reach * np.sin(angle), centre + reach * np.cos(angle), side)
    patch: NDArray[np.bool_] = (near < 1.2 * SPOT * side) & (disc_regions(side) == RIM)
    return patch


def _corner(side: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """A mark in one of the corners, as burned-in letters are."""
    mark = np.zeros((side, side), bool)
    mark[1 : side // 9, 1 : side // 6] = True
    corners = (mark, mark[::-1], mark[:, ::-1], mark[::-1, ::-1])
    corner: NDArray[np.bool_] = corners[random.integers(4)] & (disc_regions(side) == BACKGROUND)
    return corner


def _rows(
    root: Path,
    classes: tuple[str, ...],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    masked: NDArray[np.bool_],
    side: int,
    split: str,
) -> Manifest:
    names = [f"{split}/{classes[label]}/{row:04d}.png" for row, label in enumerate(labels)]
    count = len(names)
    return manifest_of(
        root,
        classes,
        source=names,
        label=[classes[label] for label in labels],
        sha256=names,
        pixel_hash=names,
        group=groups.tolist(),
        copy=groups.tolist(),
        split=[split] * count,
        mask=[f"masks/{row:04d}.png" if has else None for row, has in enumerate(masked)],
        format=["PNG"] * count,
        mode=["L"] * count,
        height=[side] * count,
        width=[side] * count,
        bytes=[1000 + row % 7 for row in range(count)],
    )
