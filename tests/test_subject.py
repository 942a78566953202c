"""The subject of an audit: what it holds agrees with what it was made from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from clearhead.audits.subject import BATCH, Subject, subject_of
from clearhead.data.cache import pictures
from clearhead.data.canvas import Grid, Placement, lift, on_square, place
from clearhead.data.drawn import draw_mask, drawn
from clearhead.data.read import read
from clearhead.errors import ManifestError, ReadError, RecipeError
from clearhead.types import Manifest
from oracles import disc_folder
from subjects import explained, looking, planted_subject

SIDE = 48


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Manifest:
    """Discs of 64 pixels; the brightest pixels of each `spot` are its mask."""
    rows = disc_folder(tmp_path / "discs", counts=(4, 0, 10))
    masks: list[str | None] = []
    for source, label in zip(rows.column("source"), rows.column("label"), strict=True):
        masks.append(_written_mask(rows.root, source) if label == "spot" else None)
    return rows.with_columns(mask=masks).part("test")


def _written_mask(root: Path, source: str) -> str:
    pixels = np.asarray(Image.open(root / source))
    path = root / "masks" / source
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(((pixels > 150) * 255).astype(np.uint8)).save(path)
    return str(path)


def made(folder: Manifest, fit: str = "stretch") -> Subject:
    return subject_of(
        looking("everything"), folder, classes=("plain", "spot"), fit=fit, size_px=SIDE, resamples=0
    )


# --- Subject --------------------------------------------------------------------------------


@pytest.mark.parametrize("fit", ["stretch", "canvas"])
def test_it_holds_what_the_net_sees_and_says(folder: Manifest, fit: str) -> None:
    subject = made(folder, fit)
    assert np.array_equal(subject.squares, pictures(folder, fit=fit, size_px=SIDE))
    maps, logits = explained(subject.classifier, subject.squares, 2)
    assert subject.evidence == pytest.approx(maps, abs=1e-5)
    assert subject.logits == pytest.approx(logits, abs=1e-5)
    assert subject.predict(subject.squares) == pytest.approx(logits, abs=1e-5)
    odds = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert subject.probabilities == pytest.approx(odds, abs=1e-5)
    assert subject.calls.tolist() == logits.argmax(1).tolist()
    assert subject.right.tolist() == (subject.calls == subject.labels).tolist()
    assert np.unique(subject.regions).max() <= 2
    truth = drawn(folder, fit=fit, size_px=SIDE)
    assert np.array_equal(subject.drawn.masks, truth.masks)


def test_the_temperature_changes_probabilities_alone(folder: Manifest) -> None:
    judge = looking("everything")
    judge.temperature.fill_(3.0)
    cold = made(folder)
    warm = subject_of(judge, folder, classes=("plain", "spot"), fit="stretch", size_px=SIDE)
    assert warm.logits == pytest.approx(cold.logits)
    assert warm.probabilities.max() < cold.probabilities.max()


def test_the_tumour_is_the_class_named_like_disease(folder: Manifest) -> None:
    ill = subject_of(
        looking(),
        dataclasses.replace(
            folder.with_columns(label=["tumour", "healthy"] * 5), classes=("healthy", "tumour")
        ),
        classes=("healthy", "tumour"),
        fit="stretch",
        size_px=SIDE,
    )
    assert ill.positive == 1
    with pytest.raises(ManifestError, match="expected one of"):
        subject_of(
            looking(), folder, classes=("plain", "spot"), fit="stretch", size_px=48, positive="x"
        )


def test_what_is_unknown_is_an_error(folder: Manifest) -> None:
    wrong: Any
    for wrong in ({"method": "no_cam"}, {"score": "odds"}, {"maker": "nobody"}):
        with pytest.raises(RecipeError):
            subject_of(
                looking(), folder, classes=("plain", "spot"), fit="stretch", size_px=48, **wrong
            )


def test_heat_is_the_positive_part_on_the_square() -> None:
    subject = planted_subject()
    rows, targets = np.array([3, 0, 7]), np.array([0, 1, 1])
    heat = subject.heat(rows, targets)
    for found, row, target in zip(heat, rows, targets, strict=True):
        positive = np.maximum(subject.evidence[row, target], 0)[None]
        assert np.array_equal(found, on_square(positive, subject.grid, SIDE)[0])
        assert found == pytest.approx(_bilinear(positive[0], subject.grid, SIDE), abs=1e-3)
    assert heat.min() >= 0


def _bilinear(cells: NDArray[np.float32], grid: Grid, side: int) -> NDArray[np.float64]:
    """Linear interpolation between cell centres, by numpy's, one axis after the other."""
    centres = grid.offset_px + grid.stride_px * np.arange(len(cells))
    pixels = np.arange(side)
    down = np.stack([np.interp(pixels, centres, column) for column in cells.T], 1)
    return np.stack([np.interp(pixels, centres, row) for row in down])


def test_batches_go_over_every_row_once() -> None:
    subject = planted_subject(count=6)
    rows = np.arange(5, 5 + 2 * BATCH + 3)
    parts = list(subject.batches(rows, "rows"))
    assert np.concatenate(parts).tolist() == rows.tolist()
    assert [len(part) for part in parts] == [BATCH, BATCH, 3]
    assert list(subject.batches(rows[:0], "rows")) == []


# --- On the square --------------------------------------------------------------------------


def test_a_map_of_the_squares_own_size_is_itself() -> None:
    maps = np.random.default_rng(0).random((3, 20, 20)).astype(np.float32)
    assert np.array_equal(on_square(maps, Grid(0.0, 1.0), 20), maps)


def test_the_value_at_a_cells_centre_is_the_cells() -> None:
    maps = np.random.default_rng(1).random((2, 20, 20)).astype(np.float32)
    square = on_square(maps, Grid(0.0, 8.0), 160)
    assert square[:, ::8, ::8] == pytest.approx(maps)
    assert (square[:, 152:, :] == square[:, 152:153, :]).all()  # beyond the last centre


def test_on_square_is_lift_where_picture_and_square_are_one() -> None:
    heat = np.random.default_rng(2).random((12, 12)).astype(np.float32)
    whole = Placement("stretch", (SIDE, SIDE), SIDE, (0, 0, SIDE, SIDE), (0, 0, SIDE, SIDE))
    grid = Grid(1.5, 4.0)
    assert np.array_equal(on_square(heat[None], grid, SIDE)[0], lift(heat, grid, whole))


def test_lift_samples_the_square_within_the_box(folder: Manifest) -> None:
    """A picture drawn at its own scale: lifted heat is the heat of the square, moved."""
    scan = read(folder.root / folder.column("source")[0])
    placement = place(scan, fit="canvas", size_px=SIDE)
    top, left, bottom, right = placement.box
    exact = dataclasses.replace(
        placement,
        size_px=64,
        target=(3, 2, 3 + bottom - top, 2 + right - left),
    )
    heat = np.random.default_rng(4).random((16, 16)).astype(np.float32)
    grid = Grid(1.5, 4.0)
    lifted, square = lift(heat, grid, exact), on_square(heat[None], grid, 64)[0]
    inside = lifted[top:bottom, left:right]
    assert inside == pytest.approx(square[3 : 3 + bottom - top, 2 : 2 + right - left], abs=1e-6)
    lifted[top:bottom, left:right] = 0
    assert not lifted.any()


def test_the_peak_comes_back_to_the_same_place() -> None:
    """From the picture to the square and back, a bright spot stays where it was."""
    box, target = (10, 20, 170, 180), (0, 0, 80, 80)
    placement = Placement("canvas", (200, 220), 80, box, target)
    mask = np.zeros((200, 220), bool)
    mask[98:106, 60:68] = True
    square = draw_mask(mask, placement).astype(np.float32)
    back = lift(square, Grid(0.0, 1.0), placement)
    rows, columns = np.nonzero(back > 0.5)
    assert rows.mean() == pytest.approx(101.5, abs=1)
    assert columns.mean() == pytest.approx(63.5, abs=1)
    assert np.count_nonzero(back > 0.5) == pytest.approx(mask.sum(), rel=0.3)


# --- Masks ----------------------------------------------------------------------------------


def test_a_mask_is_marked_where_half_of_a_pixel_is() -> None:
    mask = np.random.default_rng(5).random((90, 60)) < 0.5
    placement = Placement("stretch", (90, 60), 30, (0, 0, 90, 60), (0, 0, 30, 30))
    shares = mask.reshape(30, 3, 30, 2).mean((1, 3))
    assert np.array_equal(draw_mask(mask, placement), shares >= 0.5)


def test_a_tiny_mask_keeps_a_pixel_and_none_stays_none() -> None:
    placement = Placement("stretch", (100, 100), 10, (0, 0, 100, 100), (0, 0, 10, 10))
    mask = np.zeros((100, 100), bool)
    assert not draw_mask(mask, placement).any()
    mask[42, 77] = True
    assert np.argwhere(draw_mask(mask, placement)).tolist() == [[4, 7]]


def test_what_lies_outside_the_box_is_not_drawn() -> None:
    placement = Placement("canvas", (40, 40), 20, (10, 10, 30, 30), (0, 0, 20, 20))
    mask = np.zeros((40, 40), bool)
    mask[:9] = True
    assert not draw_mask(mask, placement).any()
    mask[12:15, 14:20] = True
    assert np.argwhere(draw_mask(mask, placement)).min(0).tolist() == [2, 4]


def test_masks_stand_where_the_spot_is_drawn(folder: Manifest) -> None:
    truth = drawn(folder, fit="canvas", size_px=SIDE)
    squares = pictures(folder, fit="canvas", size_px=SIDE)
    spots = folder.column("label") == "spot"
    assert truth.masked.tolist() == spots.tolist()
    for square, mask in zip(squares[spots], truth.masks[spots], strict=True):
        assert square[mask].mean() > 1.5 * square[~mask & (square > 0)].mean()
    assert not truth.masks[~spots].any()
    assert np.isnan(truth.spacing_mm).all()


def test_a_mask_of_another_size_is_an_error(folder: Manifest) -> None:
    path = next(name for name in folder.column("mask") if name)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(path)
    with pytest.raises(ReadError, match="9×9 pixels"):
        drawn(folder, fit="canvas", size_px=SIDE)


def test_predicting_keeps_no_gradient() -> None:
    subject = planted_subject(count=4)
    subject.predict(subject.squares)
    assert all(weight.grad is None for weight in subject.classifier.parameters())
    assert torch.is_grad_enabled()
