"""Regions against generated heads whose regions are known, and the way there and back."""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open

from clearhead.data.canvas import Placement, draw, place
from clearhead.data.heads import Head, head
from clearhead.data.read import read
from clearhead.data.regions import RADII, _closed_path, on_picture, tidied
from clearhead.errors import RecipeError
from clearhead.model.region_net import SIDE, WEIGHTS, RegionNet, at_side, likeliest, shipped
from clearhead.model.region_pictures import (
    NOTHINGS,
    Chance,
    _blocks,
    _cosines,
    _toned,
    no_heads,
    shuffled,
    toned,
)
from clearhead.model.region_training import (
    Bank,
    RegionTraining,
    bank,
    batch_of,
    hard_dice,
    save_region_net,
    train_region_net,
)
from clearhead.model.regions import DEFAULT, MAKERS, SURE, region_maps, regions
from clearhead.types import BACKGROUND, BRAIN, RIM, Facts, Scan

HELD_OUT = 77_000_001
"""Seed of heads that no training drew."""
PLANES = ("axial", "coronal", "sagittal")
CONTRASTS = ("T1", "T1-CE", "T2", "FLAIR")


def scan_of(pixels: NDArray[np.uint8]) -> Scan:
    height, width = pixels.shape
    facts = Facts("PNG", "L", height, width, pixels.size)
    return Scan(pixels.astype(np.float32), "made", "", facts)


@cache
def heads() -> list[Head]:
    return [
        head((HELD_OUT, number), plane=plane, contrast=contrast, size_px=192)
        for number, (plane, contrast) in enumerate(
            (plane, contrast) for plane in PLANES for contrast in CONTRASTS
        )
    ]


@cache
def small_bank() -> Bank:
    return bank(12, HELD_OUT)


def dice(labels: NDArray[np.uint8], truth: NDArray[np.uint8], part: int) -> float:
    one, other = labels == part, truth == part
    return float(2 * np.count_nonzero(one & other) / (one.sum() + other.sum()))


# --- Makers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("maker", "plane", "brain", "rim"),
    [
        ("unet", "axial", 0.95, 0.80),
        ("unet", "coronal", 0.93, 0.85),
        ("unet", "sagittal", 0.93, 0.85),
        ("classical", "axial", 0.90, 0.70),
        ("classical", "coronal", 0.75, 0.55),
        ("classical", "sagittal", 0.70, 0.50),
    ],
)
def test_held_out_heads_are_parted(maker: str, plane: str, brain: float, rim: float) -> None:
    chosen = [one for one in heads() if one.plane == plane]
    found = [regions(scan_of(one.pixels), maker=maker).labels for one in chosen]
    pairs = list(zip(found, [one.regions for one in chosen], strict=True))
    assert np.mean([dice(*pair, BRAIN) for pair in pairs]) > brain
    assert np.mean([dice(*pair, RIM) for pair in pairs]) > rim


@pytest.mark.parametrize("maker", MAKERS)
def test_heads_are_told(maker: str) -> None:
    found = [regions(scan_of(one.pixels), maker=maker) for one in heads()]
    assert all(0 <= one.confidence <= 1 for one in found)
    assert all(one.told == (one.confidence >= SURE) for one in found)
    assert sum(one.told for one in found) >= len(found) - 1


@pytest.mark.parametrize("fit", ["canvas", "stretch"])
def test_squares_of_both_fits_are_parted(fit: str) -> None:
    for one in heads()[::4]:
        squeezed = np.arange(192) % 4 < 3  # every fourth column is left out
        narrow = scan_of(one.pixels[:, squeezed])
        placement = place(narrow, fit=fit, size_px=128)
        labels, _ = region_maps(draw(narrow, placement)[None])
        truth = one.regions[:, squeezed]
        assert dice(on_picture(labels[0], placement), truth, BRAIN) > 0.85


@pytest.mark.parametrize("maker", MAKERS)
def test_labels_are_regions_of_the_square(maker: str) -> None:
    squares = np.stack([one.pixels for one in heads()[:3]])
    before = squares.copy()
    labels, sure = region_maps(squares, maker=maker)
    assert labels.shape == squares.shape
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) == {BACKGROUND, RIM, BRAIN}
    assert sure.shape == (3,)
    assert sure.dtype == np.float32
    np.testing.assert_array_equal(squares, before)


@pytest.mark.parametrize("maker", MAKERS)
def test_no_picture_depends_on_its_neighbours(maker: str) -> None:
    squares = np.stack([one.pixels for one in heads()[:4]])
    labels, sure = region_maps(squares, maker=maker)
    again, surer = region_maps(squares[::-1][:3], maker=maker)
    np.testing.assert_array_equal(again, labels[::-1][:3])
    np.testing.assert_array_equal(surer, sure[::-1][:3])


def test_an_unknown_maker_is_named() -> None:
    with pytest.raises(RecipeError, match="no maker of regions is called 'magic'"):
        region_maps(np.zeros((1, 32, 32), np.uint8), maker="magic")


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_even_picture_cannot_be_told(maker: str, level: int) -> None:
    assert not regions(scan_of(np.full((90, 120), level, np.uint8)), maker=maker).told


def test_the_net_cannot_tell_what_is_no_head() -> None:
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:128, :128]
    cases = {
        "noise": rng.integers(0, 256, (128, 128)),
        "slope": rows,
        "chessboard": 255 * ((rows // 8 + columns // 8) % 2),
        "stripes": 127 + 120 * np.sin(columns / 3),
        "letters": 255 * (rng.random((128, 128)) > 0.5) * (rows % 12 < 5),
    }
    squares = np.stack([case.astype(np.uint8) for case in cases.values()])
    _, sure = region_maps(squares, maker="unet")
    assert not [name for name, value in zip(cases, sure, strict=True) if value >= SURE]


def test_most_pictures_without_a_head_cannot_be_told() -> None:
    some = np.stack([one.pixels for one in heads()])
    grey = at_side(torch.from_numpy(some)[:, None].float() / 255).repeat(4, 1, 1, 1)
    random = torch.Generator().manual_seed(HELD_OUT)
    nothing = no_heads(grey, Chance(random, len(grey)))
    squares = (nothing[:, 0].clamp(0, 1) * 255).byte().numpy()
    assert np.mean(region_maps(squares, maker="unet")[1] >= SURE) < 0.1


def test_the_default_is_the_better_maker() -> None:
    scores = {
        maker: np.mean(
            [
                dice(regions(scan_of(one.pixels), maker=maker).labels, one.regions, BRAIN)
                for one in heads()
            ]
        )
        for maker in MAKERS
    }
    assert max(scores, key=lambda maker: scores[maker]) == DEFAULT


# --- There and back -------------------------------------------------------------------------


def test_labels_come_back_exactly_where_pixels_are_repeated() -> None:
    labels = np.random.default_rng(1).integers(0, 3, (20, 20)).astype(np.uint8)
    placement = Placement("canvas", (100, 90), 20, (12, 8, 92, 88), (0, 0, 20, 20))
    whole = on_picture(labels, placement)
    np.testing.assert_array_equal(whole[12:92, 8:88], labels.repeat(4, 0).repeat(4, 1))
    outside = np.ones(whole.shape, bool)
    outside[12:92, 8:88] = False
    assert (whole[outside] == BACKGROUND).all()


def test_labels_come_back_to_the_pixels_they_were_drawn_from() -> None:
    """Literal: the pixel's centre, carried forwards, lies in the square's pixel it takes."""
    labels = np.random.default_rng(2).integers(0, 3, (64, 64)).astype(np.uint8)
    scan = scan_of(heads()[0].pixels[:150, :131])
    placement = place(scan, fit="canvas", size_px=64)
    whole = on_picture(labels, placement)
    top, left, bottom, right = placement.box
    for row in range(top, bottom, 7):
        for column in range(left, right, 5):
            down = placement.target[0] + (row + 0.5 - top) * placement.scale[0]
            across = placement.target[1] + (column + 0.5 - left) * placement.scale[1]
            assert whole[row, column] == labels[int(down), int(across)]


def test_regions_lie_on_the_scans_own_grid() -> None:
    one = heads()[0]
    wide = np.pad(one.pixels, ((10, 60), (100, 20)))
    found = regions(scan_of(wide))
    assert found.labels.shape == wide.shape
    truth = np.pad(one.regions, ((10, 60), (100, 20)))
    assert dice(found.labels, truth, BRAIN) > 0.93


def test_a_tidied_head_has_no_crumbs_and_no_holes() -> None:
    labels = np.zeros((60, 60), np.uint8)
    labels[5:55, 5:55] = RIM
    labels[10:50, 10:50] = BRAIN
    clean = labels.copy()
    labels[20:30, 20:30] = RIM  # a hole in the brain, of whatever label
    labels[40:42, 40:42] = BACKGROUND
    labels[6:8, 30:33] = BACKGROUND  # a hole in the rim
    labels[6, 6:9] = BRAIN  # a crumb of brain in the rim
    labels[0:2, 0:3] = RIM  # a letter beside the head
    np.testing.assert_array_equal(tidied(labels), clean)
    np.testing.assert_array_equal(tidied(clean), clean)
    empty = np.zeros((9, 9), np.uint8)
    np.testing.assert_array_equal(tidied(empty), empty)


def test_large_pieces_of_brain_all_stay() -> None:
    labels = np.full((40, 40), RIM, np.uint8)
    labels[5:15, 5:35] = BRAIN
    labels[25:35, 10:20] = BRAIN
    np.testing.assert_array_equal(tidied(labels), labels)


# --- The closed line ------------------------------------------------------------------------


def test_the_line_follows_a_planted_ditch_all_the_way_round() -> None:
    angles = np.arange(72)
    ditch = np.rint(30 + 12 * np.sin(2 * np.pi * angles / 72)).astype(int)
    cost = np.ones((72, len(RADII)), np.float32)
    cost[angles, ditch] = -1
    path = _closed_path(cost)
    assert np.abs(path - ditch).max() <= 1
    assert np.mean(path == ditch) > 0.9
    assert np.abs(np.diff(path)).max() <= 1
    assert abs(int(path[0]) - int(path[-1])) <= 2


# --- The net --------------------------------------------------------------------------------


def test_the_net_is_small_and_its_file_too() -> None:
    assert sum(value.numel() for value in RegionNet().parameters()) <= 1_000_000
    file = resources.files("clearhead.model").joinpath("weights", WEIGHTS)
    assert len(file.read_bytes()) < 3_000_000


def test_the_weights_are_plain_tensors_of_this_net() -> None:
    with (
        resources.as_file(resources.files("clearhead.model").joinpath("weights", WEIGHTS)) as path,
        safe_open(path, "pt") as stored,
    ):
        shapes = {name: tuple(stored.get_tensor(name).shape) for name in stored.keys()}  # noqa: SIM118
    expected = {name: tuple(value.shape) for name, value in RegionNet().state_dict().items()}
    assert shapes == expected
    assert all(torch.isfinite(value).all() for value in shipped().parameters())


def test_weights_come_back_from_their_file(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = RegionNet()
    save_region_net(net, tmp_path / "net.safetensors")
    with safe_open(tmp_path / "net.safetensors", "pt") as stored:
        for name, value in net.state_dict().items():
            assert torch.equal(stored.get_tensor(name), value.half())


def test_the_likeliest_region_is_the_argmax() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randint(-3, 4, (3, 50, 50), generator=random).float()  # with ties
    assert torch.equal(likeliest(logits), logits.argmax(0).byte())


def test_brightness_and_contrast_change_nothing() -> None:
    x = torch.rand(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        one, other = shipped()(x), shipped()(0.4 * x + 0.3)
    torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


# --- Training -------------------------------------------------------------------------------


def test_two_steps_are_reproducible_and_learn() -> None:
    settings = RegionTraining(steps=2, batch=6, empty=2, seed=4)
    one = train_region_net(settings, small_bank()).state_dict()
    other = train_region_net(settings, small_bank()).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        start = RegionNet().state_dict()
    assert not torch.equal(one["out.weight"], start["out.weight"])
    changed = train_region_net(RegionTraining(steps=2, batch=6, empty=2, seed=5), small_bank())
    assert not torch.equal(one["out.weight"], changed.state_dict()["out.weight"])


def test_training_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    train_region_net(RegionTraining(steps=1, batch=3, empty=1), small_bank())
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_bank_holds_heads_in_their_boxes() -> None:
    found = small_bank()
    side = found.pixels.shape[1]
    for regions_, box in zip(found.regions, found.boxes, strict=True):
        rows, columns = np.nonzero(regions_)
        expected = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
        np.testing.assert_allclose(box * side, expected)


def test_a_batch_ends_with_pictures_that_show_no_head() -> None:
    made = batch_of(small_bank(), RegionTraining(batch=8, empty=3), 0)
    assert made.pixels.shape == (8, 1, SIDE, SIDE)
    assert made.heads.tolist() == [True] * 5 + [False] * 3
    assert made.regions[5:].eq(BACKGROUND).all()
    assert made.regions[:5].flatten(1).amax(1).eq(BRAIN).all()
    assert 0 <= float(made.pixels.min()) <= float(made.pixels.max()) <= 1
    again = batch_of(small_bank(), RegionTraining(batch=8, empty=3), 0)
    assert torch.equal(made.pixels, again.pixels)


def test_dice_is_the_formula() -> None:
    random = torch.Generator().manual_seed(0)
    one, other = torch.randint(3, (2, 2, 9, 9), generator=random)
    expected = [
        np.mean([dice(a.numpy(), b.numpy(), part) for part in (RIM, BRAIN)])
        for a, b in zip(one, other, strict=True)
    ]
    np.testing.assert_allclose(hard_dice(one, other).numpy(), expected, rtol=1e-6)


def test_tone_curves_are_linear_interpolation() -> None:
    random = torch.Generator().manual_seed(0)
    x, curves = torch.rand(2, 1, 8, 8, generator=random), torch.rand(2, 17, generator=random)
    knots = np.linspace(0, 1, 17)
    expected = [np.interp(a, knots, b) for a, b in zip(x[:, 0].numpy(), curves, strict=True)]
    np.testing.assert_allclose(_toned(x, curves)[:, 0].numpy(), expected, atol=1e-5)


def test_a_stripped_head_has_no_rim_left() -> None:
    found = small_bank()
    grey = torch.from_numpy(found.pixels)[:, None].float() / 255
    areas = torch.from_numpy(found.regions)[:, None].float()
    rims = []
    for seed in range(6):
        chance = Chance(torch.Generator().manual_seed(seed), len(grey))
        _, after = toned(grey, areas, chance)
        assert torch.equal(after == BRAIN, areas == BRAIN)
        rims += [(value == RIM).any().item() for value in after]
        kept = (after == RIM).flatten(1).any(1)
        assert torch.equal(after[kept], areas[kept])
    assert 0.7 < np.mean(rims) < 1


def test_cosines_are_orthonormal_and_blocks_stay_close() -> None:
    torch.testing.assert_close(_cosines() @ _cosines().T, torch.eye(8), atol=1e-6, rtol=0)
    chance = Chance(torch.Generator().manual_seed(0), 20)
    x = torch.rand(20, 1, SIDE, SIDE, generator=chance.random)
    change = (_blocks(x, chance) - x).abs().flatten(1).mean(1)
    assert (change > 1e-4).any()
    assert (change < 1e-6).any()
    assert change.max() < 0.3


@pytest.mark.parametrize("kind", NOTHINGS)
def test_pictures_without_a_head_have_the_shape_of_one(kind: object) -> None:
    assert callable(kind)
    made = kind(Chance(torch.Generator().manual_seed(0), 3))
    assert made.expand(3, 1, SIDE, SIDE).isfinite().all()


def test_shuffling_tiles_keeps_every_pixel() -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.rand(2, 1, SIDE, SIDE, generator=random)
    moved = shuffled(x, Chance(random, 2))
    assert not torch.equal(moved, x)
    assert torch.equal(moved.flatten(1).sort(1).values, x.flatten(1).sort(1).values)


# --- Real pictures --------------------------------------------------------------------------


@pytest.mark.realdata
def test_real_tumours_lie_in_the_brain(realdata: Path) -> None:
    with (realdata / "kaggle4600_masks" / "masks.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))[::60]
    folder = realdata / "kaggle4600" / "Brain Tumor Data Set" / "Brain Tumor Data Set"
    shares, told = [], []
    for row in rows:
        found = regions(read(folder / row["image"], colour="mean"))
        mask = read(realdata / "kaggle4600_masks" / row["mask"], colour="mean").pixels > 0
        shares.append(np.mean(found.labels[mask] == BRAIN))
        told.append(found.told)
    assert np.mean(shares) > 0.9
    assert np.mean(told) > 0.95
