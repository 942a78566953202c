"""The small U-Net that tells background, rim and brain apart, and its weights in the package."""

from __future__ import annotations

import functools
import itertools
from importlib import resources

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional as F

from clearhead.data.regions import tidied
from clearhead.types import REGIONS

SIDE = 96
"""Side of the square on which the net works, in pixels; a multiple of 16."""
WIDTHS = (16, 32, 64, 96)
"""Channels at 1/2, 1/4, 1/8 and 1/16 of the side."""
WEIGHTS = "regions.safetensors"
"""The file in `clearhead.model.weights` that the net is loaded from."""


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Convolution, group normalisation (no value depends on other pictures), ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.GroupNorm(8, outputs),
        nn.ReLU(inplace=True),
    )


class RegionNet(nn.Module):
    """A U-Net of four levels that also says how well it expects to have done.

    Every second pixel becomes a channel at the door and the other way round at the exit, so that
    the widest maps are a quarter of the square. What a level saw is added on the way up.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(4, widths[0]), _conv(widths[0], widths[0]))
        pairs = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(
            nn.Sequential(_conv(few, many, 2), _conv(many, many)) for few, many in pairs
        )
        self.narrow = nn.ModuleList(nn.Conv2d(many, few, 1) for few, many in pairs)
        self.up = nn.ModuleList(nn.Sequential(_conv(few, few), _conv(few, few)) for few, _ in pairs)
        self.out = nn.Conv2d(widths[0], 4 * len(REGIONS), 1)
        deep = widths[-1] + widths[0]
        self.quality = nn.Sequential(nn.Linear(deep, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the regions (B, 3, S, S) and of the expected Dice (B,), for x (B, 1, S, S).

        `x` are intensities in any unit: each picture is set to mean 0 and deviation 1.
        """
        seen = [self.stem(F.pixel_unshuffle(_standard(x), 2))]
        for down in self.down:
            seen.append(down(seen[-1]))
        deep = maps = seen[-1]
        for level in range(len(self.up) - 1, -1, -1):
            wide = F.interpolate(self.narrow[level](maps), scale_factor=2.0)
            maps = self.up[level](wide + seen[level])
        pooled = torch.cat([deep.mean((2, 3)), maps.mean((2, 3))], 1)
        return F.pixel_shuffle(self.out(maps), 2), self.quality(pooled).squeeze(1)


def _standard(x: Tensor) -> Tensor:
    deviation, mean = torch.std_mean(x, (1, 2, 3), keepdim=True, correction=0)
    return (x - mean) / deviation.clamp(min=1e-3)


@functools.cache
def shipped() -> RegionNet:
    """The net with the weights in the package, in evaluation mode, loaded once."""
    net = RegionNet()
    stored = resources.files("clearhead.model").joinpath("weights", WEIGHTS).read_bytes()
    # Stored in half precision: half the file, and the regions stay the same.
    net.load_state_dict({name: value.float() for name, value in load(stored).items()})
    return net.eval().requires_grad_(False)


def unet(squares: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Region of every pixel of squares (B, S, S), and the expected Dice, (B,) in 0…1.

    The net works at `SIDE`; the regions are decided and tidied on the square's own pixels.
    One picture at a time: a result depends on no other picture, to the last bit.
    """
    labels = np.empty(squares.shape, np.uint8)
    quality = np.empty(len(squares), np.float32)
    with torch.inference_mode():
        for row, square in enumerate(squares):
            labels[row], quality[row] = _one(shipped(), square)
    return labels, quality


def _one(net: RegionNet, square: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    logits, quality = net(at_side(torch.from_numpy(np.array(square))[None, None].float() / 255))
    whole = F.interpolate(logits, size=square.shape, mode="bilinear", align_corners=False)
    return tidied(likeliest(whole[0]).numpy()), float(quality.sigmoid())


def likeliest(logits: Tensor) -> Tensor:
    """The region of the highest logit, (S, S) uint8 of logits (3, S, S).

    The same as `argmax`, which takes as long as the whole net.
    """
    background, rim, brain = logits
    head = torch.maximum(rim, brain) > background
    labels: Tensor = head.byte() + (head & (brain > rim)).byte()
    return labels


def at_side(x: Tensor) -> Tensor:
    """Pictures (B, 1, S, S) at the side of the net, without aliasing."""
    if x.shape[2:] == (SIDE, SIDE):
        return x
    return F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
