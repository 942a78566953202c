"""Does the score follow the heat: patches taken away or brought back, the hottest first.

Deletion blurs patches until nothing but a blob is left of the picture, insertion brings them back
into the blob. A map that knows what the classifier uses makes the probability fall early in the
one and rise early in the other. A random order of the patches is the measure of chance, the same
pictures and the same fills. Source: Petsiuk et al., "RISE", BMVC 2018, section 4.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from clearhead.audits.exhibits import (
    RANDOM,
    Exhibits,
    Heats,
    Judged,
    blanks,
    figure,
    lines_of,
    twins,
)
from clearhead.audits.phrases import counted, interval
from clearhead.audits.section import Cell, Curve, Curves, Dots, Section, Table
from clearhead.audits.subject import BATCH, predict
from clearhead.measure.removal import area_under, places_in_order
from clearhead.measure.scores import Score
from clearhead.types import Finding

PICTURES = 96
"""Pictures at most: every order costs `2 * (STEPS - 1)` forward passes of each."""

STEPS = 16
"""Equal shares of the patches, taken one after the other."""

DRAWS = 2
"""Random orders of each picture's patches."""

BLUR = 0.1
"""Spread of the blur as a share of the square's side: of the head, a blob is left."""

ROOM = 0.05
"""Where the probability falls by less than this when all is blurred, no order can show much."""

WAYS = ("deletion", "insertion")


@dataclass(frozen=True)
class Removal:
    """Scores while patches go or come in some order, both ways.

    Shapes: `probability` and `margin` are (2, N, STEPS + 1), deletion and insertion: probability of
    the class called, and its logit over the log-sum of the other classes' (its log odds).
    """

    probability: NDArray[np.float64]
    margin: NDArray[np.float64]


@dataclass(frozen=True)
class Areas:
    """Areas under the curves of every method, and what they gain on random order, (2, N) each.

    A gain above 0 is good both ways.
    """

    area: dict[str, NDArray[np.float64]]
    gain: dict[str, NDArray[np.float64]]


def faithful(exhibits: Exhibits) -> Judged:
    """Deletion and insertion curves of every method and control, beside random order."""
    some = exhibits.first(PICTURES)
    found = removals(some)
    areas = areas_of({name: each.probability for name, each in found.items()})
    margins = areas_of({name: each.margin for name, each in found.items()})
    gains = [
        some.scores_of({name: gain[way] for name, gain in areas.gain.items()}) for way in (0, 1)
    ]
    section = Section(
        "faithful",
        "Does the score follow the heat?",
        tuple(_finding(some, areas, gains[way], found[some.chosen], way) for way in (0, 1)),
        tables=(_table(some, areas, margins, gains), _by_call(some, areas, found[some.chosen])),
        dots=tuple(_dots(some, gains[way], way) for way in (0, 1)),
        curves=tuple(_curves(some, found, way) for way in (0, 1)),
    )
    return Judged(section, {f"Gain in {way}": gain for way, gain in zip(WAYS, gains, strict=True)})


# --- Taking patches away and bringing them back -----------------------------------------------


def removals(exhibits: Exhibits) -> dict[str, Removal]:
    """Scores of every method's and control's order; what orders alike is computed once."""
    heats = exhibits.heats
    same = twins(heats)
    orders = _orders(exhibits, {name: heats[name] for name in same if same[name] == name})
    ends = _ends(exhibits)
    found = {name: _removal(exhibits, places, ends, name) for name, places in orders.items()}
    drawn = [found.pop(name) for name in _drawn()]
    chance = Removal(
        np.mean([each.probability for each in drawn], 0),
        np.mean([each.margin for each in drawn], 0),
    )
    return {name: found.get(same[name], chance) for name in (*heats, RANDOM)}


def _drawn() -> tuple[str, ...]:
    return tuple(f"random order {number + 1}" for number in range(DRAWS))


def _orders(exhibits: Exhibits, heats: Heats) -> dict[str, NDArray[np.int64]]:
    rows = np.arange(len(exhibits))
    even = np.zeros((len(exhibits), exhibits.patches.count, exhibits.patches.count), np.float32)
    seed = exhibits.subject.seed
    orders = {
        name: places_in_order(heat, rows, seed) for name, heat in heats.items() if name != RANDOM
    }
    drawn = {
        name: places_in_order(even, rows, seed + 1 + number) for number, name in enumerate(_drawn())
    }
    return {**orders, **drawn}


def shares() -> NDArray[np.float64]:
    """Shares of the patches that have gone or come, (STEPS + 1,)."""
    return np.linspace(0, 1, STEPS + 1)


def blurred(squares: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Squares (B, S, S) of which a blob in the shape of the head is left: what both ways fill in.

    Grey or black patches would do as well in theory. In practice a net trained on tumours takes
    hard-edged patches for one, and the curves then tell of the fill.
    """
    sigma = BLUR * squares.shape[1]
    soft = ndimage.gaussian_filter(squares.astype(np.float32), (0, sigma, sigma), mode="nearest")
    filled: NDArray[np.uint8] = np.rint(soft).astype(np.uint8)
    return filled


def _steps(
    exhibits: Exhibits, rows: NDArray[np.int64], places: NDArray[np.int64]
) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    """Way, step and squares (B, S, S) for every inner step of both ways."""
    squares = exhibits.subject.squares[rows]
    soft = blurred(squares)
    counts = np.rint(shares() * exhibits.patches.count**2)
    spread = exhibits.patches.spread(places[rows])
    for step in range(1, STEPS):
        first = spread < counts[step]
        yield 0, step, np.where(first, soft, squares)
        yield 1, step, np.where(first, squares, soft)


def _removal(
    exhibits: Exhibits, places: NDArray[np.int64], ends: NDArray[np.float32], name: str
) -> Removal:
    """Scores of one order; `ends` (2, 2, N, K) are the logits where every order begins and ends."""
    subject = exhibits.subject
    logits = np.empty((2, len(exhibits), STEPS + 1, ends.shape[-1]), np.float32)
    logits[:, :, 0], logits[:, :, -1] = ends[0], ends[1]
    for rows in subject.batches(np.arange(len(exhibits)), f"deletion and insertion, {name}"):
        for way, step, squares in _steps(exhibits, rows, places):
            logits[way, rows, step] = predict(exhibits.classifier, squares)
    return _scores(exhibits, logits)


def _ends(exhibits: Exhibits) -> NDArray[np.float32]:
    """Logits at the beginning and the end of both ways, (2, 2, N, K)."""
    found = []
    for start in range(0, len(exhibits), BATCH):
        squares = exhibits.subject.squares[start : start + BATCH]
        whole = predict(exhibits.classifier, np.ascontiguousarray(squares))
        soft = predict(exhibits.classifier, blurred(squares))
        found.append(np.stack([[whole, soft], [soft, whole]]))
    return np.concatenate(found, 2)


def _scores(exhibits: Exhibits, logits: NDArray[np.float32]) -> Removal:
    """Scores of the class called, from logits (2, N, T, K)."""
    there = torch.from_numpy(logits)
    shares = (
        exhibits.classifier.probabilities(
            there.reshape(-1, there.shape[-1]).to(exhibits.classifier.mean.device)
        )
        .reshape(there.shape)
        .cpu()
    )
    calls = torch.from_numpy(exhibits.subject.calls)[None, :, None, None].expand(
        *there.shape[:3], 1
    )
    mine = there.gather(3, calls)
    others = there.scatter(3, calls, -torch.inf).logsumexp(3)
    probability, margin = shares.gather(3, calls)[..., 0], mine[..., 0] - others
    return Removal(probability.double().numpy(), margin.double().numpy())


def areas_of(curves: dict[str, NDArray[np.float64]]) -> Areas:
    """Areas under curves (2, N, T) of every name, beside those of random order."""
    area = {
        name: np.stack([area_under(shares(), each) for each in both])
        for name, both in curves.items()
    }
    signs = np.array([[-1.0], [1.0]])
    chance = area[RANDOM]
    gain = {name: signs * (both - chance) for name, both in area.items() if name != RANDOM}
    return Areas(area, gain)


# --- What it says -----------------------------------------------------------------------------


def _finding(
    exhibits: Exhibits, areas: Areas, gains: dict[str, Score], mine: Removal, way: int
) -> Finding:
    name = exhibits.chosen
    gain, ends = gains[name], interval(gains[name])
    better = ends is not None and ends[0] > 0
    beaten = [other for other in _rivals(exhibits) if _beats(exhibits, areas, other, way)]
    area, chance = (exhibits.score_of(areas.area[each][way]) for each in (name, RANDOM))
    return Finding(
        f"faithful.{WAYS[way]}",
        "info" if better and not beaten else "warn",
        f"{_told(way)} in the order of {name} leaves an area of {_number(area)} under the "
        f"probability of the class called, in random order {_number(chance)}: "
        f"{_verdict(better, gain, ends)}.{_beaten(beaten)}{_silent(mine)}{_blank(exhibits)}",
        gain.value,
        ends,
        limit=0.0,
        figure=WAYS[way],
    )


def _told(way: int) -> str:
    return ("Blurring patches", "Bringing patches back into a blurred picture")[way]


def _number(score: Score) -> str:
    return "?" if score.value is None else f"{score.value:.3f}"


def _verdict(better: bool, gain: Score, ends: tuple[float, float] | None) -> str:
    if ends is None:
        return "too few pictures to tell"
    told = f"a gain of {gain.value:+.3f} ({ends[0]:+.3f} to {ends[1]:+.3f})"
    return f"{told}, better than chance" if better else f"{told}, no better than chance"


def _rivals(exhibits: Exhibits) -> Iterator[str]:
    return (name for name in exhibits.controls if name != RANDOM)


def _beats(exhibits: Exhibits, areas: Areas, control: str, way: int) -> bool:
    """Whether a control gains more than the method, the interval of the difference above 0."""
    ahead = exhibits.score_of(areas.gain[control][way] - areas.gain[exhibits.chosen][way])
    return ahead.low is not None and ahead.low > 0


def _beaten(controls: list[str]) -> str:
    if not controls:
        return ""
    return f" Heat that knows nothing of the classifier does better: {', '.join(controls)}."


def _silent(mine: Removal) -> str:
    """How many pictures keep their probability when all is blurred, in words."""
    fall = mine.probability[0, :, 0] - mine.probability[0, :, -1]
    count = int(np.count_nonzero(fall < ROOM))
    if not count:
        return ""
    return (
        f" {counted(count, 'picture')} of {len(fall)} keep the probability of their call when all "
        "is blurred: of those the curves say nothing."
    )


def _blank(exhibits: Exhibits) -> str:
    count = blanks(exhibits.heats[exhibits.chosen])
    if not count:
        return ""
    return f" {counted(count, 'map')} of {len(exhibits)} hold no heat and count as random order."


def _table(
    exhibits: Exhibits, areas: Areas, margins: Areas, gains: list[dict[str, Score]]
) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, area in areas.area.items():
        cells: list[str] = []
        for way in (0, 1):
            cells.append(_number(exhibits.score_of(area[way])))
            cells.append("–" if name == RANDOM else signed(gains[way][name]))
        for way in (0, 1):
            cells.append(
                "–" if name == RANDOM else figure(exhibits.score_of(margins.gain[name][way]))
            )
        rows.append((_shown(exhibits, name), *cells))
    return Table(
        "areas",
        "Areas under the probability of the class called, and what each order gains on random",
        (
            "Order",
            "Deletion area",
            "Gain",
            "Insertion area",
            "Gain",
            "Gain in log odds, deletion",
            "Gain in log odds, insertion",
        ),
        tuple(rows),
        note=f"{counted(len(exhibits), 'picture')}, each of its own group; patches of "
        f"{exhibits.patches.side_px} px in {STEPS} steps; random is the mean of {DRAWS} orders. "
        f"Deletion ends in, and insertion begins with, a blur of {BLUR:.0%} of the side. A small "
        "area is good in deletion, a large one in insertion; a gain above 0 is good in both. "
        "Patches without heat go in random order.",
    )


def signed(score: Score) -> str:
    """`+0.042 (+0.038 to +0.046)`; `–` where it is undefined."""
    if score.value is None:
        return "–"
    ends = interval(score)
    return f"{score.value:+.3f}" + ("" if ends is None else f" ({ends[0]:+.3f} to {ends[1]:+.3f})")


def _shown(exhibits: Exhibits, name: str) -> str:
    if name == RANDOM:
        return "random order (control)"
    return f"{name} (control)" if name in exhibits.controls else name


def _by_call(exhibits: Exhibits, areas: Areas, mine: Removal) -> Table:
    """The gains of the method of the findings, by class called and whether that is right."""
    subject, gain = exhibits.subject, areas.gain[exhibits.chosen]
    whole, soft = mine.probability[0, :, 0], mine.probability[0, :, -1]
    rows: list[tuple[Cell, ...]] = []
    for index, label in enumerate(subject.classes):
        for right in (True, False):
            keep = (subject.calls == index) & (subject.right == right)
            room, blob = (exhibits.score_of(np.where(keep, each, np.nan)) for each in (whole, soft))
            both = (exhibits.score_of(np.where(keep, gain[way], np.nan)) for way in (0, 1))
            told = f"{label}, {'rightly' if right else 'wrongly'}"
            rows.append((told, int(keep.sum()), _number(room), _number(blob), *map(signed, both)))
    return Table(
        "by_call",
        f"What {exhibits.chosen} gains on random order, by call",
        ("Called", "Pictures", "Probability whole", "Blurred", "Deletion", "Insertion"),
        tuple(rows),
        note="Where the blurred picture is called with as much probability as the whole one, no "
        "order can gain: the curves are silent about that call.",
    )


def _dots(exhibits: Exhibits, gains: dict[str, Score], way: int) -> Dots:
    values = [
        end
        for score in gains.values()
        for end in (score.value, score.low, score.high)
        if end is not None
    ]
    return Dots(
        f"{WAYS[way]}_gain",
        f"What each order gains on random order in {WAYS[way]}",
        "difference of areas under the probability of the class called",
        (min([*values, 0.0]), max([*values, 0.01])),
        lines_of(gains, exhibits.controls),
        references=(("random order", 0.0),),
    )


def _curves(exhibits: Exhibits, found: dict[str, Removal], way: int) -> Curves:
    return Curves(
        WAYS[way],
        (
            "Deletion: the probability while the hottest patches go",
            "Insertion: the probability while the hottest patches come back",
        )[way],
        ("share of the patches blurred", "share of the patches brought back")[way],
        "probability of the class called",
        tuple(_curve(exhibits, name, each.probability[way]) for name, each in found.items()),
        (0.0, 1.0),
        note=f"Means over {counted(len(exhibits), 'picture')}; intervals for random order and "
        f"{exhibits.chosen}.",
    )


def _curve(exhibits: Exhibits, name: str, scores: NDArray[np.float64]) -> Curve:
    at = [exhibits.score_of(column) for column in scores.T]
    bare = name not in (RANDOM, exhibits.chosen) or at[0].low is None
    return Curve(
        _shown(exhibits, name),
        tuple(shares().tolist()),
        tuple(score.value or 0.0 for score in at),
        () if bare else tuple(score.low or 0.0 for score in at),
        () if bare else tuple(score.high or 0.0 for score in at),
        "control" if name in exhibits.controls else "",
    )
