"""Where the heat lies: planted places are told, shares are the literal ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from clearhead.audits.beside import CONTROL_WORDS, HEAT, heats_beside, other_heats
from clearhead.audits.section import Section
from clearhead.audits.subject import Subject
from clearhead.audits.where import SHOWN, where
from clearhead.data.canvas import Grid
from clearhead.heat.controls import CONTROLS
from clearhead.measure.groupwise import mean
from clearhead.types import BACKGROUND, BRAIN, REGIONS, RIM
from subjects import LOOKS, SIDE, disc_regions, planted_subject

WHOLE = Grid(0.0, 1.0)
"""A grid whose cells are the pixels: heat is the evidence itself."""


def levels(section: Section) -> dict[str, str]:
    return {finding.check: finding.level for finding in section.findings}


def message(section: Section, check: str) -> str:
    return next(finding.message for finding in section.findings if finding.check == check)


def heated(region: int, *, count: int = 24, seed: int = 3) -> Subject:
    """A subject whose heat lies in one region alone, random in height."""
    random = np.random.default_rng(seed)
    inside = (disc_regions() == region)[None, None]
    maps = random.random((count, 2, SIDE, SIDE)).astype(np.float32) * inside
    return dataclasses.replace(planted_subject(count=count), evidence=maps, grid=WHOLE)


@pytest.mark.parametrize("looks_at", list(LOOKS))
def test_a_planted_place_is_told_and_a_clean_net_is_left_alone(looks_at: str) -> None:
    found = levels(where(planted_subject(looks_at=looks_at)))
    assert found["where.untold"] == "info"
    expected = {
        "tumour": ("info", "info", "info"),
        "rim": ("info", "warn", "warn"),
        "background": ("fail", "info", "warn"),
        "everything": ("info", "info", "info"),
    }[looks_at]
    assert tuple(found[f"where.{name}"] for name in REGIONS) == expected


def test_shares_are_the_literal_ones_by_class_and_call() -> None:
    random = np.random.default_rng(0)
    maps = random.standard_normal((24, 2, SIDE, SIDE)).astype(np.float32)
    subject = dataclasses.replace(planted_subject(count=24), evidence=maps, grid=WHOLE)
    table = where(subject).tables[0]
    regions = disc_regions()
    for k, name in enumerate(subject.classes):
        for word, chosen in (("right", subject.right), ("wrong", ~subject.right)):
            keep = np.flatnonzero(chosen & (subject.labels == k))
            cells = next(row for row in table.rows if row[0] == f"{name}, called {word}")
            assert cells[1] == len(keep)
            shares = [_literal(maps[row, subject.calls[row]], regions) for row in keep]
            literal = mean(np.array(shares)[:, BRAIN], subject.groups[keep], resamples=0)
            assert str(cells[2]).startswith(f"{100 * (literal.value or 0):.1f} %")


def _literal(evidence: NDArray[np.float32], regions: NDArray[np.uint8]) -> list[float]:
    total = sum(max(value, 0.0) for value in evidence.ravel().tolist())
    return [float(np.maximum(evidence, 0)[regions == k].sum()) / total for k in range(3)]


def test_all_heat_in_one_region() -> None:
    for region, name in ((BACKGROUND, "background"), (RIM, "rim"), (BRAIN, "brain")):
        section = where(heated(region))
        finding = next(each for each in section.findings if each.check == f"where.{name}")
        share = (disc_regions() == region).mean()
        expected = 1.0 if name == "background" else 1 / share
        assert finding.value == pytest.approx(expected)
        assert finding.level == {"background": "info", "rim": "warn", "brain": "info"}[name]


def test_heat_in_a_background_on_which_nothing_hangs_is_no_fault() -> None:
    """The net reads tumours, and its map is hot in the background alone."""
    section = where(heated(BACKGROUND))
    assert "0.0 % (0.0–0.0) of these calls change" in message(section, "where.background")
    assert levels(section)["where.background"] == "info"


def test_a_background_that_is_needed_fails_whichever_class_it_speaks_for() -> None:
    subject = planted_subject(looks_at="background", odd=0)
    section = where(subject)
    assert "100.0 % (100.0–100.0) of these calls change" in message(section, "where.background")
    other = where(dataclasses.replace(subject, positive=1))
    assert levels(other)["where.background"] == "fail"
    assert "Where tumour is called" in message(other, "where.background")


def test_less_than_half_of_the_heat_in_a_needed_background_is_a_warning() -> None:
    subject = planted_subject(looks_at="background", odd=0)
    outside = disc_regions() == BACKGROUND
    share = outside.mean()
    maps = np.where(outside, 0.45 / share, 0.55 / (1 - share)).astype(np.float32)
    maps = np.broadcast_to(maps, (len(subject), 2, SIDE, SIDE))
    assert share < 0.45
    section = where(dataclasses.replace(subject, evidence=maps, grid=WHOLE))
    assert levels(section)["where.background"] == "warn"


def test_blank_maps_take_no_part() -> None:
    subject = planted_subject(looks_at="rim", odd=0)
    blank = subject.evidence.copy()
    blank[::4] = -1.0
    part = where(dataclasses.replace(subject, evidence=blank))
    rest = np.flatnonzero(np.arange(len(subject)) % 4 != 0)
    assert part.tables[0].rows[0][2] == _share_of(subject, rest)
    nothing = where(dataclasses.replace(subject, evidence=np.full_like(blank, -1.0)))
    assert set(levels(nothing).values()) <= {"info", "warn"}
    assert nothing.sheets[0].strips[0].tiles == ()


def _share_of(subject: Subject, rows: NDArray[np.int64]) -> object:
    """Heat in the brain of the tumours called right among some rows, as the table has it."""
    return where(taken(subject, rows)).tables[0].rows[0][2]


def taken(subject: Subject, rows: NDArray[np.int64]) -> Subject:
    """The subject of some rows alone."""
    truth = dataclasses.replace(
        subject.drawn,
        placements=tuple(subject.drawn.placements[row] for row in rows.tolist()),
        masks=subject.drawn.masks[rows],
        masked=subject.drawn.masked[rows],
        spacing_mm=subject.drawn.spacing_mm[rows],
    )
    arrays = ("squares", "regions", "told", "evidence", "logits", "probabilities")
    part = {name: getattr(subject, name)[rows] for name in arrays}
    return dataclasses.replace(subject, rows=subject.rows.take(rows), drawn=truth, **part)


def test_pictures_without_regions_take_no_part() -> None:
    subject = planted_subject(looks_at="tumour", odd=0)
    strange = subject.evidence.copy()
    strange[:10] = 1.0  # heat everywhere, background and all
    told = np.arange(len(subject)) >= 10
    section = where(dataclasses.replace(subject, evidence=strange, told=told))
    assert section.tables[0].rows[-7][1] == 30
    assert section.findings[-1].value == pytest.approx(0.25)
    assert levels(section)["where.untold"] == "warn"
    alone = where(dataclasses.replace(subject, told=np.zeros(len(subject), bool)))
    assert [finding.check for finding in alone.findings] == ["where.untold"]


def test_heat_at_the_rim_is_plausible_where_the_tumour_touches_it() -> None:
    subject = planted_subject(looks_at="rim", odd=0)
    subject.evidence[:, 1] = 1.0  # that of healthy calls is everywhere
    assert levels(where(subject))["where.rim"] == "warn"
    superficial = subject.drawn.masks.copy()
    superficial[subject.drawn.masked] |= disc_regions() == RIM
    truth = dataclasses.replace(subject.drawn, masks=superficial)
    section = where(dataclasses.replace(subject, drawn=truth))
    assert levels(section)["where.rim"] == "info"


def test_the_sheet_shows_the_most_extreme_picture_of_each_group() -> None:
    subject = planted_subject(looks_at="background")
    strip = where(subject).sheets[0].strips[0]
    groups = [subject.groups[tile.row] for tile in strip.tiles]
    assert len(set(groups)) == len(groups) == SHOWN
    shares = [float(tile.caption.split(" %")[0]) for tile in strip.tiles]
    assert shares == sorted(shares, reverse=True)


def test_every_control_stands_in_table_and_chart() -> None:
    assert list(CONTROL_WORDS) == list(CONTROLS)
    section = where(planted_subject())
    names = [str(row[0]) for row in section.tables[0].rows]
    assert [name for name in names if name.startswith("control")] == [
        f"control: {words}" for words in CONTROL_WORDS.values()
    ]
    uniform = next(
        row for row in section.tables[0].rows if row[0] == "control: the same everywhere"
    )
    assert uniform[5:] == ("1.00 (1.00–1.00)",) * 3
    figures = {table.name for table in section.tables} | {dots.name for dots in section.dots}
    assert {finding.figure for finding in section.findings} <= figures | {None}


def test_the_other_heat_is_of_another_group_called_the_same() -> None:
    subject = planted_subject(count=20, odd=0)
    rows, targets = np.arange(20), subject.calls
    marked = np.zeros((20, 2, SIDE, SIDE), np.float32)
    marked[rows, targets] = (1 + rows)[:, None, None]  # a picture is known by its height
    subject = dataclasses.replace(subject, evidence=marked, grid=WHOLE)
    found = other_heats(subject, rows, targets)[:, 0, 0].round().astype(int) - 1
    assert (subject.groups[found] != subject.groups).all()
    assert (subject.calls[found] == targets).all()
    assert (other_heats(subject, rows[5:7], targets[5:7])[:, 0, 0].round() - 1 == found[5:7]).all()
    one = dataclasses.replace(subject, rows=subject.rows.with_columns(group=[1] * 20))
    assert not other_heats(one, rows, targets).any()


def test_the_controls_know_nothing_of_the_heat() -> None:
    one, two = planted_subject(looks_at="rim"), planted_subject(looks_at="background")
    rows = np.arange(8)
    both = [dict(heats_beside(each, rows, np.zeros(8, int))) for each in (one, two)]
    assert list(both[0]) == [HEAT, *CONTROLS]
    for name in CONTROLS:
        if name != "other":
            assert np.array_equal(both[0][name], both[1][name])


def test_a_set_without_the_positive_class_and_a_single_group() -> None:
    healthy = planted_subject(labels=[1] * 8, odd=0)
    assert "healthy is called" in message(where(healthy), "where.brain")
    single = planted_subject(count=6, groups=[1] * 6)
    assert "fail" not in levels(where(single)).values()
