"""Where the heat lies: shares in brain, rim and background, beside chance and controls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clearhead.audits.beside import CONTROL_WORDS, HEAT, heats_beside
from clearhead.audits.phrases import counted, interval, percent_of, ranged
from clearhead.audits.pictures import evenly
from clearhead.audits.section import Cell, Dots, Line, Mark, Section, Sheet, Strip, Table, Tile
from clearhead.audits.subject import BATCH, Subject
from clearhead.measure.groupwise import mean
from clearhead.measure.localisation import area_shares, density, distances, heat_shares
from clearhead.measure.scores import Score
from clearhead.types import BACKGROUND, BRAIN, REGIONS, RIM, Finding

MOST = 0.5
"""Share of the heat from which it is said that most of it lies somewhere."""
UNTOLD = 0.2
"""Share of pictures without regions from which it is warned."""
CHANGED = 0.2
"""Share of calls that change with the background emptied from which they hang on it."""
EMPTIED = 256
"""Pictures of a class whose background is emptied."""
TOUCHES_PX = 0.02
"""A tumour this near to the rim touches it, as a share of the square's side."""
SHOWN = 7
"""Pictures in each strip of the sheet."""

FIGURE, TABLE, SHEET = "where-density", "where-shares", "where-most"


@dataclass(frozen=True)
class Shares:
    """Shares of heat for the called class and of area in each region, of n told pictures.

    Shapes: `rows` (n,); each of `heat` (n, 3), by the name of its maker (`HEAT` or a control), NaN
    where blank; `areas` (n, 3); `touching` (n,), whether a tumour mask touches the rim.
    """

    subject: Subject
    rows: NDArray[np.int64]
    heat: dict[str, NDArray[np.float64]]
    areas: NDArray[np.float64]
    touching: NDArray[np.bool_]

    def share(self, region: int, keep: NDArray[np.bool_], maker: str = HEAT) -> Score:
        """Mean share of heat in the region over the pictures to keep (n,), by group."""
        return mean(self.heat[maker][keep, region], self._groups(keep), **self._draws)

    def density(self, region: int, keep: NDArray[np.bool_], maker: str = HEAT) -> Score:
        """Mean share of heat ÷ mean share of area over the pictures to keep (n,), by group."""
        heat, area = self.heat[maker][keep, region], self.areas[keep, region]
        return density(heat, area, self._groups(keep), **self._draws)

    def called(self, target: int) -> NDArray[np.bool_]:
        """Which of the pictures are called that class, (n,)."""
        called: NDArray[np.bool_] = self.subject.calls[self.rows] == target
        return called

    def _groups(self, keep: NDArray[np.bool_]) -> NDArray[np.int64]:
        return self.subject.groups[self.rows[keep]]

    @property
    def _draws(self) -> dict[str, int]:
        return {"resamples": self.subject.resamples, "seed": self.subject.seed}


def where(subject: Subject) -> Section:
    """Share of heat for the called class in each region, and density against chance.

    Pictures whose regions can't be told take no part; blank maps take none in the averages.
    """
    rows = np.flatnonzero(subject.told)
    if not len(rows):
        return Section("where", "Where the evidence lies", (_untold(subject),))
    shares = _measure(subject, rows)
    return Section(
        "where",
        "Where the evidence lies",
        (_background(shares), _rim(shares), _brain(shares), _untold(subject)),
        tables=(_table(shares),),
        dots=(_dots(shares),),
        sheets=(_sheet(shares),),
    )


def _measure(subject: Subject, rows: NDArray[np.int64]) -> Shares:
    heat: dict[str, list[NDArray[np.float64]]] = {}
    areas, touching = [], []
    for batch in subject.batches(rows, "where the heat lies"):
        regions = subject.regions[batch]
        areas.append(area_shares(regions, len(REGIONS)))
        touching.append(_touching(subject.drawn.masks[batch], regions))
        for maker, heats in heats_beside(subject, batch, subject.calls[batch]):
            heat.setdefault(maker, []).append(heat_shares(heats, regions, len(REGIONS)))
    found = {maker: np.concatenate(parts) for maker, parts in heat.items()}
    return Shares(subject, rows, found, np.concatenate(areas), np.concatenate(touching))


def _touching(masks: NDArray[np.bool_], regions: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether the mask comes within `TOUCHES_PX` of the rim, (B,); False without a mask."""
    touching = np.zeros(len(masks), bool)
    for row in np.flatnonzero(masks.any((1, 2))):
        near = distances(masks[row : row + 1])[0] <= TOUCHES_PX * masks.shape[1]
        touching[row] = (near & (regions[row] == RIM)).any()
    return touching


# --- Findings -------------------------------------------------------------------------------


def _background(shares: Shares) -> Finding:
    """Fails where most heat for a class lies where there is no head and the calls hang on it.

    Heat alone proves nothing: a cell of the map over the background knows of the brain as well,
    through the net's field of view and where it normalises over the picture. So the background is
    emptied, and the calls that change are counted.
    """
    every = [_spot_of(shares, k, BACKGROUND) for k in range(len(shares.subject.classes))]
    tried = {spot: _changed(shares, spot.target) for spot in every if spot.dense}
    needed = [spot for spot in tried if surely_above(tried[spot], CHANGED)]
    spoken = _spot(shares, BACKGROUND)
    spot = max(needed, key=lambda spot: (spot.most, spot.positive)) if needed else spoken
    changed = tried.get(spot, Score(None))
    level = ("fail" if spot.most else "warn") if needed else "info"
    return Finding(
        "where.background",
        level,
        _sentence(shares, BACKGROUND, spot.target) + _said(changed, level),
        spot.share.value,
        interval(spot.share),
        MOST,
        figure=FIGURE,
    )


def _said(changed: Score, level: str) -> str:
    """What emptying the background does to the calls, and what follows."""
    if changed.value is None:
        return ""
    said = f" With the background emptied, {ranged(changed)} of these calls change"
    if level == "info":
        return (
            f"{said}: they hardly hang on what is there. Such heat tells little of places: over "
            "the background a net still knows of the brain, by its field of view and by "
            "normalising over the picture."
        )
    return (
        f"{said}: they hang on something that is no part of the head. Look for marks, letters and "
        "borders that go with the class."
    )


def _changed(shares: Shares, target: int) -> Score:
    """Share of the calls of a class that change where the background is emptied, by group.

    Each picture's background becomes its own median grey there: marks go, and no edge comes.
    """
    subject = shares.subject
    rows = np.array(evenly(shares.rows[shares.called(target)], EMPTIED), np.int64)
    changed = np.empty(len(rows))
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        squares = _emptied(subject.squares[part], subject.regions[part])
        changed[start : start + BATCH] = subject.predict(squares).argmax(1) != target
    return mean(changed, subject.groups[rows], resamples=subject.resamples, seed=subject.seed)


def _emptied(squares: NDArray[np.uint8], regions: NDArray[np.uint8]) -> NDArray[np.uint8]:
    outside = regions == BACKGROUND
    pairs = zip(squares, outside, strict=True)
    grey = [np.median(square[out]) if out.any() else 0 for square, out in pairs]
    return np.where(outside, np.array(grey, np.uint8)[:, None, None], squares)


def _rim(shares: Shares) -> Finding:
    """Warns where scalp and skull draw more heat than their area, in tumours away from them."""
    spot = _spot(shares, RIM, but=shares.touching)
    warns = spot.most or (spot.positive and spot.dense)
    left_out = int((shares.touching & shares.called(spot.target)).sum())
    said = _sentence(shares, RIM, spot.target, but=shares.touching)
    if left_out:
        said += (
            f" {counted(left_out, 'picture')} whose tumour touches the rim "
            f"{'is' if left_out == 1 else 'are'} left out: there, heat at the rim is plausible."
        )
    if warns:
        said += " Heat at the skull is implausible for a deep lesion: look at the pictures below."
        said += _absence(shares, spot)
    return Finding(
        "where.rim",
        "warn" if warns else "info",
        said,
        spot.density.value,
        interval(spot.density),
        1.0,
        figure=FIGURE,
    )


def _brain(shares: Shares) -> Finding:
    """Warns where the heat of tumour calls isn't surely denser in the brain than chance."""
    target = _target(shares)
    keep = shares.called(target)
    dense = shares.density(BRAIN, keep)
    above = surely_above(dense, 1.0)
    said = _sentence(shares, BRAIN, target)
    if not above and dense.value is not None:
        fewer = dense.high is not None and dense.high < 1
        said += " That is less than chance." if fewer else " That may be chance."
    return Finding(
        "where.brain",
        "info" if above else "warn",
        said + _best_control(shares, keep),
        dense.value,
        interval(dense),
        1.0,
        figure=FIGURE,
    )


def _untold(subject: Subject) -> Finding:
    untold = int((~subject.told).sum())
    share = untold / len(subject)
    message = (
        f"The regions of {untold:,} of {counted(len(subject), 'picture')} can't be told: they take "
        "no part in what is said of regions."
        if untold
        else f"Background, rim and brain are told in each of {counted(len(subject), 'picture')}."
    )
    return Finding(
        "where.untold", "warn" if share > UNTOLD else "info", message, share, limit=UNTOLD
    )


def _target(shares: Shares) -> int:
    """The class whose calls are judged: the positive one, or the commonest where none is called.

    The absence of a tumour has no place of its own, so the others are told and not judged alike.
    """
    calls = shares.subject.calls[shares.rows]
    positive = shares.subject.positive
    return positive if (calls == positive).any() else int(np.bincount(calls).argmax())


@dataclass(frozen=True)
class Spot:
    """Heat for one called class in one region."""

    target: int
    positive: bool
    """Whether that is the class whose calls are judged."""
    share: Score
    density: Score

    @property
    def dense(self) -> bool:
        """Whether the heat is surely denser than chance."""
        return surely_above(self.density, 1.0)

    @property
    def most(self) -> bool:
        """Whether most of the heat surely lies there, and more than by chance."""
        return self.dense and surely_above(self.share, MOST)


def _spot(shares: Shares, region: int, but: NDArray[np.bool_] | None = None) -> Spot:
    """The class to speak of: the judged one; another where only that one's heat is striking."""
    judged = _target(shares)
    spots = [_spot_of(shares, k, region, but) for k in range(len(shares.subject.classes))]
    mine = spots[judged]
    return mine if mine.dense else next((spot for spot in spots if spot.most), mine)


def _spot_of(
    shares: Shares, target: int, region: int, but: NDArray[np.bool_] | None = None
) -> Spot:
    keep = _kept(shares, target, but)
    share, dense = shares.share(region, keep), shares.density(region, keep)
    return Spot(target, target == _target(shares), share, dense)


def _kept(shares: Shares, target: int, but: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Pictures called that class, without those of `but`, (n,)."""
    called = shares.called(target)
    return called if but is None else called & ~but


def surely_above(score: Score, limit: float) -> bool:
    """Whether the whole interval lies above the limit."""
    return score.low is not None and score.low > limit


# --- Words ----------------------------------------------------------------------------------

PLACES = ("in the background", "in the rim (scalp and skull)", "in the brain")
"""Each region in a sentence, in the order of `REGIONS`."""


def _sentence(
    shares: Shares, region: int, target: int, but: NDArray[np.bool_] | None = None
) -> str:
    """Share of heat in a region, its share of area, and how many times chance that is."""
    keep = _kept(shares, target, but)
    found, crowd = shares.share(region, keep), shares.density(region, keep)
    name = shares.subject.classes[target]
    if found.value is None or crowd.value is None:
        return f"No picture called {name} has heat {PLACES[region]} that could be compared."
    area = mean(shares.areas[keep, region], shares.subject.groups[shares.rows[keep]], resamples=0)
    return (
        f"Where {name} is called, {ranged(found)} of the heat lies {PLACES[region]}, which fills "
        f"{percent_of(area)} of the square: {_times(crowd)} times what heat spread evenly "
        "would put there."
    )


def _times(score: Score) -> str:
    """A density with its interval: `1.35 (1.32–1.37)`; `–` where it is undefined."""
    if score.value is None:
        return "–"
    ends = interval(score)
    return f"{score.value:.2f}" + (f" ({ends[0]:.2f}–{ends[1]:.2f})" if ends else "")


def _best_control(shares: Shares, keep: NDArray[np.bool_]) -> str:
    """What the best of the controls reaches in the brain."""
    each = {name: shares.density(BRAIN, keep, name).value or 0.0 for name in CONTROL_WORDS}
    best = max(each, key=lambda name: each[name])
    return (
        " The best of the controls, which know nothing of the classifier, reaches "
        f"{each[best]:.2f} times ({CONTROL_WORDS[best]})."
    )


def _absence(shares: Shares, spot: Spot) -> str:
    """A caution where the call is none of the class whose detection counts."""
    if spot.positive:
        return ""
    return (
        f" The call {shares.subject.classes[spot.target]} may rest on the absence of something, "
        "which has no place of its own: the causal tests say more."
    )


# --- Figures --------------------------------------------------------------------------------


def _kinds(shares: Shares) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """True class by right or wrong call, then every picture; those that occur."""
    subject = shares.subject
    labels, right = subject.labels[shares.rows], subject.right[shares.rows]
    for k, name in enumerate(subject.classes):
        for word, chosen in (("right", right), ("wrong", ~right)):
            if (keep := chosen & (labels == k)).any():
                yield f"{name}, called {word}", keep
    yield "every picture", np.ones(len(shares.rows), bool)


def _table(shares: Shares) -> Table:
    everything = np.ones(len(shares.rows), bool)
    rows = [_row(shares, name, keep, HEAT) for name, keep in _kinds(shares)]
    rows += [
        _row(shares, f"control: {words}", everything, name) for name, words in CONTROL_WORDS.items()
    ]
    order = [REGIONS[region] for region in ORDER]
    return Table(
        TABLE,
        "Heat for the called class, by region",
        (
            "Pictures",
            "Files",
            *(f"Heat in {name}" for name in order),
            *(f"Density in {name}" for name in order),
        ),
        tuple(rows),
        note="Shares of heat with 95 % intervals, every distinct picture counting once; blank maps "
        "take no part. Density is the share of heat divided by the share of area: 1 is chance. "
        "A net that pads with zeros makes some heat of its own along the border of the square, "
        "where the background lies. The controls know nothing of the classifier.",
    )


ORDER = (BRAIN, RIM, BACKGROUND)
"""The regions as tables and charts have them."""


def _row(shares: Shares, name: str, keep: NDArray[np.bool_], maker: str) -> tuple[Cell, ...]:
    found = [shares.share(region, keep, maker) for region in ORDER]
    crowds = [shares.density(region, keep, maker) for region in ORDER]
    return (
        name,
        int(keep.sum()),
        *map(ranged, found),
        *map(_times, crowds),
    )


def _dots(shares: Shares) -> Dots:
    lines = [_line(shares, name, keep, HEAT) for name, keep in _kinds(shares)]
    everything = np.ones(len(shares.rows), bool)
    lines += [
        _line(shares, f"control: {words}", everything, name)
        for name, words in CONTROL_WORDS.items()
        if name != "uniform"  # 1 everywhere: it is the upright line
    ]
    most = max((mark.high or mark.value for line in lines for mark in line.marks), default=1.0)
    return Dots(
        FIGURE,
        "Density of the heat: how many times what chance would put there",
        "share of heat ÷ share of area",
        (0.0, float(np.ceil(2 * max(most, 1.5)) / 2)),
        tuple(lines),
        (("chance", 1.0),),
        note="Heat for the called class. Heat spread evenly has density 1 in every region.",
        series=tuple(REGIONS[region] for region in ORDER),
    )


def _line(shares: Shares, name: str, keep: NDArray[np.bool_], maker: str) -> Line:
    marks = [
        Mark(REGIONS[region], score.value, score.low, score.high)
        for region in ORDER
        for score in [shares.density(region, keep, maker)]
        if score.value is not None
    ]
    return Line(name, tuple(marks), counted(int(keep.sum()), "file") if maker == HEAT else "")


def _sheet(shares: Shares) -> Sheet:
    return Sheet(
        SHEET,
        "Pictures with most heat outside the brain",
        tuple(_strip(shares, region) for region in (BACKGROUND, RIM)),
        note="One of each group. Heat at the rim is plausible where the tumour touches it.",
    )


def _strip(shares: Shares, region: int) -> Strip:
    share = np.nan_to_num(shares.heat[HEAT][:, region], nan=-1.0)
    subject, seen = shares.subject, set[int]()
    tiles: list[Tile] = []
    for place in np.argsort(-share, kind="stable"):
        row = int(shares.rows[place])
        if len(tiles) == SHOWN or share[place] <= 0:
            break
        if subject.groups[row] not in seen:
            seen.add(int(subject.groups[row]))
            tiles.append(Tile(row, _caption(shares, place, share[place])))
    return Strip(f"Most heat {PLACES[region]}", tuple(tiles))


def _caption(shares: Shares, place: int, share: float) -> str:
    words: Sequence[str] = [
        f"{percent_of(float(share))} of its heat",
        *(["tumour touches the rim"] if shares.touching[place] else []),
    ]
    return " · ".join(words)
