"""Training pictures of the region net: generated heads in any contrast and frame, and no heads.

Nothing here tries to look real. As in SynthStrip (Hoopes et al., NeuroImage 2022) and SynthSeg
(Billot et al., Medical Image Analysis 2023) tones, textures, frames and faults are drawn far wider
than any scanner gives them, so that a real picture is one more variant. All is a pure function of
the generator that is passed in, in units of 0…1 of full scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from clearhead.model.region_net import SIDE
from clearhead.types import BACKGROUND, BRAIN, RIM

KNOTS = 17
"""Points of a tone curve."""
STRIPPED = 0.10
"""Share of heads whose rim is removed, as in pictures after skull-stripping."""


@dataclass(frozen=True)
class Pictures:
    """A batch: `pixels` (B, 1, S, S) 0…1, `regions` (B, S, S) int64, `heads` (B,) bool.

    Where `heads` is False no head is shown and the regions are all background.
    """

    pixels: Tensor
    regions: Tensor
    heads: Tensor


@dataclass(frozen=True)
class Chance:
    """Random numbers for a batch of `count` pictures, shaped to multiply (B, 1, S, S)."""

    random: torch.Generator
    count: int

    def uniform(self, low: float, high: float) -> Tensor:
        share = torch.rand(self.count, 1, 1, 1, generator=self.random)
        return low + (high - low) * share

    def spread(self, low: float, high: float) -> Tensor:
        """Log-uniform."""
        return self.uniform(math.log(low), math.log(high)).exp()

    def coin(self, probability: float) -> Tensor:
        """True with this probability, (B, 1, 1, 1)."""
        return torch.rand(self.count, 1, 1, 1, generator=self.random) < probability

    def noise(self, *shape: int) -> Tensor:
        return torch.randn(self.count, *shape, generator=self.random)

    def field(self, side: int, bumps: int) -> Tensor:
        """A smooth random field (B, 1, side, side) of deviation about 1, `bumps` across."""
        low = self.noise(1, bumps + 2, bumps + 2)
        return 1.4 * F.interpolate(low, size=(side, side), mode="bilinear", align_corners=False)


# --- Tones ----------------------------------------------------------------------------------


def _curves(chance: Chance) -> Tensor:
    """Random tone curves (B, KNOTS): as it is, gamma, inverted, or any smooth curve at all."""
    ramp = torch.linspace(0, 1, KNOTS).expand(chance.count, KNOTS)
    ramp = torch.where(chance.coin(0.15)[:, :, 0, 0], 1 - ramp, ramp)
    ramp = ramp ** chance.spread(0.5, 2.0)[:, :, 0, 0]
    knots = torch.rand(chance.count, 1, 6, generator=chance.random)
    free = F.interpolate(knots, size=KNOTS, mode="linear", align_corners=True)[:, 0]
    share = torch.where(chance.coin(0.45), 0.0, chance.uniform(0, 1))[:, :, 0, 0]
    return ramp + (free - ramp) * share


def _toned(x: Tensor, curves: Tensor) -> Tensor:
    """Pictures (B, 1, S, S) of 0…1 through their curves, linear between knots."""
    place = x.clamp(0, 1).flatten(1) * (KNOTS - 1)
    below = place.floor().clamp(max=KNOTS - 2)
    low = curves.gather(1, below.long())
    high = curves.gather(1, below.long() + 1)
    return (low + (high - low) * (place - below)).view_as(x)


def _rim(x: Tensor, chance: Chance) -> Tensor:
    """Scalp, skull and face in another contrast, and with other structure in the face."""
    side = x.shape[2]
    tone = _toned(x, _curves(chance)) * chance.spread(0.25, 2.0)
    flat = chance.uniform(0.05, 1.2)
    tone = tone + (flat - tone) * torch.where(chance.coin(0.25), chance.uniform(0, 0.9), 0.0)
    coarse, fine = chance.field(side, 8), chance.field(side, 28)
    rough = torch.where(chance.coin(0.5), chance.uniform(0, 0.45), 0.0)
    tone = tone * (1 + rough * (coarse + 0.7 * fine)).clamp(min=0.05)
    # Sinuses and airways are holes, fat and vessels are bright spots.
    holes = ((chance.field(side, 9) - chance.uniform(1.2, 3.5)) * 4).clamp(0, 1)
    return tone + (chance.uniform(0, 1.1) - tone) * holes


def _brain(x: Tensor, chance: Chance) -> Tensor:
    """The inside of the skull in another contrast, with patches that may be anything."""
    side = x.shape[2]
    tone = _toned(x, _curves(chance)) * chance.uniform(0.3, 1.15)
    rough = torch.where(chance.coin(0.4), chance.uniform(0, 0.25), 0.0)
    tone = tone * (1 + rough * chance.field(side, 14)).clamp(min=0.05)
    patch = ((chance.field(side, 4) - chance.uniform(1.0, 3.5)) * 4).clamp(0, 1)
    patch = patch * chance.coin(0.4)
    return tone + (chance.uniform(0, 1.2) - tone) * patch


def _backdrop(chance: Chance, side: int) -> Tensor:
    """What lies behind the head: black, mostly; grey, uneven, noisy or white for some."""
    grey = torch.where(chance.coin(0.35), chance.uniform(0, 0.45), 0.0)
    grey = torch.where(chance.coin(0.05), chance.uniform(0.6, 1.1), grey)
    uneven = torch.where(chance.coin(0.2), chance.uniform(0, 0.25), 0.0)
    return (grey + uneven * chance.field(side, 5)).clamp(min=0).expand(-1, 1, side, side)


def toned(pixels: Tensor, regions: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
    """Heads (B, 1, S, S) of 0…1 with regions (B, 1, S, S) in random contrast; both anew.

    A head whose rim was stripped has background there, in the picture and in the regions.
    """
    brain, rim = regions == BRAIN, regions == RIM
    back = _backdrop(chance, pixels.shape[2])
    behind = back + pixels * chance.uniform(0, 1)
    painted = torch.where(brain, _brain(pixels, chance), _rim(pixels, chance))
    stripped = chance.coin(STRIPPED) & rim
    outside = (regions == BACKGROUND) | stripped
    clean = torch.where(stripped, back, behind)
    return (
        torch.where(outside, clean, painted),
        torch.where(stripped, float(BACKGROUND), regions),
    )


# --- Frames ---------------------------------------------------------------------------------


def framed(pixels: Tensor, regions: Tensor, boxes: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
    """Heads seen through random frames, at the net's side.

    `boxes` (B, 4) hold each head's top, left, bottom, right in 0…1. Half of the frames keep the
    head's shape, as `canvas` does; the others stretch whatever they hold, as `stretch` does.
    """
    grid = F.affine_grid(_matrix(boxes, chance), [len(boxes), 1, SIDE, SIDE], align_corners=False)
    both = torch.cat([pixels, regions], 1)
    smooth = F.grid_sample(both[:, :1], grid, padding_mode="zeros", align_corners=False)
    nearest = F.grid_sample(both[:, 1:], grid, mode="nearest", align_corners=False)
    shown = _window(chance)
    return smooth * shown, nearest * shown


def _matrix(boxes: Tensor, chance: Chance) -> Tensor:
    """Where each frame looks, (B, 2, 3) in the coordinates of `affine_grid`."""

    def flat(value: Tensor) -> Tensor:
        return value[:, 0, 0, 0]

    top, left, bottom, right = (boxes * 2 - 1).unbind(1)
    tall, wide = (bottom - top) / 2, (right - left) / 2
    keeps = flat(chance.coin(0.5))
    longer = torch.maximum(tall, wide) * 1.08
    size = [flat(chance.uniform(-0.10, 0.18).exp()) for _ in range(3)]
    half_down = torch.where(keeps, longer * size[0], tall * (size[1] * 1.12))
    half_across = torch.where(keeps, longer * size[0], wide * (size[2] * 1.12))
    near = torch.where(flat(chance.coin(0.12)), flat(chance.uniform(0.5, 0.9)), 1.0)
    half_down, half_across = half_down * near, half_across * near
    turn = flat(chance.uniform(-0.35, 0.35)) * flat(chance.coin(0.5))
    turn = torch.where(flat(chance.coin(0.10)), flat(chance.uniform(-math.pi, math.pi)), turn)
    across = torch.where(flat(chance.coin(0.5)), half_across, -half_across)
    down = torch.where(flat(chance.coin(0.1)), -half_down, half_down)
    loose = 0.10 + (1 - near)
    middle_x = (left + right) / 2 + half_across * loose * flat(chance.uniform(-1, 1))
    middle_y = (top + bottom) / 2 + half_down * loose * flat(chance.uniform(-1, 1))
    cos, sin = turn.cos(), turn.sin()
    first = torch.stack([cos * across, -sin * down, middle_x], 1)
    second = torch.stack([sin * across, cos * down, middle_y], 1)
    return torch.stack([first, second], 1)


def _window(chance: Chance) -> Tensor:
    """1 inside of a random rectangle of the square, 0 in the bars beside it: (B, 1, S, S)."""
    steps = (torch.arange(SIDE) + 0.5) / SIDE
    bars = [torch.where(chance.coin(0.10), chance.uniform(0, 0.3), 0.0) for _ in range(4)]
    rows, columns = steps.view(1, 1, -1, 1), steps.view(1, 1, 1, -1)
    inside = (rows > bars[0]) & (rows < 1 - bars[1])
    inside = inside & (columns > bars[2]) & (columns < 1 - bars[3])
    return inside.float()


# --- Faults ---------------------------------------------------------------------------------


def photographed(x: Tensor, chance: Chance) -> Tensor:
    """Pictures (B, 1, S, S) with bias, blur, marks, noise, blocks and another window: 0…1."""
    bias = (chance.uniform(0, 0.45) * chance.field(SIDE, 2)).exp()
    x = _soft(x * bias, chance)
    x = _marked(x, chance)
    sigma = torch.where(chance.coin(0.6), chance.uniform(0, 0.06), 0.0)
    x = (x + sigma * chance.noise(1, SIDE, SIDE)).abs()
    x = _blocks(x, chance)
    top = x.flatten(1).amax(1).view(-1, 1, 1, 1).clamp(min=1e-3)
    x = torch.where(chance.coin(0.6), x / (top * chance.uniform(0.55, 1.1)), x)
    x = x.clamp(0, 1) ** chance.spread(0.6, 1.6)
    return (x * 255).round() / 255


def _soft(x: Tensor, chance: Chance) -> Tensor:
    """Some blurred by a little or by much, some sharpened."""
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    more = F.avg_pool2d(F.pad(blurred, (2, 2, 2, 2), mode="replicate"), 5, 1)
    share = torch.where(chance.coin(0.4), chance.uniform(-0.8, 1.0), 0.0)
    x = x + (blurred - x) * share
    return torch.where(chance.coin(0.07), more, x).clamp(min=0)


def _marked(x: Tensor, chance: Chance) -> Tensor:
    """Letters, rulers and frames over the picture, most of them near its edges."""
    steps = torch.arange(SIDE, dtype=torch.float32)
    rows, columns = steps.view(1, 1, -1, 1), steps.view(1, 1, 1, -1)
    letters = chance.noise(1, SIDE // 2, SIDE // 2) > 0.2
    ink = letters.float().repeat_interleave(2, 2).repeat_interleave(2, 3)
    for _ in range(3):
        high, wide = chance.uniform(2, 7), chance.uniform(3, 45)
        edge = torch.where(chance.coin(0.5), chance.uniform(0, 0.14), chance.uniform(0.86, 1.0))
        along = chance.uniform(0, 1)
        turned = chance.coin(0.25)
        top, left = torch.where(turned, along, edge) * SIDE, torch.where(turned, edge, along) * SIDE
        high, wide = torch.where(turned, wide, high), torch.where(turned, high, wide)
        inside = (rows >= top) & (rows < top + high) & (columns >= left) & (columns < left + wide)
        text = inside & (chance.coin(0.25))
        full = chance.coin(0.2)
        x = torch.where(text, chance.uniform(0.3, 1.2) * torch.where(full, 1.0, ink), x)
    frame = torch.minimum(torch.minimum(rows, columns), SIDE - 1 - torch.maximum(rows, columns))
    first = chance.uniform(0, 3).floor()
    line = (frame >= first) & (frame < first + chance.uniform(1, 4).floor()) & chance.coin(0.08)
    return torch.where(line, chance.uniform(0, 1.2), x)


def _cosines() -> Tensor:
    """The 8×8 discrete cosine transform."""
    steps = torch.arange(8, dtype=torch.float32)
    table = torch.cos(math.pi / 8 * steps[:, None] * (steps[None] + 0.5)) / 2
    table[0] /= math.sqrt(2)
    return table


def _blocks(x: Tensor, chance: Chance) -> Tensor:
    """Some quantised in 8×8 blocks of cosines, coarser for fine detail, as JPEG does."""
    tiles = x.view(-1, SIDE // 8, 8, SIDE // 8, 8).transpose(2, 3)
    cosines = _cosines()
    waves = cosines @ tiles @ cosines.T
    steps = torch.arange(8.0)
    coarse = chance.uniform(0.005, 0.05).unsqueeze(-1) * (1 + steps[:, None] + steps[None])
    rough = cosines.T @ ((waves / coarse).round() * coarse) @ cosines
    return torch.where(chance.coin(0.3), rough.transpose(2, 3).reshape(x.shape), x).clamp(min=0)


# --- Pictures that show no head -------------------------------------------------------------


def _flat(chance: Chance) -> Tensor:
    """One grey, or a slope."""
    steps = torch.linspace(-1, 1, SIDE)
    slope = chance.uniform(-1, 1) * steps.view(1, 1, -1, 1)
    slope = slope + chance.uniform(-1, 1) * steps.view(1, 1, 1, -1)
    return (chance.uniform(0, 1) + slope * chance.coin(0.6)).clamp(0, 1)


def _clouds(chance: Chance) -> Tensor:
    """Noise whose power falls with frequency as in photographs, or not at all."""
    rows = torch.fft.fftfreq(SIDE).view(-1, 1)
    columns = torch.fft.rfftfreq(SIDE).view(1, -1)
    reach = (rows**2 + columns**2).sqrt().clamp(min=1 / SIDE)
    waves = torch.fft.rfft2(chance.noise(1, SIDE, SIDE)) * reach ** -chance.uniform(0, 2.2)
    x = torch.fft.irfft2(waves, s=(SIDE, SIDE))
    even: Tensor = 0.5 + 0.25 * x / x.std((2, 3), keepdim=True)
    return even.clamp(0, 1)


def _leaves(chance: Chance) -> Tensor:
    """Things that hide one another: ellipses and boxes of any size, as in a photograph."""
    x = chance.uniform(0, 1).expand(-1, 1, SIDE, SIDE)
    for _ in range(24):
        x = torch.where(_thing(chance, chance.spread(0.04, 0.5)), chance.uniform(0, 1), x)
    texture = chance.uniform(0, 0.3) * chance.field(SIDE, 20)
    return (x * (1 + texture)).clamp(0, 1)


def _thing(chance: Chance, size: Tensor) -> Tensor:
    """A turned ellipse or box of about a size (share of the square) at any place, bool."""
    steps = torch.linspace(-1, 1, SIDE)
    y = steps.view(1, 1, -1, 1) - chance.uniform(-1, 1)
    x = steps.view(1, 1, 1, -1) - chance.uniform(-1, 1)
    turn, stretch = chance.uniform(0, math.pi), chance.spread(0.4, 2.5)
    along = (x * turn.cos() + y * turn.sin()) / (size * stretch)
    across = (y * turn.cos() - x * turn.sin()) / (size / stretch)
    ellipse = along**2 + across**2 < 1
    return torch.where(chance.coin(0.5), ellipse, torch.maximum(along.abs(), across.abs()) < 1)


def _several(chance: Chance) -> Tensor:
    """A few soft shapes on black, far apart or one over the other: no head, but objects."""
    x = torch.zeros(chance.count, 1, SIDE, SIDE)
    for _ in range(4):
        shape = _thing(chance, chance.uniform(0.08, 0.3)) & chance.coin(0.8)
        x = torch.where(shape, chance.uniform(0.2, 1) * (1 + 0.1 * chance.field(SIDE, 16)), x)
    return F.avg_pool2d(x, 3, 1, 1)


def _chest(chance: Chance) -> Tensor:
    """A bright field with two dark lobes and bars across it, in the manner of a radiograph."""
    steps = torch.linspace(-1, 1, SIDE)
    y, x = steps.view(1, 1, -1, 1), steps.view(1, 1, 1, -1)
    apart, wide, high = chance.uniform(0.3, 0.5), chance.uniform(0.2, 0.4), chance.uniform(0.4, 0.8)
    lobes = ((x.abs() - apart) / wide) ** 2 + ((y - chance.uniform(-0.3, 0.2)) / high) ** 2
    dark = (1.3 - lobes).mul(3).clamp(0, 1)
    bars = torch.sin(y * chance.uniform(12, 30) + x.abs() * chance.uniform(-4, 4))
    field = chance.uniform(0.4, 1) * (1 + 0.2 * chance.field(SIDE, 4))
    return field * (1 - dark * chance.uniform(0.4, 0.9)) + 0.1 * bars * chance.uniform(0, 1.5)


def _page(chance: Chance) -> Tensor:
    """Lines of letters on a page."""
    letters = (chance.noise(1, SIDE // 2, SIDE // 2) > 0.1).float()
    ink = F.interpolate(letters, scale_factor=2.0)
    rows = torch.arange(SIDE).view(1, 1, -1, 1)
    lines = (rows % chance.uniform(5, 14).floor()) < chance.uniform(2, 5)
    paper = chance.uniform(0, 1)
    return paper + (1 - 2 * paper) * ink * lines * chance.uniform(0.4, 1)


def _stripes(chance: Chance) -> Tensor:
    """Stripes, or the squares of a chessboard."""
    steps = torch.linspace(-1, 1, SIDE)
    y, x = steps.view(1, 1, -1, 1), steps.view(1, 1, 1, -1)
    one = torch.sin(x * chance.uniform(3, 40) + y * chance.uniform(-20, 20))
    other = torch.sin(y * chance.uniform(3, 40))
    wave = torch.where(chance.coin(0.5), one, one * other)
    return (0.5 + wave * chance.uniform(0.2, 3)).clamp(0, 1)


NOTHINGS: tuple[Callable[[Chance], Tensor], ...] = (
    _flat, _clouds, _leaves, _several, _chest, _page, _stripes,
)  # fmt: skip
"""Each makes pictures (B, 1, S, S) of 0…1 that show no head."""


def shuffled(heads: Tensor, chance: Chance) -> Tensor:
    """Pictures of heads cut into 4×4 tiles that change places: all their tones, and no head."""
    side = SIDE // 4
    tiles = heads.view(-1, 4, side, 4, side).transpose(2, 3).reshape(-1, 16, side, side)
    order = torch.rand(chance.count, 16, generator=chance.random).argsort(1)
    moved = tiles.gather(1, order.view(-1, 16, 1, 1).expand_as(tiles))
    return moved.view(-1, 4, 4, side, side).transpose(2, 3).reshape(-1, 1, SIDE, SIDE)


def no_heads(heads: Tensor, chance: Chance) -> Tensor:
    """One picture without a head for each picture of heads (B, 1, S, S), kinds taking turns."""
    kinds = len(NOTHINGS) + 1
    first = int(torch.randint(kinds, (1,), generator=chance.random))
    made = []
    for row in range(len(heads)):
        kind = (first + row) % kinds
        one = Chance(chance.random, 1)
        made.append(
            NOTHINGS[kind](one).expand(1, 1, SIDE, SIDE)
            if kind < len(NOTHINGS)
            else shuffled(heads[row : row + 1], one)
        )
    return torch.cat(made)


# --- A batch --------------------------------------------------------------------------------


def training_pictures(
    pixels: Tensor, regions: Tensor, boxes: Tensor, *, empty: int, random: torch.Generator
) -> Pictures:
    """A batch from generated heads (B, S, S) uint8, their regions and boxes (B, 4) in 0…1.

    The last `empty` of the B pictures show no head.
    """
    count = len(pixels)
    chance = Chance(random, count)
    grey, areas = pixels.unsqueeze(1).float() / 255, regions.unsqueeze(1).float()
    x, areas = framed(*toned(grey, areas, chance), boxes, chance)
    heads = torch.arange(count) < count - empty
    if empty:
        blank = no_heads(x[~heads], Chance(random, empty))
        x = torch.cat([x[heads], blank])
        areas = areas * heads.view(-1, 1, 1, 1)
    return Pictures(photographed(x, chance), areas[:, 0].round().long(), heads)
