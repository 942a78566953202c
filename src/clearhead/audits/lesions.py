"""Does the evidence for a tumour lie on the tumour: pointing, overlap and precision with masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clearhead.audits.beside import CONTROL_WORDS, HEAT, heats_beside
from clearhead.audits.phrases import counted, interval, percent_of, points, ranged
from clearhead.audits.section import Cell, Curve, Curves, Section, Table
from clearhead.audits.subject import Subject
from clearhead.measure import localisation
from clearhead.measure.groupwise import mean
from clearhead.measure.localisation import (
    Lesions,
    average_precision,
    distances,
    energy,
    iou_at_level,
    iou_at_size,
    pointing,
)
from clearhead.measure.scores import Score
from clearhead.types import BACKGROUND, BRAIN, Finding

TOLERANCES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2)
"""Distances to the mask at which the hottest pixel still counts, in diameters of the head."""
TOLERANT = 0.05
"""The one of `TOLERANCES` that is told beside none."""
TOLERANT_MM = 5.0
"""The same in millimetres, where the pictures know their spacing."""
HALF = 0.5
"""Share of the peak at which a map is cut for the second overlap."""
NEAR_RIM = 0.03
"""A tumour that comes this near to what isn't brain lies at the rim, in diameters of the head."""
FEWEST = 6
"""Pictures from which a table by size and place is made."""

MEASURES = {
    "pointing": "hottest pixel on the tumour",
    "near": f"… or within {100 * TOLERANT:.0f} % of the head's diameter",
    "millimetres": f"… or within {TOLERANT_MM:.0f} mm",
    "energy": "heat inside the tumour",
    "size": "overlap at the tumour's own size (IoU)",
    "half": f"overlap at {100 * HALF:.0f} % of the peak (IoU)",
    "precision": "average precision",
}
"""What is measured of each picture, in 0…1, and what a table calls it."""

FIGURE, CALLED, MISSED, KINDS = (
    "lesions-pointing",
    "lesions-called",
    "lesions-missed",
    "lesions-kinds",
)

Measured = dict[str, NDArray[np.float64]]
"""Each of `MEASURES` (n,), and `curve` (n, T) over `TOLERANCES`."""


@dataclass(frozen=True)
class Found:
    """How well heat for the tumour class finds the tumours of n pictures that have a mask.

    Shapes: `rows` (n,); `measured` by the name of the heat's maker (`HEAT` or a control);
    `lesions` are sizes and places (n,); `called` (n,), whether the tumour class is called.
    """

    subject: Subject
    rows: NDArray[np.int64]
    measured: Mapping[str, Measured]
    lesions: Lesions
    called: NDArray[np.bool_]

    def score(
        self, measure: str, keep: NDArray[np.bool_], maker: str = HEAT, against: str | None = None
    ) -> Score:
        """Mean of a measure over the pictures to keep (n,), by group; less that of `against`."""
        values = self.measured[maker][measure][keep]
        if against is not None:
            values = values - self.measured[against][measure][keep]
        return self.mean_of(values, keep)

    def curve(self, place: int, keep: NDArray[np.bool_], maker: str) -> Score:
        """Mean of the pointing game at one of the `TOLERANCES`, by group."""
        return self.mean_of(self.measured[maker]["curve"][keep, place], keep)

    def best_control(self, measure: str, keep: NDArray[np.bool_]) -> str:
        """The control that does best over the pictures to keep (n,)."""
        groups = self.subject.groups[self.rows[keep]]
        means = {
            name: mean(self.measured[name][measure][keep], groups, resamples=0).value or 0.0
            for name in CONTROL_WORDS
        }
        return max(means, key=lambda name: means[name])

    def told(self, keep: NDArray[np.bool_]) -> list[str]:
        """The measures that are defined in some of the pictures to keep (n,)."""
        mine = self.measured[HEAT]
        return [name for name in MEASURES if np.isfinite(mine[name][keep]).any()]

    def mean_of(self, values: NDArray[np.float64], keep: NDArray[np.bool_]) -> Score:
        """Mean of values of the pictures to keep, by group."""
        groups = self.subject.groups[self.rows[keep]]
        return mean(values, groups, resamples=self.subject.resamples, seed=self.subject.seed)


def lesions(subject: Subject) -> Section:
    """Evidence for the tumour class beside the tumour masks, called and missed tumours apart.

    Takes the pictures of the positive class that have a mask. Every figure stands beside all
    controls; the finding is the paired difference to the best of them.
    """
    masked = subject.drawn.masked & subject.drawn.masks.any((1, 2))
    rows = np.flatnonzero(masked & (subject.labels == subject.positive))
    title = "Is the evidence on the tumour"
    if not len(rows):
        return Section("lesions", title, (_nothing(subject),))
    found = _measure(subject, rows)
    keep = found.called if found.called.any() else ~found.called
    return Section(
        "lesions",
        title,
        (
            _compared(found, keep, "pointing", "lesions.pointing", _pointing(found, keep), FIGURE),
            _compared(found, keep, "energy", "lesions.inside", _inside(found, keep), CALLED),
            _compared(found, keep, "precision", "lesions.precision", _ranked(found, keep), CALLED),
            _missed(found),
        ),
        tables=tuple(_tables(found)),
        curves=(_curves(found, keep),),
    )


def _nothing(subject: Subject) -> Finding:
    return Finding(
        "lesions.pointing",
        "info",
        f"No picture of {subject.classes[subject.positive]} has a tumour mask, so it is not known "
        "whether the evidence lies on the tumour. Give masks when the folder is indexed "
        "(`clearhead index DATA --masks FOLDER`): pictures named like the images, tumour not 0.",
    )


# --- Measuring ------------------------------------------------------------------------------


def _measure(subject: Subject, rows: NDArray[np.int64]) -> Found:
    parts: dict[str, list[Measured]] = {}
    places = []
    for batch in subject.batches(rows, "heat on the tumours"):
        masks, sizes = subject.drawn.masks[batch], pixel_sizes(subject, batch)
        heads = subject.regions[batch]
        seen = localisation.lesions(masks, heads != BACKGROUND, heads == BRAIN, sizes)
        places.append(_where_told(seen, subject.told[batch]))
        far = distances(masks, sizes)
        allowed = _tolerances(subject, batch, places[-1])
        targets = np.full(len(batch), subject.positive)
        for maker, heats in heats_beside(subject, batch, targets):
            parts.setdefault(maker, []).append(_figures(heats, masks, far, allowed))
    measured = {
        maker: {name: np.concatenate([each[name] for each in some]) for name in some[0]}
        for maker, some in parts.items()
    }
    lesion = Lesions(
        **{
            item.name: np.concatenate([getattr(each, item.name) for each in places])
            for item in dataclasses.fields(Lesions)
        }
    )
    return Found(subject, rows, measured, lesion, subject.calls[rows] == subject.positive)


def pixel_sizes(subject: Subject, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Height and width of a square's pixel, (B, 2): in mm, or in picture pixels without spacing."""
    scales = np.array([subject.drawn.placements[row].scale for row in rows.tolist()])
    spacing = subject.drawn.spacing_mm[rows]
    known = np.isfinite(spacing).all(1, keepdims=True)
    sizes: NDArray[np.float64] = np.where(known, spacing, 1.0) / scales
    return sizes


def _where_told(lesion: Lesions, told: NDArray[np.bool_]) -> Lesions:
    """NaN where the head's outline isn't known."""
    fields = {item.name: getattr(lesion, item.name) for item in dataclasses.fields(Lesions)}
    return Lesions(**{name: np.where(told, values, np.nan) for name, values in fields.items()})


def _tolerances(subject: Subject, rows: NDArray[np.int64], lesion: Lesions) -> NDArray[np.float64]:
    """Distances in the unit of `pixel_sizes`: `TOLERANCES`, then `TOLERANT_MM`, (B, T + 1)."""
    known = np.isfinite(subject.drawn.spacing_mm[rows]).all(1)
    near = np.array(TOLERANCES) * lesion.diameter[:, None]
    near[:, 0] = 0  # on the tumour: no outline needed
    return np.column_stack([near, np.where(known, TOLERANT_MM, np.nan)])


def _figures(
    heats: NDArray[np.float32],
    masks: NDArray[np.bool_],
    far: NDArray[np.float32],
    allowed: NDArray[np.float64],
) -> Measured:
    hits = pointing(heats, far, allowed)
    return {
        "curve": hits[:, :-1],
        "pointing": hits[:, 0],
        "near": hits[:, TOLERANCES.index(TOLERANT)],
        "millimetres": hits[:, -1],
        "energy": energy(heats, masks),
        "size": iou_at_size(heats, masks),
        "half": iou_at_level(heats, masks, HALF),
        "precision": average_precision(heats, masks),
    }


# --- Findings -------------------------------------------------------------------------------


def _compared(
    found: Found, keep: NDArray[np.bool_], measure: str, check: str, said: str, figure: str
) -> Finding:
    """A measure beside the best control: a warning where it isn't surely above."""
    best = found.best_control(measure, keep)
    mine, gain = found.score(measure, keep), found.score(measure, keep, against=best)
    theirs = found.score(measure, keep, best)
    above = gain.low is not None and gain.low > 0
    verdict = (
        " The best of the controls, which know nothing of the classifier, reaches "
        f"{percent_of(theirs)} ({CONTROL_WORDS[best]}): the difference is {points(gain)}"
    )
    words = "." if above else _doubt(gain)
    return Finding(
        check,
        "info" if above else "warn",
        said + verdict + words,
        mine.value,
        interval(mine),
        theirs.value,
        figure=figure,
    )


def _doubt(gain: Score) -> str:
    if gain.high is not None and gain.high < 0:
        return ": the heat finds the tumour worse than a map that knows nothing."
    return ", which may be chance: the heat doesn't show that the tumour is what was seen."


def _pointing(found: Found, keep: NDArray[np.bool_]) -> str:
    hit, near = found.score("pointing", keep), found.score("near", keep)
    tolerant = (
        f", in {percent_of(near)} on it or within {100 * TOLERANT:.0f} % of the head's diameter"
        if near.value is not None
        else ""
    )
    blank = int(
        (found.measured[HEAT]["energy"][keep] != found.measured[HEAT]["energy"][keep]).sum()
    )
    none = f" Misses include {counted(blank, 'blank map')}." if blank else ""
    return (
        f"The hottest pixel lies on the tumour in {ranged(hit)} of {_pictures(found, keep)}"
        f"{tolerant}.{none}"
    )


def _inside(found: Found, keep: NDArray[np.bool_]) -> str:
    area = found.score("energy", keep, "uniform")
    return (
        f"{ranged(found.score('energy', keep))} of the heat lies inside the tumour, which fills "
        f"{percent_of(area)} of the square, in {_pictures(found, keep)}; at the tumour's own size "
        f"the overlap (IoU) is {_number(found.score('size', keep))}."
    )


def _ranked(found: Found, keep: NDArray[np.bool_]) -> str:
    return (
        f"As a detector of the tumour's pixels the heat has an average precision of "
        f"{ranged(found.score('precision', keep))} (chance: "
        f"{percent_of(found.score('precision', keep, 'uniform'))}), in {_pictures(found, keep)}."
    )


def _missed(found: Found) -> Finding:
    """What the heat for the tumour class does where the tumour isn't called."""
    missed = ~found.called
    name = found.subject.classes[found.subject.positive]
    if not missed.any():
        said = f"Every tumour with a mask is called {name}."
        return Finding("lesions.missed", "info", said, value=0.0, figure=CALLED)
    hit = found.score("pointing", missed)
    best = found.best_control("pointing", missed)
    told = (
        f" In tumours that are called it lies there in "
        f"{percent_of(found.score('pointing', found.called))}."
        if found.called.any()
        else ""
    )
    return Finding(
        "lesions.missed",
        "info",
        f"{counted(int(missed.sum()), 'picture')} with a masked tumour "
        f"{'is' if missed.sum() == 1 else 'are'} not called {name}. There, the hottest pixel of "
        f"the evidence for {name} lies on the tumour in {ranged(hit)} ({CONTROL_WORDS[best]}: "
        f"{percent_of(found.score('pointing', missed, best))}).{told}",
        hit.value,
        interval(hit),
        figure=MISSED,
    )


# --- Words ----------------------------------------------------------------------------------


def _pictures(found: Found, keep: NDArray[np.bool_]) -> str:
    name = found.subject.classes[found.subject.positive]
    groups = len(np.unique(found.subject.groups[found.rows[keep]]))
    word = f"called {name}" if found.called[keep].all() else f"not called {name}"
    return (
        f"{counted(int(keep.sum()), 'picture')} with a masked tumour that "
        f"{'is' if keep.sum() == 1 else 'are'} {word} ({counted(groups, 'distinct picture')})"
    )


def _number(score: Score) -> str:
    return "–" if score.value is None else f"{score.value:.2f}"


# --- Figures --------------------------------------------------------------------------------


def _tables(found: Found) -> list[Table]:
    name = found.subject.classes[found.subject.positive]
    tables = [
        _measures(found, keep, figure, f"Heat for {name} on masked tumours {words}")
        for keep, figure, words in (
            (found.called, CALLED, f"that are called {name}"),
            (~found.called, MISSED, "that are missed"),
        )
        if keep.any()
    ]
    if len(found.rows) >= FEWEST and np.isfinite(found.lesions.size).any():
        tables.append(_kinds(found))
    return tables


def _measures(found: Found, keep: NDArray[np.bool_], figure: str, title: str) -> Table:
    makers = {HEAT: "heat of the classifier"}
    makers |= {name: f"control: {words}" for name, words in CONTROL_WORDS.items()}
    told = found.told(keep)
    rows: list[tuple[Cell, ...]] = [
        (words, *(ranged(found.score(name, keep, maker)) for name in told))
        for maker, words in makers.items()
    ]
    gains = [found.score(name, keep, against=found.best_control(name, keep)) for name in told]
    rows.append(("heat less the best control", *map(points, gains)))
    return Table(
        figure,
        title,
        ("Map", *(MEASURES[name] for name in told)),
        tuple(rows),
        note=f"{counted(int(keep.sum()), 'picture')}; 95 % intervals, every distinct picture "
        "counting once. Of pixels tied for the maximum each counts its share; a blank map misses "
        "and has no heat inside. Average precision ranks all pixels of the square; chance is the "
        "tumour's share of it. The last row is paired, picture by picture.",
    )


def _kinds(found: Found) -> Table:
    """Small and large, deep and superficial tumours apart."""
    rows = [_kind(found, name, keep) for name, keep in _splits(found.lesions) if keep.any()]
    name = found.subject.classes[found.subject.positive]
    return Table(
        KINDS,
        "By size and place of the tumour",
        (
            "Tumours",
            "Pictures",
            f"Called {name}",
            MEASURES["pointing"],
            "best control there",
            MEASURES["energy"],
            MEASURES["precision"],
        ),
        tuple(rows),
        note="Terciles of the tumour's area as a share of the head's, of the distance between the "
        "centres of tumour and head in radii of the head, and whether the tumour comes within "
        f"{100 * NEAR_RIM:.0f} % of the head's diameter of what isn't brain. Called and missed "
        "tumours together.",
    )


def _splits(lesion: Lesions) -> list[tuple[str, NDArray[np.bool_]]]:
    """Pictures by terciles of size and eccentricity, and by whether the rim is near, (n,) each."""
    known = np.isfinite(lesion.size)
    near = lesion.touches_rim(NEAR_RIM)
    return [
        *_terciles(lesion.size, ("small", "middling", "large"), "of the head"),
        *_terciles(lesion.eccentricity, ("central", "between", "off-centre"), "of the radius"),
        ("away from the rim", known & ~near),
        ("at the rim", near),
    ]


def _terciles(
    values: NDArray[np.float64], names: tuple[str, str, str], of: str
) -> list[tuple[str, NDArray[np.bool_]]]:
    first, second = np.nanquantile(values, [1 / 3, 2 / 3])
    edges = (f"up to {percent_of(float(first))}", "", f"over {percent_of(float(second))}")
    parts = (values <= first, (values > first) & (values <= second), values > second)
    return [
        (f"{name} ({edge} {of})" if edge else name, keep)
        for name, edge, keep in zip(names, edges, parts, strict=True)
    ]


def _kind(found: Found, name: str, keep: NDArray[np.bool_]) -> tuple[Cell, ...]:
    best = found.best_control("pointing", keep)
    called = found.mean_of(found.called[keep].astype(np.float64), keep)
    return (
        name,
        int(keep.sum()),
        ranged(called),
        ranged(found.score("pointing", keep)),
        f"{percent_of(found.score('pointing', keep, best))}, {CONTROL_WORDS[best]}",
        ranged(found.score("energy", keep)),
        ranged(found.score("precision", keep)),
    )


def _curves(found: Found, keep: NDArray[np.bool_]) -> Curves:
    return Curves(
        FIGURE,
        "How near the hottest pixel comes to the tumour",
        "distance to the tumour that still counts, % of the head's diameter",
        "pictures whose hottest pixel is that near, %",
        tuple(_curve(found, keep, maker) for maker in (HEAT, *CONTROL_WORDS)),
        (0.0, 100.0),
        note="Every distinct picture counts once. The controls know nothing of the classifier.",
    )


def _curve(found: Found, keep: NDArray[np.bool_], maker: str) -> Curve:
    scores = [found.curve(place, keep, maker) for place in range(len(TOLERANCES))]
    told = [(100 * t, s) for t, s in zip(TOLERANCES, scores, strict=True) if s.value is not None]
    ends = [interval(score) for _, score in told]
    drawn = [end for end in ends if end is not None] if maker == HEAT and all(ends) else []
    return Curve(
        "heat" if maker == HEAT else CONTROL_WORDS[maker],
        tuple(tolerance for tolerance, _ in told),
        tuple(100 * (score.value or 0.0) for _, score in told),
        tuple(100 * low for low, _ in drawn),
        tuple(100 * high for _, high in drawn),
        tone="" if maker == HEAT else "control",
    )
