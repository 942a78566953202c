"""Pictures whose brain is erased hold no evidence: a lesson for nets that find some all the same.

The audit asks what is left of the score without the brain (`audits.need`). Its fills are others
than these: a net must not get used to them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from clearhead.data.cache import scratch
from clearhead.model.regions import SURE, region_maps
from clearhead.types import BRAIN, Progress, silent

BATCH = 32
WIDER = 0.02
"""By how much the brain is widened, as a share of the side, so that no edge of it is left."""
LEVELS = (10.0, 180.0)
SPREAD = 40.0
"""Grey levels of a fill, and the largest spread of its smooth noise."""
KNOTS = 10
"""Points of that noise along a side."""


def brains(squares: NDArray[np.uint8], *, progress: Progress = silent) -> NDArray[np.bool_]:
    """The brain in each of squares (N, S, S), a little widened; nothing where it can't be told."""
    found = scratch(squares.shape, bool)
    reach = round(WIDER * squares.shape[1])
    starts = range(0, len(squares), BATCH)
    for start in progress(starts, total=len(starts), label="regions"):
        labels, sure = region_maps(np.ascontiguousarray(squares[start : start + BATCH]))
        brain = torch.from_numpy((labels == BRAIN) & (sure >= SURE)[:, None, None]).float()[:, None]
        wide = F.max_pool2d(brain, 2 * reach + 1, 1, reach)[:, 0] > 0
        found[start : start + BATCH] = wide.numpy()
    return found


def without(squares: Tensor, areas: Tensor, seeds: Tensor) -> Tensor:
    """Squares (B, 1, S, S) of 0…255 with areas (B, S, S) filled by smooth noise of any level.

    Each picture's fill is a function of its own seed (B,).
    """
    fills = torch.stack([_fill(squares.shape[-1], int(seed)) for seed in seeds])
    return torch.where(areas[:, None], fills.to(squares.device), squares.float())


def _fill(side: int, seed: int) -> Tensor:
    """Smooth noise around a level, (1, S, S)."""
    random = torch.Generator().manual_seed(seed)
    level, spread = torch.rand(2, generator=random).tolist()
    noise = torch.randn(1, 1, KNOTS, KNOTS, generator=random)
    smooth = F.interpolate(noise, size=(side, side), mode="bilinear", align_corners=False)[0]
    filled: Tensor = LEVELS[0] + (LEVELS[1] - LEVELS[0]) * level + SPREAD * spread * smooth
    return filled.clamp(0, 255)
