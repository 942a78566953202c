"""Kinds of heatmaps: planted ones are found, none are found where there are none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import multivariate_normal
from sklearn.metrics import adjusted_rand_score

from clearhead.measure import strategies as measure
from clearhead.measure.groupwise import weights
from clearhead.measure.strategies import (
    FEWEST,
    FRAME_PX,
    LEAST_GROUPS,
    MOST_FITTED,
    frames,
    head_coordinates,
    hellinger,
    pooled,
    prediction_strength,
    strategies,
)
from clearhead.types import BACKGROUND, BRAIN, RIM

SPOTS = ((10, 10), (10, 22), (22, 16))


def spot_maps(
    centres: NDArray[np.float64], sigma: float, random: np.random.Generator
) -> NDArray[np.float32]:
    """A spot at each centre (N, 2) on some noise, (N, d) of sum 1."""
    down, across = np.mgrid[:FRAME_PX, :FRAME_PX] + 0.5
    places = np.stack([down, across], -1)
    away = ((places[None] - centres[:, None, None]) ** 2).sum(-1)
    maps = np.exp(-away / (2 * sigma**2)) + 0.02 * random.uniform(size=away.shape)
    flat = maps.reshape(len(maps), -1)
    shares: NDArray[np.float32] = (flat / flat.sum(1, keepdims=True)).astype(np.float32)
    return shares


def planted(count: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Maps of three spots, half of them the first, and which spot each shows."""
    random = np.random.default_rng(seed)
    kinds = random.choice(3, count, p=(0.5, 0.3, 0.2))
    centres = np.array(SPOTS)[kinds] + random.normal(0, 1, (count, 2))
    return spot_maps(centres, 3.0, random), kinds


# --- One frame ------------------------------------------------------------------------------


def literal_pooling(
    values: NDArray[np.float32], box: NDArray[np.float64], cells: int
) -> NDArray[np.float64]:
    """Each pixel cut into 20 × 20 pieces, each put into the cell that holds its middle."""
    found = np.zeros((cells, cells))
    fine = (np.arange(20) + 0.5) / 20
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            for down in fine:
                for across in fine:
                    i = int((row + down - box[0]) / (box[2] - box[0]) * cells // 1)
                    j = int((column + across - box[1]) / (box[3] - box[1]) * cells // 1)
                    i, j = min(max(i, 0), cells - 1), min(max(j, 0), cells - 1)
                    found[i, j] += values[row, column] / 400
    return found


def test_pooling_divides_pixels_by_area_and_keeps_all_heat() -> None:
    random = np.random.default_rng(0)
    heats = random.uniform(size=(3, 9, 9)).astype(np.float32)
    boxes = np.array([[0, 0, 9, 9], [2.05, 1.1, 7.2, 8.35], [-3.1, -2.2, 12.4, 15.0]])
    found = pooled(heats, boxes, 4)
    for heat, box, one in zip(heats, boxes, found, strict=True):
        assert one == pytest.approx(literal_pooling(heat, box, 4), abs=0.12)
        assert one.sum() == pytest.approx(heat.sum(), rel=1e-5)


def head_at(top: int, left: int, height: int, width: int, side: int = 80) -> NDArray[np.uint8]:
    """An ellipse of rim around one of brain."""
    rows, columns = np.mgrid[:side, :side] + 0.5
    down = (rows - top - height / 2) / (height / 2)
    across = (columns - left - width / 2) / (width / 2)
    away = np.hypot(down, across)
    labels: NDArray[np.uint8] = np.where(
        away < 0.8, BRAIN, np.where(away < 1, RIM, BACKGROUND)
    ).astype(np.uint8)
    return labels


def test_heads_of_any_place_and_proportion_lie_on_each_other() -> None:
    regions = np.stack([head_at(0, 0, 80, 80), head_at(20, 10, 40, 60), head_at(5, 40, 70, 30)])
    inner = (regions == BRAIN).astype(np.float32)
    shares = head_coordinates(inner, regions)
    assert shares.sum((1, 2)) == pytest.approx(1, abs=1e-5)
    for one in shares[1:]:
        assert hellinger(one.ravel(), shares[0].ravel()) < 0.06
    upper = inner * (np.arange(80)[:, None] < 30)
    rows = np.arange(FRAME_PX) + 0.5
    assert (head_coordinates(upper, regions)[0].sum(1) @ rows) < FRAME_PX / 2  # nothing is turned


def test_without_a_head_the_square_takes_its_place() -> None:
    nothing = np.zeros((1, 40, 40), np.uint8)
    assert frames(nothing) == pytest.approx(frames(np.full((1, 40, 40), BRAIN, np.uint8)))
    assert not head_coordinates(np.zeros((1, 40, 40), np.float32), nothing).any()


# --- Clusters -------------------------------------------------------------------------------


def test_planted_kinds_are_found_with_their_shares() -> None:
    maps, kinds = planted(300)
    found = strategies(maps, np.arange(300), most=4)
    assert len(found) == 3
    assert adjusted_rand_score(kinds, found.labels) > 0.99
    shares = np.sort(np.bincount(kinds) / 300)[::-1]
    assert found.shares == pytest.approx(shares, abs=0.01)
    assert list(found.shares) == sorted(found.shares, reverse=True)
    for kind in range(3):
        middle = found.centres[kind].reshape(FRAME_PX, FRAME_PX)
        hottest = np.unravel_index(middle.argmax(), middle.shape)
        truth = np.array(SPOTS)[kinds[found.labels == kind][0]]
        assert np.hypot(*(np.array(hottest) - truth)) < 3
        assert middle.sum() == pytest.approx(1, abs=1e-4)


def test_heat_that_is_the_same_everywhere_is_one_kind() -> None:
    random = np.random.default_rng(1)
    noise = random.uniform(0.5, 1.5, (200, FRAME_PX**2)).astype(np.float32)
    found = strategies(noise / noise.sum(1, keepdims=True), np.arange(200), most=4)
    assert len(found) == 1
    assert found.shares.tolist() == [1.0]
    assert found.strengths[0] == 1.0
    same = np.full((50, FRAME_PX**2), 1 / FRAME_PX**2, np.float32)
    assert len(strategies(same, np.arange(50), most=4)) == 1


@pytest.mark.parametrize("stretch", [(1.5, 1.5), (0.3, 2.5)])
def test_one_place_that_varies_is_one_kind(stretch: tuple[float, float]) -> None:
    random = np.random.default_rng(2)
    centres = 16 + random.normal(size=(240, 2)) * stretch
    assert len(strategies(spot_maps(centres, 4.0, random), np.arange(240), most=4)) == 1


def test_groups_count_once_and_copies_make_no_kind() -> None:
    maps, _ = planted(60, seed=3)
    copies = np.concatenate([maps, np.repeat(maps[:1], 400, 0)])
    groups = np.concatenate([np.arange(60), np.zeros(400, int)])
    plain = strategies(maps, np.arange(60), most=4)
    found = strategies(copies, groups, most=4)
    assert found.shares == pytest.approx(plain.shares, abs=0.02)
    assert len(found) == len(plain)


def test_the_seed_decides_everything_and_large_sets_join_the_nearest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measure, "MOST_FITTED", 150)
    maps, kinds = planted(600, seed=4)
    groups = np.arange(600) // 2
    first, second = (
        strategies(maps, groups, seed=5, most=4),
        strategies(maps, groups, seed=5, most=4),
    )
    assert (first.labels == second.labels).all()
    assert first.strengths == second.strengths
    assert (first.centres == second.centres).all()
    assert adjusted_rand_score(kinds, first.labels) > 0.98


def test_the_sample_takes_a_first_of_every_group_before_a_second() -> None:
    groups = np.repeat(np.arange(1000), np.random.default_rng(0).integers(1, 9, 1000))
    chosen = measure._spread(groups, np.random.default_rng(1))
    counts = np.bincount(groups[chosen], minlength=1000)
    full = np.bincount(groups)
    assert len(chosen) == MOST_FITTED
    least = counts[counts < full].min()
    assert (counts <= least + 1).all()


def test_too_few_groups_are_one_kind() -> None:
    maps, _ = planted(90, seed=6)
    found = strategies(maps, np.arange(90) % (LEAST_GROUPS - 1))
    assert len(found) == 1
    assert found.strengths == (1.0,)


@pytest.mark.parametrize(("few", "kinds"), [(FEWEST - 2, 1), (2 * FEWEST, 2)])
def test_a_kind_of_few_pictures_is_none(few: int, kinds: int) -> None:
    random = np.random.default_rng(2)
    centres = np.array([SPOTS[0]] * 24 + [SPOTS[1]] * few) + random.normal(0, 0.3, (24 + few, 2))
    maps = spot_maps(centres, 3.0, random)
    assert len(strategies(maps, np.arange(24 + few), most=3)) == kinds


def test_blank_maps_are_refused() -> None:
    with pytest.raises(ValueError, match="blank"):
        strategies(np.zeros((3, 16), np.float32), np.arange(3))


def test_prediction_strength_is_the_share_of_pairs_kept_in_the_worst_cluster() -> None:
    random = np.random.default_rng(7)
    own, foretold = random.integers(0, 3, 40), random.integers(0, 4, 40)
    each = weights(random.integers(0, 12, 40))
    worst = 1.0
    for cluster in range(3):
        rows = np.flatnonzero(own == cluster)
        pairs = [(a, b) for a in rows for b in rows]
        total = sum(each[a] * each[b] for a, b in pairs)
        kept = sum(each[a] * each[b] for a, b in pairs if foretold[a] == foretold[b])
        worst = min(worst, kept / total)
    assert prediction_strength(own, foretold, each) == pytest.approx(worst)
    assert prediction_strength(own, own, each) == 1.0


def test_hellinger_distance_of_two_normal_distributions() -> None:
    places = np.linspace(-12, 12, 2001)
    first = multivariate_normal(0, 1).pdf(places)
    second = multivariate_normal(1.5, 4).pdf(places)
    overlap = np.sqrt(2 * 1 * 2 / (1 + 4)) * np.exp(-(1.5**2) / (4 * (1 + 4)))
    found = hellinger(first / first.sum(), second / second.sum())
    assert found == pytest.approx(np.sqrt(1 - overlap), abs=1e-4)


def test_a_lone_odd_map_is_no_kind_and_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "MOST_COMPARED", 20)
    random = np.random.default_rng(8)
    centres = np.full((80, 2), 10.0) + random.normal(0, 0.3, (80, 2))
    centres[0] = 24
    maps = spot_maps(centres, 3.0, random)
    assert len(strategies(maps, np.arange(80), most=3)) == 1
    places = np.concatenate([np.zeros((79, 2)), [[50.0, 50.0]]]) + random.normal(0, 0.01, (80, 2))
    assert -1 <= measure._silhouette(places, np.ones(80), 2, seed=0) <= 1
