"""Small maps on one colour scale, and the key that says what the colours mean, as data URIs.

The colours are those of every heatmap (`overlay.COLOURS`): perceptually uniform, dark to light, so
they read in grey print and with any colour vision. Lines are white on black on any colour.
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from clearhead.audits.section import Maps, Panel
from clearhead.deliver.overlay import COLOURS, OPACITY, number_words

SIDE_PX = 180
"""Longest side of a map on the page."""
SHADES = 254
"""Colours of a map; the two that are left in a palette of 256 are white and black."""
BAR_PX = 180


@dataclass(frozen=True)
class Key:
    """A colour bar from 0 to `top`, and what it measures."""

    uri: str
    top: str
    words: str


@dataclass(frozen=True)
class Shown:
    """A panel ready for the page."""

    uri: str
    width: int
    height: int
    caption: str
    alt: str


@dataclass(frozen=True)
class Drawn:
    """`Maps`, drawn; pictures have no key."""

    panels: tuple[Shown, ...]
    key: Key | None


def draw(maps: Maps) -> Drawn:
    """Every panel of `Maps` and the key. Errors: `ValueError` where the scale isn't positive."""
    if not (math.isfinite(maps.scale) and maps.scale > 0):
        raise ValueError(f"the scale of {maps.name!r} is {maps.scale}")
    key = None if maps.grey else Key(_png(_bar()), number_words(maps.scale), maps.unit)
    return Drawn(tuple(_shown(panel, maps) for panel in maps.panels), key)


def overlay_key(scale: float, words: str) -> Key:
    """The key of heat laid over pictures: its colours as they look on mid-grey."""
    shares = np.linspace(0, 1, BAR_PX)
    opacity = OPACITY * np.sqrt(shares)[:, None]
    colours = 255 * colormaps[COLOURS](shares)[:, :3] * opacity + 110 * (1 - opacity)
    return Key(
        _png(Image.fromarray(np.rint(colours).astype(np.uint8)[None])), number_words(scale), words
    )


def _shown(panel: Panel, maps: Maps) -> Shown:
    picture = _panel(panel, maps.scale, "gray" if maps.grey else COLOURS)
    alt = f"{maps.title}: {panel.caption}" if panel.caption else maps.title
    return Shown(_png(picture), picture.width, picture.height, panel.caption, alt)


def _panel(panel: Panel, scale: float, colours: str) -> Image.Image:
    """The map as a picture with a palette: values between 0 and `scale`, outlines on top."""
    height, width = panel.values.shape
    unit = SIDE_PX / max(height, width)
    size = max(1, round(width * unit)), max(1, round(height * unit))
    values = np.nan_to_num(panel.values.astype(np.float32), nan=0.0, posinf=scale, neginf=0.0)
    smooth = np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR))
    shades = np.rint(np.clip(smooth / scale, 0, 1) * (SHADES - 1)).astype(np.uint8)
    if panel.outline is not None:
        areas = Image.fromarray(np.ascontiguousarray(panel.outline).astype(np.uint8))
        white = borders(np.asarray(areas.resize(size, Image.Resampling.NEAREST)))
        shades[thickened(white)] = SHADES + 1
        shades[white] = SHADES
    picture = Image.fromarray(shades, mode="P")
    picture.putpalette(_palette(colours))
    return picture


def borders(areas: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels (H, W) whose right or lower neighbour has another value, or that end an area."""
    found = np.zeros(areas.shape, bool)
    found[:, :-1] |= areas[:, :-1] != areas[:, 1:]
    found[:-1] |= areas[:-1] != areas[1:]
    return found


def thickened(line: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of a line and those that touch them by a side."""
    padded = np.pad(line, 1)
    near: NDArray[np.bool_] = (
        padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:] | line
    )
    return near


def _palette(colours: str) -> list[int]:
    shades = np.rint(255 * colormaps[colours](np.linspace(0, 1, SHADES))[:, :3]).astype(int)
    return [*shades.ravel().tolist(), 255, 255, 255, 0, 0, 0]


def _bar() -> Image.Image:
    picture = Image.fromarray(
        np.linspace(0, SHADES - 1, BAR_PX).round().astype(np.uint8)[None], mode="P"
    )
    picture.putpalette(_palette(COLOURS))
    return picture


def _png(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
