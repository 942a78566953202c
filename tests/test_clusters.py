from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from clearhead.measure.clusters import clusters

Records = NDArray[np.int64]


def _cluster_evidence(records: Records, sizes: Sequence[int]) -> float:
    """Log-probability of records seen one after another, each foretold from those before it."""
    total = 0.0
    for attribute, size in enumerate(sizes):
        seen = [0] * size
        for value in records[:, attribute].tolist():
            if value >= 0:
                total += math.log((seen[value] + 1 / size) / (sum(seen) + 1))
                seen[value] += 1
    return total


def _partition_evidence(records: Records, member: Sequence[int], concentration: float) -> float:
    """Of the clusters, and of the partition under the Chinese-restaurant prior (unnormalised)."""
    sizes = (records.max(axis=0) + 1).tolist()
    total = 0.0
    for number in set(member):
        inside = np.array(member) == number
        total += _cluster_evidence(records[inside], sizes)
        total += math.log(concentration) + math.lgamma(inside.sum())
    return total


def _partitions(count: int) -> Iterator[list[int]]:
    """Every partition of `count` things, as restricted growth strings."""
    if count == 0:
        yield []
        return
    for before in _partitions(count - 1):
        for number in range(max(before, default=-1) + 2):
            yield [*before, number]


def _drawn(seed: int, parts: Sequence[int], attributes: int = 6, pure: float = 0.95) -> Records:
    """Records of clusters that each have a value of their own in most attributes."""
    random = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(parts)), parts)
    values = np.repeat(truth[:, None], attributes, axis=1)
    other = random.integers(0, len(parts) + 2, values.shape)
    return np.where(random.random(values.shape) < pure, values, other).astype(np.int64)


def _distinct(records: Records) -> tuple[Records, NDArray[np.float64], NDArray[np.int64]]:
    distinct, inverse, counts = np.unique(records, axis=0, return_inverse=True, return_counts=True)
    return distinct, counts.astype(np.float64), inverse.ravel()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(-1, 2)] * 3), min_size=1, max_size=8, unique=True),
    st.sampled_from([0.2, 1.0, 5.0]),
)
def test_joining_stops_where_no_two_clusters_would_gain_by_it(
    rows: list[tuple[int, int, int]], concentration: float
) -> None:
    records = np.array(rows, dtype=np.int64)
    with mock.patch("clearhead.measure.clusters.PASSES", 0):
        found = clusters(records, np.ones(len(records)), concentration=concentration)
    here = _partition_evidence(records, found.tolist(), concentration)
    for first, second in itertools.combinations(range(int(found.max()) + 1), 2):
        joined = np.where(found == second, first, found).tolist()
        assert _partition_evidence(records, joined, concentration) <= here + 1e-9
    alone = _partition_evidence(records, list(range(len(rows))), concentration)
    assert here >= alone - 1e-9


def test_the_most_probable_of_all_partitions_is_found() -> None:
    records = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 2], [1, 1, 1, 3], [1, 1, 2, 2]])
    repeated, weights = np.repeat(records, 2, axis=0), np.full(5, 2.0)
    best = max(
        ([n for n in one for _ in range(2)] for one in _partitions(5)),
        key=lambda member: _partition_evidence(repeated, member, 1.0),
    )
    found = clusters(records, weights)
    assert adjusted_rand_score(best[::2], found) == 1.0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("parts", [(300,), (200, 100), (500, 60, 40), (100, 100, 100, 100)])
def test_planted_clusters_are_recovered_and_counted(seed: int, parts: tuple[int, ...]) -> None:
    truth = np.repeat(np.arange(len(parts)), parts)
    distinct, weights, inverse = _distinct(_drawn(seed, parts))
    found = clusters(distinct, weights, least=5.0)[inverse]
    assert found.max() + 1 == len(parts)
    assert adjusted_rand_score(truth, found) > 0.97


@pytest.mark.parametrize("seed", range(10))
def test_attributes_that_know_nothing_of_one_another_make_one_cluster(seed: int) -> None:
    random = np.random.default_rng(seed)
    records = np.stack([random.integers(0, size, 400) for size in (2, 3, 5, 9)], axis=1)
    distinct, weights, _ = _distinct(records)
    assert set(clusters(distinct, weights, least=4.0).tolist()) == {0}


def test_an_attribute_that_is_not_known_speaks_for_no_cluster() -> None:
    records = np.array([[0, 0, 0], [1, 1, 1], [0, -1, -1], [-1, -1, 1]], dtype=np.int64)
    weights = np.array([50.0, 40.0, 1.0, 1.0])
    assert clusters(records, weights).tolist() == [0, 1, 0, 1]


def test_the_order_of_records_does_not_matter() -> None:
    distinct, weights, _ = _distinct(_drawn(3, (200, 90, 50)))
    order = np.random.default_rng(0).permutation(len(distinct))
    first, second = clusters(distinct, weights), clusters(distinct[order], weights[order])
    assert adjusted_rand_score(first[order], second) == 1.0
    assert (clusters(distinct, weights) == first).all()


def test_clusters_count_down_by_weight() -> None:
    distinct, weights, _ = _distinct(_drawn(1, (50, 200, 90)))
    sizes = np.bincount(clusters(distinct, weights), weights=weights)
    assert (np.diff(sizes) <= 0).all()


def test_light_clusters_are_put_together_or_given_away() -> None:
    records = np.array([[0] * 6, [1] * 6, [2] * 6, [3] * 6], dtype=np.int64)
    records[3, :4] = 0
    weights = np.array([100.0, 60.0, 4.0, 4.0])
    assert clusters(records, weights).max() >= 2
    pooled = clusters(records, weights, least=5.0)
    assert pooled.tolist() == [0, 1, 2, 2]
    assert clusters(records, weights, least=10.0).tolist()[3] == 0
    assert clusters(records, weights, least=10.0).max() == 1
    assert set(clusters(records, weights, least=1000.0).tolist()) == {0}


def test_records_of_no_weight_join_and_change_nothing() -> None:
    distinct, weights, _ = _distinct(_drawn(2, (200, 100)))
    found = clusters(distinct, weights)
    more = np.concatenate([distinct, distinct[:1], distinct[-1:]])
    also = clusters(more, np.concatenate([weights, [0.0, 0.0]]))
    assert (also[: len(found)] == found).all()
    assert also[-2:].tolist() == [found[0], found[-1]]


def test_more_records_than_seeds_are_all_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    distinct, weights, inverse = _distinct(_drawn(4, (300, 200), attributes=8, pure=0.85))
    assert len(distinct) > 60
    monkeypatch.setattr("clearhead.measure.clusters.SEEDS", 40)
    found = clusters(distinct, weights, least=5.0)[inverse]
    assert adjusted_rand_score(np.repeat([0, 1], [300, 200]), found) > 0.97


def test_none_and_one_record_are_no_trouble() -> None:
    assert clusters(np.zeros((0, 3), dtype=np.int64), np.zeros(0)).shape == (0,)
    assert clusters(np.array([[0, -1]], dtype=np.int64), np.ones(1)).tolist() == [0]
    assert clusters(np.full((1, 2), -1, dtype=np.int64), np.zeros(1)).tolist() == [0]
