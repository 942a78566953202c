"""Random variations of drawn heads, made on the device, a pure function of their seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

TURN = math.radians(15)
SCALE = 0.15
ASPECT = 0.10
SHIFT = 0.08
"""Largest rotation (rad), relative size, relative aspect and shift (share of half a side)."""
GAMMA = 0.35
GAIN = 0.15
NOISE = 0.04
"""Largest |log gamma|, relative gain, and standard deviation of noise (share of full scale)."""


BLUR = 1.5
SHADE = 0.3
"""Largest blur (standard deviation in pixels), and spread of the log of a smooth shading."""
SMALLER = 0.4
"""How much smaller still a head may be where pictures are randomised, in log size."""
TONES = 5
"""Knots of a random curve of grey values."""


@dataclass(frozen=True)
class Variation:
    """A random variation of each picture of a batch: matrix (B, 2, 3), tones (B, 1, 1, 1).

    `blur` (B,) in pixels and `shade` (B, 1, 4, 4), knots of the log of a smooth factor, are for
    `degrade`; `chance` (B,) 0…1 decides what is done to some pictures alone. `tones` (B, 5) are the
    values, 0…1, that 0, ¼, ½, ¾ and 1 become where pictures are randomised, which are shaded too.
    """

    matrix: Tensor
    gamma: Tensor
    gain: Tensor
    noise: Tensor
    seeds: Tensor
    """(B,) seeds of the noise: each picture has its own, so that no split of the batch matters."""
    blur: Tensor
    shade: Tensor
    chance: Tensor
    tones: Tensor | None = None

    def take(self, rows: Tensor) -> Variation:
        """The variations of some rows of the batch."""
        return Variation(
            self.matrix[rows],
            self.gamma[rows],
            self.gain[rows],
            self.noise[rows],
            self.seeds[rows],
            self.blur[rows],
            self.shade[rows],
            self.chance[rows],
            None if self.tones is None else self.tones[rows],
        )


def seed_of(*numbers: int) -> int:
    """One 63-bit seed from several counters (seed, epoch, step…), well mixed."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def draw_variation(count: int, seed: int, *, randomise: bool = False) -> Variation:
    """Random variations for a batch of `count`, the same on every process and device.

    With `randomise` half of the heads are smaller still, and of half the grey values follow a
    random curve, which may turn their order round: the contrasts of scanners that aren't there.
    What is varied without it varies as without it.
    Source of the idea: Billot et al., "SynthSeg", Medical Image Analysis 2023, who draw a random
    contrast for every picture that they generate.
    """
    random = torch.Generator().manual_seed(seed)

    def uniform(limit: float) -> Tensor:
        return (torch.rand(count, generator=random) * 2 - 1) * limit

    turn, size, aspect = uniform(TURN), uniform(SCALE).exp(), uniform(ASPECT).exp()
    mirror = torch.where(torch.rand(count, generator=random) < 0.5, -1.0, 1.0)
    shift = torch.stack([uniform(SHIFT), uniform(SHIFT)], 1)
    across = torch.stack([turn.cos() * size * aspect * mirror, -turn.sin() * size / aspect], 1)
    down = torch.stack([turn.sin() * size * aspect * mirror, turn.cos() * size / aspect], 1)
    matrix = torch.cat([torch.stack([across, down], 1), shift[:, :, None]], 2)
    tone = [value.view(-1, 1, 1, 1) for value in (uniform(GAMMA).exp(), 1 + uniform(GAIN))]
    noise = torch.rand(count, generator=random).view(-1, 1, 1, 1) * NOISE
    seeds = torch.randint(2**62, (count,), generator=random)
    # Half of the pictures stay as sharp as they are.
    blur = (torch.rand(count, generator=random) * 2 - 1).clamp(min=0) * BLUR
    shade = torch.randn(count, 1, 4, 4, generator=random) * SHADE
    chance = torch.rand(count, generator=random)
    drawn = Variation(matrix, tone[0], tone[1], noise, seeds, blur, shade, chance)
    return _randomised(drawn, random) if randomise else drawn


def _randomised(drawn: Variation, random: torch.Generator) -> Variation:
    """A variation with smaller heads and curves of grey values."""
    count = len(drawn.chance)

    def half_of_them() -> Tensor:
        """0 for half of the pictures, 0…1 for the others."""
        return (torch.rand(count, generator=random) * 2 - 1).clamp(min=0)

    # The matrix goes from the square to the picture, so that a larger one shows a smaller head.
    smaller = (half_of_them() * SMALLER).exp()
    matrix = torch.cat([drawn.matrix[:, :, :2] * smaller[:, None, None], drawn.matrix[:, :, 2:]], 2)
    identity, share = torch.linspace(0, 1, TONES), half_of_them()[:, None]
    tones = identity + share * (torch.rand(count, TONES, generator=random) - identity)
    tones[:, 0] = 0  # air stays black
    shade = drawn.shade * torch.rand(count, 1, 1, 1, generator=random)
    return replace(drawn, matrix=matrix, tones=tones, shade=shade)


def vary(
    squares: Tensor, variation: Variation, *, degrade: bool = False, side: int | None = None
) -> Tensor:
    """Squares (B, 1, S, S) of 0…255 under the given variations, float32 (B, 1, side, side) of
    0…255; `side` is S where none is given.

    With `degrade` sharpness and shading vary too.
    """
    device = squares.device
    x = _moved(squares.float() / 255, variation, side).clamp(0, 1)
    if variation.tones is not None:
        x = _toned(x, variation.tones.to(device))
    x = x ** variation.gamma.to(device) * variation.gain.to(device)
    if degrade:
        x = _blurred(x, variation.blur.to(device))
    if degrade or variation.tones is not None:
        x = x * _shading(x, variation.shade.to(device))
    x = x + _noise(x, variation.seeds) * variation.noise.to(device)
    return x.clamp(0, 1) * 255


def _toned(x: Tensor, tones: Tensor) -> Tensor:
    """Grey values x (B, 1, S, S) of 0…1 on the curves through evenly spaced knots (B, K)."""
    places = x * (tones.shape[1] - 1)
    found = torch.zeros_like(x)
    for knot, value in enumerate(tones.T):
        found += (1 - (places - knot).abs()).clamp(min=0) * value[:, None, None, None]
    return found


def _blurred(x: Tensor, sigma: Tensor) -> Tensor:
    """Each picture of x (B, 1, S, S) smoothed by a Gaussian of its own width (B,) in pixels."""
    away = torch.arange(-4, 5, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (away / sigma.clamp(min=1e-3)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True))[:, None]
    each = F.pad(x.transpose(0, 1), (4, 4, 4, 4), mode="replicate")
    each = F.conv2d(each, kernel[:, :, :, None], groups=len(x))
    return F.conv2d(each, kernel[:, :, None, :], groups=len(x)).transpose(0, 1)


def _shading(x: Tensor, knots: Tensor) -> Tensor:
    """A smooth factor around 1 for each picture, (B, 1, S, S)."""
    field = F.interpolate(knots, size=x.shape[2:], mode="bicubic", align_corners=False)
    return (field - field.mean((2, 3), keepdim=True)).exp()


def vary_masks(masks: Tensor, variation: Variation, *, side: int | None = None) -> Tensor:
    """Masks (B, S, S) moved as their pictures are, float32 (B, side, side) of 0…1."""
    return _moved(masks.float()[:, None], variation, side)[:, 0]


def resized(x: Tensor, side: int | None) -> Tensor:
    """x (B, 1, S, S) on a square of the given side, float32 means of the pixels; None: as it is."""
    if side is None or x.shape[-1] == side:
        return x
    return F.interpolate(x.float(), size=(side, side), mode="area")


def _moved(x: Tensor, variation: Variation, side: int | None) -> Tensor:
    """x (B, 1, S, S) under the variations' matrices, (B, 1, side, side)."""
    shape = [len(x), 1, *(side or size for size in x.shape[2:])]
    grid = F.affine_grid(variation.matrix.to(x.device), shape, align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _noise(like: Tensor, seeds: Tensor) -> Tensor:
    random = torch.Generator(like.device)
    noise = torch.empty_like(like)
    for row, seed in enumerate(seeds.tolist()):
        noise[row].normal_(generator=random.manual_seed(seed))
    return noise
