"""What a training learns from: pictures, labels, masks on the device, and what is shown of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clearhead.data.cache import pictures
from clearhead.data.drawn import drawn
from clearhead.data.teachers import teachers
from clearhead.errors import RecipeError
from clearhead.measure.scores import absent_class, positive_class
from clearhead.model.augment import Variation, resized, seed_of, vary, vary_masks
from clearhead.model.counterfactual import patched, with_tumours
from clearhead.model.dealing import dealt
from clearhead.model.regions import brains
from clearhead.types import Manifest, Progress, Recipe, silent

ORDER, DROPOUT, VARIATION, LABELS, MASKS = 0, 1, 2, 3, 4
"""What a seed is for, so that no two uses share one."""

SMALL = 2 / 3
"""Size of the pictures in the first epochs of a progressive training, as a share of theirs."""


@dataclass(frozen=True)
class Lesson:
    """Pictures as they are shown: squares (B, 1, S, S) of 0…255 and labels (B,).

    Where maps are supervised, `shares` (B, S, S) of each pixel that tumours fill, and `known` (B,),
    of which pictures that is known; `brains` (B, S, S) of each pixel, where pictures are changed.
    """

    squares: Tensor
    labels: Tensor
    shares: Tensor | None = None
    known: Tensor | None = None
    brains: Tensor | None = None

    @classmethod
    def joined(cls, lessons: Sequence[Lesson]) -> Lesson:
        """Several lessons one after the other, all told of the same things."""
        if len(lessons) == 1:
            return lessons[0]

        def every(of: Callable[[Lesson], Tensor | None]) -> Tensor | None:
            parts = [value for value in map(of, lessons) if value is not None]
            return torch.cat(parts) if parts else None

        return cls(
            torch.cat([one.squares for one in lessons]),
            torch.cat([one.labels for one in lessons]),
            every(lambda one: one.shares),
            every(lambda one: one.known),
            every(lambda one: one.brains),
        )


@dataclass(frozen=True)
class Part:
    """One split on the device.

    Shapes: `squares` (N, S, S) uint8, `labels` and `groups` (N,), and where maps are supervised
    `masks` (N, S, S) bool of the tumours and `known` (N,), which pictures say where there is one.
    """

    squares: Tensor
    labels: Tensor
    groups: Tensor
    absent: int | None = None
    """The class that means that nothing was found."""
    present: int | None = None
    """The class of every tumour; None where there are several."""
    masks: Tensor | None = None
    known: Tensor | None = None
    brains: Tensor | None = None
    """(N, S, S) bool, where some pictures are changed into their opposite."""

    def __len__(self) -> int:
        return len(self.labels)

    def lesson(
        self, places: Tensor, varied: Variation, recipe: Recipe, *, side: int | None = None
    ) -> Lesson:
        """Some pictures as they are learnt from: turned into their opposite, varied, or as is.

        On squares of the given side in pixels, or of their own.
        """
        told = Lesson(self.squares[places].unsqueeze(1), self.labels[places])
        if self.masks is not None and self.known is not None:
            well = told.labels == (-1 if self.absent is None else self.absent)
            masks = self.masks[places] & ~well[:, None, None]
            told = replace(told, shares=masks, known=self.known[places] | well)
        if self.brains is not None:
            chosen = varied.chance.to(places.device) < recipe.counterfactual
            told = self._turned(told, self.brains[places], chosen, varied.seeds)
        return _varied(told, varied, recipe, side)

    def _turned(self, told: Lesson, brains: Tensor, chosen: Tensor, seeds: Tensor) -> Lesson:
        """A lesson in which the chosen pictures (B,) are turned into their opposite.

        A known tumour is covered and told as none; a brain without is given one, or as often a
        cover, so that a cover says nothing. A brain whose tumours aren't known is given one more,
        of which alone it is known.
        """
        assert told.shares is not None
        assert told.known is not None
        assert self.absent is not None
        squares, labels = told.squares.float(), told.labels.clone()
        masks, known = told.shares.clone(), told.known
        well, even = labels == self.absent, (seeds % 2 == 0).to(chosen.device)
        seen = masks.flatten(1).any(1)
        rows = (chosen & known & (seen | (well & even))).nonzero()[:, 0]
        squares[rows], done = patched(squares[rows], brains[rows], masks[rows], seeds[rows.cpu()])
        labels[rows[done]], masks[rows[done]] = self.absent, False
        if self.present is not None:
            rows = (chosen & well & ~even).nonzero()[:, 0]
            squares[rows], masks[rows] = with_tumours(
                squares[rows], brains[rows], seeds[rows.cpu()]
            )
            labels[rows[masks[rows].flatten(1).any(1)]] = self.present
            rows = (chosen & ~known).nonzero()[:, 0]
            squares[rows], masks[rows] = with_tumours(
                squares[rows], brains[rows], seeds[rows.cpu()]
            )
        return Lesson(squares, labels, masks, known, brains)


def side_of(recipe: Recipe, epoch: int) -> int:
    """The side in pixels of the squares that an epoch learns from: the first may see them smaller.

    A multiple of 8, the coarsest stride of our nets.
    Source: Tan and Le, "EfficientNetV2: smaller models and faster training", ICML 2021.
    """
    if epoch >= int(recipe.progressive * recipe.epochs):  # a single epoch sees them as they are
        return recipe.size_px
    return max(8, 8 * round(recipe.size_px * SMALL / 8))


def _varied(told: Lesson, varied: Variation, recipe: Recipe, side: int | None) -> Lesson:
    """A lesson with its pictures varied, and what is told of their masks as shares."""

    def shares(masks: Tensor | None) -> Tensor | None:
        if masks is None:
            return None
        if recipe.augment:
            return vary_masks(masks, varied, side=side)
        return resized(masks.float()[:, None], side)[:, 0]

    if recipe.augment:
        squares = vary(told.squares, varied, degrade=recipe.degrade, side=side)
    else:
        squares = resized(told.squares, side)
    return replace(told, squares=squares, shares=shares(told.shares), brains=shares(told.brains))


def load_part(
    manifest: Manifest,
    split: str,
    recipe: Recipe,
    *,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> Part:
    """A split with all that the recipe learns from; masks, heads and brains for training alone."""
    rows, absent = manifest.part(split), absent_class(manifest.classes)
    squares = pictures(rows, fit=recipe.fit, size_px=recipe.size_px, progress=progress)
    labels = rows.labels()
    if recipe.random_labels:
        labels = dealt(labels, rows.groups(), seed_of(recipe.seed, LABELS))
    part = Part(
        torch.from_numpy(squares).to(device),
        torch.from_numpy(labels).to(device),
        torch.tensor(rows.groups(), device=device),
        absent,
        1 - absent if absent is not None and len(manifest.classes) == 2 else None,
    )
    if split != "train":
        return part
    if recipe.mask_weight or recipe.counterfactual:
        truth = drawn(rows, fit=recipe.fit, size_px=recipe.size_px, progress=progress)
        told = told_of(truth.masked, rows.groups(), recipe)
        truth.masks[~told] = False
        part = replace(
            part,
            masks=torch.from_numpy(truth.masks).to(device),
            known=torch.from_numpy(told).to(device),
        )
    if recipe.counterfactual:
        found = brains(rows, fit=recipe.fit, size_px=recipe.size_px, progress=progress)
        part = replace(part, brains=torch.from_numpy(found).to(device))
    if recipe.phantoms:
        part = _with_heads(part, manifest, recipe, progress)
    return part


def told_of(
    masked: NDArray[np.bool_], groups: NDArray[np.int64], recipe: Recipe
) -> NDArray[np.bool_]:
    """Which of the masked rows (N,) are learnt from: those of `mask_share` of their groups (N,).

    Drawn with the recipe's seed; what a share holds a larger one holds too.
    """
    every = np.unique(groups[masked])
    random = np.random.default_rng(seed_of(recipe.seed, MASKS))
    chosen = random.permutation(every)[: round(recipe.mask_share * len(every))]
    told: NDArray[np.bool_] = masked & np.isin(groups, chosen)
    return told


def check_part(manifest: Manifest, recipe: Recipe) -> None:
    """That both splits are there, and a class for what means no finding where one is needed."""
    for split in ("train", "validation"):
        manifest.part(split)
    absent = absent_class(manifest.classes)
    if recipe.calibration == "specificity" and (absent is None or len(manifest.classes) != 2):
        raise RecipeError(
            "calibration is 'specificity', which needs two classes of which one means that nothing "
            f"was found: these are {', '.join(manifest.classes)}"
        )
    needed = [name for name in ("phantoms", "counterfactual") if getattr(recipe, name)]
    if needed and absent is None:
        raise RecipeError(
            f"{needed[0]} needs a class that means that nothing was found: none of "
            f"{', '.join(manifest.classes)} reads so"
        )


def _with_heads(part: Part, manifest: Manifest, recipe: Recipe, progress: Progress) -> Part:
    """The part with generated heads behind it, each a group of its own."""
    assert part.absent is not None  # `check_part` asked
    made = teachers(
        recipe.phantoms, recipe.seed, fit=recipe.fit, size_px=recipe.size_px, progress=progress
    )
    positive = manifest.classes.index(positive_class(manifest.classes))
    labels = torch.from_numpy(np.where(made.ill, positive, part.absent)).to(part.labels)
    groups = 1 + part.groups.max() + torch.arange(len(labels)).to(part.groups)

    def joined(own: Tensor | None, more: Tensor) -> Tensor | None:
        return None if own is None else torch.cat([own, more.to(own)])

    masks = torch.from_numpy(made.masks)
    return replace(
        part,
        squares=torch.cat([part.squares, torch.from_numpy(made.squares).to(part.squares)]),
        labels=torch.cat([part.labels, labels]),
        groups=torch.cat([part.groups, groups]),
        masks=joined(part.masks, masks),
        known=joined(part.known, torch.ones(len(labels), dtype=torch.bool)),
        brains=joined(part.brains, torch.zeros_like(masks)),  # these stay as they are
    )


# --- Order ------------------------------------------------------------------------------------


def batches(part: Part, recipe: Recipe, epoch: int) -> list[Tensor]:
    """The rows of each batch of an epoch, (M, B), for each member in a random order of its own.

    Every file once; or as many rows as there are groups, each class as often as the others: a file
    of each of its groups, drawn anew, in rounds until there are enough. The last batch may be
    smaller.
    """
    orders = []
    for member in range(recipe.members):
        random = torch.Generator().manual_seed(seed_for(member, recipe.seed, ORDER, epoch))
        if recipe.sampling == "pictures":
            orders.append(_even(part.labels.cpu(), part.groups.cpu(), random))
        else:
            orders.append(torch.randperm(len(part), generator=random))
    return [rows.T for rows in cut(torch.stack(orders, 1), recipe.batch)]


def seed_for(member: int, *numbers: int) -> int:
    """`seed_of` the numbers for the first member, who learns as a net alone; others have others."""
    return seed_of(*numbers, *[member] * (member > 0))


def judges(part: Part, recipe: Recipe) -> Tensor:
    """The rows that a training is validated by: every file, or the first of each group."""
    if recipe.sampling == "pictures":
        return torch.from_numpy(np.unique(part.groups.cpu().numpy(), return_index=True)[1])
    return torch.arange(len(part))


def cut(values: Tensor, size: int) -> list[Tensor]:
    """Values in pieces of `size`; the last may be smaller."""
    return [values[start : start + size] for start in range(0, len(values), size)]


def _even(labels: Tensor, groups: Tensor, random: torch.Generator) -> Tensor:
    """Rows in random order in which distinct pictures and classes count alike."""
    names, known = groups.numpy(), labels.numpy()
    classes = np.unique(known)
    share = -(-len(np.unique(names)) // len(classes))
    rows: list[Tensor] = []
    for label in classes:
        own, count = torch.from_numpy(np.flatnonzero(known == label)), 0
        while count < share:
            mixed = own[torch.randperm(len(own), generator=random)]
            first = torch.from_numpy(np.unique(names[mixed.numpy()], return_index=True)[1])
            some = mixed[first[torch.randperm(len(first), generator=random)]][: share - count]
            rows.append(some)
            count += len(some)
    every = torch.cat(rows)
    return every[torch.randperm(len(every), generator=random)]
