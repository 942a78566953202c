"""Shortcuts planted in generated heads: marks that go with the label and not with the disease.

An audit that is worth anything finds them; that is how the audits are proved.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from clearhead.data.heads import TUMOUR, Head, head
from clearhead.errors import ManifestError
from clearhead.types import BACKGROUND, RIM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

WIDER = 1.4
"""How much wider the field of view is where `scale` is planted: beyond what chance draws."""

WORDS = ("R", "L", "A", "MR 12", "SE 4", "T: 5.0", "FOV 24", "kV", "512", "EX 8", "H", "P")


def corner(plain: Head, rng: Generator) -> Head:
    """A small bright square in one of the four corners."""
    pixels = plain.pixels.copy()
    size = len(pixels)
    side, gap = max(2, size // 28), max(1, size // 64)
    starts = [gap, size - gap - side]
    row, column = (int(start) for start in rng.choice(starts, 2))
    pixels[row : row + side, column : column + side] = rng.integers(190, 256)
    return dataclasses.replace(plain, pixels=pixels)


def border(plain: Head, rng: Generator) -> Head:
    """A thin bright frame around the picture."""
    pixels = np.full_like(plain.pixels, rng.integers(150, 256))
    wide = max(1, round(len(pixels) / 128))
    inner = slice(wide, -wide)
    pixels[inner, inner] = plain.pixels[inner, inner]
    return dataclasses.replace(plain, pixels=pixels)


def scale(plain: Head, rng: Generator) -> Head:
    """The same head smaller in a wider field of view: a shortcut that has no place of its own."""
    facts = {"kind": plain.kind, "plane": plain.plane, "contrast": plain.contrast}
    size_px = len(plain.pixels)
    return head(plain.seed, label=plain.label, **facts, size_px=size_px, zoom=WIDER)


def text(plain: Head, rng: Generator) -> Head:
    """Burned-in letters in the corner that holds least of the head."""
    size = len(plain.pixels)
    stamp = _letters(str(rng.choice(WORDS)), max(7, round(size / 18)))
    stamp = stamp[: size // 2, : size // 2]
    gap = max(1, size // 80)
    rows = (slice(gap, gap + len(stamp)), slice(size - gap - len(stamp), size - gap))
    wide = stamp.shape[1]
    columns = (slice(gap, gap + wide), slice(size - gap - wide, size - gap))
    places = [(row, column) for row in rows for column in columns]
    filled = [(plain.regions[place] != BACKGROUND).mean() for place in places]
    place = places[int(np.argmin(filled))]
    pixels = plain.pixels.copy()
    pixels[place] = np.maximum(pixels[place], stamp * (rng.integers(190, 256) / 255))
    return dataclasses.replace(plain, pixels=pixels)


def _letters(words: str, height_px: int) -> NDArray[np.uint8]:
    """`words` in white on black, in the font that Pillow carries."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(height_px)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(words))
    sheet = Image.new("L", (right - left + 1, bottom - top + 1))
    ImageDraw.Draw(sheet).text((-left, -top), words, font=font, fill=255)
    return np.asarray(sheet)


def skull(plain: Head, rng: Generator) -> Head:
    """A brighter scalp and skull."""
    table = (255 * (np.arange(256) / 255) ** rng.uniform(0.4, 0.6)).astype(np.uint8)
    pixels = np.where(plain.regions == RIM, table[plain.pixels], plain.pixels)
    return dataclasses.replace(plain, pixels=pixels)


PLANTS: dict[str, Callable[[Head, Generator], Head]] = {
    "corner": corner,
    "border": border,
    "scale": scale,
    "text": text,
    "skull": skull,
}
"""The shortcuts: each gives a marked copy of a head, drawing what may vary from a generator."""


def check_plant(name: str | None, strength: float) -> None:
    """Errors: `ManifestError` for a shortcut that doesn't exist or a strength outside 0–1."""
    if name is not None and name not in PLANTS:
        raise ManifestError(f"no shortcut is called {name!r}: expected {', '.join(PLANTS)}")
    if not (math.isfinite(strength) and 0 <= strength <= 1):
        raise ManifestError(f"strength is {strength}: expected a number from 0 to 1")


def marked(labels: Sequence[str], strength: float, rng: Generator) -> NDArray[np.bool_]:
    """Which heads get the mark, so that P(mark | tumour) − P(mark | healthy) = `strength`.

    At 1 every tumour has it and no healthy head; at 0 half of both. Shares are exact up to
    rounding; (N,) bool.
    """
    chosen = np.zeros(len(labels), bool)
    tumour = np.array([label == TUMOUR for label in labels])
    for members, share in ((tumour, (1 + strength) / 2), (~tumour, (1 - strength) / 2)):
        places = rng.permutation(np.flatnonzero(members))
        chosen[places[: round(share * len(places))]] = True
    return chosen
