"""The gate: whether a picture is of the kind that a net learnt from, or a stranger to it.

Told by the Mahalanobis distance from the training pictures, of the mean and the deviation of each
of the net's maps and of a coarse view of the square. No stranger takes part in the fit.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clearhead.model.nets import Net, Stage, stages_of

VIEW = 4
"""Cells across the coarse view of a square."""


class Gate(nn.Module):
    """From squares and a net's maps to how strange they are, and the line above which they are.

    `forward` gives the squared Mahalanobis distance divided by the number of traits: about 1 for a
    picture like those it was fitted on, without upper limit. Source: Lee et al., "A simple unified
    framework for detecting out-of-distribution samples and adversarial attacks", NeurIPS 2018,
    with one centre for all classes. Until it is fitted nothing is strange. All it holds are
    buffers: D traits make 4·D² bytes, 0.3 MB for a net with 128 maps.
    """

    centre: Tensor
    whitening: Tensor
    threshold: Tensor

    def __init__(self, traits: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(traits))
        self.register_buffer("whitening", torch.zeros(traits, traits))
        self.register_buffer("threshold", torch.tensor(torch.inf))

    def forward(self, squares: Tensor, maps: Tensor) -> Tensor:
        """Strangeness (B,) of squares (B, 1, S, S) of 0…255 whose maps are (B, C, h, w)."""
        away = (traits_of(squares, maps) - self.centre) @ self.whitening
        return away.square().mean(1)

    def turns_away(self, strangeness: Tensor) -> Tensor:
        """Which pictures are strangers, (B,) bool."""
        return strangeness > self.threshold


def traits_of(squares: Tensor, maps: Tensor) -> Tensor:
    """What the gate looks at, (B, 2·C + `VIEW`²): of each map mean and deviation; a coarse view."""
    flat = maps.float().flatten(2)
    mean = flat.mean(2)
    deviation = (flat - mean[:, :, None]).square().mean(2).sqrt()
    view = F.adaptive_avg_pool2d(squares.float() / 255, VIEW).flatten(1)
    return torch.cat([mean, deviation, view], 1)


def watched(net: Net) -> Stage:
    """The stage whose maps the gate looks at: the last that has features, not yet evidence."""
    *before, last = stages_of(net)
    return before[-1] if before and before[-1].seam is not None else last
