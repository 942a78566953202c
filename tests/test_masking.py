"""Methods without the maps' gradient against slow literal versions, and captum where it is right.

The literal versions know the net as a function from one square to logits and nothing more.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clearhead.data.canvas import Grid, on_square
from clearhead.heat import masking
from clearhead.heat.evidence import class_evidence
from clearhead.heat.masking import RISE_CELLS, RISE_SHOWN, rise
from clearhead.heat.methods import METHODS
from clearhead.heat.seen import AT_ONCE, look, spread
from clearhead.model.classifier import Classifier
from clearhead.model.nets import stages_of
from small_nets import SIDE, Small, small_classifier, small_squares

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from captum.attr import Occlusion

Plane = NDArray[np.float64]


def exact(seed: int = 0) -> Classifier:
    return small_classifier(seed=seed).double()


def logits_of(classifier: Classifier, square: Plane) -> Plane:
    """Logits (K,) of one square (S, S) of grey levels 0–255, which need not be whole."""
    with torch.no_grad():
        x = torch.from_numpy(square)[None, None] / 255
        found: Plane = classifier.net(x)[0].numpy()
    return found


def maps_of(classifier: Classifier, square: Plane) -> Plane:
    with torch.no_grad():
        found: Plane = classifier.net.features(torch.from_numpy(square)[None, None] / 255)[
            0
        ].numpy()
    return found


def literal_score_cam(classifier: Classifier, square: Plane) -> Plane:
    """Wang et al. 2020, algorithm 1, with the baseline's score subtracted as it is written."""
    maps, increases = maps_of(classifier, square), []
    baseline = logits_of(classifier, np.zeros_like(square))
    for plane in maps:
        wide = on_square(plane[None].astype(np.float32), Grid(0.0, 4.0), SIDE)[0]
        low, high = wide.min(), wide.max()
        mask = (wide - low) / (high - low) if high > low else np.zeros_like(wide)
        increases.append(logits_of(classifier, square * mask) - baseline)
    heat = np.zeros((len(baseline), *maps.shape[1:]))
    for target in range(len(baseline)):
        total = sum(math.exp(one[target]) for one in increases)
        for plane, one in zip(maps, increases, strict=True):
            heat[target] += math.exp(one[target]) / total * plane
    return heat


def literal_ablation_cam(classifier: Classifier, square: Plane) -> Plane:
    """Ramaswamy and Desai 2020, equations 3 and 4, times y."""
    maps, logits = maps_of(classifier, square), logits_of(classifier, square)
    heat = np.zeros((len(logits), *maps.shape[1:]))
    for k, plane in enumerate(maps):
        without = maps.copy()
        without[k] = 0
        with torch.no_grad():
            left = classifier.net.head(torch.from_numpy(without)[None])[0].numpy()
        for target, y in enumerate(logits):
            heat[target] += y * (y - left[target]) / y * plane
    return heat


def literal_occlusion(classifier: Classifier, square: Plane, step: int) -> Plane:
    """Pixel by pixel: what the patches that cover it take away, on average."""
    logits = logits_of(classifier, square)
    total, count = np.zeros((len(logits), SIDE, SIDE)), np.zeros((SIDE, SIDE))
    for row in range(-step, SIDE, step):
        for column in range(-step, SIDE, step):
            inside = np.zeros((SIDE, SIDE), bool)
            inside[max(row, 0) : row + 2 * step, max(column, 0) : column + 2 * step] = True
            lost = logits - logits_of(classifier, np.where(inside, square.mean(), square))
            total += lost[:, None, None] * inside
            count += inside
    assert (count == 4).all()
    return total / count


def literal_rise(classifier: Classifier, square: Plane, total: int, seed: int) -> Plane:
    """A mask at a time, a pixel at a time."""
    random = torch.Generator().manual_seed(seed)
    cell = math.ceil(SIDE / RISE_CELLS)
    masks, scores = [], []
    for start in range(0, total, AT_ONCE):
        count = min(AT_ONCE, total - start)
        shape = (count, RISE_CELLS + 1, RISE_CELLS + 1)
        low = (torch.rand(shape, generator=random) < RISE_SHOWN).numpy()
        shifts = torch.randint(0, cell, (2, count), generator=random).numpy()
        for number in range(count):
            masks.append(literal_mask(low[number], cell, *shifts[:, number]))
    for mask in masks:
        scores.append(logits_of(classifier, square * mask))
    mean = np.mean(scores, 0)
    heat = np.zeros((len(mean), SIDE, SIDE))
    for target in range(len(mean)):
        for mask, score in zip(masks, scores, strict=True):
            heat[target] += (score[target] - mean[target]) * mask
    found: Plane = heat / np.sum(masks, 0)
    return found


def literal_mask(low: NDArray[np.bool_], cell: int, down: int, across: int) -> Plane:
    mask = np.zeros((SIDE, SIDE))
    for row, column in np.ndindex(mask.shape):
        y, x = ((at + 0.5) / cell - 0.5 for at in (row + down, column + across))
        y, x = (min(max(at, 0), len(low) - 1) for at in (y, x))
        top, left = min(int(y), len(low) - 2), min(int(x), len(low) - 2)
        for i in (top, top + 1):
            for j in (left, left + 1):
                mask[row, column] += low[i, j] * (1 - abs(y - i)) * (1 - abs(x - j))
    return mask


LITERAL: dict[str, Callable[[Classifier, Plane], Plane]] = {
    "score_cam": literal_score_cam,
    "ablation_cam": literal_ablation_cam,
}


@pytest.mark.parametrize("method", list(LITERAL))
def test_every_method_is_its_equation(method: str) -> None:
    classifier, squares = exact(), small_squares(2)
    found = class_evidence(classifier, squares, method=method).maps.double().numpy()
    for heat, square in zip(found, squares[:, 0].double().numpy(), strict=True):
        expected = LITERAL[method](classifier, square)
        np.testing.assert_allclose(heat, expected, atol=1e-5 * np.abs(expected).max())


def test_rise_is_its_equation_with_each_mask_by_itself() -> None:
    classifier, squares, total = exact(), small_squares(2), AT_ONCE + 8
    (stage,) = stages_of(classifier.net)[-1:]
    with torch.no_grad():
        seen = look(classifier, squares, stage, "logit", every_class, graph=False)
        found = rise(seen, masks=total, seed=3)[0].numpy()
    for heat, square in zip(found, squares[:, 0].double().numpy(), strict=True):
        expected = literal_rise(classifier, square, total, 3)
        np.testing.assert_allclose(heat, expected, atol=1e-5 * np.abs(expected).max())


def every_class(logits: Tensor) -> Tensor:
    return torch.arange(logits.shape[1]).expand(len(logits), -1)


def test_occlusion_is_what_covering_patches_take_away() -> None:
    classifier, squares = exact(), small_squares(2)
    found = class_evidence(classifier, squares, method="occlusion")
    step = int(found.grid.stride_px)
    assert (step, found.grid.offset_px) == (2, 0.5)
    for heat, square in zip(found.maps.numpy(), squares[:, 0].double().numpy(), strict=True):
        expected = literal_occlusion(classifier, square, step)
        wide = heat.repeat(step, 1).repeat(step, 2)[:, :SIDE, :SIDE]
        np.testing.assert_allclose(wide, expected, atol=1e-5 * np.abs(expected).max())


def test_occlusion_agrees_with_captum_where_both_cover_alike() -> None:
    classifier, squares = exact(), small_squares(2)
    found = class_evidence(classifier, squares, method="occlusion")
    step, x = int(found.grid.stride_px), classifier.normalise(squares)
    inner = slice(step, SIDE - step)  # captum's patches stay inside
    for row in range(2):
        for target in range(3):
            theirs = Occlusion(classifier.net).attribute(
                x[row : row + 1],
                sliding_window_shapes=(1, 2 * step, 2 * step),
                strides=(1, step, step),
                baselines=float(x[row].mean()),
                target=target,
            )[0, 0]
            ours = found.maps[row, target].double().repeat_interleave(step, 0)
            ours = ours.repeat_interleave(step, 1)
            torch.testing.assert_close(
                ours[inner, inner], theirs[inner, inner].double(), rtol=1e-4, atol=1e-6
            )


def test_occlusion_covers_a_square_that_no_step_divides() -> None:
    squares = torch.randint(0, 256, (1, 1, 50, 50), dtype=torch.uint8)
    found = class_evidence(small_classifier(), squares, method="occlusion")
    assert found.grid == Grid(1.0, 3.0)
    assert found.maps.shape == (1, 3, 17, 17)


class Corner(nn.Module):
    """Adds up one patch of the picture: where its evidence lies is known."""

    there: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.grid = Grid(1.5, 4.0)
        there = torch.zeros(SIDE, SIDE)
        there[16:20, 4:8] = 1.0
        self.register_buffer("there", there)

    def features(self, x: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(x * self.there, 4)

    def head(self, maps: Tensor) -> Tensor:
        total = 5 * maps.sum((1, 2, 3))
        return torch.stack([total, -total], 1)


@pytest.mark.parametrize("method", list(METHODS))
def test_the_only_place_that_counts_is_the_peak(method: str) -> None:
    squares = 40 + small_squares(2) // 5
    squares[:, :, 16:20, 4:8] = 250
    found = class_evidence(Classifier(Corner()), squares, method=method)
    wide = on_square(found.maps[:, 0].numpy(), found.grid, SIDE)
    for heat in wide:
        row, column = np.unravel_index(heat.argmax(), heat.shape)
        assert 16 <= row < 20
        assert 4 <= column < 8


def test_spread_is_the_canvas_interpolation() -> None:
    maps = torch.randn(3, 5, 5)
    for grid in (Grid(0.0, 8.0), Grid(8.5, 4.0), Grid(-1.0, 7.3)):
        matrix = spread(5, grid, 40, like=maps)
        ours = (matrix @ maps @ matrix.T).numpy()
        np.testing.assert_allclose(ours, on_square(maps.numpy(), grid, 40), atol=1e-5)


def test_masks_of_rise_show_half_of_every_place() -> None:
    random = torch.Generator().manual_seed(0)
    masks = masking._random_masks(4000, SIDE, random)
    assert masks.shape == (4000, SIDE, SIDE)
    assert float(masks.min()) >= 0
    assert float(masks.max()) <= 1 + 1e-6
    assert float((masks.mean(0) - RISE_SHOWN).abs().max()) < 0.05


@pytest.mark.parametrize("method", ["score_cam", "ablation_cam", "occlusion", "rise"])
def test_no_pass_holds_more_pictures_than_promised(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither channels nor masks nor the batch decide what is in memory at once."""
    sizes: list[int] = []
    head = Small.head

    def watched(self: Small, maps: Tensor) -> Tensor:
        sizes.append(len(maps))
        return head(self, maps)

    monkeypatch.setattr(Small, "head", watched)
    squares = small_squares(40)
    class_evidence(small_classifier(), squares, method=method)
    once, *changed = sizes[1:]  # the first is the pictures of the fixture
    assert once == 40
    assert max(changed) <= AT_ONCE
    assert len(changed) >= 40
