"""Words on figures: measured before they are drawn, so that no name runs off the picture.

Names of classes and files come from users. They are drawn as they stand (`$` is no formula), what
the font can't draw is shown as `�` instead of an empty box with a warning, and what is too long is
shortened in the middle, where two file names differ least.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import text_to_path

FONT = "DejaVu Sans"
"""Comes with matplotlib: the same letters, and so the same bytes, on every machine."""

SMALL_PT = 9.0
"""The smallest letters on any figure."""
HEADING_PT = 11.0
LINE_IN = 0.175
"""Height of one line of `SMALL_PT` letters, in inches."""


def drawable(text: str) -> str:
    """`text` on one line, with `�` for each character that the font doesn't have."""
    known = _characters()
    return "".join(
        letter if ord(letter) in known else "�" for letter in " ".join(str(text).split())
    )


@cache
def _characters() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties(family=FONT))).get_charmap())


def width_in(text: str, size_pt: float = SMALL_PT, *, bold: bool = False) -> float:
    """Width of one line of text, in inches, with room for what hinting adds when it is drawn."""
    width, _, _ = text_to_path.get_text_width_height_descent(
        text, _font(size_pt, bold), ismath=False
    )
    return 1.02 * float(width) / 72


def _font(size_pt: float, bold: bool) -> FontProperties:
    return FontProperties(family=FONT, size=size_pt, weight="bold" if bold else "normal")


def shortened(text: str, room_in: float, size_pt: float = SMALL_PT, *, bold: bool = False) -> str:
    """`text` made drawable and, where it is wider than `room_in` inches, cut in its middle."""
    text = drawable(text)
    if width_in(text, size_pt, bold=bold) <= room_in:
        return text
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if width_in(_keep(text, middle), size_pt, bold=bold) <= room_in:
            fits = middle
        else:
            too_long = middle
    return _keep(text, fits)


def _keep(text: str, letters: int) -> str:
    """`letters` characters of `text`: a third from its start, the rest from its end."""
    head = letters // 3
    return text[:head] + "…" + text[len(text) - (letters - head) :]


def wrapped(
    text: str, room_in: float, size_pt: float = SMALL_PT, *, bold: bool = False, lines: int = 99
) -> list[str]:
    """`text` broken at spaces into lines of at most `room_in` inches; the last one is shortened."""

    def fits(line: str) -> bool:
        return width_in(line, size_pt, bold=bold) <= room_in

    words = drawable(text).split(" ")
    found: list[str] = []
    while words:
        if len(found) == lines - 1:
            return [*found, shortened(" ".join(words), room_in, size_pt, bold=bold)]
        count = 1
        while count < len(words) and fits(" ".join(words[: count + 1])):
            count += 1
        found.append(shortened(" ".join(words[:count]), room_in, size_pt, bold=bold))
        words = words[count:]
    return found


def write(axes: Axes, x: float, y: float, text: str, **look: Any) -> None:
    """Draw ready-made text at (x, y) in data units of `axes`, never read as a formula."""
    settings = {"fontsize": SMALL_PT, "color": "#1a1a1a", "va": "top", "ha": "left", **look}
    axes.text(x, y, text, family=FONT, parse_math=False, **settings)
