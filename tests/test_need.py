"""Causal tests on classifiers that are known to read one place alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from clearhead.audits import areas, reactions
from clearhead.audits import subject as subjects_module
from clearhead.audits.areas import AREAS, CHANGES, Batch, Common, edge_px, placed
from clearhead.audits.need import FLIPS, SURVIVES, need
from clearhead.audits.reactions import WORDS, Reactions, chance, react, sampled, variants
from clearhead.audits.section import Section
from clearhead.audits.subject import Subject
from clearhead.data.canvas import Grid
from clearhead.data.fills import FILLS
from clearhead.measure.change import margins
from clearhead.model.classifier import Classifier
from clearhead.model.nets import EVIDENCE, Stage, mean_of_highest
from clearhead.types import BACKGROUND, BRAIN, RIM, Finding
from subjects import SIDE, STRIDE, LookingNet, disc_regions, planted_subject


@cache
def planted(looks_at: str) -> Subject:
    """80 pictures of 40 groups, and a net that looks at one place."""
    return planted_subject(looks_at=looks_at, count=80, resamples=200)


@cache
def audited(looks_at: str) -> Section:
    return need(planted(looks_at))


@cache
def reacted(looks_at: str) -> Reactions:
    return react(planted(looks_at))


def found(section: Section, check: str) -> Finding:
    (finding,) = [finding for finding in section.findings if finding.check == check]
    return finding


def whole(subject: Subject) -> Batch:
    """All pictures of a subject in one batch."""
    rows = np.arange(len(subject))
    return Batch(subject, rows, Common.of(subject, rows))


# --- Planted truth --------------------------------------------------------------------------


@pytest.mark.parametrize("looks_at", ["background", "rim"])
def test_a_shortcut_survives_without_the_brain(looks_at: str) -> None:
    brain = found(audited(looks_at), "need.brain")
    assert brain.level == "fail"
    assert brain.value is not None
    assert brain.value > 0.9
    assert brain.interval is not None
    assert brain.interval[0] > SURVIVES


@pytest.mark.parametrize("looks_at", ["background", "rim"])
def test_the_place_of_a_shortcut_is_worth_more_than_the_brain(looks_at: str) -> None:
    section = audited(looks_at)
    other = {"background": "rim", "rim": "background"}[looks_at]
    assert found(section, f"need.{looks_at}").level == "warn"
    assert found(section, f"need.{other}").level == "info"
    assert found(section, "need.tumour").level == "warn"


def test_a_classifier_that_reads_the_tumour_needs_it() -> None:
    section = audited("tumour")
    loud = {finding.check for finding in section.findings if finding.level != "info"}
    assert loud <= {"need.resample"}  # a spot of 7 pixels doesn't bear half the resolution
    brain, tumour = (found(section, check) for check in ("need.brain", "need.tumour"))
    assert brain.value == pytest.approx(0.5, abs=0.1)
    assert tumour.interval is not None
    assert tumour.interval[0] > 0
    assert "is needed" in tumour.message


def test_a_tumour_among_other_cues_counts_and_is_not_needed() -> None:
    tumour = found(audited("everything"), "need.tumour")
    assert tumour.level == "warn"
    assert tumour.interval is not None
    assert tumour.interval[0] > 0
    assert tumour.message.startswith("The tumour counts, but the classes are told apart without it")


def test_erasing_the_tumour_leaves_chance_and_elsewhere_the_score() -> None:
    changes = reacted("tumour").changes
    for fill in FILLS:
        erased = changes["tumour", fill].after["roc_auc"].value
        elsewhere = changes["elsewhere", fill].after["roc_auc"].value
        before = changes["tumour", fill].before["roc_auc"].value
        assert erased is not None
        assert elsewhere is not None
        assert before is not None
        assert erased < 0.7 < elsewhere
        assert elsewhere == pytest.approx(before, abs=0.06)


def test_the_hottest_places_are_those_that_count() -> None:
    hottest = found(audited("tumour"), "need.hottest")
    assert hottest.level == "info"
    assert hottest.value is not None
    assert hottest.value > 0


def test_a_map_of_somewhere_else_does_not_show_what_counts() -> None:
    own = planted("tumour")
    turned = replace(own, evidence=np.abs(own.evidence).max() - own.evidence)
    assert found(need(turned), "need.hottest").level == "warn"


def test_one_side_only_makes_calls_flip() -> None:
    """Where the left half of the brain alone is read, calls hang on the side of the cue."""
    weights = np.zeros((SIDE, SIDE), np.float32)
    weights[:, : SIDE // 2] = disc_regions()[:, : SIDE // 2] == BRAIN
    classifier = Classifier(LookingNet(weights)).eval()
    flip = found(need(planted_subject(classifier=classifier, count=80)), "need.flip")
    assert flip.level == "warn"
    assert flip.interval is not None
    assert flip.interval[0] > FLIPS
    assert found(audited("tumour"), "need.flip").value == 0


def test_a_net_that_reads_sharpness_loses_by_blur() -> None:
    """Checkerboards in one class: what the net reads is their contrast, wherever it is."""

    class Sharp(LookingNet):
        def features(self, x: Tensor) -> Tensor:
            fine = (x - torch.nn.functional.avg_pool2d(x, 3, 1, 1)).abs()
            fine[..., [0, -1], :] = 0
            fine[..., :, [0, -1]] = 0
            return torch.nn.functional.avg_pool2d(torch.cat([fine * 0.5, 0 * fine + 1], 1), 4)

    labels = np.arange(60) % 2
    board = 13 * (np.indices((SIDE, SIDE)).sum(0) % 2)
    squares = (100 + board * (labels == 0)[:, None, None]).astype(np.uint8)
    random = np.random.default_rng(0)
    squares = squares + random.integers(0, 3, squares.shape).astype(np.uint8)
    sharp = Classifier(Sharp(np.ones((SIDE, SIDE), np.float32))).eval()
    section = need(planted_subject(classifier=sharp, labels=labels, squares=squares))
    for check in ("need.blur", "need.resample"):
        finding = found(section, check)
        assert finding.level == "warn"
        assert finding.value == pytest.approx(0.5, abs=0.05)
    assert found(section, "need.brain").level == "fail"


# --- The level of a map -----------------------------------------------------------------------


class Mapped(nn.Module):
    """A net whose map is the evidence: the brightness of each cell."""

    grid = Grid((STRIDE - 1) / 2, float(STRIDE))

    def features(self, x: Tensor) -> Tensor:
        return 20 * nn.functional.avg_pool2d(x, STRIDE)

    def head(self, maps: Tensor) -> Tensor:
        found = mean_of_highest(maps.flatten(2))
        return torch.cat([found, torch.zeros_like(found)], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))

    def stages(self) -> tuple[Stage, ...]:
        return (Stage(EVIDENCE, self.features, self.head, self.grid),)


def brighter() -> Subject:
    """Pictures of tumours that are brighter everywhere, without any spot."""
    labels = np.arange(80) % 2
    noise = np.random.default_rng(0).integers(-20, 21, (80, SIDE, SIDE))
    squares = (100 + noise + 10 * (labels == 0)[:, None, None]).astype(np.uint8)
    classifier = Classifier(Mapped()).eval()
    return planted_subject(classifier=classifier, labels=labels, squares=squares, odd=0)


def test_a_score_that_is_evidence_of_no_place_is_told() -> None:
    finding = found(need(brighter()), "need.level")
    assert finding.level == "warn"
    assert finding.value == pytest.approx(0.5, abs=0.15)
    assert "evidence of no place" in finding.message


@cache
def standing_out() -> Section:
    """Tumours that are bright spots, and a map of brightness."""
    classifier = Classifier(Mapped()).eval()
    return need(planted_subject(classifier=classifier, count=80))


def test_a_score_that_stands_out_is_not_told_of() -> None:
    finding = found(standing_out(), "need.level")
    assert finding.level == "info"
    assert finding.value == pytest.approx(0.0, abs=0.02)


def test_a_map_without_its_level_is_told_literally() -> None:
    own = brighter()
    told = react(own)
    cells = 20 * own.squares.reshape(80, 12, 4, 12, 4).mean((2, 4)).reshape(80, 144) / 255
    ranked = np.sort(cells, 1)[:, ::-1]
    level = ranked[:, 22:50].mean(1)  # 15 and 35 % of 144 cells
    usual = np.mean([level[own.groups == group].mean() for group in np.unique(own.groups)])
    assert told.common.usual == pytest.approx(usual, rel=1e-4)
    truth = ranked[:, 0] - level + usual  # one cell is the highest hundredth
    assert told.after["level", ""][:, 0] == pytest.approx(truth, rel=1e-3, abs=1e-3)


def test_maps_that_are_no_evidence_have_no_level() -> None:
    assert reacted("tumour").common.usual is None
    assert ("level", "") not in reacted("tumour").after
    assert not [each for each in audited("tumour").findings if each.check == "need.level"]


# --- What is erased -------------------------------------------------------------------------


def test_areas_lie_where_they_should() -> None:
    subject = planted("tumour")
    batch = whole(subject)
    made = {name: area(batch) for name, area in AREAS.items()}
    assert all(defined.all() for _, defined in made.values())
    brain, rim, background = (made[name][0] for name in ("brain", "rim", "background"))
    assert brain[batch.regions == BRAIN].all()
    assert not brain[batch.regions == BACKGROUND].any()
    assert rim[batch.regions == RIM].all()
    assert not rim[batch.regions == BRAIN].any()
    assert np.array_equal(background, batch.regions == BACKGROUND)
    widened = ndimage.binary_dilation(batch.masks[0], iterations=1)
    assert made["tumour"][0][0][batch.masks[0]].all()
    assert made["tumour"][0][0][widened].all()


def test_heat_and_its_controls_take_as_much() -> None:
    batch = whole(planted("tumour"))
    sizes = [AREAS[name](batch)[0].sum((1, 2)) for name in ("hottest", "blobs", "coolest")]
    assert np.array_equal(sizes[0], sizes[1])
    assert np.array_equal(sizes[0], sizes[2])
    head = batch.head.sum((1, 2))
    assert (sizes[0] <= np.round(areas.HOTTEST * head)).all()
    hottest, coolest = (AREAS[name](batch)[0] for name in ("hottest", "coolest"))
    for heat, hot, cold, inside in zip(batch.evidence, hottest, coolest, batch.head, strict=True):
        assert heat[hot].min() >= heat[inside & ~hot].max() - 1e-6
        assert heat[cold].max() <= heat[inside & ~cold].min() + 1e-6


def test_shapes_are_the_same_on_both_sides() -> None:
    """As much is erased of healthy pictures, and in the brain."""
    batch = whole(planted("tumour"))
    own, defined = AREAS["tumour"](batch)
    away, _ = AREAS["elsewhere"](batch)
    ill = batch.masks.any((1, 2))
    assert defined.all()
    assert np.array_equal(own.sum((1, 2)), away.sum((1, 2)))
    assert not (own & away)[ill].any(axis=(1, 2)).all()
    assert (away & batch.masks)[ill].sum() <= 0.1 * away[ill].sum()
    assert np.array_equal(own[~ill], away[~ill])
    inside = (away & (batch.regions == BRAIN)).sum((1, 2)) / away.sum((1, 2))
    assert inside.min() >= areas.FITTING
    sizes = set(own[ill].sum((1, 2)).tolist())
    assert set(own[~ill].sum((1, 2)).tolist()) <= sizes


def test_a_moved_shape_keeps_its_form() -> None:
    random = np.random.default_rng(0)
    shape = np.zeros((40, 40), bool)
    shape[3:8, 5:16] = random.random((5, 11)) < 0.7
    ground = np.zeros((40, 40), bool)
    ground[20:, :] = True
    box = np.argwhere(shape).min(0), np.argwhere(shape).max(0)
    form = shape[box[0][0] : box[1][0] + 1, box[0][1] : box[1][1] + 1]
    seen = set()
    for _ in range(20):
        moved = placed(shape, ground, random)
        assert moved is not None
        top, left = np.argwhere(moved).min(0)
        assert np.array_equal(moved[top : top + form.shape[0], left : left + form.shape[1]], form)
        assert (moved & ground).sum() >= areas.FITTING * shape.sum()
        seen.add((int(top), int(left)))
    assert len(seen) > 10


def test_a_shape_that_does_not_fit_is_not_moved() -> None:
    random = np.random.default_rng(0)
    shape = np.ones((20, 20), bool)
    shape[0] = False
    ground = np.zeros((20, 20), bool)
    ground[:10] = True
    assert placed(shape, ground, random) is None
    assert placed(np.zeros_like(shape), ground, random) is None


def test_a_tumour_that_reaches_beyond_the_brain_takes_no_part() -> None:
    own = planted("tumour")
    masks = own.drawn.masks.copy()
    masks[0] |= disc_regions() != BRAIN
    changed = replace(own, drawn=replace(own.drawn, masks=masks))
    _, defined = AREAS["brain"](whole(changed))
    assert not defined[0]
    assert defined[1:].all()


def test_tumours_without_a_mask_are_not_taken_for_healthy() -> None:
    own = planted("tumour")
    masks = own.drawn.masks.copy()
    masks[0] = False
    batch = whole(replace(own, drawn=replace(own.drawn, masks=masks)))
    _, defined = AREAS["tumour"](batch)
    assert not defined[0]
    assert defined[1:].all()


def test_edges_grow_with_the_head() -> None:
    small, large = (disc_regions(side) for side in (48, 192))
    assert edge_px(large) >= 3 * edge_px(small) > 0


# --- What else is changed -------------------------------------------------------------------


def test_the_outline_knows_nothing_of_the_content() -> None:
    batch = whole(planted("tumour"))
    shown, _ = CHANGES["outline"](batch)
    assert set(np.unique(shown).tolist()) == {0, batch.common.grey}
    assert np.array_equal(shown > 0, batch.head)
    assert len(np.unique(shown, axis=0)) == 1  # every planted head has one outline


def test_changes_of_the_whole_picture() -> None:
    batch = whole(planted("tumour"))
    swapped, _ = CHANGES["swapped"](batch)
    assert np.array_equal(swapped[:, :, ::-1], batch.squares)
    grey = batch.squares.astype(float)
    spread = {name: change(batch)[0].astype(float).std() for name, change in CHANGES.items()}
    assert grey.std() > spread["blur-1"] > spread["blur-2"]
    assert grey.std() > spread["half"] > spread["quarter"]
    for name in ("blur-1", "half", "quarter"):
        assert CHANGES[name](batch)[0].mean() == pytest.approx(grey.mean(), abs=1)
    sigma = 0.01 * areas.diameter_px(batch.regions[0])
    soft = ndimage.gaussian_filter(grey[0], sigma)
    assert np.abs(CHANGES["blur-1"](batch)[0][0] - soft).max() <= 0.51


# --- One pass -------------------------------------------------------------------------------


def test_logits_are_those_of_the_changed_pictures() -> None:
    """Also where a healthy picture's logits serve two tests."""
    subject, told = planted("tumour"), reacted("tumour")
    assert np.array_equal(told.rows, np.arange(len(subject)))
    for variant in variants(whole(subject)):
        direct = subject.predict(variant.squares)
        assert told.after[variant.test][variant.at] == pytest.approx(direct, abs=1e-4)


def test_a_picture_reacts_the_same_in_any_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjects_module, "BATCH", 7)
    again = react(planted("rim"))
    for test, logits in reacted("rim").after.items():
        assert again.after[test] == pytest.approx(logits, abs=1e-4, nan_ok=True)


def test_the_seed_decides() -> None:
    own = planted("rim")
    first, second = react(own), reacted("rim")
    other = react(replace(own, seed=1))
    test = ("tumour", "noise")
    assert np.array_equal(first.after[test], second.after[test], equal_nan=True)
    assert not np.array_equal(other.after["brain", "noise"], first.after["brain", "noise"])
    assert need(own).tables == audited("rim").tables
    assert need(own).findings == audited("rim").findings


def test_the_margin_falls_by_what_it_says() -> None:
    told = reacted("tumour")
    test = ("tumour", "mean")
    truth = margins(told.before, told.labels) - margins(told.after[test], told.labels)
    assert np.array_equal(told.fell(test, told.labels), truth)
    flips = told.after[test].argmax(1) != told.before.argmax(1)
    assert np.array_equal(told.flipped(test), flips.astype(float))


def test_more_pictures_are_drawn_evenly_over_the_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = np.array([0] * 30 + [1] * 6 + [2] * 2 + [3] * 2)
    own = planted_subject(labels=np.arange(40) % 2, groups=groups)
    assert np.array_equal(sampled(own), np.arange(40))
    monkeypatch.setattr(reactions, "MOST", 11)
    rows = sampled(own)
    assert np.bincount(groups[rows]).tolist() in ([4, 3, 2, 2], [3, 4, 2, 2])
    assert np.array_equal(rows, sampled(own))
    assert not np.array_equal(rows, sampled(replace(own, seed=3)))
    section = need(own)
    assert "11 files of 4 distinct pictures, drawn from 40" in section.tables[0].note


def test_nothing_of_the_subject_changes() -> None:
    own = planted_subject(count=20)
    held: list[NDArray[Any]] = [own.squares, own.regions, own.evidence, own.drawn.masks]
    before = [np.array(values) for values in held]
    react(own)
    for values, kept in zip(held, before, strict=True):
        assert np.array_equal(values, kept)


# --- What is left out -----------------------------------------------------------------------


def test_without_training_rows_there_is_no_score_to_beat() -> None:
    own = replace(planted("rim"), known=None)
    section = need(own)
    assert "File facts" not in found(section, "need.brain").message
    assert not any("file facts" in str(row[0]) for row in section.tables[0].rows)
    assert chance(react(own)).facts is None
    assert any("file facts" in str(row[0]) for row in audited("rim").tables[0].rows)


def _one_class(own: Subject) -> Subject:
    return planted_subject(labels=np.zeros(20, np.int64))


def _without_masks(own: Subject) -> Subject:
    return replace(own, drawn=replace(own.drawn, masks=np.zeros_like(own.drawn.masks)))


def _untold(own: Subject) -> Subject:
    return replace(own, told=np.zeros(len(own), bool))


def _blank(own: Subject) -> Subject:
    return replace(own, evidence=-np.ones_like(own.evidence))


@pytest.mark.parametrize(
    ("changed", "check", "words"),
    [
        (_one_class, "need.brain", "all of one class"),
        (_without_masks, "need.tumour", "Without tumour masks"),
        (_untold, "need.brain", "too few pictures"),
        (_untold, "need.outline", "too few pictures"),
        (_blank, "need.hottest", "no hottest place"),
    ],
)
def test_what_cannot_be_asked_is_said(
    changed: Callable[[Subject], Subject], check: str, words: str
) -> None:
    section = need(changed(planted_subject(count=40)))
    finding = found(section, check)
    assert finding.level == "info"
    assert words in finding.message


# --- Figures --------------------------------------------------------------------------------


@pytest.mark.parametrize("evident", [False, True])
def test_every_test_has_a_row_and_a_line(evident: bool) -> None:
    told = dict(WORDS)
    if not evident:
        del told["level"]
    section = standing_out() if evident else audited("tumour")
    (table,) = section.tables
    assert {len(row) for row in table.rows} == {len(table.columns)}
    words = [row[0] for row in table.rows]
    assert words[0] == "nothing"
    assert list(dict.fromkeys(words[3:])) == list(told.values())
    (dots,) = section.dots
    assert [line.name for line in dots.lines] == list(told.values())
    for line in dots.lines:
        for mark in line.marks:
            assert dots.span[0] <= mark.value <= dots.span[1]
    names = {table.name, dots.name}
    assert {finding.figure for finding in section.findings} <= names


def test_examples_show_both_kinds_of_picture() -> None:
    own, section = planted("tumour"), audited("tumour")
    ill, healthy = section.maps
    assert own.classes[0] in ill.title
    assert own.classes[1] in healthy.title
    assert ill.panels[0].outline is not None
    assert healthy.panels[0].outline is None
    for shown in (ill, healthy):
        captions = [panel.caption for panel in shown.panels]
        assert len(set(captions)) == len(captions) == 1 + len(set(captions[1:]))
        for panel in shown.panels[1:]:
            assert not np.array_equal(panel.values, shown.panels[0].values)
            assert 0 <= panel.values.min() <= panel.values.max() <= shown.scale


def test_the_table_tells_the_change_of_the_margin_by_class() -> None:
    told = reacted("tumour")
    (table,) = audited("tumour").tables
    (row,) = [row for row in table.rows if row[:2] == (WORDS["tumour"], "mean")]
    moved = margins(told.after["tumour", "mean"], 0) - margins(told.before, 0)
    by_class = [
        np.mean(
            [
                moved[(told.groups == group) & (told.labels == label)].mean()
                for group in np.unique(told.groups[told.labels == label])
            ]
        )
        for label in (0, 1)
    ]
    assert row[-2:] == pytest.approx(by_class, abs=0.006)
