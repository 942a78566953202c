"""Probes: planted leaks are read, copies don't help, and chance is what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kstest, mannwhitneyu
from sklearn.metrics import roc_auc_score

from clearhead.errors import ManifestError, RecipeError
from clearhead.measure import probe as module
from clearhead.measure.baseline import Tabulated
from clearhead.measure.probe import LEARNERS, holm, permuted_p, probe, stouffer
from clearhead.measure.scores import Score

TWO = ("tumour", "healthy")


def planted(groups: int, shift: float, *, seed: int = 0, classes: int = 2) -> tuple[Any, Any, Any]:
    """One number per picture whose mean moves by `shift` per class; each picture twice."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(groups) % classes, 2)
    numbers = np.repeat(rng.normal(size=(groups, 3)), 2, axis=0)
    numbers[:, 1] += shift * labels
    return {"numbers": numbers}, labels, np.repeat(np.arange(groups), 2)


def value(score: Score) -> float:
    assert score.value is not None
    return score.value


def quick(*rows: Any, **settings: Any) -> Any:
    return probe(*rows, **{"classes": TWO, "resamples": 50, "permutations": 200, **settings})


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_planted_leak_is_read_and_its_absence_isnt(learner: str) -> None:
    leak = quick(*planted(240, 4.0), learner=learner)
    none = quick(*planted(240, 0.0), learner=learner)
    assert value(leak.per_group.roc_auc) > 0.95
    assert leak.p < 1e-4
    assert 0.35 < value(none.per_group.roc_auc) < 0.65
    assert none.p > 1e-3


@pytest.mark.parametrize("learner", LEARNERS)
def test_copies_are_never_on_both_sides(learner: str) -> None:
    """Each picture's number is unique and its copies share it: a memoriser would be perfect."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(120), 6)
    numbers = np.repeat(rng.normal(size=(120, 4)), 6, axis=0)
    labels = np.repeat(rng.permutation(np.arange(120) % 2), 6)
    honest = quick({"numbers": numbers}, labels, groups, learner=learner)
    fooled = quick({"numbers": numbers}, labels, np.arange(720), learner=learner)
    assert value(fooled.per_file.roc_auc) > 0.9
    assert value(honest.per_file.roc_auc) < 0.7


def test_a_picture_of_many_copies_counts_once() -> None:
    """Ten copies of the healthy pictures change accuracy per file, not per distinct picture."""
    columns, labels, groups = planted(200, 2.0)
    times = np.where(labels == 1, 10, 1)
    many = {"numbers": np.repeat(columns["numbers"], times, axis=0)}
    found = quick(many, np.repeat(labels, times), np.repeat(groups, times), learner="trees")
    assert found.majority_per_group == pytest.approx(0.5)
    assert found.majority_per_file == pytest.approx(10 / 11)
    assert (
        abs(
            value(found.per_group.sensitivity["healthy"])
            - value(found.per_group.sensitivity["tumour"])
        )
        < 0.15
    )


def test_more_than_two_classes_and_categories() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 300)
    formats = np.array(["JPEG", "PNG", None], dtype=object)[labels]
    noise = np.array(["L", "RGB"], dtype=object)[rng.integers(0, 2, 300)]
    found = quick(
        {"format": formats, "mode": noise}, labels, np.arange(300), classes=("a", "b", "c")
    )
    assert value(found.per_group.accuracy) == 1.0
    assert value(found.per_group.roc_auc) == 1.0
    assert found.p < 1e-4


@pytest.mark.parametrize("learner", LEARNERS)
def test_unknown_values_are_no_trouble(learner: str) -> None:
    columns, labels, groups = planted(120, 3.0)
    numbers = columns["numbers"].copy()
    numbers[::5] = np.nan
    numbers[:, 2] = np.nan
    numbers[1, 0] = np.inf
    found = quick({"numbers": numbers}, labels, groups, learner=learner)
    assert value(found.per_group.roc_auc) > 0.8


def test_nothing_known_is_chance() -> None:
    _, labels, groups = planted(60, 0.0)
    found = quick({"dpi": np.full(120, np.nan)}, labels, groups)
    assert value(found.per_group.roc_auc) == pytest.approx(0.5, abs=0.15)
    assert found.p == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize(
    ("labels", "words"),
    [([0] * 40, "all pictures are tumour"), ([0] * 40 + [1] * 3, "healthy has 3 distinct")],
)
def test_too_little_says_so(labels: list[int], words: str) -> None:
    found = quick({"x": np.arange(len(labels))}, np.array(labels), np.arange(len(labels)))
    assert words in found.silent
    assert found.per_file is found.p is None


def test_many_copies_of_few_pictures_are_too_little() -> None:
    groups = np.repeat(np.arange(12), 50)
    found = quick({"x": groups}, groups % 2, groups)
    assert "6 distinct" in found.silent
    assert found.groups == 12


def test_no_rows_at_all() -> None:
    empty = np.zeros(0, dtype=np.int64)
    assert quick({"x": empty}, empty, empty).silent == "there are no labelled pictures"


def test_no_more_groups_than_asked_for() -> None:
    columns, labels, groups = planted(300, 1.0)
    found = quick(columns, labels, groups, most_groups=100)
    assert (found.groups, found.files) == (100, 200)
    assert found == quick(columns, labels, groups, most_groups=100)


def test_same_seed_same_probe() -> None:
    rows = planted(60, 1.0)
    assert quick(*rows, learner="forest") == quick(*rows, learner="forest")
    assert quick(*rows) != quick(*rows, seed=1)


def test_arguments_are_not_changed() -> None:
    columns, labels, groups = planted(60, 1.0)
    before = columns["numbers"].copy()
    quick(columns, labels, groups, learner="forest")
    np.testing.assert_array_equal(columns["numbers"], before)


def test_wrong_arguments_are_refused() -> None:
    columns, labels, groups = planted(30, 1.0)
    with pytest.raises(RecipeError, match="no learner is called 'net'"):
        quick(columns, labels, groups, learner="net")
    with pytest.raises(ManifestError, match="numbers has 60 rows: expected 59"):
        quick(columns, labels[1:], groups)
    with pytest.raises(ManifestError, match="no columns were given"):
        quick({}, labels, groups)
    with pytest.raises(RecipeError, match="folds is 1"):
        quick(columns, labels, groups, folds=1)


# --- Chance ---------------------------------------------------------------------------------


def centroids(table: Tabulated, labels: Any, weights: Any, seed: int) -> NDArray[np.float64]:
    """A learner quick enough to be run a thousand times: along the line between the means."""
    means = [
        np.average(table.train[labels == k], axis=0, weights=weights[labels == k]) for k in (0, 1)
    ]
    reach = 1 / (1 + np.exp(-(table.test @ (means[1] - means[0]))))
    return np.stack([1 - reach, reach], axis=1)


def test_p_is_even_where_labels_are_random(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LEARNERS, "centroids", centroids)
    rng = np.random.default_rng(5)
    drawn = []
    for seed in range(200):
        groups = np.repeat(np.arange(60), rng.integers(1, 4, 60))
        numbers = rng.normal(size=(60, 12))[groups]
        labels = rng.permutation(np.arange(60) % 2)[groups]
        found = quick({"x": numbers}, labels, groups, learner="centroids", resamples=0, seed=seed)
        drawn.append(found.p)
    assert kstest(drawn, "uniform").pvalue > 0.01
    assert np.mean(np.array(drawn) < 0.05) < 0.10


def test_permuted_p_agrees_with_the_exact_rank_test() -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(24) % 2
    reach = rng.normal(size=24) + 0.6 * labels
    table = np.stack([-reach, reach], axis=1)
    exact = mannwhitneyu(reach[labels == 1], reach[labels == 0], alternative="greater")
    assert permuted_p(table, labels, 20_000, rng) == pytest.approx(exact.pvalue, abs=0.01)


def test_permuted_p_counts_the_mean_auc_of_several_classes() -> None:
    """Literal version: shuffle, score with scikit-learn, count."""
    rng = np.random.default_rng(2)
    labels = np.arange(30) % 3
    table = rng.random((30, 3)) + 0.25 * np.eye(3)[labels]

    def mean_auc(own: NDArray[Any]) -> float:
        return float(np.mean([roc_auc_score(own == k, table[:, k]) for k in range(3)]))

    drawn = np.array([mean_auc(rng.permutation(labels)) for _ in range(400)])
    slow = (drawn >= mean_auc(labels)).mean()
    assert permuted_p(table, labels, 4000, rng) == pytest.approx(slow, abs=0.06)


def test_stouffer_and_holm() -> None:
    assert stouffer([0.5, 0.5, 0.5]) == pytest.approx(0.5)
    assert stouffer([0.02]) == pytest.approx(0.02)
    assert stouffer([0.05, 0.05]) == pytest.approx(0.01, abs=0.001)
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_last_fold_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight functions are learnt for five folds: five to score, three more for chance."""
    calls = []
    read = module._read

    def counting(*args: Any) -> NDArray[np.float64]:
        calls.append(args)
        return read(*args)

    monkeypatch.setattr(module, "_read", counting)
    quick(*planted(60, 1.0), learner="forest", resamples=0)
    assert len(calls) == 8
