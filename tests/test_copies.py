from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from clearhead.data import copies
from clearhead.data.contrast import FLOOR, TURNS, UNDONE, local_contrast, turned
from clearhead.data.copies import (
    THRESHOLD,
    copy_groups,
    copy_report,
    find_copies,
)
from clearhead.data.thumbnail import SIDE, thumbnail
from clearhead.errors import ManifestError
from clearhead.files import sha256
from clearhead.types import Bar, Manifest, silent
from oracles import manifest_of

T = TypeVar("T")
Picture = NDArray[np.uint8]


def _field(random: np.random.Generator, shape: tuple[int, int], px: float) -> NDArray[np.float64]:
    field: NDArray[np.float64] = gaussian_filter(random.normal(size=shape), px)
    field /= field.std()
    return field


def _texture(random: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Noise at three scales, as folds, ventricles and a bias field are."""
    coarse = _field(random, shape, 15) + _field(random, shape, 5)
    return coarse + 0.8 * _field(random, shape, 1.5)


def _shaded(texture: NDArray[np.float64]) -> Picture:
    """A head that holds the texture: an oval within a bright rim on black."""
    height, width = texture.shape
    rows, columns = np.mgrid[:height, :width]
    radius = np.hypot((rows / height - 0.5) / 0.44, (columns / width - 0.5) / 0.40)
    inside = 1 / (1 + np.exp((radius - 0.9) * 40))
    rim = np.exp(-np.square((radius - 0.97) / 0.04))
    drawn: Picture = np.clip(inside * (95 + 26 * texture) + 130 * rim, 0, 255).astype(np.uint8)
    return drawn


@cache
def _head(seed: int, height: int = 140, width: int = 120) -> Picture:
    head = _shaded(_texture(np.random.default_rng(seed), (height, width)))
    head.setflags(write=False)
    return head


def _rows(pictures: Sequence[Picture], **columns: Sequence[Any]) -> Manifest:
    count = len(pictures)
    known: dict[str, Sequence[Any]] = {
        "source": [f"{place:05d}.png" for place in range(count)],
        "label": ["tumour"] * count,
        "pixel_hash": [sha256(picture.tobytes()) for picture in pictures],
        "mode": ["L"] * count,
        "std": [float(picture.std()) for picture in pictures],
    }
    return manifest_of(Path(), ("tumour", "healthy"), **{**known, **columns})


def _thumbs(pictures: Sequence[Picture]) -> NDArray[np.uint8]:
    return np.stack([thumbnail(picture.astype(np.float32)) for picture in pictures])


def _found(pictures: Sequence[Picture], **columns: Sequence[Any]) -> Manifest:
    return find_copies(_rows(pictures, **columns), _thumbs(pictures))


def _jpeg(picture: Picture, quality: int) -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def _resized(picture: Picture, width: int, height: int) -> Picture:
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def _levels(change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Callable[..., Picture]:
    def changed(picture: Picture) -> Picture:
        values: Picture = np.clip(255 * change(picture / 255.0), 0, 255).astype(np.uint8)
        return values

    return changed


def _noisy(picture: Picture) -> Picture:
    noise = np.random.default_rng(5).normal(0, 6, picture.shape)
    values: Picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    return values


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "same pixels": lambda picture: picture.copy(),
    "JPEG 95": lambda picture: _jpeg(picture, 95),
    "JPEG 75": lambda picture: _jpeg(picture, 75),
    "JPEG 50": lambda picture: _jpeg(picture, 50),
    "twice as large": lambda picture: _resized(picture, 240, 280),
    "half as large": lambda picture: _resized(picture, 60, 70),
    "another aspect": lambda picture: _resized(picture, 200, 200),
    "brighter": _levels(lambda value: value + 0.15),
    "darker": _levels(lambda value: value - 0.1),
    "more contrast, clipped": _levels(lambda value: (value - 0.4) * 1.8 + 0.4),
    "less contrast": _levels(lambda value: value * 0.4 + 0.2),
    "gamma 0.7": _levels(lambda value: value**0.7),
    "gamma 1.5": _levels(lambda value: value**1.5),
    "noise": _noisy,
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_copy_is_found_in_every_turn(name: str) -> None:
    heads = [_head(seed) for seed in range(4)]
    changed = [np.ascontiguousarray(turned(CHANGES[name](heads[0]), turn)) for turn in range(TURNS)]
    found = _found([*heads, *changed])
    assert found.column("copy").tolist() == [0, 1, 2, 3, *[0] * TURNS]
    # What maps the copy back onto the original undoes what was done to it.
    assert found.column("turn").tolist() == [0, 0, 0, 0, *UNDONE]
    report = copy_report(found)
    assert (report.files, report.distinct, report.largest) == (12, 4, 9)
    assert report.mirrored == TURNS - 1


def _bordered(picture: Picture, *widths: int) -> Picture:
    """With a black border above, below, on the left and on the right."""
    top, bottom, left, right = widths
    return np.pad(picture, ((top, bottom), (left, right)))


BORDERS: dict[str, Callable[[Picture], Picture]] = {
    "cut off to the head": lambda picture: picture[8:-8, 12:-12],
    "cut off on two sides": lambda picture: picture[8:, :-12],
    "added all around": lambda picture: _bordered(picture, 20, 20, 20, 20),
    "added on one side": lambda picture: _bordered(picture, 0, 0, 45, 0),
    "added to a square, scaled": lambda picture: _resized(_bordered(picture, 0, 0, 10, 10), 96, 96),
    "cut off, brighter, JPEG": lambda picture: _jpeg(CHANGES["brighter"](picture[7:-7, 9:-9]), 75),
    "with letters in it": lambda picture: _lettered(_bordered(picture, 10, 30, 25, 25)),
}


def _lettered(picture: Picture) -> Picture:
    drawn = picture.copy()
    for column in range(8, 60, 8):
        drawn[-14:-5, column : column + 3] = 255
        drawn[-10:-8, column : column + 6] = 255
    return drawn


@pytest.mark.parametrize("name", BORDERS)
def test_a_copy_with_another_border_is_found_in_every_turn(name: str) -> None:
    heads = [_head(seed) for seed in range(4)]
    changed = [np.ascontiguousarray(turned(BORDERS[name](heads[0]), turn)) for turn in range(TURNS)]
    found = _found([*heads, *changed])
    assert found.column("copy").tolist() == [0, 1, 2, 3, *[0] * TURNS]
    assert found.column("turn").tolist() == [0, 0, 0, 0, *UNDONE]


def test_different_heads_with_any_border_are_kept_apart() -> None:
    random = np.random.default_rng(0)
    heads = [_bordered(_head(seed), *random.integers(0, 30, 4)) for seed in range(60)]
    assert copy_report(_found(heads)).distinct == 60


def test_copies_with_and_without_their_border_are_one_group() -> None:
    """Two families of whole copies, joined by what their heads look like."""
    heads = [_head(seed) for seed in range(6)]
    whole = [CHANGES[name](head) for head in heads for name in ("gamma 0.7", "JPEG 75")]
    cut = [BORDERS["cut off to the head"](head) for head in heads]
    cut += [np.ascontiguousarray(picture[:, ::-1]) for picture in cut]
    found = _found([*whole, *cut])
    assert found.column("copy").tolist() == [*np.repeat(range(6), 2), *range(6), *range(6)]
    assert found.column("turn").tolist() == [*[0] * 18, *[1] * 6]


def test_several_changes_at_once_are_seen_through() -> None:
    heads = [_head(seed) for seed in range(12)]
    chain = ("gamma 0.7", "half as large", "noise", "less contrast", "JPEG 75")
    changed = []
    for place, head in enumerate(heads):
        for name in chain:
            head = CHANGES[name](head)
        changed.append(np.ascontiguousarray(turned(head, place % TURNS)))
    found = _found(heads + changed)
    assert found.column("copy").tolist() == [*range(12), *range(12)]


def test_different_heads_of_one_shape_are_kept_apart() -> None:
    found = _found([_head(seed) for seed in range(60)])
    assert copy_report(found).distinct == 60
    assert list(copy_groups(found)) == []


def test_the_next_slices_of_a_head_are_no_copies() -> None:
    """Their plain thumbnails correlate by more than 0.95; their local contrast does not."""
    random = np.random.default_rng(0)
    shape = (140, 120)
    coarse = np.stack([_field(random, shape, 15) + _field(random, shape, 8) for _ in range(30)])
    fine = np.stack([_field(random, shape, 2) for _ in range(30)])
    coarse = gaussian_filter1d(coarse, 2.5, axis=0) * 2.5
    fine = gaussian_filter1d(fine, 0.6, axis=0)
    slices = [_shaded(texture) for texture in coarse + fine]
    thumbs = _thumbs(slices).reshape(30, -1).astype(float)
    neighbours = [np.corrcoef(thumbs[place], thumbs[place + 1])[0, 1] for place in range(29)]
    assert np.median(neighbours) > 0.95
    assert copy_report(_found(slices)).distinct == 30
    cut = [picture[8:-8, 12:-12] if place % 2 else picture for place, picture in enumerate(slices)]
    assert copy_report(_found(cut)).distinct == 30


def test_a_chain_that_drifts_away_is_cut() -> None:
    """Each picture is a copy of the next, the first and the last have nothing in common."""
    random = np.random.default_rng(1)
    first, last = _texture(random, (140, 120)), _texture(random, (140, 120))
    angles = np.linspace(0, np.pi, 19)
    steps = [_shaded(first * np.cos(angle) + last * np.sin(angle)) for angle in angles]
    contrast = local_contrast(_thumbs(steps)).reshape(19, -1)
    agreement = contrast @ contrast.T
    assert np.diag(agreement, 1).min() > THRESHOLD  # single linkage would make one group of it
    assert agreement[0, -1] < 0.6
    found = _found(steps)
    copy = found.column("copy")
    assert len(np.unique(copy)) > 1
    for number in np.unique(copy):
        inside = np.flatnonzero(copy == number)
        # Some member, the centre, agrees with all of them.
        assert agreement[np.ix_(inside, inside)].min(axis=1).max() >= copies.DRIFT


# --- Pictures with nothing to compare -------------------------------------------------------


def test_flat_and_dark_pictures_are_copies_only_where_their_pixels_are() -> None:
    random = np.random.default_rng(0)
    black = np.zeros((50, 60), dtype=np.uint8)
    grey = np.full((50, 60), 90, dtype=np.uint8)
    # The same faint shading under different noise: correlated, but with nothing in it.
    ramp = np.linspace(0, 3, 60)[None, :].repeat(50, axis=0)
    faint = [(ramp + random.random((50, 60))).astype(np.uint8) for _ in range(10)]
    found = _found([black, grey, *faint, black, faint[3]])
    assert found.column("copy").tolist() == [*range(12), 0, 5]


def test_a_few_bright_pixels_make_no_copies() -> None:
    """A marker burned in at the same place of dark, noisy pictures."""
    random = np.random.default_rng(0)
    dark = []
    for _ in range(20):
        picture = random.integers(0, 6, (128, 128)).astype(np.uint8)
        picture[4:12, 4:12] = 255
        dark.append(picture)
    thumbs = _thumbs(dark).reshape(20, -1).astype(float)
    assert np.corrcoef(thumbs).min() > 0.95
    assert copy_report(_found(dark)).distinct == 20


def test_pure_noise_is_joined_to_nothing() -> None:
    random = np.random.default_rng(0)
    noise = [random.integers(0, 256, (64, 64)).astype(np.uint8) for _ in range(40)]
    assert copy_report(_found(noise)).distinct == 40


def test_a_binary_picture_is_not_called_flat() -> None:
    masks = [(_head(seed) > 100).astype(np.uint8) for seed in range(3)]
    pictures = [*masks, masks[1][:, ::-1].copy()]
    assert _found(pictures, mode=["1"] * 4).column("copy").tolist() == [0, 1, 2, 1]


def test_unreadable_rows_are_groups_of_their_own() -> None:
    head = _head(0)
    blank = np.zeros((1, 1), dtype=np.uint8)
    found = _found(
        [head, blank, blank, head],
        error=[None, "broken", "broken", None],
        pixel_hash=["a", None, None, "a"],
        mode=["L", None, None, "L"],
        std=[50.0, None, None, 50.0],
    )
    assert found.column("copy").tolist() == [0, 1, 2, 0]
    assert found.column("group").tolist() == [0, 1, 2, 0]
    report = copy_report(found)
    assert (report.files, report.distinct, report.unreadable) == (2, 1, 2)


def test_an_empty_manifest_and_one_without_readable_rows_pass() -> None:
    nothing = np.zeros(1, dtype=np.bool_)
    empty = find_copies(_rows([_head(0)]).take(nothing), _thumbs([_head(0)])[nothing])
    assert copy_report(empty).files == 0
    assert list(copy_groups(empty)) == []
    blank = np.zeros((1, 1), dtype=np.uint8)
    broken = _found([blank], error=["broken"], pixel_hash=[None], mode=[None], std=[None])
    assert copy_report(broken).unreadable == 1


# --- Identities -----------------------------------------------------------------------------


@cache
def _family() -> list[Picture]:
    heads = [_head(seed, 100, 90) for seed in range(25)]
    family = list(heads)
    random = np.random.default_rng(3)
    names = list(CHANGES)
    for _ in range(60):
        head = heads[int(random.integers(12)) ** 2 // 12]
        changed = CHANGES[names[int(random.integers(len(names)))]](head)
        family.append(np.ascontiguousarray(turned(changed, int(random.integers(TURNS)))))
    return family


def test_the_order_of_rows_does_not_matter() -> None:
    pictures = _family()
    people = [f"p{place % 31}" if place % 3 == 0 else None for place in range(len(pictures))]
    manifest, thumbs = _rows(pictures, patient=people), _thumbs(pictures)
    found = find_copies(manifest, thumbs)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(pictures))
        shuffled = find_copies(manifest.take(order), thumbs[order])
        assert shuffled.table.equals(found.table.take(order))


def test_numbers_count_up_by_source() -> None:
    copy = _found(_family()).column("copy")
    _, first = np.unique(copy, return_index=True)
    assert copy[np.sort(first)].tolist() == list(range(copy.max() + 1))


def test_the_turn_maps_a_row_onto_the_first_of_its_group() -> None:
    pictures = _family()
    found = _found(pictures)
    contrast = local_contrast(_thumbs(pictures))
    copy, turn = found.column("copy"), found.column("turn")
    for row in range(len(pictures)):
        first = int(np.flatnonzero(copy == copy[row])[0])
        scores = [float((turned(contrast[row], t) * contrast[first]).sum()) for t in range(TURNS)]
        assert scores[turn[row]] == pytest.approx(max(scores), abs=1e-3)


def test_search_finds_what_comparing_all_pairs_finds() -> None:
    """The oracle correlates every pair in every turn, with another library's Gaussian."""
    pictures = _family() + [_head(seed, 100, 90) for seed in range(100, 250)]
    thumbs = _thumbs(pictures)
    values = thumbs.astype(np.float64)
    mean = gaussian_filter(values, (0, 2, 2), truncate=30, mode="constant")
    weight = gaussian_filter(np.ones((64, 64)), 2, truncate=30, mode="constant")
    mean /= weight
    square = gaussian_filter(values**2, (0, 2, 2), truncate=30, mode="constant") / weight
    contrast = (values - mean) / (np.sqrt(np.maximum(square - mean**2, 0)) + FLOOR)
    contrast -= contrast.mean(axis=(1, 2), keepdims=True)
    contrast /= np.sqrt((contrast**2).sum(axis=(1, 2), keepdims=True))
    flat = contrast.reshape(len(contrast), -1)
    best = np.max(
        [turned(contrast, turn).reshape(len(contrast), -1) @ flat.T for turn in range(TURNS)],
        axis=0,
    )
    copy = _found(pictures).column("copy")
    together = copy[:, None] == copy[None, :]
    np.testing.assert_array_equal(together, best >= THRESHOLD)


def test_a_turn_and_its_undoing_cancel() -> None:
    square = np.arange(16).reshape(4, 4)
    seen = {turned(square, turn).tobytes() for turn in range(TURNS)}
    assert len(seen) == TURNS
    for turn in range(TURNS):
        np.testing.assert_array_equal(turned(turned(square, turn), UNDONE[turn]), square)
    np.testing.assert_array_equal(turned(square, 5), np.rot90(square, -1))
    np.testing.assert_array_equal(turned(square, 6), np.rot90(square))
    np.testing.assert_array_equal(turned(square, 3), np.rot90(square, 2))


def test_local_contrast_ignores_brightness_and_commutes_with_turns() -> None:
    thumbs = _thumbs([_head(seed) for seed in range(3)])
    contrast = local_contrast(thumbs)
    np.testing.assert_allclose(contrast.sum(axis=(1, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(np.square(contrast).sum(axis=(1, 2)), 1, rtol=1e-4)
    for turn in range(TURNS):
        after = local_contrast(np.ascontiguousarray(turned(thumbs, turn)))
        np.testing.assert_allclose(after, turned(contrast, turn), atol=1e-4)
    assert not local_contrast(np.zeros((1, SIDE, SIDE), dtype=np.uint8)).any()


def test_a_large_family_of_copies_stays_one_group() -> None:
    """Far more copies than neighbours that are looked at."""
    random = np.random.default_rng(0)
    head = _head(0, 100, 90)
    family = [
        np.clip(head + random.normal(0, 4, head.shape), 0, 255).astype(np.uint8)
        for _ in range(5 * copies.NEIGHBOURS)
    ]
    found = _found([*family, _head(1), _head(2)])
    assert copy_report(found).distinct == 3


# --- Groups and reports ---------------------------------------------------------------------


def test_groups_unite_copies_and_patients() -> None:
    heads = [_head(seed) for seed in range(5)]
    pictures = [*heads, heads[1][:, ::-1].copy()]
    people = ["ann", "bob", None, "ann", None, "cyd"]
    found = _found(pictures, patient=people)
    assert found.column("copy").tolist() == [0, 1, 2, 3, 4, 1]
    # bob's second picture is cyd's: one group; ann's two are another; the rest stand alone.
    assert found.column("group").tolist() == [0, 1, 2, 0, 3, 1]


def test_the_report_counts_and_lists() -> None:
    heads = [_head(seed) for seed in range(3)]
    pictures = [*heads, heads[0][:, ::-1].copy(), heads[1].copy()]
    found = _found(pictures, label=["tumour", "tumour", "healthy", "healthy", None])
    report = copy_report(found)
    assert str(report) == (
        "5 files, 3 distinct pictures, 1 of the copies mirrored, 1 groups with contradicting labels"
    )
    first, second = copy_groups(found)
    assert first.sources == ("00000.png", "00003.png")
    assert first.labels == ("tumour", "healthy")
    assert first.turns == (0, 1)
    assert first.contradicting
    assert second.sources == ("00001.png", "00004.png")
    assert not second.contradicting
    assert found.notes["copies"]["threshold"] == THRESHOLD


def test_arguments_are_checked_and_left_alone() -> None:
    heads = [_head(0), _head(0)]
    manifest, thumbs = _rows(heads), _thumbs(heads)
    before = manifest.table
    with pytest.raises(ManifestError, match="one for each row"):
        find_copies(manifest, thumbs[:1])
    with pytest.raises(ManifestError, match="uint8"):
        find_copies(manifest, thumbs.astype(np.float32))
    for threshold in (0.0, 1.5, float("nan")):
        with pytest.raises(ManifestError, match="threshold"):
            find_copies(manifest, thumbs, threshold=threshold)
    with pytest.raises(ManifestError, match="not searched"):
        copy_report(manifest)
    with pytest.raises(ManifestError, match="not searched"):
        list(copy_groups(manifest))
    find_copies(manifest, thumbs)
    assert manifest.table is before
    assert manifest.table.column("copy").null_count == 2


def test_progress_is_shown() -> None:
    labels: list[str] = []

    def noted(items: Iterable[T], *, total: int | None = None, label: str = "") -> Bar[T]:
        labels.append(label)
        assert total is not None
        return silent(items)

    heads = [_head(0), _head(1)]
    find_copies(_rows(heads), _thumbs(heads), progress=noted)
    assert len(labels) >= 2
    assert all(labels)
