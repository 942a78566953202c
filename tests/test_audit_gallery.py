"""The gallery: the right pictures on each sheet, one of each group, in careful words."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from clearhead.audits.gallery import MOST, gallery
from clearhead.audits.section import Section
from clearhead.audits.subject import Subject
from clearhead.data.canvas import Grid
from clearhead.types import BRAIN
from subjects import SIDE, disc_regions, planted_subject

GRID = Grid(offset_px=0.0, stride_px=1.0)
CENTRE = slice(20, 28)


def heats(kinds: list[str]) -> NDArray[np.float32]:
    """One map per picture: `tumour`, `brain` (away from it), `corner`, `half` and half, `blank`."""
    maps = np.full((len(kinds), SIDE, SIDE), -1, np.float32)
    for one, kind in zip(maps, kinds, strict=True):
        if kind in ("tumour", "half"):
            one[CENTRE, CENTRE] = 1
        if kind in ("corner", "half"):
            one[:8, :8] = 2 if kind == "half" else 1
        if kind == "brain":
            one[34:38, 22:26] = 1
    return maps


def subject_of(kinds: list[str], labels: list[int], calls: list[int], **more: object) -> Subject:
    """Masks in the middle of every picture of class 0."""
    count = len(kinds)
    masks = np.zeros((count, SIDE, SIDE), bool)
    masks[np.array(labels) == 0, CENTRE, CENTRE] = True
    evidence = np.full((count, 2, SIDE, SIDE), -1, np.float32)
    evidence[np.arange(count), calls] = heats(kinds)
    logits = np.zeros((count, 2), np.float32)
    logits[np.arange(count), calls] = 1 + np.arange(count) / count  # the later, the surer
    given = {"groups": list(range(count))} | more
    return planted_subject(
        count=count,
        labels=labels,
        masks=masks,
        masked=np.array(labels) == 0,
        evidence=evidence,
        logits=logits,
        grid=GRID,
        **given,  # type: ignore[arg-type]  # a dict of several kinds of values
    )


def rows(section: Section, name: str) -> list[list[int]]:
    sheet = next((sheet for sheet in section.sheets if sheet.name == name), None)
    return [] if sheet is None else [[tile.row for tile in strip.tiles] for strip in sheet.strips]


KINDS = ["tumour", "brain", "corner", "half", "blank", "tumour", "corner", "brain"]
LABELS = [0, 0, 0, 0, 0, 1, 1, 0]
CALLS = [0, 0, 0, 0, 0, 0, 0, 1]


@pytest.fixture(scope="module")
def section() -> Section:
    return gallery(subject_of(KINDS, LABELS, CALLS))


def test_each_sheet_holds_what_its_title_says(section: Section) -> None:
    assert rows(section, "most") == [[0, 3, 1, 2]]  # the right ones, by heat in the tumour
    assert rows(section, "least")[0][:2] == [2, 6]
    assert set(rows(section, "least")[0]) == {0, 1, 2, 3, 5, 6}
    assert rows(section, "right-elsewhere") == [[3, 2]]
    assert rows(section, "wrong-inside") == [[5]]
    assert rows(section, "confident") == [[6, 5], [7]]
    assert rows(section, "blank") == [[4]]


def test_captions_tell_the_shares(section: Section) -> None:
    least = next(sheet for sheet in section.sheets if sheet.name == "least")
    captions = {tile.row: tile.caption for tile in least.strips[0].tiles}
    assert captions[0] == "heat in or near the tumour: 100 %; there or in the brain: 100 %"
    assert captions[1] == "heat in or near the tumour: 0 %; there or in the brain: 100 %"
    assert captions[6] == "heat in the brain: 0 %"
    assert captions[3] == "heat in or near the tumour: 33 %; there or in the brain: 33 %"
    words = " ".join(f"{sheet.title} {sheet.note}" for sheet in section.sheets).lower()
    assert "wrong place" not in words
    assert "implausible for a deep lesion" in words


def test_heat_at_the_rim_near_a_tumour_counts_as_plausible() -> None:
    regions = disc_regions()
    edge = int(np.flatnonzero(regions[SIDE // 2] == BRAIN)[-1])  # the last brain pixel of a row
    masks = np.zeros((2, SIDE, SIDE), bool)
    masks[0, 22:26, edge - 3 : edge + 1] = True
    evidence = np.full((2, 2, SIDE, SIDE), -1, np.float32)
    evidence[:, 0, 22:26, edge + 1 : edge + 3] = 1  # in the rim, beside that tumour
    logits = np.array([[2, 0], [2, 0]], np.float32)
    found = gallery(
        planted_subject(
            count=2,
            labels=[0, 0],
            groups=[0, 1],
            masks=masks,
            masked=np.array([True, False]),
            evidence=evidence,
            logits=logits,
            grid=GRID,
        )
    )
    assert rows(found, "right-elsewhere") == [[1]]


def test_strips_are_bounded_and_show_one_of_each_group() -> None:
    count = 3 * MOST
    groups = [n // 2 for n in range(count)]
    found = gallery(subject_of(["corner"] * count, [0] * count, [0] * count, groups=groups))
    (strip,) = rows(found, "right-elsewhere")
    assert len(strip) == MOST
    assert len({groups[row] for row in strip}) == MOST
    assert "18 distinct pictures" in found.sheets[0].strips[0].label


def test_untold_regions_leave_what_needs_no_regions() -> None:
    subject = subject_of(KINDS, LABELS, CALLS, told=np.zeros(8, bool))
    found = gallery(subject)
    assert rows(found, "least") == []
    assert rows(found, "most") == [[0, 3, 1, 2]]
    assert rows(found, "blank") == [[4]]


def test_the_table_counts_right_and_other_calls(section: Section) -> None:
    table = section.tables[0]
    known = {(row[0], row[1]): row[2:] for row in table.rows}
    assert set(known) == {("tumour", "right"), ("tumour", "other"), ("healthy", "other")}
    files, groups, share, blank = known[("tumour", "right")]
    assert (files, groups, blank) == (5, 5, 1)
    assert str(share).startswith("50 %")
