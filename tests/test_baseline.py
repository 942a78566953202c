"""The score to beat: planted leaks are found, small and odd tables work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearhead.errors import ManifestError
from clearhead.measure.baseline import FACTS, MOST_CATEGORIES, fact_probabilities, score_to_beat
from clearhead.measure.scores import score

TWO = ("Brain Tumor", "Healthy")


def leaky(files: int, strength: float, *, seed: int = 0) -> tuple[dict[str, Any], Any]:
    """Facts of `files` files; a share `strength` of them has the format of its class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, files)
    told = np.where(rng.random(files) < strength, labels, rng.integers(0, 2, files))
    facts = {
        "format": np.array(["TIFF", "JPEG"], dtype=object)[told],
        "mode": np.array(["L", "RGB"], dtype=object)[rng.integers(0, 2, files)],
        "width": rng.integers(200, 600, files),
        "height": rng.integers(200, 600, files),
    }
    return facts, labels


def beat(train: tuple[Any, Any], test: tuple[Any, Any], **settings: Any) -> Any:
    groups = np.arange(len(test[1]))
    return score_to_beat(*train, *test, groups, **{"classes": TWO, "resamples": 50, **settings})


@pytest.mark.parametrize(
    ("strength", "low", "high"), [(1.0, 1.0, 1.0), (0.6, 0.74, 0.86), (0, 0.4, 0.6)]
)
def test_a_planted_leak_is_scored_at_its_strength(strength: float, low: float, high: float) -> None:
    found = beat(leaky(600, strength), leaky(300, strength, seed=1))
    assert low <= found.per_file.accuracy.value <= high


def test_a_leak_in_the_size_is_found_too() -> None:
    facts, labels = leaky(300, 0)
    square = {**facts, "width": np.where(labels == 0, 512, facts["width"])}
    assert beat((square, labels), (square, labels)).per_file.accuracy.value > 0.95


def test_facts_are_named_and_scored_like_any_prediction() -> None:
    train, (facts, labels) = leaky(200, 0.8), leaky(100, 0.8, seed=1)
    groups = np.arange(100) // 2
    found = score_to_beat(*train, facts, labels, groups, classes=TWO, resamples=50, seed=4)
    probabilities = fact_probabilities(train[0], train[1], facts, 2, seed=4)
    same = score(labels, probabilities, groups, classes=TWO, resamples=50, seed=4)
    assert found.facts == FACTS
    assert (found.per_file, found.per_group) == (same.per_file, same.per_group)
    assert found == score_to_beat(*train, facts, labels, groups, classes=TWO, resamples=50, seed=4)


def test_majority_is_that_of_training() -> None:
    facts, _ = leaky(100, 1.0)
    train_labels = np.array([1] * 60 + [0] * 40)
    test_labels = np.array([1] * 30 + [0] * 70)
    found = score_to_beat(
        facts, train_labels, facts, test_labels, np.arange(100) // 10, classes=TWO, resamples=50
    )
    assert found.majority == "Healthy"
    assert found.majority_per_file.value == pytest.approx(0.3)
    low, high = found.majority_per_file.low, found.majority_per_file.high
    assert low is not None
    assert high is not None
    assert low < 0.3 < high


@pytest.mark.parametrize("files", [2, 3, 10, 40])
def test_small_tables_work(files: int) -> None:
    facts, _ = leaky(files, 1.0)
    labels = np.arange(files) % 2
    facts["format"] = np.array(["TIFF", "JPEG"], dtype=object)[labels]
    found = beat((facts, labels), (facts, labels))
    assert found.per_file.accuracy.value >= 0.5
    if files >= 10:
        assert found.per_file.accuracy.value == 1.0


def test_training_with_a_single_class_calls_it() -> None:
    facts, labels = leaky(50, 1.0)
    found = beat((facts, np.ones(50, dtype=int)), (facts, labels))
    assert found.per_file.accuracy == found.majority_per_file
    assert found.per_file.roc_auc.value == 0.5


def test_a_class_unseen_in_training_gets_probability_zero() -> None:
    facts, labels = leaky(80, 1.0)
    probabilities = fact_probabilities(facts, labels * 2, facts, 4)
    np.testing.assert_array_equal(probabilities[:, [1, 3]], 0)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), labels * 2)


def test_unseen_and_missing_values_are_unknown() -> None:
    facts, labels = leaky(80, 1.0)
    odd = {
        "format": np.array(["WEBP", None, "TIFF"], dtype=object),
        "mode": np.array([None, "CMYK", "L"], dtype=object),
        "width": np.array([np.nan, 300.0, 300.0]),
        "height": np.array([300.0, np.nan, 300.0]),
    }
    probabilities = fact_probabilities(facts, labels, odd, 2)
    assert np.isfinite(probabilities).all()
    np.testing.assert_array_equal(probabilities[0, 0] < 0.99, True)
    assert probabilities[2, 0] > 0.9


def test_facts_unknown_everywhere_leave_the_shares_of_the_classes() -> None:
    nothing = {"width": np.full(4, np.nan), "mode": np.array([None] * 4, dtype=object)}
    probabilities = fact_probabilities(nothing, np.array([0, 1, 1, 1]), nothing, 2)
    np.testing.assert_allclose(probabilities, np.tile([0.25, 0.75], (4, 1)))


def test_more_categories_than_the_learner_takes() -> None:
    many = np.array([f"mode {k}" for k in range(MOST_CATEGORIES + 200)], dtype=object)
    labels = np.arange(len(many)) % 2
    assert fact_probabilities({"mode": many}, labels, {"mode": many}, 2).shape == (len(many), 2)


def test_columns_that_do_not_fit_are_refused() -> None:
    facts, labels = leaky(20, 1.0)
    short = {**facts, "width": facts["width"][:5]}
    with pytest.raises(ManifestError, match="'width' has 20 training and 5 test values"):
        beat((facts, labels), (short, labels))
    with pytest.raises(ManifestError, match="lack the fact 'format'"):
        beat((facts, labels), ({"width": facts["width"]}, labels))
    with pytest.raises(ManifestError, match="no facts"):
        beat(({}, labels), ({}, labels))
    with pytest.raises(ManifestError, match="no training files"):
        beat(({"width": np.empty(0)}, labels[:0]), (facts, labels))


@pytest.mark.realdata
def test_file_facts_alone_score_94_to_95_per_cent_on_a_random_split(realdata: Path) -> None:
    """Measured before by random 5-fold: 94.7 %."""
    import csv

    with (realdata / "kaggle4600" / "metadata.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    sizes = np.array([row["shape"].strip("()").split(",")[:2] for row in rows], dtype=np.int64)
    facts = {
        "format": np.array([row["format"] for row in rows], dtype=object),
        "mode": np.array([row["mode"] for row in rows], dtype=object),
        "width": sizes[:, 1],
        "height": sizes[:, 0],
    }
    labels = np.array([row["class"] != "tumor" for row in rows]).astype(np.int64)
    order = np.random.default_rng(0).permutation(len(rows))
    train, test = order[1380:], order[:1380]
    found = beat(
        ({name: values[train] for name, values in facts.items()}, labels[train]),
        ({name: values[test] for name, values in facts.items()}, labels[test]),
    )
    assert 0.93 <= found.per_file.accuracy.value <= 0.96
    assert 0.5 <= found.majority_per_file.value <= 0.6
