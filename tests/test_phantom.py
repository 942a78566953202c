"""Generated heads as a folder: repeatable, truthful, and without a leak that wasn't planted."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clearhead.data.phantom import PLANTS, phantom
from clearhead.errors import ManifestError

SMALL = 64
"""Side of the pictures in these tests; the drawing is the same at any size."""


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def pictures(folder: Path) -> set[bytes]:
    return {data for name, data in contents(folder).items() if name.startswith(("Br", "He"))}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phantom(tmp_path_factory.mktemp("heads") / "clean", n=40, seed=5, size_px=SMALL)


def test_the_same_arguments_give_the_same_bytes_whatever_the_workers(
    clean: Path, tmp_path: Path
) -> None:
    for workers in (1, 3):
        again = phantom(tmp_path / str(workers), n=40, seed=5, size_px=SMALL, workers=workers)
        assert contents(again) == contents(clean)


def test_another_seed_gives_other_heads(clean: Path, tmp_path: Path) -> None:
    other = phantom(tmp_path / "other", n=40, seed=6, size_px=SMALL)
    assert not pictures(clean) & pictures(other)


def test_the_folder_holds_pictures_masks_and_truth(clean: Path) -> None:
    truth, masks = rows(clean / "phantom.csv"), rows(clean / "masks.csv")
    assert len(truth) == 40
    assert sum(row["label"] == "Brain Tumor" for row in truth) == 20
    assert [row["image"] for row in masks] == [
        row["image"] for row in truth if row["label"] == "Brain Tumor"
    ]
    for row in truth:
        with Image.open(clean / row["image"]) as picture:
            assert (picture.format, picture.mode, picture.size) == ("PNG", "L", (SMALL, SMALL))
        assert row["image"].startswith(row["label"] + "/")
    pixels = {row["image"]: int(row["tumour_px"]) for row in truth}
    for row in masks:
        mask = np.asarray(Image.open(clean / row["mask"]))
        assert set(np.unique(mask)) == {0, 255}
        assert (mask > 0).sum() == pixels[row["image"]]


def test_a_folder_that_holds_something_is_refused(clean: Path) -> None:
    before = contents(clean)
    with pytest.raises(ManifestError, match="exists already"):
        phantom(clean, n=4, size_px=SMALL)
    assert contents(clean) == before


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    class Interrupted(Exception):
        pass

    def progress(items, *, total=None, label=""):  # type: ignore[no-untyped-def]
        for number, item in enumerate(items):
            if number == 3:
                raise Interrupted
            yield item

    with pytest.raises(Interrupted):
        phantom(tmp_path / "out", n=8, size_px=SMALL, progress=progress)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"plant": "hat"}, "no shortcut is called 'hat': expected corner, border"),
        ({"strength": 1.2}, "strength is 1.2"),
        ({"strength": float("nan")}, "strength is nan"),
        ({"n": 1}, "n is 1"),
        ({"seed": -1}, "seed is -1"),
        ({"size_px": 8}, "size_px is 8"),
        ({"workers": 0}, "workers is 0"),
    ],
)
def test_impossible_arguments_are_one_line(
    tmp_path: Path, wrong: dict[str, object], message: str
) -> None:
    with pytest.raises(ManifestError, match=message) as caught:
        phantom(tmp_path / "out", **wrong)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_set_is_the_clean_one_with_marks(plant: str, clean: Path, tmp_path: Path) -> None:
    out = phantom(tmp_path / plant, n=40, seed=5, size_px=SMALL, plant=plant)
    plain = contents(clean)
    for row in rows(out / "phantom.csv"):
        assert row["marked"] == str(int(row["label"] == "Brain Tumor"))
        same = (out / row["image"]).read_bytes() == plain[row["image"]]
        assert same == (row["marked"] == "0"), row


@pytest.mark.parametrize(("strength", "tumour", "healthy"), [(0.0, 10, 10), (0.6, 16, 4)])
def test_strength_is_the_difference_of_shares(
    tmp_path: Path, strength: float, tumour: int, healthy: int
) -> None:
    out = phantom(tmp_path / "out", n=40, size_px=32, plant="corner", strength=strength)
    found = rows(out / "phantom.csv")
    assert sum(r["marked"] == "1" and r["label"] == "Brain Tumor" for r in found) == tumour
    assert sum(r["marked"] == "1" and r["label"] == "Healthy" for r in found) == healthy
