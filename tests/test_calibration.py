"""Temperature, reliability and Brier score against planted truth and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import brier_score_loss

from clearhead.measure.calibration import BINS, brier, reliability, temperature


def planted(count: int, spread: float, classes: int = 2, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Logits and the labels that they tell the truth about."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, spread, (count, classes))
    chances = softmax(logits, 1).cumsum(1)
    labels = (random.random((count, 1)) > chances).sum(1)
    return logits, labels


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_a_temperature_that_was_put_in_is_taken_out(factor: float, classes: int) -> None:
    logits, labels = planted(4000, 2.0, classes)
    found = temperature(factor * logits, labels, np.arange(4000))
    assert found == pytest.approx(factor, rel=0.08)


def test_a_group_counts_once_whatever_its_copies() -> None:
    logits, labels = planted(300, 2.0)
    once = temperature(2 * logits, labels, np.arange(300))
    rows = np.r_[np.arange(300), np.zeros(5000, int)]
    assert temperature(2 * logits[rows], labels[rows], rows) == pytest.approx(once, rel=1e-4)


def test_calls_that_are_all_right_do_not_freeze() -> None:
    labels = np.arange(40) % 2
    logits = np.stack([1.0 - labels, 1.0 * labels], 1)
    assert 0.05 < temperature(logits, labels, np.arange(40)) < 1
    assert temperature(logits[::2], labels[::2], np.arange(20)) == 1.0


def test_reliability_is_the_literal_sum_over_bins() -> None:
    random = np.random.default_rng(1)
    said, groups = random.random(500), random.integers(0, 200, 500)
    true = random.random(500) < said**2
    sizes = {group: (groups == group).sum() for group in groups}
    weights = np.array([1 / sizes[group] for group in groups])
    total = 0.0
    for number in range(BINS):
        inside = (said >= number / BINS) & (said < (number + 1) / BINS)
        gap = (weights[inside] * (said[inside] - true[inside])).sum()
        total += abs(gap)
    assert reliability(said, true, groups).error == pytest.approx(total / weights.sum())


def test_said_and_true_agree_where_they_should() -> None:
    random = np.random.default_rng(2)
    said = expit(random.normal(0, 2, 20_000))
    found = reliability(said, random.random(20_000) < said, np.arange(20_000))
    assert found.error < 0.01
    assert found.weight.sum() == pytest.approx(20_000)
    assert reliability([1.0, 1.0], [0, 0], [0, 1]).error == 1.0


def test_brier_is_that_of_an_independent_library() -> None:
    random = np.random.default_rng(3)
    said, groups = random.random(200), random.integers(0, 80, 200)
    true = random.random(200) < said
    sizes = np.bincount(groups)
    expected = brier_score_loss(true, said, sample_weight=1 / sizes[groups])
    assert brier(said, true, groups) == pytest.approx(expected)
