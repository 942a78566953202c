"""What a classifier looks at: planted kinds with their shares, places in words, levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from clearhead.audits.section import Section
from clearhead.audits.strategies import PANEL_PX, TYPICAL, one_of_each, place_words, strategies
from clearhead.audits.subject import Subject
from clearhead.data.canvas import Grid
from clearhead.types import Finding
from subjects import SIDE, disc_regions, planted_subject

CELLS = 12
GRID = Grid(offset_px=(SIDE / CELLS - 1) / 2, stride_px=SIDE / CELLS)
MIDDLE, LEFT, TOP = (5.5, 5.5), (5.5, 0.9), (0.6, 5.5)
"""Cells: in the middle of the brain, at the left rim, at the upper rim."""


def spots(
    places: Sequence[tuple[float, float]], random: np.random.Generator
) -> NDArray[np.float32]:
    """Evidence (N, h, w): a spot at each place, jittered."""
    down, across = np.mgrid[:CELLS, :CELLS]
    centres = np.array(places) + random.normal(0, 0.15, (len(places), 2))
    away = np.hypot(down - centres[:, 0, None, None], across - centres[:, 1, None, None])
    heat: NDArray[np.float64] = 8 * np.exp(-((away / 1.2) ** 2))
    return np.asarray(heat + 0.05 * random.uniform(size=away.shape), np.float32)


def looking_at(
    places: Sequence[tuple[float, float] | None],
    *,
    labels: Sequence[int] | None = None,
    called: int = 0,
    groups: Sequence[int] | None = None,
    told: NDArray[np.bool_] | None = None,
) -> Subject:
    """Pictures all called `called`, each looking at one place; None for a blank map."""
    count = len(places)
    maps = spots([place or MIDDLE for place in places], np.random.default_rng(0))
    maps[[place is None for place in places]] = -1
    evidence = np.full((count, 2, CELLS, CELLS), -1, np.float32)
    evidence[:, called] = maps
    logits = np.zeros((count, 2), np.float32)
    logits[:, called] = 3
    return planted_subject(
        count=count,
        labels=[called] * count if labels is None else list(labels),
        groups=list(range(count)) if groups is None else list(groups),
        evidence=evidence,
        logits=logits,
        grid=GRID,
        told=told,
    )


def numbered(findings: Sequence[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


@pytest.fixture(scope="module")
def mixed() -> Section:
    """24 look at the middle, 18 at the left rim, 12 at nothing; those at the rim are half right."""
    places = [MIDDLE] * 24 + [LEFT] * 18 + [None] * 12
    return strategies(looking_at(places, labels=[0] * 24 + [0, 1] * 9 + [0] * 12))


def test_planted_kinds_are_told_with_share_place_and_level(mixed: Section) -> None:
    found = numbered(mixed.findings)
    assert list(found) == ["strategies.1", "strategies.2", "strategies.3", "strategies.spread"]
    assert [found[f"strategies.{n}"].value for n in (1, 2, 3)] == pytest.approx(
        [24 / 54, 18 / 54, 12 / 54]
    )
    brain, rim, blank = (found[f"strategies.{n}"] for n in (1, 2, 3))
    assert "look at the brain, middle of the head" in brain.message
    assert "left edge of the head" in rim.message
    assert "50 % " in rim.message.partition("of these calls are right")[0][-20:]
    assert "implausible for a deep lesion" in rim.message
    assert "blank" in blank.message
    assert (brain.level, rim.level, blank.level) == ("info", "warn", "info")
    for finding in (brain, rim, blank):
        assert finding.interval is not None
        assert finding.value is not None
        assert finding.interval[0] < finding.value < finding.interval[1]
    assert "are of 2 kinds" in found["strategies.spread"].message
    assert "wrong" not in " ".join(finding.message for finding in mixed.findings)


def test_figures_named_by_findings_exist_and_show_every_kind(mixed: Section) -> None:
    section = mixed
    names = {one.name for one in section.tables} | {one.name for one in section.maps}
    names |= {one.name for one in section.sheets}
    assert {finding.figure for finding in section.findings if finding.figure} <= names
    (maps,) = section.maps
    assert len(maps.panels) == 2
    for panel, across in zip(maps.panels, (0.5, 0.2), strict=True):
        assert panel.values.shape == (PANEL_PX, PANEL_PX)
        hottest = np.unravel_index(panel.values.argmax(), panel.values.shape)
        assert np.array(hottest) / PANEL_PX == pytest.approx([0.5, across], abs=0.08)
        assert panel.outline is not None
        assert set(np.unique(panel.outline)) == {0, 1, 2}
    (sheet,) = section.sheets
    assert len(sheet.strips) == 3
    kinds = np.repeat([0, 1, 2], (24, 18, 12))
    for kind, strip in enumerate(sheet.strips):
        rows = [tile.row for tile in strip.tiles]
        assert len(rows) == TYPICAL
        assert (kinds[rows] == kind).all()
    assert len(section.tables[0].rows) == 3


def test_even_heat_shown_is_one_all_over_the_head() -> None:
    evidence = np.full((12, 2, CELLS, CELLS), -1, np.float32)
    evidence[:, 0] = 1
    logits = np.tile(np.array([3, 0], np.float32), (12, 1))
    subject = planted_subject(
        count=12,
        labels=[0] * 12,
        evidence=evidence,
        logits=logits,
        grid=GRID,
        groups=list(range(12)),
    )
    section = strategies(subject)
    assert [finding.check for finding in section.findings] == ["strategies.1", "strategies.spread"]
    inside = section.maps[0].panels[0]
    assert inside.outline is not None
    share = (disc_regions() != 0).mean()  # even over the picture: that much is in the head
    brain = np.asarray(inside.values)[np.asarray(inside.outline) == 2]
    assert brain == pytest.approx(share, abs=0.08)
    assert "too few or too alike" in section.findings[-1].message


def test_one_place_is_one_kind_and_it_is_said_where_the_hottest_lies() -> None:
    section = strategies(looking_at([TOP] * 30))
    (kind, spread) = section.findings
    assert kind.value == 1.0
    assert kind.message.startswith("All calls of tumour look at")
    assert "of one kind" in spread.message
    assert "upper edge of the head: " in spread.message


def test_the_absence_of_a_tumour_is_told_and_not_judged() -> None:
    section = strategies(looking_at([LEFT] * 30, called=1))
    assert {finding.level for finding in section.findings} == {"info"}
    assert "not judged" in section.findings[0].message


def test_copies_count_once_and_fill_no_strip() -> None:
    places = [MIDDLE] * 40 + [LEFT] * 20
    groups = [0] * 20 + list(range(1, 21)) + list(range(21, 41))
    section = strategies(looking_at(places, groups=groups))
    assert section.findings[0].value == pytest.approx(21 / 41)
    rows = [tile.row for tile in section.sheets[0].strips[0].tiles]
    assert len({groups[row] for row in rows}) == len(rows)


def test_untold_regions_take_no_part_and_are_counted() -> None:
    told = np.ones(30, bool)
    told[:5] = False
    section = strategies(looking_at([MIDDLE] * 30, told=told))
    assert section.findings[0].value == pytest.approx(25 / 30)
    assert "5 heatmaps took no part" in section.findings[-1].message


def test_all_blank_or_never_called_is_said() -> None:
    section = strategies(looking_at([None] * 12))
    assert not section.maps
    assert "blank" in section.findings[0].message


def test_the_first_of_every_group_in_order() -> None:
    subject = looking_at([MIDDLE] * 6, groups=[7, 7, 3, 3, 7, 5])
    assert one_of_each(subject, np.array([4, 3, 0, 2, 5])) == [4, 3, 5]


@pytest.mark.parametrize(
    ("down", "across", "words"),
    [
        (0.1, -0.1, "middle of the head"),
        (-0.6, 0.0, "upper part of the head"),
        (0.0, 0.95, "right edge of the head"),
        (0.7, -0.6, "lower left edge of the head"),
        (0.0, -1.2, "outside the head, left side"),
    ],
)
def test_places_in_words(down: float, across: float, words: str) -> None:
    assert place_words(down, across) == words
