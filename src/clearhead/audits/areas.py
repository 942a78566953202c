"""Which part of each picture a causal test takes away, and what else is done to pictures.

An erased area leaves its shape behind. Where the shape itself tells the class (a tumour's), the
same shapes are erased in pictures of the other class and at another place of the same picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage, signal

from clearhead.audits.level import level_of_rows
from clearhead.audits.subject import Subject
from clearhead.data.canvas import on_square
from clearhead.data.fills import levels_of, smooth_noise
from clearhead.data.silhouette import grown
from clearhead.types import BACKGROUND, BRAIN, RIM

Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

EDGE = 0.03
"""What is erased around brain, rim or tumour, as a share of the head's diameter: blurred edges,
oedema."""
BEYOND = 0.02
"""Share of a tumour that may lie beyond the erased brain before its picture takes no part."""
HOTTEST = 0.10
"""Share of the head's area that is erased by heat."""
BLOB_SIGMA = 0.05
"""Size of random blobs: spread of the smoothing behind them, as a share of the square's side."""
FITTING = 0.90
"""Share of a tumour's shape that must lie in the brain where it is moved to."""
DONORS = 4
"""Tumour shapes tried on a healthy picture before it takes no part."""


@dataclass(frozen=True)
class Common:
    """What all batches of a subject share."""

    donors: NDArray[np.int64]
    """Rows whose tumour shapes are lent to healthy pictures."""
    healthy: Bools
    """Pictures of a class in which no picture has a tumour mask, (N,)."""
    levels: Mapping[str, NDArray[np.float32]]
    """Mean and spread of grey in `head`, `brain` and `rim`, over all pictures, (2,) each."""
    usual: NDArray[np.float32] | None = None
    """The usual level of each map, (F,); None where maps aren't evidence."""

    @property
    def grey(self) -> int:
        """The level that outlines are filled with."""
        return round(float(self.levels["head"][0]))

    @classmethod
    def of(cls, subject: Subject, rows: NDArray[np.int64]) -> Common:
        """What batches of `rows` share."""
        marked = with_tumour(subject, np.arange(len(subject)))
        ill = np.unique(subject.labels[marked])
        return cls(
            donors=rows[marked[rows] & subject.told[rows]],
            healthy=~np.isin(subject.labels, ill) & bool(len(ill)),
            levels=_levels(subject, rows[subject.told[rows]]),
            usual=level_of_rows(subject, rows),
        )


def with_tumour(subject: Subject, rows: NDArray[np.int64]) -> Bools:
    """Which rows have a tumour mask that isn't empty, (M,)."""
    return np.array([bool(subject.drawn.masks[row].any()) for row in rows], bool)


def _levels(subject: Subject, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    """Mean over pictures of each region's mean and spread; 0 where there are no pictures."""
    regions = {"head": (RIM, BRAIN), "brain": (BRAIN,), "rim": (RIM,)}
    sums = {name: np.zeros(2) for name in regions}
    for row in rows:
        one = slice(row, row + 1)
        for name, values in regions.items():
            sums[name] += levels_of(subject.squares[one], np.isin(subject.regions[one], values))[0]
    return {name: (total / max(len(rows), 1)).astype(np.float32) for name, total in sums.items()}


@dataclass(frozen=True)
class Batch:
    """Some pictures of a subject, `rows` (B,), and what the tests need to know of them.

    `common` is what all batches of a subject share.
    """

    subject: Subject
    rows: NDArray[np.int64]
    common: Common

    @cached_property
    def squares(self) -> Bytes:
        return self.subject.squares[self.rows]

    @cached_property
    def regions(self) -> Bytes:
        return self.subject.regions[self.rows]

    @property
    def told(self) -> Bools:
        """Pictures whose regions can be told, (B,)."""
        told: Bools = self.subject.told[self.rows]
        return told

    @cached_property
    def masks(self) -> Bools:
        """Tumours, (B, S, S)."""
        return self.subject.drawn.masks[self.rows]

    @cached_property
    def head(self) -> Bools:
        """All that isn't background, (B, S, S)."""
        head: Bools = self.regions != BACKGROUND
        return head

    @cached_property
    def evidence(self) -> NDArray[np.float32]:
        """Evidence for the called class on the square, unrectified, (B, S, S)."""
        own = self.subject
        maps = own.evidence[self.rows, own.calls[self.rows]]
        return on_square(maps, own.grid, own.squares.shape[1])

    @cached_property
    def shapes(self) -> tuple[Bools, Bools, Bools]:
        """Tumours widened by `EDGE`, their shapes elsewhere, both (B, S, S); whether any, (B,)."""
        return _shapes(self)


def edge_px(regions: Bytes) -> int:
    """`EDGE` of one picture's head, in pixels; `regions` (S, S)."""
    return max(1, round(EDGE * diameter_px(regions)))


def diameter_px(regions: Bytes) -> float:
    """Diameter of a disc as large as the head, in pixels; `regions` (S, S)."""
    return float(2 * np.sqrt(np.count_nonzero(regions != BACKGROUND) / np.pi))


def _grown(masks: Bools, regions: Bytes) -> Bools:
    """Masks (B, S, S) widened by `EDGE`."""
    pairs = zip(masks, regions, strict=True)
    return np.stack([grown(mask, edge_px(own)) for mask, own in pairs])


# --- Regions --------------------------------------------------------------------------------

Erased = tuple[Bools, Bools]
"""Areas (B, S, S), and in which of the pictures the test has a meaning, (B,)."""


def brain(batch: Batch) -> Erased:
    """The brain, widened by `EDGE`. A picture whose tumour reaches further takes no part."""
    areas = _grown(batch.regions == BRAIN, batch.regions)
    size = batch.masks.sum((1, 2))
    outside = (batch.masks & ~areas).sum((1, 2))
    return areas, batch.told & (outside <= BEYOND * size)


def rim(batch: Batch) -> Erased:
    """Scalp, skull and face, widened by `EDGE` to the outside."""
    areas = _grown(batch.head, batch.regions) & (batch.regions != BRAIN)
    return areas, batch.told & (batch.regions == RIM).any((1, 2))


def background(batch: Batch) -> Erased:
    """All around the head."""
    return ~batch.head, batch.told & (~batch.head).any((1, 2))


# --- Tumours --------------------------------------------------------------------------------


def tumour(batch: Batch) -> Erased:
    """Tumours, widened by `EDGE`; in healthy pictures the shape of another's at a random place."""
    return batch.shapes[0], batch.shapes[2]


def elsewhere(batch: Batch) -> Erased:
    """The tumour's mirrored shape at a random place of the same brain; healthy as in `tumour`."""
    return batch.shapes[1], batch.shapes[2]


def _shapes(batch: Batch) -> tuple[Bools, Bools, Bools]:
    areas, away = np.zeros_like(batch.head), np.zeros_like(batch.head)
    defined = np.zeros(len(batch.rows), bool)
    for at, row in enumerate(batch.rows):
        if not batch.subject.told[row]:
            continue
        found = None
        if batch.masks[at].any():
            found = _marked(batch, at)
        elif batch.common.healthy[row]:
            found = _lent(batch, at)
        if found is not None:
            areas[at], away[at], defined[at] = *found, True
    return areas, away, defined


def _marked(batch: Batch, at: int) -> tuple[Bools, Bools] | None:
    """The tumour of a picture, and its mirrored shape elsewhere in the brain."""
    regions = batch.regions[at]
    own = grown(batch.masks[at], edge_px(regions))
    moved = placed(own[:, ::-1], (regions == BRAIN) & ~own, _random(batch, at))
    return None if moved is None else (own, moved)


def _lent(batch: Batch, at: int) -> tuple[Bools, Bools] | None:
    """The shape of another picture's tumour in the brain of a picture without."""
    random = _random(batch, at)
    ground = batch.regions[at] == BRAIN
    for donor in random.permutation(batch.common.donors)[:DONORS]:
        shape = grown(batch.subject.drawn.masks[donor], edge_px(batch.subject.regions[donor]))
        moved = placed(shape, ground, random)
        if moved is not None:
            return moved, moved
    return None


def _random(batch: Batch, at: int) -> np.random.Generator:
    return np.random.default_rng((batch.subject.seed, int(batch.rows[at]), 1))


def placed(shape: Bools, ground: Bools, random: np.random.Generator) -> Bools | None:
    """A shape (S, S) moved to a random place on the ground (S, S); None where it doesn't fit.

    Of the places where at least `FITTING` of it lies on the ground, those within 5 % of the best
    are drawn from.
    """
    if not shape.any():
        return None
    rows, columns = (slice(at.min(), at.max() + 1) for at in np.nonzero(shape))
    own = shape[rows, columns]
    turned = own[::-1, ::-1].astype(np.float32)
    share = signal.fftconvolve(ground.astype(np.float32), turned, mode="valid") / own.sum()
    fits = np.flatnonzero((share >= FITTING) & (share >= 0.95 * share.max()))
    if not len(fits):
        return None
    top, left = np.divmod(int(random.choice(fits)), share.shape[1])
    moved = np.zeros_like(shape)
    moved[top : top + own.shape[0], left : left + own.shape[1]] = own
    return moved


# --- Heat -----------------------------------------------------------------------------------


def hottest(batch: Batch) -> Erased:
    """`HOTTEST` of the head where evidence for the called class is highest (and above 0)."""
    return _top(batch, batch.evidence)


def coolest(batch: Batch) -> Erased:
    """As large an area of the head where that evidence is lowest."""
    return _top(batch, np.negative(batch.evidence))


def blobs(batch: Batch) -> Erased:
    """As large an area of the head in random blobs."""
    side = batch.squares.shape[1]
    field = smooth_noise(batch.rows, side, sigma=BLOB_SIGMA, seed=batch.subject.seed + 1)
    return _top(batch, field)


def _top(batch: Batch, ranks: NDArray[np.float32]) -> Erased:
    """The pixels of each head with the highest ranks: as many as `hottest` has."""
    areas = np.zeros(batch.head.shape, bool)
    some = np.zeros(len(areas), bool)
    for at, head in enumerate(batch.head):
        inside = np.flatnonzero(head)
        hot = int(np.count_nonzero(batch.evidence[at].ravel()[inside] > 0))
        count = min(round(HOTTEST * len(inside)), hot)
        if count:
            order = np.argpartition(ranks[at].ravel()[inside], -count)
            areas[at].ravel()[inside[order[-count:]]] = some[at] = True
    return areas, some


AREAS: dict[str, Callable[[Batch], Erased]] = {
    "brain": brain,
    "rim": rim,
    "background": background,
    "tumour": tumour,
    "elsewhere": elsewhere,
    "hottest": hottest,
    "blobs": blobs,
    "coolest": coolest,
}
"""What is erased, by the name of the test."""


# --- Other changes --------------------------------------------------------------------------

Changed = tuple[Bytes, Bools]
"""Squares (B, S, S), and in which of the pictures the test has a meaning, (B,)."""


def outline(batch: Batch) -> Changed:
    """The head in one grey on black: its outline alone is left."""
    return np.where(batch.head, np.uint8(batch.common.grey), np.uint8(0)), batch.told.copy()


def swapped(batch: Batch) -> Changed:
    """Left and right exchanged."""
    return np.ascontiguousarray(batch.squares[:, :, ::-1]), _all(batch)


def blurred(share: float) -> Callable[[Batch], Changed]:
    """Smoothing by a Gaussian whose spread is a share of the head's diameter."""

    def change(batch: Batch) -> Changed:
        sigmas = [share * diameter_px(own) for own in batch.regions]
        pairs = zip(batch.squares, sigmas, strict=True)
        soft = [ndimage.gaussian_filter(one.astype(np.float32), sigma) for one, sigma in pairs]
        return np.rint(np.stack(soft)).astype(np.uint8), _all(batch)

    return change


def resampled(parts: int) -> Callable[[Batch], Changed]:
    """Drawn again with `parts` times fewer pixels on each side, and brought back."""

    def change(batch: Batch) -> Changed:
        side = batch.squares.shape[1]
        small = max(1, side // parts)
        return np.stack([_coarse(one, small, side) for one in batch.squares]), _all(batch)

    return change


def _coarse(square: Bytes, small: int, side: int) -> Bytes:
    bilinear = Image.Resampling.BILINEAR  # with anti-aliasing on the way down
    picture = Image.fromarray(square).resize((small, small), bilinear)
    return np.asarray(picture.resize((side, side), bilinear))


def _all(batch: Batch) -> Bools:
    return np.ones(len(batch.rows), bool)


CHANGES: dict[str, Callable[[Batch], Changed]] = {
    "outline": outline,
    "swapped": swapped,
    "blur-1": blurred(0.01),
    "blur-2": blurred(0.02),
    "half": resampled(2),
    "quarter": resampled(4),
}
"""What is done to the whole picture, by the name of the test."""
