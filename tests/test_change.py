"""Paired scores against scikit-learn, `scores.score` and a literal bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn import metrics

from clearhead.measure.bootstrap import draws
from clearhead.measure.change import Change, change, margins, telling
from clearhead.measure.scores import Score, score


def sample(
    classes: int = 2, count: int = 60, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Labels, groups and logits of a good and of a poor classifier."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    groups = random.integers(0, 20, count)
    truth = np.eye(classes)[labels]
    good, poor = (
        (gain * truth + random.normal(0, 1, truth.shape)).astype(np.float32) for gain in (2.0, 0.5)
    )
    return labels, groups, good, poor


@pytest.mark.parametrize("classes", [2, 3])
def test_margins_are_log_odds(classes: int) -> None:
    _, _, logits, _ = sample(classes)
    for target in range(classes):
        share = softmax(logits.astype(np.float64), axis=1)[:, target]
        assert margins(logits, target) == pytest.approx(np.log(share / (1 - share)))


def test_each_row_may_have_a_target_of_its_own() -> None:
    labels, _, logits, _ = sample(3)
    each = [margins(logits[at : at + 1], int(label))[0] for at, label in enumerate(labels)]
    assert margins(logits, labels) == pytest.approx(each)
    truth = torch.from_numpy(labels)
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(logits).double(), truth)
    assert np.log1p(np.exp(-margins(logits, labels))).mean() == pytest.approx(float(loss))


def test_both_sides_are_scored_as_elsewhere() -> None:
    labels, groups, good, poor = sample()
    found = change(labels, groups, good, poor, positive=1, resamples=300, seed=3)
    for logits, side in ((good, found.before), (poor, found.after)):
        table = softmax(logits.astype(np.float64), axis=1)
        scores = score(
            labels, table, groups, classes=("a", "b"), positive="b", resamples=300, seed=3
        ).per_group
        for name, mine in side.items():
            theirs = getattr(scores, name)
            assert (mine.value, mine.low, mine.high) == pytest.approx(
                (theirs.value, theirs.low, theirs.high)
            )
    assert (found.pictures, found.groups) == (len(labels), len(np.unique(groups)))


def test_the_drop_is_paired() -> None:
    """Groups drawn literally, both sides scored on the same draw by scikit-learn."""
    labels, groups, good, poor = sample()
    found = change(labels, groups, good, poor, positive=1, resamples=60, seed=5)
    _, numbers = np.unique(groups, return_inverse=True)
    weights = 1 / np.bincount(numbers)[numbers]
    (counts,) = draws(numbers.max() + 1, 60, 5)
    drops = [
        np.subtract(
            *(
                metrics.roc_auc_score(
                    labels, margins(logits, 1), sample_weight=weights * drawn[numbers]
                )
                for logits in (good, poor)
            )
        )
        for drawn in counts.T
    ]
    assert found.drop["roc_auc"].low == pytest.approx(np.quantile(drops, 0.025))
    assert found.drop["roc_auc"].high == pytest.approx(np.quantile(drops, 0.975))
    assert found.drop["roc_auc"].value == pytest.approx(
        (found.before["roc_auc"].value or 0) - (found.after["roc_auc"].value or 0)
    )


def test_no_change_is_a_drop_of_exactly_nothing() -> None:
    labels, groups, good, _ = sample()
    found = change(labels, groups, good, good, positive=1, resamples=100)
    assert set(found.drop.values()) == {Score(0.0, 0.0, 0.0)}


def test_probabilities_that_run_into_1_still_rank() -> None:
    labels = np.array([0, 0, 1, 1])
    logits = np.array([[0, 40], [0, 50], [0, 60], [0, 70]], np.float32)
    assert len(set(softmax(logits, axis=1)[:, 1].tolist())) == 1
    found = change(labels, np.arange(4), logits, logits, positive=1, resamples=0)
    assert found.before["roc_auc"] == Score(1.0)


def test_several_classes_rank_the_positive_against_the_rest() -> None:
    labels, groups, good, poor = sample(3, count=90)
    found = change(labels, groups, good, poor, positive=2, resamples=50)
    sizes = np.bincount(groups)[groups]
    truth = metrics.roc_auc_score(labels == 2, margins(poor, 2), sample_weight=1 / sizes)
    assert found.after["roc_auc"].value == pytest.approx(truth)


def test_what_is_undefined_has_no_value() -> None:
    none = change(
        np.array([], np.int64), np.array([], np.int64), *np.zeros((2, 0, 2), np.float32), positive=1
    )
    assert isinstance(none, Change)
    assert none.after["roc_auc"] == Score(None)
    one_class = change(
        np.zeros(4, np.int64), np.arange(4), *np.zeros((2, 4, 2), np.float32), positive=1
    )
    assert one_class.drop["roc_auc"] == Score(None)
    assert one_class.after["accuracy"].value == 1
    one_group = change(
        np.array([0, 1]),
        np.zeros(2, np.int64),
        *np.eye(2, dtype=np.float32)[None].repeat(2, 0),
        positive=1,
    )
    assert one_group.after["roc_auc"] == Score(1.0)


def test_a_ranking_the_wrong_way_round_tells_as_much() -> None:
    assert telling(Score(0.2, 0.1, 0.4)) == Score(0.8, 0.6, 0.9)
    assert telling(Score(0.7, 0.4, 0.9)) == Score(0.7, 0.4, 0.9)
    assert telling(Score(0.3)) == Score(0.7)
    assert telling(Score(None)) == Score(None)
