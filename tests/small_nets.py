"""Nets that are small enough for literal loops, and pictures for them."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from clearhead.data.canvas import Grid
from clearhead.model.classifier import Classifier
from clearhead.model.nets import Stage

SIDE = 24


class Small(nn.Module):
    """Two convolutions with a seam between them, a pooled head, and an earlier stage.

    The maps are not yet rectified. With `in_place`, everything is rectified in place: the picture
    and the maps of each stage too.
    """

    def __init__(self, classes: int = 3, *, in_place: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, 2, 1)
        self.second = nn.Conv2d(4, 5, 3, 2, 1)
        self.third = nn.Conv2d(5, 6, 3, 1, 1)
        self.out = nn.Linear(6, classes)
        self.relu = nn.ReLU(inplace=in_place)
        self.grid = Grid(0.0, 4.0)

    def _first(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.first(self.relu(x)))

    def _second(self, maps: Tensor) -> Tensor:
        return cast(Tensor, self.second(self.relu(maps)))

    def features(self, x: Tensor) -> Tensor:
        return self._second(self._first(x))

    def head(self, maps: Tensor) -> Tensor:
        maps = self.relu(self.third(self.relu(maps)))
        return cast(Tensor, self.out(maps.mean((2, 3))))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))

    def stages(self) -> tuple[Stage, ...]:
        early = Stage("early", self._first, lambda a: self.head(self._second(a)), Grid(0.0, 2.0))
        return (early, Stage("late", self.features, self.head, self.grid))


def small_classifier(classes: int = 3, *, in_place: bool = False, seed: int = 0) -> Classifier:
    """`Small` with weights that make evidence of either sign, black being 0 for the net."""
    torch.manual_seed(seed)
    net = Small(classes, in_place=in_place)
    with torch.no_grad():
        for value in net.parameters():
            value.copy_(torch.randn_like(value) * 0.5)
    classifier = Classifier(net, mean=0.0, std=1.0).eval()
    with torch.no_grad():  # pictures are called differently
        net.out.bias.sub_(classifier(small_squares(64)).mean(0))
    return classifier


def small_squares(count: int, *, seed: int = 1) -> Tensor:
    """Noise under a random coarse shade, (count, 1, SIDE, SIDE) uint8."""
    random = torch.Generator().manual_seed(seed)
    shade = torch.rand(count, 1, 3, 3, generator=random).repeat_interleave(SIDE // 3, 2)
    noise = torch.randint(64, 256, (count, 1, SIDE, SIDE), generator=random)
    return (shade.repeat_interleave(SIDE // 3, 3) * noise).to(torch.uint8)
