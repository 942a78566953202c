"""Supervision of evidence maps: each cell is told whether the tumour is there.

Annotators disagree about where a tumour ends, and so about cells that it fills in part: those are
told nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from clearhead.data.canvas import Grid

FILLED = 0.5
"""Share of a cell that the tumour must fill for the cell to be told that it is there."""

DOUBT = 0.1
"""Of the cells that may hold a tumour that nobody told of, how many are let be: the highest."""
VIEW = 5
"""Cells across the square over which evidence is averaged before the highest are found."""

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


def dense_loss(maps: Tensor, covers: Tensor, maybe: Tensor | None = None) -> Tensor:
    """Cross-entropy of evidence maps (B, h, w) against covers (B, h, w), a loss per picture (B,).

    Cells with tumour and cells without count alike, whatever their number: tumours are small. A
    tumour that fills no cell is the cell that it fills most. Where there is a tumour, the share of
    Σ exp(m) that lies in it counts too, by its negative log: told cell by cell alone, a map may be
    right nearly everywhere and hottest next to the tumour.

    Where not all tumours are told, `maybe` (B, h, w) are the cells that may hold others: the
    highest of them, `DOUBT` of all, are told nothing, so that a tumour that the net has found
    itself isn't held against it, while most of a brain is known to be none.
    """
    most = covers.amax((1, 2), keepdim=True)
    there = covers >= most.clamp(max=FILLED)
    there &= most > 0
    away = covers == 0
    if maybe is not None:
        away &= ~_highest(maps.detach().float(), maybe & away)
    losses = F.binary_cross_entropy_with_logits(maps.float(), there.float(), reduction="none")
    share = _pooled(maps.float(), there) - _pooled(maps.float(), there | away)
    ill = there.flatten(1).any(1)
    return _mean(losses, there) + _mean(losses, away) - ELSEWHERE * torch.where(ill, share, 0.0)


def map_loss(
    maps: Tensor,
    labels: Tensor,
    shares: Tensor,
    known: Tensor,
    grid: Grid,
    absent: int | None,
    brains: Tensor | None = None,
) -> Tensor:
    """The loss of evidence maps (B, F, h, w) against shares (B, S, S), summed over the pictures.

    The map of a picture's own class is told where its tumour is, every other map that nothing is
    there. Pictures of which that isn't all `known` (B,) take no part, unless their `brains`
    (B, S, S) are: these may hold tumours besides, and nothing else does. There is a map for every
    class but `absent`.
    """
    cells = (maps.shape[2], maps.shape[3])
    covers = cover(shares, grid, cells)
    inside = torch.zeros_like(covers) if brains is None else cover(brains, grid, cells)
    maybe = (inside > FILLED) & ~known[:, None, None]
    own = labels if absent is None else labels - (labels > absent).long()
    losses = torch.zeros(len(labels), device=maps.device)
    for index in range(maps.shape[1]):
        mine = (own == index) & (labels != (-1 if absent is None else absent))
        where = mine[:, None, None]
        others = None if brains is None else maybe & where
        losses = losses + dense_loss(maps[:, index], covers * where, others)
    return (losses * (known | maybe.flatten(1).any(1))).sum()


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """The mean of values (B, h, w) where `where`, (B,); 0 where there is no such cell."""
    count = where.sum((1, 2))
    return torch.where(where, values, 0.0).sum((1, 2)) / count.clamp(min=1)


def _highest(maps: Tensor, among: Tensor) -> Tensor:
    """Of the cells `among` (B, h, w) those of the highest evidence, seen a little from afar."""
    reach = VIEW // 2
    padded = F.pad(maps[:, None], (reach, reach, reach, reach), mode="replicate")
    seen = F.avg_pool2d(padded, VIEW, 1)[:, 0]
    limit = torch.where(among, seen, torch.nan).flatten(1).nanquantile(1 - DOUBT, dim=1)
    return among & (seen > limit[:, None, None])


def _pooled(values: Tensor, where: Tensor) -> Tensor:
    """The log of the sum of exp(values) (B, h, w) where `where`, (B,)."""
    least = torch.finfo(values.dtype).min
    return torch.where(where, values, least).flatten(1).logsumexp(1)
