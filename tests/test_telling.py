"""Rules in words: planted ones are found and counted right, and luck is not taken for one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clearhead.errors import ManifestError
from clearhead.measure.precision import wilson
from clearhead.measure.telling import Condition, Rule, rules

TWO = ("tumour", "healthy")
OTHERS = np.array(["256×256", "230×200"], dtype=object)
WORDS = {name: name for name in ("size", "mode", "format", "level", "exif", "noise")}


def telling(*what: Any) -> Rule | None:
    """The most telling rule, if any."""
    return next(iter(rules(*what)), None)


def files(count: int = 400, *, seed: int = 0) -> tuple[dict[str, Any], Any, Any]:
    """Facts that know nothing of the class; every picture once."""
    rng = np.random.default_rng(seed)
    return (
        {
            "size": np.array(["256×256", "512×512", "230×200"], object)[rng.integers(0, 3, count)],
            "mode": np.array(["L", "RGB"], object)[rng.integers(0, 2, count)],
            "level": rng.normal(50, 10, count),
        },
        rng.permutation(np.arange(count) % 2),
        np.arange(count),
    )


def test_a_planted_size_is_the_most_telling_fact() -> None:
    columns, labels, groups = files()
    size = np.where(labels == 0, "512×512", OTHERS[groups % 2]).astype(object)
    rule = telling({**columns, "size": size}, WORDS, labels, groups, TWO)
    assert rule is not None
    assert rule.conditions == (Condition("size", "is", "512×512"),)
    assert (rule.label, rule.words) == ("tumour", "size 512×512")


def test_a_planted_threshold_is_found_near_its_place() -> None:
    columns, labels, groups = files()
    level = columns["level"] + 60 * labels
    rule = telling({"level": level, "mode": columns["mode"]}, WORDS, labels, groups, TWO)
    assert rule is not None
    (condition,) = rule.conditions
    assert condition.column == "level"
    assert 60 < condition.value < 100
    assert rule.share > 0.97


def test_two_conditions_where_only_both_tell() -> None:
    columns, labels, groups = files(800)
    both = (columns["size"] == "512×512") & (columns["mode"] == "L")
    own = np.where(both, 0, labels)
    best = telling(columns, WORDS, own, groups, TWO)
    assert best is not None
    assert {each.column for each in best.conditions} == {"size", "mode"}
    assert best.share == 1.0
    assert " and " in best.words


def test_numbers_are_those_of_the_other_half_counted_by_hand() -> None:
    """The two halves partition the pictures: rule counts can't exceed half of them."""
    _, labels, groups = files()
    size = np.where(labels == 0, "512×512", OTHERS[groups % 2]).astype(object)
    rule = telling({"size": size}, WORDS, labels, groups, TWO)
    assert rule is not None
    held = size == "512×512"
    assert rule.pictures < held.sum() * 0.65
    assert rule.right == rule.files_right  # each picture once
    assert rule.interval == wilson(rule.right, rule.pictures)
    assert rule.base == pytest.approx(0.5, abs=0.08)
    assert abs(rule.share - labels[held].tolist().count(0) / held.sum()) < 0.08


def test_copies_count_once_as_pictures() -> None:
    _, labels, groups = files(200)
    mode = np.where(labels == 1, "P", "L").astype(object)
    rule = telling(
        {"mode": np.repeat(mode, 5)}, WORDS, np.repeat(labels, 5), np.repeat(groups, 5), TWO
    )
    assert rule is not None
    assert rule.files == 5 * rule.pictures
    assert rule.sentence.startswith("100 % of the distinct pictures with mode ")


def test_luck_is_seldom_taken_for_a_rule() -> None:
    """Of many meaningless columns the best looks telling where it was found, not elsewhere."""
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        columns = {f"noise {n}": rng.normal(size=200) for n in range(20)}
        words = {name: name for name in columns}
        labels = rng.permutation(np.arange(200) % 2)
        found += telling(columns, words, labels, np.arange(200), TWO) is not None
    assert found <= 3


def test_several_classes_each_have_rules() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 600)
    formats = np.array(["JPEG", "PNG", "TIFF"], object)[labels]
    given = rules({"format": formats}, WORDS, labels, np.arange(600), ("a", "b", "c"))
    assert {(rule.label, rule.words) for rule in given} == {
        ("a", "format JPEG"),
        ("b", "format PNG"),
        ("c", "format TIFF"),
    }


def test_rules_that_say_the_same_are_given_once() -> None:
    _, labels, groups = files()
    size = np.where(labels == 0, "512×512", "256×256").astype(object)
    twice = {"size": size, "mode": np.where(labels == 0, "L", "RGB").astype(object)}
    given = rules(twice, WORDS, labels, groups, TWO)
    assert sorted(rule.label for rule in given) == ["healthy", "tumour"]


def test_flags_are_said_in_words() -> None:
    _, labels, groups = files()
    given = rules({"exif": labels == 0}, WORDS, labels, groups, TWO)
    assert {rule.words for rule in given} == {"exif", "no exif"}


def test_unknown_values_are_no_rule() -> None:
    _, labels, groups = files()
    mode = np.array([None, "L"], dtype=object)[labels]
    level = np.where(labels == 0, np.nan, 3.0)
    given = rules({"mode": mode, "level": level}, WORDS, labels, groups, TWO)
    assert {rule.label for rule in given} == {"healthy"}


@pytest.mark.parametrize("count", [0, 1, 20])
def test_too_few_pictures_give_no_rule(count: int) -> None:
    columns = {"mode": np.array(["L"] * count, dtype=object)}
    labels = np.arange(count) % 2
    assert telling(columns, WORDS, labels, np.arange(count), TWO) is None


def test_one_class_gives_no_rule() -> None:
    columns, labels, groups = files()
    assert rules(columns, WORDS, np.zeros_like(labels), groups, TWO) == ()


def test_the_order_of_rows_changes_nothing() -> None:
    columns, labels, groups = files()
    columns = {**columns, "level": columns["level"] + 8 * labels}
    order = np.random.default_rng(3).permutation(len(labels))
    other = {name: column[order] for name, column in columns.items()}
    assert rules(columns, WORDS, labels, groups, TWO) == rules(
        other, WORDS, labels[order], groups[order], TWO
    )


def test_nearly_all_is_not_called_all() -> None:
    labels = np.zeros(4000, dtype=np.int64)
    labels[2000:] = 1
    mode = np.where(labels == 0, "L", "RGB").astype(object)
    mode[1995:2000] = "RGB"  # tumours among the RGB: 0.25 %
    given = rules({"mode": mode}, WORDS, labels, np.arange(4000), TWO)
    words = {rule.label: rule.sentence for rule in given}
    assert words["tumour"].startswith("100 %")
    assert words["healthy"].startswith("99.")


def test_columns_that_dont_fit_are_refused() -> None:
    columns, labels, groups = files(40)
    with pytest.raises(ManifestError, match="'size' has no words"):
        rules(columns, {}, labels, groups, TWO)
    with pytest.raises(ManifestError, match="expected \\(39,\\)"):
        rules(columns, WORDS, labels[1:], groups[1:], TWO)
    with pytest.raises(ManifestError, match="groups has 39 rows"):
        rules(columns, WORDS, labels, groups[1:], TWO)
