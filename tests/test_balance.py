"""Balance: counted per distinct picture and per file, and what a test on it can show."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearhead.audits.balance import WIDE, balance
from clearhead.audits.material import Material
from clearhead.audits.section import Section
from clearhead.measure.precision import half_width
from clearhead.types import Finding
from oracles import manifest_of

TWO = ("healthy", "tumour")


def section(
    labels: Sequence[str | None],
    groups: Sequence[int],
    classes: tuple[str, ...] = TWO,
    **columns: Any,
) -> Section:
    manifest = manifest_of(
        Path(),
        classes,
        source=[f"{number}.png" for number in range(len(labels))],
        label=labels,
        group=groups,
        **columns,
    )
    return balance(Material(manifest, np.zeros((len(labels), 64, 64), np.uint8), np.zeros(1)))


def finding(section: Section, check: str) -> Finding:
    (found,) = [found for found in section.findings if found.check == check]
    return found


def many(healthy: int, tumour: int) -> tuple[list[str], list[int]]:
    labels = ["healthy"] * healthy + ["tumour"] * tumour
    return labels, list(range(healthy + tumour))


def test_even_classes_are_no_matter() -> None:
    found = section(*many(300, 300))
    assert [each.level for each in found.findings] == ["info"] * 3


@pytest.mark.parametrize(("healthy", "level"), [(100, "info"), (99, "warn")])
def test_more_than_three_to_one_warns(healthy: int, level: str) -> None:
    found = finding(section(*many(healthy, 300)), "balance.classes")
    assert found.level == level
    assert found.value == pytest.approx(300 / healthy)


def test_pictures_count_and_not_files() -> None:
    """Healthy files are as many as the tumours', but of a tenth of the pictures."""
    labels = ["tumour"] * 200 + ["healthy"] * 200
    found = section(labels, [*range(200), *(1000 + n // 10 for n in range(200))])
    classes = finding(found, "balance.classes")
    assert classes.level == "warn"
    assert classes.value == pytest.approx(10)
    assert "20 healthy and 200 tumour distinct pictures" in classes.message
    table = {row[0]: row for row in found.tables[0].rows}
    assert table["healthy"][1:6] == (20, 9.1, 200, 50.0, 10.0)


def test_a_group_counts_for_its_commonest_class() -> None:
    found = section(["tumour", "tumour", "healthy", "healthy"], [1, 1, 1, 2])
    assert [row[1] for row in found.tables[0].rows] == [1, 1]


def test_the_test_split_is_what_is_judged() -> None:
    labels, groups = many(200, 200)
    splits = ["test" if n % 200 < 59 else "train" for n in range(400)]
    found = finding(section(labels, groups, split=splits), "balance.test")
    assert found.value == pytest.approx(half_width(59))
    assert "With the 59 distinct healthy pictures that the test split holds" in found.message
    assert "a specificity of 80 %" in found.message
    assert "±10 points" in found.message


def test_without_a_split_a_test_of_thirty_per_cent_is_judged() -> None:
    found = finding(section(*many(100, 200)), "balance.test")
    assert "With the 30 distinct healthy pictures that a test of 30 % would hold" in found.message
    assert found.level == "warn"
    assert found.value is not None
    assert found.value > WIDE
    assert "test on 60 or more" in found.message


def test_the_rarer_class_may_be_the_disease() -> None:
    assert "a sensitivity of 80 %" in finding(section(*many(200, 100)), "balance.test").message


def test_several_classes() -> None:
    labels = ["a"] * 200 + ["b"] * 200 + ["c"] * 20
    found = section(labels, list(range(420)), ("a", "b", "c"))
    assert finding(found, "balance.classes").value == pytest.approx(10)
    assert "sensitivity for c" in finding(found, "balance.test").message


def test_a_class_without_pictures_is_named() -> None:
    found = finding(section(*many(50, 0)), "balance.classes")
    assert found.level == "warn"
    assert "No picture is labelled tumour" in found.message


def test_patients_and_the_largest_group() -> None:
    labels, _ = many(60, 60)
    patients = [f"p{n // 3}" for n in range(60)] + [f"p{n // 30}" for n in range(60)]
    found = finding(
        section(labels, [int(name[1:]) for name in patients], patient=patients),
        "balance.patients",
    )
    assert found.level == "warn"
    assert "20 patients" in found.message
    assert "2 of them with pictures of several classes" in found.message
    assert len(found.sources) == 33
    assert found.value == pytest.approx(33 / 120)


def test_slices_of_one_patient_are_not_independent() -> None:
    labels, _ = many(200, 200)
    patients = [f"p{number // 10}" for number in range(400)]
    groups = [number // 10 for number in range(400)]
    found = finding(section(labels, groups, patient=patients), "balance.test")
    assert "With the 6 healthy patients that a test of 30 % would hold" in found.message
    assert found.value == pytest.approx(half_width(6))


def test_unknown_patients_are_said_to_be_unknown() -> None:
    assert "Patients aren't known" in finding(section(*many(9, 9)), "balance.patients").message


def test_rows_without_label_or_set_aside_take_no_part() -> None:
    labels, groups = many(100, 100)
    found = section([*labels, None, "tumour"], [*groups, 900, 901], aside=[None] * 201 + ["junk"])
    assert found == section(labels, groups)


def test_nothing_usable() -> None:
    found = section([None, None], [0, 1])
    assert "There are no labelled pictures" in finding(found, "balance.patients").message


def test_figures_are_those_named() -> None:
    found = section(*many(30, 30))
    parts: list[Any] = [*found.tables, *found.shares]
    names = {part.name for part in parts}
    assert {each.figure for each in found.findings} <= names


def test_splits_are_counted_by_distinct_picture() -> None:
    labels = ["tumour"] * 4 + ["healthy"] * 4
    splits = ["train", "train", "test", None] * 2
    found = section(labels, [0, 0, 1, 2, 3, 3, 4, 5], split=splits)
    assert found.shares[0].rows == (("train", (1, 1)), ("test", (1, 1)), ("no split", (1, 1)))


def test_findings_are_plain_values() -> None:
    found = section(*many(30, 30))
    assert json.loads(json.dumps(dataclasses.asdict(found), allow_nan=False))["tables"]
