"""Pictures to look at: where the heat of single calls lies in plausible and implausible places.

A picture alone is never judged by its heat: the sheets show what the shares are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clearhead.audits.phrases import counted, percent
from clearhead.audits.section import Section, Sheet, Strip, Table, Tile
from clearhead.audits.strategies import one_of_each, told
from clearhead.audits.subject import Subject
from clearhead.measure.groupwise import mean
from clearhead.measure.localisation import distances
from clearhead.types import BACKGROUND, BRAIN

NEAR = 0.05
"""Heat so near to the tumour mask counts as in it, the rim included; in diameters of the head."""

MOST = 12
"""Pictures of each strip, each of another group."""

HALF = 0.5
"""A call whose heat lies by more than this in plausible places looks at a plausible one."""


@dataclass(frozen=True)
class Places:
    """Where the heat for the called class lies, picture by picture; NaN where it can't be said.

    Shapes: all (N,). `plausible` is the share of heat in the brain or near the tumour mask,
    `tumour` that near the mask (NaN without one); both NaN where the map is blank, `plausible`
    also where regions can't be told.
    """

    plausible: NDArray[np.float64]
    tumour: NDArray[np.float64]
    blank: NDArray[np.bool_]

    def words(self, row: int) -> str:
        """Where the heat of one picture lies."""
        parts = []
        if not np.isnan(self.tumour[row]):
            parts.append(f"heat in or near the tumour: {percent(float(self.tumour[row]))}")
        if not np.isnan(self.plausible[row]):
            where = "there or in the brain" if parts else "heat in the brain"
            parts.append(f"{where}: {percent(float(self.plausible[row]))}")
        return "; ".join(parts)


def gallery(subject: Subject) -> Section:
    """Sheets of the most and least plausible pictures, and of calls at odds with their heat."""
    places = _places(subject)
    sheets = [
        _most(subject, places),
        _least(subject, places),
        _right_elsewhere(subject, places),
        _wrong_inside(subject, places),
        _confident(subject, places),
        _blank(subject, places),
    ]
    return Section(
        "gallery",
        "Gallery",
        (),
        tables=(_table(subject, places),),
        sheets=tuple(sheet for sheet in sheets if sheet.strips),
    )


# --- Where the heat lies --------------------------------------------------------------------


def _places(subject: Subject) -> Places:
    rows = np.arange(len(subject))
    parts = [_part(subject, part) for part in subject.batches(rows, "gallery")]
    plausible, tumour, blank = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Places(plausible, tumour, blank)


def _part(
    subject: Subject, rows: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    heats = subject.heat(rows, subject.calls[rows]).astype(np.float64)
    regions, masks = subject.regions[rows], subject.drawn.masks[rows]
    diameters = 2 * np.sqrt((regions != BACKGROUND).sum((1, 2)) / np.pi)
    near = distances(masks) <= NEAR * diameters[:, None, None]
    total = heats.sum((1, 2))
    blank = total <= 0
    known = np.where(blank, np.nan, total)
    tumour = (heats * near).sum((1, 2)) / known
    plausible = (heats * (near | (regions == BRAIN))).sum((1, 2)) / known
    told, masked = subject.told[rows], masks.any((1, 2))
    return np.where(told, plausible, np.nan), np.where(masked, tumour, np.nan), blank


# --- Sheets ---------------------------------------------------------------------------------


def _strips(
    subject: Subject,
    score: NDArray[np.float64],
    chosen: NDArray[np.bool_],
    words: Callable[[int], str],
    *,
    lowest: bool = False,
) -> Iterator[Strip]:
    """A strip per class called: the chosen pictures of highest (or lowest) score."""
    for target, name in enumerate(subject.classes):
        rows = np.flatnonzero(chosen & (subject.calls == target) & ~np.isnan(score))
        order = rows[np.argsort(score[rows] if lowest else -score[rows], kind="stable")]
        best = one_of_each(subject, order)
        if best:
            head = f"Called {name}: {counted(len(best), 'distinct picture')}"
            tiles = tuple(Tile(row, words(row)) for row in best[:MOST])
            yield Strip(head, tiles)


def _most(subject: Subject, places: Places) -> Sheet:
    found = np.where(np.isnan(places.tumour), places.plausible, places.tumour)
    masked = subject.drawn.masks.any((1, 2)) & (subject.calls == subject.positive)
    by_mask = tuple(_strips(subject, places.tumour, subject.right & masked, places.words))
    rest = subject.right & ~_classes_of(subject, masked)
    by_brain = tuple(_strips(subject, found, rest, places.words))
    return Sheet(
        "most",
        "Right calls with heat in the most plausible places",
        by_mask + by_brain,
        f"By share of heat in or near the tumour (up to {percent(NEAR)} of the head's diameter, "
        "the rim included); by share in the brain where no picture of the class called has a mask.",
    )


def _classes_of(subject: Subject, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pictures of which some other of the same class called is chosen, (N,)."""
    some: NDArray[np.bool_] = np.isin(subject.calls, np.unique(subject.calls[chosen]))
    return some


def _least(subject: Subject, places: Places) -> Sheet:
    every = np.ones(len(subject), bool)
    return Sheet(
        "least",
        "Heat in the least plausible places",
        tuple(_strips(subject, places.plausible, every, places.words, lowest=True)),
        "By share of heat in the brain or near the tumour. Heat elsewhere is implausible for a "
        "deep lesion; whether there is one, a heatmap can't tell.",
    )


def _right_elsewhere(subject: Subject, places: Places) -> Sheet:
    with np.errstate(invalid="ignore"):
        chosen = subject.right & (places.plausible < HALF)
    sure = subject.probabilities.max(1).astype(np.float64)
    return Sheet(
        "right-elsewhere",
        "Right calls for an implausible place",
        tuple(_strips(subject, sure, chosen, places.words)),
        "The call is right, and less than half of the heat for it lies in the brain or near the "
        "tumour; most confident first.",
    )


def _wrong_inside(subject: Subject, places: Places) -> Sheet:
    score = np.where(np.isnan(places.tumour), places.plausible, places.tumour)
    with np.errstate(invalid="ignore"):
        chosen = ~subject.right & (score >= HALF)
    return Sheet(
        "wrong-inside",
        "Other calls with heat in a plausible place",
        tuple(_strips(subject, score, chosen, places.words)),
        "The call isn't the label's, and at least half of the heat for it lies in or near the "
        "tumour (in the brain where there is no mask). Looking in the right place isn't enough.",
    )


def _confident(subject: Subject, places: Places) -> Sheet:
    sure = subject.probabilities.max(1).astype(np.float64)
    return Sheet(
        "confident",
        "Most confident calls that aren't the label's",
        tuple(_strips(subject, sure, ~subject.right, places.words)),
        "Labels may be at fault too.",
    )


def _blank(subject: Subject, places: Places) -> Sheet:
    sure = subject.probabilities.max(1).astype(np.float64)
    return Sheet(
        "blank",
        "Calls that no place speaks for",
        tuple(_strips(subject, sure, places.blank, places.words)),
        "The map for the class called is blank: what decided is a constant of the net, or evidence "
        "against the other classes.",
    )


# --- How many -------------------------------------------------------------------------------


def _table(subject: Subject, places: Places) -> Table:
    """How often calls look at plausible places, right and other calls apart."""
    rows = [
        _row(subject, places, target, right)
        for target in range(len(subject.classes))
        for right in (True, False)
    ]
    return Table(
        "plausible",
        "Calls by the place of their heat",
        (
            "called",
            "calls",
            "pictures",
            "distinct",
            "at least half of the heat in the brain or near the tumour",
            "blank",
        ),
        tuple(row for row in rows if row is not None),
        "Every distinct picture counts once; in brackets the interval. Blank maps and pictures "
        "whose regions can't be told take no part in the shares.",
    )


def _row(
    subject: Subject, places: Places, target: int, right: bool
) -> tuple[str | int, ...] | None:
    rows = (subject.calls == target) & (subject.right == right)
    if not rows.any():
        return None
    values = places.plausible[rows]
    inside = np.where(np.isnan(values), np.nan, np.nan_to_num(values) >= HALF)
    share = mean(inside, subject.groups[rows], resamples=subject.resamples, seed=subject.seed)
    return (
        subject.classes[target],
        "right" if right else "other",
        int(rows.sum()),
        len(np.unique(subject.groups[rows])),
        told(share),
        int(places.blank[rows].sum()),
    )
