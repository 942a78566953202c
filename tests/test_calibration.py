"""The temperature, against planted truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from clearhead.measure.calibration import temperature


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
