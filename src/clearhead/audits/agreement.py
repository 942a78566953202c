"""Do methods tell the same, who is one witness, and how much of the picture do they speak of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from clearhead.audits.exhibits import Exhibits, Judged, blanks, figure, lines_of, twins
from clearhead.audits.phrases import interval, listed, percent_of
from clearhead.audits.section import Cell, Dots, Section, Table
from clearhead.measure.complexity import entropy, gini, half_area
from clearhead.measure.likeness import unit_ranks
from clearhead.measure.scores import Score
from clearhead.types import Finding


def agreement(exhibits: Exhibits) -> Judged:
    """Rank correlation of every two methods, and the complexity of each one's maps."""
    ranks = _matrix(exhibits)
    groups = witnesses(exhibits)
    areas = exhibits.scores_of(_measured(exhibits)["Area of half the heat"])
    section = Section(
        "agreement",
        "Do methods agree, and how much do they point at?",
        (_methods_finding(exhibits, ranks, groups), _area_finding(exhibits, areas)),
        tables=(_matrix_table(exhibits, ranks), _complexity_table(exhibits)),
        dots=(_dots(exhibits, areas),),
    )
    return Judged(section, {"Area of half the heat": areas})


def witnesses(exhibits: Exhibits) -> tuple[tuple[str, ...], ...]:
    """The methods in groups whose maps are the same up to a factor, in every picture."""
    same = twins({name: exhibits.heats[name] for name in exhibits.methods})
    return tuple(
        tuple(name for name in same if same[name] == first)
        for first in dict.fromkeys(same.values())
    )


def _matrix(exhibits: Exhibits) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Rank correlation of every two methods or controls in each picture, (N,)."""
    ranks = {name: unit_ranks(heat) for name, heat in exhibits.heats.items()}
    return {
        (one, other): np.einsum("bn,bn->b", ranks[one], ranks[other])
        for one in ranks
        for other in ranks
    }


def _methods_finding(
    exhibits: Exhibits,
    ranks: Mapping[tuple[str, str], NDArray[np.float64]],
    groups: Sequence[Sequence[str]],
) -> Finding:
    firsts = [group[0] for group in groups]
    pairs = [(one, other) for place, one in enumerate(firsts) for other in firsts[place + 1 :]]
    score = Score(None)
    told = "There is nothing to compare."
    if pairs:
        score = exhibits.score_of(_mean([ranks[pair] for pair in pairs]))
        told = f"Different ones have a rank correlation of {figure(score)} on average."
    return Finding(
        "agreement.methods",
        "info",
        f"{len(exhibits.methods)} methods give {len(groups)} different maps.{_one(groups)} {told}"
        f"{_rival(exhibits, ranks)}",
        score.value,
        interval(score),
        figure="matrix",
    )


def _mean(values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The mean of what is known of each picture, (N,)."""
    stacked = np.stack(values)
    count = np.isfinite(stacked).sum(0)
    return np.where(count, np.nansum(stacked, 0) / np.maximum(count, 1), np.nan)


def _one(groups: Sequence[Sequence[str]]) -> str:
    told = [
        f" {listed(group)} are one map for this net: one witness, not {len(group)}."
        for group in groups
        if len(group) > 1
    ]
    return "".join(told)


def _rival(exhibits: Exhibits, ranks: Mapping[tuple[str, str], NDArray[np.float64]]) -> str:
    """The control that is most like the method of the findings, in words."""
    found = {name: exhibits.score_of(ranks[exhibits.chosen, name]) for name in exhibits.controls}
    known = {name: score for name, score in found.items() if score.value is not None}
    if not known:
        return ""
    name = max(known, key=lambda each: known[each].value or 0.0)
    return f" Of the controls, {name} is most like {exhibits.chosen}: {figure(known[name])}."


def _matrix_table(
    exhibits: Exhibits, ranks: Mapping[tuple[str, str], NDArray[np.float64]]
) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for one in exhibits.names:
        scores = (exhibits.score_of(ranks[one, other]).value for other in exhibits.names)
        rows.append((one, *("–" if value is None else f"{value:.2f}" for value in scores)))
    return Table(
        "matrix",
        "Rank correlation of the maps of two methods, mean over the pictures",
        ("", *exhibits.names),
        tuple(rows),
        note=f"Controls, which know nothing of the classifier: {', '.join(exhibits.controls)}. A "
        "map that is the same everywhere has no order to compare.",
    )


# --- Complexity -------------------------------------------------------------------------------


def _measured(exhibits: Exhibits) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Figures (N,) of complexity, by figure and method."""
    kinds = {"Area of half the heat": half_area, "Entropy": entropy, "Gini index": gini}
    return {
        told: {name: kind(heat) for name, heat in exhibits.heats.items()}
        for told, kind in kinds.items()
    }


def _area_finding(exhibits: Exhibits, areas: Mapping[str, Score]) -> Finding:
    name = exhibits.chosen
    mine, centre = areas[name], areas.get("centre", Score(None))
    beside = "" if centre.value is None else f", a Gaussian in the middle {percent_of(centre)}"
    empty = blanks(exhibits.heats[name])
    none = f" {empty} of {len(exhibits)} maps hold no heat." if empty else ""
    return Finding(
        "complexity.area",
        "info",
        f"Half of the heat of {name} lies on {percent_of(mine)} of the square; even heat would "
        f"need 50.0 %{beside}.{none}",
        mine.value,
        interval(mine),
        figure="complexity",
    )


def _complexity_table(exhibits: Exhibits) -> Table:
    measured = _measured(exhibits)
    rows: list[tuple[Cell, ...]] = []
    for name in exhibits.names:
        told = f"{name} (control)" if name in exhibits.controls else name
        each = (figure(exhibits.score_of(values[name])) for values in measured.values())
        rows.append((told, *each, blanks(exhibits.heats[name])))
    return Table(
        "complexity",
        "How much of the picture the maps speak of",
        ("Method", *measured, "Maps without heat"),
        tuple(rows),
        note="The area is a share of the square. Entropy of the patches' shares of heat is 1 for "
        "even heat and 0 for one patch (Bhatt et al. 2020); the Gini index is 0 for even heat and "
        "near 1 for one patch (Chalasani et al. 2020).",
    )


def _dots(exhibits: Exhibits, areas: Mapping[str, Score]) -> Dots:
    return Dots(
        "half_area",
        "Share of the square that holds half of the heat",
        "share of the square",
        (0.0, 0.6),
        lines_of(areas, exhibits.controls),
        references=(("even heat", 0.5),),
    )
