"""Scores: values by scikit-learn or by hand, edge cases, JSON round trip, the positive class."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from clearhead.errors import ManifestError, RecipeError, RunError
from clearhead.measure.baseline import score_to_beat
from clearhead.measure.scores import Evaluation, Score, positive_class, score

TWO = ("Brain Tumor", "Healthy")


def random_case(classes: int, *, files: int = 120, seed: int = 0) -> tuple[Any, Any, Any]:
    """Labels, probabilities (mostly right) and groups."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, files)
    raw = rng.random((files, classes))
    raw[np.arange(files), labels] += 0.4
    return labels, raw / raw.sum(axis=1, keepdims=True), rng.integers(0, 40, files)


def every_score(evaluation: Evaluation) -> dict[str, Score]:
    """All scores of both weightings under dotted names."""
    found: dict[str, Score] = {}
    for weighting in ("per_file", "per_group"):
        for name, value in vars(getattr(evaluation, weighting)).items():
            if isinstance(value, Score):
                found[f"{weighting}.{name}"] = value
            elif isinstance(value, dict):
                found |= {f"{weighting}.{name}.{label}": item for label, item in value.items()}
    return found


def test_values_by_hand() -> None:
    """Group a: three tumours, two found; b: one healthy, called tumour; c: one healthy, right."""
    labels = [0, 0, 0, 1, 1]
    tumour = np.array([0.9, 0.8, 0.3, 0.6, 0.1])
    result = score(labels, np.stack([tumour, 1 - tumour], axis=1), list("aaabc"), classes=TWO)
    files, groups = result.per_file, result.per_group
    assert (result.files, result.groups, result.positive) == (5, 3, "Brain Tumor")
    assert files.accuracy.value == pytest.approx(3 / 5)
    assert groups.accuracy.value == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert files.sensitivity["Brain Tumor"].value == pytest.approx(2 / 3)
    assert files.specificity["Brain Tumor"].value == pytest.approx(1 / 2)
    assert files.sensitivity["Healthy"].value == pytest.approx(1 / 2)
    assert files.precision["Healthy"].value == pytest.approx(1 / 2)
    assert groups.precision["Brain Tumor"].value == pytest.approx((2 / 3) / (2 / 3 + 1))
    assert groups.f1["Brain Tumor"].value == pytest.approx(2 * (2 / 3) / (1 + 5 / 3))
    assert files.roc_auc.value == pytest.approx(5 / 6)
    assert files.pr_auc.value == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert files.confusion == ((2.0, 1.0), (1.0, 1.0))
    np.testing.assert_allclose(np.array(groups.confusion), np.array([[2 / 3, 1 / 3], [1.0, 1.0]]))


def test_more_classes_average_one_against_the_rest_as_scikit_learn_does() -> None:
    labels, probabilities, groups = random_case(4)
    names = ("glioma", "meningioma", "notumor", "pituitary")
    result = score(labels, probabilities, groups, classes=names)
    called = probabilities.argmax(axis=1)
    weights = 1 / np.bincount(groups)[groups]
    assert result.per_file.roc_auc.value == pytest.approx(
        metrics.roc_auc_score(labels, probabilities, multi_class="ovr")
    )
    assert result.per_group.roc_auc.value == pytest.approx(
        metrics.roc_auc_score(labels, probabilities, multi_class="ovr", sample_weight=weights)
    )
    one_hot = np.eye(4)[labels]
    assert result.per_file.pr_auc.value == pytest.approx(
        metrics.average_precision_score(one_hot, probabilities)
    )
    assert result.per_group.f1_macro.value == pytest.approx(
        metrics.f1_score(labels, called, average="macro", sample_weight=weights)
    )
    assert result.per_group.balanced_accuracy.value == pytest.approx(
        metrics.balanced_accuracy_score(labels, called, sample_weight=weights)
    )


def test_sensitivity_of_one_class_is_specificity_of_the_other() -> None:
    result = score(*random_case(2), classes=TWO)
    for scores in (result.per_file, result.per_group):
        for one, other in (TWO, TWO[::-1]):
            sensitivity, specificity = scores.sensitivity[one], scores.specificity[other]
            assert dataclasses.astuple(sensitivity) == pytest.approx(
                dataclasses.astuple(specificity)
            )


def test_one_file_per_group_makes_both_weightings_equal() -> None:
    labels, probabilities, _ = random_case(3)
    result = score(labels, probabilities, np.arange(len(labels)), classes=("a", "b", "c"))
    assert result.per_file == result.per_group


def test_repeating_every_file_of_a_group_changes_no_per_group_figure() -> None:
    labels, probabilities, groups = random_case(2)
    times = np.where(groups % 3 == 0, 4, 1)
    rows = np.repeat(np.arange(len(labels)), times)
    once = score(labels, probabilities, groups, classes=TWO)
    often = score(labels[rows], probabilities[rows], groups[rows], classes=TWO)
    assert often.per_group.accuracy.value == pytest.approx(once.per_group.accuracy.value)
    assert often.per_group.accuracy.low == pytest.approx(once.per_group.accuracy.low)
    assert often.per_group.roc_auc.high == pytest.approx(once.per_group.roc_auc.high)
    assert often.per_file.accuracy.value != pytest.approx(once.per_file.accuracy.value)


def test_order_of_rows_changes_nothing() -> None:
    labels, probabilities, groups = random_case(2)
    order = np.random.default_rng(9).permutation(len(labels))
    one = every_score(score(labels, probabilities, groups, classes=TWO))
    two = every_score(score(labels[order], probabilities[order], groups[order], classes=TWO))
    for name in one:
        assert dataclasses.astuple(two[name]) == pytest.approx(dataclasses.astuple(one[name]))


def test_seed_decides_the_interval() -> None:
    case = random_case(2)
    first = score(*case, classes=TWO, seed=1)
    assert first == score(*case, classes=TWO, seed=1)
    assert first.per_file.accuracy.low != score(*case, classes=TWO, seed=2).per_file.accuracy.low


def test_higher_level_gives_a_wider_interval_around_the_value() -> None:
    case = random_case(2)
    narrow = every_score(score(*case, classes=TWO, level=0.5))
    for name, wide in every_score(score(*case, classes=TWO, level=0.99)).items():
        ends = (wide.low, narrow[name].low, narrow[name].high, wide.high)
        assert None not in ends
        assert ends[0] < ends[1] < ends[2] < ends[3], name  # type: ignore[operator]  # not None
        assert ends[0] < wide.value < ends[3], name  # type: ignore[operator]  # not None


def test_given_calls_replace_the_most_probable_class() -> None:
    labels, probabilities, groups = random_case(2)
    result = score(labels, probabilities, groups, classes=TWO, called=labels)
    assert result.per_file.accuracy.value == 1.0
    assert (
        result.per_file.roc_auc
        == score(labels, probabilities, groups, classes=TWO).per_file.roc_auc
    )


def test_tied_probabilities_rank_as_chance_and_call_the_first_class() -> None:
    result = score([0, 1, 0, 1], np.full((4, 2), 0.5), range(4), classes=TWO)
    assert result.per_file.roc_auc.value == 0.5
    assert result.per_file.confusion == ((2.0, 0.0), (2.0, 0.0))


# --- Edges ----------------------------------------------------------------------------------


def test_one_class_in_the_split_leaves_undefined_what_needs_two() -> None:
    tumour = np.array([0.9, 0.8, 0.2])
    result = score([0, 0, 0], np.stack([tumour, 1 - tumour], axis=1), range(3), classes=TWO)
    scores = result.per_file
    for missing in (
        scores.roc_auc,
        scores.pr_auc,
        scores.balanced_accuracy,
        scores.specificity["Brain Tumor"],
        scores.sensitivity["Healthy"],
    ):
        assert missing == Score(None)
    assert scores.accuracy.value == pytest.approx(2 / 3)
    assert scores.precision["Brain Tumor"].value == 1.0
    json.dumps(result.to_json(), allow_nan=False)


def test_class_never_called_has_no_precision_and_an_f1_of_zero() -> None:
    labels, probabilities, groups = random_case(2)
    result = score(labels, probabilities, groups, classes=TWO, called=np.zeros(len(labels), int))
    assert result.per_file.precision["Healthy"] == Score(None)
    assert result.per_file.f1["Healthy"] == Score(0.0, 0.0, 0.0)
    assert result.per_file.balanced_accuracy == Score(0.5, 0.5, 0.5)


def test_class_that_neither_occurs_nor_is_called_has_no_f1_and_no_part_in_the_mean() -> None:
    labels, probabilities, groups = random_case(2)
    three = np.column_stack([probabilities, np.zeros(len(labels))])
    result = score(labels, three, groups, classes=("a", "b", "c"))
    plain = score(labels, probabilities, groups, classes=("a", "b"))
    assert result.per_file.f1["c"] == Score(None)
    assert result.per_file.f1_macro == plain.per_file.f1_macro
    assert result.per_file.balanced_accuracy == plain.per_file.balanced_accuracy


def test_class_called_without_having_files_weighs_the_macro_f1_down() -> None:
    labels, probabilities, groups = random_case(2)
    three = np.column_stack([probabilities, np.zeros(len(labels))])
    called = probabilities.argmax(axis=1)
    called[0] = 2
    macro = score(labels, three, groups, classes=("a", "b", "c"), called=called).per_file.f1_macro
    assert macro.value == pytest.approx(metrics.f1_score(labels, called, average="macro"))
    assert macro.value is not None
    assert macro.low is not None
    assert macro.high is not None
    assert 0.3 < macro.low < macro.value < macro.high < 2 / 3


def test_one_group_has_values_and_no_interval() -> None:
    labels, probabilities, _ = random_case(2)
    result = score(labels, probabilities, np.zeros(len(labels)), classes=TWO)
    for name, value in every_score(result).items():
        assert value.value is not None, name
        assert (value.low, value.high) == (None, None), name


def test_mostly_undefined_resamples_give_no_interval() -> None:
    """One of two classes sits in a single group of five: a third of the resamples miss it; with
    two groups, half have one class alone."""
    table = np.array([[0.9, 0.1], [0.2, 0.8]])
    result = score([0, 1], table, ["a", "b"], classes=TWO, resamples=1001, seed=5)
    assert result.per_file.roc_auc.value == 1.0
    defined = sum(
        len(set(row)) == 2 for row in np.random.default_rng(5).integers(0, 2, (1001, 2)).tolist()
    )
    assert (result.per_file.roc_auc.low is None) == (2 * defined < 1001)
    rare = score([0] * 9 + [1], np.full((10, 2), 0.5), range(10), classes=TWO)
    assert rare.per_file.roc_auc == Score(0.5, 0.5, 0.5)


def test_no_resamples_give_no_interval() -> None:
    result = score(*random_case(2), classes=TWO, resamples=0)
    assert result.per_file.accuracy.value is not None
    assert result.per_file.accuracy.low is None


def test_a_score_reads_well() -> None:
    assert str(Score(0.9, 0.85, 0.95)) == "0.900 (0.850–0.950)"
    assert str(Score(0.9)) == "0.900"
    assert str(Score(None)) == "undefined"


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        (
            {"labels": [], "probabilities": np.empty((0, 2)), "groups": []},
            ManifestError,
            "no files",
        ),
        ({"probabilities": [[0.5, 0.5], [np.nan, 0.5]]}, RunError, "1 of 2 predictions"),
        ({"probabilities": [[0.5, 0.5], [np.inf, 0.5]]}, RunError, "not finite"),
        ({"probabilities": [[1.0], [1.0]]}, ManifestError, r"expected \(2, 2\)"),
        ({"labels": [0, 2]}, ManifestError, "class indices from 0 to 1"),
        ({"labels": [0.0, 1.0]}, ManifestError, "class indices"),
        ({"called": [0, -1]}, ManifestError, "called holds"),
        ({"called": [0]}, ManifestError, "called has the shape"),
        ({"groups": [0]}, ManifestError, "groups has the shape"),
        ({"positive": "tumour"}, ManifestError, "no class is called 'tumour'"),
        ({"level": 95}, RecipeError, "level is 95"),
        ({"resamples": -1}, RecipeError, "resamples is -1"),
    ],
)
def test_impossible_input_is_refused_in_one_line(
    changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    given = {"labels": [0, 1], "probabilities": np.eye(2), "groups": [0, 1], **changes}
    with pytest.raises(error, match=words) as caught:
        score(**given, classes=TWO)
    assert "\n" not in str(caught.value)


def test_arguments_are_left_as_they_were() -> None:
    case = random_case(2)
    before = [array.copy() for array in case]
    score(*case, classes=TWO, resamples=10)
    for array, copy in zip(case, before, strict=True):
        np.testing.assert_array_equal(array, copy)


# --- JSON -----------------------------------------------------------------------------------


@pytest.mark.parametrize("full", [False, True])
def test_json_round_trip(full: bool) -> None:
    labels, probabilities, groups = random_case(2, files=60)
    result = score(labels, probabilities, groups, classes=TWO, resamples=20, split="validation")
    if full:
        facts = {"width": labels * 100.0, "mode": np.array(["L", "RGB"])[labels]}
        beat = score_to_beat(facts, labels, facts, labels, groups, classes=TWO, resamples=20)
        result = dataclasses.replace(result, baseline=beat, copies_in_training=(3, 60))
    text = json.dumps(result.to_json(), allow_nan=False)
    assert Evaluation.from_json(json.loads(text)) == result


# --- The positive class ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (["Brain Tumor", "Healthy"], "Brain Tumor"),
        (["no_tumor", "yes_tumor"], "yes_tumor"),
        (["tumour", "tumour-free"], "tumour"),
        (["glioma", "notumor"], "glioma"),
        (["Cancer", "Not Cancer"], "Cancer"),
        (["Tumor", "NonTumor"], "Tumor"),
        (["no", "yes"], "yes"),
        (["yes", "without"], "yes"),
        (["abnormal", "normal"], "abnormal"),
        (["positive", "negative"], "positive"),
        (["malignant", "benign tumour"], "malignant"),
        (["glioma", "meningioma", "notumor", "pituitary"], "pituitary"),
        (["T1", "T2"], "T2"),
    ],
)
def test_positive_class_reads_like_disease_else_is_the_last(
    classes: list[str], expected: str
) -> None:
    assert positive_class(classes) == expected
    ill_first = sorted(classes, key=lambda name: name != expected)
    if len(classes) == 2 and "T1" not in classes:
        assert positive_class(ill_first) == positive_class(ill_first[::-1]) == expected


@given(st.lists(st.text(min_size=1), min_size=2, unique=True))
def test_positive_class_is_always_one_of_them_and_an_explicit_one_wins(classes: list[str]) -> None:
    assert positive_class(classes) in classes
    assert positive_class(classes, classes[0]) == classes[0]


# --- Documentation --------------------------------------------------------------------------


def test_the_example_on_the_concept_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).parents[1] / "docs" / "concepts" / "scores-and-intervals.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {})
    assert "Brain Tumor" in capsys.readouterr().out
