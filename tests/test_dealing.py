"""Labels dealt at random: copies agree, counts stay, nothing of the truth is left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from clearhead.model.dealing import dealt
from clearhead.model.launch import launch
from clearhead.model.train import Training, train
from clearhead.types import Recipe, silent
from oracles import disc_folder


def test_copies_get_one_label_and_the_groups_of_each_class_stay_as_many() -> None:
    random = np.random.default_rng(0)
    groups = random.integers(0, 60, 400) * 7  # numbers with gaps
    truth = random.integers(0, 3, 60 * 7)[groups]
    found = dealt(truth, groups, seed=5)
    given = {group: set(found[groups == group].tolist()) for group in np.unique(groups)}
    assert all(len(labels) == 1 for labels in given.values())
    before = [truth[groups == group][0] for group in given]
    after = [labels.pop() for labels in given.values()]
    assert sorted(before) == sorted(after)
    assert before != after


def test_dealt_labels_tell_nothing_of_the_true_ones() -> None:
    truth = np.repeat([0, 1], 5000)
    found = dealt(truth, np.arange(10000), seed=1)
    assert abs(np.corrcoef(truth, found)[0, 1]) < 0.04  # four standard errors


def test_the_seed_decides() -> None:
    truth, groups = np.arange(50) % 2, np.arange(50)
    assert np.array_equal(dealt(truth, groups, 3), dealt(truth, groups, 3))
    assert not np.array_equal(dealt(truth, groups, 3), dealt(truth, groups, 4))


def test_a_group_that_disagrees_gets_the_label_of_most_of_its_rows() -> None:
    labels, groups = np.array([1, 1, 0]), np.array([4, 4, 4])
    assert dealt(labels, groups, 0).tolist() == [1, 1, 1]


def test_training_deals_the_labels_of_both_its_parts_and_of_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))
    manifest = disc_folder(tmp_path / "discs", counts=(24, 8, 2), side=32)
    recipe = Recipe(size_px=32, epochs=1, batch=8, random_labels=True)
    fabric = launch(device="cpu", precision="32-true")
    training = Training(fabric, manifest, recipe, tmp_path / "one", silent)
    for split, part in training.parts.items():
        truth = torch.from_numpy(manifest.part(split).labels())
        assert not torch.equal(part.labels, truth)
        assert torch.equal(part.labels.sort().values, truth.sort().values)
    run = train(manifest, recipe, tmp_path / "run")
    assert run.recipe.random_labels
    assert run.manifest().part("train").labels().tolist() == [0, 1] * 12
