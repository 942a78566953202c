"""Tiles of an evidence audit: the square as the net sees it, heat for the class called on top.

One display scale serves all tiles, so the same colour is the same evidence in each. The heat is
laid on as in `overlay`; the tumour mask is an outline.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clearhead.audits.section import Sheet, Tile
from clearhead.audits.subject import Subject
from clearhead.deliver.overlay import (
    MASK_COLOUR,
    colourise,
    number_words,
    percent_words,
    unit_words,
)
from clearhead.deliver.panels import Key, borders, overlay_key, thickened
from clearhead.deliver.tiles import MOST_TILES, Picture, Row, cut
from clearhead.errors import ClearheadError
from clearhead.heat.scale import PERCENTILE, display_scale
from clearhead.types import Progress, silent

SIDE_PX = 140
"""Side of a tile on the page."""
MOST_PX = 192
"""Side of the pixels behind it: sharper than the page needs, for screens and print."""
QUALITY = 85
AT_ONCE = 32

SCORES = {"logit": "logit", "probability": "probability", "logit margin": "margin"}
"""The score that is explained, by the unit of its evidence."""


# --- Scale ----------------------------------------------------------------------------------


def scale_of(subject: Subject, target: int | None = None) -> float:
    """The heat shown in full colour: the run's own scale where it has one, in `subject.unit`.

    `target` is the class whose heat is shown, default the class called. For a classifier without
    a run or whose validation pictures are gone, the same percentile of the peaks of the subject's
    own pictures.
    """
    if subject.run is not None:
        score = SCORES.get(subject.unit, "logit")
        try:
            return display_scale(subject.run, score=score, method=subject.method)
        except ClearheadError:
            pass  # the pictures behind it are gone: the audit's own have to do
    rows = np.arange(len(subject))
    targets = _targets(subject, rows, target)
    peaks = np.array([subject.evidence[row, targets[row]].max() for row in rows])
    return float(np.percentile(peaks[peaks > 0], PERCENTILE)) if (peaks > 0).any() else 1.0


def _targets(subject: Subject, rows: NDArray[np.int64], target: int | None) -> NDArray[np.int64]:
    """The class whose heat is shown of each row, (B,)."""
    return subject.calls[rows] if target is None else np.full(len(rows), target)


def key_of(subject: Subject, scale: float, target: int | None = None) -> Key:
    """What the colours and lines of the tiles mean."""
    whose = "the class called" if target is None else subject.classes[target]
    words = (
        f"evidence for {whose}, in {unit_words(subject.unit)}; the same scale in every "
        "picture, clear where there is none. Grey: the picture as the net sees it."
    )
    if subject.drawn.masks.any():
        words += " Blue outline: tumour mask."
    return overlay_key(scale, words)


# --- Tiles ----------------------------------------------------------------------------------


def draw_sheets(
    sheets: Sequence[Sheet],
    subject: Subject,
    scale: float,
    *,
    target: int | None = None,
    most: int = MOST_TILES,
    progress: Progress = silent,
) -> list[tuple[Row, ...]]:
    """The strips of every sheet, drawn; at most `most` tiles, as `tiles.cut` says.

    The heat is that for the class `target`, default the class called.
    """
    shown = cut(sheets, most)
    tiles = [tile for strips in shown for strip, kept in strips for tile in strip.tiles[:kept]]
    drawn = iter(list(_draw(tiles, subject, scale, target, progress)))
    return [
        tuple(
            Row(strip.label, tuple(next(drawn) for _ in range(kept)), len(strip.tiles) - kept)
            for strip, kept in strips
        )
        for strips in shown
    ]


def _draw(
    tiles: Sequence[Tile],
    subject: Subject,
    scale: float,
    target: int | None,
    progress: Progress,
) -> Iterator[Picture]:
    starts = range(0, len(tiles), AT_ONCE)
    for start in progress(starts, total=len(starts), label="draw sheets"):
        some = tiles[start : start + AT_ONCE]
        rows = np.array([tile.row for tile in some], np.int64)
        targets = _targets(subject, rows, target)
        for each, whose, heat in zip(some, targets, subject.heat(rows, targets), strict=True):
            yield _picture(each, subject, heat, scale, int(whose))


def _picture(
    tile: Tile, subject: Subject, heat: NDArray[np.float32], scale: float, target: int
) -> Picture:
    row = tile.row
    pixels = blended(subject.squares[row], heat, subject.drawn.masks[row], scale)
    source = str(subject.rows.column("source")[row])
    told = _call_words(subject, row)
    blank = not heat.max() > 0
    peak = "" if blank else f"peak {number_words(float(heat.max()))} {unit_words(subject.unit)}"
    badge = f"no place speaks for {subject.classes[target]}" if blank else ""
    name = source.rpartition("/")[2]
    lines = [tile.caption, told, peak, name]
    return Picture(
        source,
        "\n".join(line for line in lines if line),
        _uri(pixels),
        SIDE_PX,
        SIDE_PX,
        alt=f"{source}: {told}, {badge or peak}",
        badge=badge,
    )


def _call_words(subject: Subject, row: int) -> str:
    """`Healthy, called Brain Tumor 97.3 %`: the label, then the call; numbers keep their unit."""
    label, call = subject.labels[row], subject.calls[row]
    sure = percent_words(float(subject.probabilities[row, call])).replace(" ", "\u00a0")
    return f"{subject.classes[label]}, called {subject.classes[call]} {sure}"


def blended(
    square: NDArray[np.uint8],
    heat: NDArray[np.float32],
    mask: NDArray[np.bool_],
    scale: float,
) -> NDArray[np.uint8]:
    """The square (S, S) in grey under its heat, the mask as outline: (P, P, 3), P ≤ `MOST_PX`."""
    size = (min(len(square), MOST_PX),) * 2
    grey = np.asarray(Image.fromarray(square).resize(size, Image.Resampling.BOX), np.float64)
    warm = np.asarray(Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BOX))
    colours = colourise(np.maximum(warm, 0), scale=scale).astype(np.float64)
    opacity = colours[..., 3:] / 255
    pixels = np.rint(grey[..., None] * (1 - opacity) + colours[..., :3] * opacity).astype(np.uint8)
    if mask.any():
        area = Image.fromarray(mask.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
        line = borders(np.asarray(area))
        pixels[thickened(line)] = 0
        pixels[line] = MASK_COLOUR
    return pixels


def _uri(pixels: NDArray[np.uint8]) -> str:
    stream = io.BytesIO()
    # Colour in full resolution: halved, as JPEG does by default, thin outlines would fade.
    Image.fromarray(pixels).save(
        stream, format="JPEG", quality=QUALITY, subsampling=0, optimize=True
    )
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
