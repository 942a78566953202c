"""What a training learns from: pictures, labels, masks on the device, and what is shown of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from clearhead.data.cache import pictures
from clearhead.data.drawn import drawn
from clearhead.data.teachers import teachers
from clearhead.errors import RecipeError
from clearhead.measure.scores import absent_class, positive_class
from clearhead.model.augment import Variation, seed_of, vary, vary_masks
from clearhead.model.dealing import dealt
from clearhead.model.erase import brains, without
from clearhead.types import Manifest, Progress, Recipe, silent

ORDER, DROPOUT, VARIATION, LABELS = 0, 1, 2, 3
"""What a seed is for, so that no two uses share one."""


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
    masks: Tensor | None = None
    known: Tensor | None = None
    brains: Tensor | None = None
    """(N, S, S) bool, where some pictures lose their brain."""

    def __len__(self) -> int:
        return len(self.labels)

    def shown(self, places: Tensor, varied: Variation, recipe: Recipe) -> tuple[Tensor, Tensor]:
        """Some pictures as they are learnt from: squares (B, 1, S, S), and labels (B,).

        One whose brain is erased is told as one without a finding.
        """
        squares, labels = self.squares[places].unsqueeze(1), self.labels[places]
        if self.brains is not None and self.absent is not None:
            chosen = (varied.chance < recipe.erase).to(places.device)
            erased = self.brains[places] & chosen[:, None, None]
            squares = without(squares, erased, varied.seeds)
            labels = torch.where(erased.any((1, 2)), self.absent, labels)
        if recipe.augment:
            squares = vary(squares, varied, degrade=recipe.degrade)
        return squares, labels

    def taught(
        self, places: Tensor, labels: Tensor, varied: Variation, recipe: Recipe
    ) -> tuple[Tensor, Tensor]:
        """Where their tumours are, as shares (B, S, S) of each pixel, and of which that is known.

        `labels` (B,) are what the pictures are told as: where that is no finding, there is none.
        """
        if self.masks is None or self.known is None:
            raise RecipeError("these pictures were loaded without masks: set mask_weight")
        masks, known = self.masks[places], self.known[places]
        shares = vary_masks(masks, varied) if recipe.augment else masks.float()
        if self.absent is not None:
            nothing = labels == self.absent
            shares, known = shares * ~nothing[:, None, None], known | nothing
        return shares, known


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
    )
    if split != "train":
        return part
    if recipe.mask_weight:
        truth = drawn(rows, fit=recipe.fit, size_px=recipe.size_px, progress=progress)
        part = replace(
            part,
            masks=torch.from_numpy(truth.masks).to(device),
            known=torch.from_numpy(truth.masked).to(device),
        )
    if recipe.phantoms:
        part = _with_heads(part, manifest, recipe, progress)
    if recipe.erase:
        found = brains(part.squares.cpu().numpy(), progress=progress)
        part = replace(part, brains=torch.from_numpy(found).to(device))
    return part


def check_part(manifest: Manifest, recipe: Recipe) -> None:
    """That both splits are there, and a class for what means no finding where one is needed."""
    for split in ("train", "validation"):
        manifest.part(split)
    if (recipe.phantoms or recipe.erase) and absent_class(manifest.classes) is None:
        raise RecipeError(
            f"{'phantoms' if recipe.phantoms else 'erase'} need a class that means that nothing "
            f"was found: none of {', '.join(manifest.classes)} reads so"
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

    return Part(
        torch.cat([part.squares, torch.from_numpy(made.squares).to(part.squares)]),
        torch.cat([part.labels, labels]),
        torch.cat([part.groups, groups]),
        part.absent,
        joined(part.masks, torch.from_numpy(made.masks)),
        joined(part.known, torch.ones(len(labels), dtype=torch.bool)),
    )


# --- Order ------------------------------------------------------------------------------------


def batches(part: Part, recipe: Recipe, epoch: int) -> list[Tensor]:
    """The rows of each batch of an epoch, in random order; the last batch may be smaller.

    Every file once; or as many rows as there are groups, each class as often as the others: a file
    of each of its groups, drawn anew, in rounds until there are enough.
    """
    random = torch.Generator().manual_seed(seed_of(recipe.seed, ORDER, epoch))
    if recipe.sampling == "pictures":
        return cut(_even(part.labels.cpu(), part.groups.cpu(), random), recipe.batch)
    return cut(torch.randperm(len(part), generator=random), recipe.batch)


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
