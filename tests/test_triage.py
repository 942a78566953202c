"""Triage: literal definition, crepes, and the promise kept over many exchangeable draws."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from math import comb
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import binom

from clearhead.errors import RecipeError
from clearhead.measure.calibration import temperature
from clearhead.measure.scores import Calibration, Score, Triage
from clearhead.measure.triage import (
    SURE,
    UNCERTAIN,
    decided,
    kept,
    limit,
    needed,
    thresholds,
    triage,
    verdict,
    worst_copies,
)

Told = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]


def heads(
    groups: int, random: np.random.Generator, *, classes: int = 2, most: int = 6, digits: int = 12
) -> Told:
    """Labels, probabilities and groups of pictures with up to `most` copies each.

    Copies differ, and those of one group have much in common.
    """
    label = np.arange(groups) % classes
    member = np.repeat(np.arange(groups), random.integers(1, most + 1, groups))
    logits = 2.0 * np.eye(classes)[label] + random.normal(0, 1.5, (groups, classes))
    noisy = logits[member] + random.normal(0, 0.7, (len(member), classes))
    return label[member], np.round(softmax(noisy, 1), digits), member


def kept_literally(told: Told, probabilities: NDArray[np.float64], error: str) -> NDArray[np.bool_]:
    """A class is kept where its p-value is above the error: Vovk 2012, by counting."""
    labels, known, groups = told
    left = np.zeros(probabilities.shape, bool)
    for k in range(probabilities.shape[1]):
        worst = [
            min(known[(groups == group) & (labels == k), k])
            for group in sorted(set(groups[labels == k].tolist()))
        ]
        for row, chance in enumerate(probabilities[:, k]):
            as_odd = sum(other <= chance for other in worst)
            left[row, k] = Fraction(1 + as_odd, len(worst) + 1) > Fraction(error)
    return left


@pytest.mark.parametrize("error", ["0.05", "0.1", "0.29", "0.5"])
@pytest.mark.parametrize("digits", [2, 12])  # with many ties, and with none
def test_a_class_is_kept_where_its_p_value_is_above_the_error(error: str, digits: int) -> None:
    random = np.random.default_rng(0)
    told = heads(199, random, classes=3, digits=digits)
    probabilities = heads(300, random, classes=3, digits=digits)[1]
    found = kept(probabilities, thresholds(*told, float(error)))
    assert 0 < found.mean() < 1
    np.testing.assert_array_equal(found, kept_literally(told, probabilities, error))


@pytest.mark.parametrize("error", [0.03, 0.1, 0.25])
def test_the_sets_are_those_of_crepes(error: float) -> None:
    from crepes import ConformalClassifier

    random = np.random.default_rng(1)
    told = heads(150, random, classes=3)
    probabilities = heads(200, random, classes=3)[1]
    ours = kept(probabilities, thresholds(*told, error))
    for k, worst in enumerate(worst_copies(*told)):
        peer = ConformalClassifier().fit(1 - worst)
        values = peer.predict_p(1 - probabilities[:, [k]], smoothing=False)[:, 0]
        np.testing.assert_array_equal(ours[:, k], values > error)


DRAWS, BEHIND, ERROR = 3000, 29, 0.1
"""With 29 groups behind it a threshold covers 1 - 3 / 30 of new groups: just what is promised."""


def times_kept(*, by_file: bool = False) -> NDArray[np.int64]:
    """For each class, in how many of `DRAWS` calibrations a new group kept it in every copy."""
    random, count = np.random.default_rng(2), np.zeros(2, np.int64)
    for _ in range(DRAWS):
        labels, probabilities, groups = heads(2 * BEHIND + 2, random, most=4)
        fitted = groups > 1  # groups 0 and 1 are new, one of each class
        unit = np.arange(len(groups)) if by_file else groups
        limits = thresholds(labels[fitted], probabilities[fitted], unit[fitted], ERROR)
        left = kept(probabilities, limits)
        count += [left[groups == k, k].all() for k in range(2)]
    return count


def test_the_promise_is_kept_for_each_class_over_many_draws() -> None:
    low, high = binom.ppf([1e-6, 1 - 1e-6], DRAWS, 1 - ERROR)
    count = times_kept()
    assert (low <= count).all()
    assert (count <= high).all()  # and no more is given away than was promised


def test_files_instead_of_groups_would_break_the_promise() -> None:
    assert (times_kept(by_file=True) < binom.ppf(1e-6, DRAWS, 1 - ERROR)).all()


def test_what_chance_explains_is_counted_exactly() -> None:
    """Of n + m groups in random order, the chance of x new ones before the r-th old, summed."""
    for behind, groups, error in ((29, 46, 0.1), (41, 10, 0.05), (146, 164, 0.2)):
        rank = int(Fraction(str(error)) * (behind + 1))
        ways = [
            comb(x + rank - 1, x) * comb(groups - x + behind - rank, groups - x)
            for x in range(groups + 1)
        ]
        share, most = Fraction(0), -1
        while share < Fraction(str(SURE)):
            most += 1
            share += Fraction(ways[most], comb(groups + behind, groups))
        assert limit(groups, behind, error) == pytest.approx(most / groups)
    assert limit(100, needed(0.05) - 1, 0.05) == 0
    assert limit(0, 100, 0.05) == 0


def test_a_class_with_too_few_groups_is_never_ruled_out() -> None:
    random = np.random.default_rng(3)
    for error, least in ((0.05, 19), (0.1, 9), (0.01, 99), (0.3, 3), (0.5, 1)):
        assert needed(error) == least
        enough = thresholds(*heads(2 * least, random), error)
        assert (enough > 0).all()
        few = heads(2 * least - 1, random)  # one less of the second class
        assert (thresholds(*few, error) > 0).tolist() == [True, False]
    assert kept([[1.0, 0.0]], [0.5, 0.0]).all()


@pytest.mark.parametrize("error", [0.0, 1.0, -0.1, float("nan")])
def test_an_impossible_promise_is_refused(error: float) -> None:
    with pytest.raises(RecipeError, match="expected a share between 0 and 1"):
        thresholds(*heads(40, np.random.default_rng(0)), error)


def test_of_two_classes_a_temperature_changes_no_verdict() -> None:
    random = np.random.default_rng(4)
    labels, _, groups = heads(80, random)
    logits = random.normal(0, 2, (len(labels), 2)) + 2 * np.eye(2)[labels]
    new = random.normal(0, 3, (500, 2))
    verdicts = [
        decided(kept(softmax(new / t, 1), thresholds(labels, softmax(logits / t, 1), groups, 0.1)))
        for t in (0.5, 1.0, 2.0, temperature(logits, labels, groups))
    ]
    assert {-1, 0, 1} == set(verdicts[0].tolist())
    assert all(np.array_equal(verdicts[0], other) for other in verdicts[1:])


@pytest.mark.parametrize(
    ("left", "classes", "told"),
    [
        ((True, False), ("tumour", "healthy"), ("tumour", "")),
        ((True, True), ("tumour", "healthy"), (UNCERTAIN, "either is possible")),
        ((False, False), ("tumour", "healthy"), (UNCERTAIN, "unlike either class")),
        ((False, True, False), ("a", "b", "c"), ("b", "")),
        ((True, False, True), ("a", "b", "c"), (UNCERTAIN, "possible: a, c")),
        ((False, False, False), ("a", "b", "c"), (UNCERTAIN, "unlike any class")),
    ],
)
def test_the_verdict_is_the_one_class_left_or_says_why_not(
    left: tuple[bool, ...], classes: tuple[str, ...], told: tuple[str, str]
) -> None:
    assert verdict(left, classes) == told
    assert int(decided(np.array([left]))[0]) == (left.index(True) if told[1] == "" else -1)


def value_of(score: Score) -> float:
    assert score.value is not None
    return score.value


def by_hand() -> Triage:
    """Six groups under thresholds of 0.4: shares that can be counted on fingers."""
    ill = [0.9, 0.9, 0.3, 0.5, 0.8, 0.1, 0.2, 0.55]
    labels = [0, 0, 0, 0, 1, 1, 1, 1]
    groups = [0, 1, 1, 2, 3, 4, 4, 5]
    told = (labels, np.stack([ill, 1 - np.array(ill)], 1), groups)
    return triage(
        *told,
        Calibration(0.05, 1.0, (0.4, 0.4), (40, 40)),
        classes=("ill", "well"),
        positive="ill",
        fitted_on=told,
        resamples=50,
    )


def test_outcomes_count_every_group_once() -> None:
    found = by_hand()
    ill, well = found.classes["ill"], found.classes["well"]
    assert (ill.groups, well.groups) == (3, 3)
    # ill: one decided; one half right, half wrong; one for which either is possible
    assert (ill.right.value, ill.wrong.value, ill.uncertain.value) == pytest.approx(
        (0.5, 1 / 6, 1 / 3)
    )
    assert ill.ruled_out.value == pytest.approx(1 / 3)  # its worst copy speaks for a group
    assert (well.right.value, well.wrong.value) == pytest.approx((1 / 3, 1 / 3))
    assert found.uncertain.value == pytest.approx(1 / 3)
    assert found.missed.value == pytest.approx(0.25)  # of the two ill groups that are decided
    assert found.unlike.value == 0
    for one in (ill, well):
        assert one.right.low is not None
        assert one.broken == (value_of(one.ruled_out) > one.limit)


def test_the_curve_holds_what_each_promise_costs() -> None:
    random = np.random.default_rng(5)
    fitted, new = heads(400, random), heads(300, random)
    how: dict[str, Any] = {"classes": ("ill", "well"), "positive": "ill", "resamples": 0}
    found = triage(*new, Calibration(0.1, 1.0, (0, 0), (200, 200)), fitted_on=fitted, **how)
    for point in found.curve:
        limits = tuple(thresholds(*fitted, point.error).tolist())
        alone = triage(
            *new, Calibration(point.error, 1.0, limits, (200, 200)), fitted_on=fitted, **how
        )
        assert point.uncertain == alone.uncertain
        assert point.unlike == alone.unlike
        out = [value_of(one.ruled_out) for one in alone.classes.values()]
        assert value_of(point.wrong) <= max(out)
        assert not any(one.broken for one in alone.classes.values())
    assert found.uncertain.value == 1.0  # where nothing is ruled out


def test_a_triage_survives_json() -> None:
    found = by_hand()
    assert Triage.from_json(json.loads(json.dumps(dataclasses.asdict(found)))) == found
