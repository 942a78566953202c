"""The nouns: manifests as values, recipes that refuse the impossible."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearhead.errors import ManifestError, RecipeError
from clearhead.types import PRESETS, Manifest, Recipe
from oracles import manifest_of


def three_rows() -> Manifest:
    return manifest_of(
        Path("x"),
        ("a", "b"),
        source=["1.png", "2.png", "3.png"],
        label=["a", None, "b"],
        error=[None, None, "broken"],
        split=["train", "train", None],
    )


def test_parts_hold_readable_labelled_rows() -> None:
    manifest = three_rows()
    assert list(manifest.part("train").column("source")) == ["1.png"]
    assert list(manifest.readable().column("source")) == ["1.png", "2.png"]
    with pytest.raises(ManifestError, match="no test rows"):
        manifest.part("test")
    with pytest.raises(ManifestError, match="no split is called"):
        manifest.part("exam")


def test_rows_are_taken_by_mask_or_place() -> None:
    manifest = three_rows()
    assert list(manifest.take(np.array([True, False, True])).column("source")) == ["1.png", "3.png"]
    assert list(manifest.take([2, 0]).column("source")) == ["3.png", "1.png"]
    assert len(manifest.take([])) == 0


def test_columns_are_replaced_in_a_new_manifest() -> None:
    manifest = three_rows()
    changed = manifest.with_columns(split=["test", None, None], group=np.array([4, 4, 5]))
    assert list(changed.column("split")) == ["test", None, None]
    assert list(changed.groups()) == [4, 4, 5]
    assert list(manifest.column("split")) == ["train", "train", None]
    assert list(manifest.groups()) == [0, 1, 2]
    with pytest.raises(ManifestError, match="no column 'colour'"):
        manifest.column("colour")


def test_labels_are_places_in_classes() -> None:
    manifest = three_rows()
    assert manifest.take([0, 2]).labels().tolist() == [0, 1]
    with pytest.raises(ManifestError, match="none of its classes"):
        manifest.labels()


def test_presets_are_the_reports_settings_and_ours() -> None:
    report = Recipe.preset("report")
    assert (report.net, report.fit, report.size_px) == ("report", "stretch", 256)
    assert (report.epochs, report.batch, report.optimiser) == (15, 64, "adam")
    assert (report.dropout, report.augment, report.weights) == (0.5, False, "last")
    assert Recipe.preset("compact") == Recipe(progressive=0.5)
    assert Recipe.preset("compact", epochs=3).epochs == 3
    with pytest.raises(RecipeError, match="no preset is called 'huge'"):
        Recipe.preset("huge")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_recipe_survives_json(preset: str) -> None:
    recipe = Recipe.preset(preset)
    assert Recipe.of(json.loads(json.dumps(dataclasses.asdict(recipe)))) == recipe


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": 0}, "at least 1"),
        ({"epochs": 2.5}, "expected int"),
        ({"epochs": True}, "expected int"),
        ({"learning_rate": "fast"}, "expected float"),
        ({"learning_rate": float("nan")}, "at least 0"),
        ({"net": "vgg"}, "expected compact or evidence or report"),
        ({"dropout": 1.0}, "below 1"),
        ({"size_px": 8}, "at least 32"),
        ({"colour": "red"}, "no setting 'colour'"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words) as caught:
        Recipe.of(settings)
    assert "\n" not in str(caught.value)


def test_whole_numbers_serve_as_floats() -> None:
    assert Recipe.of({"learning_rate": 1}).learning_rate == 1
