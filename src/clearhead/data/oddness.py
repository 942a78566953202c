"""What a picture shows that one head in MRI does not: emptiness, pages, letters, frames, drawings.

`oddness` looks at grey values alone; its field `colour` is NaN until the caller, who has the file,
fills it with `colour_share`. All lengths are shares of the picture's side, all areas shares of its
pixels, all intensities shares of its own range (1st to 99.8th percentile), unless said otherwise.
`ODDITIES` reads names from the numbers: rules that were set with generated and real pictures in
view. They are cautious: what is named is odd, and much that is odd is not named.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops
from scipy import ndimage

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]

WORK_PX = 256
"""A picture is looked at reduced by a whole number to at most this side."""

ODDNESS = np.dtype(
    [
        ("contrast", "f4"),  # range over the depth of the stored type
        ("constant", "f4"),  # share of pixels that have the commonest value (of 256)
        ("smooth", "f4"),  # correlation of neighbouring pixels; 1 for a constant picture
        ("background", "f4"),  # level of what surrounds the content
        ("air", "f4"),  # share of the outer ring that is background
        ("head", "f4"),  # area of the largest solid part
        ("parts", "f4"),  # solid parts of like size, parted by empty rows or columns
        ("repeat", "f4"),  # correlation of the tiles into which a contact sheet would divide
        ("seam", "f4"),  # how much darker the lines between such tiles are than the tiles
        ("bone", "f4"),  # thickness of a saturated closed ring around a dull inside, of its width
        ("text_area", "f4"),  # boxes around letters
        ("text_components", "f4"),  # letters, or runs of letters that touch
        ("text_corners", "f4", (4,)),  # text_area by quarter: top left, top right, bottom l., r.
        ("marks", "f4"),  # lone compact bright spots in the air that are no letters
        ("mark_area", "f4"),
        ("frame", "f4", (4,)),  # width of the constant band: top, right, bottom, left
        ("frame_level", "f4"),  # its level; 0 where there is none
        ("drawing", "f4"),  # area of thin closed strokes of the brightest tone over the head
        ("colour", "f4"),  # share of coloured pixels; NaN until the caller fills it
    ]
)
"""What is measured of each picture."""

COLOURED = 32
"""Channels of a coloured pixel differ by more than this, of 255."""

SIDES = ("top", "right", "bottom", "left")
CORNERS = ("top left", "top right", "bottom left", "bottom right")


def oddness(pixels: Floats, depth: float) -> NDArray[Any]:
    """The record of type `ODDNESS` of a picture, a 0-d array.

    Shapes: (H, W) in stored units, of which `depth` is the largest. Values that are not finite
    count as 0.
    """
    record = np.zeros((), ODDNESS)
    record["colour"], record["smooth"] = np.nan, 1
    small, contrast = _reduced(pixels, depth)
    record["contrast"], record["constant"] = contrast, _commonest(small) / small.size
    if not contrast > 0 or min(small.shape) < 16:
        return record
    bands = _bands(small)
    record["frame"], record["frame_level"] = bands.widths, bands.level
    inside = bands.inside(small)
    if min(inside.shape) < 16:
        return record
    record["smooth"] = _smoothness(inside)
    _look_inside(record, inside)
    return record


def colour_share(file: Path | bytes) -> float:
    """Share of coloured pixels of a picture's file or its bytes, 0–1; 0 for a grey one.

    Errors: whatever Pillow raises where it can't decode the file.
    """
    with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
        if image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16"):
            return 0.0
        image.draft("RGB", (WORK_PX, WORK_PX))  # JPEG: decodes at an eighth, quarter or half
        image.thumbnail((2 * WORK_PX, 2 * WORK_PX), Image.Resampling.NEAREST)
        red, green, blue = image.convert("RGB").split()
    highest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    lowest = ImageChops.darker(ImageChops.darker(red, green), blue)
    counts = ImageChops.subtract(highest, lowest).histogram()
    return sum(counts[COLOURED + 1 :]) / sum(counts)


# --- The picture at working size ------------------------------------------------------------


def _reduced(pixels: Floats, depth: float) -> tuple[Bytes, float]:
    """The picture at working size, its range made 0–255, and that range over the depth."""
    step = max(1, -(-max(pixels.shape) // WORK_PX))
    plain = np.ascontiguousarray(pixels, dtype=np.float32)
    image = Image.fromarray(plain)
    small = np.asarray(image.reduce(step) if step > 1 else image)
    if not np.isfinite(small).all():
        small = np.nan_to_num(small, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = _range(small)
    if not high > low:
        return np.zeros(small.shape, np.uint8), 0.0
    share = np.clip((small - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
    return share, float((high - low) / depth) if depth > 0 else 1.0


def _range(small: Floats) -> tuple[float, float]:
    """About the 1st and the 99.8th percentile, from a histogram of a thousand steps."""
    first, last = float(small.min()), float(small.max())
    if not last > first:
        return first, last
    steps = ((small - first) * (1000 / (last - first))).astype(np.int32)
    total = np.cumsum(np.bincount(steps.ravel(), minlength=1001)) / small.size
    low, high = np.searchsorted(total, (0.01, 0.998))
    width = (last - first) / 1000
    return first + width * float(low), first + width * (float(high) + 1)


def _commonest(small: Bytes) -> int:
    return int(np.bincount(small.ravel()).max())


def _smoothness(small: Bytes) -> float:
    """Correlation of pixels with their neighbours, down and across, the lower of both."""
    values = small.astype(np.float32)
    pairs = ((values[1:], values[:-1]), (values[:, 1:], values[:, :-1]))
    return min(_correlation(one, other) for one, other in pairs)


def _correlation(one: Floats, other: Floats) -> float:
    first, second = one - one.mean(), other - other.mean()
    norm = float(np.sqrt(np.vdot(first, first) * np.vdot(second, second)))
    return float(np.vdot(first, second)) / norm if norm > 0 else 1.0


# --- Frames ---------------------------------------------------------------------------------

BRIGHT_BAND = 0.25
"""A band of the frame is brighter than this share of the range: black margins are normal."""
EVEN = 0.10
"""Levels of a band's line lie within this share of the range of their median…"""
EVENLY = 0.88
"""…for this share of the line."""
RIM = 0.08
"""A thin line counts as a frame this near to the edge, even with something dark outside it."""
WIDEST = 0.45


@dataclass(frozen=True)
class _Bands:
    """How far the constant bright bands reach in from each side, in pixels and as shares."""

    pixels: tuple[int, int, int, int]
    widths: tuple[float, float, float, float]
    level: float

    def inside(self, small: Bytes) -> Bytes:
        """The picture without its frame."""
        top, right, bottom, left = self.pixels
        height, width = small.shape
        return small[top : height - bottom, left : width - right]


def _bands(small: Bytes) -> _Bands:
    """The frame: each side's lines are judged within what the other sides leave."""
    tall, wide = small.shape
    lines = (small, small.T[::-1], small[::-1], small.T)
    found = [_band(each) for each in lines]
    top, right, bottom, left = (reach for reach, _ in found)
    level = max((level for reach, level in found if reach), default=0.0)
    shares = (top / tall, right / wide, bottom / tall, left / wide)
    return _Bands((top, right, bottom, left), shares, level)


def _band(lines: Bytes) -> tuple[int, float]:
    """How many lines from the first the frame takes, and its level; (0, 0) without one."""
    count = len(lines)
    ends = lines.shape[1] // 10  # where other sides have bands too, these belong to them
    middle = lines[: max(1, int(WIDEST * count)), ends : -ends or None]
    rim = max(2, int(RIM * count))
    even, level = _even(middle[:rim])
    if not even.any():
        return 0, 0.0
    first = int(np.argmax(even))
    if first and level[first] < level[:first].max() + 0.15 * 255:
        return 0, 0.0  # a plain stretch of the picture, no line
    if even[-1]:
        even, _ = _even(middle)
    after = np.flatnonzero(~even[first:])
    last = first + int(after[0]) if len(after) else len(even)
    # One line more: what the reduction mixed with the picture.
    return min(last + 1, len(middle)), float(level[first]) / 255


def _even(lines: Bytes) -> tuple[Mask, Floats]:
    """Which lines are bright and of one level, and the level of each."""
    level = np.median(lines, axis=1)
    near = np.abs(lines - level[:, None]) <= EVEN * 255
    even: Mask = (near.mean(axis=1) >= EVENLY) & (level >= BRIGHT_BAND * 255)
    return even, level


# --- Inside the frame -----------------------------------------------------------------------


def _look_inside(record: NDArray[Any], inside: Bytes) -> None:
    """Fill what is measured of the picture without its frame."""
    background, air = _background(inside)
    content = _content(inside, background)
    record["background"], record["air"] = background / 255, air
    half = np.asarray(Image.fromarray(content).reduce(2))
    labels, count = _solid(half)
    head = _largest(labels, count)
    record["head"] = head.mean()
    record["parts"] = _parts(labels, count)
    record["repeat"], record["seam"] = _tiles(content)
    record["bone"] = _bone(half, head)
    for name, value in _letters(content, half).items():
        record[name] = value
    record["drawing"] = _drawing(inside, head)


NEAR = 0.08
"""What differs by less than this share of the range from the background is background."""


def _background(inside: Bytes) -> tuple[int, float]:
    """Level of the commonest value of the outer ring, and how much of the ring is near it.

    Where no level takes a third of the ring, the background is black, and may be absent.
    """
    ring = np.concatenate([inside[:3].ravel(), inside[-3:].ravel(), inside[:, :3].ravel(),
                           inside[:, -3:].ravel()])  # fmt: skip
    counts = np.bincount(ring, minlength=256)
    near = np.convolve(counts, np.ones(2 * int(NEAR * 255) + 1, int), "same")
    level = int(np.argmax(near))
    dark = near[int(NEAR * 255)] / ring.size
    if level > int(NEAR * 255) * 2 and near[level] / ring.size > max(0.5, dark):
        return level, float(near[level] / ring.size)
    low = int(0.15 * 255)
    return 0, float(counts[:low].sum() / ring.size)


def _content(inside: Bytes, background: int) -> Bytes:
    """How far each pixel is from the background, 0–255."""
    if background < 2 * NEAR * 255:
        return inside
    away = np.abs(inside.astype(np.int16) - background)
    return (away * (255 / max(int(away.max()), 1))).astype(np.uint8)


def _solid(half: Bytes) -> tuple[NDArray[np.int32], int]:
    """What is bright and thick, at half the working size, its parts numbered, and their number."""
    bright = _shrunk(_grown(half > 0.12 * 255, 1), 1)  # furrows don't divide a brain
    solid = _grown(_shrunk(bright, 2), 2)
    labels, count = ndimage.label(solid)
    return labels, int(count)


def _largest(labels: NDArray[np.int32], count: int) -> Mask:
    if not count:
        return np.zeros(labels.shape, bool)
    head: Mask = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    return _filled(head)


def _parts(labels: NDArray[np.int32], count: int) -> int:
    """Solid parts of at least half the largest one's area that empty lines separate."""
    if count < 2:
        return count
    areas = np.bincount(labels.ravel())[1:]
    large = areas >= 0.5 * areas.max()
    boxes = [box for box, keep in zip(ndimage.find_objects(labels), large, strict=True) if keep]
    rows = [(box[0].start, box[0].stop) for box in boxes]
    columns = [(box[1].start, box[1].stop) for box in boxes]
    return max(_apart(rows) * 1, _apart(columns) * 1, 1)


def _apart(spans: list[tuple[int, int]]) -> int:
    """Into how many separate stretches the spans fall."""
    count, reach = 0, -1
    for start, stop in sorted(spans):
        count += start > reach
        reach = max(reach, stop)
    return count


TILINGS = (2, 3, 4)
"""Into how many tiles a contact sheet may divide, across and down."""


def _tiles(content: Bytes) -> tuple[float, float]:
    """How alike the tiles of a contact sheet would be, and how dark the seams between them.

    The least correlation among equal strips across or down, the best of the tilings; and one minus
    the brightest of a tiling's seams over the upper quartile of all lines, the best likewise.
    """
    tiny = np.asarray(Image.fromarray(content).resize((48, 48), Image.Resampling.BOX), np.float32)
    alike, dark = 0.0, 0.0
    for picture in (tiny, tiny.T):
        lines = picture.mean(axis=1)
        usual = max(float(np.partition(lines, 35)[35]), 1.0)
        for pieces in TILINGS:
            alike = max(alike, _agreement(picture.reshape(pieces, 48 // pieces, 48)))
            seams = np.arange(1, pieces) * (48 // pieces)
            filled = lines.reshape(pieces, -1).max(axis=1).min() > 0.5 * usual
            seam = float(np.fmin(lines[seams - 1], lines[seams]).max()) / usual
            dark = max(dark, 1 - seam if filled else 0.0)
    return alike, dark


def _agreement(strips: Floats) -> float:
    flat = strips.reshape(len(strips), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    norm = np.sqrt((flat**2).sum(axis=1))
    if norm.min() <= 0:
        return 0.0
    return float(((flat @ flat.T) / np.outer(norm, norm)).min())


# --- Masks: squares slid over them, a few times faster than scipy's ----------------------------


def _grown(mask: Mask, reach: int) -> Mask:
    """What lies within `reach` pixels, along both axes, of a set pixel."""
    for axis in (0, 1):
        near = mask.copy()
        for shift in range(1, reach + 1):
            ahead, behind = _shifted(axis, shift)
            near[ahead] |= mask[behind]
            near[behind] |= mask[ahead]
        mask = near
    return mask


def _shifted(axis: int, shift: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    whole = slice(None)
    ahead, behind = slice(shift, None), slice(None, -shift)
    return ((ahead, whole), (behind, whole)) if axis == 0 else ((whole, ahead), (whole, behind))


def _shrunk(mask: Mask, reach: int) -> Mask:
    """What has no unset pixel within `reach`; beyond the picture nothing is unset."""
    return ~_grown(~mask, reach)


def _filled(mask: Mask) -> Mask:
    """The mask with its holes: unset parts that don't touch the picture's edge."""
    labels, _ = ndimage.label(~np.pad(mask, 1))
    filled: Mask = (labels != labels[0, 0])[1:-1, 1:-1]
    return filled


# --- Computed tomography --------------------------------------------------------------------


def _bone(half: Bytes, head: Mask) -> float:
    """Thickness of a saturated ring around a dull inside, as a share of the head's width, or 0.

    In CT under a brain window bone is at the top of the range all around, and nothing of the
    brain comes near.
    """
    if head.mean() < 0.05:
        return 0.0
    bone = (half > 0.9 * 255) & head
    if np.count_nonzero(bone) < 0.03 * np.count_nonzero(head):
        return 0.0
    hollow = _filled(bone) & ~bone
    inside = _shrunk(hollow, 1)
    if np.count_nonzero(inside) < 0.3 * np.count_nonzero(head):
        return 0.0
    values = half[inside]
    low, high = np.percentile(values, (5, 95)).tolist()
    if high > 0.75 * 255 or high - low > 0.52 * 255:
        return 0.0
    girth = int(np.count_nonzero(hollow & ~inside))
    return float(np.count_nonzero(bone)) / max(girth, 1) / float(np.sqrt(head.sum()))


# --- Letters and marks ----------------------------------------------------------------------

SMALLEST_PX = 4
"""Letters are taller than this at working size; dots and specks of noise aren't."""
TALLEST = 0.11
"""Letters are less tall than this share of the picture's longer side."""
LONG = 0.15
"""What reaches over this share of the picture is part of the head, a ruler or a drawing."""
SPOTS = 600
"""Bright parts that are looked at; where there are more, it is noise."""

TIDY = 12
"""Air with at most so many parts of a letter's height is tidy: a lone one means something."""

SPOT = np.dtype(
    [
        ("top", "i4"), ("left", "i4"), ("height", "i4"), ("width", "i4"), ("area", "i4"),
        ("core", "i4"), ("peak", "u1"),
    ]
)  # fmt: skip
"""A bright part of the air: its box, its pixels, those not at its edge, and its brightest."""


def _letters(content: Bytes, half: Bytes) -> dict[str, Any]:
    """The fields on letters and marks."""
    spots = _spots(content, half)
    longer = max(content.shape)
    fill = spots["area"] / np.maximum(_boxes(spots), 1)
    aspect = spots["width"] / np.maximum(spots["height"], 1)
    fits = (spots["height"] >= SMALLEST_PX) & (spots["height"] <= max(TALLEST * longer, 9))
    thin = spots["core"] <= 0.25 * spots["area"]
    letter = fits & thin & (fill > 0.18) & (fill < 0.9) & (aspect > 0.1) & (spots["peak"] > 110)
    square = fits & (fill >= 0.85) & (aspect > 0.6) & (aspect < 1.7) & (spots["peak"] > 110)
    glyphs = spots[letter & ~square]
    glyphs = glyphs[_in_line(glyphs) | _lone(glyphs, int(np.count_nonzero(fits)))]
    marks = spots[square] if not len(glyphs) else spots[:0]
    return {
        "text_area": _boxes(glyphs).sum() / content.size,
        "text_components": len(glyphs),
        "text_corners": _by_corner(glyphs, content.shape),
        "marks": len(marks),
        "mark_area": _boxes(marks).sum() / content.size,
    }


def _boxes(spots: NDArray[Any]) -> NDArray[np.int64]:
    boxes: NDArray[np.int64] = spots["height"].astype(np.int64) * spots["width"]
    return boxes


def _spots(content: Bytes, half: Bytes) -> NDArray[Any]:
    """Bright parts of the air."""
    bright = (content > 0.33 * 255) & ~_doubled(_around_head(half), content.shape)
    labels, count = ndimage.label(bright, np.ones((3, 3), int))
    if not 0 < count <= SPOTS:
        return np.zeros(0, SPOT)
    core = _shrunk(bright, 1)
    spots = np.zeros(count, SPOT)
    spots["area"] = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    spots["core"] = np.bincount(labels[core], minlength=count + 1)[1:]
    for spot, (rows, columns) in zip(spots, ndimage.find_objects(labels), strict=True):
        spot["top"], spot["height"] = rows.start, rows.stop - rows.start
        spot["left"], spot["width"] = columns.start, columns.stop - columns.start
        spot["peak"] = content[rows, columns].max()
    return spots


def _around_head(half: Bytes) -> Mask:
    """Where the head is, with scalp, ears and a little air."""
    labels, count = ndimage.label(half > 0.12 * 255)
    long = np.zeros(count + 1, bool)
    for place, box in enumerate(ndimage.find_objects(labels), 1):
        long[place] = max(side.stop - side.start for side in box) > LONG * max(half.shape)
    head = long[labels]
    hull = _spanned(head, 0) & _spanned(head, 1)
    return _grown(hull, 3)


def _spanned(mask: Mask, axis: int) -> Mask:
    """Everything between the first and the last set pixel of each line along `axis`."""
    first = np.logical_or.accumulate(mask, axis=axis)
    last = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis=axis), axis)
    spanned: Mask = first & last
    return spanned


def _doubled(mask: Mask, shape: tuple[int, ...]) -> Mask:
    """A mask of half the size at full size; the odd last line is as its neighbour."""
    twice = mask.repeat(2, axis=0).repeat(2, axis=1)[: shape[0], : shape[1]]
    short = ((0, shape[0] - twice.shape[0]), (0, shape[1] - twice.shape[1]))
    return np.pad(twice, short, mode="edge")


def _by_corner(glyphs: NDArray[Any], shape: tuple[int, ...]) -> Floats:
    """Area of the letters in each quarter of the picture, (4,)."""
    low = glyphs["top"] + glyphs["height"] / 2 > shape[0] / 2
    right = glyphs["left"] + glyphs["width"] / 2 > shape[1] / 2
    quarter = 2 * low.astype(int) + right
    area = np.bincount(quarter, weights=_boxes(glyphs), minlength=4) / (shape[0] * shape[1])
    return area.astype(np.float32)


def _in_line(glyphs: NDArray[Any]) -> Mask:
    """Which have a neighbour of like height beside them on one line."""
    top, left = glyphs["top"].astype(float), glyphs["left"].astype(float)
    height, width = glyphs["height"].astype(float), glyphs["width"].astype(float)
    middle = top + height / 2
    taller = np.maximum(height[:, None], height[None])
    level = np.abs(middle[:, None] - middle[None]) <= 0.3 * taller
    alike = np.minimum(height[:, None], height[None]) >= 0.6 * taller
    gap = np.maximum(left[:, None], left[None]) - np.minimum(
        (left + width)[:, None], (left + width)[None]
    )
    beside = level & alike & (gap > 0) & (gap <= 1.2 * taller)
    np.fill_diagonal(beside, False)
    line: Mask = beside.any(axis=1)
    return line


def _lone(glyphs: NDArray[Any], spots: int) -> Mask:
    """Which are clear enough to be a letter or a word by themselves, where the air is tidy."""
    tidy = spots <= TIDY
    fill = glyphs["area"] / np.maximum(_boxes(glyphs), 1)
    clear = (glyphs["height"] >= 5) & (glyphs["peak"] > 150) & (fill > 0.22) & (fill < 0.8)
    return clear & tidy


# --- Drawings -------------------------------------------------------------------------------

LOOP = (0.08, 0.7)
"""Closed thin bright loops are drawn where their boxes measure this, of the longer side."""


def _drawing(inside: Bytes, head: Mask) -> float:
    """Area of boxes and circles in thin strokes of the brightest tone over the head.

    Arrows, lines and letters over the head stay unseen where they are grey: bright vessels and a
    scalp cut straight look alike. Coloured ones show in `colour`.
    """
    rows, columns = 2 * (inside.shape[0] // 2), 2 * (inside.shape[1] // 2)
    fours = (inside[:rows, :columns] > 0.92 * 255).reshape(rows // 2, 2, columns // 2, 2)
    bright = fours.any(axis=(1, 3)) & _grown(head, 2)[: rows // 2, : columns // 2]
    return float(np.count_nonzero(_loops(bright)) / bright.size)


def _loops(bright: Mask) -> Mask:
    """Closed thin loops: next to no pixel has all its neighbours set."""
    labels, count = ndimage.label(bright, np.ones((3, 3), int))
    kept = np.zeros(count + 1, bool)
    longer = max(bright.shape)
    for place, box in enumerate(ndimage.find_objects(labels), 1):
        sides = [side.stop - side.start for side in box]
        if min(sides) < LOOP[0] * longer or max(sides) > LOOP[1] * longer:
            continue
        part = np.pad(labels[box] == place, 1)
        area = np.count_nonzero(part)
        core = np.count_nonzero(_shrunk(part, 1))
        kept[place] = core <= 0.03 * area and np.count_nonzero(_filled(part)) >= 2.5 * area
    loops: Mask = kept[labels]
    return loops


# --- What it comes to -----------------------------------------------------------------------

BLANK = 0.02
"""A picture whose range is below this share of the depth is blank…"""
CONSTANT = 0.985
"""…and one in which this share of the pixels has one value."""
NOISE = 0.4
"""Neighbouring pixels of a picture correlate better than this (real heads: above 0.48)."""
AIR = 0.12
"""Less of the outer ring is background where something fills the picture to all its edges."""
SEAM = 0.67
"""Tiles of a contact sheet are parted by lines darker than this (real heads: at most 0.52)…"""
REPEAT = 0.85
"""…or are as alike as this (real heads: at most 0.70)."""
BONE = 0.018
"""A closed saturated ring thicker than this is a skull in CT."""
ANNOTATED = 0.0005
"""More coloured pixels than this are marks, a logo or a tint…"""
COLOUR = 0.05
"""…and more than this a colour picture, as `data.read` has it."""


def _blank(odd: NDArray[Any]) -> Mask:
    blank: Mask = (odd["contrast"] < BLANK) | (odd["constant"] > CONSTANT)
    return blank


def _noise(odd: NDArray[Any]) -> Mask:
    noise: Mask = odd["smooth"] < NOISE
    return noise & ~_page(odd)


def _page(odd: NDArray[Any]) -> Mask:
    """Nothing solid on it, or next to nothing on white: text, plots, line drawings."""
    page: Mask = (odd["head"] < 0.006) | ((odd["background"] > 0.6) & (odd["head"] < 0.12))
    return page & ~_blank(odd)


def _several(odd: NDArray[Any]) -> Mask:
    parted = (odd["parts"] >= 2) & (odd["air"] > 0.3) | (odd["seam"] > SEAM)
    several: Mask = parted | (odd["repeat"] > REPEAT)
    return several & ~_blank(odd) & ~_noise(odd) & ~_page(odd) & ~_scene(odd)


def _scene(odd: NDArray[Any]) -> Mask:
    scene: Mask = (odd["air"] < AIR) & (odd["head"] > 0.3) & (odd["smooth"] >= NOISE)
    return scene & ~_blank(odd) & (odd["frame_level"] < 0.5)  # a white margin is air too


def _ct(odd: NDArray[Any]) -> Mask:
    ct: Mask = (odd["bone"] > BONE) & (odd["background"] < 0.5)
    return ct


def _coloured(odd: NDArray[Any]) -> Mask:
    coloured: Mask = odd["colour"] > COLOUR
    return coloured


def _annotated(odd: NDArray[Any]) -> Mask:
    annotated: Mask = (odd["colour"] > ANNOTATED) & (odd["colour"] <= COLOUR)
    return annotated


ODDITIES: dict[str, Callable[[NDArray[Any]], Mask]] = {
    "blank": _blank,
    "noise": _noise,
    "page": _page,
    "several": _several,
    "scene": _scene,
    "ct": _ct,
    "coloured": _coloured,
    "text": lambda odd: odd["text_components"] > 0,
    "mark": lambda odd: odd["marks"] > 0,
    "frame": lambda odd: odd["frame"].max(axis=-1) > 0,
    "drawing": lambda odd: (odd["drawing"] > 0) | _annotated(odd),
}
"""What is odd, by name, from records (N,) of type `ODDNESS`, (N,) bool."""

NOT_HEAD = ("noise", "page", "several", "scene", "ct", "coloured")
"""Oddities of what does not look like one head in MRI."""
