"""Pictures of an explanation: heat in colour, heat on the scan, triptychs and contact sheets.

Nothing here is scaled per picture. `scale` is the heat, in the explanation's unit, that is shown
in full colour; every picture of a run gets the same one, so the same colour means the same
evidence everywhere. Heat above it saturates, and the arrow of the colour bar says so. Where no
place speaks for the target, the picture says that in words.

The colours are matplotlib's *inferno*: perceptually uniform (equal steps of heat look equal, and no
edge appears that isn't in the heat, as jet makes them), lightness rising all the way (so it reads
in grey print and with any colour vision), and black at 0, so a map without evidence looks empty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from clearhead.deliver.lettering import (
    FONT,
    HEADING_PT,
    LINE_IN,
    SMALL_PT,
    shortened,
    width_in,
    wrapped,
    write,
)
from clearhead.errors import ClearheadError
from clearhead.files import writing
from clearhead.types import Explanation, Scan

COLOURS = "inferno"
OPACITY = 0.75
"""Opacity of the overlay at full colour: the anatomy stays visible under the strongest evidence."""
PERCENTILES = (0.5, 99.5)
"""Of the pixels: what is shown black and white. A few hot pixels don't darken the rest."""

MASK_COLOUR = (0x19, 0xE3, 0xFF)
"""Of tumour masks, red, green and blue: none of the colours of heat."""

_MASK_LOOK: dict[str, Any] = {
    "colors": "#{:02x}{:02x}{:02x}".format(*MASK_COLOUR),
    "linestyles": "-",
}
_CONTOUR_LOOK: dict[str, Any] = {"colors": "#ffffff", "linestyles": "--"}
QUIET = "#5a5a5a"
DPI = 150
_LONGEST_SIDE_PX = 1024
"""Pictures inside figures are reduced to this by block means: more can't be seen in a panel."""

_MARGIN = 0.2  # inches, as everything below that places a panel
_GAP = 0.1


# --- Pixels -----------------------------------------------------------------------------------


def display_grey(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The picture as it is shown, (H, W) 0–255, from stored units of any range.

    Black and white are the `PERCENTILES` of the finite pixels, linear in between; where these
    coincide (a picture nearly all of one value), its minimum and maximum. A constant picture is
    mid-grey, or black where it is 0. Pixels that are no number are black.
    """
    finite = np.isfinite(pixels)
    if not finite.any():
        return np.zeros(pixels.shape, np.uint8)
    values = pixels[finite].astype(np.float64)
    black, white = np.percentile(values, PERCENTILES)
    if not white > black:
        black, white = values.min(), values.max()
    if not white > black:
        return np.where(finite & (pixels != 0), 128, 0).astype(np.uint8)
    shares = (np.where(finite, pixels, black).astype(np.float64) - black) / (white - black)
    return _bytes(shares)


def colourise(heat: NDArray[np.float32], *, scale: float) -> NDArray[np.uint8]:
    """Heat as colours with opacity, (H, W, 4) 0–255.

    Opacity rises with the square root of heat, from 0 at 0 to `OPACITY` at `scale` and above: in
    proportion, evidence of half the scale would be hard to see on a bright scan. Errors:
    `ClearheadError` where `scale` is no positive number, `ValueError` where heat is not finite.
    """
    shares = _shares(heat, scale)
    colours = colormaps[COLOURS](shares)
    colours[..., 3] = OPACITY * np.sqrt(shares)
    return _bytes(colours)


def _bytes(shares: NDArray[np.float64]) -> NDArray[np.uint8]:
    values: NDArray[np.uint8] = np.rint(255 * np.clip(shares, 0, 1)).astype(np.uint8)
    return values


def _shares(heat: NDArray[np.float32], scale: float) -> NDArray[np.float64]:
    _check_scale(scale)
    if not np.isfinite(heat).all():
        raise ValueError("heat holds values that are no number")
    return np.clip(heat.astype(np.float64) / scale, 0, 1)


def _check_scale(scale: float) -> None:
    if not (math.isfinite(scale) and scale > 0):
        raise ClearheadError(
            f"the display scale is {scale}: expected a positive number in the explanation's unit, "
            "the heat that is shown in full colour"
        )


def overlay(
    scan: Scan, explanation: Explanation, *, scale: float, contour: float | None = None
) -> NDArray[np.uint8]:
    """The scan in grey under its heat, (H, W, 3) 0–255; where heat is 0 it is the grey itself.

    With `contour` (a level in the explanation's unit) a white line runs just inside the places
    whose heat reaches that level.
    """
    _check_grid(scan, explanation.heat.shape, "the heat")
    grey = display_grey(scan.pixels)[..., None].astype(np.float64)
    colours = colourise(explanation.heat, scale=scale).astype(np.float64)
    opacity = colours[..., 3:] / 255
    blended = np.rint(grey * (1 - opacity) + colours[..., :3] * opacity).astype(np.uint8)
    if contour is not None:
        blended[_inner_edge(explanation.heat >= contour)] = 255
    return blended


def _check_grid(scan: Scan, shape: tuple[int, ...], what: str) -> None:
    if shape != scan.pixels.shape:
        raise ClearheadError(
            f"{what} of {scan.source} is {'×'.join(map(str, shape))}: expected the picture's own "
            f"{'×'.join(map(str, scan.pixels.shape))}"
        )


def _inner_edge(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels inside that touch one outside (or the picture's border) by a side."""
    padded = np.pad(inside, 1)
    deep = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~deep


def save_overlay(
    path: Path,
    scan: Scan,
    explanation: Explanation,
    *,
    scale: float,
    contour: float | None = None,
) -> None:
    """Write the overlay as PNG on the scan's own grid, with its meaning in the file's text."""
    words = PngImagePlugin.PngInfo()
    unit = unit_words(explanation.unit)
    peak, full = number_words(explanation.peak), number_words(scale)
    words.add_itxt(
        "Description",
        f"{explanation.method}: evidence for {explanation.target}, peak {peak} {unit}, "
        f"full colour at {full} {unit}",
    )
    picture = Image.fromarray(overlay(scan, explanation, scale=scale, contour=contour))
    with writing(path) as temporary:
        picture.save(temporary, format="PNG", pnginfo=words)


# --- Words ------------------------------------------------------------------------------------


def unit_words(unit: str) -> str:
    """An explanation's unit as it is written beside a number: `logits`, `probability`."""
    return {"logit": "logits"}.get(unit, unit)


def number_words(value: float) -> str:
    """A heat or level with three digits that count: `12.3`, `0.0250`, `3.1e-06`."""
    if value == 0:
        return "0"
    places = 2 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(places, 0)}f}" if places <= 6 else f"{value:.1e}"


def blank_words(explanation: Explanation) -> str:
    """What a picture without evidence says of itself."""
    return f"no positive evidence for {explanation.target}"


def call_words(explanation: Explanation) -> str:
    """The call and its probability: `called Brain Tumor, 97.3 %`."""
    prediction = explanation.prediction
    if prediction.call not in prediction.classes:
        return f"called {prediction.call}"
    place = prediction.classes.index(prediction.call)
    return f"called {prediction.call}, {percent_words(float(prediction.probabilities[place]))}"


def percent_words(share: float) -> str:
    """A probability in per cent; one that rounds to certainty is not called certain."""
    if share > 0.9995:
        return "over 99.9 %"
    if share < 0.0005:
        return "under 0.1 %"
    return f"{100 * share:.1f} %"


def _verdict(explanation: Explanation, truth: str | None) -> str:
    words = call_words(explanation)
    words = words[:1].upper() + words[1:]
    if truth is None:
        return words
    right = "right" if truth == explanation.prediction.call else "wrong"
    return f"{words} · truth {truth} ({right})"


def _evidence_words(explanation: Explanation, scale: float) -> str:
    rows, columns = explanation.grid
    where = f"{explanation.method}, {rows}×{columns} places"
    if explanation.blank:
        return f"{where} · {blank_words(explanation)}"
    return f"{where} · evidence for {explanation.target}: {_peak_words(explanation, scale)}"


def _peak_words(explanation: Explanation, scale: float) -> str:
    if explanation.blank:
        return "no positive evidence"
    over = ", over the scale" if explanation.peak > scale else ""
    return f"peak {number_words(explanation.peak)} {unit_words(explanation.unit)}{over}"


def _outline_words(mask: NDArray[np.bool_] | None, contour: float | None, unit: str) -> str:
    parts = []
    if mask is not None:
        parts.append("blue outline: tumour mask" if mask.any() else "the tumour mask is empty")
    if contour is not None:
        parts.append(f"white line: heat of {number_words(contour)} {unit_words(unit)}")
    return " · ".join(parts)


# --- Panels -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Page:
    """A figure measured in inches from its top left corner."""

    figure: Figure
    width: float
    height: float

    @classmethod
    def blank(cls, width: float, height: float) -> _Page:
        return cls(Figure(figsize=(width, height), dpi=DPI, facecolor="white"), width, height)

    def axes(self, spot: _Spot) -> Axes:
        return self.figure.add_axes(
            (
                spot.left / self.width,
                1 - (spot.top + spot.height) / self.height,
                spot.width / self.width,
                spot.height / self.height,
            )
        )

    def canvas(self) -> Axes:
        """Axes over the whole page whose data units are inches from the top left corner."""
        axes = self.axes(_Spot(0, 0, self.width, self.height))
        axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        axes.set_axis_off()
        return axes


def _panel_size(
    shape: tuple[int, int], longest: float, narrowest: float = 1.5
) -> tuple[float, float]:
    """Width and height in inches of a box for a picture; very long ones sit inside it with room."""
    height, width = shape
    unit = longest / max(height, width)
    return max(width * unit, narrowest), max(height * unit, 0.5)


def _reduced(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    factor = math.ceil(max(picture.shape[:2]) / _LONGEST_SIDE_PX)
    if factor == 1:
        return picture
    return np.asarray(Image.fromarray(picture).reduce(factor))


@dataclass(frozen=True)
class _Spot:
    """A rectangle on a page, in inches from the page's top left corner."""

    left: float
    top: float
    width: float
    height: float

    def fitting(self, shape: tuple[int, int]) -> _Spot:
        """The largest rectangle of a picture's proportions in the middle of this one."""
        rows, columns = shape
        unit = min(self.width / columns, self.height / rows)
        width, height = columns * unit, rows * unit
        left = self.left + (self.width - width) / 2
        return _Spot(left, self.top + (self.height - height) / 2, width, height)


def _show(canvas: Axes, spot: _Spot, picture: NDArray[np.uint8], name: str) -> None:
    place = spot.fitting((picture.shape[0], picture.shape[1]))
    canvas.imshow(
        _reduced(picture),
        cmap="gray",
        vmin=0,
        vmax=255,
        aspect="auto",
        extent=(place.left, place.left + place.width, place.top + place.height, place.top),
        interpolation="antialiased",
        gid=name,
    )


def _outline(canvas: Axes, spot: _Spot, inside: NDArray[np.bool_], look: dict[str, Any]) -> None:
    """Draw the border of `inside`, a map on a picture's grid, upon the picture in its spot."""
    if not inside.any():
        return
    place = spot.fitting((inside.shape[0], inside.shape[1]))
    unit = place.width / inside.shape[1]
    padded = np.pad(inside, 1).astype(np.float64)
    y, x = ((np.arange(side) - 0.5) * unit for side in padded.shape)
    canvas.contour(place.left + x, place.top + y, padded, levels=[0.5], linewidths=1.3, **look)


@dataclass(frozen=True)
class _Panels:
    """Picture, heatmap and overlay of one explanation, ready to be placed."""

    scan: Scan
    explanation: Explanation
    scale: float
    mask: NDArray[np.bool_] | None
    contour: float | None = None

    def draw(self, canvas: Axes, spots: Sequence[_Spot]) -> None:
        if self.mask is not None:
            _check_grid(self.scan, self.mask.shape, "the tumour mask")
        picture, heatmap, blend = spots
        _show(canvas, picture, display_grey(self.scan.pixels), "picture")
        _show(canvas, heatmap, _opaque(self.explanation.heat, self.scale), "heatmap")
        _show(canvas, blend, overlay(self.scan, self.explanation, scale=self.scale), "overlay")
        if self.contour is not None:
            for spot in (heatmap, blend):
                _outline(canvas, spot, self.explanation.heat >= self.contour, _CONTOUR_LOOK)
        if self.mask is not None:
            for spot in (picture, blend):
                _outline(canvas, spot, self.mask, _MASK_LOOK)
        if self.explanation.blank:
            _say_blank(canvas, heatmap, self.explanation)


def _opaque(heat: NDArray[np.float32], scale: float) -> NDArray[np.uint8]:
    return _bytes(colormaps[COLOURS](_shares(heat, scale))[..., :3])


def _say_blank(canvas: Axes, spot: _Spot, explanation: Explanation) -> None:
    most = max(1, int(spot.height / 0.2))
    lines = wrapped(blank_words(explanation), spot.width - 0.1, lines=most)
    write(
        canvas,
        spot.left + spot.width / 2,
        spot.top + spot.height / 2,
        "\n".join(lines),
        ha="center",
        va="center",
        color="white",
        bbox={"facecolor": "black", "edgecolor": "none", "pad": 2},
    )


def _colour_bar(page: _Page, spot: _Spot, label: str, scale: float) -> None:
    """A bar from 0 to `scale` with an arrow beyond it, and its meaning below."""
    axes = page.axes(spot)
    colours = ScalarMappable(Normalize(0, scale), colormaps[COLOURS])
    bar = page.figure.colorbar(colours, cax=axes, orientation="horizontal", extend="max")
    bar.set_ticks(_bar_ticks(scale), labels=[f"{tick:.3g}" for tick in _bar_ticks(scale)])
    axes.tick_params(labelsize=SMALL_PT, labelfontfamily=FONT, length=2, pad=1.5)
    axes.set_gid("colour bar")
    axes.set_xlabel(label, fontsize=SMALL_PT, family=FONT, labelpad=2, parse_math=False)


def _bar_ticks(scale: float) -> list[float]:
    """Round numbers from 0 on, and the scale itself, where colours end."""
    round_ticks = MaxNLocator(nbins=5).tick_values(0, scale)
    return [*(float(tick) for tick in round_ticks if 0 <= tick < 0.9 * scale), scale]


_BAR_IN = 0.55
"""Height of a colour bar with its numbers and its label."""


# --- Figures ----------------------------------------------------------------------------------


def triptych(
    scan: Scan,
    explanation: Explanation,
    *,
    scale: float,
    truth: str | None = None,
    mask: NDArray[np.bool_] | None = None,
    contour: float | None = None,
) -> Figure:
    """The picture, its heatmap and both together, with the numbers that belong to them.

    `scale` is the heat shown in full colour and `contour` a level to draw a line at, both in the
    explanation's unit; `mask` is (H, W) and drawn as an outline. Errors: `ClearheadError` where a
    shape doesn't fit the picture or the scale isn't positive.
    """
    _check_scale(scale)
    wide, high = _panel_size(_shape(scan), longest=3.0)
    room = 3 * wide + 2 * _GAP
    heading = wrapped(_verdict(explanation, truth), room, HEADING_PT, bold=True, lines=2)
    below = wrapped(_evidence_words(explanation, scale), room, lines=2)
    foot = _foot(scan, explanation, mask, contour, room)
    top = 0.12 + 0.21 * len(heading) + LINE_IN * len(below) + 0.08
    end = top + LINE_IN + high + 0.14
    page = _Page.blank(room + 2 * _MARGIN, end + _BAR_IN + LINE_IN * len(foot) + 0.16)
    canvas = page.canvas()
    _write_lines(canvas, _MARGIN, 0.12, heading, 0.21, fontsize=HEADING_PT, weight="bold")
    _write_lines(canvas, _MARGIN, 0.12 + 0.21 * len(heading), below, LINE_IN)
    lefts = [_MARGIN + place * (wide + _GAP) for place in range(3)]
    for left, name in zip(lefts, ("picture", "heatmap", "both"), strict=True):
        write(canvas, left + wide / 2, top, name, ha="center", color=QUIET)
    spots = [_Spot(left, top + LINE_IN, wide, high) for left in lefts]
    _Panels(scan, explanation, scale, mask, contour).draw(canvas, spots)
    bar = _Spot(lefts[1], end, 2 * wide + _GAP, 0.12)
    _colour_bar(page, bar, _bar_label([explanation], bar.width), scale)
    _write_lines(canvas, _MARGIN, end + _BAR_IN + 0.06, foot, LINE_IN, color=QUIET)
    return page.figure


def _foot(
    scan: Scan,
    explanation: Explanation,
    mask: NDArray[np.bool_] | None,
    contour: float | None,
    room_in: float,
) -> list[str]:
    """The lines under a triptych: what its outlines mean, and the file's name.

    Not its folders: the picture is shown to others, and folders are often called after people.
    """
    outlines = _outline_words(mask, contour, explanation.unit)
    lines = wrapped(outlines, room_in, lines=2) if outlines else []
    return [*lines, shortened(scan.source.replace("\\", "/").rsplit("/", 1)[-1], room_in)]


def _shape(scan: Scan) -> tuple[int, int]:
    height, width = scan.pixels.shape
    return height, width


def _write_lines(
    canvas: Axes, left: float, top: float, lines: Sequence[str], step: float, **look: object
) -> None:
    for place, line in enumerate(lines):
        write(canvas, left, top + place * step, line, **look)


def _bar_label(explanations: Sequence[Explanation], room_in: float) -> str:
    targets = sorted({explanation.target for explanation in explanations})
    unit = f" ({unit_words(explanations[0].unit)})"
    called = all(each.target == each.prediction.call for each in explanations)
    several = "the class called" if called else "the class named above each"
    target = targets[0] if len(targets) == 1 else several
    return shortened(f"evidence for {target}", room_in - width_in(unit)) + unit


@dataclass(frozen=True)
class Case:
    """One row of a contact sheet: a picture, its explanation, and what is known of it."""

    scan: Scan
    explanation: Explanation
    truth: str | None = None
    mask: NDArray[np.bool_] | None = None
    """(H, W) on the picture's grid, or None."""
    caption: str = ""
    """Why it is shown, in a few words; the source where empty."""

    @property
    def heading(self) -> str:
        """Under which title it stands: `Healthy called Brain Tumor`."""
        call = self.explanation.prediction.call
        return f"Called {call}" if self.truth is None else f"{self.truth} called {call}"


MOST_CASES = 60
"""Cases on one contact sheet: with dozens of classes there are thousands of kinds."""
_SHEET_PANEL_IN = 1.6
_SHEET_COLUMNS = 2
_CELL_IN = 3 * _SHEET_PANEL_IN + 2 * 0.04
_SHEET_IN = _SHEET_COLUMNS * _CELL_IN + (_SHEET_COLUMNS + 1) * _MARGIN


def contact_sheet(cases: Sequence[Case], *, scale: float) -> Figure:
    """Triptychs of many cases, two beside each other, under headings by truth and call.

    Headings stand in the order in which their first case comes. Of more than `MOST_CASES`, the
    first of every heading are shown, then the second, until it is full, and the sheet says so. One
    colour bar, from 0 to `scale` in the explanations' unit, serves all. Errors: `ValueError` where
    there are no cases or their units differ; `ClearheadError` as in `triptych`.
    """
    _check_scale(scale)
    if not cases:
        raise ValueError("a contact sheet needs at least one case")
    if len({case.explanation.unit for case in cases}) > 1:
        raise ValueError("the cases of a contact sheet have evidence in different units")
    shown = _first_of_each(cases)
    rows = _sheet_rows(shown)
    top = 0.1 + 0.12 + _BAR_IN
    page = _Page.blank(_SHEET_IN, top + sum(row.height for row in rows) + 0.1)
    canvas = page.canvas()
    bar_width = 2 * _SHEET_PANEL_IN + _GAP
    label = _bar_label([case.explanation for case in shown], bar_width + 0.4)
    _colour_bar(page, _Spot(_MARGIN + 0.1, 0.15, bar_width, 0.12), label, scale)
    words = _sheet_words(shown, len(cases))
    _write_lines(canvas, _MARGIN + bar_width + 0.7, 0.12, words, LINE_IN, color=QUIET)
    for row in rows:
        row.draw(canvas, top, scale)
        top += row.height
    return page.figure


def _sheet_words(shown: Sequence[Case], all_cases: int) -> list[str]:
    words = ["each case: picture, heatmap, both", "the same colour is the same evidence in all"]
    if any(case.mask is not None and case.mask.any() for case in shown):
        words.append("blue outline: tumour mask")
    if len(shown) < all_cases:
        words[0] += f" ({len(shown)} of {all_cases:,} cases)"
    return words


def _first_of_each(cases: Sequence[Case]) -> list[Case]:
    """At most `MOST_CASES`, in their order: of every heading the first, then the second…"""
    met: dict[str, int] = {}
    ranks = []
    for case in cases:
        ranks.append(met.setdefault(case.heading, 0))
        met[case.heading] += 1
    places = sorted(range(len(cases)), key=ranks.__getitem__)[:MOST_CASES]
    return [cases[place] for place in sorted(places)]


@dataclass(frozen=True)
class _SheetRow:
    """Up to two cases beside each other, with the heading that opens their section."""

    heading: str | None
    cases: tuple[Case, ...]

    @property
    def panel_height(self) -> float:
        return max(
            _panel_size(_shape(case.scan), longest=_SHEET_PANEL_IN)[1] for case in self.cases
        )

    @property
    def height(self) -> float:
        return (0.38 if self.heading else 0.0) + 2 * LINE_IN + 0.04 + self.panel_height + 0.16

    def draw(self, canvas: Axes, top: float, scale: float) -> None:
        if self.heading:
            right = _SHEET_IN - _MARGIN
            canvas.plot([_MARGIN, right], [top + 0.04] * 2, color="#c8c8c8", lw=0.8)
            heading = shortened(self.heading, right - _MARGIN, HEADING_PT, bold=True)
            write(canvas, _MARGIN, top + 0.12, heading, fontsize=HEADING_PT, weight="bold")
            top += 0.38
        for place, case in enumerate(self.cases):
            left = _MARGIN + place * (_CELL_IN + _MARGIN)
            _write_lines(canvas, left, top, _case_words(case, scale), LINE_IN)
            step = _SHEET_PANEL_IN + 0.04
            down = top + 2 * LINE_IN + 0.04
            spots = [
                _Spot(left + step * panel, down, _SHEET_PANEL_IN, self.panel_height)
                for panel in range(3)
            ]
            _Panels(case.scan, case.explanation, scale, case.mask).draw(canvas, spots)


def _case_words(case: Case, scale: float) -> list[str]:
    explanation = case.explanation
    called = explanation.target == explanation.prediction.call
    target = "" if called else f"for {explanation.target}: "
    words = f"{call_words(explanation)} · {target}{_peak_words(explanation, scale)}"
    return [
        shortened(words, _CELL_IN),
        shortened(case.caption or case.scan.source, _CELL_IN),
    ]


def _sheet_rows(cases: Sequence[Case]) -> list[_SheetRow]:
    sections: dict[str, list[Case]] = {}
    for case in cases:
        sections.setdefault(case.heading, []).append(case)
    return [
        _SheetRow(None if start else heading, tuple(members[start : start + _SHEET_COLUMNS]))
        for heading, members in sections.items()
        for start in range(0, len(members), _SHEET_COLUMNS)
    ]
