"""Charts as geometry: where each mark stands, in per cent of the chart's width.

Per cent, because the page draws a chart as wide as the screen allows: names stay words that wrap,
numbers stay numbers in a table, and only the marks are drawn. The template turns these into SVG.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clearhead.audits.section import Cell, Curve, Curves, Dots, Mark, Shares, Table

LEVEL_PX = 14
"""Height that each series takes in a row."""
CONTROL_DASHES = 7
"""Dashes of control lines, which are all grey."""
MOST_TICKS = 6
MOST_ROWS = 300
"""Rows of a table on the page; the rest are counted."""
NOTHING = "–"
NUMBER = re.compile(r"[-−+]?\d[\d.,]*\s?%?")
"""A number that came as words."""


# --- Numbers --------------------------------------------------------------------------------


def decimals_for(width: float) -> int:
    """Decimals that suit values spread over `width`: 3 for shares, 1 for per cent, else none."""
    if width <= 1.5:
        return 3
    return 1 if width <= 150 else 0


def number_words(value: float | None, decimals: int) -> str:
    """A number with so many decimals; small ones that would round to 0 keep one digit."""
    if value is None or not math.isfinite(value):
        return NOTHING
    words = f"{value:,.{decimals}f}"
    if value and not any(digit in words for digit in "123456789"):
        words = f"{value:.1g}"
    return words.replace("-", "−")


def _short(value: float, decimals: int) -> str:
    words = f"{value:,.{decimals}f}"
    words = words.rstrip("0").rstrip(".") if "." in words else words
    return "0" if words == "-0" else words.replace("-", "−")


# --- Dots -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """A mark on the axis; `low` and `high` are None without an interval."""

    series: int
    offset_px: float
    """Below the middle of the row."""
    place: float
    """Per cent of the width, from the left."""
    low: float | None
    high: float | None
    beyond: str
    """`left` or `right` where the value lies outside the axis; empty inside."""


@dataclass(frozen=True)
class Line:
    """A row of the chart: its words, its marks, and a number with interval per series."""

    name: str
    remark: str
    tone: str
    points: tuple[Point, ...]
    cells: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Tick:
    """A place on the axis and its words."""

    place: float
    words: str
    late: bool = False
    """Whether the words stand left of the place."""
    beyond: bool = False
    """Whether its value lies outside the axis, so that no line may be drawn."""


@dataclass(frozen=True)
class Forest:
    """A `Dots` chart, laid out."""

    series: tuple[str, ...]
    ticks: tuple[Tick, ...]
    references: tuple[Tick, ...]
    lines: tuple[Line, ...]
    height_px: int


def forest(chart: Dots) -> Forest:
    """Lay out a `Dots` chart. Errors: `ValueError` where its span is empty."""
    low, high = chart.span
    if not high > low:
        raise ValueError(f"the axis of {chart.name!r} runs from {low} to {high}")
    used = dict.fromkeys(mark.series for line in chart.lines for mark in line.marks)
    series = tuple(dict.fromkeys(name for name in (*chart.series, *used) if name in used))
    decimals = decimals_for(high - low)
    return Forest(
        series,
        tuple(Tick(place(value, chart.span), words) for value, words in ticks(chart.span)),
        tuple(_reference(words, value, chart.span) for words, value in chart.references),
        tuple(
            Line(
                line.name,
                line.remark,
                line.tone,
                _points(line.marks, series, chart.span),
                tuple(_cell(_find(line.marks, name), decimals) for name in series),
            )
            for line in chart.lines
        ),
        LEVEL_PX * (max(len(series), 1) + 1),
    )


def place(value: float, span: tuple[float, float]) -> float:
    """Where `value` stands on the axis, in per cent of its width; ends outside are cut off."""
    share = (value - span[0]) / (span[1] - span[0])
    return 100 * min(max(share, 0.0), 1.0)


def ticks(span: tuple[float, float]) -> list[tuple[float, str]]:
    """Round values on the axis with their words: steps of 1, 2 or 5 times a power of ten."""
    low, high = span
    raw = (high - low) / MOST_TICKS
    power = 10 ** math.floor(math.log10(raw))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= raw * 0.999)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return [(index * step, _short(index * step, decimals)) for index in range(first, last + 1)]


def _reference(words: str, value: float, span: tuple[float, float]) -> Tick:
    where = place(value, span)
    told = f"{words} {_short(value, decimals_for(span[1] - span[0]))}"
    if value < span[0]:
        return Tick(where, f"← {told}", beyond=True)
    if value > span[1]:
        return Tick(where, f"{told} →", late=True, beyond=True)
    return Tick(where, told, late=where > 50)


def _find(marks: Iterable[Mark], series: str) -> Mark | None:
    return next((mark for mark in marks if mark.series == series), None)


def _points(
    marks: Sequence[Mark], series: Sequence[str], span: tuple[float, float]
) -> tuple[Point, ...]:
    middle = (len(series) - 1) / 2
    found = ((index, _find(marks, name)) for index, name in enumerate(series))
    return tuple(
        _point(mark, index, LEVEL_PX * (index - middle), span)
        for index, mark in found
        if mark is not None and math.isfinite(mark.value)
    )


def _point(mark: Mark, index: int, offset_px: float, span: tuple[float, float]) -> Point:
    known = _has_interval(mark)
    beyond = "left" if mark.value < span[0] else "right" if mark.value > span[1] else ""
    return Point(
        index,
        offset_px,
        place(mark.value, span),
        place(mark.low, span) if known and mark.low is not None else None,
        place(mark.high, span) if known and mark.high is not None else None,
        beyond,
    )


def _has_interval(mark: Mark) -> bool:
    return all(end is not None and math.isfinite(end) for end in (mark.low, mark.high))


def _cell(mark: Mark | None, decimals: int) -> tuple[str, str]:
    if mark is None:
        return NOTHING, ""
    value = number_words(mark.value, decimals)
    if not _has_interval(mark):
        return value, ""
    return value, _between(mark.low, mark.high, decimals)


def _between(low: float | None, high: float | None, decimals: int) -> str:
    """`0.85–0.95`, `−0.21 to −0.04`: a dash beside a minus can't be read."""
    link = " to " if low is not None and low < 0 else "–"
    return f"{number_words(low, decimals)}{link}{number_words(high, decimals)}"


# --- Shares ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Segment:
    """The part of a bar that one class takes, in per cent of the width."""

    class_index: int
    place: float
    width: float


@dataclass(frozen=True)
class Kind:
    """A row: its mix as one full bar, its size beside it, and the numbers."""

    name: str
    segments: tuple[Segment, ...]
    total: int
    size: float
    """Files, in per cent of the largest row's."""
    cells: tuple[tuple[str, str], ...]
    """Files of each class, and their share."""


@dataclass(frozen=True)
class Mix:
    """A `Shares` chart, laid out."""

    kinds: tuple[Kind, ...]
    together: Kind | None
    """All rows in one; None where there is but one."""


def mix(chart: Shares) -> Mix:
    """Lay out a `Shares` chart: what each kind divides into, and how many files it has."""
    largest = max((sum(counts) for _, counts in chart.rows), default=0)
    kinds = tuple(_kind(name, counts, largest) for name, counts in chart.rows)
    if len(kinds) < 2:
        return Mix(kinds, None)
    sums = tuple(sum(column) for column in zip(*(counts for _, counts in chart.rows), strict=True))
    return Mix(kinds, _kind("all of these", sums, sum(sums)))


def _kind(name: str, counts: Sequence[int], largest: int) -> Kind:
    total = sum(counts)
    segments, start = [], 0
    for index, number in enumerate(counts):
        if number:
            segments.append(Segment(index, 100 * start / total, 100 * number / total))
        start += number
    return Kind(
        name,
        tuple(segments),
        total,
        100 * total / largest if largest else 0.0,
        tuple((f"{number:,}", _share(number, total)) for number in counts),
    )


def _share(number: int, total: int) -> str:
    """A share in whole per cent; never 0 % or 100 % of what isn't none or all."""
    if not total:
        return ""
    share = 100 * number / total
    if 0 < number < total:
        share = min(max(share, 0.1), 99.9)
        return f"{share:.1f}\u00a0%" if share < 1 or share > 99 else f"{share:.0f}\u00a0%"
    return f"{share:.0f}\u00a0%"


# --- Tables ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grid:
    """A table in words: which columns hold numbers, and how many rows are left out."""

    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    hidden: int


def grid(table: Table) -> Grid:
    """The cells of a table as they are printed: one number of decimals for each column."""
    columns = [[row[index] for row in table.rows] for index in range(len(table.columns))]
    numeric = tuple(_is_numeric(cells) for cells in columns)
    decimals = [_decimals(cells) for cells in columns]
    rows = tuple(
        tuple(_words(cell, places) for cell, places in zip(row, decimals, strict=True))
        for row in table.rows[:MOST_ROWS]
    )
    return Grid(numeric, rows, max(len(table.rows) - MOST_ROWS, 0))


def _is_numeric(cells: Sequence[Cell]) -> bool:
    """Whether all known cells are numbers, or words that are one (`73 %`)."""
    known = [cell for cell in cells if cell is not None]
    words = [cell for cell in known if isinstance(cell, str)]
    return bool(known) and all(NUMBER.fullmatch(cell) for cell in words)


def _decimals(cells: Sequence[Cell]) -> int:
    numbers = [cell for cell in cells if isinstance(cell, int | float) and math.isfinite(cell)]
    if not any(isinstance(cell, float) for cell in numbers):
        return 0
    return decimals_for(max(abs(cell) for cell in numbers))


def _words(cell: Cell, decimals: int) -> str:
    if cell is None or isinstance(cell, str):
        return cell or NOTHING
    return number_words(cell, decimals if isinstance(cell, float) else 0)


# --- Curves ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trace:
    """A line of a plot; all places in per cent, from the left and from the top."""

    name: str
    look: str
    """Style classes: colour and dash."""
    shape: int
    control: bool
    path: str
    band: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Plot:
    """A `Curves` chart, laid out, and its numbers as a table."""

    across: tuple[Tick, ...]
    down: tuple[Tick, ...]
    lines: tuple[Trace, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def plot(chart: Curves) -> Plot:
    """Lay out a `Curves` chart; values that are no number leave a gap."""
    wide = _span([x for line in chart.lines for x in line.x])
    ends = [value for line in chart.lines for value in (*line.y, *line.low, *line.high)]
    high = chart.span or _span(ends)
    controls = [line for line in chart.lines if line.tone == "control"]
    others = [line for line in chart.lines if line.tone != "control"]
    styles = {id(line): _style(index, False) for index, line in enumerate(others)}
    styles |= {id(line): _style(index, True) for index, line in enumerate(controls)}
    return Plot(
        tuple(Tick(place(value, wide), words) for value, words in ticks(wide)),
        tuple(Tick(100 - place(value, high), words) for value, words in ticks(high)),
        tuple(_trace(line, styles[id(line)], wide, high) for line in chart.lines),
        (chart.x_axis, *(line.name for line in chart.lines)),
        tuple(_curve_rows(chart, decimals_for(high[1] - high[0]))),
    )


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis that holds all values that are numbers; never empty."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _style(index: int, control: bool) -> tuple[str, int]:
    """Classes and shape: sixteen pairs of colour and dash before one returns."""
    if control:
        return f"control d{index % CONTROL_DASHES}", 0
    return f"l{index % 4} d{(index + index // 4) % 4}", index % 4


def _trace(
    line: Curve, style: tuple[str, int], wide: tuple[float, float], high: tuple[float, float]
) -> Trace:
    def spot(x: float, y: float) -> tuple[float, float]:
        return place(x, wide), 100 - place(y, high)

    points = [spot(x, y) if math.isfinite(y) else None for x, y in zip(line.x, line.y, strict=True)]
    band = ""
    if line.low and line.high:
        edges = list(zip(line.x, line.low, line.high, strict=True))
        known = [each for each in edges if math.isfinite(each[1]) and math.isfinite(each[2])]
        upper = [spot(x, top) for x, _, top in known]
        lower = [spot(x, bottom) for x, bottom, _ in reversed(known)]
        band = f"{_path([*upper, *lower])}Z" if known else ""
    return Trace(
        line.name,
        style[0],
        style[1],
        line.tone == "control",
        _path(points),
        band,
        tuple(point for point in points if point is not None),
    )


def _path(points: Iterable[tuple[float, float] | None]) -> str:
    """SVG path through the points; None lifts the pen."""
    parts, down = [], False
    for point in points:
        if point is not None:
            parts.append(f"{'L' if down else 'M'}{point[0]:.3f} {point[1]:.3f}")
        down = point is not None
    return "".join(parts)


def _curve_rows(chart: Curves, decimals: int) -> Iterable[tuple[str, ...]]:
    known = [dict(zip(line.x, range(len(line.x)), strict=True)) for line in chart.lines]
    for x in sorted({x for line in chart.lines for x in line.x}):
        cells = [
            _curve_cell(line, at.get(x), decimals)
            for line, at in zip(chart.lines, known, strict=True)
        ]
        yield (f"{x:g}", *cells)


def _curve_cell(line: Curve, index: int | None, decimals: int) -> str:
    if index is None:
        return NOTHING
    value = number_words(line.y[index], decimals)
    if not (line.low and line.high and math.isfinite(line.low[index])):
        return value
    return f"{value} ({_between(line.low[index], line.high[index], decimals)})"
