"""Figures of where heat lies, against slow literal versions, scikit-learn and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from sklearn.metrics import average_precision_score, jaccard_score

from clearhead.measure import localisation
from clearhead.measure.localisation import (
    area_shares,
    average_precision,
    densities,
    density,
    distances,
    energy,
    heat_shares,
    iou_at_level,
    iou_at_size,
    lesions,
    pointing,
)

SIDE = 24


@pytest.fixture(name="heats")
def _heats() -> NDArray[np.float32]:
    """Smooth, cut off (many ties at 0), coarse (ties everywhere), constant, blank."""
    random = np.random.default_rng(5)
    smooth = random.random((3, SIDE, SIDE), np.float32)
    cut = np.maximum(random.standard_normal((3, SIDE, SIDE)).astype(np.float32) - 1, 0)
    coarse = random.integers(0, 4, (3, SIDE, SIDE)).astype(np.float32)
    flat = np.stack([np.ones((SIDE, SIDE)), np.zeros((SIDE, SIDE))]).astype(np.float32)
    return np.concatenate([smooth, cut, coarse, flat])


@pytest.fixture(name="masks")
def _masks(heats: NDArray[np.float32]) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    random = np.random.default_rng(6)
    centres = random.uniform(4, SIDE - 4, (len(heats), 2))
    return np.stack([np.hypot(rows - y, columns - x) < 3.2 for y, x in centres])


BLANK = -1
"""The row of `heats` without heat."""


def test_shares_and_densities_are_the_literal_ones(heats: NDArray[np.float32]) -> None:
    regions = np.random.default_rng(1).integers(0, 3, heats.shape).astype(np.uint8)
    regions[2][regions[2] == 1] = 0  # a picture without a rim
    shares, areas = heat_shares(heats, regions), area_shares(regions)
    for row, (heat, region) in enumerate(zip(heats[:BLANK], regions, strict=False)):
        literal = [heat[region == k].sum() / heat.sum() for k in range(3)]
        assert shares[row] == pytest.approx(literal, rel=1e-5)
        assert areas[row] == pytest.approx([(region == k).mean() for k in range(3)])
    assert np.isnan(shares[BLANK]).all()
    found = densities(heats, regions)
    assert np.isnan(found[2, 1])
    assert np.isnan(found[BLANK]).all()
    assert found[0] == pytest.approx(shares[0] / areas[0])
    assert found[-2] == pytest.approx([1, 1, 1])  # a constant heat is chance everywhere


def test_density_counts_groups_once_and_brackets_its_value() -> None:
    random = np.random.default_rng(2)
    groups = random.integers(0, 50, 300)
    areas = random.uniform(0.1, 0.4, 300)
    shares = areas * random.uniform(1.2, 1.8, 300)
    shares[7] = np.nan
    found = density(shares, areas, groups, resamples=2000, seed=1)
    names = np.unique(groups)
    heat = np.array([np.nanmean(shares[groups == g]) for g in names])
    area = np.array([areas[(groups == g) & ~np.isnan(shares)].mean() for g in names])
    assert found.value == pytest.approx(heat.mean() / area.mean())
    picks = random.integers(0, len(names), (2000, len(names)))
    literal = heat[picks].mean(1) / area[picks].mean(1)
    assert found.low == pytest.approx(np.quantile(literal, 0.025), abs=0.01)
    assert found.high == pytest.approx(np.quantile(literal, 0.975), abs=0.01)


def test_density_of_nothing_is_undefined() -> None:
    nothing = np.array([np.nan, np.nan])
    assert density(nothing, np.ones(2), np.arange(2)).value is None
    assert density(np.zeros(2), np.zeros(2), np.arange(2)).value is None
    alone = density(np.array([0.5]), np.array([0.25]), np.array([3]))
    assert (alone.value, alone.low) == (2.0, None)


def test_distances_are_those_of_a_search_tree(masks: NDArray[np.bool_]) -> None:
    masks = masks.copy()
    masks[1] = False
    sizes = np.tile([0.5, 2.0], (len(masks), 1))
    far = distances(masks, sizes)
    assert np.isinf(far[1]).all()
    places = np.moveaxis(np.mgrid[:SIDE, :SIDE], 0, -1).reshape(-1, 2) * sizes[0]
    tree = cKDTree(places[masks[0].ravel()])
    assert far[0].ravel() == pytest.approx(tree.query(places)[0], rel=1e-5)
    assert (far[0][masks[0]] == 0).all()
    assert distances(masks)[0].max() != far[0].max()


def test_pointing_draws_among_tied_peaks(
    heats: NDArray[np.float32], masks: NDArray[np.bool_]
) -> None:
    far = distances(masks)
    allowed = np.tile([0.0, 2.0, 5.0], (len(heats), 1))
    found = pointing(heats, far, allowed)
    for row, heat in enumerate(heats):
        peaks = np.argwhere(heat == heat.max())
        inside = np.argwhere(masks[row])
        gaps = np.array([np.hypot(*(inside - peak).T).min() for peak in peaks])
        literal = [(gaps <= t).mean() * (heat.max() > 0) for t in allowed[row]]
        assert found[row] == pytest.approx(literal)
    assert pointing(heats, far)[:, 0] == pytest.approx(found[:, 0])
    assert (found[BLANK] == 0).all()
    assert found[-2, 0] == pytest.approx(masks[-2].mean())  # a constant heat hits by chance


def test_an_empty_mask_is_undefined_and_no_hit(heats: NDArray[np.float32]) -> None:
    nothing = np.zeros(heats.shape, bool)
    assert np.isnan(pointing(heats, distances(nothing))).all()
    for figure in (energy, iou_at_size, iou_at_level, average_precision):
        assert np.isnan(figure(heats, nothing)).all()


def test_energy_is_the_literal_share(heats: NDArray[np.float32], masks: NDArray[np.bool_]) -> None:
    found = energy(heats, masks)
    literal = [h[m].sum() / h.sum() for h, m in zip(heats[:BLANK], masks, strict=False)]
    assert found[:BLANK] == pytest.approx(literal, rel=1e-5)
    assert np.isnan(found[BLANK])


def test_average_precision_is_that_of_scikit_learn(
    heats: NDArray[np.float32], masks: NDArray[np.bool_]
) -> None:
    found = average_precision(heats, masks)
    literal = [
        average_precision_score(m.ravel(), h.ravel()) for h, m in zip(heats, masks, strict=True)
    ]
    assert found == pytest.approx(literal)
    assert found[BLANK] == pytest.approx(masks[BLANK].mean())


def test_iou_at_a_level_is_that_of_scikit_learn(
    heats: NDArray[np.float32], masks: NDArray[np.bool_]
) -> None:
    found = iou_at_level(heats, masks, 0.4)
    for row in range(len(heats) - 1):
        marked = heats[row] >= np.float32(0.4) * heats[row].max()
        assert found[row] == pytest.approx(jaccard_score(masks[row].ravel(), marked.ravel()))
    assert found[BLANK] == 0


def test_iou_at_the_masks_own_size_without_ties(masks: NDArray[np.bool_]) -> None:
    random = np.random.default_rng(3)
    heats = random.permutation(masks.size).reshape(masks.shape).astype(np.float32) + 1
    heats += 3000 * masks * random.random(masks.shape).astype(np.float32)
    for heat, mask, found in zip(heats, masks, iou_at_size(heats, masks), strict=True):
        marked = np.zeros(mask.size, bool)
        marked[np.argsort(heat.ravel())[-mask.sum() :]] = True
        assert found == pytest.approx(jaccard_score(mask.ravel(), marked))


def test_iou_at_the_masks_own_size_shares_the_last_places_among_ties() -> None:
    mask = np.zeros((1, 4, 4), bool)
    mask[0, 0] = True  # 4 pixels
    flat = np.ones((1, 4, 4), np.float32)
    assert iou_at_size(flat, mask)[0] == pytest.approx(1 / 7)  # 1 of 4 expected inside
    some = np.zeros((1, 4, 4), np.float32)
    some[0, 0, :2] = 1  # two pixels with heat, both inside; none of the rest is marked
    assert iou_at_size(some, mask)[0] == pytest.approx(2 / 4)
    assert iou_at_size(0 * flat, mask)[0] == 0


def test_a_lesions_size_and_place() -> None:
    rows, columns = np.mgrid[:60, :60]
    away = np.hypot(rows - 30, columns - 30)
    head, brain = away < 25, away < 20
    spots = [(30, 30), (30, 45), (30, 49), (10, 10)]
    masks = np.stack([np.hypot(rows - y, columns - x) < 3.5 for y, x in spots])
    masks[3] = False
    heads, brains = (np.repeat(each[None], 4, 0) for each in (head, brain))
    found = lesions(masks, heads, brains)
    assert found.size[:3] == pytest.approx(masks[:3].sum((1, 2)) / head.sum())
    diameter = 2 * np.sqrt(head.sum() / np.pi)
    assert found.eccentricity[:3] == pytest.approx(np.array([0, 15, 19]) / (diameter / 2))
    outside = np.argwhere(~brain)
    for row in range(3):
        places = np.argwhere(masks[row])
        literal = min(np.hypot(*(outside - place).T).min() for place in places)
        assert found.depth[row] == pytest.approx(literal / diameter)
    assert found.touches_rim(0.06).tolist() == [False, True, True, False]
    assert np.isnan(found.size[3])
    assert found.diameter == pytest.approx([diameter] * 4)


def test_lesions_follow_the_size_of_a_pixel() -> None:
    """A picture whose rows are twice as far apart is the picture with every row doubled."""
    random = np.random.default_rng(8)
    head = np.zeros((1, 20, 40), bool)
    head[0, 2:18, 4:36] = True
    brain = head.copy()
    brain[0, :4] = brain[0, 16:] = False
    mask = np.zeros_like(head)
    mask[0, random.integers(6, 14, 12), random.integers(8, 30, 12)] = True
    tall = [np.repeat(each, 2, 1) for each in (mask, head, brain)]
    thick = lesions(mask, head, brain, np.array([[2.0, 1.0]]))
    doubled = lesions(*tall)
    assert thick.size == pytest.approx(doubled.size)
    assert thick.eccentricity == pytest.approx(doubled.eccentricity)
    assert thick.diameter == pytest.approx(doubled.diameter)
    assert thick.depth == pytest.approx(doubled.depth, abs=0.5 / thick.diameter[0])


def test_no_head_no_lesion() -> None:
    none = np.zeros((1, 8, 8), bool)
    found = lesions(~none, none, none)
    assert np.isnan([found.size, found.eccentricity, found.depth, found.diameter]).all()


def test_no_pictures_at_all() -> None:
    none: Any = np.zeros((0, 8, 8))
    assert pointing(none, none).shape == (0, 1)
    assert localisation.lesions(none > 0, none > 0, none > 0).size.shape == (0,)
