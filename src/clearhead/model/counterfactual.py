"""Pictures changed into their own opposite: a tumour taken out of a brain, or drawn into one.

Whatever else tells a picture with a tumour from one without (plane, contrast, sharpness, whose
clinic) is the same before and after, so a net can't learn it from these. What stands where a tumour
was is another part of the same brain. Healthy brains get such patches too: a patch says nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

LEAST = 0.02
"""Share of the square that a brain must fill to be changed."""
RADIUS = (0.03, 0.16)
"""Smallest and largest radius of a tumour that is drawn, as a share of the side."""
FAINTEST = 0.15
"""Least mean change that makes a tumour visible, as a share of the brain's median."""
MARGIN = 0.02
"""How far around a tumour it is covered too, as a share of the side."""
FREE = 0.9
"""Share of a patch that must come from brain without tumour."""
TRIES = 24
"""Shifts of the brain among which the one that gives the best patch is taken."""


@dataclass(frozen=True)
class Kind:
    """How a sort of tumour looks; every range is drawn from evenly.

    `rim`, `core` and `halo` are tones relative to the brain's median, `wall` the thickness of the
    rim as a share of the radius (1: no core), `soft` the width of the edge as a share of the side,
    `push` how strongly the brain gives way, `rough` how far the outline leaves an ellipse; `often`
    how often the kind comes, beside the others.
    """

    rim: tuple[float, float]
    core: tuple[float, float]
    halo: tuple[float, float]
    wall: tuple[float, float]
    soft: tuple[float, float]
    push: tuple[float, float]
    rough: float
    at_edge: bool = False
    often: int = 1


_SHARP, _SOFT = (0.003, 0.009), (0.008, 0.03)

KINDS = {
    "ring": Kind(
        (1.35, 2.4), (0.25, 0.95), (0.6, 1.0), (0.15, 0.5), _SHARP, (0.0, 0.6), 0.22, often=3
    ),
    "dural": Kind((1.25, 2.2), (1.2, 2.2), (0.7, 1.0), (1.0, 1.0), _SHARP, (0.2, 0.8), 0.1, True),
    "solid": Kind((1.3, 2.4), (1.1, 2.2), (0.6, 1.3), (0.4, 1.0), _SHARP, (0.0, 0.5), 0.1, often=2),
    "dark": Kind((0.45, 0.85), (0.35, 0.85), (0.7, 1.0), (0.5, 1.0), _SOFT, (0.0, 0.5), 0.25),
    "bright": Kind(
        (1.15, 1.7), (1.15, 1.8), (1.0, 1.4), (0.5, 1.0), _SOFT, (0.0, 0.5), 0.25, often=2
    ),
    "cyst": Kind((0.3, 0.7), (0.15, 0.5), (0.9, 1.0), (0.2, 0.6), _SHARP, (0.2, 0.8), 0.15),
}
"""Enhancing with a core, at the brain's surface, solid, infiltrating dark and bright, cystic."""


_DEALT = [kind for kind in KINDS.values() for _ in range(kind.often)]


# --- Batches ----------------------------------------------------------------------------------


def with_tumours(squares: Tensor, brains: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
    """Squares (B, 1, S, S) of 0…255 with a tumour in each brain (B, S, S), and masks (B, S, S).

    Each tumour is a function of its picture's own seed (B,). A picture whose brain is too small, or
    in which the tumour would hardly be seen, stays as it is and has an empty mask.
    """
    changed, masks = squares.float().clone(), torch.zeros_like(brains)
    for row, seed in enumerate(seeds.tolist()):
        if brains[row].float().mean() < LEAST:
            continue
        random = _Random(seed)
        made = _grown(changed[row, 0], brains[row], random)
        if made is not None:
            changed[row, 0], masks[row] = made
    return changed, masks


def patched(squares: Tensor, brains: Tensor, masks: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
    """Squares (B, 1, S, S) of 0…255 whose masks (B, S, S) are covered, and which could be, (B,).

    A cover is another part of the same brain (B, S, S), shifted or mirrored. Where a mask is empty,
    a place of a tumour's shape is covered instead. Each is a function of its own seed (B,).
    """
    changed = squares.float().clone()
    done = torch.zeros(len(squares), dtype=torch.bool, device=squares.device)
    for row, seed in enumerate(seeds.tolist()):
        random, brain = _Random(seed), brains[row]
        if brain.float().mean() < LEAST:
            continue
        area = masks[row] if masks[row].any() else _somewhere(brain, random)
        made = _covered(changed[row, 0], brain, area, random)
        if made is not None:
            changed[row, 0], done[row] = made, True
    return changed, done


class _Random:
    """Draws that are a function of one seed, whichever device they are used on."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self._generator))

    def below(self, count: int) -> int:
        return int(torch.randint(count, (), generator=self._generator))

    def smooth(self, like: Tensor, knots: int) -> Tensor:
        """Smooth noise of the shape of `like` (S, S): normal values at knots × knots points."""
        noise = torch.randn(1, 1, knots, knots, generator=self._generator).to(like.device)
        return F.interpolate(noise, size=like.shape, mode="bicubic", align_corners=False)[0, 0]


# --- A tumour drawn in ------------------------------------------------------------------------


def _grown(x: Tensor, brain: Tensor, random: _Random) -> tuple[Tensor, Tensor] | None:
    """The picture (S, S) with a tumour in its brain, and the mask; None where none can be seen."""
    side = x.shape[-1]
    kind = _DEALT[random.below(len(_DEALT))]
    radius = side * math.exp(random.between(*map(math.log, RADIUS)))
    centre = _place(brain, random, at_edge=kind.at_edge)
    soft = side * random.between(*kind.soft)
    # Tumours end where the brain does.
    ends = 3 * soft * (2 * _blurred(brain.float(), 0.008 * side) - 0.7)
    depth = torch.minimum(_depth(x, centre, radius, kind.rough, random), ends)
    mask = depth > 0
    if not mask.any():
        return None
    tone = x[brain].median()
    pushed = _pushed(x, centre, radius, random.between(*kind.push))
    flesh = _flesh(pushed, depth, radius, soft, kind, tone, random)
    cover = torch.sigmoid(1.5 * depth / soft) * random.between(0.6, 1.0)
    swollen = pushed * _halo(depth, brain, radius, kind, random)
    made = (swollen * (1 - cover) + flesh * cover).clamp(0, 255)
    seen = (made - pushed)[mask].abs().mean() >= FAINTEST * tone
    return (made, mask) if seen else None


def _flesh(
    x: Tensor, depth: Tensor, radius: float, soft: float, kind: Kind, tone: Tensor, random: _Random
) -> Tensor:
    """What a tumour of this kind looks like: rim, core, unevenness, and the picture's own grain."""
    grain = (x - _blurred(x, 0.0075 * x.shape[-1])) * random.between(0.3, 1.0)
    wall = radius * random.between(*kind.wall)
    solid = wall > 0.95 * radius
    # Walls are thick here and thin there, and folded: bits of rim and core lie side by side.
    bent = wall * (1 + random.between(0.0, 0.6) * random.smooth(x, _knots(x, radius, random)))
    core = torch.zeros_like(x) if solid else torch.sigmoid((depth - bent) / soft)
    folds = random.smooth(x, _knots(x, radius / 2, random)) - random.between(-1.0, 2.0)
    core = core * (1 - torch.sigmoid(4 * folds))
    level = random.between(*kind.rim) * (1 - core) + random.between(*kind.core) * core
    strength = math.exp(random.between(math.log(0.04), math.log(0.6)))
    uneven = 1 + strength * random.smooth(x, _knots(x, radius / 2, random))
    return tone * level * uneven.clamp(min=0) + grain


def _knots(like: Tensor, radius: float, random: _Random) -> int:
    """Knots of a noise over the square whose bumps are about as large as a radius in pixels."""
    return min(like.shape[-1] // 2, max(4, int(like.shape[-1] / radius * random.between(0.7, 1.7))))


def _halo(depth: Tensor, brain: Tensor, radius: float, kind: Kind, random: _Random) -> Tensor:
    """The factor (S, S) by which oedema around the tumour changes the brain."""
    level = math.pow(random.between(*kind.halo), random.between(0.0, 1.0))
    reach = radius * random.between(0.2, 1.0)
    around = torch.sigmoid(4 * (depth + reach) / reach)
    return 1 + (level - 1) * around * _blurred(brain.float(), 0.0125 * brain.shape[-1])


def _place(brain: Tensor, random: _Random, *, at_edge: bool = False) -> tuple[int, int]:
    """A pixel within the brain, or in the band along its edge."""
    reach = max(1, round(0.02 * brain.shape[-1]))
    inner = brain & ~_eroded(brain, 3 * reach) if at_edge else _eroded(brain, reach)
    spots = (inner if inner.any() else brain).flatten().nonzero()[:, 0]
    return divmod(int(spots[random.below(len(spots))]), brain.shape[-1])


def _depth(
    like: Tensor, centre: tuple[int, int], radius: float, rough: float, random: _Random
) -> Tensor:
    """Depth (S, S) in pixels below the surface of a warped ellipse."""
    angle, stretch = random.between(0, math.pi), math.sqrt(random.between(1, 1.6))
    down, across = _away(like, centre)
    along = (down * math.cos(angle) + across * math.sin(angle)) / stretch
    beside = (across * math.cos(angle) - down * math.sin(angle)) * stretch
    bumps = random.smooth(like, min(40, _knots(like, radius, random)))
    return radius * (1 + rough * bumps) - (along**2 + beside**2).sqrt()


def _pushed(x: Tensor, centre: tuple[int, int], radius: float, strength: float) -> Tensor:
    """The picture (S, S) with what lies around a centre pushed outwards."""
    down, across = _away(x, centre)
    pull = 1 - strength * torch.exp(-(down**2 + across**2) / (2 * (1.2 * radius) ** 2))
    rows, columns = centre[0] + down * pull, centre[1] + across * pull
    grid = torch.stack([columns, rows], 2) * 2 / (x.shape[-1] - 1) - 1
    return F.grid_sample(x[None, None], grid[None], padding_mode="border", align_corners=True)[0, 0]


def _away(like: Tensor, centre: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Rows and columns from a centre, both (S, S)."""
    steps = torch.arange(like.shape[-1], dtype=torch.float32, device=like.device)
    down, across = torch.meshgrid(steps - centre[0], steps - centre[1], indexing="ij")
    return down, across


# --- A tumour taken out -----------------------------------------------------------------------


def _somewhere(brain: Tensor, random: _Random) -> Tensor:
    """An area (S, S) of a tumour's shape within the brain."""
    radius = brain.shape[-1] * math.exp(random.between(*map(math.log, RADIUS)))
    return (_depth(brain, _place(brain, random), radius, 0.2, random) > 0) & brain


def _covered(x: Tensor, brain: Tensor, area: Tensor, random: _Random) -> Tensor | None:
    """The picture (S, S) with brain from elsewhere over an area; None where too little fits."""
    reach = max(1, round(MARGIN * x.shape[-1]))
    wide = ~_eroded(~area, reach)
    source = _elsewhere(x, brain & ~wide, wide, brain, random)
    if source is None:
        return None
    cover = _blurred(wide.float(), reach / 2)
    around = (cover > 0.02) & ~wide & brain
    if around.any():  # as bright as what lies next to it
        source = source * (x[around].mean() / source[around].mean().clamp(min=1)).clamp(0.6, 1.6)
    return x * (1 - cover) + source.clamp(0, 255) * cover


def _elsewhere(
    x: Tensor, free: Tensor, area: Tensor, brain: Tensor, random: _Random
) -> Tensor | None:
    """The picture moved so that free brain comes to lie on the area: mirrored, or shifted."""
    side = x.shape[-1]
    middle = (brain.sum(0) * torch.arange(side, device=x.device)).sum() / brain.sum()
    turn = round(float(2 * middle + 1 - side))  # the brain's middle stays where it is
    if random.below(2) and _share(torch.roll(free.flip(1), turn, 1), area) >= FREE:
        return torch.roll(x.flip(1), turn, 1)
    best, shift = 0.0, (0, 0)
    for _ in range(TRIES):
        tried = round(random.between(-side, side) / 2), round(random.between(-side, side) / 2)
        share = _share(torch.roll(free, tried, (0, 1)), area)
        if share > best:
            best, shift = share, tried
    return torch.roll(x, shift, (0, 1)) if best >= FREE else None


def _share(free: Tensor, area: Tensor) -> float:
    """How much of the area is free."""
    return float((free & area).sum() / area.sum())


def _eroded(area: Tensor, reach: int) -> Tensor:
    """The pixels of an area (S, S) further than `reach` from all others."""
    rest = F.max_pool2d((~area).float()[None, None], 2 * reach + 1, 1, reach)
    return rest[0, 0] == 0


def _blurred(x: Tensor, sigma: float) -> Tensor:
    """x (S, S) smoothed by a Gaussian of this width in pixels."""
    reach = max(1, math.ceil(2.5 * sigma))
    away = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * (away / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(x[None, None], (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel[None, None, :, None]), kernel[None, None, None])[0, 0]
