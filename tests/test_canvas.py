"""Geometry in both directions: what is drawn where, and heat back on the picture's own grid."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from clearhead.data.canvas import Grid, draw, find_head, lift, place
from clearhead.types import Facts, Scan


def scan_of(pixels: NDArray[np.float32], depth: float = 255.0) -> Scan:
    height, width = pixels.shape
    return Scan(pixels, "case.png", "0" * 64, Facts("PNG", "L", height, width, 1), depth)


def ball(
    shape: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float]
) -> NDArray[np.float32]:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    inside = ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 < 1
    pixels: NDArray[np.float32] = (120 * inside).astype(np.float32)
    return pixels


def test_stretch_is_pillows_nearest_resize_as_the_report_uses_it() -> None:
    random = np.random.default_rng(0)
    stored = random.integers(0, 256, (301, 212), dtype=np.uint8)
    scan = scan_of(stored.astype(np.float32))
    ours = draw(scan, place(scan, fit="stretch", size_px=256))
    theirs = Image.fromarray(stored).convert("RGB").resize((256, 256), Image.Resampling.NEAREST)
    assert np.array_equal(ours, np.asarray(theirs)[..., 0])


def test_stretch_spreads_other_depths_over_the_range() -> None:
    pixels = np.linspace(500, 4000, 64 * 64, dtype=np.float32).reshape(64, 64)
    scan = scan_of(pixels, depth=65535.0)
    drawn = draw(scan, place(scan, fit="stretch", size_px=64))
    assert (drawn.min(), drawn.max()) == (0, 255)


@pytest.mark.parametrize("shape", [(240, 300), (300, 240), (512, 512), (90, 400)])
def test_the_head_is_found_with_its_margin(shape: tuple[int, int]) -> None:
    centre, radii = (shape[0] * 0.55, shape[1] * 0.45), (shape[0] * 0.3, shape[1] * 0.2)
    pixels = ball(shape, centre, radii)
    pixels[:3, :40] = 255  # a burned-in mark is no head
    top, left, bottom, right = find_head(pixels)
    step = max(shape) / 128 + 2
    assert abs(top - (centre[0] - radii[0])) < 2 * step
    assert abs(bottom - (centre[0] + radii[0])) < 2 * step
    assert abs(left - (centre[1] - radii[1])) < 2 * step
    assert abs(right - (centre[1] + radii[1])) < 2 * step


def test_a_thin_scalp_around_dark_skull_belongs_to_the_head() -> None:
    rows, columns = np.mgrid[:256, :256]
    distance = np.hypot(rows - 128, columns - 128)
    pixels = (100.0 * (distance < 70) + 200.0 * (np.abs(distance - 84) < 2)).astype(np.float32)
    top, left, bottom, right = find_head(pixels)
    assert max(abs(top - 42), abs(left - 42), abs(bottom - 214), abs(right - 214)) <= 5


def test_the_canvas_keeps_the_shape_of_the_head() -> None:
    scan = scan_of(ball((300, 420), (150, 210), (120, 80)))
    placement = place(scan, fit="canvas", size_px=192)
    down, across = placement.scale
    assert down == pytest.approx(across, rel=0.02)
    drawn = draw(scan, placement)
    rows, columns = np.nonzero(drawn > 127)
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(1.5, rel=0.05)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((40, 60), np.float32),
        np.full((40, 60), 7, np.float32),
        np.eye(50, dtype=np.float32),
        np.full((1, 1), 3, np.float32),
        np.random.default_rng(0).normal(0, 1, (3, 900)).astype(np.float32),
    ],
)
@pytest.mark.parametrize("fit", ["canvas", "stretch"])
def test_pictures_without_a_head_are_drawn_whole(pixels: NDArray[np.float32], fit: str) -> None:
    scan = scan_of(pixels)
    placement = place(scan, fit=fit, size_px=64)
    assert draw(scan, placement).shape == (64, 64)
    heat = lift(np.ones((8, 8), np.float32), Grid(0, 8), placement)
    assert heat.shape == pixels.shape


def test_mirroring_the_picture_mirrors_its_canvas() -> None:
    pixels = ball((256, 256), (120, 110), (80, 60)) + ball((256, 256), (100, 90), (20, 20))
    one, other = scan_of(pixels), scan_of(pixels[:, ::-1].copy())
    ours = draw(one, place(one, fit="canvas", size_px=128)).astype(float)
    theirs = draw(other, place(other, fit="canvas", size_px=128))[:, ::-1].astype(float)
    assert np.abs(ours - theirs).mean() < 3


@pytest.mark.parametrize("fit", ["canvas", "stretch"])
@pytest.mark.parametrize("grid", [Grid(0.0, 8.0), Grid(8.5, 4.0)])
def test_heat_returns_to_the_place_it_came_from(fit: str, grid: Grid) -> None:
    """A spot in the picture, cut into cells as a net of that grid sees it, comes back to itself."""
    pixels = ball((300, 400), (150, 200), (110, 130))
    spot = (180.0, 250.0)
    rows, columns = np.mgrid[:300, :400]
    bump = np.exp(-((rows - spot[0]) ** 2 + (columns - spot[1]) ** 2) / (2 * 18.0**2))
    scan = scan_of(pixels)
    placement = place(scan, fit=fit, size_px=256)
    top, left, bottom, right = placement.target
    above, before, below, after = placement.box
    square = np.zeros((256, 256), np.float32)
    square[top:bottom, left:right] = np.asarray(
        Image.fromarray(bump.astype(np.float32)[above:below, before:after]).resize(
            (right - left, bottom - top), Image.Resampling.BILINEAR
        )
    )
    cells = int((255 - 2 * grid.offset_px) // grid.stride_px) + 1
    at = grid.offset_px + grid.stride_px * np.arange(cells)
    cut = ndimage.map_coordinates(square, np.meshgrid(at, at, indexing="ij"), order=1)
    heat = lift(cut.astype(np.float32), grid, placement)
    found = ndimage.center_of_mass(np.maximum(heat - 0.05, 0))
    assert np.hypot(found[0] - spot[0], found[1] - spot[1]) < 1.5


def test_lift_is_bilinear_interpolation_between_cell_centres() -> None:
    random = np.random.default_rng(1)
    heat = random.random((5, 6)).astype(np.float32)
    scan = scan_of(np.ones((37, 53), np.float32))
    grid = Grid(3.5, 8.0)
    placement = place(scan, fit="stretch", size_px=48)
    rows = ((np.arange(37) + 0.5) * 48 / 37 - 0.5 - 3.5) / 8.0
    columns = ((np.arange(53) + 0.5) * 48 / 53 - 0.5 - 3.5) / 8.0
    literal = ndimage.map_coordinates(
        heat, np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest"
    )
    np.testing.assert_allclose(lift(heat, grid, placement), literal, atol=1e-5)


def test_what_the_net_did_not_see_has_no_heat() -> None:
    scan = scan_of(ball((200, 300), (100, 150), (50, 50)))
    placement = place(scan, fit="canvas", size_px=64)
    heat = lift(np.ones((8, 8), np.float32), Grid(0, 8), placement)
    top, left, bottom, right = placement.box
    assert np.all(heat[top:bottom, left:right] == pytest.approx(1.0))
    heat[top:bottom, left:right] = 0
    assert not heat.any()
