"""Train the region net on generated heads alone: the weights of the package come from here."""

from __future__ import annotations

import copy
import math
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from clearhead.data.heads import HEALTHY, TUMOUR, head
from clearhead.data.workers import each
from clearhead.files import writing
from clearhead.model.augment import seed_of
from clearhead.model.memory import keep_freed_memory
from clearhead.model.region_net import RegionNet
from clearhead.model.region_pictures import Pictures, training_pictures
from clearhead.types import BACKGROUND, BRAIN, REGIONS, RIM, Progress, silent

HEAD_PX = 128
"""Side of the generated heads."""
PLANES = ("axial", "axial", "coronal", "sagittal")
"""Planes take turns: half the heads are axial."""
LOW = 0.3
"""Share of heads cut at the height of the sella and the orbits, where the rim is widest."""


@dataclass(frozen=True)
class RegionTraining:
    """How the net is trained; the defaults made the weights in the package."""

    heads: int = 4_000
    steps: int = 2_000
    batch: int = 32
    empty: int = 4
    """Pictures of a batch that show no head."""
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    average: float = 0.995
    """The weights kept are a running mean of those of the steps, with this memory."""
    seed: int = 0


@dataclass(frozen=True)
class Bank:
    """Generated heads: `pixels` and `regions` (N, S, S) uint8, `boxes` (N, 4) float32 in 0…1."""

    pixels: NDArray[np.uint8]
    regions: NDArray[np.uint8]
    boxes: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.pixels)


def bank(count: int, seed: int, *, workers: int | None = None, progress: Progress = silent) -> Bank:
    """`count` generated heads of every plane, with and without tumours; no worker count matters."""
    pixels = np.empty((count, HEAD_PX, HEAD_PX), np.uint8)
    regions = np.empty_like(pixels)
    with closing(each(partial(_one, seed), range(count), workers)) as found:
        for row, one in enumerate(progress(found, total=count, label="heads")):
            pixels[row], regions[row] = one
    return Bank(pixels, regions, np.stack([_box(areas) for areas in regions]))


def _one(seed: int, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng([seed, number])
    made = head(
        (seed, number, 1),
        label=TUMOUR if rng.random() < 0.5 else HEALTHY,
        kind="pituitary" if rng.random() < LOW else None,
        plane=PLANES[number % len(PLANES)],
        size_px=HEAD_PX,
        zoom=float(rng.uniform(1.0, 1.2)),
    )
    return made.pixels, made.regions


def _box(regions: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Top, left, bottom, right of the head as shares of the picture."""
    ends = []
    for axis in (1, 0):
        taken = np.flatnonzero((regions != BACKGROUND).any(axis))
        ends.append((taken[0], taken[-1] + 1) if len(taken) else (0, len(regions)))
    (top, bottom), (left, right) = ends
    return np.array([top, left, bottom, right], np.float32) / np.float32(len(regions))


def train_region_net(
    settings: RegionTraining, heads: Bank | None = None, *, progress: Progress = silent
) -> RegionNet:
    """The net after training, in evaluation mode.

    Order, pictures and first weights follow from `settings.seed`; the same number of threads on
    the same machine gives the same weights to the last bit. `heads` saves making the bank anew.
    """
    keep_freed_memory()
    heads = heads or bank(settings.heads, settings.seed, progress=progress)
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(settings.seed, 0))
        net = RegionNet()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch leaves it out
    kept = copy.deepcopy(net)
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    bar = progress(range(settings.steps), total=settings.steps, label="regions")
    for step in bar:
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * _rate(step, settings.steps)
        loss, dice = _step(net, optimiser, batch_of(heads, settings, step))
        _follow(kept, net, min(settings.average, (1 + step) / (10 + step)))
        bar.note(f"loss {loss:.3f} · Dice {dice:.3f}")
    return kept.eval().requires_grad_(False)


def batch_of(heads: Bank, settings: RegionTraining, step: int) -> Pictures:
    """The pictures of one step: a pure function of the seed and the step."""
    random = torch.Generator().manual_seed(seed_of(settings.seed, 1, step))
    rows = torch.randint(len(heads), (settings.batch,), generator=random).numpy()
    return training_pictures(
        torch.from_numpy(heads.pixels[rows]),
        torch.from_numpy(heads.regions[rows]),
        torch.from_numpy(heads.boxes[rows]),
        empty=settings.empty,
        random=random,
    )


def _rate(step: int, steps: int) -> float:
    """A short rise, then a cosine down to nothing."""
    rise = max(1, steps // 20)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def _step(
    net: RegionNet, optimiser: torch.optim.Optimizer, pictures: Pictures
) -> tuple[float, float]:
    """One step of the optimiser; loss and mean Dice of the batch's heads before it."""
    logits, quality = net(pictures.pixels.contiguous(memory_format=torch.channels_last))
    dice = hard_dice(logits.argmax(1), pictures.regions)
    reached = torch.where(pictures.heads, dice, 0.0)
    loss = (
        F.cross_entropy(logits, pictures.regions)
        + _dice_loss(logits[pictures.heads], pictures.regions[pictures.heads])
        + 0.3 * F.binary_cross_entropy_with_logits(quality, reached)
    )
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves Tensor.backward untyped
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach()), float(dice[pictures.heads].mean())


def _dice_loss(logits: Tensor, regions: Tensor) -> Tensor:
    """1 − Dice of rim and brain over the whole batch, on probabilities (Milletari et al. 2016)."""
    shares = logits.softmax(1)[:, RIM:]
    truth = F.one_hot(regions, len(REGIONS)).permute(0, 3, 1, 2)[:, RIM:]
    both = (shares * truth).sum((0, 2, 3))
    return 1 - (2 * both / (shares.sum((0, 2, 3)) + truth.sum((0, 2, 3)) + 1)).mean()


def hard_dice(found: Tensor, truth: Tensor) -> Tensor:
    """Mean Dice (B,) of rim and brain between labels (B, S, S); a region in neither counts 1."""
    parts = []
    for region in (RIM, BRAIN):
        one, other = found == region, truth == region
        total = one.sum((1, 2)) + other.sum((1, 2))
        parts.append(torch.where(total > 0, 2 * (one & other).sum((1, 2)) / total, 1.0))
    return torch.stack(parts).mean(0)


def _follow(kept: RegionNet, net: RegionNet, memory: float) -> None:
    """Move the weights of `kept` a little towards those of `net`."""
    with torch.no_grad():
        for one, other in zip(kept.parameters(), net.parameters(), strict=True):
            one.lerp_(other, 1 - memory)


def save_region_net(net: RegionNet, path: Path) -> None:
    """Write the weights in half precision, at once or not at all."""
    stored = {name: value.half().contiguous() for name, value in net.state_dict().items()}
    with writing(path) as temporary:
        temporary.write_bytes(save(stored))
