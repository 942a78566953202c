"""The numbers of a view against slow literal versions."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

from clearhead.data.canvas import draw, place
from clearhead.data.heads import head
from clearhead.data.places import (
    AROUND,
    BANDS,
    BRIGHT,
    CORNERS,
    INSIDE,
    OUTSIDE,
    PLACES,
    RIM,
    SIDES,
    VIEW,
    cells,
    look,
    percentiles,
    project,
    zones_of,
)
from clearhead.data.silhouette import Silhouette, head_mask
from clearhead.files import sha256
from clearhead.types import Facts, Scan

RNG = np.random.default_rng(8)


def scan_of(pixels: NDArray[Any]) -> Scan:
    facts = Facts("PNG", "L", len(pixels), pixels.shape[1], pixels.size)
    return Scan(pixels.astype(np.float32), "x.png", sha256(pixels.tobytes()), facts)


@cache
def case(view: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[Any]]:
    """Picture, zones and record of one generated head."""
    scan = scan_of(head((41, 0), plane="axial", size_px=200).pixels[:, 20:190])
    placement = place(scan, fit=view, size_px={"stretch": 256, "canvas": 160}[view])
    found = head_mask(scan.pixels)
    assert found.found
    picture, zones = draw(scan, placement), project(zones_of(found), placement)
    return picture, zones, look(picture, zones, True)


def number(record: NDArray[Any], where: str, name: str) -> float:
    return float(record[where][PLACES[where].index(name)])


VIEWS = pytest.mark.parametrize("view", ["stretch", "canvas"])


def test_every_number_has_a_name_of_its_own() -> None:
    for place_, names in PLACES.items():
        assert len(set(names)) == len(names), place_
        assert VIEW[place_].shape == (len(names),)
        assert all(name and name == name.strip() for name in names)
    every = [name for names in PLACES.values() for name in names]
    assert len(set(every)) == len(every)


@VIEWS
def test_border(view: str) -> None:
    picture, _, record = case(view)
    side = len(picture)
    for ring, wide in (("1 px", 1), ("3 %", round(0.03 * side))):
        edges = (
            picture[:wide],
            picture[side - wide :],
            picture[:, :wide],
            picture[:, side - wide :],
        )
        for name, edge in zip(SIDES, edges, strict=True):
            at = f"in the {name} edge ({ring})"
            assert number(record, "border", f"mean level {at}") == pytest.approx(np.mean(edge))
            assert number(record, "border", f"spread of levels {at}") == pytest.approx(np.std(edge))
            assert number(record, "border", f"highest level {at}") == edge.max()
    ring_ = [picture[r, c] for r, c in product(range(side), repeat=2) if {r, c} & {0, side - 1}]
    assert number(record, "border", "lowest level in the outermost ring of pixels") == min(ring_)
    eighth = side // 8
    for name, rows, columns in zip(
        CORNERS, (0, 0, side - eighth, side - eighth), (0, side - eighth) * 2, strict=True
    ):
        square = picture[rows : rows + eighth, columns : columns + eighth]
        found = number(record, "border", f"mean level in the {name} corner")
        assert found == pytest.approx(square.mean())
        assert number(record, "border", f"highest level in the {name} corner") == square.max()


@VIEWS
def test_background(view: str) -> None:
    picture, zones, record = case(view)
    outside = picture[zones == OUTSIDE].astype(float)
    expected = {
        "mean level outside the head": outside.mean(),
        "spread of levels outside the head": outside.std(),
        "highest level outside the head": outside.max(),
        "share of pixels of level 0 outside the head": np.mean(outside == 0),
        f"share of pixels above level {BRIGHT} outside the head": np.mean(outside > BRIGHT),
    }
    for at in (5, 50, 95, 99):
        expected[f"{at}th percentile of levels outside the head"] = np.percentile(outside, at)
    half = len(picture) // 2
    for name, (row, column) in zip(CORNERS, product((0, 1), repeat=2), strict=True):
        quarter = (slice(row * half, (row + 1) * half), slice(column * half, (column + 1) * half))
        here = picture[quarter][zones[quarter] == OUTSIDE]
        expected[f"mean level outside the head, {name} quarter"] = here.mean()
        bright = f"share of pixels above level {BRIGHT} outside the head, {name} quarter"
        expected[bright] = np.mean(here > BRIGHT)
    assert list(expected) != []
    assert set(expected) == set(PLACES["background"])
    for name, value in expected.items():
        assert number(record, "background", name) == pytest.approx(value, rel=1e-5), name


@VIEWS
def test_rim_and_intensity(view: str) -> None:
    picture, zones, record = case(view)
    rim, inside = (picture[zones == zone].astype(float) for zone in (RIM, INSIDE))
    expected = [rim.mean(), rim.std(), *np.percentile(rim, (5, 25, 50, 75, 95))]
    expected += [rim.mean() / inside.mean(), np.percentile(rim, 95) / np.median(inside)]
    np.testing.assert_allclose(record["rim"], expected, rtol=1e-5)
    share = np.bincount(picture.ravel()) / picture.size
    entropy = -sum(each * math.log2(each) for each in share if each)
    expected = [picture.mean(), picture.std(), *np.percentile(picture, (1, 5, 25, 50, 75, 95, 99))]
    expected += [np.mean(picture == 0), np.mean(picture == 255), entropy]
    np.testing.assert_allclose(record["intensity"], expected, rtol=1e-5)


def test_percentiles_are_those_of_numpy() -> None:
    at = (0, 1, 5, 25, 50, 75, 95, 99, 100)
    for count in (1, 2, 3, 10, 1001):
        levels = RNG.integers(0, 256, count)
        found = percentiles(np.bincount(levels, minlength=256), at)
        np.testing.assert_allclose(found, np.percentile(levels, at))


# --- Sharpness ------------------------------------------------------------------------------


@VIEWS
def test_bands_by_the_whole_transform(view: str) -> None:
    picture, _, record = case(view)
    side = len(picture)
    wave = np.array([math.sin(math.pi * (place + 0.5) / side) ** 2 for place in range(side)])
    window = np.outer(wave, wave)
    level = (picture * window).sum() / window.sum()
    power = np.abs(np.fft.fft2((picture - level) * window)) ** 2
    down, across = np.meshgrid(*(np.abs(np.fft.fftfreq(side)),) * 2, indexing="ij")
    radius = np.hypot(down, across)
    for low, high in pairwise(BANDS):
        name = f"power at {low:.2f}–{high:.2f} cycles per pixel (dB of all power)"
        share = power[(radius >= low) & (radius < high)].sum() / power.sum()
        assert number(record, "sharpness", name) == pytest.approx(10 * math.log10(share), abs=0.01)
    fine = radius >= 0.25
    ratio = power[fine & (across >= 2 * down)].sum() / power[fine & (down >= 2 * across)].sum()
    name = "fine detail across over fine detail down (dB)"
    assert number(record, "sharpness", name) == pytest.approx(10 * math.log10(ratio), abs=0.01)


@VIEWS
def test_laplacian_noise_and_repeats(view: str) -> None:
    picture, zones, record = case(view)
    values, inside = picture.astype(float), zones >= RIM
    laplacian = ndimage.laplace(values)[1:-1, 1:-1]
    name = "energy of the Laplacian over the variance of levels"
    expected = np.mean(laplacian**2) / values.var()
    assert number(record, "sharpness", name) == pytest.approx(expected, rel=1e-4)
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
    mask = np.abs(ndimage.convolve(values, kernel))[1:-1, 1:-1][inside[1:-1, 1:-1]]
    expected = math.sqrt(math.pi / 2) / 6 * mask.mean()
    found = number(record, "sharpness", "noise in the head (levels)")
    assert found == pytest.approx(expected, rel=1e-4)
    for name, (row, column) in {"right": (0, 1), "lower": (1, 0)}.items():
        equal = [
            picture[r, c] == picture[r + row, c + column]
            for r, c in np.argwhere(inside)
            if r + row < len(picture) and c + column < len(picture)
        ]
        found = number(
            record, "sharpness", f"share of the head's pixels that equal their {name} neighbour"
        )
        assert found == pytest.approx(np.mean(equal))


def test_the_noise_estimate_is_that_of_the_noise() -> None:
    flat = np.full((256, 256), INSIDE, np.uint8)
    for sigma in (2, 5, 12):
        picture = np.clip(RNG.normal(120, sigma, (256, 256)).round(), 0, 255).astype(np.uint8)
        found = number(look(picture, flat, False), "sharpness", "noise in the head (levels)")
        assert found == pytest.approx(sigma, rel=0.05)


def test_blur_and_squeezing_show() -> None:
    picture, zones, plain = case("stretch")
    blurred = ndimage.gaussian_filter(picture, 2)
    finest = "power at 0.40–0.45 cycles per pixel (dB of all power)"
    soft = look(blurred, zones, True)
    assert number(soft, "sharpness", finest) < number(plain, "sharpness", finest) - 6
    doubled = picture[:, ::2].repeat(2, axis=1)
    same = "share of the head's pixels that equal their right neighbour"
    record = look(doubled, zones, True)
    assert number(record, "sharpness", same) > number(plain, "sharpness", same) + 0.1
    lower = same.replace("right", "lower")
    assert number(record, "sharpness", lower) == pytest.approx(
        number(plain, "sharpness", lower), abs=0.05
    )


# --- Shape ----------------------------------------------------------------------------------


def shape_of(mask: NDArray[np.bool_]) -> dict[str, float]:
    zones = np.where(mask, INSIDE, OUTSIDE).astype(np.uint8)
    record = look(zones * 60, zones, True)["shape"]
    return dict(zip(PLACES["shape"], record.tolist(), strict=True))


def ellipse(half_down: float, half_across: float, turn: float) -> NDArray[np.bool_]:
    """An ellipse on 160×160 whose axes are turned clockwise by `turn` degrees."""
    row, column = np.mgrid[:160, :160] - 79.5
    angle = math.radians(turn)
    along = -row * math.cos(angle) + column * math.sin(angle)
    beside = row * math.sin(angle) + column * math.cos(angle)
    mask: NDArray[np.bool_] = (along / half_down) ** 2 + (beside / half_across) ** 2 <= 1
    return mask


@VIEWS
def test_shape(view: str) -> None:
    _, zones, record = case(view)
    mask, side = zones >= RIM, len(zones)
    rows, columns = np.nonzero(mask)
    corners = np.array(
        [(r + i, c + j) for r, c in np.argwhere(mask) for i in (0, 1) for j in (0, 1)]
    )
    centre = (rows.mean() + 0.5) / side - 0.5, (columns.mean() + 0.5) / side - 0.5
    moments, axes = np.linalg.eigh(np.cov(rows, columns, bias=True))
    long = axes[:, 1] * -np.sign(axes[0, 1])
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    expected = [
        *(1, (right - left) / side, (bottom - top) / side, (right - left) / (bottom - top)),
        *(mask.mean(), top / side, left / side, bottom / side, right / side),
        *(mask.sum() / ConvexHull(corners).volume, *centre, math.hypot(*centre)),
        *(math.sqrt(1 - moments[0] / moments[1]), math.degrees(math.atan2(long[1], -long[0]))),
    ]
    np.testing.assert_allclose(record["shape"], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("turn", [-60, -20, 0, 15, 45, 80, 90])
def test_tilt_and_eccentricity_of_an_ellipse(turn: float) -> None:
    found = shape_of(ellipse(60, 36, turn))
    tilt = found["tilt of the head's long axis to the right (degrees from upright)"]
    assert -90 <= tilt <= 90
    assert (tilt - turn + 90) % 180 == pytest.approx(90, abs=0.5)  # −90 is 90
    eccentricity = found["eccentricity of the head (0 round, 1 flat)"]
    assert eccentricity == pytest.approx(math.sqrt(1 - (36 / 60) ** 2), abs=0.01)
    assert found["solidity of the head (area over convex area)"] > 0.97


def test_a_disc_is_round_and_a_ring_segment_is_not_solid() -> None:
    disc = ellipse(50, 50, 0)
    assert shape_of(disc)["eccentricity of the head (0 round, 1 flat)"] < 0.02
    bitten = disc & ~np.roll(ellipse(40, 40, 0), 40, axis=1)
    assert shape_of(bitten)["solidity of the head (area over convex area)"] < 0.8


def test_coarse_pictures_are_means_of_cells() -> None:
    picture, zones, record = case("canvas")
    slow = [
        [picture[r * 10 : r * 10 + 10, c * 10 : c * 10 + 10].mean() for c in range(16)]
        for r in range(16)
    ]
    np.testing.assert_allclose(cells(picture), slow, rtol=1e-5)
    np.testing.assert_allclose(record["thumbnail"], np.ravel(slow), rtol=1e-5)
    np.testing.assert_allclose(record["silhouette"], cells(zones >= RIM).ravel())
    assert PLACES["thumbnail"][17] == "mean level of cell (row 2, column 2 of 16)"


# --- Zones ----------------------------------------------------------------------------------


def test_zones_lie_around_each_other() -> None:
    mask = ellipse(60, 45, 10)[::2, ::2]
    zones = zones_of(Silhouette(mask, True))
    np.testing.assert_array_equal(zones >= RIM, mask)
    away = ndimage.distance_transform_edt(~mask)
    inwards = ndimage.distance_transform_edt(mask)
    assert away[zones == AROUND].max() <= 4
    assert away[zones == OUTSIDE].min() >= 2
    assert inwards[zones == RIM].max() <= inwards[zones == INSIDE].min() + 1.5
    band = 0.06 * math.sqrt(np.ptp(np.nonzero(mask)[0]) * np.ptp(np.nonzero(mask)[1]))
    assert inwards[zones == RIM].max() == pytest.approx(band, abs=1.5)


def test_a_head_cut_off_by_the_picture_has_no_scalp_there() -> None:
    mask = np.zeros((80, 80), bool)
    mask[30:, 20:60] = True
    zones = zones_of(Silhouette(mask, True))
    assert zones[79, 40] == INSIDE
    assert zones[31, 40] == RIM


def test_zones_lie_where_the_picture_is_drawn() -> None:
    """A picture of its own zones, drawn by the canvas, has the levels of the projected zones."""
    mask = ellipse(60, 45, 0)[:120, :]
    zones = zones_of(Silhouette(mask, True))
    scan = scan_of(np.where(mask, 200, 0).astype(np.uint8))
    for fit in ("stretch", "canvas"):
        placement = place(scan, fit=fit, size_px=160)
        drawn = draw(scan, placement) > 100
        assert np.mean(drawn != (project(zones, placement) >= RIM)) < 0.01


def test_what_cannot_be_said_is_nan() -> None:
    whole = zones_of(Silhouette(np.ones((64, 64), bool), False))
    picture = RNG.integers(0, 256, (160, 160), dtype=np.uint8)
    record = look(picture, np.full((160, 160), whole[0, 0]), False)
    for where in ("background", "rim", "silhouette"):
        assert np.isnan(record[where]).all(), where
    assert record["shape"][0] == 0
    assert np.isnan(record["shape"][1:]).all()
    for where in ("border", "intensity", "sharpness", "thumbnail"):
        assert np.isfinite(record[where]).all(), where


@pytest.mark.parametrize("level", [0, 7, 255])
def test_a_picture_of_one_level_raises_nothing(level: int) -> None:
    record = look(
        np.full((256, 256), level, np.uint8), np.full((256, 256), INSIDE, np.uint8), False
    )
    assert np.isnan(record["sharpness"][: len(BANDS)]).all()
    assert record["intensity"][0] == level
    assert record["intensity"][-1] == 0
