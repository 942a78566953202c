"""Variations: a pure function of their seed, the same for any division of the batch."""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from clearhead.model.augment import (
    SCALE,
    SHIFT,
    SMALLER,
    Variation,
    draw_variation,
    resized,
    seed_of,
    vary,
    vary_masks,
)
from clearhead.model.memory import keep_freed_memory


def squares_of(count: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 1, 48, 48), dtype=torch.uint8, generator=random)


def test_each_picture_varies_by_itself() -> None:
    squares, variation = squares_of(6), draw_variation(6, seed_of(1, 2, 3))
    together = vary(squares, variation)
    for rows in (torch.tensor([0, 2, 4]), torch.tensor([5]), torch.arange(6).flip(0)):
        apart = vary(squares[rows], variation.take(rows))
        torch.testing.assert_close(apart, together[rows], rtol=0, atol=1e-3)


def test_the_seed_is_all_that_counts() -> None:
    squares = squares_of(3)
    state = torch.get_rng_state()
    one, two, other = (vary(squares, draw_variation(3, seed)) for seed in (5, 5, 6))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)
    assert one.shape == squares.shape
    assert 0 <= float(one.min()) <= float(one.max()) <= 255


def test_half_are_mirrored_and_limits_are_kept() -> None:
    matrix = draw_variation(4000, 0).matrix
    determinant = matrix[:, 0, 0] * matrix[:, 1, 1] - matrix[:, 0, 1] * matrix[:, 1, 0]
    assert float((determinant < 0).float().mean()) == pytest.approx(0.5, abs=0.05)
    area = determinant.abs().sqrt().log()
    assert float(area.abs().max()) <= SCALE + 1e-5
    assert float(matrix[:, :, 2].abs().max()) <= SHIFT


def still(count: int, **changes: Tensor) -> Variation:
    """No variation at all, but for `changes`."""
    ones, zeros = torch.ones(count, 1, 1, 1), torch.zeros(count, 1, 1, 1)
    matrix = torch.eye(2, 3).expand(count, 2, 3)
    seeds, flat = torch.arange(count), torch.zeros(count, 1, 4, 4)
    nothing = Variation(
        matrix, ones, ones, zeros, seeds, torch.zeros(count), flat, ones[:, 0, 0, 0]
    )
    return dataclasses.replace(nothing, **changes)


@pytest.mark.parametrize("degrade", [False, True])
def test_no_variation_leaves_the_picture(degrade: bool) -> None:
    squares = squares_of(2)
    found = vary(squares, still(2), degrade=degrade)
    torch.testing.assert_close(found, squares.float(), rtol=0, atol=0.01)


def test_a_smaller_square_shows_the_same_variation() -> None:
    random = torch.Generator().manual_seed(1)
    rough = torch.rand(4, 1, 6, 6, generator=random) * 255
    smooth = torch.nn.functional.interpolate(rough, size=(96, 96), mode="bicubic").clamp(0, 255)
    drawn = draw_variation(4, 7)
    variation = dataclasses.replace(drawn, noise=torch.zeros_like(drawn.noise))
    whole, small = vary(smooth, variation), vary(smooth, variation, side=32)
    assert small.shape == (4, 1, 32, 32)
    middle = slice(4, 28)  # at the rim it matters how far a pixel reaches beyond the picture
    away = (small - resized(whole, 32)).abs()
    assert float(away[..., middle, middle].mean()) < 1.5
    masks = smooth[:, 0] > 128
    moved = vary_masks(masks, variation, side=32)
    means = resized(vary_masks(masks, variation)[:, None], 32)[:, 0]
    assert float((moved - means).abs().mean()) < 0.05


def test_resizing_takes_the_means_of_the_pixels() -> None:
    squares = squares_of(2)
    assert resized(squares, None) is squares
    assert resized(squares, 48) is squares
    means = squares.float().reshape(2, 1, 16, 3, 16, 3).mean((3, 5))
    torch.testing.assert_close(resized(squares, 16), means)


def test_degraded_pictures_vary_by_themselves_too() -> None:
    squares, variation = squares_of(6), draw_variation(6, 4)
    together = vary(squares, variation, degrade=True)
    assert not torch.equal(together, vary(squares, variation))
    rows = torch.tensor([5, 0, 2])
    apart = vary(squares[rows], variation.take(rows), degrade=True)
    torch.testing.assert_close(apart, together[rows], rtol=0, atol=1e-3)


def test_each_picture_is_smoothed_by_its_own_gaussian() -> None:
    squares, sigma = squares_of(3), torch.tensor([0.0, 0.7, 1.4])
    found = vary(squares, still(3, blur=sigma), degrade=True)[:, 0].numpy()
    for picture, width, blurred in zip(squares[:, 0].numpy(), sigma.tolist(), found, strict=True):
        expected = gaussian_filter(picture.astype(float), width, mode="nearest", radius=4)
        assert blurred == pytest.approx(expected, abs=0.05)


def test_shading_is_a_smooth_factor_around_1() -> None:
    knots = torch.zeros(1, 1, 4, 4)
    knots[..., 2:] = 0.4
    grey = torch.full((1, 1, 64, 64), 100, dtype=torch.uint8)
    found = vary(grey, still(1, shade=knots), degrade=True)[0, 0] / 100
    plain = still(1, shade=knots, tones=torch.linspace(0, 1, 5)[None])
    torch.testing.assert_close(vary(grey, plain)[0, 0] / 100, found)  # randomised: the same way
    assert found[:, :8].mean() == pytest.approx(math.exp(-0.2), abs=0.03)
    assert found[:, -8:].mean() == pytest.approx(math.exp(0.2), abs=0.03)
    assert float(found.diff(dim=1).abs().max()) < 0.05
    assert float(found.log().mean()) == pytest.approx(0, abs=1e-3)


def test_randomised_pictures_vary_as_the_others_and_more() -> None:
    plain, more = draw_variation(4000, 3), draw_variation(4000, 3, randomise=True)
    smaller = torch.linalg.det(more.matrix[:, :, :2]) / torch.linalg.det(plain.matrix[:, :, :2])
    sizes = smaller.sqrt().log()
    assert float((sizes < 1e-4).float().mean()) == pytest.approx(0.5, abs=0.05)
    assert -1e-4 < float(sizes.min()) < 0.01 < 0.39 < float(sizes.max()) <= SMALLER + 1e-4
    torch.testing.assert_close(more.matrix[:, :, 2], plain.matrix[:, :, 2])
    for name in ("gamma", "gain", "noise", "seeds", "blur", "chance"):
        assert torch.equal(getattr(more, name), getattr(plain, name))
    assert more.tones is not None
    assert 0 == float(more.tones[:, 0].max()) <= float(more.tones.min())
    assert float(more.tones.max()) <= 1
    falls = (more.tones.diff(dim=1) < 0).any(1).float().mean()
    assert 0.2 < float(falls) < 0.5  # the order of grey values is turned round in some


def test_grey_values_follow_the_curve_of_their_picture() -> None:
    squares = squares_of(2)
    tones = torch.tensor([[0, 0.9, 0.2, 0.4, 0.1], [0, 0.25, 0.5, 0.75, 1]])
    found = vary(squares, still(2, tones=tones)).numpy()
    expected = np.interp(squares[0].numpy() / 255, np.linspace(0, 1, 5), tones[0].numpy()) * 255
    assert found[0] == pytest.approx(expected, abs=0.01)
    assert found[1] == pytest.approx(squares[1].numpy(), abs=0.01)


def test_randomised_pictures_vary_by_themselves_too() -> None:
    squares, variation = squares_of(6), draw_variation(6, 4, randomise=True)
    together = vary(squares, variation)
    assert not torch.equal(together, vary(squares, draw_variation(6, 4)))
    rows = torch.tensor([5, 0, 2])
    apart = vary(squares[rows], variation.take(rows))
    torch.testing.assert_close(apart, together[rows], rtol=0, atol=1e-3)


def test_seeds_of_neighbouring_counters_differ() -> None:
    seeds = {
        seed_of(0, kind, epoch, step) for kind in (0, 1) for epoch in range(9) for step in range(9)
    }
    assert len(seeds) == 2 * 81


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_freed_memory_is_kept_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARHEAD_KEEP_MEMORY", "0")
    assert not keep_freed_memory()
    script = (
        "import resource, numpy; from clearhead.model.memory import keep_freed_memory\n"
        "print(keep_freed_memory())\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(3): numpy.ones(1 << 23)\n"
        "before = faults()\n"
        "for _ in range(5): numpy.ones(1 << 23)\n"
        "print(faults() - before)\n"
    )
    counts = []
    for keep in ("1", "0"):
        environment = {**os.environ, "CLEARHEAD_KEEP_MEMORY": keep, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        counts.append(int(done.stdout.split()[1]))
    assert counts[0] * 10 < counts[1]  # 64 MiB blocks are faulted in once, not at every use
