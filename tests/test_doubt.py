"""Confident learning: the rule by its literal loops, planted flips found, little else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clearhead.errors import ManifestError
from clearhead.measure.doubt import HAIR, doubt


def literal(
    labels: NDArray[np.int64], chances: NDArray[np.float64]
) -> tuple[list[bool], list[list[int]]]:
    """The rule as section 3.1 of Northcutt et al. tells it, loop by loop."""
    classes = chances.shape[1]
    bars = []
    for k in range(classes):
        own = [row[k] for label, row in zip(labels, chances, strict=True) if label == k]
        bars.append(sum(own) / len(own) if own else float("inf"))
    joint = [[0] * classes for _ in range(classes)]
    contradicted = []
    for label, row in zip(labels, chances, strict=True):
        reached = [k for k in range(classes) if row[k] >= bars[k] - HAIR]
        looks = max(reached, key=lambda k: row[k]) if reached else None
        if looks is not None:
            joint[label][looks] += 1
        likeliest = max(range(classes), key=lambda k: row[k])
        contradicted.append(looks is not None and looks != label and likeliest != label)
    return contradicted, joint


@given(st.integers(2, 4), st.integers(1, 40), st.integers(0, 10_000))
def test_the_rule_is_the_literal_one(classes: int, count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    chances = random.dirichlet(np.full(classes, 0.7), count)
    found = doubt(labels, chances)
    contradicted, joint = literal(labels, chances)
    assert found.contradicted.tolist() == contradicted
    assert found.joint.tolist() == joint
    np.testing.assert_allclose(found.self_confidence, chances[np.arange(count), labels])
    others = [max(np.delete(row, k)) for row, k in zip(chances, labels, strict=True)]
    np.testing.assert_allclose(found.margin, found.self_confidence - others)
    assert (found.suggested != labels).all()
    assert set(found.ranked()) == set(np.flatnonzero(contradicted))
    assert (np.diff(found.self_confidence[found.ranked()]) >= 0).all()


def opinions(
    truth: NDArray[np.int64], random: np.random.Generator, *, clarity: float = 6.0
) -> NDArray[np.float64]:
    """Probabilities of a good classifier of two classes that was never told a wrong label."""
    logits = np.where(truth == 1, 1, -1) * clarity / 2 + random.normal(0, 1, len(truth))
    healthy = 1 / (1 + np.exp(-logits))
    return np.stack([1 - healthy, healthy], 1)


def test_flipped_labels_are_found_and_their_clean_twins_are_not() -> None:
    random = np.random.default_rng(3)
    truth = (np.arange(600) % 4 == 0).astype(int)  # three tumours to each healthy picture
    chances = opinions(truth, random, clarity=10)
    flipped = random.permutation(600)[:30]
    given = truth.copy()
    given[flipped] = 1 - truth[flipped]
    found = set(doubt(given, chances).ranked().tolist())
    assert len(found & set(flipped.tolist())) >= 28  # the rest are those that look like neither
    assert len(found - set(flipped.tolist())) <= 2
    twins = set(doubt(truth, chances).ranked().tolist())  # the same pictures, labelled rightly
    assert not twins & found & set(flipped.tolist())


def test_where_nothing_is_wrong_nearly_nothing_is_found() -> None:
    shares = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        truth = (np.arange(500) % 4 == 0).astype(int)
        shares.append(doubt(truth, opinions(truth, random)).contradicted.mean())
    assert np.mean(shares) < 0.005
    sure = np.eye(2)[np.arange(40) % 2]
    assert not doubt(np.arange(40) % 2, sure).contradicted.any()


def test_a_class_that_is_called_with_less_conviction_has_a_lower_bar() -> None:
    labels = np.array([0] * 8 + [1] * 4)
    chances = np.array([[0.95, 0.05]] * 7 + [[0.35, 0.65]] + [[0.4, 0.6]] * 4)
    found = doubt(labels, chances)
    assert np.flatnonzero(found.contradicted).tolist() == [7]
    assert found.thresholds[1] == pytest.approx(0.6)
    assert found.thresholds[0] == pytest.approx((7 * 0.95 + 0.35) / 8)


def test_a_class_without_pictures_contradicts_nothing() -> None:
    found = doubt(np.array([0, 0, 1]), np.array([[0.1, 0.2, 0.7], [0.8, 0.1, 0.1], [0, 1, 0]]))
    assert np.isinf(found.thresholds[2])
    assert not found.contradicted.any()


@pytest.mark.parametrize(
    ("labels", "chances", "words"),
    [
        ([0, 1], np.ones((3, 2)), "expected a row per label"),
        ([], np.ones((0, 2)), "expected a row per label"),
        ([0, 2], np.ones((2, 2)), "labels run from 0 to 2: expected 0 to 1"),
    ],
)
def test_what_fits_not_together(
    labels: list[int], chances: NDArray[np.float64], words: str
) -> None:
    with pytest.raises(ManifestError, match=words):
        doubt(labels, chances)
