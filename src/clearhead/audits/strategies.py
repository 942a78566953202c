"""What a classifier looks at: kinds of heatmaps for each class called, and how often each is met.

Heat is carried into head coordinates (`measure.strategies`), so that pictures of different heads
can be laid on each other. The plane of a slice isn't known: places are those of the picture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from clearhead.audits.phrases import counted, interval, listed, percent
from clearhead.audits.section import Maps, Panel, Section, Sheet, Strip, Table, Tile
from clearhead.audits.subject import Subject
from clearhead.data.cache import scratch
from clearhead.measure import strategies as kinds_of
from clearhead.measure.groupwise import mean
from clearhead.measure.localisation import (
    area_shares,
    density,
    distances,
    heat_shares,
    pointing,
)
from clearhead.measure.scores import Score
from clearhead.measure.strategies import (
    AIR,
    FRAME_PX,
    STRENGTH,
    Strategies,
    frames,
    head_coordinates,
    pooled,
)
from clearhead.types import BACKGROUND, BRAIN, REGIONS, Finding

MOST = 8
"""Most kinds of each class."""

TYPICAL = 7
"""Pictures shown of each kind, each of another group."""

CLEAR = 0.05
"""A kind holds a clear share of the calls where the interval of its share lies above this."""

PANEL_PX = 96
"""Side of the maps that are shown."""

FULL = 4.0
"""Heat as dense as this, against heat spread evenly over the head, is shown in full colour."""

MIDDLE, EDGE, BEYOND = 0.33, 0.8, 1.05
"""Distance from the centre of the head up to which a place is in its middle, from which it is at
its edge, and outside; in half extents of the head."""

MOSTLY = 0.6
"""A region with so much of the heat stands alone in its name."""

DIRECTIONS: tuple[str, ...] = (
    "right",
    "lower right",
    "lower",
    "lower left",
    "left",
    "upper left",
    "upper",
    "upper right",
)
"""Of the picture, as seen, in eighths of a turn."""

RARE = 0.03
"""Parts of the picture with a smaller share of the hottest places aren't listed."""

REGION_WORDS = {"brain": "the brain", "rim": "scalp and skull", "background": "the background"}

SIDE = 0.1
"""A side of the head with a smaller share of the heat around it has next to none."""


@dataclass(frozen=True)
class Looks:
    """The calls of one class, row by row, and where their heat lies.

    Shapes: `rows` (M,) of the subject; `blank` and `told` (M,) bool; `maps` (M, d) in head
    coordinates, 0 where blank or untold; `shares` and `areas` (M, 3) of heat and picture in each
    region, NaN where blank or untold; `hits` (M,), NaN without a mask; `heads` (2, P, P), the
    share of heads whose brain, and whose head, covers each place of the frame.
    """

    target: int
    rows: NDArray[np.int64]
    blank: NDArray[np.bool_]
    told: NDArray[np.bool_]
    maps: NDArray[np.float32]
    shares: NDArray[np.float64]
    areas: NDArray[np.float64]
    hits: NDArray[np.float64]
    heads: NDArray[np.float64]


@dataclass(frozen=True)
class Kind:
    """A kind of heatmap of one class, and what is known of its calls.

    `members` (M,) tells which of the class's calls show it; `centre` (d,) is their mean map, None
    where they are blank. Scores are means in which every group counts once.
    """

    number: int
    target: str
    members: NDArray[np.bool_]
    centre: NDArray[np.float64] | None
    typical: tuple[int, ...]
    """Rows of the subject nearest to the centre, one of each group."""
    where: str
    share: Score
    """Of the calls of the class."""
    brain: Score
    """Share of the heat that lies in the brain."""
    density: Score
    """That share ÷ the brain's share of the picture: 1 is chance."""
    right: Score
    hits: Score
    """Calls whose hottest pixel lies in the tumour, of those with a mask."""
    groups: int
    judged: bool
    """Whether the class has a place: it is the positive one, or has tumour masks."""

    @property
    def files(self) -> int:
        return int(self.members.sum())

    @property
    def share_words(self) -> str:
        """Its share of the calls: `all`, or `21 % (17–25 %)`."""
        return "all" if self.members.all() else told(self.share)

    @property
    def elsewhere(self) -> bool:
        """Whether most heat lies outside the brain, and the brain has less of it than by chance."""
        least, most = interval(self.brain), interval(self.density)
        return least is not None and most is not None and least[1] < 0.5 and most[1] < 1

    @property
    def clear(self) -> bool:
        """Whether it holds a clear share of the calls."""
        ends = interval(self.share)
        return ends is not None and ends[0] > CLEAR


def strategies(subject: Subject) -> Section:
    """Kinds of heatmaps of each class called: where, how often, how often right."""
    order = [subject.positive, *(k for k in range(len(subject.classes)) if k != subject.positive)]
    kinds: list[Kind] = []
    every: list[tuple[Looks, tuple[float, ...], list[Kind]]] = []
    for target in order:
        rows = np.flatnonzero(subject.calls == target)
        if len(rows):
            looks = _looks(subject, target, rows)
            found = _found(subject, looks)
            own = _kinds(subject, looks, found, len(kinds) + 1)
            kinds += own
            every.append((looks, found.strengths if found else (), own))
    return Section(
        "strategies",
        "What it looks at",
        (*(_finding(kind) for kind in kinds), _spread(subject, every)),
        tables=(_table(kinds), _hottest(subject, [looks for looks, _, _ in every])),
        maps=tuple(_maps(subject, looks, own) for looks, _, own in every if _has_maps(own)),
        sheets=(_sheet(subject, kinds),),
    )


# --- Heat of one class ----------------------------------------------------------------------


def _looks(subject: Subject, target: int, rows: NDArray[np.int64]) -> Looks:
    name = subject.classes[target]
    maps = scratch((len(rows), FRAME_PX**2), np.float32)
    found = []
    heads = np.zeros((2, PANEL_PX, PANEL_PX))
    done = 0
    for part in subject.batches(rows, f"heat of {name}"):
        maps[done : done + len(part)], inside, *rest = _part(subject, target, part)
        heads += inside
        found.append(rest)
        done += len(part)
    blank, shares, areas, hits = (np.concatenate(each) for each in zip(*found, strict=True))
    told = subject.told[rows]
    heads /= max(int(told.sum()), 1)
    return Looks(target, rows, blank, told, maps, shares, areas, hits, heads)


def _part(subject: Subject, target: int, rows: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
    """One batch: maps, the sum of brains and heads; blank, shares, areas, hits."""
    heats = subject.heat(rows, np.full(len(rows), target))
    regions, told = subject.regions[rows], subject.told[rows]
    maps = head_coordinates(heats, regions).reshape(len(rows), -1)
    areas = area_shares(regions)
    boxes = frames(regions)
    # Where the frame reaches beyond the square there is no pixel, and so no head.
    full = np.maximum(pooled(np.ones(regions.shape, np.float32), boxes, PANEL_PX), 1e-6)
    covers = [
        pooled(own, boxes, PANEL_PX) / full for own in (regions == BRAIN, regions != BACKGROUND)
    ]
    return (
        np.where(told[:, None], maps, 0),
        np.stack([each[told].sum(0) for each in covers]),
        heats.max((1, 2)) <= 0,
        np.where(told[:, None], heat_shares(heats, regions), np.nan),
        np.where(told[:, None], areas, np.nan),
        pointing(heats, distances(subject.drawn.masks[rows]))[:, 0],
    )


def _found(subject: Subject, looks: Looks) -> Strategies | None:
    """Kinds of the maps that have heat and whose regions can be told; None where there is none."""
    usable = looks.told & ~looks.blank
    if not usable.any():
        return None
    groups = subject.groups[looks.rows[usable]]
    maps = looks.maps if usable.all() else looks.maps[usable]
    return kinds_of.strategies(maps, groups, seed=subject.seed, most=MOST)


def _kinds(subject: Subject, looks: Looks, found: Strategies | None, first: int) -> list[Kind]:
    """The kinds of a class by falling share; blank maps are one of their own."""
    usable = np.flatnonzero(looks.told & ~looks.blank)
    kinds = []
    for index, centre in enumerate(() if found is None else found.centres):
        assert found is not None
        inside = found.labels == index
        nearest = usable[inside][np.argsort(found.distances[inside], kind="stable")]
        kinds.append(_kind(subject, looks, nearest, centre))
    if looks.blank.any():
        kinds.append(_kind(subject, looks, np.flatnonzero(looks.blank), None))
    kinds.sort(key=lambda kind: -(kind.share.value or 0.0))
    return [dataclasses.replace(kind, number=first + place) for place, kind in enumerate(kinds)]


def _kind(
    subject: Subject, looks: Looks, nearest: NDArray[np.int64], centre: NDArray[np.float64] | None
) -> Kind:
    """What is known of the calls at the places `nearest` of `looks`, the most typical first."""
    members = np.zeros(len(looks.rows), bool)
    members[nearest] = True
    groups = subject.groups[looks.rows]

    def average(values: NDArray[Any], among: NDArray[np.bool_] = members) -> Score:
        return mean(values[among], groups[among], resamples=subject.resamples, seed=subject.seed)

    return Kind(
        number=0,
        target=subject.classes[looks.target],
        members=members,
        centre=centre,
        typical=tuple(one_of_each(subject, looks.rows[nearest])[:TYPICAL]),
        where="no place speaks for the call" if centre is None else _where(looks, members, centre),
        share=average(members, np.ones(len(members), bool)),
        brain=average(looks.shares[:, BRAIN]),
        density=density(
            looks.shares[members, BRAIN],
            looks.areas[members, BRAIN],
            groups[members],
            resamples=subject.resamples,
            seed=subject.seed,
        ),
        right=average(subject.right[looks.rows]),
        hits=average(looks.hits),
        groups=len(np.unique(groups[members])),
        judged=looks.target == subject.positive
        or bool(subject.drawn.masked[subject.labels == looks.target].any()),
    )


def one_of_each(subject: Subject, rows: NDArray[np.int64]) -> list[int]:
    """The first of `rows` of every group, in their order: copies don't fill a sheet."""
    first = np.unique(subject.groups[rows], return_index=True)[1]
    return [int(row) for row in rows[np.sort(first)]]


# --- Places in words ------------------------------------------------------------------------


def _where(looks: Looks, members: NDArray[np.bool_], centre: NDArray[np.float64]) -> str:
    """Region and part of the picture in which the heat of these calls lies."""
    shares = dict(zip(REGIONS, np.nanmean(looks.shares[members], 0), strict=True))
    order = sorted(shares, key=lambda name: -shares[name])
    alone = shares[order[0]] >= MOSTLY
    regions = [REGION_WORDS[name] for name in order[: 1 if alone else 2]]
    return f"{listed(regions)}, {_part_words(centre)}"


def _part_words(centre: NDArray[np.float64]) -> str:
    """Which part of the head the densest half of the heat (d,) surrounds."""
    side = round(len(centre) ** 0.5)
    order = np.argsort(-centre)
    dense = order[: 1 + int(np.searchsorted(np.cumsum(centre[order]), 0.5 * centre.sum()))]
    down, across = (_from_centre(place, side) for place in np.divmod(dense, side))
    heat = centre[dense]
    middle = float(np.average(down, weights=heat)), float(np.average(across, weights=heat))
    reach = float(np.average(np.hypot(down, across), weights=heat))
    if np.hypot(*middle) <= MIDDLE and reach > EDGE:
        return _ring_words(down, across, heat)
    if np.hypot(*middle) <= MIDDLE and reach > 2 * MIDDLE:
        return "spread over the head"
    return place_words(*middle)


def _ring_words(
    down: NDArray[np.float64], across: NDArray[np.float64], heat: NDArray[np.float64]
) -> str:
    """Along the edge of the head: all around it, or which sides have next to none."""
    quarter = np.rint(np.arctan2(down, across) / (np.pi / 2)).astype(int) % 4
    shares = np.bincount(quarter, weights=heat, minlength=4) / heat.sum()
    without = [DIRECTIONS[2 * index] for index in np.flatnonzero(shares < SIDE)]
    ring = "all around the edge of the head"
    return f"{ring} but for the {listed(without)} side" if without else ring


def _from_centre(place: NDArray[Any], side: int) -> NDArray[np.float64]:
    """Cells of the frame as places from the head's centre, in half extents of the head."""
    from_middle: NDArray[np.float64] = (place + 0.5) / side - 0.5
    return from_middle / (0.5 - AIR)


def place_words(down: float, across: float) -> str:
    """The part of the picture a place lies in, from the head's centre in half extents."""
    away = float(np.hypot(down, across))
    if away <= MIDDLE:
        return "middle of the head"
    eighth = round(float(np.arctan2(down, across)) / (np.pi / 4)) % 8
    if away > BEYOND:
        return f"outside the head, {DIRECTIONS[eighth]} side"
    part = "edge" if away > EDGE else "part"
    return f"{DIRECTIONS[eighth]} {part} of the head"


# --- Findings -------------------------------------------------------------------------------


def _finding(kind: Kind) -> Finding:
    ends = interval(kind.share)
    all_of_them = "All" if kind.members.all() else f"{told(kind.share)} of the"
    calls = f"{all_of_them} calls of {kind.target}"
    right = f"{told(kind.right)} of these calls are right."
    if kind.centre is None:
        message = f"{calls} have no place that speaks for them: blank heatmaps. {right}"
        return Finding(f"strategies.{kind.number}", "info", message, kind.share.value, ends)
    brain = f"{told(kind.brain)} of the heat is in the brain"
    chance = "" if kind.density.value is None else f", {kind.density.value:.2f} times as densely as"
    chance = chance and f"{chance} if it were spread evenly over the picture"
    message = f"{calls} look at {kind.where}: {brain}{chance}. {right}"
    loud = kind.judged and kind.elsewhere and kind.clear
    if loud:
        message += " That is implausible for a deep lesion; near a tumour at the rim it is not."
    elif kind.elsewhere and not kind.judged:
        message += f" {kind.target} has no place of its own, so this is told and not judged."
    return Finding(
        f"strategies.{kind.number}",
        "warn" if loud else "info",
        message,
        kind.share.value,
        ends,
        CLEAR if loud else None,
        figure=f"kinds-{kind.target}",
    )


def told(share: Score) -> str:
    """A share with its interval: `21 % (17–25 %)`."""
    ends = interval(share)
    words = "an unknown share" if share.value is None else percent(share.value)
    return words if ends is None else f"{words} ({100 * ends[0]:.0f}–{100 * ends[1]:.0f} %)"


def _spread(
    subject: Subject, every: Sequence[tuple[Looks, tuple[float, ...], list[Kind]]]
) -> Finding:
    """How many kinds there are of each class, and how surely."""
    words = [_spread_words(subject, *each) + _most_often(subject, each[0]) for each in every]
    told = [kind for _, _, own in every[:1] for kind in own if kind.centre is not None]
    return Finding(
        "strategies.spread",
        "info",
        " ".join(words) or "No picture was called.",
        float(len(told)) if told else None,
        figure="kinds",
    )


def _spread_words(
    subject: Subject, looks: Looks, strengths: tuple[float, ...], kinds: list[Kind]
) -> str:
    name = subject.classes[looks.target]
    count = sum(kind.centre is not None for kind in kinds)
    untold = int((~looks.told & ~looks.blank).sum())
    tail = f" {counted(untold, 'heatmap')} took no part: regions can't be told." * bool(untold)
    if not count:
        return f"No heatmap of the calls of {name} has a place to compare.{tail}"
    if len(strengths) == 1:
        return f"The calls of {name} are too few or too alike to divide their heatmaps.{tail}"
    if count == 1:
        return (
            f"The heatmaps of the calls of {name} are of one kind: no division of them returns in "
            f"other pictures (prediction strength of two kinds {strengths[1]:.2f}, limit "
            f"{STRENGTH}, or no gap between them); places shade into each other.{tail}"
        )
    return (
        f"The heatmaps of the calls of {name} are of {count} kinds that return in other pictures "
        f"(prediction strength {strengths[count - 1]:.2f}, limit {STRENGTH}).{tail}"
    )


def _most_often(subject: Subject, looks: Looks) -> str:
    """The part of the picture in which the hottest place lies most often."""
    for _, part, share, chance in _hottest_rows(subject, looks):
        return f" Most often their hottest place is the {part}: {share}, by chance {chance}."
    return ""


# --- Figures --------------------------------------------------------------------------------


def _table(kinds: Sequence[Kind]) -> Table:
    columns = (
        "no.",
        "called",
        "where the heat lies",
        "of these calls",
        "pictures",
        "distinct",
        "calls right",
        "heat in the brain",
        "against chance",
        "hottest pixel in the tumour",
    )
    return Table(
        "kinds",
        "Kinds of heatmaps",
        columns,
        tuple(
            (
                kind.number,
                kind.target,
                kind.where,
                kind.share_words,
                kind.files,
                kind.groups,
                told(kind.right),
                None if kind.brain.value is None else told(kind.brain),
                None if kind.density.value is None else f"{kind.density.value:.2f} ×",
                None if kind.hits.value is None else told(kind.hits),
            )
            for kind in kinds
        ),
        "Every distinct picture counts once; in brackets the interval. Against chance: share of "
        "the heat in the brain ÷ the brain's share of the picture. The last column: of the calls "
        "that have a tumour mask.",
    )


def _hottest(subject: Subject, every: Sequence[Looks]) -> Table:
    """How often the hottest place lies in each part of the picture, beside chance."""
    rows = [row for looks in every for row in _hottest_rows(subject, looks)]
    return Table(
        "hottest",
        "Where the hottest place lies",
        ("called", "part of the picture", "of these calls", "chance"),
        tuple(rows),
        "Whatever kinds there are: the cell of each heatmap that holds most heat, in head "
        f"coordinates. Chance: the part's share of head and air around. Parts with less than "
        f"{percent(RARE)} of the calls are left out.",
    )


def _hottest_rows(subject: Subject, looks: Looks) -> Iterator[tuple[str, ...]]:
    usable = looks.told & ~looks.blank
    if not usable.any():
        return
    cells = np.array(_cell_words())
    parts = cells[looks.maps[usable].argmax(1)]
    groups = subject.groups[looks.rows[usable]]
    found = []
    for part in np.unique(parts):
        share = mean(parts == part, groups, resamples=subject.resamples, seed=subject.seed)
        found.append((share, str(part)))
    for share, part in sorted(found, key=lambda pair: -(pair[0].value or 0.0)):
        if (share.value or 0.0) >= RARE:
            name = subject.classes[looks.target]
            yield name, part, told(share), percent(float(np.mean(cells == part)))


def _cell_words() -> list[str]:
    """The part of the picture that each cell of the frame lies in."""
    places = _from_centre(np.arange(FRAME_PX), FRAME_PX)
    return [place_words(float(down), float(across)) for down in places for across in places]


def _has_maps(kinds: Sequence[Kind]) -> bool:
    return any(kind.centre is not None for kind in kinds)


def _maps(subject: Subject, looks: Looks, kinds: Sequence[Kind]) -> Maps:
    name = subject.classes[looks.target]
    outline = (looks.heads > 0.5).sum(0).astype(np.uint8)
    panels = tuple(
        Panel(
            f"{kind.number}: {kind.share_words} of these calls\n{kind.where}",
            _against_even(kind.centre, looks.heads[1]),
            outline,
        )
        for kind in kinds
        if kind.centre is not None
    )
    return Maps(
        f"kinds-{name}",
        f"Where the heat of the calls of {name} lies",
        panels,
        FULL,
        "times as much heat as if all of it were spread evenly over the head; white lines: the "
        "mean outlines of head and brain",
        "Each map is the mean of one kind, in head coordinates: every head is scaled to the same "
        "height and width, and not turned.",
    )


def _against_even(centre: NDArray[np.float64], head: NDArray[np.float64]) -> NDArray[np.float32]:
    """Heat per cell ÷ what it would be if it were even over the head, (PANEL_PX, PANEL_PX)."""
    side = round(len(centre) ** 0.5)
    cells = float((head > 0.5).mean()) * side**2
    shown: NDArray[np.float32] = ndimage.zoom(
        (centre * max(cells, 1.0)).reshape(side, side),
        PANEL_PX / side,
        order=1,
        mode="nearest",
        grid_mode=True,
    ).astype(np.float32)
    return shown


def _sheet(subject: Subject, kinds: Sequence[Kind]) -> Sheet:
    strips = tuple(
        Strip(
            f"{kind.number}. Called {kind.target}, {kind.share_words} of these: {kind.where}",
            tuple(Tile(row) for row in kind.typical),
        )
        for kind in kinds
    )
    return Sheet(
        "typical",
        "Typical pictures of each kind",
        strips,
        "The pictures whose heatmaps are nearest to the mean of their kind, each of another group.",
    )
