"""Methods that change the picture or the maps and look at the score again: no gradient.

Each goes through the net many times for each picture, `AT_ONCE` changed pictures at a time, so
memory grows neither with the number of channels or masks nor with that times the batch. One pass
serves every class. Each takes a `Seen` and gives evidence (B, T, h, w) for its targets and the grid
that its cells lie on.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from clearhead.data.canvas import Grid
from clearhead.heat.seen import AT_ONCE, Seen, spread

PIXELS = Grid(offset_px=0.0, stride_px=1.0)
"""The grid of a map that has a cell for every pixel of the square."""

OCCLUSIONS = 16
"""Steps in which the patch of `occlusion` crosses the square; it is two steps wide."""

MASKS = 512
"""Masks of `rise`."""

RISE_CELLS = 7
"""Cells of a mask of `rise` along the square's side."""

RISE_SHOWN = 0.5
"""The chance with which a cell of a mask of `rise` is shown."""


def score_cam(seen: Seen) -> tuple[Tensor, Grid]:
    """Σ_k α_k A_k with α = softmax over k of y(X ⊙ H_k) − y(X_b), before the outer ReLU.

    H_k is A_k interpolated to the square and scaled to [0, 1] between its own minimum and maximum
    (0 everywhere for a constant A_k). X ⊙ H_k dims grey levels towards black, which is the baseline
    X_b; its score is the same for every k and drops out of the softmax. Source: Wang et al.,
    "Score-CAM", CVPR Workshops 2020, equation 6 to algorithm 1.
    """
    widen = _Widened(seen)
    heats = []
    for maps, x in zip(seen.maps.float(), seen.x, strict=True):
        scores = [
            seen.scores_of_inputs(_shown(seen, x, _unit_range(widen(some))))
            for some in torch.split(maps, AT_ONCE)
        ]
        alpha = torch.cat(scores).float().softmax(0)
        heats.append(torch.einsum("ck,chw->khw", alpha, maps))
    return seen.asked(torch.stack(heats)), seen.stage.grid


def ablation_cam(seen: Seen) -> tuple[Tensor, Grid]:
    """Σ_k w_k A_k with w_k = y − y_k, y_k the score when A_k is 0 everywhere, before the ReLU.

    The paper divides w_k by y. That is one factor for the whole map, which turns it inside out
    where y is negative and blows it up where y is near 0; without it, pictures can be compared.
    Source: Ramaswamy and Desai, "Ablation-CAM", WACV 2020, equations 3 and 4.
    """
    heats = []
    for maps, score in zip(seen.maps, seen.scores, strict=True):
        lost = [score - seen.scores_of_maps(some) for some in _each_silenced(maps)]
        heats.append(torch.einsum("ck,chw->khw", torch.cat(lost).float(), maps.float()))
    return seen.asked(torch.stack(heats)), seen.stage.grid


def _each_silenced(maps: Tensor) -> Iterator[Tensor]:
    """Copies (n, C, h, w) of one picture's maps, in each of which another channel is 0."""
    for channels in torch.split(torch.arange(len(maps), device=maps.device), AT_ONCE):
        copies = maps.repeat(len(channels), 1, 1, 1)
        copies[torch.arange(len(channels)), channels] = 0
        yield copies


def occlusion(seen: Seen, *, steps: int = OCCLUSIONS) -> tuple[Tensor, Grid]:
    """The score lost when a patch is filled, averaged over the patches that cover the place.

    The patch moves by a `steps`-th of the side (rounded to pixels), is two such steps wide and also
    hangs over the border, so that each place is covered by exactly four. The fill is the picture's
    own mean grey level. A cell of the map is one step. Source: Zeiler and Fergus, "Visualizing and
    Understanding Convolutional Networks", ECCV 2014, section 4.2.
    """
    step = max(1, round(seen.size_px / steps))
    cells = -(-seen.size_px // step)
    corners = torch.cartesian_prod(torch.arange(cells + 1), torch.arange(cells + 1))
    heats = []
    for x, score in zip(seen.x, seen.scores, strict=True):
        scores = [
            seen.scores_of_inputs(_covered(x, some, step)) for some in torch.split(corners, AT_ONCE)
        ]
        lost = (score - torch.cat(scores)).float().T.reshape(1, -1, cells + 1, cells + 1)
        heats.append(torch.nn.functional.avg_pool2d(lost, 2, stride=1)[0])
    return seen.asked(torch.stack(heats)), Grid((step - 1) / 2, float(step))


def _covered(x: Tensor, corners: Tensor, step: int) -> Tensor:
    """A picture (1, S, S) with one patch filled for each of `corners` (n, 2): (n, 1, S, S).

    Corner (i, j) is the lower right of the four cells which the patch has a cell in common with.
    """
    filled = x.repeat(len(corners), 1, 1, 1)
    for copy, (row, column) in zip(filled, corners.tolist(), strict=True):
        down, across = (slice(max(at - 1, 0) * step, (at + 1) * step) for at in (row, column))
        copy[:, down, across] = x.mean()
    return filled


def rise(seen: Seen, *, masks: int = MASKS, seed: int = 0) -> tuple[Tensor, Grid]:
    """What showing a place adds to the score, over random masks M: Σ (y(X ⊙ M) − ȳ) M / Σ M.

    A mask is a grid of cells, each shown with chance `RISE_SHOWN`, shifted by less than a cell at
    random and interpolated; X ⊙ M dims grey levels towards black; every picture gets the same
    masks. ȳ is the mean score over the masks: the paper's map, Σ y M / (N E[M]), is an estimate of
    this plus that constant, which would be heat everywhere. Source: Petsiuk et al., "RISE", BMVC
    2018, equation 6.
    """
    batch, classes = seen.logits.shape
    random = torch.Generator().manual_seed(seed)
    weighed = seen.x.new_zeros(batch, classes, seen.size_px**2, dtype=torch.float32)
    shown = seen.x.new_zeros(seen.size_px**2, dtype=torch.float32)
    total = seen.x.new_zeros(batch, classes, dtype=torch.float32)
    for start in range(0, masks, AT_ONCE):
        some = _random_masks(min(AT_ONCE, masks - start), seen.size_px, random).to(seen.x.device)
        flat = some.flatten(1)
        shown += flat.sum(0)
        for row, x in enumerate(seen.x):
            gained = seen.scores_of_inputs(_shown(seen, x, some)).float() - seen.scores[row]
            total[row] += gained.sum(0)
            weighed[row] += gained.T.float() @ flat
    heat = weighed / shown.clamp(min=1e-6) - (total / masks)[:, :, None]
    return seen.asked(heat.reshape(batch, classes, seen.size_px, seen.size_px)), PIXELS


def _random_masks(count: int, size_px: int, random: torch.Generator) -> Tensor:
    """Masks (count, size_px, size_px) between 0 and 1."""
    cell = -(-size_px // RISE_CELLS)
    low = (torch.rand(count, RISE_CELLS + 1, RISE_CELLS + 1, generator=random) < RISE_SHOWN).float()
    shifts = torch.randint(0, cell, (2, count), generator=random).tolist()
    down, across = (
        torch.stack(
            [
                # Cell i's centre on the plane is (i + 1/2) cells from its edge; the square begins
                # `shift` pixels inside.
                spread(RISE_CELLS + 1, Grid((cell - 1) / 2 - shift, cell), size_px, like=low)
                for shift in axis
            ]
        )
        for axis in shifts
    )
    return down @ low @ across.transpose(1, 2)


def _shown(seen: Seen, x: Tensor, masks: Tensor) -> Tensor:
    """A picture (1, S, S) under masks (n, S, S): 1 shows it, 0 is black. (n, 1, S, S)."""
    return seen.black + (x - seen.black) * masks[:, None].to(x.dtype)


def _unit_range(planes: Tensor) -> Tensor:
    """Planes (n, S, S) scaled to [0, 1] between their own extremes; 0 for a constant plane."""
    low, high = planes.amin((1, 2), keepdim=True), planes.amax((1, 2), keepdim=True)
    return (planes - low) / torch.where(high > low, high - low, 1.0)


class _Widened:
    """Interpolates maps (n, h, w) of the stage to the square, (n, S, S)."""

    def __init__(self, seen: Seen) -> None:
        height, width = seen.maps.shape[2:]
        grid, size_px = seen.stage.grid, seen.size_px
        self.down = spread(height, grid, size_px, like=seen.maps)
        self.across = spread(width, grid, size_px, like=seen.maps)

    def __call__(self, maps: Tensor) -> Tensor:
        return self.down @ maps @ self.across.T
