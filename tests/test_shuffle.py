"""Random labels: at chance across an honest split, learnt across one that parts copies."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clearhead.audits.material import Material
from clearhead.audits.section import Section
from clearhead.audits.shuffle import nearest, split_sanity, with_copy_in_training
from clearhead.data.contrast import TURNS, local_contrast, turned
from clearhead.data.split import split
from oracles import manifest_of

TWO = ("healthy", "tumour")


def pictures(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Blotches, each of its own, (n, 64, 64)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 12, 12)).astype(np.float64)
    grown = np.repeat(np.repeat(coarse, 6, axis=1), 6, axis=2)[:, :64, :64]
    drawn: NDArray[np.uint8] = grown.astype(np.uint8)
    return drawn


def copied(count: int, times: int) -> tuple[NDArray[np.uint8], list[int]]:
    """Each picture `times` over, turned in another way each time, and its group."""
    plain = pictures(count)
    every = [turned(plain[n // times], n % times % TURNS) for n in range(count * times)]
    return np.stack(every), [n // times for n in range(count * times)]


def section(
    thumbnails: NDArray[np.uint8],
    groups: list[int],
    protocol: str | None,
    classes: tuple[str, ...] = TWO,
    **columns: Any,
) -> Section:
    count = len(groups)
    manifest = manifest_of(
        Path(),
        classes,
        **{
            "source": [f"{number:04d}.png" for number in range(count)],
            "label": [classes[group % len(classes)] for group in groups],
            "group": groups,
            "copy": groups,
            **columns,
        },
    )
    if protocol:
        manifest = split(manifest, protocol=protocol)
    return split_sanity(Material(manifest, thumbnails, np.zeros(1), resamples=50))


def test_a_split_that_parts_copies_lets_random_labels_be_learnt() -> None:
    (found,) = section(*copied(60, 5), "report").findings
    assert (found.check, found.level) == ("split.shuffle", "fail")
    assert found.value is not None
    assert found.value > 0.95
    assert found.limit == 0.5
    assert len(found.sources) > 80
    assert "split by groups" in found.message


def test_a_split_by_groups_leaves_them_at_chance() -> None:
    (found,) = section(*copied(60, 5), "group").findings
    assert (found.check, found.level) == ("split.shuffle", "info")
    assert found.interval is not None
    assert found.interval[0] < 0.5 < found.interval[1]
    assert found.sources == ()


def test_a_set_without_copies_is_at_chance_however_split() -> None:
    (found,) = section(pictures(120), list(range(120)), "report").findings
    assert found.level == "info"


def test_accuracy_is_what_memory_and_chance_make() -> None:
    """Right for every test file with a copy in training, else as often as the coin says."""
    found = section(*copied(100, 2), "report")
    (finding,) = found.findings
    share = len(finding.sources) / 60
    assert finding.value == pytest.approx(share + (1 - share) / 2, abs=0.02)


def test_three_classes_have_their_own_chance() -> None:
    (found,) = section(*copied(60, 2), "group", ("a", "b", "c")).findings
    assert found.limit == pytest.approx(1 / 3)
    assert found.value == pytest.approx(1 / 3, abs=0.05)


def test_pairs_shown_are_of_one_group() -> None:
    thumbnails, groups = copied(60, 5)
    found = section(thumbnails, groups, "report")
    (sheet,) = found.sheets
    for strip in sheet.strips:
        test, train = (tile.row for tile in strip.tiles)
        assert test != train
        assert groups[test] == groups[train]
    assert found.findings[0].figure == found.dots[0].name


def test_nearest_is_that_of_all_correlations() -> None:
    """Literal version: the whole of the local contrast, in every turn."""
    thumbnails, _ = copied(40, 3)
    rows = np.random.default_rng(0).permutation(120)
    train, test = rows[:80], rows[80:]
    contrast = local_contrast(thumbnails).astype(np.float64)
    slow = []
    for row in test:
        scores = [
            max(float((turned(contrast[row], turn) * contrast[other]).sum()) for turn in range(8))
            for other in train
        ]
        slow.append(int(np.argmax(scores)))
    same = (train[nearest(thumbnails, train, test)] // 3) == (train[slow] // 3)
    held = np.isin(test // 3, train // 3)
    assert same[held].all()


def test_of_many_test_files_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clearhead.audits.shuffle.MOST_TESTED", 20)
    found = section(*copied(60, 2), "group")
    assert found.dots[0].note.startswith("20 test files, drawn from 36;")


def test_unlabelled_and_set_aside_rows_take_no_part() -> None:
    thumbnails, groups = copied(60, 2)
    labels = [None if group < 10 else TWO[group % 2] for group in groups]
    found = section(thumbnails, groups, "report", label=labels)
    assert found.dots[0].note.startswith("30 test files;")


@pytest.mark.parametrize("protocol", ["group", "report"])
def test_same_seed_same_section(protocol: str) -> None:
    rows = copied(30, 2)
    assert section(*rows, protocol) == section(*rows, protocol)


# --- Without a split ------------------------------------------------------------------------


def test_without_a_split_says_what_chance_would_do() -> None:
    thumbnails, groups = copied(30, 4)
    found = section(thumbnails, groups, None)
    (finding,) = found.findings
    assert (finding.check, finding.level) == ("split.missing", "info")
    assert finding.value == pytest.approx(1 - 0.3**3, abs=0.02)
    assert finding.figure == found.tables[0].name


def test_with_copy_in_training_is_what_drawing_gives() -> None:
    sizes = np.array([1] * 30 + [2] * 10 + [5] * 6 + [40])
    member = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(2000):
        order = rng.permutation(len(member))
        test, train = order[: round(0.3 * len(member))], order[round(0.3 * len(member)) :]
        shares.append(np.isin(member[test], member[train]).mean())
    assert with_copy_in_training(sizes, 0.3) == pytest.approx(np.mean(shares), abs=0.005)


def test_without_copies_none_is_in_training() -> None:
    assert with_copy_in_training(np.ones(50, dtype=np.int64), 0.3) == 0.0
    assert with_copy_in_training(np.array([1]), 0.3) == 0.0


def test_no_labelled_row_and_one_class() -> None:
    (found,) = section(pictures(4), [0, 1, 2, 3], None, label=[None] * 4).findings
    assert found.level == "info"
    (found,) = section(pictures(40), list(range(40)), "report", ("only",)).findings
    assert found.check == "split.missing"


@pytest.mark.parametrize("protocol", ["report", None])
def test_findings_are_plain_values(protocol: str | None) -> None:
    found = section(*copied(30, 3), protocol)
    assert json.loads(json.dumps(dataclasses.asdict(found), allow_nan=False))["findings"]
