"""Evidence beside tumour masks: planted evidence is told, figures are the literal ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from clearhead.audits.beside import CONTROL_WORDS
from clearhead.audits.lesions import MEASURES, TOLERANCES, lesions, pixel_sizes
from clearhead.audits.section import Section
from clearhead.audits.subject import Subject
from clearhead.data.canvas import Grid, Placement
from clearhead.measure.groupwise import mean
from clearhead.types import BACKGROUND, Finding
from subjects import SIDE, disc_regions, planted_subject

WHOLE = Grid(0.0, 1.0)
"""A grid whose cells are the pixels: heat is the evidence itself."""


def finding(section: Section, check: str) -> Finding:
    return next(each for each in section.findings if each.check == check)


def random_subject(*, odd: int = 2, count: int = 32) -> Subject:
    """A subject with random evidence, pixel by pixel, a third of it negative."""
    random = np.random.default_rng(11)
    maps = random.random((count, 2, SIDE, SIDE)).astype(np.float32) - 0.33
    return dataclasses.replace(planted_subject(count=count, odd=odd), evidence=maps, grid=WHOLE)


def on_masks(subject: Subject) -> Subject:
    """Evidence for the tumour class that is the mask itself, and nothing elsewhere."""
    maps = np.zeros((len(subject), 2, SIDE, SIDE), np.float32)
    maps[:, 0] = subject.drawn.masks
    return dataclasses.replace(subject, evidence=maps, grid=WHOLE)


# --- Planted truth --------------------------------------------------------------------------


def test_evidence_on_the_tumour_is_told() -> None:
    section = lesions(on_masks(planted_subject()))
    for check in ("lesions.pointing", "lesions.inside", "lesions.precision"):
        found = finding(section, check)
        assert found.level == "info"
        assert found.value == pytest.approx(1.0)
        assert found.limit is not None
        assert found.limit < 0.5
    row = section.tables[0].rows[0]
    assert row[1:] == ("100.0 % (100.0–100.0)",) * (len(row) - 1)


def test_a_net_that_reads_tumours_points_at_them_and_others_do_not() -> None:
    told = {
        looks_at: finding(lesions(planted_subject(looks_at=looks_at)), "lesions.pointing")
        for looks_at in ("tumour", "rim", "background")
    }
    assert {name: found.level for name, found in told.items()} == {
        "tumour": "info",
        "rim": "warn",
        "background": "warn",
    }
    assert (told["tumour"].value or 0) > 0.8
    assert told["background"].value == 0


def test_heat_that_knows_nothing_is_a_warning() -> None:
    section = lesions(random_subject(odd=0, count=60))
    for check in ("lesions.pointing", "lesions.inside", "lesions.precision"):
        assert finding(section, check).level == "warn"


def test_without_masks_it_says_how_to_give_them() -> None:
    section = lesions(planted_subject(masks=np.zeros((40, SIDE, SIDE), bool)))
    assert [found.level for found in section.findings] == ["info"]
    assert "--masks" in section.findings[0].message
    assert section.tables == ()


# --- Figures --------------------------------------------------------------------------------


def test_figures_are_the_literal_ones() -> None:
    subject = random_subject()
    section = lesions(subject)
    keep = np.flatnonzero((subject.labels == 0) & (subject.calls == 0))
    literal = [
        _literal(np.maximum(subject.evidence[row, 0], 0), subject.drawn.masks[row]) for row in keep
    ]
    names = {words: place for place, words in enumerate(section.tables[0].columns)}
    for measure, values in zip(
        ("pointing", "energy", "size", "precision"), np.transpose(literal), strict=True
    ):
        expected = mean(values, subject.groups[keep], resamples=0).value or 0.0
        cell = str(section.tables[0].rows[0][names[MEASURES[measure]]])
        assert cell.startswith(f"{100 * expected:.1f} %")


def _literal(heat: NDArray[np.float32], mask: NDArray[np.bool_]) -> tuple[float, ...]:
    """Pointing, energy, IoU at the mask's own size, average precision."""
    size = int(mask.sum())
    top = np.zeros(mask.size, bool)
    top[np.argsort(heat.ravel())[-size:]] = True
    marked = top.reshape(mask.shape)
    return (
        float(mask.ravel()[heat.argmax()]),
        float(heat[mask].sum() / heat.sum()),
        (marked & mask).sum() / (marked | mask).sum(),
        float(average_precision_score(mask.ravel(), heat.ravel())),
    )


def test_the_difference_to_the_best_control_is_paired() -> None:
    subject = planted_subject(looks_at="everything")
    section = lesions(subject)
    table = section.tables[0]
    assert [str(row[0]) for row in table.rows[1:-1]] == [
        f"control: {words}" for words in CONTROL_WORDS.values()
    ]
    for place in range(1, len(table.columns)):
        figures = [float(str(row[place]).split(" %")[0]) for row in table.rows[:-1]]
        gain = float(str(table.rows[-1][place]).split(" points")[0])
        assert gain == pytest.approx(figures[0] - max(figures[1:]), abs=0.21)


def test_missed_tumours_stand_apart() -> None:
    subject = planted_subject(looks_at="tumour", odd=3)
    assert np.count_nonzero((subject.labels == 0) & (subject.calls != 0)) == 3
    section = lesions(subject)
    missed = finding(section, "lesions.missed")
    assert missed.message.startswith("3 pictures with a masked tumour are not called tumour")
    assert missed.value == 0  # their maps are blank, and a blank map misses
    assert finding(section, "lesions.pointing").message.count("17 pictures") == 1
    everything = lesions(planted_subject(odd=0))
    assert "Every tumour" in finding(everything, "lesions.missed").message
    assert [table.name for table in everything.tables] == ["lesions-called", "lesions-kinds"]


def test_blank_maps_miss_and_have_no_share() -> None:
    subject = on_masks(planted_subject(odd=0))
    emptied = subject.evidence.copy()
    emptied[np.flatnonzero(subject.labels == 0)[:5], 0] = -1
    section = lesions(dataclasses.replace(subject, evidence=emptied))
    assert finding(section, "lesions.pointing").value == pytest.approx(1 - 5 / 20)
    assert "Misses include 5 blank maps" in finding(section, "lesions.pointing").message
    assert finding(section, "lesions.inside").value == pytest.approx(1.0)


def test_only_tumours_with_a_mask_take_part() -> None:
    subject = on_masks(planted_subject(odd=0))
    masks = subject.drawn.masks.copy()
    masks[0] = False  # a mask without a marked pixel
    masks[1] = masks[2]  # a mask of a healthy picture
    masked = subject.drawn.masked.copy()
    masked[1], masked[4] = True, False
    truth = dataclasses.replace(subject.drawn, masks=masks, masked=masked)
    section = lesions(dataclasses.replace(subject, drawn=truth))
    assert "18 pictures" in finding(section, "lesions.pointing").message


def test_every_tumour_missed() -> None:
    subject = planted_subject(odd=20)
    section = lesions(subject)
    assert "not called tumour" in finding(section, "lesions.pointing").message
    assert [table.name for table in section.tables] == ["lesions-missed", "lesions-kinds"]


# --- Tolerances -----------------------------------------------------------------------------


def test_the_tolerance_is_a_share_of_the_heads_diameter() -> None:
    """A peak that lies just within, or just beyond, 5 % of the diameter from the mask."""
    diameter = 2 * np.sqrt((disc_regions() != BACKGROUND).sum() / np.pi)
    gap = int(0.05 * diameter)  # in whole pixels
    for step, near in ((gap, 1.0), (gap + 1, 0.0)):
        subject = on_masks(planted_subject(odd=0))
        maps = np.zeros_like(subject.evidence)
        for row in np.flatnonzero(subject.labels == 0):
            rows, columns = np.nonzero(subject.drawn.masks[row])
            last = rows == rows.max()
            maps[row, 0, rows.max() + step, columns[last][0]] = 1
        curve = lesions(dataclasses.replace(subject, evidence=maps)).curves[0].lines[0]
        assert curve.x == tuple(100 * share for share in TOLERANCES)
        assert curve.y[0] == 0
        assert curve.y[TOLERANCES.index(0.05)] == 100 * near
        assert curve.y[-1] == 100


def test_millimetres_where_the_spacing_is_known() -> None:
    plain, known = planted_subject(), planted_subject(spacing_mm=(2.0, 1.0))
    assert MEASURES["millimetres"] not in lesions(plain).tables[0].columns
    assert MEASURES["millimetres"] in lesions(known).tables[0].columns
    assert pixel_sizes(known, np.array([3])).tolist() == [[2.0, 1.0]]


def test_pixels_of_a_stretched_picture_are_not_square() -> None:
    subject = planted_subject(count=2)
    squeezed = Placement("stretch", (96, 48), SIDE, (0, 0, 96, 48), (0, 0, SIDE, SIDE))
    truth = dataclasses.replace(subject.drawn, placements=(squeezed, squeezed))
    sizes = pixel_sizes(dataclasses.replace(subject, drawn=truth), np.array([0, 1]))
    assert sizes.tolist() == [[2.0, 1.0], [2.0, 1.0]]


def test_without_regions_there_is_no_tolerance_and_no_place() -> None:
    subject = planted_subject(told=np.zeros(40, bool))
    section = lesions(subject)
    assert section.curves[0].lines[0].x == (0.0,)
    assert MEASURES["near"] not in section.tables[0].columns
    assert "lesions-kinds" not in [table.name for table in section.tables]


# --- Covariates -----------------------------------------------------------------------------


def test_pictures_are_split_by_size_and_place() -> None:
    subject = planted_subject(count=60, odd=0)
    rows = lesions(subject).tables[-1].rows
    counts = {str(row[0]).split(" (")[0]: row[1] for row in rows}
    assert sum(int(counts[name] or 0) for name in ("central", "between", "off-centre")) == 30
    assert sum(int(counts.get(name) or 0) for name in ("at the rim", "away from the rim")) == 30
    assert all(str(row[2]).startswith("100.0 %") for row in rows)


def test_every_figure_of_a_finding_is_there() -> None:
    section = lesions(planted_subject())
    names = {table.name for table in section.tables} | {each.name for each in section.curves}
    assert {found.figure for found in section.findings} <= names
