"""One generated head: its twin, its mask, its contrast, and no leak of its label."""

from __future__ import annotations

import functools
import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion, distance_transform_edt
from sklearn.metrics import roc_auc_score

from clearhead.data.heads import (
    CONTRASTS,
    HEALTHY,
    KINDS,
    PLANES,
    SMALLEST_TUMOUR_PX,
    TUMOUR,
    Head,
    _field,
    head,
)
from clearhead.errors import ManifestError
from clearhead.types import BACKGROUND, BRAIN, RIM

SIZE = 96


@functools.cache
def sample(label: str) -> list[Head]:
    return [head((7, index), label=label, size_px=SIZE) for index in range(80)]


def test_the_same_seed_gives_the_same_head() -> None:
    one, other = head((3, 4), size_px=SIZE), head((3, 4), size_px=SIZE)
    np.testing.assert_array_equal(one.pixels, other.pixels)
    np.testing.assert_array_equal(one.mask, other.mask)
    assert (head((3, 5), size_px=SIZE).pixels != one.pixels).any()


def test_a_healthy_twin_is_the_same_head_without_the_tumour() -> None:
    for ill, well in zip(sample(TUMOUR), sample(HEALTHY), strict=True):
        facts = ("kind", "plane", "contrast", "slice_mm", "spacing_mm", "seed")
        assert [getattr(ill, f) for f in facts] == [getattr(well, f) for f in facts]
        assert not well.mask.any()
        elsewhere = ~binary_dilation(ill.mask, iterations=3)
        np.testing.assert_array_equal(ill.regions[elsewhere], well.regions[elsewhere])
        # Ghosts of the tumour may fall outside of the skull, faintly.
        change = np.abs(ill.pixels.astype(int) - well.pixels)
        far = ~binary_dilation(ill.regions == BRAIN, iterations=4)
        assert change[far].mean() < 1.5


def test_the_tumour_is_what_differs_most() -> None:
    inside, outside = [], []
    for ill, well in zip(sample(TUMOUR), sample(HEALTHY), strict=True):
        change = np.abs(ill.pixels.astype(float) - well.pixels)
        inside.append(change[ill.mask].mean())
        outside.append(change[~ill.mask].mean())
    assert np.median(inside) > 10 * np.median(outside)


def test_every_mask_lies_inside_the_skull_and_can_be_seen() -> None:
    for ill in sample(TUMOUR):
        assert ill.mask.sum() >= SMALLEST_TUMOUR_PX * (SIZE / 256) ** 2
        assert (ill.regions[ill.mask] == BRAIN).all()


def test_sizes_run_from_small_to_large() -> None:
    share = np.array([ill.mask.mean() for ill in sample(TUMOUR)])
    assert np.quantile(share, 0.1) < 0.008
    assert np.quantile(share, 0.9) > 0.03


def test_a_meningioma_touches_the_skull_and_a_glioma_does_not() -> None:
    gaps: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for ill in sample(TUMOUR):
        if (ill.regions == RIM).any():
            gap = distance_transform_edt(ill.regions != RIM) * ill.spacing_mm
            gaps[ill.kind].append(float(gap[ill.mask].min()))
    assert np.quantile(gaps["meningioma"], 0.9) < 3.5
    assert np.quantile(gaps["ring"], 0.1) > 2.0


def test_an_enhancing_ring_is_brighter_than_its_core() -> None:
    differences = []
    for index in range(16):
        ill = head((9, index), kind="ring", contrast="T1-CE", plane="axial", size_px=SIZE)
        core = binary_erosion(ill.mask, iterations=4)
        if core.sum() > 10:
            wall = ill.mask & ~binary_erosion(ill.mask, iterations=2)
            differences.append(ill.pixels[wall].mean() - ill.pixels[core].mean())
    assert len(differences) > 5
    assert np.median(differences) > 15


def test_water_is_dark_on_t1_and_bright_on_t2() -> None:
    """The same slice of the same brain: where T1 is dark, T2 is bright."""
    for index in range(6):
        pair = [
            head((4, index), label=HEALTHY, contrast=contrast, plane="axial", size_px=SIZE)
            for contrast in ("T1", "T2")
        ]
        brain = binary_erosion(pair[0].regions == BRAIN, iterations=2)
        assert np.corrcoef(*(one.pixels[brain] for one in pair))[0, 1] < -0.2


def test_regions_lie_around_each_other() -> None:
    for well in sample(HEALTHY)[:20]:
        assert set(np.unique(well.regions)) <= {BACKGROUND, RIM, BRAIN}
        touching = binary_dilation(well.regions == BRAIN) & (well.regions == BACKGROUND)
        assert not touching.any()


def test_every_kind_plane_and_contrast_can_be_asked_for() -> None:
    for kind in KINDS:
        for plane in PLANES:
            for contrast in CONTRASTS:
                got = head((1, 2), kind=kind, plane=plane, contrast=contrast, size_px=32)
                assert (got.kind, got.plane, got.contrast) == (kind, plane, contrast)
                assert got.mask.any()


@pytest.mark.parametrize("wrong", ["label", "kind", "plane", "contrast"])
def test_what_does_not_exist_is_one_line(wrong: str) -> None:
    with pytest.raises(ManifestError, match="no generated head is 'hat': expected"):
        head((0, 0), **{wrong: "hat"})  # type: ignore[arg-type]


def border_mean(one: Head) -> float:
    frame = np.ones((SIZE, SIZE), bool)
    frame[2:-2, 2:-2] = False
    return float(one.pixels[frame].mean())


def file_bytes(one: Head) -> float:
    file = io.BytesIO()
    Image.fromarray(one.pixels).save(file, "PNG")
    return float(len(file.getvalue()))


def background_share(one: Head) -> float:
    return float((one.pixels < 8).mean())


def rim_mean(one: Head) -> float:
    return float(one.pixels[one.regions == RIM].mean())


@pytest.mark.parametrize("fact", [border_mean, file_bytes, background_share, rim_mean])
def test_the_label_does_not_leak(fact) -> None:  # type: ignore[no-untyped-def]
    """AUC of one fact, halves of the sample with different seeds: within three standard errors."""
    heads = sample(TUMOUR)[:40] + sample(HEALTHY)[40:]
    truth = [one.label == TUMOUR for one in heads]
    auc = roc_auc_score(truth, [fact(one) for one in heads])
    error = np.sqrt((40 + 40 + 1) / (12 * 40 * 40))  # of a rank test under no difference
    assert abs(auc - 0.5) < 3 * error


def test_a_smooth_field_has_variance_one_and_its_bumps() -> None:
    fields: list[NDArray[np.float32]] = [
        _field(np.random.default_rng(seed), 64, 8) for seed in range(200)
    ]
    assert np.var(fields) == pytest.approx(1, abs=0.05)
    step = np.mean([np.mean(np.diff(field, axis=1) ** 2) for field in fields])
    assert step < 0.1
