"""Pictures turned into their opposite: what changes, what doesn't, and what is told of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from clearhead.data.heads import HEALTHY, TUMOUR, head
from clearhead.errors import RecipeError
from clearhead.model.augment import draw_variation
from clearhead.model.counterfactual import patched, with_tumours
from clearhead.model.launch import launch
from clearhead.model.lessons import Lesson, Part, load_part
from clearhead.model.regions import brains
from clearhead.model.train import Training
from clearhead.types import BRAIN, Recipe, silent
from oracles import head_manifest

SIDE = 128


@pytest.fixture(scope="module")
def healthy() -> tuple[Tensor, Tensor]:
    """Squares (8, 1, S, S) of generated heads without a tumour, and their brains (8, S, S)."""
    return _heads(HEALTHY)[:2]


@pytest.fixture(scope="module")
def ill() -> tuple[Tensor, Tensor, Tensor]:
    """Squares (8, 1, S, S) of generated heads with a tumour, their brains and masks (8, S, S)."""
    return _heads(TUMOUR)


def _heads(label: str) -> tuple[Tensor, Tensor, Tensor]:
    made = [head((31, row), label=label, size_px=SIDE, plane="axial") for row in range(8)]
    squares = torch.from_numpy(np.stack([one.pixels for one in made]))[:, None]
    inside = torch.from_numpy(np.stack([one.regions == BRAIN for one in made]))
    masks = torch.from_numpy(np.stack([one.mask for one in made]).astype(bool))
    return squares, inside | masks, masks


# --- With a tumour ----------------------------------------------------------------------------


def test_a_tumour_is_seen_where_its_mask_lies(healthy: tuple[Tensor, Tensor]) -> None:
    squares, inside = healthy
    changed, masks = with_tumours(squares, inside, torch.arange(8))
    assert masks.any(2).any(1).sum() >= 5
    for before, after, mask, brain in zip(squares[:, 0], changed[:, 0], masks, inside, strict=True):
        difference = (after - before.float()).abs()
        if not mask.any():
            assert not difference.any()
            continue
        tone = before[brain].float().median()
        assert difference[mask].mean() > 0.1 * tone
        # At the edge of the brain the mask may leave it by a pixel or two; far from it nothing is.
        assert (mask & brain).sum() > 0.7 * mask.sum()
        assert difference[~brain].mean() < 0.25 * difference[mask].mean()
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 255


def test_each_tumour_follows_its_own_seed(healthy: tuple[Tensor, Tensor]) -> None:
    squares, inside = healthy
    changed, masks = with_tumours(squares, inside, torch.arange(8))
    alone, mask = with_tumours(squares[3:4], inside[3:4], torch.tensor([3]))
    assert torch.equal(alone[0], changed[3])
    assert torch.equal(mask[0], masks[3])
    other, _ = with_tumours(squares[3:4], inside[3:4], torch.tensor([77]))
    assert not torch.equal(other[0], changed[3])


def test_where_no_brain_is_found_nothing_grows(healthy: tuple[Tensor, Tensor]) -> None:
    squares, inside = healthy
    changed, masks = with_tumours(squares, torch.zeros_like(inside), torch.arange(8))
    assert torch.equal(changed, squares.float())
    assert not masks.any()


# --- Without ----------------------------------------------------------------------------------


def test_a_cover_knows_nothing_of_the_tumour(ill: tuple[Tensor, Tensor, Tensor]) -> None:
    squares, inside, masks = ill
    seeds = torch.arange(8)
    found, done = patched(squares, inside, masks, seeds)
    assert done.sum() >= 5
    other = squares.clone()
    other[:, 0][masks] = 255 - other[:, 0][masks]
    again, _ = patched(other, inside, masks, seeds)
    # Only the blur that hides the seam lets a little of what lies beneath shine through.
    through = (found - again).abs()[:, 0][masks & done[:, None, None]]
    assert through.mean() < 1.0
    assert through.max() < 30
    assert torch.equal(found[~done], squares[~done].float())


def test_a_cover_brings_a_head_closer_to_its_healthy_twin(
    ill: tuple[Tensor, Tensor, Tensor], healthy: tuple[Tensor, Tensor]
) -> None:
    squares, inside, masks = ill
    found, done = patched(squares, inside, masks, torch.arange(8))
    twins = healthy[0].float()  # the same seeds: the same heads without their tumours
    ours, theirs = [
        torch.stack([(some - twin).abs()[0][mask].mean() for some, twin, mask in rows])
        for rows in (
            list(zip(found[done], twins[done], masks[done], strict=True)),
            list(zip(squares[done].float(), twins[done], masks[done], strict=True)),
        )
    ]
    assert ours.mean() < 0.7 * theirs.mean()


def test_a_cover_leaves_the_rest_alone(ill: tuple[Tensor, Tensor, Tensor]) -> None:
    squares, inside, masks = ill
    found, done = patched(squares, inside, masks, torch.arange(8))
    far = torch.nn.functional.max_pool2d(masks[:, None].float(), 23, 1, 11)[:, 0] == 0
    assert torch.equal(found[:, 0][far], squares[:, 0][far].float())
    assert (found != squares)[done].flatten(1).any(1).all()


def test_without_a_tumour_a_cover_lies_somewhere_in_the_brain(
    healthy: tuple[Tensor, Tensor],
) -> None:
    squares, inside = healthy
    found, done = patched(squares, inside, torch.zeros_like(inside), torch.arange(8))
    assert done.sum() >= 6
    changed = (found != squares)[:, 0]
    for row in torch.nonzero(done)[:, 0]:
        assert changed[row].any()
        assert changed[row].sum() < 0.6 * inside[row].sum()


# --- Lessons ----------------------------------------------------------------------------------


def test_what_is_told_follows_what_is_shown(
    healthy: tuple[Tensor, Tensor], ill: tuple[Tensor, Tensor, Tensor]
) -> None:
    """Every picture is chosen: tumours that are known vanish, healthy brains get one or a cover."""
    squares = torch.cat([ill[0], healthy[0]])
    masks = torch.cat([ill[2], torch.zeros_like(healthy[1])])
    known = torch.tensor([True] * 4 + [False] * 4 + [False] * 8)
    masks[4:8] = False  # tumours of which nobody knows where they are
    part = Part(
        squares[:, 0],
        torch.tensor([0] * 8 + [1] * 8),
        torch.arange(16),
        absent=1,
        present=0,
        masks=masks,
        known=known,
        brains=torch.cat([ill[1], healthy[1]]),
    )
    recipe = Recipe(counterfactual=1.0, augment=False)
    told = part.lesson(torch.arange(16), draw_variation(16, 5), recipe)
    assert told.shares is not None
    assert told.known is not None
    changed = (told.squares != squares).flatten(1).any(1)
    one_more = told.shares[4:8].flatten(1).any(1)  # of a tumour that nobody drew a mask of
    assert torch.equal(changed[4:8], one_more)
    assert one_more.any()
    assert told.labels[4:8].tolist() == [0] * 4
    assert not told.known[4:8].any()
    assert told.brains is not None
    assert torch.equal(told.brains, torch.cat([ill[1], healthy[1]]).float())
    assert torch.equal(told.labels[:4] == 1, changed[:4])
    assert changed[:4].any()
    grown = told.shares[8:].flatten(1).any(1)
    assert torch.equal(told.labels[8:] == 0, grown)
    assert grown.any()
    assert (changed[8:] & ~grown).any()
    assert told.known[8:].all()
    empty = told.labels == part.absent
    assert not told.shares[empty].any()


def test_nothing_is_turned_at_a_share_of_0(ill: tuple[Tensor, Tensor, Tensor]) -> None:
    squares, inside, masks = ill
    part = Part(
        squares[:, 0],
        torch.zeros(8, dtype=torch.long),
        torch.arange(8),
        absent=1,
        present=0,
        masks=masks,
        known=torch.ones(8, dtype=torch.bool),
        brains=inside,
    )
    plain = Recipe(augment=False)
    told = part.lesson(torch.arange(8), draw_variation(8, 5), plain)
    assert torch.equal(told.squares, squares.float())
    assert torch.equal(told.labels, part.labels)
    some = replace(plain, counterfactual=0.5)
    share = part.lesson(torch.arange(8), draw_variation(8, 5), some)
    assert 0 < (share.labels == 1).sum() < 8


def test_training_learns_from_turned_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))
    manifest = head_manifest(tmp_path, n=24, size_px=96)
    recipe = Recipe.preset(
        "evidence",
        size_px=64,
        batch=8,
        counterfactual=1.0,
        augment=False,
        dropout=0.0,
        sampling="files",
    )
    training = Training(launch(device="cpu"), manifest, recipe, tmp_path, silent)
    part = training.parts["train"]
    assert part.brains is not None
    assert training.parts["validation"].brains is None
    seen: list[Tensor] = []

    def note(logits: Tensor, labels: Tensor, *, smooth: float = 0.0) -> Tensor:
        seen.append(labels)
        return logits.sum() * 0

    monkeypatch.setattr(training, "_loss", note)
    rows = torch.arange(8)
    training._gradient(rows[None], [draw_variation(8, 0)], 64)
    lesson: Lesson = part.lesson(rows, draw_variation(8, 0), recipe)
    assert torch.equal(torch.cat(seen), lesson.labels)
    assert (lesson.labels != part.labels[rows]).sum() >= 3


@pytest.mark.parametrize("name", ["counterfactual", "progressive", "warmup"])
def test_a_share_beyond_1_is_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=rf"{name} is 1\.5: expected a share of at most 1"):
        Recipe.of({name: 1.5})


# --- Brains -----------------------------------------------------------------------------------


def test_brains_are_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))
    manifest = head_manifest(tmp_path, n=12, size_px=96)
    found = brains(manifest, fit="canvas", size_px=64)
    assert found.shape == (12, 64, 64)
    part = load_part(manifest, "train", Recipe(size_px=64, counterfactual=0.5))
    assert part.brains is not None
    told = found.any((1, 2))
    assert told.mean() > 0.7
    assert 0.05 < found[told].mean() < 0.6
    monkeypatch.setattr("clearhead.model.regions.region_maps", None)
    assert np.array_equal(brains(manifest, fit="canvas", size_px=64), found)
