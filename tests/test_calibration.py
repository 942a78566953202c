"""Temperature and reliability, against planted truth, scikit-learn and literal versions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from clearhead.measure.calibration import (
    BINS,
    LEAST,
    bias_corrected,
    binned,
    reliability,
    specific_bias,
    temperature,
)
from clearhead.measure.scores import Reliability


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


@pytest.mark.parametrize(("absent", "share", "rank"), [(0, 0.95, 39), (1, 0.95, 39), (0, 0.8, 33)])
def test_a_specific_bias_keeps_what_is_well_and_asks_nothing_of_the_rest(
    absent: int, share: float, rank: int
) -> None:
    """Its promise over many draws: a share of new groups, each with all its copies."""
    random = np.random.default_rng(3)
    kept = []
    for _ in range(300):
        groups = np.repeat(np.arange(60), 3)
        labels = np.where(groups < 40, absent, 1 - absent)
        values = np.repeat(random.normal(0, 1, 60), 3) + random.normal(0, 0.3, 180)
        logits = np.zeros((180, 2))
        logits[:, 1 - absent] = values
        bias = specific_bias(logits, labels, groups, absent, share)
        assert bias.sum() == pytest.approx(0)
        called = (logits + bias).argmax(1) == absent
        right = np.array([called[groups == one].all() for one in range(40)])
        worst = np.sort(values.reshape(60, 3).max(1)[:40])
        # The ⌈share·41⌉-th of 40 and all below it, and what lies on it.
        assert right.sum() == (worst < worst[rank - 1] + 1e-4).sum() >= rank
        other = logits.copy()
        other[labels != absent] += random.normal(0, 9, (60, 2))
        assert specific_bias(other, labels, groups, absent, share).tolist() == bias.tolist()
        new = (random.normal(0, 1, (500, 1)) + random.normal(0, 0.3, (500, 3))).max(1)
        kept.append(np.mean(new + bias[1 - absent] < bias[absent]))
    assert share - 0.005 < np.mean(kept) < share + 0.01
    assert specific_bias(logits, np.full(180, 1 - absent), groups, absent).tolist() == [0, 0]


# --- Reliability ----------------------------------------------------------------------------


def judged(
    labels: Any, probabilities: Any, groups: Any | None = None, *, resamples: int = 200
) -> Reliability:
    classes = tuple("abcd"[: np.shape(probabilities)[1]])
    groups = np.arange(len(labels)) if groups is None else groups
    return reliability(
        labels, probabilities, groups, classes=classes, positive="b", resamples=resamples
    )


def told_of(count: int, classes: int = 2, seed: int = 1, sharper: float = 1.0) -> tuple[Any, Any]:
    logits, labels = planted(count, 2.0, classes, seed)
    return labels, softmax(sharper * logits, 1)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_brier_score_is_scikit_learns(classes: int) -> None:
    labels, told = told_of(300, classes)
    groups = np.random.default_rng(0).integers(0, 80, 300)
    weights = 1 / np.bincount(groups)[groups]
    theirs = brier_score_loss(
        np.eye(classes)[labels], told, sample_weight=weights, scale_by_half=True
    )
    found = judged(labels, told, groups).brier
    assert found.value == pytest.approx(theirs)
    assert found.low is not None
    assert found.low < theirs < (found.high or 0)
    if classes == 2:
        plain = brier_score_loss(labels, told[:, 1])
        assert judged(labels, told).brier.value == pytest.approx(plain)


def test_the_diagram_is_scikit_learns() -> None:
    labels, told = told_of(1000)
    true, mean = calibration_curve(labels, told[:, 1], n_bins=BINS, strategy="quantile")
    found = judged(labels, told)
    assert found.of == "b"
    assert [each.groups for each in found.bins] == pytest.approx([100.0] * BINS)
    assert [each.told for each in found.bins] == pytest.approx(mean)
    assert [each.true.value for each in found.bins] == pytest.approx(true)
    assert found.error == pytest.approx(np.abs(true - mean).mean())


def test_of_more_classes_the_one_called_is_judged() -> None:
    labels, told = told_of(500, 4)
    right, sure = labels == told.argmax(1), told.max(1)
    true, mean = calibration_curve(right, sure, n_bins=BINS, strategy="quantile")
    found = judged(labels, told)
    assert found.of is None
    assert found.error == pytest.approx(np.abs(true - mean).mean())


def test_a_group_is_one_witness_whatever_its_copies() -> None:
    labels, told = told_of(200)
    rows = np.r_[np.arange(200), np.zeros(3000, int), np.full(7, 5)]
    once, copied = judged(labels, told), judged(labels[rows], told[rows], rows)
    assert copied.error == pytest.approx(once.error)
    assert copied.brier.value == pytest.approx(once.brier.value)
    assert copied.chance.value == pytest.approx(once.chance.value)
    assert copied.chance.high == pytest.approx(once.chance.high)
    assert len(copied.bins) == len(once.bins)
    for one, other in zip(copied.bins, once.bins, strict=True):
        assert (one.told, one.groups) == pytest.approx((other.told, other.groups))
        assert one.true.low == pytest.approx(other.true.low)


def test_chance_alone_is_what_labels_drawn_from_the_probabilities_show() -> None:
    """The same by hand: draw labels, bin, average; for copies one lot each, shared by a group."""
    _, told = told_of(90)
    groups = np.arange(90) // 3
    random, errors = np.random.default_rng(7), []
    for _ in range(2000):
        lots = random.random(30)
        labels = np.array([int(lots[group] < told[row, 1]) for row, group in enumerate(groups)])
        errors.append(judged(labels, told, groups, resamples=0).error)
    found = judged(labels, told, groups, resamples=4000).chance
    spread = float(np.std(errors)) / np.sqrt(len(errors))
    assert found.value == pytest.approx(np.mean(errors), abs=5 * spread)
    assert (found.low, found.high) == pytest.approx(np.quantile(errors, [0.025, 0.975]), abs=0.02)


def test_true_probabilities_pass_and_boasting_is_found() -> None:
    honest = [judged(*told_of(300, seed=seed)) for seed in range(40)]
    loud = sum(each.error > (each.chance.high or 1) for each in honest)
    assert loud <= 5  # 1 in 40 on average
    assert all(each.error > 0 for each in honest)  # which is noise, and told to be
    boasting = judged(*told_of(300, sharper=3.0))
    assert boasting.error > (boasting.chance.high or 1)


def test_few_groups_get_few_bins_and_equal_values_share_one() -> None:
    values = np.linspace(0, 1, 35)
    assert np.bincount(binned(values, np.ones(35))).tolist() == [12, 11, 12]
    assert set(binned(np.full(50, 0.3), np.ones(50)).tolist()) == {2}
    assert set(binned(values[: LEAST - 1], np.ones(LEAST - 1)).tolist()) == {0}
    # by mass: the first value weighs as much as all the others
    assert binned(np.array([0.1, 0.2, 0.3]), np.array([20.0, 10.0, 10.0])).tolist() == [1, 2, 3]


def test_a_bin_in_which_all_came_true_is_not_certain() -> None:
    labels = np.r_[np.zeros(20, int), np.ones(20, int)]
    told = np.where(labels[:, None] == np.arange(2), 0.95, 0.05)
    last = judged(labels, told).bins[-1]
    assert (last.true.value, last.true.high) == (1.0, 1.0)
    assert (last.true.low or 1) < 0.9


def test_without_resamples_there_are_no_ends() -> None:
    found = judged(*told_of(50), resamples=0)
    assert found.chance.value is None
    assert found.brier.low is None


@pytest.mark.parametrize("classes", [2, 3])
def test_temperature_and_bias_that_were_put_in_are_taken_out(classes: int) -> None:
    random = np.random.default_rng(3)
    logits = random.normal(0, 2, (6000, classes))
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (true.cumsum(1) < random.random((6000, 1))).sum(1)
    put = np.array([1.5, -1.5, 0.0][:classes])
    put -= put.mean()
    warmth, bias = bias_corrected(2 * logits - put, labels, np.arange(6000))
    assert warmth == pytest.approx(2, rel=0.08)
    assert bias == pytest.approx(put, abs=0.15)
    assert bias.sum() == pytest.approx(0, abs=1e-9)


def test_two_classes_with_a_bias_are_a_logistic_regression() -> None:
    """Platt scaling: scikit-learn's, without a penalty, on the margin."""
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(4)
    margins = random.normal(1, 2, 5000)
    labels = (random.random(5000) < 1 / (1 + np.exp(-(0.7 * margins - 0.4)))).astype(int)
    logits = np.stack([-margins / 2, margins / 2], 1)
    warmth, bias = bias_corrected(logits, labels, np.arange(5000))
    fitted = LogisticRegression(C=np.inf).fit(margins[:, None], labels)
    assert 1 / warmth == pytest.approx(float(fitted.coef_[0, 0]), rel=0.01)
    assert (bias[1] - bias[0]) / warmth == pytest.approx(float(fitted.intercept_[0]), abs=0.01)


def test_a_bias_counts_copies_once_and_is_none_with_one_class() -> None:
    random = np.random.default_rng(5)
    logits, labels = random.normal(0, 2, (300, 2)), random.integers(0, 2, 300)
    warmth, bias = bias_corrected(logits, labels, np.arange(300))
    rows = np.concatenate([np.arange(300), np.repeat(np.arange(20), 30)])
    again, moved = bias_corrected(logits[rows], labels[rows], rows)
    assert again == pytest.approx(warmth, rel=1e-3)
    assert moved == pytest.approx(bias, abs=1e-3)
    alone, none = bias_corrected(logits, np.zeros(300, int), np.arange(300))
    assert alone == 1.0
    assert not none.any()
