"""Supervision of evidence maps: each cell is told whether the tumour is there.

Annotators disagree about where a tumour ends, and so about cells that it fills in part: those, and
the cells next to them, are told nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from clearhead.data.canvas import Grid

FILLED = 0.5
"""Share of a cell that the tumour must fill for the cell to be told that it is there."""

ELSEWHERE = 1.0
"""Weight of the log of a score's share that comes from the tumour, beside the cells' own loss."""


def cover(masks: Tensor, grid: Grid, cells: tuple[int, int]) -> Tensor:
    """The share of each cell's area that a mask fills, (B, h, w), of masks (B, S, S) of 0…1.

    A cell is as wide as the grid's stride, around its centre; what lies outside the square is
    empty.
    """
    stride = round(grid.stride_px)
    before = round((stride - 1) / 2 - grid.offset_px)
    sides = [cell * stride - masks.shape[-1] - before for cell in cells]
    padded = F.pad(masks, (before, sides[1], before, sides[0]))
    return F.avg_pool2d(padded[:, None], stride)[:, 0]


def dense_loss(maps: Tensor, covers: Tensor) -> Tensor:
    """Cross-entropy of evidence maps (B, h, w) against covers (B, h, w), a loss per picture (B,).

    Cells with tumour and cells without count alike, whatever their number: tumours are small. A
    tumour that fills no cell is the cell that it fills most. Where there is a tumour, the share of
    the pooled evidence Σ exp(m) that lies in it counts too, by its negative log: told cell by cell
    alone, a map may be right nearly everywhere and hottest next to the tumour.
    """
    most = covers.amax((1, 2), keepdim=True)
    there = covers >= most.clamp(max=FILLED)
    there &= most > 0
    near = F.max_pool2d((covers > 0).float()[:, None], 3, 1, 1)[:, 0] > 0
    losses = F.binary_cross_entropy_with_logits(maps.float(), there.float(), reduction="none")
    share = _pooled(maps.float(), there) - _pooled(maps.float(), there | ~near)
    ill = there.flatten(1).any(1)
    return _mean(losses, there) + _mean(losses, ~near) - ELSEWHERE * torch.where(ill, share, 0.0)


def map_loss(
    maps: Tensor, labels: Tensor, shares: Tensor, known: Tensor, grid: Grid, absent: int | None
) -> Tensor:
    """The loss of evidence maps (B, F, h, w) against shares (B, S, S), summed over the pictures.

    The map of a picture's own class is told where its tumour is, every other map that nothing is
    there; pictures of which that isn't `known` (B,) take no part. There is a map for every class
    but `absent`.
    """
    covers = cover(shares, grid, (maps.shape[2], maps.shape[3]))
    own = labels if absent is None else labels - (labels > absent).long()
    losses = torch.zeros(len(labels), device=maps.device)
    for index in range(maps.shape[1]):
        mine = (own == index) & (labels != (-1 if absent is None else absent))
        losses = losses + dense_loss(maps[:, index], covers * mine[:, None, None])
    return (losses * known).sum()


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """The mean of values (B, h, w) where `where`, (B,); 0 where there is no such cell."""
    count = where.sum((1, 2))
    return torch.where(where, values, 0.0).sum((1, 2)) / count.clamp(min=1)


def _pooled(values: Tensor, where: Tensor) -> Tensor:
    """The log of the sum of exp(values) (B, h, w) where `where`, (B,)."""
    least = torch.finfo(values.dtype).min
    return torch.where(where, values, least).flatten(1).logsumexp(1)
