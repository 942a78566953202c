"""Supervision of evidence maps: covers and losses against literal versions."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from clearhead.data.canvas import Grid
from clearhead.data.index import index
from clearhead.data.phantom import phantom
from clearhead.data.teachers import teachers
from clearhead.errors import RecipeError
from clearhead.measure.scores import absent_class, positive_class
from clearhead.model.augment import draw_variation, vary, vary_masks
from clearhead.model.dense import DOUBT, ELSEWHERE, FILLED, cover, dense_loss, map_loss
from clearhead.model.launch import launch
from clearhead.model.lessons import load_part
from clearhead.model.nets import EvidenceNet
from clearhead.model.train import Training, train
from clearhead.types import Recipe, silent
from oracles import disc_folder


def test_a_cover_is_the_share_of_the_cell_around_its_centre() -> None:
    masks = (torch.rand(2, 40, 40, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    found = cover(masks, Grid(0.0, 8.0), (5, 5))
    assert found.shape == (2, 5, 5)
    for row in range(5):
        for column in range(5):
            top, left = 8 * row - 4, 8 * column - 4
            part = masks[:, max(top, 0) : top + 8, max(left, 0) : left + 8]
            assert found[:, row, column] == pytest.approx(part.sum((1, 2)) / 64, abs=1e-6)


def test_a_cover_fits_maps_of_any_grid() -> None:
    masks = torch.zeros(1, 64, 64)
    masks[0, 9:13, 13:17] = 1
    found = cover(masks, Grid(8.5, 4.0), (12, 12))
    # Cell (0, 1) is 4 pixels around (8.5, 12.5): rows 7 to 10, columns 11 to 14.
    assert found[0, 0, 1] == pytest.approx(2 * 2 / 16)
    assert found.sum() == pytest.approx(1.0)


def test_the_loss_is_its_definition() -> None:
    random = np.random.default_rng(0)
    maps, covers = random.normal(0, 2, (6, 7, 7)), np.zeros((6, 7, 7))
    covers[0, 2:4, 3] = 0.9
    covers[1, 5, 5] = 0.2  # fills no cell: the one that it fills most counts
    covers[2, 0, 0:3] = (0.3, 1.0, 0.3)
    covers[3] = random.uniform(0, 1, (7, 7))
    found = dense_loss(torch.from_numpy(maps), torch.from_numpy(covers)).numpy()
    for picture in range(6):
        there, away, inside, every = [], [], 0.0, 0.0
        for row in range(7):
            for column in range(7):
                margin, share = maps[picture, row, column], covers[picture, row, column]
                if share > 0 and share >= min(FILLED, covers[picture].max()):
                    there.append(math.log1p(math.exp(-margin)))
                    inside, every = inside + math.exp(margin), every + math.exp(margin)
                elif share == 0:
                    away.append(math.log1p(math.exp(margin)))
                    every += math.exp(margin)
        expected = sum(sum(part) / max(len(part), 1) for part in (there, away))
        if there:
            expected -= ELSEWHERE * math.log(inside / every)
        assert found[picture] == pytest.approx(expected, rel=1e-5)


def test_the_highest_cells_of_a_brain_are_told_nothing_where_not_all_tumours_are() -> None:
    random = np.random.default_rng(1)
    maps, covers = random.normal(0, 2, (3, 12, 12)), np.zeros((3, 12, 12))
    covers[1, 2:5, 3] = (1.0, 1.0, 0.3)  # of the last cell nothing is told
    maybe = np.zeros((3, 12, 12), bool)
    maybe[:, 1:10, 1:10] = True
    maybe[2] = False
    slopes = torch.from_numpy(maps).requires_grad_()
    given = [torch.from_numpy(array) for array in (covers, maybe)]
    found = dense_loss(slopes, *given)
    found.sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it out
    assert slopes.grad is not None
    plain = dense_loss(torch.from_numpy(maps), given[0])
    assert found[2].item() == pytest.approx(plain[2].item())
    for picture in range(2):
        near = covers[picture] > 0
        padded = np.pad(maps[picture], 2, mode="edge")
        views = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
        seen = views.mean((2, 3))
        among = maybe[picture] & ~near
        silent_ = among & (seen > np.quantile(seen[among], 1 - DOUBT))
        assert silent_.sum() == math.ceil(DOUBT * (among.sum() - 1))
        there = covers[picture] >= FILLED
        quiet = slopes.grad[picture].numpy() == 0
        assert np.array_equal(quiet, silent_ | (near & ~there))
        losses = np.logaddexp(0, np.where(there, -maps[picture], maps[picture]))
        away = ~near & ~silent_
        expected = losses[away].mean() + (losses[there].mean() if there.any() else 0.0)
        if there.any():
            power = np.exp(maps[picture])
            expected -= ELSEWHERE * math.log(power[there].sum() / power[there | away].sum())
        assert found[picture].item() == pytest.approx(expected, rel=1e-5)


def test_a_tumour_without_a_mask_is_told_to_be_in_the_brain_and_nowhere_else() -> None:
    maps = torch.randn(4, 1, 10, 10, generator=torch.Generator().manual_seed(0))
    labels, known = torch.tensor([0, 0, 1, 0]), torch.tensor([False, False, True, True])
    shares, brains = torch.zeros(4, 40, 40), torch.zeros(4, 40, 40)
    brains[0, 10:30, 10:30] = brains[2:, 10:30, 10:30] = 1  # none is found in picture 1
    grid = Grid(1.5, 4.0)

    def slopes(brains: torch.Tensor | None) -> torch.Tensor:
        own = maps.clone().requires_grad_()
        loss = map_loss(own, labels, shares, known, grid, 1, brains)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it out
        assert own.grad is not None
        return own.grad[:, 0]

    with_, without = slopes(brains), slopes(None)
    assert torch.equal(with_[1:], without[1:])
    assert (without[:2] == 0).all()
    inside = cover(brains, grid, (10, 10))[0] > FILLED
    assert (with_[0][~inside] > 0).all()
    assert 0 < (with_[0][inside] == 0).sum() <= math.ceil(DOUBT * int(inside.sum()))


def test_a_mask_moves_as_its_picture_does() -> None:
    squares = torch.zeros(8, 1, 48, 48, dtype=torch.uint8)
    squares[:, :, 14:26, 20:30] = 200
    variation = draw_variation(8, 3)
    moved = vary_masks(squares[:, 0] > 0, variation)
    shown = vary(squares, variation)[:, 0]
    for mask, picture in zip(moved, shown, strict=True):
        assert picture[mask > 0.9].min() > 3 * picture[mask < 0.01].max()


def literal_pool(cells: NDArray[np.float32], pooling: str) -> float:
    """A score of the cells (h, w) of one map, straight from the words."""
    if pooling == "exponential":
        return math.log(np.mean(np.exp(cells)))
    ordered = sorted(cells.flatten().tolist(), reverse=True)
    count = max(1, round(len(ordered) / 100))
    return sum(ordered[:count]) / count


@pytest.mark.parametrize("pooling", ["exponential", "highest"])
@pytest.mark.parametrize("side", [32, 64, 128])
def test_a_map_is_pooled_and_absence_is_0(pooling: str, side: int) -> None:
    net = EvidenceNet(3, absent=1, size_px=side, pooling=pooling).eval()
    maps = net.features(torch.rand(2, 1, side, side))
    assert maps.shape == (2, 2, side // 4, side // 4)
    logits = net.head(maps)
    for picture in range(2):
        found = [literal_pool(part.detach().numpy(), pooling) for part in maps[picture]]
        scores = np.array([found[0], 0.0, found[1]])
        assert logits[picture].detach().numpy() == pytest.approx(scores - scores.mean(), abs=1e-5)
    assert EvidenceNet(3, absent=None).features(torch.rand(1, 1, 64, 64)).shape[1] == 3


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("Brain Tumor", "Healthy"), 1),
        (("no", "yes"), 0),
        (("glioma", "meningioma", "no_tumor"), 2),
        (("a", "b", "c"), None),
    ],
)
def test_the_class_that_means_nothing(classes: tuple[str, ...], expected: int | None) -> None:
    assert absent_class(classes) == expected


def test_teachers_are_heads_with_masks_drawn_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path))
    made = teachers(6, 3, fit="canvas", size_px=64)
    assert made.squares.shape == made.masks.shape == (6, 64, 64)
    assert made.ill.tolist() == [True, False] * 3
    assert (made.masks.any((1, 2)) == made.ill).all()
    monkeypatch.setattr("clearhead.data.teachers.head", None)
    again = teachers(6, 3, fit="canvas", size_px=64)
    assert np.array_equal(again.squares, made.squares)
    assert np.array_equal(again.masks, made.masks)


def test_generated_heads_are_learnt_from_beside_the_pictures(tmp_path: Path) -> None:
    manifest = disc_folder(tmp_path / "discs")
    recipe = Recipe.preset("evidence", size_px=64, epochs=1, batch=8, phantoms=4)
    training = Training(launch(device="cpu"), manifest, recipe, tmp_path, silent)
    part, rows = training.parts["train"], manifest.part("train")
    assert len(part) == len(rows) + 4
    assert part.masks is not None
    assert part.known is not None
    assert part.known[-4:].all()
    assert part.masks[-4:].any((1, 2)).tolist() == [True, False, True, False]
    assert len(np.unique(part.groups.numpy())) == len(np.unique(rows.groups())) + 4
    positive = manifest.classes.index(positive_class(manifest.classes))
    assert (part.labels[-4:] == positive).tolist() == [True, False, True, False]
    assert len(training.parts["validation"]) == len(manifest.part("validation"))


def test_generated_heads_need_a_class_without_a_finding(tmp_path: Path) -> None:
    discs = disc_folder(tmp_path / "discs")
    labels = [("a", "b", "c")[row % 3] for row in range(len(discs))]
    three = dataclasses.replace(discs.with_columns(label=labels), classes=("a", "b", "c"))
    recipe = Recipe.preset("evidence", size_px=64, phantoms=4)
    with pytest.raises(RecipeError, match="phantoms needs a class that means that nothing was"):
        train(three, recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_share_of_the_masks_is_learnt_from(tmp_path: Path) -> None:
    """Of each distinct picture all masks or none, and of more a share holds what a smaller does."""
    folder = phantom(tmp_path / "heads", n=24, seed=3, size_px=64)
    rows = index(folder, tmp_path / "heads.parquet")
    ill = rows.labels() == rows.classes.index(positive_class(rows.classes))
    pairs = np.arange(len(rows)) // 2  # two files of each picture
    rows = rows.with_columns(group=pairs.tolist(), split=["train"] * len(rows))
    assert ill.sum() == 12
    told = {}
    for share in (0.0, 0.5, 1.0):
        recipe = Recipe.preset("evidence", size_px=64, mask_share=share, phantoms=4)
        part = load_part(rows, "train", recipe)
        assert part.masks is not None
        assert part.known is not None
        known, masks = part.known.numpy(), part.masks.numpy()
        assert known[-4:].all()  # generated heads say where their tumours are
        assert not masks[: len(rows)][~known[: len(rows)]].any()
        told[share] = known[: len(rows)]
        by_pair = [told[share][ill & (pairs == pair)] for pair in np.unique(pairs[ill])]
        assert all(len(set(each)) == 1 for each in by_pair)
    assert not told[0.0].any()
    assert told[0.5].sum() == told[1.0].sum() / 2
    assert (told[0.5] <= told[1.0]).all()
    with pytest.raises(RecipeError, match=r"mask_share is 1\.5: expected a share of at most 1"):
        Recipe(mask_share=1.5)
    with pytest.raises(RecipeError, match=r"mask_share is 0\.5, and no mask is learnt from"):
        Recipe(mask_share=0.5)


def test_only_maps_of_evidence_are_told_where_the_tumour_is() -> None:
    with pytest.raises(RecipeError, match=r"mask_weight is 1\.0 and net 'compact'"):
        Recipe(mask_weight=1.0)
