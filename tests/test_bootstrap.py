"""Resampled scores against scikit-learn on each resample, and coverage of planted truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from clearhead.measure import bootstrap
from clearhead.measure.bootstrap import Sample, draws, interval, resample


def clustered(
    classes: int, *, files: int = 90, groups: int = 30, seed: int = 0, per_group: bool = False
) -> Sample:
    """Files of groups of unequal size, with ties among the probabilities."""
    rng = np.random.default_rng(seed)
    member = np.sort(np.concatenate([np.arange(groups), rng.integers(0, groups, files - groups)]))
    labels = rng.integers(0, classes, files)
    raw = rng.random((files, classes))
    raw[np.arange(files), labels] += 0.4
    probabilities = np.round(raw / raw.sum(axis=1, keepdims=True), 1)
    sizes = np.bincount(member)[member]
    return Sample(
        labels=labels,
        called=raw.argmax(axis=1),
        probabilities=probabilities,
        groups=member,
        weights=1 / sizes if per_group else np.ones(files),
        targets=(1,) if classes == 2 else tuple(range(classes)),
    )


def literally_resampled(sample: Sample, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Row numbers of each resample: the files of every drawn group, repeated as often as drawn."""
    groups = int(sample.groups.max()) + 1
    for drawn in draws(groups, resamples, seed, at_once=1):
        times = drawn[:, 0].astype(np.int64)
        yield np.repeat(np.arange(len(sample.labels)), times[sample.groups])


def counted_by_sklearn(sample: Sample, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Every score of the given rows, by scikit-learn alone."""
    true, called, weights = sample.labels[rows], sample.called[rows], sample.weights[rows]
    table = sample.probabilities[rows]
    classes = list(range(table.shape[1]))
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        true, called, labels=classes, sample_weight=weights, zero_division=np.nan
    )
    specificity = [
        metrics.recall_score(
            true == k, called == k, pos_label=False, sample_weight=weights, zero_division=np.nan
        )
        for k in classes
    ]

    def ranked(metric: Callable[..., float]) -> float:
        if len(set(true)) < len(classes):
            return float("nan")
        return float(
            np.mean([metric(true == k, table[:, k], sample_weight=weights) for k in sample.targets])
        )

    return {
        "accuracy": metrics.accuracy_score(true, called, sample_weight=weights),
        "balanced_accuracy": metrics.balanced_accuracy_score(true, called, sample_weight=weights)
        if len(set(true)) == len(classes)
        else np.nan,
        "f1_macro": metrics.f1_score(true, called, average="macro", sample_weight=weights)
        if len(set(true) | set(called)) == len(classes)
        else np.nan,
        "f1": f1,
        "sensitivity": recall,
        "specificity": np.array(specificity),
        "precision": precision,
        "roc_auc": ranked(metrics.roc_auc_score),
        "pr_auc": ranked(metrics.average_precision_score),
    }


@pytest.mark.parametrize("per_group", [False, True], ids=["per file", "per group"])
@pytest.mark.parametrize("classes", [2, 3])
def test_every_resample_equals_scikit_learn(classes: int, per_group: bool) -> None:
    sample = clustered(classes, per_group=per_group)
    fast = resample(sample, 25, seed=3)
    for number, rows in enumerate(literally_resampled(sample, 25, seed=3)):
        slow = counted_by_sklearn(sample, rows)
        assert set(slow) == set(fast)
        for name, value in slow.items():
            np.testing.assert_allclose(fast[name][number], value, atol=1e-12, err_msg=name)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_resamples_that_miss_a_class_equal_scikit_learn_too() -> None:
    sample = clustered(3, files=8, groups=4, per_group=True)
    fast = resample(sample, 60, seed=0)
    for number, rows in enumerate(literally_resampled(sample, 60, seed=0)):
        for name, value in counted_by_sklearn(sample, rows).items():
            np.testing.assert_allclose(fast[name][number], value, atol=1e-12, err_msg=name)
    assert np.isnan(fast["roc_auc"]).any()
    assert not np.isnan(fast["accuracy"]).any()


def test_draws_take_as_many_groups_as_there_are_and_do_not_depend_on_portions() -> None:
    whole = np.concatenate(list(draws(7, 50, seed=1)), axis=1)
    portions = np.concatenate(list(draws(7, 50, seed=1, at_once=3)), axis=1)
    assert whole.shape == (7, 50)
    np.testing.assert_array_equal(whole.sum(axis=0), 7)
    np.testing.assert_array_equal(whole, portions)
    assert not np.array_equal(whole, next(iter(draws(7, 50, seed=2))))


def test_draws_choose_every_group_equally_often() -> None:
    """Mean 1 and variance 1 - 1/G: the multinomial's."""
    drawn = next(iter(draws(10, 20_000, seed=0, at_once=20_000)))
    np.testing.assert_allclose(drawn.mean(axis=1), 1, atol=0.03)
    np.testing.assert_allclose(drawn.var(axis=1), 0.9, atol=0.05)


def test_memory_portions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = clustered(3)
    at_once = resample(sample, 30, seed=0)
    monkeypatch.setattr(bootstrap, "CELLS_AT_ONCE", 7 * len(sample.labels))
    portioned = resample(sample, 30, seed=0)
    for name, values in at_once.items():
        np.testing.assert_allclose(portioned[name], values, atol=1e-12, err_msg=name)


def test_interval_is_the_percentile_interval() -> None:
    assert interval(np.arange(101.0), 0.9) == pytest.approx((5, 95))


def test_interval_leaves_undefined_resamples_out_up_to_half() -> None:
    half = np.array([0.2, 0.4, np.nan, np.nan])
    assert interval(half, 0.999) == pytest.approx((0.2, 0.4), abs=1e-3)
    assert interval(np.append(half, np.nan), 0.95) is None
    assert interval(np.full(3, np.nan), 0.95) is None


@pytest.mark.parametrize("per_group", [False, True], ids=["per file", "per group"])
def test_interval_over_groups_covers_the_truth_and_one_over_files_does_not(per_group: bool) -> None:
    """Groups of 4 to 12 files, each group mostly right or mostly wrong: expected accuracy 0.75.

    Group size and group accuracy are independent, so both weightings have the same truth.
    """
    over_groups, over_files = 0, 0
    trials = 200
    rng = np.random.default_rng(0)
    for trial in range(trials):
        sample = _population(rng, per_group)
        alone = Sample(**{**vars(sample), "groups": np.arange(len(sample.labels))})
        over_groups += _covers(sample, 0.75, trial)
        over_files += _covers(alone, 0.75, trial)
    assert 0.88 <= over_groups / trials <= 0.99
    assert over_files / trials < 0.75


def _population(rng: np.random.Generator, per_group: bool) -> Sample:
    sizes = rng.integers(4, 13, size=60)
    member = np.repeat(np.arange(60), sizes)
    right = rng.random(len(member)) < rng.beta(0.3, 0.1, size=60)[member]
    labels = rng.integers(0, 2, len(member))
    return Sample(
        labels=labels,
        called=np.where(right, labels, 1 - labels),
        probabilities=np.full((len(member), 2), 0.5),
        groups=member,
        weights=1 / sizes[member] if per_group else np.ones(len(member)),
        targets=(),
    )


def _covers(sample: Sample, truth: float, seed: int) -> bool:
    ends = interval(resample(sample, 300, seed)["accuracy"], 0.95)
    assert ends is not None
    return ends[0] <= truth <= ends[1]
