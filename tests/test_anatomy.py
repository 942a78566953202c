"""The template head: looked up as an independent library would, and anatomically in place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from clearhead.data import anatomy as module
from clearhead.data.anatomy import BRAIN, DISTANCE_MM_PER_STEP, HEAD, SELLA_MM, Volume, anatomy
from clearhead.errors import ReadError


def at(place_mm: tuple[float, float, float]) -> dict[str, float]:
    """Every channel at one place: shares in 0–1, distances in mm."""
    points = np.array(place_mm, np.float32)[:, None]
    model = anatomy()
    brain = dict(zip(BRAIN, model.brain.sample(points)[:, 0] / 255, strict=True))
    head = dict(zip(HEAD, model.head.sample(points)[:, 0] / 255, strict=True))
    for name in ("outward", "inward", "ventricle"):
        head[name] = (head[name] * 255 - 128) * DISTANCE_MM_PER_STEP
    return {name: float(value) for name, value in (brain | head).items()}


def test_sampling_is_trilinear_with_the_nearest_voxel_beyond_the_edge() -> None:
    rng = np.random.default_rng(0)
    channels = rng.integers(0, 256, (7, 9, 5, 4), np.uint8)
    volume = Volume(channels.view(np.uint32)[..., 0], (-3.0, 2.0, 10.0), 2.0)
    points = rng.uniform((-6, 0, 8), (13, 21, 20), (500, 3)).T.astype(np.float32)
    places = (points - np.array([[-3], [2], [10]])) / 2
    slow = [
        map_coordinates(channels[..., c].astype(float), places, order=1, mode="nearest")
        for c in range(4)
    ]
    np.testing.assert_allclose(volume.sample(points), slow, atol=1e-3)


def test_tissues_lie_where_an_anatomist_expects_them() -> None:
    assert at((26, -20, 30))["wm"] > 0.8  # centrum semiovale
    assert at((0, 24, 4))["wm"] > 0.6  # genu of the corpus callosum
    assert at((26, 6, 2))["gm"] > 0.5  # putamen
    ventricle = at((8, 8, 14))
    assert ventricle["wm"] + ventricle["gm"] < 0.6
    assert ventricle["ventricle"] < 3
    assert at(SELLA_MM)["gland"] > 0.9
    assert at((0, -40, 78))["vessel"] > 0.9  # superior sagittal sinus


def test_layers_follow_each_other_from_brain_to_air() -> None:
    inside, scalp, air = at((40, -20, 40)), at((0, -20, 88)), at((0, -20, 108))
    assert inside["outward"] < -5
    assert inside["inward"] > 15
    assert scalp["outward"] > 2
    assert scalp["inward"] > 0
    assert air["inward"] < 0


@pytest.mark.parametrize("side", [1, -1])
def test_eyes_nose_and_sinuses_are_in_the_face(side: int) -> None:
    assert at((side * 31, 63, -37))["fluid"] > 0.9
    assert at((side * 29, 54, -66))["air"] > 0.9
    assert at((side * 31, 63, -37))["outward"] > 0


def test_outside_of_the_skull_there_is_no_brain() -> None:
    x, y, z = np.meshgrid(*[np.arange(low, high, 5.0) for low, high in module._BRAIN_BOX])
    points = np.stack([x.ravel(), y.ravel(), z.ravel()]).astype(np.float32)
    wm, gm = anatomy().brain.sample(points)[:2] / 255
    outward = (anatomy().head.sample(points)[0] - 128) * DISTANCE_MM_PER_STEP
    assert (wm + gm)[outward > 2].max() < 0.3


def test_the_cache_is_read_back_and_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = np.random.default_rng(1).integers(0, 256, (3, 4, 5, 4), np.uint8)
    built: list[int] = []

    def build() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        built.append(1)
        return channels

    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    plain = module._cached("test", build, 4)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first, second = module._cached("test", build, 4), module._cached("test", build, 4)
    assert len(built) == 2
    for found in (plain, first, second):
        np.testing.assert_array_equal(found, channels.view(np.uint32)[..., 0])


def test_a_missing_template_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TEMPLATE", "missing_{}.nii.gz")
    with pytest.raises(ReadError, match=r"missing_gm.nii.gz is missing: reinstall nilearn"):
        module._template("gm")
